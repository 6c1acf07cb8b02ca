"""What docs/evidence.md and docs/nas.md say of the package's own tables, asserted: 10 seeds, η = 3, the paper's protocol."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from rungwise.bench.experiment import experiment
from rungwise.bench.options import ExperimentOptions
from rungwise.bench.statistics import Line, hindsight, summarize
from rungwise.bench.suites import load_suite
from rungwise.search.agreement import rank_correlation

PAGE = Path(__file__).parents[2] / "docs" / "nas.md"


@functools.cache
def lines(suite: str, reduction_factor: float = 3) -> dict[str, Line]:
    tasks = load_suite(suite)
    runs = experiment(tasks, ExperimentOptions(repeats=10, reduction_factor=reduction_factor, processes=2))
    return {line.method: line for line in summarize([*runs, *hindsight(runs, tasks)])}


def test_on_digits_mlp_pasha_is_faster_at_a_score_that_cannot_be_told_apart() -> None:
    pasha = lines("digits-mlp")["pasha"]
    assert pasha.speed_up_interval[0] > 1.1
    assert pasha.difference_interval[0] < 0 < pasha.difference_interval[1]
    assert pasha.max_resource < lines("digits-mlp")["asha"].max_resource / 3


def test_on_fashion_cells_pasha_is_faster_and_loses_accuracy() -> None:
    pasha = lines("fashion-cells")["pasha"]
    assert pasha.speed_up_interval[0] > 1
    assert pasha.difference_interval[1] < 0
    assert lines("fashion-cells")["hindsight"].speed_up == pytest.approx(1)
    later = lines("fashion-cells", 4)["pasha"]
    assert later.difference_interval[0] < 0 < later.difference_interval[1]


def test_the_smaller_eta_the_more_is_saved() -> None:
    two, three, four = (lines("digits-mlp", eta)["pasha"].speed_up for eta in (2, 3, 4))
    assert two > three > four > 1


def test_k_epochs_are_worse_or_not_cheaper() -> None:
    for suite in ("digits-mlp", "fashion-cells"):
        for k in (1, 2, 3, 5):
            baseline = lines(suite)[f"{k}-epoch"]
            assert baseline.difference_interval[1] < 0 or baseline.speed_up <= 1


def test_the_two_trainings_of_a_fashion_cell_hardly_agree() -> None:
    first, second = (task.table.scores[:, -1] for task in load_suite("fashion-cells"))
    assert f"(rank correlation {rank_correlation(first, second):.2f})" in PAGE.read_text(encoding="utf-8")
