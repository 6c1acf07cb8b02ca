"""Optuna: two processes on one SQLite storage with heartbeats; a trial of a dead process is enqueued again.

The new trial has the same parameters and reports, and another number. Its name in the diary is the first number.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections import defaultdict
from pathlib import Path

import optuna
from diary import REDUCTION_FACTOR, TOP, TRIALS, WORKERS, ended, epochs, load, loss, main, note, save
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

DONE = (TrialState.COMPLETE, TrialState.PRUNED)


def study(folder: Path) -> optuna.Study:
    storage = RDBStorage(
        f"sqlite:///{folder}/study.db",
        engine_kwargs={"connect_args": {"timeout": 60}},
        heartbeat_interval=1,  # seconds, the shortest that can be told
        grace_period=5,  # with 2, a busy machine had a living trial taken for dead and trained twice at once
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True),
    )
    return optuna.create_study(
        storage=storage,
        study_name="study",
        load_if_exists=True,
        sampler=optuna.samplers.RandomSampler(),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=REDUCTION_FACTOR),
    )


def name(trial: optuna.trial.FrozenTrial) -> int:
    """The number under which the trial was first begun."""
    first = RetryHeartbeatStaleTrialCallback.retried_trial_number(trial)
    return trial.number if first is None else first


def work(folder: Path) -> None:
    """One of the processes."""

    def objective(trial: optuna.Trial) -> float:
        x, number = trial.suggest_float("x", 0, 1), name(mine.get_trials(deepcopy=False)[trial.number])
        checkpoint = folder / "checkpoints" / str(number)
        for epoch, value in epochs(number, x, load(checkpoint), TOP):
            save(checkpoint, epoch)
            trial.report(value, epoch)
            note("saved", number, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return loss(x, TOP)

    mine = study(folder)
    if len(mine.get_trials(deepcopy=False, states=DONE)) < TRIALS:
        mine.optimize(objective, callbacks=[optuna.study.MaxTrialsCallback(TRIALS, states=DONE)])


def run(folder: Path) -> None:
    study(folder)  # makes the tables before two processes would
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=work, args=(folder,)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    sys.exit(any(worker.exitcode for worker in workers))


def read(folder: Path) -> None:
    found: dict[str, set[TrialState]] = defaultdict(set)
    reports: dict[str, list[int]] = defaultdict(list)
    for trial in study(folder).trials:
        found[str(name(trial))].add(trial.state)
        reports[str(name(trial))] += trial.intermediate_values
    states = {
        number: "ended" if had & {*DONE} else "failed" if had == {TrialState.FAIL} else "stuck"
        for number, had in found.items()
    }
    ended("optuna", states=states, reports=reports)


if __name__ == "__main__":
    main(run, read)
