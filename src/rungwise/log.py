"""Where the facts are kept: the protocol of a log, and one in memory."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from rungwise.errors import InputError
from rungwise.events import Completed, Fact, Failed, Promoted, Reported, Started, TakenBack


class StudyError(RuntimeError):
    """A study cannot be opened, read, or written; the message names the file and the remedy."""


class Log(Protocol):
    """Facts in the order in which they became true, each with the time at which it was appended (Unix seconds)."""

    @property
    def path(self) -> Path | None:
        """The file that holds it, if one does."""
        ...

    def read(self, after: int = 0) -> Iterator[tuple[float, Fact]]:
        """The durable facts in order, without the first `after`, so that a reader can continue."""
        ...

    def append(self, fact: Fact) -> None:
        """Append a fact; it is durable after the next `flush`."""
        ...

    def flush(self) -> None:
        """Make everything appended durable, all or nothing."""
        ...

    def sync(self) -> None:
        """From now on `flush` waits for the disk: a power cut loses nothing that was flushed."""
        ...

    def close(self) -> None:
        """Release the log; nothing can be appended afterwards."""
        ...


class MemoryLog:
    """A log that lives as long as the process. It has no clock: all times are 0.

    The last facts are as they came. Those before are packed: reports of one score, nearly all, are columns of 24 bytes
    a report instead of some 100. Of each other fact is noted how many reports came before it, and what it says.
    """

    path = None

    def __init__(self) -> None:
        self._recent: list[Fact] = []
        self.append = self._recent.append
        self._trials, self._resources, self._scores, self._seconds = array("i"), array("i"), array("d"), array("d")
        self._before = array("i")  # by other fact
        self._ends = array("q")  # by other fact: where in `_packed` it ends
        self._packed = bytearray()
        self._rare: dict[int, Fact] = {}  # those that are as they came

    def _pack(self) -> None:
        for fact in self._recent:
            if type(fact) is Reported and type(fact.score) is float and fact.resource < _END:
                self._trials.append(fact.trial)
                self._resources.append(fact.resource)
                self._scores.append(fact.score)
                self._seconds.append(fact.seconds)
                continue
            try:
                self._packed += _encode((_SHORT.index(type(fact)), *msgspec.structs.astuple(fact)))
            except (ValueError, OverflowError):  # of another kind, or with a number of more than 64 bits
                self._rare[len(self._ends)] = fact
            self._before.append(len(self._trials))
            self._ends.append(len(self._packed))
        self._recent.clear()

    def read(self, after: int = 0) -> Iterator[tuple[float, Fact]]:
        """All facts but the first `after`."""
        number = after
        while True:
            recent = number - len(self._ends) - len(self._trials)
            if recent < 0:
                for fact in self._unpacked(number):
                    yield 0.0, fact
                    number += 1
            elif recent < len(self._recent):
                yield 0.0, self._recent[recent]
                number += 1
            else:
                return

    def _unpacked(self, after: int) -> Iterator[Fact]:
        ends, before = self._ends, self._before
        other = bisect_left(range(len(ends)), after, key=lambda place: before[place] + place)
        report = after - other
        while True:
            if other < len(ends) and before[other] == report:
                yield self._other(other)
                other += 1
            elif report < len(self._trials):
                at = report
                yield Reported(self._trials[at], self._resources[at], self._scores[at], self._seconds[at])
                report += 1
            else:
                return

    def _other(self, place: int) -> Fact:
        if (fact := self._rare.get(place)) is not None:
            return fact
        start = self._ends[place - 1] if place else 0
        kind, *values = _decode(self._packed[start : self._ends[place]])
        found: Fact = _SHORT[kind](*values)
        return found

    def flush(self) -> None:
        """Pack what was appended, if that is much."""
        if len(self._recent) > RECENT:
            self._pack()

    def sync(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


RECENT = 4096  # facts that are not packed yet: that costs half a microsecond each, which a short study is spared
_SHORT: tuple[type[Fact], ...] = (Completed, Promoted, Started)  # nearly all that report nothing
_END = 2**31  # of a resource
_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode


def undone(facts: Iterable[Fact]) -> set[int]:
    """The places, from 0, of the failures among `facts` that later ones take back."""
    failures: dict[int, list[int]] = {}  # trial -> the places of those that still hold
    places = set()
    for place, fact in enumerate(facts):
        if isinstance(fact, Failed):
            failures.setdefault(fact.trial, []).append(place)
        elif isinstance(fact, TakenBack):
            if not failures.get(fact.trial):
                raise InputError(f"fact {place + 1} takes back a failure of trial {fact.trial}, which has not failed")
            places.add(failures[fact.trial].pop())
    return places
