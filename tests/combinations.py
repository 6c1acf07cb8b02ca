"""A small real study of any scheduler with any searcher, in a file, with workers that always say the same.

Imported by the processes that `test_combinations` kills.
"""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import Any

import objectives
import rungwise as rw
from rungwise.core import as_scheduler
from rungwise.events import Completed, Fact, Job, Reported
from rungwise.executors import Broke, Message, Said
from rungwise.loop import Inbox, drive
from rungwise.sqlite import SQLiteLog

TRIALS, TOP = 12, 9
FAILS, DIVERGES = 3, 6  # the numbers of two trials
SPACE = {
    "x": rw.Float(0, 1),
    "lr": rw.Float(1e-4, 1, log=True),
    "units": rw.Integer(8, 256, log=True),
    "optimizer": rw.Categorical(["sgd", "adam"]),
    "momentum": rw.Float(0, 0.99, when={"optimizer": "sgd"}),
}
SEARCHERS: dict[str, dict[str, Any]] = {  # such that all have learnt something after a few trials
    "random": {"name": "random"},
    "sobol": {"name": "sobol"},
    "grid": {"name": "grid", "points": 3},
    "density": {"name": "density", "random_share": 0},
    "evolution": {"name": "evolution", "population": 4, "sample": 2},
    "tpe": {"name": "tpe", "n_startup_trials": 4},
    "gp": {"name": "gp", "initial": 6},
    "screened": {"name": "screened", "proxy": "objectives:proxy", "searcher": "random"},
    "first": {"name": "evolution", "population": 4, "sample": 2},  # after INITIAL
}
INITIAL = [
    {"x": 0.5, "lr": 0.01, "units": 64, "optimizer": "adam"},
    {"x": 0.1, "lr": 0.1, "units": 8, "optimizer": "sgd", "momentum": 0.9},
]
SCHEDULERS: dict[str, dict[str, Any]] = {
    **{name: {"name": name} for name in rw.core.SCHEDULERS if name != "async-hyperband"},
    **{f"async-hyperband over {name}": {"name": "async-hyperband", "ladder": name} for name in ("asha", "pasha")},
}


class Alike:
    """Two workers in this process whose next word follows from the jobs under way and what was reported of them.

    So a driver that was killed hears what it would have heard.
    """

    capacity = 2

    def __init__(self) -> None:
        self._jobs: dict[int, tuple[Job, int, int]] = {}  # trial -> its job, resource reached, messages sent

    def submit(self, job: Job) -> None:
        self._jobs[job.trial] = job, max(job.start, job.reported), 0

    def poll(self, timeout: float) -> list[Said]:
        trial = min(self._jobs, key=lambda trial: (self._jobs[trial][1], trial))  # the one that is least far
        job, reached, place = self._jobs.pop(trial)
        message: Message
        if trial == FAILS:
            message = Broke(trial, "no memory")
        elif reached == job.until:
            message = Completed(trial)
        else:
            message = Reported(trial, reached + 1, None if trial == DIVERGES else score(job.config, reached + 1), 0.1)
            self._jobs[trial] = job, reached + 1, place + 1
        return [Said(job.lease, place, message)]


def score(config: dict[str, Any], resource: int) -> float:
    loss = (config["x"] - 0.3) ** 2 + (math.log10(config["lr"]) + 2) ** 2 / 4 + abs(config["units"] - 64) / 256
    return -loss * (1 + 1 / resource) - config.get("momentum", 0.5) / resource


def study_of(path: Path, scheduler: str, searcher: str) -> rw.Study:
    return rw.Study(
        SPACE,
        as_scheduler(SCHEDULERS[scheduler], TOP),
        SEARCHERS[searcher],
        mode="max",
        initial=INITIAL if searcher == "first" else (),
        path=path,
    )


def run(path: Path, scheduler: str, searcher: str, last: int | None = None) -> None:
    """Run the study to its end, or, before it notes one fact more than `last`, to that of this process."""
    if last is not None:
        die_after(last)
    study = study_of(path, scheduler, searcher)
    study.extend(trials=TRIALS)
    drive(study, Inbox(Alike()))
    study.close()


def tune(path: Path, scheduler: str, searcher: str, last: int | None = None) -> None:
    """The same with two real worker processes."""
    if last is not None:
        die_after(last)
    rw.tune(
        objectives.train,
        SPACE,
        mode="min",
        scheduler=as_scheduler(SCHEDULERS[scheduler], TOP),
        searcher=SEARCHERS[searcher],
        initial=INITIAL if searcher == "first" else (),
        trials=TRIALS,
        workers=2,
        study=path,
        quiet=True,
    )


def die_after(last: int) -> None:
    """End this process with SIGKILL when it has noted `last` facts; those that are not durable are lost."""
    append, noted = SQLiteLog.append, 0

    def counted(log: SQLiteLog, fact: Fact) -> None:
        nonlocal noted
        if noted == last:
            os.kill(os.getpid(), signal.SIGKILL)
        noted += 1
        append(log, fact)

    SQLiteLog.append = counted  # type: ignore[method-assign]
