"""How far is a study, and how long will it take? Of the totals that are set, the one nearest to its end says so."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, final

from rungwise.afford import HOUR
from rungwise.study import Study
from rungwise.words import counted, duration

ENOUGH = 2.0  # seconds after which there is something to go by


class Progress(NamedTuple):
    """`fraction` of the way (at most 1), in words, and the seconds left, None while there is nothing to go by."""

    fraction: float
    words: str
    left: float | None


@final
class Estimate:
    """Watches `study` from now on; times are in seconds of the caller's clock.

    The time left is what the rest takes at the pace since this was made. A study with a target alone has no progress.
    """

    def __init__(self, study: Study, now: float) -> None:
        self._study = study
        self._began = now
        self._before = study.running_seconds  # the study counts this session too, once it has told its time
        self._first: dict[str, tuple[float, float]] = {}  # total -> when it was looked at first, and where it was
        self.progress(now)

    def elapsed(self, now: float) -> float:
        """Seconds that the study has run, in all sessions."""
        return self._before + now - self._began

    def progress(self, now: float) -> Progress | None:
        """Where the study stands at `now`; None if no total says."""
        nearest: Progress | None = None
        for of, at, total, words in self._totals(now):
            since, first = self._first.setdefault(of, (now, at))
            if of == "seconds":
                left: float | None = total - at
            elif at <= first or now - since < ENOUGH:
                left = None
            else:
                left = (total - at) * (now - since) / (at - first)
            fraction = min(1.0, at / total)
            if nearest is None or fraction > nearest.fraction:
                nearest = Progress(fraction, words, None if fraction == 1.0 else left)
        return nearest

    def _totals(self, now: float) -> Iterator[tuple[str, float, float, str]]:
        """What there are totals of: its name, how much of it is done, the total, and both in words."""
        study, budget = self._study, self._study.budget
        for job in study.running:
            if job.refit:
                at = study.trials[job.trial].noted(job)
                yield f"refit to {job.until}", at - job.start, job.until - job.start, f"refit: {at} of {job.until}"
                return
        if budget.trials is not None:
            done = len(study.trials) - sum(job.start == 0 for job in study.running)
            yield "trials", done, budget.trials, of_total(done, budget.trials)
        if budget.resource is not None:
            used = study.resource_used
            yield "resource", used, budget.resource, f"resource {used} of {budget.resource}"
        if (units := study.state.total_units) is not None:
            spent = study.state.trained
            yield "budget", spent, units, f"budget {spent} of {units}"
        if budget.hours is not None:
            elapsed = self.elapsed(now)
            yield "seconds", elapsed, budget.hours * HOUR, f"{duration(elapsed)} of {duration(budget.hours * HOUR)}"
        if budget.seconds is not None and math.isfinite(budget.seconds):
            elapsed = self.elapsed(now)
            yield "seconds", elapsed, budget.seconds, f"{duration(elapsed)} of {duration(budget.seconds)}"


def of_total(trials: int, total: int | None) -> str:
    """How many trials there are of a total, which may have been lowered since."""
    if total is None:
        return counted(trials, "trial")
    if trials > total:
        return f"{counted(trials, 'trial')} (the total is now {total})"
    return f"{trials} of {counted(total, 'trial')}"
