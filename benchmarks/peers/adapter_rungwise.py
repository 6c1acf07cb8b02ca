"""Rungwise: the scheduler objects, asked and told as `rungwise.Study` does it.

Only the scheduler is timed, as with the peers, not the study around it (log, checks, searcher). Every run is compared
with `rungwise.simulate` on the same curves: the loop of this benchmark and the library's own must agree.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from simulator import MIN_RESOURCE, REDUCTION_FACTOR, Job, Report, Run, Setting, best_at_highest, main

import rungwise as rw
from rungwise import events
from rungwise.events import Promote, Promoted, Raise, Result, Start, Started

SCHEDULERS: dict[str, type[rw.ASHA] | type[rw.PASHA]] = {"PASHA": rw.PASHA, "ASHA": rw.ASHA}


def scheduler(method: str, max_resource: int) -> rw.ASHA | rw.PASHA:
    make = SCHEDULERS[method]
    return make(min_resource=MIN_RESOURCE, reduction_factor=REDUCTION_FACTOR, max_resource=max_resource)


class Rungwise:
    """A scheduler; losses are what it takes."""

    def __init__(self, setting: Setting, method: str) -> None:
        self.scheduler = scheduler(method, setting.max_resource)
        self.mode, self.sign = setting.mode, -1.0 if setting.mode == "max" else 1.0

    def ask(self, new: int | None) -> Job | None:
        ask, tell = self.scheduler.ask, self.scheduler.tell
        while isinstance(answer := ask(), Raise):
            tell(answer.fact)
        if isinstance(answer, Promote):
            tell(Promoted(answer.trial, answer.until, answer.rank, answer.size))
            return Job(answer.trial, answer.until)
        if new is None or not isinstance(answer, Start):
            return None
        tell(Started(new, {}, answer.until))
        return Job(new, answer.until)

    def report(self, job: Job, resource: int, score: float) -> bool:
        losses = (self.sign * score,)
        self.scheduler.tell(events.Report(job.trial, resource, losses))
        if resource < job.until:
            return True
        self.scheduler.tell(Result(job.trial, job.until, losses))
        return False

    def answer(self, reports: list[Report]) -> int | None:
        return best_at_highest(reports, self.mode)  # Study.best


def same_as_the_library(method: str, setting: Setting, run: Run, scores: np.ndarray, seconds: np.ndarray) -> None:
    """Raise if `rungwise.simulate` says otherwise."""
    table = rw.CurveTable(scores, seconds, mode=setting.mode)
    rows = range(setting.trials)
    there, early = (
        rw.simulate(scheduler(method, setting.max_resource), table, trials=setting.trials, rows=rows, drain=drain)
        for drain in (True, False)
    )
    theirs = (there.seconds, there.resource_used, there.best_trial, early.seconds, early.resource_used)
    best = best_at_highest(run.reports, setting.mode)
    ours = (run.seconds, len(run.reports), best, run.seconds_at_last_start, run.resource_at_last_start)
    if ours != theirs:
        raise AssertionError(f"{method}, {setting}: {ours} in this loop, {theirs} in rungwise.simulate")


if __name__ == "__main__":
    main(
        {method: partial(Rungwise, method=method) for method in SCHEDULERS},
        packages=["rungwise", "numpy"],
        check=same_as_the_library,
    )
