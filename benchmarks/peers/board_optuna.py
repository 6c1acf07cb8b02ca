"""Optuna: its default sampler (TPE) with a pruner; trials are not paused, so nothing is trained twice.

Its answer is `Study.best_trial`: the best of the trials that were not pruned.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from traces import MIN_RESOURCE, REDUCTION_FACTOR, Job, Rows, Setting, main

from rungwise.parameters import Float, Integer, Parameter

optuna.logging.set_verbosity(optuna.logging.ERROR)


def successive_halving(setting: Setting) -> BasePruner:
    return SuccessiveHalvingPruner(
        min_resource=MIN_RESOURCE, reduction_factor=REDUCTION_FACTOR, min_early_stopping_rate=0
    )


def hyperband(setting: Setting) -> BasePruner:
    return HyperbandPruner(
        min_resource=MIN_RESOURCE, max_resource=setting.max_resource, reduction_factor=REDUCTION_FACTOR
    )


def distribution(parameter: Parameter) -> BaseDistribution:
    if isinstance(parameter, Float):
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    if isinstance(parameter, Integer):
        return IntDistribution(parameter.low, parameter.high, log=parameter.log)
    return CategoricalDistribution(parameter.choices)


class Nearest(BaseSampler):
    """TPE, but the configuration is that of the nearest row that was not tried; `row` is None when all were."""

    def __init__(self, rows: Rows, seed: int) -> None:
        self.rows, self.inner = rows, TPESampler(seed=seed)
        self.space = {name: distribution(parameter) for name, parameter in rows.parameters.items()}
        self.row: int | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        together = self.inner.infer_relative_search_space(study, trial)
        values = self.inner.sample_relative(study, trial, together)
        for name, one in self.space.items():
            if name not in values:
                values[name] = self.inner.sample_independent(study, trial, name, one)
        self.row = self.rows.take(values)
        return values if self.row is None else self.rows.values(self.row)

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, one: BaseDistribution) -> Any:
        raise AssertionError(f"{name} is in the relative space")

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self.inner.after_trial(study, trial, state, values)


class Optuna:
    """A study in memory; a trial goes on until it is pruned or at the end of its curve."""

    resumes = True

    def __init__(self, setting: Setting, pruner: Callable[[Setting], BasePruner]) -> None:
        self.max_resource = setting.max_resource
        self.sampler = Nearest(setting.rows, setting.seed)
        self.study = optuna.create_study(
            sampler=self.sampler,
            pruner=pruner(setting),
            study_name=setting.name,  # the Hyperband pruner draws brackets from the name
        )
        self.rows: dict[int, int] = {}  # its number of a trial -> row

    def ask(self) -> Job | None:
        if self.sampler.rows.tried.all():
            return None
        trial = self.study.ask(self.sampler.space)
        assert self.sampler.row is not None
        self.rows[trial.number] = self.sampler.row
        return Job(self.sampler.row, self.max_resource, trial)

    def report(self, job: Job, resource: int, loss: float) -> bool:
        job.handle.report(loss, resource)
        if job.handle.should_prune():
            self.study.tell(job.handle, state=TrialState.PRUNED)
            return False
        if resource == self.max_resource:
            self.study.tell(job.handle, loss)
            return False
        return True

    def answer(self) -> int | None:
        try:
            return self.rows[self.study.best_trial.number]
        except ValueError:  # none was trained to the end
            return None


if __name__ == "__main__":
    main(
        {
            "optuna-tpe-halving": partial(Optuna, pruner=successive_halving),
            "optuna-tpe-hyperband": partial(Optuna, pruner=hyperband),
        },
        packages=["optuna"],
    )
