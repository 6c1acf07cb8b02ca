"""Does a log keep the rules that a study relies on? May import everything below it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from rungwise.events import (
    Broken,
    Completed,
    Created,
    Enqueued,
    Excused,
    Extended,
    Fact,
    Failed,
    Lengthened,
    Opened,
    Promoted,
    Raised,
    Ran,
    Refitted,
    Reported,
    Retried,
    Started,
    TakenBack,
)
from rungwise.log import Log

CONFIG = {"x": 1e-3, "n": 2**53, "deep": {"list": [1, 1.5, None, True, "ünï 🜁\n\x1b'\""]}, "": ""}
FACTS: list[Fact] = [
    Created({"x": {"type": "float", "low": 0, "high": 1}}, {"name": "asha"}, {}, "max", 3, "1", {"a": [1]}, "5f1d"),
    Extended(trials=8, seconds=0.5),
    Started(0, CONFIG, 1),
    Reported(0, 1, 0.1 + 0.2, 1e-9),
    Completed(0),
    Raised(9, 3, 1, 0.25, None, 7, (Broken(2, 1, 0, (0.5, None), (None, -0.5)),), "ünï", 1),
    Promoted(0, 3, 2, 31, 7, "patient"),
    Reported(0, 2, None),
    Retried(0, "out of memory"),
    Excused(0, 2, given_up=True),
    Failed(0, "gone\nfor good"),
    TakenBack(0),
    Enqueued({"x": 0.5}),
    Opened("2", {"workers": 2}),
    Reported(0, 3, {"accuracy": 0.5, "cost": None}),
    Ran(12.5),
    Refitted(0, 3, 27),
    Lengthened(81),
    Lengthened(),
]
"""One of each, with what a text form may lose: other alphabets, numbers to the last bit, what is None."""


def check_log(make: Callable[[], Log], *, reader: Callable[[], Log] | None = None, durable: bool | None = None) -> None:
    """Raise `AssertionError`, with a sentence, if the log that `make` opens breaks a rule.

    The first `make()` must be of an empty log; each later one, called after the one before was closed, opens the same
    again. A log that is not `durable` lives no longer than its object: by default one without a `path`. With `reader`,
    which opens the same log for reading while it is written, nothing may be seen there before it is flushed.

    * What was appended and flushed is read, equal and in order, with times that never fall; `read(after=n)` leaves out
      the first n, and other calls may come between two facts of it.
    * It is there when the log is opened again, and what is appended then comes after it.

    As in a study, what is there is read to its end before anything is appended.

    >>> from rungwise.log import MemoryLog
    >>> check_log(MemoryLog)
    """
    log = make()
    with closing(log):
        durable = log.path is not None if durable is None else durable
        assert not _facts(log), "the first log that is made must be empty"
        _append(log, FACTS[:1])
        _check_seen(reader, FACTS[:1])
        for fact in FACTS[1:5]:
            log.append(fact)
        _check_seen(reader, FACTS[:1])
        log.flush()
        log.flush()
        _check_seen(reader, FACTS[:5])
        log.sync()
        _append(log, FACTS[5:])
        _check_read(log, FACTS)
        _check_seen(reader, FACTS)
        reading = log.read(3)
        first = next(reading)[1]
        _append(log, FACTS[2:4])
        rest = [fact for _, fact in reading]
        assert [first, *rest][: len(FACTS) - 3] == FACTS[3:], "what is appended while it is read changes what is read"
    if not durable:
        return
    there = [*FACTS, *FACTS[2:4]]
    with closing(make()) as again:
        _check_read(again, there)
        _append(again, FACTS[4:5])
    there += FACTS[4:5]
    with closing(make()) as again:
        _check_read(again, there)
    _check_seen(reader, there)


def _append(log: Log, facts: list[Fact]) -> None:
    for fact in facts:
        log.append(fact)
    log.flush()


def _facts(log: Log, after: int = 0) -> list[Fact]:
    return [fact for _, fact in log.read(after)]


def _check_seen(reader: Callable[[], Log] | None, expected: list[Fact]) -> None:
    """Whether one that reads beside the writer sees what was flushed, and nothing else."""
    if reader is None:
        return
    with closing(reader()) as log:
        seen = _facts(log)
    more = "before it was flushed" if len(seen) > len(expected) else "though more was flushed"
    assert seen == expected, f"another reader sees {len(seen)} facts, not {len(expected)}: {more}"


def _check_read(log: Log, expected: list[Fact]) -> None:
    times, facts = [], []
    for time, fact in log.read():
        times.append(time)
        facts.append(fact)
    assert len(facts) == len(expected), f"{len(expected)} facts were flushed, {len(facts)} are read"
    for number, (read, wanted) in enumerate(zip(facts, expected, strict=True), start=1):
        assert read == wanted, f"fact {number} was {wanted}, and is read as {read}"
    assert times == sorted(times), f"the times of the facts must never fall: {times}"
    for after in (0, 1, len(expected) - 1, len(expected)):
        assert _facts(log, after) == expected[after:], f"read(after={after}) must leave out the first {after} facts"
