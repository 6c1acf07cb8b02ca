"""`rungwise bench`: the table, the CSV file, the figures, and what it says when something is missing."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rungwise.bench.experiment import experiment
from rungwise.bench.options import ExperimentOptions
from rungwise.bench.suites import load_suite

CODE = "from rungwise.cli import main; main()"


def rungwise(*arguments: object, data: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"RUNGWISE_DATA": str(data)}
    command = [sys.executable, "-c", CODE, "bench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tasks of a small taskset."""
    (tmp_path / "data" / "taskset").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        loss = rng.random((30, 1)) + np.arange(1, 29) ** -0.5 + rng.normal(0, 0.05, (30, 28))
        np.savez(
            tmp_path / "data" / "taskset" / f"{name}.npz",
            configs=rng.random((30, 1)), names=["rate"], valid_loss=loss, test_loss=loss + 0.1,
        )  # fmt: skip
    monkeypatch.setenv("RUNGWISE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_the_suites_say_that_no_data_folder_is_named() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RUNGWISE_DATA"} | {"COLUMNS": "300"}
    command = [sys.executable, "-c", CODE, "bench", "suites"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert re.search(r"pd1 .*missing .*pd1/ in RUNGWISE_DATA, which is not set", done.stdout)


def test_the_table_and_the_csv_file(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    done = rungwise("paper", "--suite", "taskset", "--repeats", 2, "--csv", file, data=data)
    assert done.returncode == 0, done.stderr
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["task", "seed", "method", "score", "seconds", "resource", "max_resource"]
    runs = experiment(load_suite("taskset"), ExperimentOptions(repeats=2))
    assert [(row["task"], int(row["seed"]), row["method"]) for row in rows] == [
        (r.task, r.seed, r.method) for r in runs
    ]
    assert [float(row["score"]) for row in rows] == [run.score for run in runs]
    assert [(float(row["seconds"]), int(row["resource"])) for row in rows] == [(r.seconds, r.resource) for r in runs]
    assert not file.with_name("runs.csv.part").exists()
    assert "2 tasks × 2 seeds; less is better" in done.stdout
    shown = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert {"asha", "pasha", "1-epoch", "2-epoch", "3-epoch", "5-epoch", "random", "ceiling-9", "hindsight"} <= set(
        shown
    )
    mean = np.mean([run.score for run in runs if run.method == "pasha"])
    assert f"{mean:.4f} ±" in shown["pasha"]


def test_all_suites_that_are_there(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    options = ("--repeats", 1, "--trials", 30, "--max-resource", 9, "--csv", file, "--processes", 1)
    done = rungwise("paper", "--suite", "all", *options, data=data)
    assert done.returncode == 0, done.stderr
    with file.open(newline="") as stream:
        tasks = {row["task"] for row in csv.DictReader(stream)}
    assert {"taskset/one", "taskset/two", "digits-mlp/digits-mlp-0", "fashion-cells/fashion-cells-1"} <= tasks
    assert "lcbench" not in done.stdout


@pytest.mark.needs("matplotlib")
def test_figures_and_tables_by_task(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    options = (
        "--repeats",
        2,
        "--figures",
        folder,
        "--by-task",
        "--markdown",
        "--ranking",
        "soft",
        "--ranking",
        "direct",
    )
    done = rungwise("paper", "--suite", "taskset", *options, data=data)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| pasha-direct ") == 3  # each task and the suite
    drawing = (folder / "taskset.svg").read_text()
    assert drawing.startswith("<?xml")
    assert "pasha-direct" in drawing
    assert "hindsight" in drawing
    rungwise("paper", "--suite", "taskset", *options, data=data)
    assert drawing == (folder / "taskset.svg").read_text()


def test_only_some_methods(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    options = ("--repeats", 1, "--method", "pasha", "--method", "ceiling-9", "--csv", file)
    done = rungwise("paper", "--suite", "taskset", *options, data=data)
    assert done.returncode == 0, done.stderr
    with file.open(newline="") as stream:
        assert [row["method"] for row in csv.DictReader(stream)] == ["asha", "pasha", "ceiling-9"] * 2


def test_suites_says_which_are_there(data: Path) -> None:
    done = rungwise("suites", data=data)
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert " there " in lines["taskset"]
    assert " missing " in lines["nmtlc"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "nmtlc"], "rungwise: there is no suite nmtlc in "),
        (["--suite", "tasksat"], "rungwise: there is no suite 'tasksat'; did you mean 'taskset'?"),
        (["--suite", "taskset", "--repeats", "0"], "rungwise: repeats must be 1 or more, not 0"),
        (["--suite", "taskset", "--method", "pahsa"], "rungwise: there is no method 'pahsa'; did you mean 'pasha'?"),
        (["--suite", "taskset", "--max-resource", "99"], "rungwise: max_resource=99 is beyond the table"),
        (["--suite", "taskset", "--csv", "no/folder/runs.csv"], "rungwise: "),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments: list[str], message: str, data: Path) -> None:
    done = rungwise("paper", *arguments, data=data)
    assert done.returncode in (1, 2)
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1


def test_ctrl_c_and_the_same_command_goes_on(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    arguments = ["paper", "--suite", "taskset", "--repeats", "300", "--csv", str(file), "--processes", "2"]
    command = [sys.executable, "-c", CODE, "bench", *arguments]
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # whoever runs the tests in the background may have them ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    part = file.with_name("runs.csv.part")
    deadline = time.monotonic() + 40
    while not (part.exists() and part.read_bytes().count(b"\n") > 5):
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGINT)
    try:
        _, said = running.communicate(timeout=3)
    except subprocess.TimeoutExpired:  # Python drops an interrupt that comes while it collects garbage: press again
        os.killpg(running.pid, signal.SIGINT)
        _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "stopped; the same command resumes from here" in said
    assert "Traceback" not in said
    assert not file.exists()
    done = part.read_bytes().count(b"\n") - 1
    assert 5 <= done < 600
    assert rungwise(*arguments, data=data).returncode == 0
    with file.open() as stream:
        assert len(list(csv.DictReader(stream))) == 600 * 9
