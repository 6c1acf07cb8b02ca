"""Curves that get worse again: when is it said, and when not."""

from __future__ import annotations

import numpy as np
import pytest

import rungwise as rw
from rungwise.peaks import peak

SPACE = {"x": rw.Float(0, 1)}


def curve(losses) -> dict[int, float]:
    return {resource: float(loss) for resource, loss in enumerate(losses, start=1)}


@pytest.mark.parametrize("n", [5, 9, 27, 81, 1000])
@pytest.mark.parametrize("noise", [0.0, 0.002])
def test_a_curve_that_gets_worse_again_has_a_peak(n: int, noise: float) -> None:
    at = np.arange(1, n + 1) / n
    losses = 0.3 + 0.4 * np.exp(-10 * at) + 0.1 * at + np.random.default_rng(n).normal(0, noise, n)
    found = peak(curve(losses))
    assert found is not None
    assert (found.resource, found.loss) == (int(np.argmin(losses)) + 1, losses.min())
    assert (found.end, found.last) == (n, losses[-1])


@pytest.mark.parametrize("shape", ["flat", "improving", "slow"])
@pytest.mark.parametrize(("n", "most"), [(5, 0.03), (9, 0.02), (27, 0.005), (81, 0.005)])
def test_noise_is_no_peak(shape: str, n: int, most: float) -> None:
    at = np.arange(1, n + 1)
    losses = {"flat": np.zeros(n), "improving": 1 / np.sqrt(at), "slow": -0.2 * at / n}[shape]
    rng = np.random.default_rng(0)
    noisy = losses + rng.normal(0, 0.05, (1000, n))
    assert np.mean([peak(curve(each)) is not None for each in noisy]) <= most


@pytest.mark.parametrize(
    "losses",
    [
        [0.3, 0.4, 0.5, 0.6],  # four reports say nothing
        [0.5, 0.4, 0.3, 0.2, 0.1, 0.15],  # the best is near the end
        [0.3] * 9,
        [float("inf")] * 9,
        [],
    ],
)
def test_where_there_is_none(losses: list[float]) -> None:
    assert peak(curve(losses)) is None


def test_a_curve_that_diverges_late_has_one() -> None:
    inf = float("inf")
    assert peak(curve([0.5, 0.4, 0.3, 0.31, 0.5, inf, inf, inf])).resource == 3


def study(score: str = "last", mode: str = "min", top: int = 27, shape=None) -> rw.Study:
    made = rw.Study(SPACE, rw.ASHA(max_resource=top), mode=mode, score=score)
    made.extend(trials=27)
    sign = 1 if mode == "min" else -1
    shape = shape or (lambda trial, at: 0.3 + trial / 1000 + (at - 4) ** 2 / 5000)
    while (job := made.ask()) is not None:
        for at in range(job.start + 1, job.until + 1):
            made.report(job.trial, at, sign * shape(job.trial, at))
    return made


def test_explain_names_the_curves_and_the_advice() -> None:
    said = study().explain()
    assert "curves get worse again: 3 of 3 trials at 9 and 27 had their best score well before the end" in said
    assert "(trial 0: 0.3 at 4, 0.4058 at 27)" in said
    assert 'score="best" would count the best report and keep its checkpoint' in said
    assert "its curve got worse again: 0.3 at 4, 0.4058 at 27" in said, "the winner's own"
    assert said.count("score=") == 1
    assert "-0.3 at 4, -0.4058 at 27" in study(mode="max").explain()


def test_nothing_is_said_of_curves_that_improve_or_of_studies_that_count_the_best() -> None:
    assert "worse again" not in study(shape=lambda trial, at: 0.3 + trial / 1000 + 1 / at).explain()
    noise = np.random.default_rng(0).normal(0, 0.01, (27, 28))
    assert "worse again" not in study(shape=lambda trial, at: 0.3 + 1 / at + noise[trial, at]).explain()
    best = study("best").explain()
    assert "curves get worse again" not in best
    assert "trial 0 is the best: 0.3 at 27, reported at 4, the highest rung with a result" in best
    assert "its curve got worse again: 0.3 at 4, 0.4058 at 27" in best


def test_a_winner_past_its_best_is_not_refitted_under_best_and_is_under_last() -> None:
    last, best = study("last", top=9), study("best", top=9)
    assert last.refit(27)
    assert not best.refit(27)
    assert (best.best.refit_score, best.best.refit_resource) == (best.best.score, 9)
    assert best.best.peak == 4


def test_a_refit_never_makes_the_answer_worse_under_best() -> None:
    for score, expected in (("last", 0.7), ("best", 0.25)):
        made = study(score, top=9, shape=lambda trial, at: 0.3 + trial / 1000 + 1 / at)
        before = made.best
        assert made.refit(18)
        job = made.ask()
        for at in range(10, 19):
            made.report(job.trial, at, 0.25 if at == 11 else 0.7)
        assert (made.best.refit_score, made.best.refit_resource) == (expected, 18)
        assert (made.best.number, made.best.score) == (before.number, before.score)
        assert made.best.peak == (11 if score == "best" else None)


def test_a_winner_that_stands_there_already_has_a_refit_score() -> None:
    made = study(top=9)
    assert (made.best.refit_score, made.best.refit_resource) == (None, None), "nobody asked for a refit"
    assert not made.refit(9)
    assert (made.best.refit_score, made.best.refit_resource) == (made.best.score, 9)
