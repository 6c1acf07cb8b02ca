"""A study whose file is not there, though what belongs to it is: refused, and nothing is touched."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import rungwise as rw

SPACE = {"x": rw.Float(0, 1)}
KILLED = """
import os, sys
import rungwise as rw
study = rw.Study({"x": rw.Float(0, 1)}, "asha", path=sys.argv[1])
for _ in range(int(sys.argv[2])):
    job = study.ask()
    for resource in range(job.start + 1, job.until + 1):
        study.report(job.trial, resource, 0.5)
os.kill(os.getpid(), 9)
"""


def killed(path: Path, trials: int = 18) -> int:
    """A study whose driver was killed; how many facts it has."""
    subprocess.run([sys.executable, "-c", KILLED, str(path), str(trials)], check=False)
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
        with pytest.raises(rw.StudyError, match=r"but .*study\.db-wal holds the newest facts of a study: put the"):
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
    with pytest.raises(rw.StudyError, match=r"target\.db holds no facts, but"):
        salvage(tmp_path / "study.db", tmp_path / "target.db")
    assert contents(tmp_path) == before


# -- another file where the study stood -----------------------------------------------------------------


def garbage(path: Path) -> None:
    path.write_bytes(b"not a database, " * 600)


def of_another_program(path: Path) -> None:
    connection = sqlite3.connect(path.with_name("foreign"))
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    path.with_name("foreign").replace(path)


def another_study(path: Path, trials: int) -> None:
    other = path.with_name("another.db")
    study = rw.Study(SPACE, rw.ASHA(max_resource=1), seed=1, path=other)
    for _ in range(trials):
        job = study.ask()
        assert job is not None
        study.report(job.trial, 1, 0.5)
    study.close()
    other.replace(path)


def smaller(path: Path) -> None:
    another_study(path, 3)


def larger(path: Path) -> None:
    another_study(path, 400)


def newer(path: Path) -> None:
    another_study(path, 3)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("PRAGMA user_version = 9")
    connection.close()


def facts_and_what_is_newer(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if not name.endswith((".lock", ".holder"))}


@pytest.mark.parametrize("trials", [6, 18, 300])
@pytest.mark.parametrize("other", [garbage, of_another_program, smaller, larger, newer])
@pytest.mark.parametrize("shm", [True, False], ids=["with -shm", "without -shm"])
def test_another_file_in_its_place_is_refused_and_both_are_as_they_were(
    other: Callable[[Path], None], trials: int, shm: bool, tmp_path: Path
) -> None:
    """SQLite would put the newest facts of the one into the other, or delete them."""
    path = tmp_path / "study.db"
    facts = killed(path, trials)
    away = tmp_path / "away"
    away.mkdir()
    path.rename(away / "study.db")
    beside = {end: Path(f"{path}{end}").read_bytes() for end in ("-wal", "-shm")}
    for end in beside:
        Path(f"{path}{end}").unlink()
    other(path)
    for end, content in beside.items():
        if shm or end == "-wal":
            Path(f"{path}{end}").write_bytes(content)
    before = contents(tmp_path)
    for attempt in (lambda: rw.Study.open(path, writable=True), lambda: rw.Study(SPACE, "asha", path=path)):
        with pytest.raises(rw.StudyError) as error:
            attempt()
        assert "\n" not in str(error.value)
        assert facts_and_what_is_newer(contents(tmp_path)) == facts_and_what_is_newer(before)
    if other in (smaller, larger):
        assert "study.db-wal" in str(error.value)
        assert "away" in str(error.value)
    path.rename(tmp_path / "other.db")
    if other in (smaller, larger):
        assert len(rw.Study.open(tmp_path / "other.db").trials) == (3 if other is smaller else 400)
    (away / "study.db").rename(path)
    study = rw.Study(SPACE, "asha", path=path)
    assert len(list(study.facts())) == facts + 1
    study.close()


def test_a_driver_that_was_killed_as_it_began_is_gone_on_with(tmp_path: Path) -> None:
    """Before anything stands in the file itself."""
    path = tmp_path / "study.db"
    begun = (
        "import os, sys\nfrom pathlib import Path\nfrom rungwise import sqlite\nfrom rungwise.events import Extended\n"
        "log = sqlite.SQLiteLog(Path(sys.argv[1]), writable=True)\nlist(log.read())\n"
        "log._patiently = lambda write: os.kill(os.getpid(), 9)\n"
        "log.append(Extended(trials=1))\nlog.flush()\n"
    )
    subprocess.run([sys.executable, "-c", begun, str(path)], check=False)
    assert Path(f"{path}-wal").stat().st_size > 0
    assert path.read_bytes()[68:72] == bytes(4)
    study = rw.Study(SPACE, "asha", path=path)
    study.close()
    assert rw.Study.open(path).trials == []
