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


class Carrier(Protocol):
    """Carries jobs to workers and what they say back: what an `Inbox` needs of an executor."""

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
class Executor(Carrier, Protocol):
    """Runs jobs somewhere and brings back their messages. One thread calls it; only `poll` waits.

    In the process where a job is to run, call once::

        run_job(job, function, storage, say, pausing)  # from rungwise.executors.job

    It calls the user's `function` and keeps files and checkpoints in `storage` (a `rungwise.storage.Storage`: a folder,
    and with `tune(…, checkpoints=…)` a store, which driver and workers see; it can be pickled). It calls `say(said)`
    for each message that `poll` must return (a `Said` can be pickled; `say` raises `InputError` for what it cannot
    send), and asks `pausing()` at each checkpoint whether to stop there. So an executor starts workers, carries their
    `Said`s to the driver, and notices when a worker is gone. `tune(function, …, executor=make)` makes it as
    `make(function, storage)`. A worker is a process that can be killed, and that ends when its driver is gone.
    `rungwise.testing.check_executor(make)` checks all of this.
    """

    @property
    def capacity(self) -> int:
        """How many jobs may run at once now. It may change in `poll`, down to 0 and up.

        If more jobs are running than that, they continue, and no more are submitted until there is room.
        """
        ...

    def submit(self, job: Job) -> None:
        """Start a job; no more than `capacity` are submitted at once.

        If it cannot be started, the next `poll` returns `Broke` without a place for it. Raises `StudyError` if no job
        ever can. A job that is started a second time (an engine may do so by itself), or under an older lease than
        another job of its trial, trains nothing: `run_job` says `Broke` without a place.
        """
        ...

    def poll(self, timeout: float) -> list[Said]:
        """Wait until something happens, at most `timeout` seconds; return the messages since the last call.

        Messages may come late, twice, and out of order, but none may be lost. If one would be, or if a worker dies
        before its job has sent its last message (`Completed`, `Broke`, or `Paused`), return
        `Said(job.lease, None, Broke(job.trial, reason))` after all other messages of the job. If the worker was taken
        away by its owner, as preempted machines are, use `Paused` instead of `Broke`: it does not count against the
        job, which is given out again however often that happens.
        """
        ...

    def pause(self) -> None:
        """Ask all running jobs to stop at their next checkpoint (`pausing()`), but not those submitted later."""
        ...

    def cancel(self, lease: int) -> None:
        """End the worker of the job under `lease`; from now on `poll` returns nothing about it, not even its end.

        If the job has already ended, nothing happens.
        """
        ...

    def close(self) -> None:
        """End all workers now. Nothing else is called afterwards, but `close` may be called twice."""
        ...
