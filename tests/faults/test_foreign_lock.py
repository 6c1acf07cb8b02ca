"""Another program holds the database's lock: the driver waits, says so, and notes everything in the end."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from pathlib import Path

import pytest

import rungwise as rw
from rungwise import sqlite

SPACE = {"x": rw.Float(0, 1)}


def lock(path: Path) -> sqlite3.Connection:
    other = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


def test_the_driver_waits_for_a_foreign_lock_of_eight_seconds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    study = rw.Study(SPACE, path=tmp_path / "study.db")
    job = study.ask()
    assert job is not None
    other = lock(tmp_path / "study.db")
    threading.Timer(8, lambda: other.execute("ROLLBACK")).start()
    began = time.monotonic()
    with caplog.at_level(logging.WARNING, logger="rungwise"):
        assert study.report(job.trial, 1, 0.5)
    assert time.monotonic() - began > 7
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'study.db'} has been locked by another program for 5 s (not by rungwise): waiting, "
        "nothing is lost"
    ]
    other.close()
    study.close()
    assert rw.Study.open(tmp_path / "study.db").trials[0].reports == {1: 0.5}


def test_what_could_not_be_noted_is_kept_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite, "ATTEMPT", 0.001)
    study = rw.Study(SPACE, path=tmp_path / "study.db")
    job = study.ask()
    assert job is not None
    other = lock(tmp_path / "study.db")
    with pytest.raises(rw.StudyError, match=r"study\.db cannot be written: database is locked$"):
        study.report(job.trial, 1, 0.5)
    assert len(caplog.records) == 1 + 600 // 60, "after 5 s, and then once a minute"
    other.execute("ROLLBACK")
    other.close()
    study.decider.flush()
    study.close()
    assert rw.Study.open(tmp_path / "study.db").trials[0].reports == {1: 0.5}


def test_a_study_that_is_locked_is_opened_when_it_is_free(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    rw.Study(SPACE, path=path).close()
    other = lock(path)
    threading.Timer(1.5, lambda: other.execute("ROLLBACK")).start()
    study = rw.Study(SPACE, path=path)
    study.close()
    other.close()
