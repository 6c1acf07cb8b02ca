"""`benchmarks/in_training.py`: no method trains more than the budget, and all that it trains is counted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import optuna
import pytest

import rungwise as rw

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import contenders
import in_training
from contenders import BASE, METHODS, PROBLEMS, Found, Problem, Unit

from rungwise.bench.shown import console_of


@pytest.mark.parametrize("name", PROBLEMS)
def test_real_runs_keep_to_the_budget(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PROBLEMS, name, PROBLEMS[name]._replace(full=9))
    found = [one for method in METHODS for one in Unit(name, method, 2, 3).run()]
    for one in found:
        assert 9 < one.units <= 18
        assert 0 < one.training < one.seconds
        assert 2 <= one.configurations <= one.units
        assert one.test > 0
    console_of(True).print(in_training.table(found, True))
    title, heading, _, *rows = (line for line in capsys.readouterr().out.splitlines() if line.strip())
    assert title.startswith(f"{name}, B = 2 (18 ")
    unit = PROBLEMS[name].unit
    assert [cell.strip() for cell in heading.split("|")][-5:-1] == [
        unit,
        "configurations",
        "seconds",
        "outside training",
    ]
    assert [row.split("|")[1].strip() for row in rows] == list(METHODS)
    assert [row.count("[") for row in rows] == [0] + [2] * (len(METHODS) - 1)


LOSSES = [0.5, 0.2, 0.9, 0.4]


def toy(trained: list[int]) -> Problem:
    """Trial n has the loss LOSSES[n], again and again; what is trained is noted."""

    def train(trial: Any) -> None:
        assert trial.load() in (None, trial.number)
        for _ in trial:
            trained.append(trial.number)
            trial.report(LOSSES[trial.number % 4])
        trial.save(trial.number)

    space = rw.Space({"x": rw.Float(0, 1), "y": rw.Categorical(["a", "b"]), "z": rw.Ordinal([1, 4], when={"y": "a"})})
    return Problem(train, space, "min", 4, "steps", "loss", float, float)


class After(optuna.pruners.BasePruner):
    """Prunes every trial at `step`."""

    def __init__(self, step: int) -> None:
        self.step = step

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.last_step == self.step


def test_where_no_trial_is_complete_the_best_of_the_furthest_is_trained_on() -> None:
    trained: list[int] = []
    problem = toy(trained)
    ended = contenders.of_optuna(problem, problem.train, 2, 0, pruner=lambda full: After(1))
    assert trained == [0, 1, 2, 3, 4, 1, 1, 1]  # 3 of the 8 are kept
    assert ended == (1, 0.2, 5)


def test_where_one_is_complete_all_the_rest_is_for_the_search() -> None:
    trained: list[int] = []
    problem = toy(trained)
    ended = contenders.of_optuna(problem, problem.train, 2.5, 0, pruner=lambda full: optuna.pruners.NopPruner())
    assert trained == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]  # the last is cut off
    assert ended == (1, 0.2, 3)


def test_each_seed_trains_from_seeds_of_its_own(tmp_path: Path) -> None:
    trained: list[int] = []
    problem = toy(trained)
    for seed in (0, 2):
        train = contenders.noting(problem.train, seed, tmp_path / "diary")
        contenders.of_optuna(problem, train, 1, seed, pruner=lambda full: optuna.pruners.NopPruner())
    assert trained == [0] * 4 + [20_000] * 4
    assert [line.split()[0] for line in (tmp_path / "diary").read_text().splitlines()] == ["4", "4"]


def test_it_writes_a_row_a_run(tmp_path: Path) -> None:
    one = Found("digits", BASE, 5, 0, 3.5, 3.1, 320, 12, 4.5, 4.25)
    in_training.write_csv(tmp_path / "runs.csv", [one])
    heading, row = (tmp_path / "runs.csv").read_text().splitlines()
    assert heading == ",".join(Found.__struct_fields__)
    assert row == ",".join(map(str, msgspec.structs.astuple(one)))
