"""The command, as a user types it."""

from __future__ import annotations

import csv
import json
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

import messages

TRAIN = """
import rungwise as rw

SPACE = {"x": rw.Float(0, 1)}
NUMBER = 3

def train(trial):
    trial.load()
    for epoch in trial:
        sign = 1 if epoch < 3 else -1  # from 3 on, good is bad
        trial.report(sign * (trial.config["x"] - 0.3) ** 2 + 1 / epoch)
        trial.save(epoch)

def slow(trial):
    import pathlib, time
    trial.load()
    for epoch in trial:
        time.sleep(0.05)
        while pathlib.Path(__file__).with_name("hold").exists():
            time.sleep(0.05)
        trial.report(1 / epoch)
        trial.save(epoch)
"""
TOML = """
function = "train.py:train"
mode = "min"
trials = 9
workers = 2
study = "runs/toml.db"

[scheduler]
name = "pasha"
max_resource = 9
ranking = { name = "soft", epsilon = 0.01 }

[space.x]
type = "float"
low = 0
high = 1
"""
TUNE = ["tune", "train.py:train", "--space", "train.py:SPACE", "--mode", "min", "--trials", "12"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "broken.py").write_text("import numpyy")
    return tmp_path


def rungwise(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("rungwise")), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_a_refit_that_fails_is_said_as_one_and_the_command_has_failed(folder: Path) -> None:
    text = TRAIN.replace(
        "def train(trial):", "def train(trial):\n    if trial.until == 30:\n        raise MemoryError('too long')"
    )
    (folder / "train.py").write_text(text)
    tuned = rungwise(folder, *TUNE, "--max-resource", "9", "--refit-to", "30", "--study", "s.db")
    assert tuned.returncode == 1
    number = json.loads(rungwise(folder, "best", "s.db", "--json").stdout)["trial"]
    failed = f"the refit of trial {number} failed: MemoryError: too long (train.py:"
    assert failed in tuned.stdout
    assert tuned.stderr.splitlines()[-1].startswith(f"rungwise: {failed}")
    assert f"trial {number} failed" not in tuned.stderr.replace(failed, "")
    assert failed in rungwise(folder, "best", "s.db").stdout
    assert rungwise(folder, "export", "s.db", "t.csv").returncode == 0
    with (folder / "t.csv").open() as file:
        assert {int(row["trial"]) for row in csv.DictReader(file) if row["refit_failure"]} == {number}
    assert rungwise(folder, "refit", "s.db", "--to", "12").returncode == 0
    assert "failed" not in rungwise(folder, "best", "s.db").stdout


def test_after_a_stop_because_nothing_worked_status_and_explain_say_why(folder: Path) -> None:
    (folder / "train.py").write_text(TRAIN.replace("    trial.load()", "    raise ValueError('no such layer')", 1))
    tuned = rungwise(folder, *TUNE, "--max-resource", "9", "--study", "s.db")
    assert tuned.returncode == 1
    assert "all of the first 3 jobs broke off" in tuned.stderr
    for command in ("status", "explain"):
        said = rungwise(folder, command, "s.db").stdout
        assert "3 jobs broke off and will be retried; for example trial 2: ValueError: no such layer (train" in said
    (folder / "train.py").write_text(TRAIN)
    assert rungwise(folder, "resume", "s.db").returncode == 0
    assert "broke off" not in rungwise(folder, "status", "s.db").stdout


def test_from_tune_to_export(folder: Path) -> None:
    tuned = rungwise(folder, *TUNE, "--max-resource", "27", "--refit", "--workers", "2", "--study", "s.db")
    assert tuned.returncode == 0, tuned.stderr
    assert tuned.stdout.startswith("12 of 12 trials")
    status = rungwise(folder, "status", "s.db").stdout
    assert "best score" in status
    assert "12 of 12 trials" in status
    best = json.loads(rungwise(folder, "best", "s.db", "--json").stdout)
    assert best["refit_resource"] == 27
    assert list(best["config"]) == ["x"]
    explained = rungwise(folder, "explain", "s.db").stdout
    assert "the ceiling rose from 3 to 9: the rankings at 1 and 3 differ" in explained
    assert "ε = " in explained
    assert "took the place of trial" in explained
    again = rungwise(folder, "resume", "s.db", "--trials", "15")
    assert again.stdout.startswith("15 of 15 trials")
    assert rungwise(folder, "refit", "s.db", "--to", "30").returncode == 0
    assert json.loads(rungwise(folder, "best", "s.db", "--json").stdout)["refit_resource"] == 30
    for name in ("trials.csv", "trials.json"):
        assert rungwise(folder, "export", "s.db", name).returncode == 0
    with (folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == list(range(15))
    assert [float(row["config.x"]) for row in rows] == [
        row["config.x"] for row in json.loads((folder / "trials.json").read_text())
    ]
    assert rungwise(folder, "export", "s.db", "reports.csv", "--reports").returncode == 0
    assert len((folder / "reports.csv").read_text().splitlines()) > 15


@pytest.mark.needs("pandas", "pyarrow")
def test_export_to_parquet(folder: Path) -> None:
    import pandas

    a_study(folder)
    for name in ("trials.json", "trials.parquet"):
        assert rungwise(folder, "export", "s.db", name).returncode == 0
    frame = pandas.read_parquet(folder / "trials.parquet")
    assert frame["config.x"].tolist() == [row["config.x"] for row in json.loads((folder / "trials.json").read_text())]


def test_a_settings_file_is_all_that_is_needed(folder: Path) -> None:
    (folder / "rungwise.toml").write_text(TOML)
    assert rungwise(folder, "tune").returncode == 0
    assert rungwise(folder, "status", "runs/toml.db").stdout.count("9 of 9 trials") == 1
    more = rungwise(folder, "tune", "--trials", "10")
    assert more.stdout.startswith("10 of 10 trials"), "options come before the file"
    named = rungwise(folder, "tune", "train.py:train", "--trials", "11")
    assert named.stdout.startswith("11 of 11 trials")
    assert "options not given here are taken from rungwise.toml" in named.stderr
    kept = json.loads(sqlite3.connect(folder / "runs/toml.db").execute("SELECT fact FROM facts").fetchone()[0])
    assert kept["scheduler"]["ranking"] == {"name": "soft", "epsilon": 0.01}


def test_how_trials_are_promoted_is_said_by_options_and_in_the_settings_file(folder: Path) -> None:
    def scheduler(study: str) -> dict:
        first = sqlite3.connect(folder / study).execute("SELECT fact FROM facts").fetchone()[0]
        return json.loads(first)["scheduler"]

    (folder / "rungwise.toml").write_text(
        TOML.replace("max_resource = 9", 'promotion = { name = "patient", deviations = 0.5 }\nbreadth_first = true')
    )
    assert rungwise(folder, "tune").returncode == 0
    kept = scheduler("runs/toml.db")
    assert kept["promotion"] == {"name": "patient", "deviations": 0.5, "opens_at": 2}
    assert kept["breadth_first"] is True
    options = ["--max-resource", "3", "--promotion", "patient", "--breadth-first", "--study"]
    assert rungwise(folder, *TUNE, *options, "s.db").returncode == 0
    kept = scheduler("s.db")
    assert kept["promotion"] == {"name": "patient", "deviations": 1.0, "opens_at": 2}
    assert kept["breadth_first"] is True
    (folder / "rungwise.toml").unlink()  # which has a total
    endless = rungwise(folder, *TUNE[:-2], "--total-resource", "9", *options, "t.db")
    assert endless.returncode == 2
    assert "so say how many there are" in endless.stderr
    assert not (folder / "t.db").exists()


def test_an_option_for_the_study_comes_before_the_path_in_the_file(folder: Path) -> None:
    (folder / "rungwise.toml").write_text(TOML.replace("study =", "path ="))
    assert rungwise(folder, "tune", "--study", "other.db").returncode == 0
    assert (folder / "other.db").exists()
    assert not (folder / "runs/toml.db").exists()


def test_a_space_in_json(folder: Path) -> None:
    space = '{"x": {"type": "float", "low": 0, "high": 1}}'
    (folder / "space.json").write_text(space)
    for given in (space, "space.json"):
        assert rungwise(folder, *TUNE[:2], "--space", given, *TUNE[4:], "--study", "s.db").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_or_sigterm_and_resume(number: signal.Signals, folder: Path) -> None:
    command = [str(Path(sys.executable).with_name("rungwise")), *TUNE, "--study", "s.db", "--workers", "2"]
    command[2] = "train.py:slow"
    driver = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (folder / "s.db.trials" / "000002.log").exists():
        time.sleep(0.02)
    driver.send_signal(number)
    _, error = driver.communicate(timeout=20)
    assert driver.returncode == 130
    assert "to resume the study: rungwise resume s.db" in error
    resumed = rungwise(folder, "resume", "s.db")
    assert resumed.returncode == 0
    assert resumed.stdout.startswith("12 of 12 trials")


def test_an_exported_choice_cannot_be_a_formula(folder: Path) -> None:
    space = '{"=x": {"type": "categorical", "choices": ["=1+1", "@cmd", "-5", "plain"]}, "n": {"type": "float", "low": -2, "high": -1}}'
    (folder / "odd.py").write_text("def train(trial):\n    for epoch in trial:\n        trial.report(-1.0)\n")
    command = [
        "tune",
        "odd.py:train",
        "--space",
        space,
        "--mode",
        "min",
        "--trials",
        "12",
        "--study",
        "s.db",
        "--quiet",
    ]
    assert rungwise(folder, *command).returncode == 0
    assert rungwise(folder, "export", "s.db", "out.csv").returncode == 0
    with (folder / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["config.=x"] for row in rows} == {"'=1+1", "'@cmd", "'-5", "plain"}
    assert float(rows[0]["config.n"]) < 0, "numbers stay numbers"
    assert rungwise(folder, "export", "s.db", "out.json").returncode == 0
    assert {row["config.=x"] for row in json.loads((folder / "out.json").read_text())} == {
        "=1+1",
        "@cmd",
        "-5",
        "plain",
    }


def newer(folder: Path) -> None:
    rungwise(folder, *TUNE, "--study", "s.db")
    database = sqlite3.connect(folder / "s.db")
    database.execute("PRAGMA user_version = 99")
    database.close()


def a_study(folder: Path) -> None:
    rungwise(folder, *TUNE, "--study", "s.db")


def from_python(folder: Path) -> None:
    code = "import rungwise as rw; rw.Study({'x': rw.Float(0, 1)}, path='s.db')"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)


def toml(text: str):
    return lambda folder: (folder / "rungwise.toml").write_text(text)


SPACE_WITH = '{{"x": {{"type": "float", {}}}}}'
WRONG = {
    "nothing to tune": (["tune"], None, "say what to tune: rungwise tune train.py:train"),
    "no space": (TUNE[:2] + TUNE[4:], None, "say what to search: --space"),
    "no mode": (TUNE[:4], None, "say whether lower or higher scores are better"),
    "no end": (TUNE[:6], None, "say when to stop"),
    "no such function": (["tune", "train.py:trian", *TUNE[2:]], None, "train.py has no 'trian'; did you mean 'train'?"),
    "no such file": (["tune", "tran.py:train", *TUNE[2:]], None, "there is no file tran.py"),
    "no such module": (["tune", "no.module:train", *TUNE[2:]], None, "importing no.module failed: ModuleNotFoundError"),
    "no name": (["tune", "train.py", *TUNE[2:]], None, "name the function as train.py:train"),
    "a broken file": (["tune", "broken.py:train", *TUNE[2:]], None, "importing broken.py failed: ModuleNotFoundError: No module named 'numpyy'"),
    "no function": (["tune", "train.py:NUMBER", *TUNE[2:]], None, "must be a function, not 3"),
    "low above high": ([*TUNE[:3], SPACE_WITH.format('"low": 2, "high": 1'), *TUNE[4:]], None, "'x': low=2.0 is above high=1.0"),
    "log with 0": ([*TUNE[:3], SPACE_WITH.format('"low": 0, "high": 1, "log": true'), *TUNE[4:]], None, "'x': log=True needs low > 0"),
    "no JSON": ([*TUNE[:3], "{x", *TUNE[4:]], None, "the space is not JSON"),
    "no space file": ([*TUNE[:3], "none.json", *TUNE[4:]], None, "the space none.json cannot be read"),
    "eta": ([*TUNE, "--reduction-factor", "1"], None, "reduction_factor must be above 1"),
    "min above max": ([*TUNE, "--min-resource", "9", "--max-resource", "3"], None, "min_resource=9 is above max_resource=3"),
    "refit whereto": ([*TUNE, "--refit"], None, "no max_resource; say how far to refit"),
    "a directory": ([*TUNE, "--study", "."], None, ". is a directory"),
    "unwritable": ([*TUNE, "--study", "/proc/no/s.db"], None, "cannot be written"),
    "another mode": ([*TUNE[:5], "max", *TUNE[6:], "--study", "s.db"], a_study, "another mode: 'min' there, 'max' now"),
    "another space": ([*TUNE[:3], SPACE_WITH.format('"low": 0, "high": 2'), *TUNE[4:], "--study", "s.db"], a_study, "another space, 'x'"),
    "a newer file": (["status", "s.db"], newer, "written by a newer rungwise"),
    "no study": (["explain", "none.db"], None, "there is no study none.db"),
    "no study to resume": (["resume", "none.db"], None, "there is no study none.db"),
    "not a study": (["best", "train.py"], None, "train.py is not a study file"),
    "begun from Python": (["resume", "s.db"], from_python, "was begun from Python: run that program again"),
    "an ending": (["export", "s.db", "out.xls"], a_study, "out.xls must end with one of .csv, .json, .parquet"),
    "an option": (["tune", "--trails", "3"], None, "No such option '--trails'. (Did you mean one of: '--retries', '--trials'?)"),
    "bad TOML": (["tune"], toml("trials = "), "rungwise.toml: "),
    "a setting": (["tune"], toml("max_t = 3"), "rungwise.toml has the unknown setting 'max_t'"),
    "a scheduler's setting": (["tune"], toml('mode = "min"\nfunction = "train.py:train"\n[scheduler]\nmax_t = 3\n[space.x]\ntype = "float"\nlow = 0\nhigh = 1'), "PASHA has no argument 'max_t'; did you mean 'max_resource'?"),
    "a command with a typo": (["tune"], toml('mode = "min"\ntrials = 3\ncommand = ["python", "{y}"]\n[space.x]\ntype = "float"\nlow = 0\nhigh = 1'), "{y} in the command is unknown"),
    "a command as text": (["tune"], toml('mode = "min"\ntrials = 3\ncommand = "python train.py"\n[space]'), "a command must be a list of text"),
    "both": (["tune"], toml('mode = "min"\nfunction = "train.py:train"\ncommand = ["a"]\n[space]'), "either a function"),
    "a score": (["tune"], toml(TOML.replace("trials = 9", 'trials = 9\nscore = "bets"')), "score must be 'last' or 'best', not 'bets'; did you mean 'best'?"),
    "trials as text": (["tune"], toml(TOML.replace("trials = 9", 'trials = "9"')), "trials must be a whole number, not '9'"),
    "workers as text": (["tune"], toml(TOML.replace("workers = 2", 'workers = "2"')), "workers must be a whole number, not '2'"),
    "a ranking": (["tune"], toml(TOML.replace('"soft"', '"sooft"')), "there is no ranking 'sooft'; did you mean 'soft'?"),
    "no workers to resume with": (["resume", "s.db", "--workers", "0"], a_study, "workers must be 1 or more, not 0"),
    "another function": (["tune", "train.py:slow", *TUNE[2:], "--study", "s.db"], a_study, "another function: 'train.py:train' there"),
    "a number as searcher": (["tune"], toml("searcher = 5\n" + TOML), "searcher must be a name"),
    "a list as scheduler's name": (["tune"], toml(TOML.replace('name = "pasha"', "name = []")), "there is no scheduler []"),
    "a number as ranking": (["tune"], toml(TOML.replace('ranking = { name = "soft", epsilon = 0.01 }', "ranking = 3")), "ranking must be a name"),
    "a number as study": (["tune"], toml(TOML.replace('"runs/toml.db"', "3")), "the study's file must be a path, not 3"),
    "a number as command": (["tune"], toml('command = 5\nmode = "min"\n[space.x]\ntype = "float"\nlow = 0\nhigh = 1'), "a command must be a list of text"),
    "no as false": (["tune"], toml('keep_checkpoints = "no"\n' + TOML), "keep_checkpoints must be true or false, not 'no'"),
    "an empty space": ([*TUNE[:3], "{}", *TUNE[4:]], None, "the space is empty"),
    "a ranking's argument": (["tune"], toml(TOML.replace("epsilon", "epsilo")), "no argument 'epsilo'; did you mean 'epsilon'?"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_line_and_no_traceback(case: str, folder: Path) -> None:
    arguments, prepare, message = WRONG[case]
    if prepare is not None:
        prepare(folder)
    answer = rungwise(folder, *arguments)
    assert answer.returncode in (1, 2)
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr
    ours = [line for line in answer.stderr.splitlines() if not line.startswith(("Usage:", "Try ", "Error:")) and line]
    assert len(ours) <= 1, answer.stderr
    messages.check("command line", case, answer.stderr, folder)


def test_a_study_that_others_write_can_be_looked_at(folder: Path) -> None:
    command = [str(Path(sys.executable).with_name("rungwise")), *TUNE, "--study", "s.db"]
    command[2] = "train.py:slow"
    (folder / "hold").touch()
    driver = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not (folder / "s.db.trials" / "000000.log").exists():
        time.sleep(0.02)
    assert "of 12 trials" in rungwise(folder, "status", "s.db").stdout
    refused = rungwise(folder, "resume", "s.db")
    assert refused.returncode == 1
    assert f"s.db is held by process {driver.pid} on {platform.node()} (rungwise)" in refused.stderr
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    (folder / "hold").unlink()
    assert rungwise(folder, "resume", "s.db").returncode == 0


TYPO = """
import pathlib
import rungwise as rw

SPACE = {"x": rw.Float(0, 1)}

def train(trial):
    trial.load()
    for epoch in trial:
        if trial.number % 3 == 1 and not pathlib.Path(__file__).with_name("mended").exists():
            raise NameError("modle")
        trial.report((trial.config["x"] - 0.3) ** 2 + 1 / epoch)
        trial.save(epoch)
"""


def test_failures_are_taken_back_and_tried_again(folder: Path) -> None:
    (folder / "train.py").write_text(TYPO)
    tuned = rungwise(folder, *TUNE, "--study", "s.db", "--max-resource", "9", "--retries", "0")
    assert tuned.returncode == 0, tuned.stderr
    rungwise(folder, "export", "s.db", "before.csv")
    with (folder / "before.csv").open() as file:
        failures = {int(row["trial"]): row["failure"] for row in csv.DictReader(file)}
    assert {trial for trial, failure in failures.items() if failure} == {1, 4, 7, 10}
    assert "NameError: modle" in failures[4]
    assert rungwise(folder, "retry", "s.db", "2").stderr.startswith("rungwise: trial 2 has not failed; those that have")
    one = rungwise(folder, "retry", "s.db", "4")
    assert one.stdout.splitlines()[0] == "1 failed trial will be retried: 4"
    rest = rungwise(folder, "retry", "s.db")
    assert rest.stdout.splitlines() == [
        "3 failed trials will be retried: 1, 7, 10",
        "continue with: rungwise resume s.db",
    ]
    assert rungwise(folder, "retry", "s.db").stdout.startswith("no trial has failed")
    (folder / "mended").touch()
    resumed = rungwise(folder, "resume", "s.db")
    assert resumed.returncode == 0, resumed.stderr
    rungwise(folder, "export", "s.db", "after.csv")
    with (folder / "after.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert not any(row["failure"] for row in rows)
    assert all(int(row["resource"]) >= 1 for row in rows)


def test_a_fault_that_stays_is_one_line_that_says_how_to_go_on(folder: Path) -> None:
    (folder / "train.py").write_text(TYPO.replace("trial.number % 3 == 1", "trial.number > 3"))
    tuned = rungwise(folder, *TUNE, "--study", "s.db", "--max-resource", "3", "--patience", "0.5")
    assert tuned.returncode == 1
    last = tuned.stderr.splitlines()[-1]
    assert last.startswith("rungwise: nothing works any more: ")
    assert "NameError: modle" in last
    assert "rungwise resume s.db" in last
    (folder / "mended").touch()
    assert rungwise(folder, "resume", "s.db").returncode == 0
