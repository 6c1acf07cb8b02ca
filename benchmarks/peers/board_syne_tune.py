"""Syne Tune 0.13: ASHA, BOHB, MOBSTER (`type="promotion"`) and DyHPO, called as its `Tuner` does it.

Paused trials go on from their checkpoints. Its answer is `Tuner.best_config`: the best of all reports at any resource.
No `max_resource_attr`: jobs are told to pause when they report at a rung.
"""

from __future__ import annotations

import datetime
import logging
from functools import partial
from typing import Any

from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import Domain, choice, lograndint, loguniform, randint, uniform
from syne_tune.optimizer.baselines import ASHA, BOHB, MOBSTER, DyHPO
from syne_tune.optimizer.scheduler import SchedulerDecision
from syne_tune.optimizer.schedulers.hyperband import HyperbandScheduler
from traces import MIN_RESOURCE, REDUCTION_FACTOR, BestEver, Job, Setting, main

from rungwise.parameters import Float, Integer, Parameter

logging.disable(logging.WARNING)
METRIC, EPOCH = "loss", "epoch"
LADDER = {"type": "promotion", "grace_period": MIN_RESOURCE, "reduction_factor": REDUCTION_FACTOR}


def domain(parameter: Parameter) -> Domain:
    if isinstance(parameter, Float):
        return (loguniform if parameter.log else uniform)(parameter.low, parameter.high)
    if isinstance(parameter, Integer):
        return (lograndint if parameter.log else randint)(parameter.low, parameter.high)
    return choice(list(parameter.choices))


class SyneTune:
    """A scheduler whose searcher's configurations become those of rows before the scheduler sees them."""

    resumes = True

    def __init__(self, setting: Setting, scheduler: type[HyperbandScheduler], options: dict[str, Any]) -> None:
        self.rows, self.max_resource = setting.rows, setting.max_resource
        search = {"debug_log": False} if scheduler is not ASHA else {}
        self.scheduler = scheduler(
            {name: domain(parameter) for name, parameter in self.rows.parameters.items()},
            metric=METRIC,
            mode="min",
            resource_attr=EPOCH,
            max_t=setting.max_resource,
            random_seed=setting.seed,
            search_options=search,
            **options,
        )
        self._row: int | None = None
        self._suggest = self.scheduler.searcher.get_config
        self.scheduler.searcher.get_config = self._nearest
        self.trials: list[Trial] = []
        self.row_of: list[int] = []
        self.best = BestEver()
        self.born = datetime.datetime.now()

    def _nearest(self, **kwargs: Any) -> dict[str, Any] | None:
        if self.rows.tried.all() or (config := self._suggest(**kwargs)) is None:
            return None
        self._row = self.rows.take(config)
        assert self._row is not None
        return self.rows.values(self._row)

    def ask(self) -> Job | None:
        suggestion = self.scheduler.suggest(len(self.trials))
        if suggestion is None:
            return None
        if not suggestion.spawn_new_trial_id:
            number = int(suggestion.checkpoint_trial_id)
            return Job(self.row_of[number], self.max_resource, number)
        assert self._row is not None
        number = len(self.trials)
        self.trials.append(Trial(number, suggestion.config, self.born))
        self.row_of.append(self._row)
        self.scheduler.on_trial_add(self.trials[number])
        return Job(self._row, self.max_resource, number)

    def report(self, job: Job, resource: int, loss: float) -> bool:
        trial = self.trials[job.handle]
        self.best.tell(job.row, loss)
        result = {METRIC: loss, EPOCH: resource}
        if self.scheduler.on_trial_result(trial, result) != SchedulerDecision.CONTINUE:
            self.scheduler.on_trial_remove(trial)
            return False
        if resource == self.max_resource:
            self.scheduler.on_trial_complete(trial, result)
        return True

    def answer(self) -> int | None:
        return self.best.row


if __name__ == "__main__":
    main(
        {
            "syne-tune-asha": partial(SyneTune, scheduler=ASHA, options=LADDER),
            "syne-tune-bohb": partial(SyneTune, scheduler=BOHB, options=LADDER),
            "syne-tune-mobster": partial(SyneTune, scheduler=MOBSTER, options=LADDER),
            "syne-tune-dyhpo": partial(SyneTune, scheduler=DyHPO, options={"grace_period": MIN_RESOURCE}),
        },
        packages=["syne-tune"],
    )
