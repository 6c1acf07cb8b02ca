"""Which job has run for too long? An executor around any other: it ends those that do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import final

from rungwise.events import Completed, Job, Reported
from rungwise.executors import Begun, Broke, Executor, Paused, Said
from rungwise.executors.limits import Clock, Limits

MOST = 100  # times that it is still listened to a job that has to end


@final
class Limited:
    """`executor` with `limits`: a job that overruns is canceled, and has broken off."""

    def __init__(self, executor: Executor, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._executor, self._limits, self._clock = executor, limits, clock
        self._jobs: dict[int, tuple[int, Clock]] = {}  # lease -> the trial, and its clock

    @property
    def capacity(self) -> int:
        """That of the executor."""
        return self._executor.capacity

    def submit(self, job: Job) -> None:
        """Begin a job, and its time."""
        self._executor.submit(job)
        self._jobs[job.lease] = job.trial, self._limits.begin(job, self._clock())

    def poll(self, timeout: float) -> list[Said]:
        """What is said, and last what has overrun."""
        heard = self._listen(timeout)
        if not self._overdue():
            return heard
        for _ in range(MOST):  # what was said last comes first: this process may have slept
            if not (more := self._listen(0)):
                break
            heard += more
        for lease, trial, why in self._overdue():
            self.cancel(lease)
            heard.append(Said(lease, None, Broke(trial, why)))
        return heard

    def _listen(self, timeout: float) -> list[Said]:
        heard = self._executor.poll(timeout)
        now = self._clock()
        for said in heard:
            if (job := self._jobs.get(said.lease)) is None:
                continue
            clock, message = job[1], said.message
            clock.heard = now
            if isinstance(message, Reported):
                self._limits.reported(clock, message)
            elif isinstance(message, Begun):
                clock.training = now
            elif isinstance(message, Completed | Broke | Paused):
                del self._jobs[said.lease]
        return heard

    def _overdue(self) -> list[tuple[int, int, str]]:
        now = self._clock()
        clocks = self._jobs.items()
        return [(lease, trial, why) for lease, (trial, clock) in clocks if (why := self._limits.overrun(clock, now))]

    def pause(self) -> None:
        """As the executor does."""
        self._executor.pause()

    def cancel(self, lease: int) -> None:
        """As the executor does."""
        self._jobs.pop(lease, None)
        self._executor.cancel(lease)

    def close(self) -> None:
        """As the executor does."""
        self._executor.close()
