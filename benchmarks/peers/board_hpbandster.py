"""HpBandSter: the original BOHB, its iterations and its configuration generator driven as `Master.run` does it.

Its workers get a budget and train from the beginning. Its answer is that of `Result.get_incumbent_id`: the best at the
largest budget. Its budgets are R / 3^k, rounded.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from config_space import config_space
from ConfigSpace import ConfigurationSpace

np.float, np.int, np.bool = float, int, bool  # type: ignore[attr-defined]  # names that it still uses

from hpbandster.core.dispatcher import Job as BandJob  # noqa: E402
from hpbandster.optimizers.bohb import BOHB  # noqa: E402
from hpbandster.optimizers.config_generators.bohb import BOHB as Generator  # noqa: E402
from traces import MIN_RESOURCE, REDUCTION_FACTOR, Job, Setting, main  # noqa: E402

logging.disable(logging.WARNING)


class Unmastered(BOHB):
    """Its Hyperband without name server, dispatcher and threads."""

    def __init__(self, space: ConfigurationSpace, max_budget: float) -> None:
        self.config_generator = Generator(configspace=space)
        self.eta, self.min_budget, self.max_budget = REDUCTION_FACTOR, MIN_RESOURCE, max_budget
        self.max_SH_iter = -int(np.log(self.min_budget / max_budget) / np.log(self.eta)) + 1
        self.budgets = max_budget * np.power(self.eta, -np.linspace(self.max_SH_iter - 1, 0, self.max_SH_iter))
        self.iterations: list[Any] = []


class HpBandSter:
    """Its loop; a result with the largest budget so far, and the least loss there, is its incumbent."""

    resumes = False

    def __init__(self, setting: Setting) -> None:
        self.rows = setting.rows
        self.band = Unmastered(config_space(self.rows, setting.seed), setting.max_resource)
        generator = self.band.config_generator
        suggest = generator.get_config
        self.row_of: dict[tuple[int, int, int], int] = {}  # its number of a configuration -> row

        def nearest(budget: float) -> tuple[dict[str, Any], dict[str, Any]]:
            config, about = suggest(budget)
            row = self.rows.take(config)
            assert row is not None
            self._row = row
            return self.rows.values(row), about

        generator.get_config = nearest
        self.best: tuple[float, float, int | None] = (0.0, np.inf, None)  # budget, loss, row

    def ask(self) -> Job | None:
        if self.rows.tried.all():
            return None
        for number in self.band.active_iterations():
            run = self.band.iterations[number].get_next_run()
            if run is not None:
                return self._job(*run)
        self.band.iterations.append(self.band.get_next_iteration(len(self.band.iterations), {}))
        return self._job(*self.band.iterations[-1].get_next_run())

    def _job(self, number: tuple[int, int, int], config: dict[str, Any], budget: float) -> Job:
        if number not in self.row_of:
            self.row_of[number] = self._row
        job = BandJob(number, config=config, budget=budget, working_directory=".")
        return Job(self.row_of[number], max(1, round(budget)), job)

    def report(self, job: Job, resource: int, loss: float) -> bool:
        if resource < job.until:
            return True
        job.handle.result, job.handle.exception = {"loss": loss, "info": {}}, None
        self.band.iterations[job.handle.id[0]].register_result(job.handle)
        self.band.config_generator.new_result(job.handle)
        budget = job.handle.kwargs["budget"]
        if (-budget, loss) < (-self.best[0], self.best[1]):
            self.best = (budget, loss, job.row)
        return False

    def answer(self) -> int | None:
        return self.best[2]


if __name__ == "__main__":
    main({"hpbandster-bohb": HpBandSter}, packages=["hpbandster", "ConfigSpace"])
