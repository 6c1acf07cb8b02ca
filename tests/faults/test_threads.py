"""One study used by several threads at once: each trial is handed out once, and the file says what happened."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import rungwise as rw
from rungwise.events import Extended
from rungwise.sqlite import SQLiteLog

SPACE = {"x": rw.Float(0, 1)}
THREADS, TRIALS = 8, 400
RAISED: list[BaseException] = []


def at_once(work: Callable[[], None], threads: int = THREADS) -> list[BaseException]:
    """Run `work` in that many threads that begin at the same time; what they raised, which ends the others too."""
    RAISED.clear()
    begin = threading.Barrier(threads)

    def run() -> None:
        try:
            begin.wait(timeout=60)
            work()
        except BaseException as error:
            RAISED.append(error)

    running = [threading.Thread(target=run) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return RAISED


@pytest.mark.parametrize("kept", ["in a file", "in memory"])
def test_threads_drive_one_study(kept: str, tmp_path: Path) -> None:
    path = tmp_path / "study.db" if kept == "in a file" else None
    study = rw.Study(SPACE, rw.PASHA(max_resource=27), path=path)
    study.extend(trials=TRIALS)
    given: Counter[tuple[int, int]] = Counter()
    ended = threading.Semaphore(0)

    def work() -> None:
        while not study.finished and not RAISED:
            job = study.ask()
            if job is None:  # others must report first
                ended.acquire(timeout=0.01)
                continue
            given[job.trial, job.start] += 1
            for resource in range(job.start + 1, job.until + 1):
                study.report(job.trial, resource, job.config["x"] + 1 / resource)
            ended.release()

    assert at_once(work) == []
    assert set(given.values()) == {1}, "each job was given out once"
    assert sorted({trial for trial, _ in given}) == list(range(TRIALS))
    assert [record.number for record in study.trials] == list(range(TRIALS))
    if path is not None:
        told = [(record.config, record.reports, record.state) for record in study.trials]
        assert [(record.config, record.reports, record.state) for record in rw.Study.open(path).trials] == told
        study.close()
        again = rw.Study.open(path)
        assert [(record.config, record.reports, record.state) for record in again.trials] == told
        again.close()


def test_threads_look_while_others_drive(tmp_path: Path) -> None:
    study = rw.Study(SPACE, "asha", path=tmp_path / "study.db")
    study.extend(trials=150)
    over = threading.Event()

    def drive() -> None:
        while (job := study.ask()) is not None:
            for resource in range(job.start + 1, job.until + 1):
                study.report(job.trial, resource, job.config["x"])
        over.set()

    def look() -> None:
        while not over.is_set():
            facts = list(study.facts())
            assert [time for time, _ in facts] == sorted(time for time, _ in facts)
            _ = study.running, study.finished, study.rungs(), study.rows(), study.explain()
            assert len(study.rows(reports=True)) <= len(list(study.facts()))

    driver = threading.Thread(target=drive)
    driver.start()
    assert at_once(look, 3) == []
    driver.join()
    study.close()
    assert len(rw.Study.open(tmp_path / "study.db").trials) == 150


def test_facts_that_are_read_in_the_middle_leave_the_log_whole(tmp_path: Path) -> None:
    """Reading a part of the log, or all of it while something is not yet durable, changes nothing."""
    study = rw.Study(SPACE, path=tmp_path / "study.db")
    half = study.facts()
    next(half)
    job = study.decider.hand_out()
    assert job is not None
    assert len(list(study.facts())) == 1, "what is not yet durable is not told"
    study.report(job.trial, 1, 0.5)
    assert len(list(half)) == 3, "a reader sees what comes"
    study.ask()
    study.close()
    assert len(list(rw.Study.open(tmp_path / "study.db").facts())) == 5


def test_threads_close_while_others_report(tmp_path: Path) -> None:
    study = rw.Study(SPACE, rw.ASHA(min_resource=10_000, max_resource=10_000), path=tmp_path / "study.db")
    jobs = [study.ask() for _ in range(4)]
    told: list[list[int]] = [[] for _ in jobs]
    refused: list[str] = []
    turn = iter(range(len(jobs)))

    def report() -> None:
        mine = next(turn)
        for resource in range(1, 10_000):
            try:
                study.report(mine, resource, 0.5)
            except rw.StudyError as error:
                refused.append(str(error))
                return
            told[mine].append(resource)
            if resource == 50 and mine == 0:
                study.close()

    assert at_once(report, len(jobs)) == []
    assert all("is closed" in said for said in refused)
    assert len(refused) == len(jobs)
    again = rw.Study.open(tmp_path / "study.db")
    for record, resources in zip(again.trials, told, strict=True):
        assert set(resources) <= set(record.reports), "what was acknowledged is there"


def test_a_fact_is_noted_as_a_whole_when_the_commit_is_followed_by_a_failure(tmp_path: Path) -> None:
    log = SQLiteLog(tmp_path / "study.db", writable=True)
    assert list(log.read()) == []
    connection = log._connection

    class Failing:
        """Where the first facts, which are committed, are to be put into the file itself, the disk is full."""

        def __getattr__(self, name: str) -> object:
            return getattr(connection, name)

        def execute(self, text: str, *values: object) -> object:
            if "wal_checkpoint" in text:
                raise sqlite3.OperationalError("database or disk is full")
            return connection.execute(text, *values)

    log._connection = Failing()
    log.append(Extended(trials=3))
    with pytest.raises(rw.StudyError, match="disk is full"):
        log.flush()
    log.append(Extended(trials=4))
    log.flush()
    assert [fact for _, fact in log.read()] == [Extended(trials=3), Extended(trials=4)]
    log._connection = connection
    log.close()
