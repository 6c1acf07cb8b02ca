"""Two drivers of one study: the second one is refused whatever was done to the lock file, and met if it got in."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import rungwise as rw
from rungwise import hold
from rungwise.events import Extended
from rungwise.sqlite import SQLiteLog

SPACE = {"x": rw.Float(0, 1)}
DRIVER = """
import sys
import rungwise as rw
study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(max_resource=1), path=sys.argv[1])
print("on", flush=True)
for line in sys.stdin:
    try:
        job = study.ask()
        study.report(job.trial, 1, 0.5)
        print(job.trial, flush=True)
    except rw.StudyError as error:
        print(error, flush=True)
"""


class Driver:
    """A driver in a process of its own, which does one trial each time that it is told to."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.said = self.line()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def trial(self) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self.line()

    def end(self) -> str:
        _, error = self.process.communicate(timeout=60)
        return error


@pytest.mark.skipif(sys.platform != "linux", reason="locks on the study itself")
@pytest.mark.parametrize("how", ["its lock file is deleted", "it has a second name", "its lock file is replaced"])
def test_a_second_driver_is_refused(how: str, tmp_path: Path) -> None:
    path = other = tmp_path / "study.db"
    first = Driver(path)
    assert first.trial() == "0"
    if how == "it has a second name":
        other = tmp_path / "same.db"
        os.link(path, other)
    else:
        Path(f"{path}.lock").unlink()
        if how == "its lock file is replaced":
            Path(f"{path}.lock").touch()
    for _ in range(2):
        second = Driver(other)
        assert second.said == ""
        said = second.end().splitlines()[-1]
        name = f"process {first.process.pid} on" if other == path else "another process"
        assert f"{other} is held by {name}" in said
        assert first.trial().isdigit()
    assert first.end() == ""
    if how == "it has a second name":
        other.unlink()
    study = rw.Study.open(path)
    assert [record.reports for record in study.trials] == [{1: 0.5}] * 3
    third = Driver(path)
    assert third.said == "on", "the lock goes with the process"
    assert third.trial() == "3"
    third.end()


def test_a_hard_link_in_the_same_process_is_the_same_study(tmp_path: Path) -> None:
    study = rw.Study(SPACE, path=tmp_path / "study.db")
    os.link(tmp_path / "study.db", tmp_path / "same.db")
    with pytest.raises(rw.StudyError, match=r"same\.db is held by this process, as .*study\.db: "):
        rw.Study(SPACE, path=tmp_path / "same.db")
    database = sqlite3.connect(tmp_path / "study.db")  # SQLite's own locks are as they were: it would close the log
    database.execute("SELECT count(*) FROM facts").fetchone()
    database.close()
    assert (tmp_path / "study.db-wal").exists()
    study.extend(trials=3)
    study.close()
    (tmp_path / "study.db").unlink()
    rw.Study(SPACE, path=tmp_path / "same.db").close()


@pytest.mark.parametrize("name", ["study.db", "same.db"])
def test_a_study_with_two_names_is_looked_at_but_not_driven(name: str, tmp_path: Path) -> None:
    """Its newest facts are in the -wal of the name by which it was driven: by the other they would be lost."""
    driver = Driver(tmp_path / "study.db")
    for number in range(3):
        assert driver.trial() == str(number)
    driver.process.kill()
    driver.end()
    os.link(tmp_path / "study.db", tmp_path / "same.db")
    before = {file: file.read_bytes() for file in tmp_path.iterdir() if not file.name.endswith((".lock", ".holder"))}
    with pytest.raises(rw.StudyError, match=rf"{name} has 2 names \(hard links\), .*: delete all but one, ") as error:
        rw.Study(SPACE, rw.ASHA(max_resource=1), path=tmp_path / name)
    assert "\n" not in str(error.value)
    assert all(file.read_bytes() == content for file, content in before.items())
    assert len(rw.Study.open(tmp_path / "study.db").trials) == 3
    rw.Study.open(tmp_path / "same.db")
    (tmp_path / "same.db").unlink()
    study = rw.Study(SPACE, rw.ASHA(max_resource=1), path=tmp_path / "study.db")
    assert len(study.trials) == 3
    study.close()


@pytest.fixture
def unlocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without locks: as a network disk that only says that it has them."""
    monkeypatch.setattr(hold.fcntl, "flock", lambda *_: None)
    monkeypatch.setattr(hold.fcntl, "fcntl", lambda *_: b"")
    monkeypatch.setattr(hold, "_here", {})


def test_two_writers_meet_at_the_first_write(unlocked: None, tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    first = rw.Study(SPACE, rw.ASHA(max_resource=1), path=path)
    first.report(first.ask().trial, 1, 0.25)
    hold._here.clear()
    second = rw.Study(SPACE, rw.ASHA(max_resource=1), path=path)
    with pytest.raises(rw.StudyError) as error:
        first.ask()
    assert str(error.value) == (
        f"{path} was written by another process: fact 5 is not from this one, which stops here; "
        "1 of its facts were not logged, but all earlier ones and the other's were"
    )
    for call in (first.ask, lambda: first.extend(trials=9)):
        with pytest.raises(rw.StudyError, match="was written by another process"):
            call()
    first.close()
    second.report(second.ask().trial, 1, 0.125)
    second.close()
    again = rw.Study.open(path)
    assert [record.reports for record in again.trials] == [{1: 0.25}, {1: 0.125}]
    assert len(list(again.facts())) == 8


def test_a_commit_that_was_interrupted_after_it_was_made_is_made_once(tmp_path: Path) -> None:
    """As by a Ctrl-C between the commit and the next line: what was committed is not taken for another's."""
    path = tmp_path / "study.db"
    study = rw.Study(SPACE, path=path)
    log = study.decider.log
    assert isinstance(log, SQLiteLog)
    log.append(Extended(trials=3))
    log.append(Extended(trials=4))
    count, pending = log._count, list(log._pending)
    log.flush()
    log._count, log._pending = count, pending
    log.append(Extended(trials=5))
    log.flush()
    log.flush()
    study.close()
    assert [fact for _, fact in rw.Study.open(path).facts()][1:] == [Extended(trials=n) for n in (3, 4, 5)]
