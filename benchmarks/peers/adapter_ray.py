"""Ray Tune: `ASHAScheduler`, called as its controller does it, with a trial and a controller of a few lines.

No cluster, no actors, no trials of Ray's: only what decides is run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from simulator import MIN_RESOURCE, REDUCTION_FACTOR, Job, Report, Setting, best_of_last, main

METRIC, EPOCH = "score", "epoch"
CONTROLLER = None  # ASHAScheduler is handed the controller and never looks at it


@dataclass
class FakeTrial:
    """All that ASHAScheduler reads of a trial."""

    trial_id: str


class Ray:
    """A trial goes on until it is told to stop; the scheduler stops it at the end of its curve."""

    def __init__(self, setting: Setting) -> None:
        np.random.seed(setting.seed)  # it draws the bracket of a trial, even if there is one only
        self.scheduler = ASHAScheduler(
            time_attr=EPOCH,
            metric=METRIC,
            mode=setting.mode,
            max_t=setting.max_resource,
            grace_period=MIN_RESOURCE,
            reduction_factor=REDUCTION_FACTOR,
        )
        self.setting = setting
        self.trials: list[FakeTrial] = []

    def ask(self, new: int | None) -> Job | None:
        if new is None:
            return None
        self.trials.append(FakeTrial(str(new)))
        self.scheduler.on_trial_add(CONTROLLER, self.trials[new])
        return Job(new, self.setting.max_resource)

    def report(self, job: Job, resource: int, score: float) -> bool:
        trial, result = self.trials[job.trial], {METRIC: score, EPOCH: resource}
        if self.scheduler.on_trial_result(CONTROLLER, trial, result) == TrialScheduler.CONTINUE:
            return True
        self.scheduler.on_trial_complete(CONTROLLER, trial, result)
        return False

    def answer(self, reports: list[Report]) -> int | None:
        return best_of_last(reports, self.setting.mode)  # ResultGrid.get_best_result, scope "last"


if __name__ == "__main__":
    main({"ASHAScheduler": Ray}, packages=["ray", "numpy", "pandas"])
