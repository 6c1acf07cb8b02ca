"""DEHB: `ask` and `tell` over the unit cube, which is how it sees every space.

It has nothing to go on from a checkpoint with: each evaluation begins again. It is told of a row as its own replay of
saved results tells it of one: the vector in its repository is replaced. Its answer is `get_incumbents`: the best at any
resource. Its resources are R / 3^k, rounded.
"""

from __future__ import annotations

import tempfile

import numpy as np
from dehb import DEHB
from traces import MIN_RESOURCE, REDUCTION_FACTOR, Job, Setting, main


class Dehb:
    """One worker as it sees it (more would start Dask), but it may be asked again before it is told."""

    resumes = False

    def __init__(self, setting: Setting) -> None:
        self.rows = setting.rows
        self.folder = tempfile.TemporaryDirectory()
        self.dehb = DEHB(
            dimensions=len(self.rows.parameters),
            min_fidelity=MIN_RESOURCE,
            max_fidelity=setting.max_resource,
            eta=REDUCTION_FACTOR,
            seed=setting.seed,
            n_workers=1,
            save_freq="end",
            output_path=self.folder.name,
            log_level="ERROR",
        )
        self.row_of: dict[int, int] = {}  # its number of a configuration -> row
        self.incumbent: int | None = None

    def ask(self) -> Job | None:
        if self.rows.tried.all():
            return None
        job = self.dehb.ask()
        number = int(job["config_id"])
        if number not in self.row_of:
            row = self.rows.take_point(np.asarray(job["config"]))
            assert row is not None
            self.row_of[number] = row
            self.dehb.config_repository.configs[number].config = self.rows.point(row)
        job["config"] = self.rows.point(self.row_of[number])
        return Job(self.row_of[number], max(1, round(job["fidelity"])), job)

    def report(self, job: Job, resource: int, loss: float) -> bool:
        if resource < job.until:
            return True
        before = self.dehb.inc_score
        self.dehb.tell(job.handle, {"fitness": loss, "cost": float(resource)})
        if self.dehb.inc_score < before:
            self.incumbent = job.row
        return False

    def answer(self) -> int | None:
        return self.incumbent


if __name__ == "__main__":
    main({"dehb": Dehb}, packages=["dehb"])
