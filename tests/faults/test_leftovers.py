"""A study whose file is not there, though what belongs to it is: refused, and nothing is touched."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rungwise as rw

SPACE = {"x": rw.Float(0, 1)}
KILLED = """
import os, sys
import rungwise as rw
study = rw.Study({"x": rw.Float(0, 1)}, "asha", path=sys.argv[1])
for _ in range(18):
    job = study.ask()
    for resource in range(job.start + 1, job.until + 1):
        study.report(job.trial, resource, 0.5)
os.kill(os.getpid(), 9)
"""


def killed(path: Path) -> int:
    """A study whose driver was killed; how many facts it has."""
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert Path(f"{path}-wal").stat().st_size > 0
    return len(list(rw.Study.open(path).facts()))


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file() and file.suffix != ".db-shm"}


@pytest.mark.parametrize("left", ["no file", "an empty file"])
def test_who_puts_the_file_back_has_all_trials_again(left: str, tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    facts = killed(path)
    moved = tmp_path / "elsewhere" / "study.db"
    moved.parent.mkdir()
    shutil.move(path, moved)
    if left == "an empty file":
        path.touch()
    before = contents(tmp_path)
    for attempt in (lambda: rw.Study(SPACE, "asha", path=path), lambda: rw.Study.open(path, writable=True)):
        with pytest.raises(rw.StudyError, match=r"though .*study\.db-wal holds the newest facts of a study: put the"):
            attempt()
        assert contents(tmp_path) == before
    with pytest.raises(rw.StudyError, match=r"study\.db"):
        rw.Study.open(path)
    assert contents(tmp_path) == before
    shutil.move(moved, path)  # as it was told to
    study = rw.Study(SPACE, "asha", path=path)
    assert len(list(study.facts())) == facts + 1
    study.close()


def test_facts_and_checkpoints_that_are_left_are_both_named(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    killed(path)
    path.unlink()
    (tmp_path / "study.db.trials" / "000000").mkdir(parents=True)
    with pytest.raises(rw.StudyError) as error:
        rw.Study(SPACE, path=path)
    assert "study.db-wal holds the newest facts and " in str(error.value)
    assert "study.db.trials holds the checkpoints of a study: put the file back" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_left_is_moved_away_to_begin_anew(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    killed(path)
    path.unlink()
    for file in tmp_path.glob("study.db-*"):
        file.unlink()
    study = rw.Study(SPACE, path=path)
    assert study.trials == []
    study.close()


def test_salvage_takes_no_target_with_leftovers(tmp_path: Path) -> None:
    from rungwise.sqlite import salvage

    killed(tmp_path / "study.db")
    killed(tmp_path / "target.db")
    (tmp_path / "target.db").unlink()
    before = contents(tmp_path)
    with pytest.raises(rw.StudyError, match=r"target\.db holds no facts, though"):
        salvage(tmp_path / "study.db", tmp_path / "target.db")
    assert contents(tmp_path) == before
