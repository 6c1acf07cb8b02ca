"""Which message is next? What workers say may come late, twice and out of order.

Imports `events` and `executors` only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import final

import msgspec

from rungwise.events import Completed, Job
from rungwise.executors import Broke, Message, Paused, Said
from rungwise.validation import copied

LAST = (Completed, Broke, Paused)  # no message of a job comes after one of these


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
        """`job` under a lease of its own, which ends with its last message; its worker may change its `config`."""
        number = next(self._leases)
        self._out[job.trial] = _Lease(number)
        return msgspec.structs.replace(job, lease=number, config=copied(job.config))

    def take(self, heard: Iterable[Said]) -> list[Message]:
        """The messages that are next, now that `heard` is here."""
        taken: list[Message] = []
        for said in heard:
            message, place = said.message, said.place
            lease = self._out.get(message.trial)
            if lease is None or lease.number != said.lease:
                self.refused += 1
            elif place == lease.next and not lease.early:  # nearly always
                lease.next += 1
                taken.append(message)
                if type(message) in LAST:
                    del self._out[message.trial]
            elif place is None:
                del self._out[message.trial]
                taken.append(message)
            elif place < lease.next or place in lease.early:
                self.repeated += 1
            else:
                lease.early[place] = message
                taken += self._in_order(lease)
        return taken

    def _in_order(self, lease: _Lease) -> Iterator[Message]:
        while (message := lease.early.pop(lease.next, None)) is not None:
            lease.next += 1
            yield message
            if type(message) in LAST:
                del self._out[message.trial]
                return  # what a signal's handler said meanwhile is of a job that has ended


class _Lease:
    __slots__ = ("early", "next", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.next = 0
        self.early: dict[int, Message] = {}  # place -> a message that others should have come before
