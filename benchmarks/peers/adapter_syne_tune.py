"""Syne Tune 0.13: `HyperbandScheduler`, called as its `Tuner` does it.

Trials have no configuration but their number, which a searcher of a few lines hands out. No `max_resource_attr`: jobs
are told to pause when they report at a rung. A PASHA run depends on the hash seed (it iterates sets of strings);
run.py sets PYTHONHASHSEED=0.
"""

from __future__ import annotations

import datetime
import logging
from functools import partial
from typing import Any

from simulator import MIN_RESOURCE, REDUCTION_FACTOR, Job, Report, Setting, best_of, main
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import randint
from syne_tune.optimizer.scheduler import SchedulerDecision
from syne_tune.optimizer.schedulers.hyperband import HyperbandScheduler
from syne_tune.optimizer.schedulers.searchers.searcher import BaseSearcher

logging.disable(logging.WARNING)
METRIC, EPOCH = "score", "epoch"


class Numbers(BaseSearcher):
    """Hands out trial numbers, and nothing when there are enough."""

    def __init__(self, space: dict[str, Any], trials: int) -> None:
        super().__init__(space, metric=METRIC, points_to_evaluate=[])
        self.trials = trials

    def get_config(self, **kwargs: Any) -> dict[str, Any] | None:
        number = int(kwargs["trial_id"])
        return {"number": number} if number < self.trials else None

    def _update(self, trial_id: str, config: dict[str, Any], result: dict[str, Any]) -> None:
        pass

    def clone_from_state(self, state: dict[str, Any]) -> Numbers:
        raise NotImplementedError


class SyneTune:
    """`type` is "pasha", "promotion" or "stopping"."""

    def __init__(self, setting: Setting, type: str) -> None:
        space = {"number": randint(0, setting.trials)}
        self.scheduler = HyperbandScheduler(
            space,
            searcher=Numbers(space, setting.trials),
            type=type,
            metric=METRIC,
            mode=setting.mode,
            resource_attr=EPOCH,
            max_t=setting.max_resource,
            grace_period=MIN_RESOURCE,
            reduction_factor=REDUCTION_FACTOR,
            random_seed=setting.seed,
        )
        self.setting = setting
        self.trials: list[Trial] = []
        self.born = datetime.datetime.now()

    def ask(self, new: int | None) -> Job | None:
        suggestion = self.scheduler.suggest(self.setting.trials if new is None else new)
        if suggestion is None:
            return None
        if not suggestion.spawn_new_trial_id:
            return Job(int(suggestion.checkpoint_trial_id), self.setting.max_resource)
        assert new is not None
        self.trials.append(Trial(new, suggestion.config, self.born))
        self.scheduler.on_trial_add(self.trials[new])
        return Job(new, self.setting.max_resource)

    def report(self, job: Job, resource: int, score: float) -> bool:
        trial = self.trials[job.trial]
        if self.scheduler.on_trial_result(trial, {METRIC: score, EPOCH: resource}) == SchedulerDecision.CONTINUE:
            return True
        self.scheduler.on_trial_remove(trial)
        return False

    def answer(self, reports: list[Report]) -> int | None:
        return best_of(reports, self.setting.mode)  # Tuner.best_config: the best of all results at any resource


if __name__ == "__main__":
    main(
        {
            "PASHA": partial(SyneTune, type="pasha"),
            "ASHA, promotion": partial(SyneTune, type="promotion"),
            "ASHA, stopping": partial(SyneTune, type="stopping"),
        },
        packages=["syne-tune", "numpy", "pandas"],
    )
