"""NePS: its `asha` behind its own `AskAndTell`.

It takes one result for each evaluation, at the end of a job, so it is told nothing in between. The n-th configuration
that it samples (uniformly, without a look at the results) is trial n. When all trials have been started, a further
sample is withdrawn again: there is no promotion then.
"""

from __future__ import annotations

import logging
import random

import neps
import numpy as np
import torch
from simulator import MIN_RESOURCE, REDUCTION_FACTOR, Job, Report, Setting, best_of, main

logging.disable(logging.WARNING)
torch.set_num_threads(1)


class Neps:
    """It minimizes."""

    def __init__(self, setting: Setting) -> None:
        random.seed(setting.seed)
        np.random.seed(setting.seed)
        torch.manual_seed(setting.seed)

        class Space(neps.PipelineSpace):
            x = neps.Float(0.0, 1.0)
            epoch = neps.IntegerFidelity(MIN_RESOURCE, setting.max_resource)

        self.study = neps.AskAndTell(neps.algorithms.asha(Space(), eta=REDUCTION_FACTOR))
        self.sign = -1.0 if setting.mode == "max" else 1.0
        self.trials: dict[str, int] = {}  # its number of a configuration -> ours
        self.told: list[Report] = []

    def ask(self, new: int | None) -> Job | None:
        evaluation = self.study.ask()
        name = evaluation.id.split("_rung_")[0]
        if name not in self.trials:
            if new is None:
                del self.study.trials[evaluation.id]
                return None
            self.trials[name] = new
        return Job(self.trials[name], int(evaluation.config["epoch"]), evaluation)

    def report(self, job: Job, resource: int, score: float) -> bool:
        if resource < job.until:
            return True
        self.study.tell(job.handle, self.sign * score)
        self.told.append(Report(job.trial, resource, self.sign * score))
        return False

    def answer(self, reports: list[Report]) -> int | None:
        return best_of(self.told, "min")  # neps.status and best_config.txt: the best evaluation at any resource


if __name__ == "__main__":
    packages = ["neural-pipeline-search", "torch", "numpy", "pandas"]
    main({"asha": Neps}, packages=packages, one_result_a_job=True)
