"""The loop: give out jobs, take what workers say, note it. The same lines on real and on virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import final

import msgspec

from rungwise.events import Completed, Failed, Job, Reported, Retried
from rungwise.executors import Broke, Message, Paused, Said, Workers
from rungwise.study import Study


def drive(
    study: Study,
    workers: Workers,
    *,
    retries: int = 0,
    drain: bool = True,
    may_give_out: Callable[[], bool] = lambda: True,
    stopping: Callable[[], bool] = lambda: False,
    watch: Callable[[list[Message]], None] = lambda messages: None,
    first_lease: int = 0,
) -> None:
    """Run `study` on `workers` until nothing runs and no more work can be given out.

    A job is begun only when the fact that gives it out is durable. Free workers get work after each job
    that ends, before the next message is read. A job that breaks off is given out again up to `retries`
    times. With `drain=False` it ends at the moment when the last trial of the budget is started.
    `may_give_out` is asked before each job is given out. What breaks off while `stopping` is not held against its job:
    it is as if it had paused. `watch` sees the messages of each round. Leases are
    counted from `first_lease`; where workers may outlive their driver, no two drivers should give the same.
    """
    free = workers.size
    inbox = Inbox(first_lease)
    messages: list[Message] = []
    jobs = _jobs(study, free, drain, may_give_out)
    while True:
        study.flush()
        watch(messages)
        for job in jobs:
            workers.submit(inbox.lease(job))
        free -= len(jobs)
        if free == workers.size or _all_started(study, drain):
            return
        messages, jobs = [message for said in workers.poll() for message in inbox.take(said)], []
        for message in messages:
            if _take(study, message, retries, stopping):
                free += 1
                jobs += _jobs(study, free - len(jobs), drain, may_give_out)


def _jobs(study: Study, free: int, drain: bool, may_give_out: Callable[[], bool]) -> list[Job]:
    """Jobs for `free` workers, as many as there are now."""
    jobs: list[Job] = []
    while len(jobs) < free and not _all_started(study, drain) and may_give_out():
        if (job := study.hand_out()) is None:
            break
        jobs.append(job)
    return jobs


@final
class Inbox:
    """Takes each message of the jobs that are out once and in order; what comes of others is refused.

    `refused` and `repeated` count what was not taken.
    """

    def __init__(self, first_lease: int = 0) -> None:
        self._leases = count(first_lease)
        self._out: dict[int, _Lease] = {}  # trial -> what it was given out under
        self.refused = self.repeated = 0

    def lease(self, job: Job) -> Job:
        """`job` under a lease of its own, which ends with its last message."""
        number = next(self._leases)
        self._out[job.trial] = _Lease(number)
        return msgspec.structs.replace(job, lease=number)

    def take(self, said: Said) -> Sequence[Message]:
        """The messages that are next, now that `said` is here."""
        message = said.message
        lease = self._out.get(message.trial)
        if lease is None or lease.number != said.lease:
            self.refused += 1
            return ()
        if said.place == lease.next and not lease.early and type(message) is Reported:  # nearly always
            lease.next += 1
            return (message,)
        if said.place is None:
            del self._out[message.trial]
            return (message,)
        if said.place < lease.next or said.place in lease.early:
            self.repeated += 1
            return ()
        lease.early[said.place] = message
        taken = []
        while (following := lease.early.pop(lease.next, None)) is not None:
            lease.next += 1
            taken.append(following)
        if taken and isinstance(taken[-1], Completed | Broke | Paused):
            del self._out[message.trial]
        return taken


class _Lease:
    __slots__ = ("early", "next", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.next = 0
        self.early: dict[int, Message] = {}  # place -> a message that others should have come before


def _take(study: Study, message: Message, retries: int, stopping: Callable[[], bool]) -> bool:
    """Note one message; whether a job has ended with it, so that there may be work for a free worker."""
    if isinstance(message, Reported):
        study.take(message)
    elif isinstance(message, Completed):
        study.take(message)
        return True
    elif isinstance(message, Broke):
        if stopping():
            return True
        again = study.trials[message.trial].attempts < retries
        study.take((Retried if again else Failed)(message.trial, message.reason))
        return True
    return isinstance(message, Paused)


def _all_started(study: Study, drain: bool) -> bool:
    return not drain and len(study.trials) == study.budget.trials
