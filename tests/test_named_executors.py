"""An executor by its name: in Python, on the command line, and in a study's file."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import rungwise as rw
from rungwise import run
from rungwise.executors.local import LocalWorkers
from rungwise.executors.named import EXECUTORS, NAMES, named, noted
from rungwise.executors.slurm import SlurmExecutor
from rungwise.options import RunOptions
from rungwise.report.workers import workers_table

TRAIN = """
import time
def train(trial):
    for epoch in trial:
        time.sleep(trial.config["seconds"])
        trial.report(trial.config["x"] + 1 / epoch)
"""
SPACE = '{"x": {"type": "float", "low": 0, "high": 1}, "seconds": {"type": "float", "low": %s, "high": %s}}'


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rungwise", *arguments], cwd=folder, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    monkeypatch.setenv("PATH", str(tmp_path))  # without Slurm
    return tmp_path


def test_the_names_are_those_there_are() -> None:
    assert {*EXECUTORS, "local"} == set(NAMES)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("slrum", "there is no executor 'slrum'; did you mean 'slurm'"),
        ({"gpus": 1}, 'executor must be a name, or a table like {"name": "slurm", "gpus": 1}'),
        ({"name": "local", "workers": 4}, "the executor 'local' has no settings, but got workers"),
    ],
)
def test_what_names_no_executor_is_refused(given: object, wanted: str) -> None:
    with pytest.raises(rw.InputError, match=wanted):
        rw.tune(print, {"x": rw.Float(0, 1)}, mode="min", trials=1, executor=given)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"name": "slurm", "gpu": 1}, "the executor 'slurm' has no setting 'gpu'; did you mean 'gpus'?"),
        ({"name": "slurm", "workers": 0}, "workers must be 1 or more, not 0"),
        (SlurmExecutor, "executor= is the class SlurmExecutor itself; make one: rw.SlurmExecutor"),
    ],
)
def test_a_wrong_setting_is_refused_before_there_is_a_file(tmp_path: Path, given: Any, wanted: str) -> None:
    path = tmp_path / "study.db"
    with pytest.raises(rw.InputError, match=wanted):
        rw.tune(print, {"x": rw.Float(0, 1)}, mode="min", trials=1, executor=given, path=path, quiet=True)
    assert not path.exists()


def test_settings_make_an_equal_one() -> None:
    one = SlurmExecutor(partition="gpu", gpus="a100:2", options=["--account=lab"], one_job=True)
    spec = noted(one)
    assert spec == {
        "name": "slurm", "partition": "gpu", "gpus": "a100:2", "options": ["--account=lab"], "one_job": True,
    }  # fmt: skip
    assert noted(EXECUTORS.make("slurm", **{name: value for name, value in spec.items() if name != "name"})) == spec
    assert RunOptions.of({"executor": spec}).noted()["executor"] == spec
    assert RunOptions.of({"executor": "MyExecutor"}).executor is None
    assert named("local") is None


def test_a_study_goes_on_where_it_ran_unless_told_otherwise(folder: Path) -> None:
    space = SPACE % (0, 0.01)
    slurm = command(folder, "tune", "train.py:train", "--space", space, "--mode", "min", "--trials", "4",
                    "--executor", "slurm", "--executor-option", "partition=gpu", "--executor-option", "workers=2")  # fmt: skip
    assert slurm.returncode == 1
    assert "sbatch" in slurm.stderr
    assert "Traceback" not in slurm.stderr
    spec = {"name": "slurm", "partition": "gpu", "workers": 2}
    assert rw.Study.open(folder / "rungwise.db").state.how["executor"] == spec
    again = command(folder, "resume", "--executor-option", "partition=main")
    assert again.returncode == 1
    assert "sbatch" in again.stderr
    local = command(folder, "resume", "--executor", "local", "--quiet")
    assert local.returncode == 0, local.stderr
    assert len(rw.Study.open(folder / "rungwise.db").trials) == 4
    assert "trial" in command(folder, "best").stdout
    assert "no process drives rungwise.db, so nobody trains; it has finished" in command(folder, "workers").stderr


def test_a_setting_without_an_executor_is_refused(folder: Path) -> None:
    said = command(folder, "tune", "train.py:train", "--space", SPACE % (0, 0.01), "--mode", "min", "--trials", "4",
                   "--executor-option", "partition=gpu")  # fmt: skip
    assert said.returncode == 2
    assert "--executor-option partition=gpu needs an executor: --executor dask, ray, or slurm" in said.stderr


def test_workers_shows_who_trains_what_where(folder: Path) -> None:
    tune = [sys.executable, "-m", "rungwise", "tune", "train.py:train", "--space", SPACE % (0.2, 0.3), "--mode", "min"]
    with subprocess.Popen([*tune, "--trials", "1000", "--workers", "2", "--quiet"], cwd=folder) as driver:
        try:
            end, said = time.monotonic() + 60, ""
            while time.monotonic() < end and said.count("process") < 2:
                said = command(folder, "workers").stdout
        finally:
            driver.kill()
    assert said.splitlines()[0].split() == ["worker", "trial", "trains", "at", "since", "where"]
    assert {line.split()[0] for line in said.splitlines()[1:]} == {"0", "1"}
    after = command(folder, "workers")
    assert after.returncode == 1
    assert "no process drives rungwise.db, so nobody trains; continue with: rungwise resume" in after.stderr


def test_it_says_when_connecting_is_slow_and_when_there_is_no_worker(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "SLOW", 0.1)
    monkeypatch.setattr(run, "NOBODY", 0.2)

    def late(function, storage) -> LocalWorkers:
        time.sleep(0.5)
        workers = LocalWorkers(function, 1, storage)
        workers.capacity = 0
        threading.Timer(1.0, lambda: setattr(workers, "capacity", 1)).start()
        return workers

    def train(trial: rw.Trial) -> None:
        for _ in trial:
            trial.report(0.5)

    rw.tune(train, {"x": rw.Float(0, 1)}, mode="min", trials=2, executor=late)
    said = capfd.readouterr().err
    assert "connecting to the workers; this takes longer than usual" in said
    assert said.count("no worker is there: the study waits until one comes") == 1


def test_workers_goes_to_no_bucket_that_only_a_strangers_file_names(tmp_path: Path) -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, path=tmp_path / "s.db", run={"checkpoints": "s3://evil/x"})
    study.extend(trials=1)
    study.ask()
    with pytest.raises(rw.InputError, match="says that its checkpoints are in s3://evil/x, and you did not begin it"):
        workers_table(study, 0.0)
    study.close()


def test_a_settings_file_names_the_space_as_the_option_does(folder: Path) -> None:
    (folder / "space.json").write_text(SPACE % (0, 0.01))
    (folder / "rungwise.toml").write_text(
        'function = "train.py:train"\nspace = "space.json"\nmode = "min"\ntrials = 2\nquiet = true\nexecutor = "local"\n'
    )
    done = command(folder, "tune")
    assert done.returncode == 0, done.stderr
    assert len(rw.Study.open(folder / "rungwise.db").trials) == 2
