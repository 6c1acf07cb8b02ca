"""Where the facts are kept: the protocol of a log, and one in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Protocol

from rungwise.events import Fact, Failed, TakenBack
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
    """A log that lives as long as the process. It has no clock: all times are 0."""

    path = None

    def __init__(self) -> None:
        self._facts: list[Fact] = []
        self.append = self._facts.append

    def read(self, after: int = 0) -> Iterator[tuple[float, Fact]]:
        """All facts but the first `after`."""
        return ((0.0, fact) for fact in islice(self._facts, after, None))

    def flush(self) -> None:
        """Nothing to do."""

    def sync(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


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
