"""Optuna: ask, report, should_prune and tell of a study in memory, with a pruner.

Trials have no parameters: trial n is configuration n.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, SuccessiveHalvingPruner
from simulator import MIN_RESOURCE, REDUCTION_FACTOR, Job, Report, Setting, main

optuna.logging.set_verbosity(optuna.logging.ERROR)
PRUNED = optuna.trial.TrialState.PRUNED


def successive_halving(setting: Setting) -> BasePruner:
    return SuccessiveHalvingPruner(
        min_resource=MIN_RESOURCE, reduction_factor=REDUCTION_FACTOR, min_early_stopping_rate=0
    )


def hyperband(setting: Setting) -> BasePruner:
    return HyperbandPruner(
        min_resource=MIN_RESOURCE, max_resource=setting.max_resource, reduction_factor=REDUCTION_FACTOR
    )


class Optuna:
    """A study; a trial goes on until it is pruned or at the end of its curve."""

    def __init__(self, setting: Setting, pruner: Callable[[Setting], BasePruner]) -> None:
        self.max_resource = setting.max_resource
        self.study = optuna.create_study(
            direction="maximize" if setting.mode == "max" else "minimize",
            sampler=optuna.samplers.RandomSampler(seed=setting.seed),
            pruner=pruner(setting),
            study_name=f"{setting.task}-{setting.seed}",  # the Hyperband pruner draws brackets from the name
        )
        self.trials: list[optuna.Trial] = []

    def ask(self, new: int | None) -> Job | None:
        if new is None:
            return None
        self.trials.append(self.study.ask())
        return Job(new, self.max_resource)

    def report(self, job: Job, resource: int, score: float) -> bool:
        trial = self.trials[job.trial]
        trial.report(score, resource)
        if trial.should_prune():
            self.study.tell(trial, state=PRUNED)
            return False
        if resource == self.max_resource:
            self.study.tell(trial, score)
            return False
        return True

    def answer(self, reports: list[Report]) -> int | None:
        try:
            return self.study.best_trial.number  # pruned trials do not count
        except ValueError:  # none was trained to the end
            return None


if __name__ == "__main__":
    main(
        {
            "SuccessiveHalvingPruner": partial(Optuna, pruner=successive_halving),
            "HyperbandPruner": partial(Optuna, pruner=hyperband),
        },
        packages=["optuna", "numpy"],
    )
