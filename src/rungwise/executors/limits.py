"""Has a job run for too long? By the seconds of the job, of each epoch, or of its silence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from rungwise.events import Job, Reported

AS_FAST = 1.5  # times the mean of the epochs before: no slower than these, as far as one can tell


@dataclass
class Clock:
    """What the limits go by in one job."""

    start: int = 0  # where its training began: at the job's start, or before it if there was no checkpoint
    until: int = 0
    begun: float = 0.0
    training: float | None = None  # since when the function has been at work: not while its process still starts
    heard: float = 0.0
    reached: int = 0
    seconds: float = 0.0  # of training, up to there


@final
class Limits:
    """Three limits in seconds, each None for no limit; `now` is always the present on one clock that only goes up."""

    def __init__(
        self,
        *,
        job_seconds: float | None = None,
        epoch_seconds: float | None = None,
        silence_seconds: float | None = None,
    ) -> None:
        self._job = math.inf if job_seconds is None else job_seconds
        self._epoch = math.inf if epoch_seconds is None else epoch_seconds
        self._silence = math.inf if silence_seconds is None else silence_seconds
        self.any = min(self._job, self._epoch, self._silence) < math.inf
        self._epochs, self._seconds = 0, 0.0  # of all jobs

    def begin(self, job: Job, now: float) -> Clock:
        """The clock of a job that is given out now."""
        return Clock(job.start, job.until, now, None, now, job.start)

    def reported(self, clock: Clock, report: Reported) -> None:
        """Take what the job of `clock` has reported."""
        if report.resource <= clock.reached:  # it trains from the start again
            clock.start = clock.reached = min(clock.start, report.resource - 1)
        self._epochs += report.resource - clock.reached
        self._seconds += report.seconds
        clock.seconds += report.seconds
        clock.reached = report.resource

    def overrun(self, clock: Clock, now: float) -> str | None:
        """Which limit the job of `clock` has passed, and what it means; None if none."""
        epochs = clock.until - clock.start
        if now - clock.begun > self._job:
            return f"the job took longer than job_seconds={self._job:g}{self._meant(clock, now)}"
        if clock.training is not None and now - clock.training > self._epoch * epochs:
            each = "its epoch" if epochs == 1 else f"each of its {epochs} epochs"
            total = "" if epochs == 1 else f", {self._epoch * epochs:g} s in all"
            stretch = f"{clock.start} to {clock.until}"
            return f"the job took longer than epoch_seconds={self._epoch:g} for {each} ({stretch}){total}"
        if now - clock.heard > self._silence:
            return f"the job said nothing for silence_seconds={self._silence:g}"
        return None

    def _meant(self, clock: Clock, now: float) -> str:
        """What to limit instead, where a job trained as fast as those before and was only longer."""
        done = clock.reached - clock.start
        before = self._epochs - done
        if done == 0 or before == 0:
            return ""
        each, earlier = clock.seconds / done, (self._seconds - clock.seconds) / before
        if each > AS_FAST * earlier or now - clock.heard > 3 * max(each, earlier):
            return ""
        return (
            f", though its epochs took no longer than those before ({each:.2g} s each): {clock.start} to {clock.until} "
            "is more than that allows; epoch_seconds limits an epoch, silence_seconds finds what hangs"
        )
