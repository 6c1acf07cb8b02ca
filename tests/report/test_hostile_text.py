"""What files and functions bring along is shown as text: escapes, markup, halves of characters, in any encoding."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import msgspec
import pytest

import rungwise as rw
from rungwise.executors.whereabouts import Whereabouts
from rungwise.hold import held
from rungwise.report.tables import drawn
from rungwise.report.workers import workers_table
from rungwise.storage import Storage
from rungwise.words import shown

HOSTILE = "\x1b[2J\x1b]0;owned\x07[red]é▲ε\u202e\x9b31m\x7f"
RUNGWISE = [sys.executable, "-c", "from rungwise.cli import main; main()"]


def rungwise(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*RUNGWISE, *arguments], cwd=folder, capture_output=True, timeout=60, env=os.environ | environment
    )


def harmless(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of which every text that may hold anything holds escapes."""
    space = {"x": rw.Float(0, 1), "kind": rw.Categorical([HOSTILE, HOSTILE + "b"])}
    study = rw.Study(space, rw.PASHA(max_resource=9), path=tmp_path / "s.db", run={"function": f"{HOSTILE}.py:train"})
    study.extend(trials=9)
    job = study.ask()
    study.fail(job.trial, f"ValueError: {HOSTILE}\nforged: line")
    study.fail(study.ask().trial, f"KeyError: {HOSTILE}\nforged: line")
    while (job := study.ask()) is not None:
        for resource in range(job.start + 1, job.until + 1):
            study.report(job.trial, resource, job.config["x"] if resource < 3 else -job.config["x"])
    study.close()
    return tmp_path


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize("command", ["status", "explain", "best", "resume", "retry", "refit"])
def test_every_command_shows_escapes_as_text_in_any_encoding(command: str, encoding: str, folder: Path) -> None:
    done = rungwise(folder, command, "s.db", PYTHONIOENCODING=encoding, LANG="C")
    for said in (done.stdout.decode(encoding), done.stderr.decode(encoding)):
        assert harmless(said), said
        assert "Traceback" not in said
        assert not re.search("^forged", said, flags=re.MULTILINE)
    assert done.returncode == {"resume": 2, "refit": 2}.get(command, 0), done.stderr
    if command == "best":
        assert rb"\u001b[2J" in done.stdout
    if command == "status":
        assert (b"9 ^" if encoding != "utf-8" else "9 ▲".encode()) in done.stdout
    if command == "explain":
        assert rb"ValueError: \x1b[2J" in done.stdout


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_best_as_json_is_the_same_value_in_any_encoding(encoding: str, folder: Path) -> None:
    done = rungwise(folder, "best", "s.db", "--json", PYTHONIOENCODING=encoding)
    assert harmless(done.stdout.decode(encoding).removesuffix("\n"))
    assert json.loads(done.stdout)["config"]["kind"].startswith(HOSTILE)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_errors_show_escapes_as_text_in_any_encoding(encoding: str, folder: Path) -> None:
    for arguments in (["status", f"{HOSTILE}.db"], ["status", f"--{HOSTILE}"], ["export", "s.db", f"{HOSTILE}.xls"],
                      ["tune", f"{HOSTILE}.py:train", "--space", '{"x": {"type": "float", "low": 0, "high": 1}}', "--mode", "min"]):  # fmt: skip
        done = rungwise(folder, *arguments, PYTHONIOENCODING=encoding)
        assert done.returncode in (1, 2)
        said = done.stderr.decode(encoding)
        assert harmless(said), said
        assert "Traceback" not in said


def test_a_path_that_is_no_text_is_one_line(folder: Path) -> None:
    for arguments in (["status", b"\xff.db"], ["export", "s.db", b"\xff.xls"], ["tune", b"\xff.py:train"]):
        done = rungwise(folder, *arguments)
        assert done.returncode in (1, 2)
        assert b"Traceback" not in done.stderr
    assert rungwise(folder, "export", "s.db", b"\xff.csv").returncode == 0


@pytest.mark.parametrize("name", ["x" * 300, "a" * 5000, "loop"])
@pytest.mark.parametrize("option", [["export", "s.db", "{}.csv"], ["salvage", "s.db", "{}"], ["tune", "--config", "{}"],
                                    ["tune", "t.py:f", "--space", "{}.json"], ["tune", "t.py:f", "--initial", "{}"],
                                    ["tune", "{}.py:train", "--space", "s.json", "--mode", "min", "--trials", "1"]])  # fmt: skip
def test_a_path_that_cannot_be_is_one_line(option: list[str], name: str, folder: Path) -> None:
    for ending in ("", ".csv", ".json", ".py"):
        (folder / f"loop{ending}").symlink_to(f"loop{ending}")
    (folder / "s.json").write_text('{"x": {"type": "float", "low": 0, "high": 1}}')
    done = rungwise(folder, *(part.format(name) for part in option))
    assert done.returncode in (1, 2)
    assert b"Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_zero_byte_in_a_path_of_the_settings_is_one_line(folder: Path) -> None:
    space = '\n[space.x]\ntype = "float"\nlow = 0\nhigh = 1\n'
    for line in ('function = "a\\u0000b.py:train"', 'function = "t.py:f"\nstudy = "a\\u0000.db"'):
        (folder / "t.py").write_text("def f(trial): pass")
        (folder / "rungwise.toml").write_text(f'mode = "min"\ntrials = 1\n{line}{space}')
        done = rungwise(folder, "tune")
        assert done.returncode in (1, 2)
        assert b"Traceback" not in done.stderr
        assert harmless(done.stderr.decode())


def test_after_kill_9_nothing_is_said_to_run(folder: Path) -> None:
    path = folder / "k.db"
    code = (
        "import rungwise as rw, os, time; s = rw.Study({'x': rw.Float(0, 1)}, path='k.db'); s.extend(trials=9)\n"
        "s.ask(); s.ask(); open('ready', 'w').close(); time.sleep(600)"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], cwd=folder)
    while not (folder / "ready").exists():
        time.sleep(0.02)
    assert held(path)
    assert [row["state"] for row in rw.Study.open(path).rows()] == ["running"] * 2
    said = rungwise(folder, "status", "k.db").stdout.decode()
    assert re.search("running +best score", said)
    assert "waiting" not in said
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    assert not held(path)
    before = sorted(file.name for file in folder.iterdir())
    said = rungwise(folder, "status", "k.db").stdout.decode()
    assert re.search("waiting +best score", said)
    assert "2 jobs waiting to be resumed" in said
    assert "running" not in said
    study = rw.Study.open(path)
    assert [row["state"] for row in study.rows()] == ["waiting"] * 2
    assert sorted(file.name for file in folder.iterdir()) == before, "nothing was written"


def test_a_total_that_was_lowered(folder: Path) -> None:
    study = rw.Study.open(folder / "s.db", writable=True)
    study.extend(trials=2)
    study.close()
    assert (
        rungwise(folder, "status", "s.db").stdout.decode().splitlines()[-1].startswith("9 trials (the total is now 2)")
    )


def entry_point() -> str:
    """The script that an installer writes for the command."""
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    module, _, name = pyproject["project"]["scripts"]["rungwise"].partition(":")
    return f"from {module} import {name}; {name}()"


@pytest.mark.parametrize("module", ["rungwise.events", "numpy", "click", "rungwise.cli"])
def test_ctrl_c_while_it_is_being_imported_is_one_line(module: str, tmp_path: Path) -> None:
    wait = f"""
import sys, importlib.abc, time
class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            open("there", "w").close()
            time.sleep(600)
sys.meta_path.insert(0, Slow())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", wait + entry_point(), "status", "s.db"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "there").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "rungwise: stopped\n")


def test_where_ctrl_c_is_ignored_it_stays_ignored(tmp_path: Path) -> None:
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + entry_point()
    done = subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "version" in done.stdout


def test_the_database_is_not_disturbed_by_the_question(tmp_path: Path) -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, path=tmp_path / "s.db")
    assert held(tmp_path / "s.db")
    study.ask()
    assert held(tmp_path / "s.db")
    study.close()
    assert not held(tmp_path / "s.db")
    assert sqlite3.connect(tmp_path / "s.db").execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("host", [HOSTILE, "[/red]", "[link=http://x]vm"])
def test_what_a_worker_says_of_itself_is_text(host: str, tmp_path: Path) -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, path=tmp_path / "s.db")
    job = study.ask()
    assert job is not None
    assert study.folder is not None
    Storage(study.folder).begin(job, msgspec.json.encode(Whereabouts(0, host, 7, time.time(), "[bold]")))
    shown_as = drawn(workers_table(study, time.time()), 200)
    assert harmless(shown_as)
    assert f"{shown(host)}, process 7, GPU [bold]" in shown_as
    study.close()
