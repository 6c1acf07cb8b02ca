"""Who looks at a study writes nothing, whoever it is, and sees what is durable, also while a driver writes."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import rungwise as rw
from rungwise import database, view
from rungwise.cli import commands

NOBODY = 65534
SPACE = {"x": rw.Float(0, 1)}
LOOKS = ("status", "best", "explain")
DRIVER = """
import sys
import rungwise as rw
study = rw.Study({"x": rw.Float(0, 1)}, "asha", path=sys.argv[1])
for _ in range(9):
    job = study.ask()
    for resource in range(job.start + 1, job.until + 1):
        study.report(job.trial, resource, 0.5)
print("on", flush=True)
sys.stdin.readline()
"""


def driver(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    return process


def live(path: Path) -> subprocess.Popen[str]:
    return driver(path)


def dead(path: Path) -> None:
    process = driver(path)
    process.kill()
    process.communicate()
    assert Path(f"{path}-wal").stat().st_size > 0
    assert Path(f"{path}-shm").exists()


def copied(path: Path) -> None:
    """As a backup has it: the file and its -wal."""
    dead(path)
    Path(f"{path}-shm").unlink()


def closed(path: Path) -> None:
    driver(path).communicate("end\n")
    assert not Path(f"{path}-wal").exists()


def an_empty_log(path: Path) -> None:
    closed(path)
    Path(f"{path}-wal").touch()


STATES = {f.__name__: f for f in (live, dead, copied, closed, an_empty_log)}


def seen_by_another(path: Path) -> list[tuple[str, str]]:
    """What the commands that look print, and raise, for another user where the test may become one."""
    receive, send = os.pipe()
    if (child := os.fork()) == 0:  # not a new Python: nobody else may be allowed to run it
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        told = []
        for what in LOOKS:
            done = CliRunner().invoke(commands, [what, str(path)])
            told.append((done.output, str(done.exception or "")))
        os.write(send, json.dumps(told).encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return [(output, error) for output, error in json.loads(text)]


def listed(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """All files, who owns them, and what is in them; of -shm, which is the memory that all share, not the content."""
    found = {}
    for file in sorted(folder.iterdir()):
        if file.is_file():
            content = b"" if file.name.endswith("-shm") else file.read_bytes()
            found[file.name] = file.stat().st_uid, file.stat().st_ino, file.stat().st_mode, content
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may write; not below pytest's own, which each start of it closes to others."""
    with tempfile.TemporaryDirectory(prefix="rungwise-shared-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.mark.parametrize("state", STATES)
def test_another_user_looks_and_leaves_nothing_behind(state: str, folder: Path) -> None:
    path = folder / "study.db"
    process = STATES[state](path)
    for what in LOOKS:  # whatever is imported late is imported now
        assert CliRunner().invoke(commands, [what, str(path)]).exit_code == 0
    before = listed(folder)
    told = seen_by_another(path)
    assert [error for _, error in told] == ["", "", ""]
    assert "7 trials" in told[0][0]
    assert listed(folder) == before
    if process is not None:
        process.communicate("end\n")
    study = rw.Study(SPACE, "asha", path=path)  # the owner is not locked out
    assert len(study.trials) >= 6
    study.close()


@pytest.mark.parametrize("state", STATES)
def test_looking_from_python_leaves_nothing_behind(state: str, folder: Path) -> None:
    path = folder / "study.db"
    process = STATES[state](path)
    before = listed(folder)
    study = rw.Study.open(path)
    facts = len(list(study.facts()))
    assert listed(folder) == before, "nor while it is open"
    study.close()
    assert len(list(study.facts())) == facts, "it can be looked at when it was closed"
    assert listed(folder) == before
    if process is not None:
        process.communicate("end\n")


def test_where_sqlite_gives_up_on_its_locks_a_copy_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it may where a driver was killed in the middle of a change of the -shm, on a busy machine."""
    path = tmp_path / "study.db"
    study = rw.Study({"x": rw.Float(0, 1)}, "asha", mode="min", path=path)
    for _ in range(5):
        study.tell(study.ask(), 0.5)
    connect, uris = database.connect, []

    def gives_up(name: str, **options: object) -> sqlite3.Connection:
        uris.append(name)
        if "readonly_shm" in name:
            error = sqlite3.OperationalError("locking protocol")
            error.sqlite_errorcode = sqlite3.SQLITE_PROTOCOL
            raise error
        return connect(name, **options)

    monkeypatch.setattr(database, "connect", gives_up)
    assert len(rw.Study.open(path).trials) == len(study.trials)
    assert "readonly_shm" in uris[0]
    assert "rungwise-" in uris[-1]
    study.close()


def test_what_is_durable_is_seen_at_once_while_a_driver_writes(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    study = rw.Study(SPACE, rw.ASHA(max_resource=1), path=path)
    for number in range(300):
        job = study.ask()
        assert job is not None
        study.report(job.trial, 1, 0.5)
        if number % 10 == 0:
            seen = rw.Study.open(path)
            assert len(seen.trials) == number + 1
            assert seen.trials[-1].reports == {1: 0.5}
    study.close()
    assert not Path(f"{path}-wal").exists(), "nobody who looked is still there"


BUSY = """
import sys
import rungwise as rw
for round in range(15):
    study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(max_resource=1), path=sys.argv[1])
    for _ in range(30):
        job = study.ask()
        study.report(job.trial, 1, 0.5)
        print(job.trial, flush=True)
    study.close()
"""


def test_looking_goes_on_while_drivers_come_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file goes to and fro between having a log beside it and having none, under the reader's eyes."""
    monkeypatch.setattr(view.database, "SELECT", view.database.SELECT.replace("LIMIT 1000", "LIMIT 20"))
    path = tmp_path / "study.db"
    process = subprocess.Popen([sys.executable, "-c", BUSY, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    noted = [process.stdout.readline()]
    reader = threading.Thread(target=lambda: noted.extend(process.stdout or ()))
    reader.start()
    looks = seen = 0
    while process.poll() is None:
        durable = len(noted)
        trials = rw.Study.open(path).trials
        assert len(trials) >= max(seen, durable)
        assert all(record.reports == {1: 0.5} for record in trials[:durable])
        looks, seen = looks + 1, len(trials)
    reader.join()
    assert looks > 3
    assert len(rw.Study.open(path).trials) == 15 * 30


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read as one that nobody writes, and somebody begins to."""
    monkeypatch.setattr(view.database, "SELECT", view.database.SELECT.replace("LIMIT 1000", "LIMIT 3"))
    path = tmp_path / "study.db"
    closed(path)
    whole = len(list(rw.Study.open(path).facts()))
    facts = rw.Study.open(path).facts()
    for _ in range(4):
        next(facts)
    study = rw.Study(SPACE, "asha", path=path)
    study.extend(trials=90)
    assert len(list(facts)) == whole + 2 - 4
    study.close()


def test_looking_at_a_study_with_too_small_a_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "study.db"
    copied(path)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(view, "_copy", full)
    with pytest.raises(rw.StudyError, match=r"study\.db cannot be read: .*No space left on device"):
        rw.Study.open(path)


def test_a_wal_that_is_a_hole_is_not_written_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that it has three gigabytes, and takes none: nor does the copy that is looked at."""
    path = tmp_path / "study.db"
    copied(path)
    content = Path(f"{path}-wal").read_bytes()
    facts = len(list(rw.Study.open(path).facts()))
    os.truncate(f"{path}-wal", 3 * 2**30)
    taken = []
    copy = view._copy

    def measured(source: str, target: str) -> None:
        copy(source, target)
        found = os.stat(target)
        taken.append((found.st_size, found.st_blocks * 512))
        if target.endswith("-wal"):
            with open(target, "rb") as file:
                assert file.read(len(content)) == content

    monkeypatch.setattr(view, "_copy", measured)
    assert len(list(rw.Study.open(path).facts())) == facts
    assert any(size == 3 * 2**30 for size, _ in taken)
    assert all(blocks < 2**22 for _, blocks in taken)
