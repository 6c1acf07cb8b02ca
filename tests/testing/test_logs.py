"""The conformance suite of logs passes what is ours, and finds what is broken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from rungwise.events import AnyFact, Completed, Promoted, Reported, Started
from rungwise.log import MemoryLog
from rungwise.sqlite import SQLiteLog
from rungwise.testing import check_log
from rungwise.testing.log import FACTS


def test_our_logs(tmp_path: Path) -> None:
    check_log(MemoryLog)
    path = tmp_path / "s.db"
    check_log(lambda: SQLiteLog(path, writable=True), reader=lambda: SQLiteLog(path, writable=False))


@pytest.mark.parametrize("recent", [0, 3])
def test_a_log_in_memory_is_packed_and_read_as_it_came(recent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rungwise.log.RECENT", recent)
    check_log(MemoryLog)
    odd = [
        Started(0, {"x": 2**70, "y": [1, {"a": None}], "z": -0.0}, 1),
        Started(2**40, {}, 2**70),
        Reported(0, 2**31, 0.5, 0.25),
        Reported(0, 2**31 - 1, 0.5, 0.25),
        Reported(0, 1, None, 0.25),
        Reported(0, 1, 1, 0),  # type: ignore[arg-type]
        Reported(0, 1, {"a": 0.5, "b": None}, 0.25),
        Promoted(0, 3, 1, 4),
        Completed(0),
    ]
    facts = [fact for _ in range(3) for fact in odd + FACTS]
    log = MemoryLog()
    reading = log.read(2)
    for number, fact in enumerate(facts):
        log.append(fact)
        if number % 5 == 0:
            log.flush()
        if number >= 2:
            assert repr(next(reading)) == repr((0.0, fact)), "also while it is packed"
    for after in range(len(facts) + 1):
        assert repr([fact for _, fact in log.read(after)]) == repr(facts[after:])


def test_there_is_one_of_each_fact() -> None:
    assert {type(fact) for fact in FACTS} == set(get_args(AnyFact))


class Lines:
    """A log of somebody's, a line a fact. And how it may be broken."""

    def __init__(self, path: Path, fault: str = "") -> None:
        self.path, self.fault, self.pending = path, fault, []
        self.decoder = msgspec.json.Decoder(AnyFact)
        if fault == "forgets":
            path.unlink(missing_ok=True)
        path.touch()
        self.count = len(path.read_text().splitlines())

    def read(self, after: int = 0) -> Iterator[tuple[float, Any]]:
        lines = self.path.read_text().splitlines()
        for number, line in enumerate(lines[0 if self.fault == "after" else after :]):
            time, fact = json.loads(line)
            yield -time if self.fault == "times" else float(number), self.decoder.decode(json.dumps(fact))

    def append(self, fact: Any) -> None:
        told = msgspec.to_builtins(fact)
        if self.fault == "rounds" and told["fact"] == "reported":
            told["seconds"] = round(told["seconds"], 3)
        self.count += 1
        line = json.dumps([self.count, told]) + "\n"
        if self.fault == "order":
            self.pending.insert(0, line)
        else:
            self.pending.append(line)
        if self.fault == "early":
            self.flush()

    def flush(self) -> None:
        if self.fault == "late":
            return
        with self.path.open("a") as file:
            file.writelines(self.pending)
        self.pending = []

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("after", r"read\(after=1\) must leave out"),
        ("times", "must never fall"),
        ("rounds", "fact 4 was Reported"),
        ("order", "is read as"),
        ("early", "sees 5 facts, not 1: before it was flushed"),
        ("late", "sees 0 facts, not 1: though more was flushed"),
    ],
)
def test_a_broken_log_is_told_what_is_broken(fault: str, sentence: str, tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    check_log(lambda: Lines(good), reader=lambda: Lines(good))
    reader = (lambda: Lines(bad)) if fault in ("early", "late") else None
    with pytest.raises(AssertionError, match=sentence):
        check_log(lambda: Lines(bad, fault), reader=reader)


def test_one_that_is_not_there_when_it_is_opened_again_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="facts were flushed, 0 are read"):
        check_log(lambda: Lines(tmp_path / "log", "forgets"))
    check_log(MemoryLog, durable=False)
    with pytest.raises(AssertionError, match="facts were flushed, 0 are read"):
        check_log(MemoryLog, durable=True)
