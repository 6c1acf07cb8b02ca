"""ε kept incrementally equals ε computed from scratch, pair by pair."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rungwise.core import noise
from rungwise.core.noise import Noise
from rungwise.events import Report

Curves = dict[int, dict[int, float]]


def distances(curves: Curves, low: int, high: int) -> list[float]:
    """The distances at e of all pairs that criss-cross, one pair at a time, straight from the definition."""
    found = []
    members = [trial for trial, curve in curves.items() if any(low < r <= high for r in curve)]
    for c in members:
        for other in members:
            if c >= other:
                continue
            common = sorted(
                r for r in curves[c] if math.isfinite(curves[c][r]) and math.isfinite(curves[other].get(r, math.nan))
            )
            common = [r for r in common if r <= high]
            if not common or common[-1] <= low:
                continue
            order = [curves[c][r] > curves[other][r] for r in common]
            opposite = [i for i, above in enumerate(order) if above != order[-1]]
            if opposite and any(above == order[-1] for above in order[: opposite[-1]]):
                found.append(abs(curves[c][common[-1]] - curves[other][common[-1]]))
    return found


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[str, int, int, float]]:
    """Reports of several trials in any interleaving, with gaps, ties and divergence; some arrive."""
    trials = draw(st.integers(2, 8))
    every = draw(st.lists(st.sampled_from([1, 1, 2, 3]), min_size=trials, max_size=trials))
    value = st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.3, 0.5, math.inf, math.nan])
    at = [0] * trials
    story = []
    for trial in draw(st.lists(st.integers(0, trials - 1), max_size=60)):
        at[trial] += every[trial]
        if at[trial] <= 9:
            story.append(("report", trial, at[trial], draw(value)))
            if at[trial] + every[trial] > 9:
                story.append(("arrive", trial, 0, 0.0))
    return story


@settings(max_examples=400)
@given(stories(), st.lists(st.booleans(), min_size=130, max_size=130), st.sampled_from([0, 1, 3]))
def test_equals_numpy_percentile_over_all_pairs(story, asked, low) -> None:
    kept, curves, last, news = Noise(low, 9), {}, 0.0, []
    for (what, trial, resource, loss), ask in zip(story, asked, strict=False):
        if what == "report":
            news.append(Report(trial, resource, (loss,)))
            curves.setdefault(trial, {})[resource] = loss
        if what == "arrive" or ask or resource % 3:  # alone, or together with those before
            kept.report(*news)
            news.clear()
        if what == "arrive":
            kept.arrive(trial)
        if ask:
            found = distances(curves, low, 9)
            last = float(np.percentile(found, 90)) if found else last
            assert kept.epsilon == last
            for gap in (0.0, last, np.nextafter(last, 1), last / 2, 0.1):
                assert kept.covers(gap) == (gap <= last)


@pytest.mark.parametrize("columns", [3, 9, 27])
def test_covers_is_right_while_thousands_of_pairs_come_in(columns: int) -> None:
    rng = np.random.default_rng(columns)
    losses = rng.uniform(0, 1, (150, 1)) + rng.normal(0, 0.05, (150, columns))
    kept, curves = Noise(columns // 3, columns), {}
    for trial, row in enumerate(losses.tolist()):
        curves[trial] = dict(enumerate(row, start=1))
        for resource, loss in curves[trial].items():
            kept.report(Report(trial, resource, (loss,)))
        kept.arrive(trial)
        if trial % 29 == 0 or trial > 145:
            found = distances(curves, columns // 3, columns)
            epsilon = float(np.percentile(found, 90)) if found else 0.0
            for gap in (epsilon * 0.5, epsilon * 0.99, epsilon, epsilon * 1.01 + 1e-12):
                assert kept.covers(gap) == (gap <= epsilon)
            assert kept.epsilon == epsilon


def test_covers_notices_when_epsilon_falls() -> None:
    """The noise dies down: what ε covered once, it covers no longer."""
    rng = np.random.default_rng(0)
    kept, curves, answers = Noise(1, 3), {}, []
    for trial in range(120):
        curves[trial] = dict(enumerate((rng.normal(0, 1, 3) * 0.9**trial).tolist(), start=1))
        for resource, loss in curves[trial].items():
            kept.report(Report(trial, resource, (loss,)))
        kept.arrive(trial)
        found = distances(curves, 1, 3)
        epsilon = float(np.percentile(found, 90)) if found else 0.0
        answers.append(kept.covers(0.8))
        assert answers[-1] == (epsilon >= 0.8)
    assert True in answers
    assert not answers[-1]


def test_a_pair_whose_last_common_score_is_below_the_window_does_not_count() -> None:
    kept = Noise(3, 9)
    for resource, pair in enumerate([(0.1, 0.2), (0.2, 0.1), (0.1, 0.2), (0.1, math.nan)], start=1):
        for trial, loss in enumerate(pair):
            kept.report(Report(trial, resource, (loss,)))
    assert kept.epsilon == 0.0


def test_a_new_window_keeps_the_last_value_until_a_pair_criss_crosses() -> None:
    kept = Noise(0, 3)
    for resource, pair in enumerate([(0.1, 0.2), (0.2, 0.1), (0.1, 0.15)], start=1):
        for trial, loss in enumerate(pair):
            kept.report(Report(trial, resource, (loss,)))
    before = kept.epsilon
    assert before == pytest.approx(0.05)
    kept.move(3, 9)
    assert kept.epsilon == before
    for trial, loss in enumerate((0.3, 0.7)):
        kept.report(Report(trial, 4, (loss,)))
    assert kept.epsilon == pytest.approx(0.4), "the curves criss-crossed before, so at 4 their distance counts"


def test_only_the_first_trials_to_report_in_a_window_count(monkeypatch) -> None:
    monkeypatch.setattr(noise, "LIMIT", 5)
    rng = np.random.default_rng(0)
    losses = rng.normal(0, 1, (12, 3))
    order = rng.permutation(12).tolist()
    kept = Noise(1, 3)
    for resource in (1, 2, 3):
        for trial in order if resource > 1 else sorted(order):  # 1 is not in the window
            kept.report(Report(trial, resource, (losses[trial, resource - 1],)))
    curves = {trial: dict(enumerate(losses[trial], start=1)) for trial in order[:5]}
    assert kept.epsilon == float(np.percentile(distances(curves, 1, 3), 90))


def test_exact_for_a_thousand_trials() -> None:
    assert noise.LIMIT >= 1000
    rng = np.random.default_rng(1)
    losses = rng.normal(0, 1, (1000, 3))
    kept = Noise(1, 3)
    for trial, row in enumerate(losses.tolist()):
        for resource, loss in enumerate(row, start=1):
            kept.report(Report(trial, resource, (loss,)))
        kept.arrive(trial)
    above = losses[:, None, :] > losses[None, :, :]
    crossed = (above[..., 2] != above[..., 1]) & (above[..., 2] == above[..., 0])
    at_three = np.abs(losses[:, None, 2] - losses[None, :, 2])[np.triu(crossed, 1)]
    assert kept.epsilon == float(np.percentile(at_three, 90))
