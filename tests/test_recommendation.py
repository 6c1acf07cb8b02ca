"""Which trial is the answer, and how sure is that: against a slow reading of the rule, over all schedulers."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rungwise as rw
from rungwise.core import SCHEDULERS
from rungwise.events import Result
from rungwise.recommendation import ENOUGH, answering, certainty, recommended


def slow(ended: list[tuple[int, int, float]], *, tested: bool) -> int | None:
    """The answer, from all (trial, level, loss) in the order of completion, in words: see `rungwise.recommendation`."""
    finite = [(trial, level, loss) for trial, level, loss in ended if math.isfinite(loss)]
    levels = {level for _, level, _ in finite}
    if not levels:
        return None
    best = {level: min((e for e in finite if e[1] == level), key=lambda e: e[2]) for level in levels}
    if tested:
        return best[max(levels)][0]
    speaking = [level for level in levels if sum(e[1] == level for e in finite) >= ENOUGH]
    down_to = max(speaking, default=min(levels))
    candidates = [best[level] for level in sorted(levels, reverse=True) if level >= down_to]
    last = {trial: level for trial, level, _ in ended}
    standing = [(trial, level, loss) for trial, level, loss in candidates if last[trial] == level]
    return min(standing or candidates, key=lambda e: e[2])[0]


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.1, 0.2, 0.3, math.inf])), max_size=25), st.booleans())
def test_the_answer_is_that_of_the_rule(steps: list[tuple[int, float]], tested: bool) -> None:
    """Each trial goes from rung to rung."""
    ended: list[tuple[int, int, float]] = []
    best: dict[int, Result] = {}
    rated: dict[int, int] = {}
    last: dict[int, int] = {}
    for trial, loss in steps:
        level = last[trial] = 3 * last[trial] if trial in last else 1
        ended.append((trial, level, loss))
        if loss < math.inf:
            rated[level] = rated.get(level, 0) + 1
            if level not in best or loss < best[level].losses[0]:
                best[level] = Result(trial, level, (loss,))
        found = recommended(best, rated, tested=tested, stands=lambda result: last[result.trial] == result.level)
        assert (None if found is None else found.trial) == slow(ended, tested=tested)


@given(st.dictionaries(st.sampled_from([1, 3, 9, 27, 81]), st.integers(1, 9), min_size=1))
def test_what_speaks_for_itself_goes_on_doing_so(rated: dict[int, int]) -> None:
    before = answering(rated, tested=False)
    for level in rated:
        more = rated | {level: rated[level] + 1}
        assert min(answering(more, tested=False)) >= min(before)


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
    ended: list[tuple[int, int, float]] = []
    kept: set[int] = set(range(30))
    while (job := study.ask()) is not None:
        loss = math.nan if rng.random() < 0.1 else float(rng.integers(0, 12))
        for resource in range(job.start + 1, job.until + 1):
            study.report(job.trial, resource, loss)
        ended.append((job.trial, job.until, loss))
        answer = slow(ended, tested=name in ("asha", "pasha"))
        assert answer == (study.best.number if study.has_best else None)
        if answer is not None:
            assert (answer, study.best.resource, study.best.score) in ended
            assert answer in kept, "its checkpoint was deleted"
        kept -= set(range(len(study.trials))) - study.state.may_win - study.scheduler.may_promote(30)
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
    assert (study.best.number, study.best.resource) == (1, 3), "trial 0 went on from 1, and got worse"
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
    alone = rw.simulate(rw.ASHA(max_resource=3), table, trials=1, rows=[0]).study
    assert alone.certainty is None


def test_with_several_metrics_there_is_no_certainty() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "asha", mode={"a": "min", "b": "max"})
    assert study.certainty is None


def one_by_one(scheduler: Any, losses: dict[tuple[int, int], float], trials: int) -> rw.Study:
    """A study whose trials score as `losses` says of (trial, level), else 9."""
    study = rw.Study({"x": rw.Float(0, 1)}, scheduler, mode="min")
    study.extend(trials=trials)
    while (job := study.ask()) is not None:
        for resource in range(job.start + 1, job.until + 1):
            study.report(job.trial, resource, losses.get((job.trial, job.until), 9.0))
    return study


def test_whoever_went_on_and_got_worse_is_judged_by_that() -> None:
    losses = {(0, 1): 0.1, (0, 3): 0.2, (0, 9): 5.0, (1, 1): 0.2, (1, 3): 0.3, (1, 9): 4.0}
    study = one_by_one(rw.SuccessiveHalving(max_resource=9, bracket_size=18), losses, 18)
    assert (study.best.number, study.best.resource, study.best.score) == (1, 9, 4.0)


def test_failures_do_not_let_a_rung_speak_for_itself() -> None:
    losses = {(trial, 3): 0.1 + trial / 100 for trial in range(60)} | {(trial, 9): math.nan for trial in range(60)}
    study = one_by_one(rw.AsyncHyperband(max_resource=9), losses | {(7, 9): 5.0, (8, 9): 5.0}, 60)
    state = study.state
    assert state.completed[9] >= ENOUGH > state.rated.get(9, 0)
    assert state.answer_level == 3


def test_a_front_that_no_rung_speaks_for_is_that_of_the_highest() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.FullTraining(max_resource=1), mode={"a": "min", "b": "min"})
    study.extend(trials=2)
    for scores in ({"a": 1.0, "b": 2.0}, {"a": 2.0, "b": 1.0}):
        job = study.ask()
        assert job is not None
        study.report(job.trial, 1, scores)
    assert [one.number for one in study.front] == [0, 1]
    assert "2 trials on the Pareto front, at the highest rung with a result" in study.explain()


def test_the_checkpoint_of_whoever_wins_later_is_kept(tmp_path: Path) -> None:
    """It was lost: the best at the highest rung becomes the answer when the fifth has come there."""
    study = rw.tune(
        worsening, {"x": rw.Float(0, 1)}, mode="min", scheduler=rw.StoppingASHA(max_resource=27), trials=61, seed=1,
        quiet=True, path=tmp_path / "s.db",
    )  # fmt: skip
    assert study.best.load()["x"] == study.best.config["x"]


def worsening(trial: rw.Trial) -> None:
    for epoch in trial:
        trial.report(trial.config["x"] / 3 + 1 / (epoch + trial.config["x"]))
        trial.save({"x": trial.config["x"], "weights": bytes(100_000)})  # so many that deleting begins soon
