"""Standard error that fails ends no study and fails no job: real processes, real closed and full files."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import rungwise as rw

TRAIN = """
def train(trial):
    trial.load()
    for epoch in trial:
        trial.report(trial.config["x"] + 1 / epoch)
        trial.save(epoch)
"""
SPACE = '{"x": {"type": "float", "low": 0, "high": 1}}'
FROM_PYTHON = """
import sys
import rungwise as rw
from train import train

if sys.argv[1:] == ["none"]:
    sys.stderr = None
if sys.argv[1:] == ["closed"]:
    sys.stderr.close()
study = rw.tune(train, {"x": rw.Float(0, 1)}, mode="min", trials=12, study="s.db")
print(f"best: trial {study.best.number}")
"""
TUNE = ["tune", "train.py:train", "--space", SPACE, "--mode", "min", "--trials", "12", "--study", "s.db"]
RUNGWISE = [sys.executable, "-c", "from rungwise.cli import main; main()"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "script.py").write_text(FROM_PYTHON)
    return tmp_path


def closed_pipe() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def terminal_that_is_gone() -> int:
    ours, theirs = pty.openpty()
    os.close(ours)
    return theirs


def full() -> int:
    return os.open("/dev/full", os.O_WRONLY)


BROKEN = {"a closed pipe": closed_pipe, "a terminal that is gone": terminal_that_is_gone, "a full disk": full}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("command", [[*RUNGWISE, *TUNE], [sys.executable, "script.py"]], ids=["command", "Python"])
def test_a_study_goes_on_without_standard_error(command: list[str], broken: str, folder: Path) -> None:
    if broken == "a full disk" and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    stderr = BROKEN[broken]()
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=60)
    os.close(stderr)
    finished(done, folder)


@pytest.mark.parametrize("command", [[*RUNGWISE, *TUNE], [sys.executable, "script.py"]], ids=["command", "Python"])
def test_a_study_goes_on_with_descriptor_2_closed(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", '"$@" 2>&-', "sh", *command], cwd=folder, stdout=subprocess.PIPE, text=True, timeout=60
    )
    finished(done, folder)


@pytest.mark.parametrize("what", ["none", "closed"])
def test_a_study_goes_on_without_sys_stderr(what: str, folder: Path) -> None:
    command = [sys.executable, "script.py", what]
    finished(subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, timeout=60), folder)


def finished(done: subprocess.CompletedProcess[str], folder: Path) -> None:
    assert done.returncode == 0
    study = rw.Study.open(folder / "s.db")
    assert len(study.trials) == 12
    assert not [record.failure for record in study.trials if record.failure]
    assert f"best: trial {study.best.number}" in done.stdout


def test_a_failure_is_a_failure_without_standard_error_too(folder: Path) -> None:
    with open("/dev/full" if Path("/dev/full").exists() else os.devnull, "w") as stderr:
        done = subprocess.run([*RUNGWISE, "status", "none.db"], cwd=folder, stdout=subprocess.PIPE, stderr=stderr)
        assert (done.returncode, done.stdout) == (1, b"")
        done = subprocess.run([*RUNGWISE, "status", "--no"], cwd=folder, stdout=subprocess.PIPE, stderr=stderr)
        assert (done.returncode, done.stdout) == (2, b"")


def test_standard_output_that_cannot_be_written_is_one_line(folder: Path) -> None:
    rw.Study({"x": rw.Float(0, 1)}, path=folder / "s.db").close()
    with open("/dev/full" if Path("/dev/full").exists() else os.devnull, "w") as stdout:
        done = subprocess.run(
            [*RUNGWISE, "status", "s.db"], cwd=folder, stdout=stdout, stderr=subprocess.PIPE, text=True
        )
    if Path("/dev/full").exists():
        assert done.returncode == 1
        assert "No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) <= 1
    piped = closed_pipe()
    done = subprocess.run([*RUNGWISE, "explain", "s.db"], cwd=folder, stdout=piped, stderr=subprocess.PIPE, text=True)
    os.close(piped)
    assert (done.returncode, done.stderr) == (1, "")
