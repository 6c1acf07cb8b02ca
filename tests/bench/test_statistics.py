"""Statistics: small cases by hand, intervals against what is known of them."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from rungwise.bench.experiment import Run
from rungwise.bench.statistics import hindsight, summarize
from rungwise.bench.task import Task
from rungwise.curves import CurveTable
from rungwise.errors import InputError


def run(method: str, score: float | None, seconds: float = 1, resource: int = 1, task: str = "t", seed: int = 0) -> Run:
    return Run("suite", task, seed, method, 0, score, None, seconds, resource, resource)


def test_one_task_is_means_and_their_ratio() -> None:
    runs = [
        run("asha", 10, 8, 100), run("asha", 20, 4, 50, seed=1),
        run("pasha", 11, 2, 40), run("pasha", 17, 2, 20, seed=1),
    ]  # fmt: skip
    asha, pasha = summarize(runs)
    assert (asha.method, asha.score, asha.deviation, asha.seconds, asha.resource) == ("asha", 15, 5, 6, 75)
    assert (asha.speed_up, asha.saving, asha.difference) == (1, 1, 0)
    assert asha.speed_up_interval == (1, 1)
    assert (pasha.score, pasha.deviation, pasha.speed_up, pasha.saving) == (14, 3, 3, 2.5)
    assert pasha.difference == -1
    assert pasha.difference_interval == (-3, 1)  # both pairs the second, or both the first
    assert pasha.speed_up_interval == (2, 4)
    assert math.isnan(pasha.test)


def test_every_task_counts_the_same_for_the_speed_up() -> None:
    runs = [
        run("asha", 1, 1000, task="long"), run("asha", 1, 1, task="short"),
        run("pasha", 1, 500, task="long"), run("pasha", 1, 0.125, task="short"),
    ]  # fmt: skip
    assert summarize(runs)[1].speed_up == pytest.approx(1 / np.mean([0.5, 0.125]))


def test_the_deviation_is_that_within_the_tasks() -> None:
    runs = [
        run("asha", score, task=task, seed=seed)
        for task, seed, score in (("a", 0, 1), ("a", 1, 3), ("b", 0, 97), ("b", 1, 103))
    ]
    assert summarize(runs)[0].deviation == pytest.approx(math.sqrt((1 + 9) / 2))


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(100):
        differences = rng.normal(0.5, 1, 30)
        runs = [run("asha", 0, seed=seed) for seed in range(30)]
        runs += [run("pasha", float(d), seed=seed) for seed, d in enumerate(differences)]
        low, high = summarize(runs)[1].difference_interval
        covered += low <= 0.5 <= high
    assert 85 <= covered <= 99


def test_a_method_without_cost_is_infinitely_fast() -> None:
    line = summarize([run("asha", 1), run("random", 0, 0, 0)])[1]
    assert (line.speed_up, line.speed_up_interval, line.saving) == (math.inf, (math.inf, math.inf), math.inf)


def test_runs_without_a_score_are_left_out_and_counted() -> None:
    runs = [run("asha", 1, seed=0), run("asha", 2, seed=1), run("pasha", None, seed=0), run("pasha", 5, seed=1)]
    line = summarize(runs)[1]
    assert (line.runs, line.without, line.score, line.deviation) == (2, 1, 5, 0)
    assert (line.difference, line.difference_interval) == (3, (3, 3))
    nothing = summarize([run("asha", 1), run("pasha", None)])[1]
    assert nothing.without == 1
    assert all(math.isnan(value) for value in (nothing.score, nothing.difference, *nothing.difference_interval))


def test_methods_that_not_all_tasks_have_are_left_out() -> None:
    runs = [run("asha", 1, task="a"), run("asha", 1, task="b"), run("ceiling-9", 1, task="b")]
    assert [line.method for line in summarize(runs)] == ["asha"]


def test_runs_are_paired_by_task_and_seed_in_whatever_order() -> None:
    asha = [run("asha", seed * 10.0, 1 + seed, seed=seed) for seed in range(5)]
    pasha = [run("pasha", seed * 10.0 + 1, 1, seed=seed) for seed in range(5)]
    assert summarize(asha + pasha)[1] == summarize(asha + pasha[::-1])[1]
    with pytest.raises(InputError, match="two runs of asha on t under seed 0"):
        summarize([*asha, *asha, *pasha])
    with pytest.raises(InputError, match="several suites, another, suite"):
        summarize([*asha, msgspec.structs.replace(pasha[0], suite="another")])


def test_without_asha_there_is_nothing_to_compare_with() -> None:
    with pytest.raises(InputError, match="no runs of 'asha' to compare with; there are pasha"):
        summarize([run("pasha", 1)])


@pytest.mark.parametrize(
    ("mode", "scores", "chosen"),
    [("max", {"1-epoch": 1, "ceiling-3": 8.95, "ceiling-9": 9.5, "asha": 9}, 3), ("min", {"1-epoch": 9, "ceiling-3": 2.2, "ceiling-9": 1.9, "asha": 2}, 9),
     ("max", {"1-epoch": 9.2, "ceiling-3": 1, "ceiling-9": 1, "asha": 9}, 1), ("max", {"1-epoch": 1, "ceiling-3": 1, "ceiling-9": 1, "asha": 9}, 27)],
)  # fmt: skip
def test_hindsight_is_the_lowest_ceiling_as_good_as_asha(mode: str, scores: dict[str, float], chosen: int) -> None:
    task = Task("suite", "t", CurveTable([[1.0]], mode=mode), ({},), tolerance=0.1)
    resources = {"1-epoch": 1, "ceiling-3": 3, "ceiling-9": 9, "asha": 27}
    (best,) = hindsight([run(method, score, resource=resources[method]) for method, score in scores.items()], [task])
    assert (best.method, best.resource) == ("hindsight", chosen)
