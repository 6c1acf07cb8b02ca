"""The slow reference itself, against a study worked by hand (PASHA: Bohdal et al., ICLR 2023) and a few ladders."""

from __future__ import annotations

import math

import pytest

from reference import ladder, simulate

SCORES = [
    [0.32, 0.62, 0.68, 0.59, 0.69, 0.76, 0.71, 0.77, 0.84],
    [0.50, 0.62, 0.66, 0.76, 0.74, 0.76, 0.78, 0.82, 0.74],
    [0.14, 0.25, 0.49, 0.47, 0.56, 0.50, 0.48, 0.55, 0.53],
    [0.17, 0.34, 0.53, 0.50, 0.52, 0.50, 0.49, 0.58, 0.54],
    [0.33, 0.51, 0.53, 0.62, 0.69, 0.61, 0.73, 0.64, 0.69],
    [0.32, 0.50, 0.58, 0.59, 0.59, 0.61, 0.62, 0.59, 0.66],
    [-0.06, 0.12, 0.17, 0.29, 0.21, 0.18, 0.31, 0.17, 0.28],
    [-0.07, 0.15, 0.10, 0.27, 0.24, 0.22, 0.36, 0.32, 0.30],
    [0.35, 0.54, 0.60, 0.68, 0.70, 0.64, 0.66, 0.67, 0.64],
    [0.45, 0.63, 0.73, 0.79, 0.71, 0.79, 0.75, 0.89, 0.79],
    [0.48, 0.57, 0.63, 0.72, 0.71, 0.76, 0.68, 0.80, 0.73],
    [0.41, 0.46, 0.59, 0.50, 0.61, 0.56, 0.59, 0.63, 0.62],
]
SECONDS = [[(1 + i / 1000) * epoch for epoch in range(1, 10)] for i in range(12)]
JOBS = [
    (0, 0, 1), (1, 0, 1), (2, 0, 1), (3, 0, 1), (1, 1, 3), (4, 0, 1), (5, 0, 1), (6, 0, 1), (4, 1, 3), (7, 0, 1),
    (8, 0, 1), (9, 0, 1), (8, 1, 3), (9, 1, 3), (10, 0, 1), (9, 3, 9), (10, 1, 3), (11, 0, 1), (11, 1, 3), (1, 3, 9),
]  # fmt: skip


def test_the_worked_study() -> None:
    out = simulate(SCORES, SECONDS, algorithm="pasha", mode="max", workers=2, trials=12, rows=list(range(12)))
    assert [(trial, start, until) for _, trial, start, until in out.jobs] == JOBS
    assert [level for _, level in out.ceilings] == [3, 9]
    assert out.ceilings[0][0] == 0.0
    # trial 9 completes 3, the ceiling rises, and at that moment it is given its job to 9
    assert out.ceilings[1][0] == next(time for time, trial, start, _ in out.jobs if (trial, start) == (9, 3))
    assert out.epsilons == [0.0] * 4
    assert (out.best_trial, out.resource_used, out.max_resource) == (9, 36, 9)


def test_it_may_end_when_the_last_trial_has_been_started() -> None:
    rows = list(range(12))
    out = simulate(SCORES, SECONDS, algorithm="pasha", mode="max", workers=2, trials=12, rows=rows, drain=False)
    assert [(trial, start, until) for _, trial, start, until in out.jobs] == JOBS[: JOBS.index((11, 0, 1)) + 1]
    assert out.seconds == out.jobs[-1][0]


def test_a_job_without_a_report_has_failed() -> None:
    out = simulate([[0.5, 0.4]], algorithm="asha", mode="min", workers=1, trials=1, rows=[0], resources=[2, 4])
    assert out.jobs == [(0.0, 0, 0, 1)]
    assert (out.best_trial, out.seconds, out.resource_used, out.max_resource) == (None, 0.0, 0, 0)


def test_scores_that_are_not_finite_are_never_chosen() -> None:
    out = simulate([[math.nan], [-math.inf], [0.7]], algorithm="pasha", mode="min", workers=1, trials=3, rows=[0, 1, 2])
    assert out.jobs == [(0.0, 0, 0, 1), (1.0, 1, 0, 1), (2.0, 2, 0, 1)]
    assert (out.ceilings, out.epsilons, out.best_trial) == ([(0.0, 1)], [], 2)


@pytest.mark.parametrize(
    ("r", "eta", "top", "levels"),
    [
        (1, 3, 9, [1, 3, 9]),
        (1, 3, 10, [1, 3, 9, 10]),
        (1, 3, 200, [1, 3, 9, 27, 81, 200]),
        (1, 2.5, 40, [1, 3, 6, 16, 39, 40]),  # 2.5 goes up
        (1, 1.2, 3, [1, 2, 3]),  # 1, 1.2, 1.44, 1.728, 2.07, 2.49, 2.99: repeats are dropped
        (2, 3, 5, [2, 5]),
        (5, 3, 5, [5]),
        (1, 3, 1, [1]),
    ],
)
def test_ladders(r: int, eta: float, top: int, levels: list[int]) -> None:
    assert ladder(r, eta, top) == levels
