"""A study decided anew: by its own scheduler as it was, by another one only as far as somebody trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import rungwise as rw
from rungwise.bench.suites import load_suite
from rungwise.cli import commands
from rungwise.core import SCHEDULERS, as_scheduler
from rungwise.events import Promoted, Raised, Started
from rungwise.whatif import changed, replayed

DIGITS = load_suite("digits-mlp")[0].table


@pytest.mark.parametrize("workers", [1, 4, 13])
@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_the_same_settings_decide_the_same(name: str, workers: int) -> None:
    for seed in range(3):
        end = rw.simulate(as_scheduler(name, 27), DIGITS, trials=50, workers=workers, seed=seed)
        again = end.study.replay(as_scheduler(end.study.state.created.scheduler))
        assert again.same
        assert again.resource == end.resource_used
        assert again.unknown == []
        assert again.hang == again.missing == 0
        assert again.promotions[1:] == (0, 0)
        assert (again.best and again.best.number) == end.best_trial


def test_also_on_machines_that_fail() -> None:
    cluster = rw.Cluster(6, failures=0.05, stragglers=0.5, retries=0)
    study = rw.simulate(rw.PASHA(max_resource=81), DIGITS, workers=cluster, trials=60).study
    assert study.failures
    assert study.replay(rw.PASHA(max_resource=81)).same


def test_also_under_a_budget_and_with_the_best_score() -> None:
    study = rw.simulate(rw.ASHA(max_resource=27), DIGITS, budget=6, score="best").study
    assert study.replay(rw.ASHA(max_resource=27)).same


@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_a_study_that_goes_on_is_decided_as_far_as_it_is(name: str) -> None:
    scheduler = as_scheduler(name, 27)
    whole = rw.simulate(scheduler, DIGITS, trials=30, workers=3).study
    facts = [fact for _, fact in whole.facts()]
    for cut in range(40, len(facts), 37):
        study = rw.Study(whole.space, scheduler, whole.searcher, mode="max")
        for fact in facts[1:cut]:
            study.decider.note(fact)
        again = replayed(facts[:cut], study.state, as_scheduler(name, 27))
        assert again.decisions[: len(again.recorded)] == again.recorded


def test_failures_are_those_of_the_record() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "asha", mode="max")
    study.extend(trials=20)
    while (job := study.ask()) is not None:
        if job.trial % 5 == 2:
            study.fail(job.trial, "it broke")
        else:
            study.report(job.trial, job.until, job.config["x"])
    again = study.replay("asha")
    assert again.same
    assert again.state.failures == study.failures


def test_what_nobody_trained_is_counted_and_not_guessed() -> None:
    curves = rw.CurveTable(np.arange(9 * 9.0).reshape(9, 9), mode="max")
    study = rw.simulate(rw.ASHA(max_resource=9), curves, trials=9, workers=1, rows=range(9)).study
    again = study.replay("full")
    reached = [record.resource for record in study.trials]
    assert again.unknown == [(trial, end, 9) for trial, end in enumerate(reached) if end < 9]
    assert again.missing == sum(9 - end for end in reached)
    assert again.resource == sum(reached)
    assert "nobody trained" in str(again)
    assert {fact.trial for fact in again.decisions if isinstance(fact, Started)} == set(range(9))


def test_a_resource_between_reports_is_not_known() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "asha", mode="max")
    study.extend(trials=9)
    while (job := study.ask()) is not None:
        study.report(job.trial, job.until, job.config["x"])  # at 1, 3, 9 alone
    again = study.replay(rw.ASHA(reduction_factor=2))
    assert again.unknown
    assert all(until == 2 for _, _, until in again.unknown)


def test_decisions_that_hang_on_the_unknown_come_from_rungs_that_lack_a_result() -> None:
    study = rw.simulate(rw.PASHA(max_resource=27), DIGITS, trials=60, seed=1).study
    again = study.replay(rw.PASHA(max_resource=27, reduction_factor=4))
    lacking = min(until for _, _, until in again.unknown)
    above = [one for one in again.decisions if isinstance(one, Promoted | Raised) and one.until > lacking]
    assert again.hang <= len(above)


def test_only_what_is_given_changes() -> None:
    pasha = rw.PASHA(max_resource=81).settings() | {"name": "pasha"}
    assert changed(pasha, {}) == pasha
    assert changed(pasha, {"name": "full"}) == {"name": "full", "max_resource": 81}
    with pytest.raises(rw.InputError, match="asha has no ranking"):
        changed(pasha, {"name": "asha", "ranking": "rbo"})


def test_what_cannot_be_replayed_is_said() -> None:
    several = rw.Study({"x": rw.Float(0, 1)}, "asha", mode={"a": "min", "b": "max"})
    with pytest.raises(rw.InputError, match="median takes one metric"):
        several.replay(rw.MedianStoppingRule(max_resource=9))


def test_the_command(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    with rw.Study({"x": rw.Float(0, 1)}, rw.PASHA(max_resource=27), mode="max", path=path) as study:
        study.extend(trials=20)
        while (job := study.ask()) is not None:
            study.report(job.trial, job.until, job.config["x"])
    said = CliRunner().invoke(commands, ["replay", str(path)])
    assert said.exit_code == 0, said.output
    assert "0 others, 0 of the study's not" in said.output
    said = CliRunner().invoke(commands, ["replay", str(path), "--scheduler", "asha", "--reduction-factor", "4"])
    assert said.output.startswith("asha: ")
