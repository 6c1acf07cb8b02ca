"""Which message is next? What workers say may come late, twice and out of order.

Imports `events` and `executors` only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import msgspec

from rungwise.events import Completed, Job, Reported
from rungwise.executors import Broke, Message, Paused, Said


@final
class Inbox:
    """Takes each message of the jobs that are out once and in order; what comes of others is refused.

    `leases` are those to give out, each of them once. `refused` and `repeated` count what was not taken.
    """

    def __init__(self, leases: Iterator[int]) -> None:
        self._leases = leases
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
            if isinstance(following, Completed | Broke | Paused):
                del self._out[message.trial]
                break  # what a signal's handler said meanwhile is of a job that has ended
        return taken


class _Lease:
    __slots__ = ("early", "next", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.next = 0
        self.early: dict[int, Message] = {}  # place -> a message that others should have come before
