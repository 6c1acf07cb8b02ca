"""A study whose function has changed says so."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import pytest

import objectives
import rungwise as rw
from rungwise.executors.command import Command
from rungwise.kinds import by_kind, kind
from rungwise.loading import NamedFunction
from rungwise.source import digest
from rungwise.tail import last_lines

SCRIPT = """
import rungwise as rw

def train(trial):
    for epoch in trial:
        trial.report({score})

rw.tune(train, {{"x": rw.Float(0, 1)}}, mode="min", trials=3, study="s.db", scheduler=rw.ASHA(max_resource=3),
        refit={refit})
"""


def run(folder: Path, score: str, *, refit: bool = False) -> str:
    (folder / "script.py").write_text(SCRIPT.format(score=score, refit=refit))
    done = subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("refit", [False, True])
def test_a_finished_study_that_is_run_again_says_so_and_warns_of_a_changed_function(
    refit: bool, tmp_path: Path
) -> None:
    first = run(tmp_path, "1 / epoch", refit=refit)
    assert "already finished" not in first
    assert "warning" not in first
    again = run(tmp_path, "1 / epoch", refit=refit)
    assert "already finished: 3 of 3 trials" in again
    assert "has changed" not in again
    changed = run(tmp_path, "2 / epoch", refit=refit)
    assert "already finished: 3 of 3 trials" in changed
    assert "warning: the function's source has changed" in " ".join(changed.split())
    assert "has changed" not in run(tmp_path, "2 / epoch", refit=refit), "it is said when it changes"


def test_resume_says_once_that_the_function_has_changed(tmp_path: Path) -> None:
    def rungwise(*arguments: str, score: str) -> str:
        text = f"def train(trial):\n    for epoch in trial:\n        trial.report({score})\n"
        (tmp_path / "train.py").write_text(text)
        command = [sys.executable, "-c", "from rungwise.cli import main; main()", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stderr

    space = '{"x": {"type": "float", "low": 0, "high": 1}}'
    options = ["--space", space, "--mode", "min", "--trials", "3", "--max-resource", "3", "--study", "s.db"]
    rungwise("tune", "train.py:train", *options, score="1 / epoch")
    assert "has changed" in rungwise("resume", "s.db", "--trust", score="2 / epoch")
    assert "has changed" not in rungwise("resume", "s.db", "--trust", score="2 / epoch")
    assert "has changed" in rungwise("resume", "s.db", "--trust", score="3 / epoch")


class Model:
    def train(self, trial: rw.Trial) -> None:
        trial.report(1)

    def __call__(self, trial: rw.Trial) -> None:
        trial.report(2)


def test_a_digest_is_that_of_what_trains(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print(1)")
    command = Command(["python", f"{tmp_path}/train.py", "{x}"])
    before = digest(command)
    things = [objectives.train, objectives.slow, Model().train, Model(), lambda trial: trial.report(3), command]
    assert len({digest(thing) for thing in things}) == len(things)
    named = NamedFunction(f"{objectives.__file__}:train")
    assert digest(functools.partial(objectives.train)) == digest(objectives.train) == digest(named)
    (tmp_path / "train.py").write_text("print(2)")
    assert digest(command) != before
    (tmp_path / "train.py").write_text("print(1)")
    assert digest(command) == before
    assert digest(print) == ""


def test_a_function_without_a_file_has_a_digest_that_is_the_same_in_each_process() -> None:
    code = """
import rungwise.source
def train(trial):
    for epoch in trial:
        trial.report({} if epoch in {'a', 'b', 'c', 'd'} else 1, *[n for n in (1, 2)])
print(rungwise.source.digest(train))
"""
    digests = [
        subprocess.run(
            [sys.executable, "-"], input=code.replace("{}", score), capture_output=True, text=True, timeout=60
        ).stdout
        for score in ("1.0", "1.0", "2.0")
    ]
    assert digests[0] == digests[1] != digests[2]
    assert len(digests[0]) == 17


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("OSError: [Errno 28] No space (train.py:12)", "OSError: [Errno 28] No space (train.py:14)", True),
        ("ValueError: 3 layers at 0x7f12", "ValueError: 12 layers at 0x7faa", True),
        ("loss 1e-05", "loss 2.5", True),
        ("ValueError: no layer", "TypeError: no layer", False),
    ],
)
def test_kinds_of_failures(one: str, other: str, same: bool) -> None:
    assert (kind(one) == kind(other)) is same


def test_failures_by_kind() -> None:
    kinds = by_kind([(1, "a 1"), (2, "b"), (3, "a 2"), (4, "c")])
    assert [(one.trial, one.reason, one.count) for one in kinds] == [(1, "a 1", 2), (2, "b", 1), (4, "c", 1)]


def test_the_end_of_a_log(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("".join(f"line {n}\n" for n in range(5000)))
    assert last_lines(tmp_path / "a.log") == [f"line {n}" for n in range(4980, 5000)]
    (tmp_path / "b.log").write_bytes(b"\xff\nshort")
    assert last_lines(tmp_path / "b.log") == ["�", "short"]
    assert last_lines(tmp_path / "none.log") == []
