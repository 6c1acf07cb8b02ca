"""A study's log in pieces elsewhere: all of it comes there, one driver writes it, and the file can be made again."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

import rungwise as rw
from rungwise import mirror
from rungwise.events import Completed
from rungwise.log import Log
from rungwise.mirror import MirroredLog, Pieces, brought_up
from rungwise.sqlite import SQLiteLog

ADDRESS = "s3://bucket/prefix/study.db"
SPACE = {"x": rw.Float(0, 1)}


class Memory:
    """A store in memory, which may be away."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.away = False

    def _there(self) -> None:
        if self.away:
            raise ConnectionError("the store is away")

    def hold(self, name: str, data: bytes, *, durable: bool = False) -> bool:
        self._there()
        return self.kept.setdefault(name, data) is data

    def save(self, name: str, pieces: Any) -> None:
        raise AssertionError("nothing is put that might replace something")

    def load(self, name: str) -> bytes:
        self._there()
        if name not in self.kept:
            raise FileNotFoundError(name)
        return self.kept[name]

    def discard(self, names: Any) -> None:
        raise AssertionError("nothing is deleted")

    def list(self, under: str) -> dict[str, int]:
        self._there()
        return {name: len(data) for name, data in self.kept.items() if name.startswith(f"{under}/")}

    def settings(self) -> dict[str, Any]:
        return {}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "EVERY", 0.01)
    monkeypatch.setattr(mirror, "AGAIN", 0.01)


def driven(path: Path, store: Memory) -> MirroredLog:
    log = SQLiteLog(path, writable=True)
    try:
        return MirroredLog(log, Pieces(ADDRESS, store))
    except rw.StudyError:
        log.close()
        raise


def study_in(log: Log) -> rw.Study:
    return rw.Study(SPACE, "asha", mode="min", log=log)


def work(study: rw.Study, jobs: int) -> None:
    for _ in range(jobs):
        job = study.ask()
        assert job is not None
        study.report(job.trial, job.until, job.config["x"])


def keep_working(study: rw.Study) -> None:
    for _ in range(1000):
        work(study, 1)
        threading.Event().wait(0.01)


def rows(path: Path) -> list[tuple]:
    log = SQLiteLog(path, writable=True)
    found = log.rows_after(0)
    log.close()
    return found


def restored(path: Path, store: Memory) -> list[tuple]:
    pieces, log = Pieces(ADDRESS, store), SQLiteLog(path, writable=True)
    brought_up(log, pieces, pieces.count())
    list(log.read())  # which checks each digest
    log.close()
    return rows(path)


def until(true: Any, seconds: float = 10) -> None:
    waits = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if true():
            return
        waits.wait(0.01)
    raise AssertionError("it never came")


def test_what_is_restored_is_what_was_logged(tmp_path: Path) -> None:
    store = Memory()
    log = driven(tmp_path / "a.db", store)
    with study_in(log) as study:
        work(study, 20)
    assert restored(tmp_path / "b.db", store) == rows(tmp_path / "a.db")


def test_it_comes_there_while_the_study_runs(tmp_path: Path) -> None:
    store = Memory()
    study = study_in(driven(tmp_path / "a.db", store))
    work(study, 3)
    facts = len(list(study.facts()))
    until(lambda: Pieces(ADDRESS, store).get(len(store.kept)).facts == facts)
    study.close()


def test_a_study_goes_on_elsewhere_and_comes_back(tmp_path: Path) -> None:
    store = Memory()
    for turn, name in enumerate(["a.db", "b.db", "a.db", "a.db", "b.db"], 1):
        with study_in(driven(tmp_path / name, store)) as study:
            assert len(list(study.facts())) >= 1
            work(study, 4)
            assert sum(len(trial.reports) for trial in study.trials) == 4 * turn
    assert rows(tmp_path / "b.db")[: len(rows(tmp_path / "a.db"))] == rows(tmp_path / "a.db")
    assert restored(tmp_path / "c.db", store) == rows(tmp_path / "b.db")


def test_what_a_killed_driver_did_not_put_is_put_when_it_goes_on(tmp_path: Path) -> None:
    store = Memory()
    with study_in(driven(tmp_path / "a.db", store)) as study:
        work(study, 2)
    with study_in(SQLiteLog(tmp_path / "a.db", writable=True)) as study:
        work(study, 5)
    study_in(driven(tmp_path / "a.db", store)).close()
    assert restored(tmp_path / "b.db", store) == rows(tmp_path / "a.db")


def test_of_two_drivers_the_later_one_goes_on(tmp_path: Path) -> None:
    store = Memory()
    first = study_in(driven(tmp_path / "a.db", store))
    work(first, 3)
    with study_in(driven(tmp_path / "b.db", store)) as second:
        work(second, 1)
        with pytest.raises(rw.StudyError, match=r"^process \d+ on .* has taken over the study s3://bucket/prefix/stud"):
            keep_working(first)
        logged = len(list(first.facts()))
        with pytest.raises(rw.StudyError, match="has taken over"):
            first.close()
        work(second, 5)
    assert len(rows(tmp_path / "a.db")) >= logged, "what was durable here is gone"
    assert restored(tmp_path / "c.db", store) == rows(tmp_path / "b.db")
    before = rows(tmp_path / "a.db")
    with pytest.raises(rw.StudyError, match=r"a\.db and s3://\S+ have come to differ: .* move that file"):
        driven(tmp_path / "a.db", store)
    assert rows(tmp_path / "a.db") == before


def test_who_has_looked_before_another_went_on_does_not_take_over(tmp_path: Path) -> None:
    store = Memory()
    with study_in(driven(tmp_path / "a.db", store)) as study:
        work(study, 2)
    log = driven(tmp_path / "b.db", store)
    before = len(store.kept)
    with study_in(driven(tmp_path / "a.db", store)) as study:
        with pytest.raises(
            rw.StudyError, match=r"^process \d+ on \S+ drives the study s3://\S+: stop it there, and try"
        ):
            study_in(log)
        work(study, 2)
    assert len(store.kept) > before
    assert rows(tmp_path / "b.db") == rows(tmp_path / "a.db")[: len(rows(tmp_path / "b.db"))], "nothing else was noted"
    with study_in(driven(tmp_path / "b.db", store)) as study:
        work(study, 2)


def test_who_only_looks_takes_nothing_over(tmp_path: Path) -> None:
    store = Memory()
    first = study_in(driven(tmp_path / "a.db", store))
    work(first, 2)
    until(lambda: max(msgspec.json.decode(piece)["facts"] for piece in store.kept.values()) > 2)
    before = set(store.kept)
    log = driven(tmp_path / "b.db", store)
    assert len(list(log.read())) > 2
    log.close()
    work(first, 2)
    first.close()
    assert restored(tmp_path / "c.db", store) == rows(tmp_path / "a.db")
    assert before < set(store.kept)


def test_a_store_that_is_away_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Memory()
    study = study_in(driven(tmp_path / "a.db", store))
    store.away = True
    with caplog.at_level(logging.WARNING, "rungwise"):
        for _ in range(20):
            work(study, 1)
            threading.Event().wait(0.01)
        assert [record.message for record in caplog.records] == [
            f"the newest facts are in {tmp_path / 'a.db'} alone (the store is away); trying again"
        ]
        store.away = False
        study.close()
        assert len(caplog.records) == 1
    assert restored(tmp_path / "b.db", store) == rows(tmp_path / "a.db")


def test_a_store_that_stays_away_is_said_at_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Memory()
    study = study_in(driven(tmp_path / "a.db", store))
    store.away = True
    work(study, 3)
    with caplog.at_level(logging.WARNING, "rungwise"):
        study.close()
    assert caplog.records[-1].message == (
        f"the newest facts are in {tmp_path / 'a.db'} alone (the store is away); to put them there: "
        f"rungwise resume {ADDRESS}"
    )
    store.away = False
    study_in(driven(tmp_path / "a.db", store)).close()
    assert restored(tmp_path / "b.db", store) == rows(tmp_path / "a.db")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda kept: kept.pop("study.db/log.00000002"), r"bucket/prefix/study\.db/log\.00000002 is missing$"),
        (lambda kept: kept.update({"study.db/log.00000002": b"{}"}), r"damaged at study\.db/log\.00000002: "),
        (
            lambda kept: kept.update(
                {"study.db/log.00000002": kept["study.db/log.00000002"].replace(b'"facts":', b'"facts":1')}
            ),
            r"damaged at study\.db/log\.00000002: it is not what was written",
        ),
    ],
)
def test_damage_is_found(damage: Any, said: str, tmp_path: Path) -> None:
    store = Memory()
    for _ in range(2):
        with study_in(driven(tmp_path / "a.db", store)) as study:
            work(study, 2)
    damage(store.kept)
    with pytest.raises(rw.StudyError, match=said):
        restored(tmp_path / "b.db", store)


@pytest.mark.parametrize("address", ["s3://study.db", "s3://bucket/", "gs://bucket/..", "az://bucket/a b.db", "s3://"])
def test_what_is_no_address_of_a_study(address: str) -> None:
    with pytest.raises(rw.InputError, match=r"is kept at an address like s3://BUCKET/PREFIX/study\.db, not at "):
        rw.Study(SPACE, path=address)


@pytest.mark.parametrize(
    "piece",
    [
        b'{"driver":"d","facts":1000000000000000000000000,"digest":0}',
        b'{"driver":"d","facts":9223372036854775808,"digest":0}',
        b'{"driver":"d","facts":-1,"digest":0}',
        OSError(5, "it lacks a part"),
        MemoryError(),
    ],
)
def test_a_piece_that_somebody_forged_is_said_to_be_damaged(piece: bytes | Exception) -> None:
    class Forged(Memory):
        def load(self, name: str) -> bytes:
            if isinstance(piece, Exception):
                raise piece
            return piece

    with pytest.raises(rw.StudyError, match=r"is damaged at study\.db/log\.00000001: \S"):
        Pieces(ADDRESS, Forged()).get(1)


def test_a_driver_cannot_control_the_terminal_of_another(tmp_path: Path) -> None:
    store = Memory()
    late = MirroredLog(SQLiteLog(tmp_path / "study.db", writable=True), Pieces(ADDRESS, store))
    forged = mirror.Piece("\x1b[2J" + "x" * 1_000, 0, 0)
    store.kept["study.db/log.00000001"] = msgspec.json.encode(forged)
    with pytest.raises(rw.StudyError, match=r"^\\x1b\[2Jx+ drives the study s3") as raised:
        late.append(Completed(0))
    late.close()
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    "address", ["s3://me:SECRET@bucket", "s3://bucket/study.db?token=SECRET", "s3://SECRET@b/x/.."]
)
def test_what_may_be_a_secret_in_an_address_is_not_repeated(address: str) -> None:
    with pytest.raises(rw.InputError, match="is kept at an address like") as raised:
        Pieces(address, Memory())
    assert "SECRET" not in str(raised.value)
