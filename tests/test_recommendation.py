"""Which trial is the answer, and how sure is that: against a slow reading of the rule, over all schedulers."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rungwise as rw
from rungwise.core import SCHEDULERS
from rungwise.events import Result
from rungwise.recommendation import ENOUGH, answering, certainty, recommended


def slow(completed: dict[int, list[float]], *, tested: bool) -> tuple[int, float] | None:
    """(level, loss) of the answer, from all losses of all rungs, in words: see `rungwise.recommendation`."""
    rated = [level for level in completed if any(map(math.isfinite, completed[level]))]
    if not rated:
        return None
    if tested:
        return max(rated), min(completed[max(rated)])
    speaking = [level for level in rated if len(completed[level]) >= ENOUGH]
    down_to = max(speaking, default=min(rated))
    loss, level = min((min(completed[level]), -level) for level in rated if level >= down_to)
    return -level, loss


LOSSES = st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, math.inf]), min_size=1, max_size=8)


@given(st.dictionaries(st.sampled_from([1, 3, 9, 27]), LOSSES), st.booleans())
def test_the_answer_is_that_of_the_rule(completed: dict[int, list[float]], tested: bool) -> None:
    best = {
        level: Result(level, level, (min(losses),)) for level, losses in completed.items() if min(losses) < math.inf
    }
    counts = {level: len(losses) for level, losses in completed.items()}
    found = recommended(best, counts, tested=tested)
    assert (None if found is None else (found.level, found.losses[0])) == slow(completed, tested=tested)


@given(st.dictionaries(st.sampled_from([1, 3, 9, 27, 81]), st.integers(1, 9), min_size=1))
def test_what_speaks_for_itself_goes_on_doing_so(counts: dict[int, int]) -> None:
    before = answering(list(counts), counts, tested=False)
    for level in counts:
        more = counts | {level: counts[level] + 1}
        assert min(answering(list(more), more, tested=False)) >= min(before)


@pytest.mark.parametrize("name", list(SCHEDULERS))
@pytest.mark.parametrize("seed", range(3))
def test_a_study_answers_by_the_rule_at_every_moment(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    space = rw.Space({"x": rw.Float(0, 1)})
    settings = {"name": name} | ({} if name == "async-hyperband" else {"max_resource": 27})
    if name == "async-hyperband":
        settings["ladder"] = {"name": "asha", "max_resource": 27}
    study = rw.Study(space, settings, "random", mode="min", seed=seed)
    study.extend(trials=30)
    completed: dict[int, dict[int, float]] = {}
    while (job := study.ask()) is not None:
        loss = float(rng.integers(0, 12))
        for resource in range(job.start + 1, job.until + 1):
            study.report(job.trial, resource, loss)
        completed.setdefault(job.until, {})[job.trial] = loss
        losses = {level: list(there.values()) for level, there in completed.items()}
        found = slow(losses, tested=name in ("asha", "pasha"))
        assert found is not None
        first = next(trial for trial, loss in completed[found[0]].items() if loss == found[1])
        standing = max(level for level, there in completed.items() if first in there)
        assert (study.best.number, study.best.resource) == (first, standing)
        assert study.best.score == completed[standing][first]
    assert study.top(1)[0].number == study.best.number


def test_one_that_comes_to_the_top_untested_is_not_the_answer_for_that() -> None:
    """Asynchronous Hyperband starts some trials at R: the first of them was the answer, however bad."""
    curves = np.linspace(1.0, 0.2, 9)[None, :] * np.ones((30, 1))
    curves[2:] += np.linspace(0, 2, 28)[:, None]
    table = rw.CurveTable(curves, mode="min")
    for trials in range(6, 31, 4):
        end = rw.simulate("async-hyperband", table, trials=trials, rows=range(29, -1, -1), workers=1)
        best = end.study.best
        assert best.score == min(score for trial in end.study.trials for score in trial.reports.values())


def test_explain_says_why_the_answer_is_not_at_the_highest_rung() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.AsyncHyperband(max_resource=9), mode="min")
    study.extend(trials=12)
    for number in range(12):
        job = study.ask()
        assert job is not None
        for resource in range(job.start + 1, job.until + 1):
            study.report(job.trial, resource, 0.9 if job.until == 9 else 0.5 + number / 100)
        if job.until == 9:
            break
    assert study.best.number == 0
    said = study.explain()
    assert "better than the best at 9, which only 1 trial has completed" in said


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=9))
def test_the_certainty_is_what_it_says(pairs: list[tuple[float, float]]) -> None:
    losses = dict(enumerate(pairs))
    found = certainty(0, 9, 3, losses)
    gaps = [(b - pairs[0][0], h - pairs[0][1]) for b, h in pairs[1:]]
    if not gaps:
        assert found is None
        return
    assert found is not None
    swing = statistics.median(abs(here - before) for before, here in gaps)
    assert found.swing == pytest.approx(swing, abs=1e-9)
    assert found.others == len(gaps)
    assert found.rivals == sum(abs(here) <= found.swing for _, here in gaps)


def test_a_study_says_how_sure_its_answer_is() -> None:
    curves = np.array([[0.5, 0.4, 0.30], [0.6, 0.5, 0.31], *[[0.9, 0.8, 0.7]] * 4])
    table = rw.CurveTable(curves, mode="min")
    study = rw.simulate(rw.ASHA(max_resource=3), table, trials=6, rows=range(6), workers=1).study
    assert study.certainty == rw.Certainty(3, 1, 1, pytest.approx(0.09), 1)
    assert "of 1 other at 3, 1 may be as good: within 0.09 of it, the median change of such gaps" in study.explain()
    alone = rw.simulate(rw.ASHA(max_resource=3), table, trials=1, rows=[0]).study
    assert alone.certainty is None


def test_with_several_metrics_there_is_no_certainty() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "asha", mode={"a": "min", "b": "max"})
    assert study.certainty is None
