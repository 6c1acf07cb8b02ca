"""Who does the training? Executors take jobs and say what happens; they decide nothing.

A worker speaks in facts (`Reported`, `Completed`), and in the messages below, of which the loop makes facts. It
numbers what it says of a job, so that the loop takes each message once and in order, whatever lies between the two.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import msgspec

from rungwise.events import Completed, Job, Reported

TICK = 0.2  # seconds that the loop waits at most for something to happen


class Begun(msgspec.Struct, frozen=True, tag_field="fact", tag=str.lower):
    """The job of `trial` begins: its worker is there, and has loaded the function."""

    trial: int


class Broke(msgspec.Struct, frozen=True, tag_field="fact", tag=str.lower):
    """The job of `trial` broke off: the function raised, ran out of time, or its process died."""

    trial: int
    reason: str


class Paused(msgspec.Struct, frozen=True, tag_field="fact", tag=str.lower):
    """The job of `trial` stopped at a checkpoint because it was asked to; it will be given out again."""

    trial: int


class Noticed(msgspec.Struct, frozen=True, tag_field="fact", tag=str.lower):
    """Something that the user should know of the job of `trial`, which goes on."""

    trial: int
    text: str


Message = Begun | Reported | Completed | Broke | Paused | Noticed


class Said(msgspec.Struct, frozen=True, tag_field="fact", tag=str.lower):
    """Message number `place` (from 0) of the job that was given out with `lease`.

    Without `place` it is not the worker that speaks but the one who watches over it: the worker is gone, or has not
    begun, and what it may still say is not to be heard.
    """

    lease: int
    place: int | None
    message: Message


class Workers(Protocol):
    """What the loop needs of an executor."""

    @property
    def capacity(self) -> int:
        """How many jobs may run at once, now."""
        ...

    def submit(self, job: Job) -> None:
        """Begin a job."""
        ...

    def poll(self, timeout: float) -> list[Said]:
        """Wait until something happens, at most `timeout` seconds; what was said."""
        ...


@runtime_checkable
class Executor(Workers, Protocol):
    """Runs jobs somewhere and brings back what they say. One thread calls it; nothing but `poll` waits.

    Where a job is to run, call there, once::

        run_job(job, function, storage, say, pausing)  # from rungwise.executors.job

    It calls the user's `function`, keeps files and checkpoints in `storage` (a `rungwise.storage.Storage`: a folder,
    and with `tune(…, checkpoints=…)` a store, which driver and workers see; it can be pickled), calls `say(said)` for
    whatever is to come out of `poll` (a `Said` can be pickled; what `say` cannot send it refuses with `InputError`),
    and asks `pausing()` at each checkpoint whether to stop there. So an executor begins workers, carries `Said`s to the
    driver, and notices when a worker is gone. It is made from the function and the storage:
    `tune(function, …, executor=make)` calls `make(function, storage)`. A worker is a process that can be killed, and
    that ends when its driver is gone. `rungwise.testing.check_executor(make)` checks all that is said here.
    """

    @property
    def capacity(self) -> int:
        """How many jobs may run at once, now. It may change in `poll`, down to 0 and up.

        If there is less of it than jobs that run, those run on, and no more are submitted until there is room.
        """
        ...

    def submit(self, job: Job) -> None:
        """Begin a job; no more than `capacity` are submitted at once.

        If it cannot be begun, `Broke` without a place is said of it, at the next `poll`. `StudyError` if no job ever
        can. Begun a second time, which an engine may do behind one's back, or under a lease that is older than that of
        another job of its trial, it trains nothing: `run_job` says `Broke` without a place.
        """
        ...

    def poll(self, timeout: float) -> list[Said]:
        """Wait until something happens, at most `timeout` seconds; what was said since.

        It may come late, twice and out of order, but not be lost: where it would be, and where a worker dies before its
        job has said its last (`Completed`, `Broke` or `Paused`), the executor says of the job
        `Said(job.lease, None, Broke(job.trial, reason))`, after all else that is heard of it. Where the worker was
        taken away by whoever owns it, as preempted machines are, that is `Paused` in place of `Broke`: it is not held
        against the job, which is given out again however often that happens.
        """
        ...

    def pause(self) -> None:
        """Ask all jobs that run to stop at their next checkpoint (`pausing()`), not those that are submitted later."""
        ...

    def cancel(self, lease: int) -> None:
        """End the worker of the job that runs under `lease`: from now on `poll` says nothing of it, no end either.

        If there is none, because it has ended, nothing happens.
        """
        ...

    def close(self) -> None:
        """End all workers, now. Nothing is called after it, but it may be called twice."""
        ...
