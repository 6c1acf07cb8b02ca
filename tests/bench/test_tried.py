"""`benchmarks/tried.py`: the rules that it replays are those of the package, and its variants run."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import rungwise as rw
from rungwise.bench.budget import ladder_of, outcomes, run_method
from rungwise.bench.contests import contest, schedulers
from rungwise.bench.task import Task
from rungwise.recommendation import TESTED

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import tried


def a_task() -> Task:
    rng = np.random.default_rng(0)
    losses = rng.random((60, 1)) + np.arange(1, 28) ** -0.5 + rng.normal(0, 0.05, (60, 27))
    return Task("mine", "one", rw.CurveTable(losses, mode="min"), tuple({"x": float(x)} for x in rng.random(60)))


def test_a_replay_answers_as_the_study_itself() -> None:
    task = a_task()
    replayed = {(one.method, one.budget): one.row for one in tried.replayed(task, 0)}
    for name in schedulers(ladder_of(task.table)).keys() - {"full", "one-rung"}:
        method = contest(name, ladder_of(task.table))
        rule = "best at the highest rung" if method.scheduler.name in TESTED else "the package's"
        run = run_method(task, method, name, 0, 50)
        for one in outcomes(run, task.table, tried.BUDGETS):
            assert one.row == replayed[f"{name}: {rule}", one.budget], name


def test_every_variant_has_a_row() -> None:
    (_, suites), *rows = tried.variants([a_task()], 1)
    assert suites == ["mine"]
    assert [name for name, _ in rows] == ["pasha", *tried.VARIANTS]
