"""A snapshot says what the facts say: whoever begins from it sees the study as who folds all of them does."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import shutil
import sqlite3
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rungwise as rw
from rungwise import database, replay, sqlite
from rungwise.core import Scheduler
from rungwise.events import Created, Failed, Ran, Retried
from rungwise.snapshot import restored
from rungwise.space import Space
from rungwise.sqlite import SQLiteLog, salvage
from rungwise.state import StudyState
from test_taking_back import SCHEDULERS

SPACE = {
    "x": rw.Float(0, 1),
    "y": rw.Integer(1, 9),
    "z": rw.Categorical(["a", 2, None]),
    "w": rw.Float(0, 1, when={"z": "a"}),
}
SEVERAL = ("asha", "pasha", "async-hyperband", "full")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "SNAPSHOT_AFTER", 10)
    monkeypatch.setattr("rungwise.snapshot.PIECE", 500)


def everything(state: StudyState) -> dict[str, Any]:
    """All that a state holds, and all that its properties say; as text, where nan is nan."""
    told: dict[str, Any] = {name: getattr(state, name) for name in vars(state)}
    for name, value in vars(StudyState).items():
        if isinstance(value, property):
            try:
                told[name] = getattr(state, name)
            except rw.StudyError as error:
                told[name] = str(error)
    told["rungs"] = state.rungs()
    told["reports"] = [state.reports.of(trial) for trial in range(len(state.trials))]
    told["time"] = vars(state.time)
    told["_failed"] = {trial: jobs for trial, jobs in sorted(state._failed.items()) if jobs}
    told["_fronts"] = {
        level: [(trial, front.losses[trial]) for trial in front.trials] for level, front in state._fronts.items()
    }
    told["space"], told["metrics"] = state.space.to_dict(), vars(state.metrics)
    return {name: repr(value) for name, value in told.items()}


def folded(path: Path) -> StudyState:
    """From the first fact to the last."""
    facts = SQLiteLog(path, writable=False).read()
    _, created = next(facts)
    assert isinstance(created, Created)
    space = Space.from_dict(created.space, tried=False)
    state = StudyState(created, space, path.with_name(f"{path.name}.trials"))
    for number, (time, fact) in enumerate(facts, start=2):
        replay.apply(path, state, number, fact, time)
    return state


def snapped(path: Path) -> int:
    """How many facts the snapshot in a file holds."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return database.facts_in_snapshot(connection) or 0


def agrees(path: Path) -> int:
    assert everything(rw.Study.open(path).state) == everything(folded(path))
    return snapped(path)


def begin(path: Path, scheduler: str | Scheduler, mode: Any = "max", score: str = "last") -> rw.Study:
    which = SCHEDULERS[scheduler] if isinstance(scheduler, str) else scheduler
    study = rw.Study(SPACE, which, mode=mode, score=score, path=path, run={"refit": 30, "workers": 2})
    study.extend(trials=40)
    return study


def go_on(study: rw.Study, chance: random.Random, steps: int) -> None:
    """All that can happen to a study, in some order."""
    several = study.metrics.names
    study.decider.lost = lambda trial: chance.random() < 0.5
    for _ in range(steps):
        job, running = study.ask(), study.running
        what = chance.choice(["report"] * 12 + ["fail", "retry", "back", "enqueue", "extend", "ran", "refit", "again"])
        if what == "enqueue":
            study.enqueue(study.space.sample(np.random.default_rng(chance.randrange(99))))
        elif what == "extend":
            study.extend(trials=40 + len(study.trials), seconds=chance.choice([None, 1e6]))
        elif what == "back" and study.failures:
            study.retry_failed(chance.choice([None, None, []]))
        elif what == "ran":
            study.decider.note(Ran(chance.random()))
            study.decider.flush()
        elif what == "refit" and not several and study.has_best and study.trials[study.best.number].job is None:
            study.refit(chance.choice([29, 50]))
        elif not running:
            continue
        elif what == "again":
            study.decider.put_back(chance.choice(running).trial)
        elif what in ("fail", "retry"):
            trial = chance.choice(running).trial
            study.decider.take((Failed if what == "fail" else Retried)(trial, f"why {chance.random()}"))
            if what == "retry" and chance.random() < 0.5:
                study.decider.put_back(trial)
            study.decider.flush()
        else:
            job = job or chance.choice(running)
            for resource in range(study.trials[job.trial].noted(job) + 1, job.until + 1):
                if chance.random() < 0.05 or study.trials[job.trial].job is None:
                    break
                scores = [chance.choice([chance.random(), 0.5, float("nan")]) for _ in several or [0]]
                study.report(job.trial, resource, dict(zip(several, scores, strict=True)) if several else scores[0])


class Clock:
    """One that stands still, goes on, and is set, forwards and backwards."""

    def __init__(self, chance: random.Random) -> None:
        self._chance, self._now = chance, 1e9

    def time(self) -> float:
        self._now += self._chance.choice([0.0, 0.1, 0.7, 1 / 3, 61.7, 4_000.3, -5_000.0])
        return self._now


@pytest.fixture(scope="module", autouse=True)
def _set_clock() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite, "clock", Clock(random.Random(0)))
        yield


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    scheduler=st.sampled_from(sorted(SCHEDULERS)),
    kind=st.sampled_from(["min", "max", "best", "several"]),
)
def test_a_state_from_a_snapshot_and_the_rest_is_that_of_all_facts(
    seed: int, scheduler: str, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chance, path = random.Random(seed), tmp_path_factory.mktemp("snapshot") / "s.db"
    if kind == "several":
        mode: Any = {"a": "max", "b": "min"}
        scheduler = SEVERAL[seed % len(SEVERAL)]
    else:
        mode = "min" if kind == "min" else "max"
    study = begin(path, scheduler, mode, "best" if kind == "best" else "last")
    found = set()
    for _ in range(3):
        for _ in range(3):
            go_on(study, chance, chance.randrange(30))
            found.add(agrees(path))
        if chance.random() < 0.7:
            study.close()
        else:  # as if it had been killed
            study._log._let_go()
        found.add(agrees(path))
        study = rw.Study.open(path, writable=True)
    assert len(found) > 1 or max(found) == 0
    study.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A study with a snapshot, and some facts behind it."""
    study = begin(tmp_path / "s.db", "pasha")
    go_on(study, random.Random(1), 60)
    study._log.keep_snapshots = lambda snapshots: None
    while snapped(study.path) == len(list(study.facts())):
        go_on(study, random.Random(2), 1)
    study._log._snapshots = None
    study.close()
    assert 100 < snapped(study.path) < len(list(rw.Study.open(study.path).facts()))
    return tmp_path / "s.db"


def change(path: Path, statement: str, *values: object) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount


def lie(path: Path, **told: Any) -> None:
    """The snapshot says something else, with digests that fit."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        facts, content = connection.execute("SELECT facts, content FROM snapshot WHERE piece = 0").fetchone()
        content = json.dumps({**json.loads(content), **told}).encode()
        digest = zlib.crc32(content, database.digest_at(connection, facts))
        connection.execute("UPDATE snapshot SET digest = ?, content = ? WHERE piece = 0", (digest, content))


def is_left_aside(path: Path, caplog: pytest.LogCaptureFixture, why: str) -> None:
    caplog.clear()
    with caplog.at_level(logging.WARNING, "rungwise"):
        looked = rw.Study.open(path).state
    (record,) = caplog.records
    assert why in record.getMessage()
    assert everything(looked) == everything(folded(path))


def test_looking_folds_only_what_came_after_the_snapshot(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[int] = []
    really = replay.apply
    monkeypatch.setattr(replay, "apply", lambda *all_: (applied.append(all_[2]), really(*all_)))
    study = rw.Study.open(path)
    assert applied == list(range(snapped(path) + 1, len(list(study.facts())) + 1))


@pytest.mark.parametrize("total", [{"total_resource": 60}, {"budget": 61 / 27, "refit": False}, {"target": 0.25}])
def test_a_total_that_is_reached_is_so_from_a_snapshot_too(total: dict[str, Any], tmp_path: Path) -> None:
    path, how = tmp_path / "s.db", {"refit": total.pop("refit", 30)}
    study = rw.Study(SPACE, rw.ASHA(max_resource=27), mode="min", path=path, run=how)
    study.extend(**total)
    while (job := study.ask()) is not None:
        study.tell(job, 10 / (10 + len(study.trials)))
    assert study.state.spent
    study.close()
    assert snapped(path) > 0
    assert agrees(path) > 0
    assert folded(path).spent
    looked = rw.Study.open(path)
    assert looked.state.spent
    assert looked.finished


def test_a_small_study_has_no_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "SNAPSHOT_AFTER", 50_000)
    with begin(tmp_path / "s.db", "asha") as study:
        go_on(study, random.Random(1), 60)
    with contextlib.closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("facts",)]


def test_a_snapshot_that_is_not_what_was_written_is_left_aside(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    change(path, "UPDATE snapshot SET content = CAST(replace(content, '\"format\":2', '\"format\":7') AS BLOB)")
    is_left_aside(path, caplog, "facts that it names, or not what was written")


@pytest.mark.parametrize("piece", [1, 2])
def test_a_piece_that_is_damaged_or_missing_leaves_all_aside(
    path: Path, piece: int, caplog: pytest.LogCaptureFixture
) -> None:
    kept = shutil.copy(path, path.with_name("kept.db"))
    change(path, "UPDATE snapshot SET content = CAST(content || 'x' AS BLOB) WHERE piece = ?", piece)
    is_left_aside(path, caplog, "a piece is not what was written")
    change(kept, "DELETE FROM snapshot WHERE piece = ?", piece)
    is_left_aside(Path(kept), caplog, "it lacks a piece")


def test_a_snapshot_beyond_the_end_of_the_log_is_left_aside(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    change(path, "DELETE FROM facts WHERE id >= ?", snapped(path))
    is_left_aside(path, caplog, "it is not of the")
    study = rw.Study.open(path, writable=True)  # and the next one takes its place
    go_on(study, random.Random(4), 30)
    assert agrees(path) > 0
    study.close()
    caplog.clear()
    assert agrees(path) == len(list(study.facts()))
    assert not caplog.records


def test_a_snapshot_of_other_facts_is_left_aside(path: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with begin(tmp_path / "t.db", "pasha") as other:
        go_on(other, random.Random(9), 100)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("ATTACH ? AS other", (str(tmp_path / "t.db"),))
        connection.execute("DELETE FROM facts")
        connection.execute("INSERT INTO facts SELECT * FROM other.facts")
        connection.commit()
    is_left_aside(path, caplog, "it is not of the")


def test_a_salvaged_study_has_none(path: Path, tmp_path: Path) -> None:
    salvage(path, tmp_path / "t.db")
    assert snapped(tmp_path / "t.db") == 0
    assert rw.Study.open(tmp_path / "t.db").rungs() == rw.Study.open(path).rungs()


@pytest.mark.parametrize(
    "schema",
    [
        "CREATE VIEW snapshot AS SELECT 0 AS piece, 1 AS facts, 1 AS digest, x'00' AS content",
        "CREATE TABLE snapshot (piece INTEGER PRIMARY KEY, facts, digest, content)",
        f"{database.SNAPSHOT}; CREATE TRIGGER t AFTER INSERT ON snapshot BEGIN DELETE FROM facts; END",
    ],
)
def test_another_table_of_the_name_is_neither_read_nor_written(
    schema: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "s.db"
    begin(file, "asha").close()
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.executescript(f"DROP TABLE IF EXISTS snapshot; {schema}")
        before = connection.execute("SELECT sql FROM sqlite_master").fetchall()
    with rw.Study.open(file, writable=True) as study:
        go_on(study, random.Random(1), 60)
        count = len(list(study.facts()))
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT sql FROM sqlite_master").fetchall() == before
    is_left_aside(file, caplog, "its table is another")
    assert len(list(rw.Study.open(file).facts())) == count


def test_nothing_is_saved_of_a_state_that_an_error_has_torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = begin(tmp_path / "s.db", "asha")
    monkeypatch.setattr(sqlite, "SNAPSHOT_AFTER", 10**6)
    go_on(study, random.Random(1), 60)
    job = study.ask()
    assert job is not None

    def broken_off(*_: object) -> None:
        raise KeyboardInterrupt

    before = snapped(study.path)
    monkeypatch.setattr("rungwise.state.Report", broken_off)
    with pytest.raises(KeyboardInterrupt):
        study.report(job.trial, 1, 0.5)
    monkeypatch.undo()
    monkeypatch.setattr(sqlite, "SNAPSHOT_AFTER", 1)
    study.close()
    assert snapped(study.path) == before
    agrees(study.path)


def test_a_full_disk_costs_the_snapshot_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = begin(tmp_path / "s.db", "asha")

    def full(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("CREATE TABLE half (a)")
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(database, "keep_snapshot", full)
        go_on(study, random.Random(1), 60)
    agrees(study.path)
    go_on(study, random.Random(2), 60)
    assert agrees(study.path) > 0
    study.close()


def test_what_a_snapshot_says_is_held_against_what_facts_can_say(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        stand = json.loads(connection.execute("SELECT content FROM snapshot WHERE piece = 0").fetchone()[0])
    last, trials = stand["last"], len(stand["last"])
    lies: list[tuple[dict[str, Any], str]] = [
        ({"format": 3}, "another version"),
        ({"fact": "created"}, "unknown field"),
        ({"pieces": []}, "lacks pieces"),
        ({"pieces": [[0, 10**12, 0]] * len(stand["pieces"])}, "not what was written"),
        ({"pieces": [[p[0], 10**12, p[2]] for p in stand["pieces"]]}, "too short"),
        ({"pieces": [[p[0] + 1, *p[1:]] for p in stand["pieces"]]}, "other trials"),
        ({"last": last[:-1]}, "lacks trials"),
        ({"last": [*last[:-1], 10**6]}, "a report that there is not"),
        ({"last": [*last[:-1], 2**40]}, ""),
        ({"last": [last[0]] * trials}, "not of one trial"),
        ({"paused_at": [-1] * trials}, ""),
        ({"paused_at": [10**30] * trials}, ""),
        ({"rare": [[trials, 1, None, None, None, None, []]]}, ""),
        ({"running": [[trials, 0, 1, False, None]]}, ""),
        ({"running": [[0, 5, 1, False, None]]}, "before it begins"),
        ({"running": [[0, 0, 1, False, None]] * 2}, "running twice"),
        ({"again": [trials + 1]}, ""),
        ({"failed": {trials: []}}, "a trial that there is not"),
        ({"failures": [[trials, "x"]]}, "a trial that there is not"),
        ({"best": {"1": [0.5, trials]}}, "a trial that there is not"),
        ({"best": {"1": ["nan", 0]}}, ""),
        ({"fronts": {"1": [[0, [0.5]]]}}, "another kind of answer"),
        ({"rises": [{"fact": "raised"}]}, ""),
        ({"queue": [{"x": 17}]}, "cannot be"),
        ({"budget": {"trials": -1}}, ""),
        ({"time": [-1.0, 0.0, False, 1]}, ""),
        ({"how": [1]}, ""),
    ]
    kept = path.with_name("kept.db")
    shutil.copy(path, kept)
    for told, why in lies:
        shutil.copy(kept, path)
        lie(path, **told)
        is_left_aside(path, caplog, why)
    shutil.copy(kept, path)
    lie(path, sessions=5)
    assert rw.Study.open(path).state.sessions == 5, "the other lies were found out by what they say"


def test_columns_that_no_reports_led_to_are_found(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        content, *pieces = (row[0] for row in connection.execute("SELECT content FROM snapshot ORDER BY piece"))
    created = rw.Study.open(path).state.created
    stand = json.loads(content)
    which = max(range(len(pieces)), key=lambda piece: stand["pieces"][piece][1])
    size, count = struct.calcsize("<3di"), stand["pieces"][which][1]
    assert count > 3

    def restore(piece: bytearray) -> None:
        stand["pieces"][which][2] = zlib.crc32(piece)
        given = [bytes(piece) if place == which else other for place, other in enumerate(pieces)]
        restored(created, None, json.dumps(stand).encode(), given)

    restore(bytearray(pieces[which]))
    last = (count - 1) * size
    for at, kind, value, why in (
        (0, "<d", -5.0, "at no resource"),
        (0, "<d", float("nan"), "at no resource"),
        (0, "<d", float("inf"), "at no resource"),
        (8, "<d", float("nan"), "no time that can be told"),
        (16, "<d", float("-inf"), "a score is infinite"),
        (24, "<i", -7, "before the one before it"),
        (24, "<i", 10**9, "before the one before it"),
        (last + 24, "<i", 0, "not of one trial"),
    ):
        piece = bytearray(pieces[which])
        struct.pack_into(kind, piece, at, value)
        with pytest.raises(ValueError, match=why):
            restore(piece)


def test_a_study_with_a_snapshot_says_the_same_to_whoever_drives_it(path: Path) -> None:
    looked = rw.Study.open(path)
    with rw.Study.open(path, writable=True) as driven:
        assert driven.rungs() == looked.rungs()
        assert everything(looked.state)["_best"] == everything(driven.state)["_best"]
        assert looked.finished == driven.finished


def test_who_looks_can_take_in_what_is_new(path: Path) -> None:
    looked = rw.Study.open(path)
    assert looked.refresh() == 0
    with rw.Study.open(path, writable=True) as driven:
        for seed in range(5):
            before = len(list(driven.facts()))
            if seed:
                go_on(driven, random.Random(seed), 10)
            new = len(list(driven.facts())) - before + (not seed)  # at first, that it was opened
            assert looked.finished in (True, False)  # asks a scheduler that is then told anew
            assert looked.refresh() == new
            assert everything(looked.state) == everything(folded(path))
            assert looked.finished == driven.finished
            assert driven.refresh() == 0


def test_what_is_new_in_another_file_is_refused(path: Path, tmp_path: Path) -> None:
    looked = rw.Study.open(path)
    with begin(tmp_path / "t.db", "pasha") as other:
        while len(list(other.facts())) < len(list(looked.facts())):
            go_on(other, random.Random(9), 50)
    shutil.copy(tmp_path / "t.db", path)
    with pytest.raises(rw.StudyError, match=r"has been replaced or changed: fact \d+ is different"):
        looked.refresh()
    begin(tmp_path / "u.db", "pasha").close()
    shutil.copy(tmp_path / "u.db", path)
    with pytest.raises(rw.StudyError, match=r"has been replaced or changed: fact \d+ is gone"):
        looked.refresh()
