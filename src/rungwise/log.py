"""Where the facts are kept: the protocol of a log, and one in memory."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from rungwise.events import Fact, Failed, Reported, Started, TakenBack
from rungwise.names import InputError


class StudyError(RuntimeError):
    """A study cannot be opened, read or written; the message names the file and the remedy."""


class Log(Protocol):
    """Facts in the order in which they became true, each with the time it was appended (Unix seconds)."""

    @property
    def path(self) -> Path | None:
        """The file that holds it, if one does."""
        ...

    def read(self, after: int = 0) -> Iterator[tuple[float, Fact]]:
        """The facts that are durable, in their order, but for the first `after`: so one reads on."""
        ...

    def append(self, fact: Fact) -> None:
        """Add a fact; it is durable after the next `flush`."""
        ...

    def flush(self) -> None:
        """Make all that was appended durable, at once and as a whole."""
        ...

    def sync(self) -> None:
        """From now on `flush` returns only when the disk has it: a power cut loses nothing that was flushed."""
        ...

    def close(self) -> None:
        """Let go of the log; nothing can be appended afterwards."""
        ...


class MemoryLog:
    """A log that lives as long as the process. It has no clock: all times are 0.

    The last facts are as they came. Of those before, nearly all are reports of one score: they are columns, of 24 bytes
    each instead of some 100. What is left is how many of them came before each of the others, which are as they came,
    but that a configuration is kept as text.
    """

    path = None

    def __init__(self) -> None:
        self._recent: list[Fact] = []
        self._trials, self._resources, self._scores, self._seconds = array("i"), array("i"), array("d"), array("d")
        self._others: list[Fact | bytes] = []
        self._before = array("q")

    def append(self, fact: Fact) -> None:
        """Add a fact."""
        recent = self._recent
        recent.append(fact)
        if len(recent) > RECENT:
            self._pack()

    def _pack(self) -> None:
        count = len(self._trials)
        reports: list[Reported] = []
        for fact in self._recent:
            if type(fact) is not Reported:
                self._others.append(_encode(fact) if type(fact) is Started else fact)
                self._before.append(count + len(reports))
            elif type(fact.score) is type(fact.seconds) is float and fact.resource <= _LARGEST:
                reports.append(fact)
            else:
                self._others.append(fact)
                self._before.append(count + len(reports))
        self._trials.extend([fact.trial for fact in reports])
        self._resources.extend([fact.resource for fact in reports])
        self._scores.extend([fact.score for fact in reports])  # type: ignore[misc]
        self._seconds.extend([fact.seconds for fact in reports])
        self._recent.clear()

    def read(self, after: int = 0) -> Iterator[tuple[float, Fact]]:
        """All facts but the first `after`."""
        number = after
        while True:
            recent = number - len(self._others) - len(self._trials)
            if recent < 0:
                for fact in self._packed(number):
                    yield 0.0, fact
                    number += 1
            elif recent < len(self._recent):
                yield 0.0, self._recent[recent]
                number += 1
            else:
                return

    def _packed(self, after: int) -> Iterator[Fact]:
        other = bisect_left(range(len(self._others)), after, key=lambda place: self._before[place] + place)
        report = after - other
        while True:
            if other < len(self._others) and self._before[other] == report:
                fact = self._others[other]
                yield _decode(fact) if isinstance(fact, bytes) else fact
                other += 1
            elif report < len(self._trials):
                at = report
                yield Reported(self._trials[at], self._resources[at], self._scores[at], self._seconds[at])
                report += 1
            else:
                return

    def flush(self) -> None:
        """Nothing to do."""

    def sync(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


RECENT = 4096  # facts that are not packed yet: packing costs 0.2 µs each, which a short study is spared
_LARGEST = 2**31 - 1
_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(Started).decode


def undone(facts: Iterable[Fact]) -> set[int]:
    """The places, from 0, of the failures among `facts` that later ones take back."""
    failures: dict[int, list[int]] = {}  # trial -> the places of those that still hold
    places = set()
    for place, fact in enumerate(facts):
        if isinstance(fact, Failed):
            failures.setdefault(fact.trial, []).append(place)
        elif isinstance(fact, TakenBack):
            if not failures.get(fact.trial):
                raise InputError(f"fact {place + 1} takes back a failure of trial {fact.trial} that there is not")
            places.add(failures[fact.trial].pop())
    return places
