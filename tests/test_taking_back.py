"""Failures that are taken back: the study is as if they had never been, for every scheduler and searcher."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import rungwise as rw
from instances import events
from rungwise.decider import Decider
from rungwise.events import Failed, TakenBack
from rungwise.search import as_searcher

SPACE = {"x": rw.Float(0, 1), "y": rw.Integer(1, 9)}
SCHEDULERS = {
    "asha": rw.ASHA(max_resource=9),
    "pasha": rw.PASHA(max_resource=27),
    "asha-stopping": rw.StoppingASHA(max_resource=9),
    "halving": rw.SuccessiveHalving(max_resource=9, bracket_size=9),
    "hyperband": rw.Hyperband(max_resource=9),
    "async-hyperband": rw.AsyncHyperband(ladder=rw.PASHA(max_resource=9), max_resource=9),
    "median": rw.MedianStoppingRule(max_resource=9, min_trials=3),
    "full": rw.FullTraining(max_resource=5),
}
SEARCHERS = {
    "random": {"name": "random"},
    "sobol": {"name": "sobol"},
    "grid": {"name": "grid", "points": 6},
    "density": {"name": "density", "random_share": 0},
    "evolution": {"name": "evolution", "population": 5, "sample": 2},
    "tpe": {"name": "tpe", "n_startup_trials": 4},
    "first": {"name": "first", "searcher": "evolution", "points": [{"x": 0.3, "y": 2}]},
}


def begin(scheduler: str, searcher: str = "random", path: Path | None = None) -> rw.Study:
    search = as_searcher(SEARCHERS[searcher], rw.Space(SPACE))
    study = rw.Study(SPACE, SCHEDULERS[scheduler], search, mode="min", path=path)
    study.extend(trials=27)
    return study


def train(study: rw.Study, chance: random.Random, steps: int, failing: float) -> None:
    """Three jobs at a time, a part of which fail."""
    out: list[rw.Job] = []
    for _ in range(steps):
        while len(out) < 3 and (job := study.ask()) is not None:
            out.append(job)
        if not out:
            return
        job = out.pop(chance.randrange(len(out)))
        if chance.random() < failing:
            study.fail(job.trial, "a typo")
            continue
        for resource in range(job.start + 1, job.until + 1):
            study.report(job.trial, resource, job.config["x"] + job.config["y"] / 10 / resource)
            if study.trials[job.trial].job is None:
                break
    while out:  # the rest pauses
        study.decider.put_back(out.pop().trial)


def as_told(study: rw.Study) -> Decider:
    """Its scheduler and its searcher have been told the log without the failures that were taken back."""
    facts = [fact for _, fact in study.facts()]
    taken_back = [fact.trial for fact in facts if isinstance(fact, TakenBack)]
    fresh = begin("asha").decider
    fresh.scheduler = study.scheduler.up_to(study.scheduler.max_resource)
    fresh.searcher = as_searcher(study.state.created.searcher, rw.Space(SPACE))
    held = []
    for fact in facts:
        if isinstance(fact, Failed) and fact.trial in taken_back:
            taken_back.remove(fact.trial)
        else:
            held.append(fact)
    for event in events(held, "min"):
        fresh.scheduler.tell(event)
        fresh.searcher.tell(event)
    return fresh


def stand(scheduler: rw.Scheduler) -> object:
    """How a scheduler stands: what it says to all that it can be asked."""
    return scheduler.ask(), scheduler.ask(more=False), scheduler.may_promote(27), scheduler.open_level


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_scheduler_is_as_if_it_had_never_failed(scheduler: str, tmp_path: Path) -> None:
    for seed in range(6):
        chance = random.Random(seed)
        study = begin(scheduler, path=tmp_path / f"{seed}.db")
        train(study, chance, 20, 0.4)
        failed = [record.number for record in study.trials if record.failure is not None]
        completed = sum(row[1] for row in study.rungs())
        assert study.retry_failed() == failed
        assert failed
        assert sum(row[1] for row in study.rungs()) == completed - len(failed), "they count as completed no more"
        assert stand(study.scheduler) == stand(as_told(study).scheduler)
        assert all(study.trials[trial].state == "running" for trial in failed)
        before = study.rows(), study.rungs(), study.explain(), study.budget, study.resource_used
        study.close()
        study = begin(scheduler, path=tmp_path / f"{seed}.db")
        assert (study.rows(), study.rungs(), study.explain(), study.budget, study.resource_used) == before
        assert stand(study.scheduler) == stand(as_told(study).scheduler)
        train(study, chance, 30, 0.2)
        study.retry_failed()
        train(study, chance, 10_000, 0.0)
        assert study.finished
        assert len(study.trials) == 27
        assert all(record.failure is None for record in study.trials)
        study.close()
        again = rw.Study.open(tmp_path / f"{seed}.db")
        assert again.rows() == study.rows()
        again.close()


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_the_searcher_is_as_if_it_had_never_failed(searcher: str, tmp_path: Path) -> None:
    chance = random.Random(1)
    study = begin("pasha", searcher, tmp_path / "s.db")
    train(study, chance, 20, 0.4)
    assert study.retry_failed()
    assert study.searcher.propose([0, 99]) == as_told(study).searcher.propose([0, 99])
    train(study, chance, 15, 0.3)
    study.close()
    study = begin("pasha", searcher, tmp_path / "s.db")
    assert study.searcher.propose([0, 99]) == as_told(study).searcher.propose([0, 99])
    study.close()


def test_some_are_taken_back_and_are_given_out_again_from_where_they_were() -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min")
    study.extend(trials=6)
    jobs = [study.ask() for _ in range(6)]
    for job in jobs:
        if job.trial % 2:
            study.fail(job.trial, "a typo")
        else:
            study.report(job.trial, 1, job.trial)
    assert study.retry_failed([3]) == [3]
    assert [record.state for record in study.trials] == ["paused", "failed", "paused", "running", "paused", "failed"]
    job = study.ask()
    assert (job.trial, job.start, job.until) == (3, 0, 1)
    assert study.trials[3].attempts == 0
    study.report(3, 1, -1.0)
    assert study.best.number == 3
    assert study.retry_failed() == [1, 5]
    assert study.retry_failed() == []
    for wrong in (3, 99, "x"):
        with pytest.raises(rw.InputError):
            study.retry_failed([wrong])


def test_a_trial_that_is_running_has_not_failed() -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min")
    job = study.ask()
    with pytest.raises(rw.InputError, match="trial 0 has not failed"):
        study.retry_failed([job.trial])


def test_jobs_that_are_out_stay_out() -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min")
    study.extend(trials=3)
    first, second, third = (study.ask() for _ in range(3))
    study.fail(second.trial, "a typo")
    assert study.retry_failed() == [second.trial]
    assert study.ask().trial == second.trial
    assert study.ask() is None, "the two others are at work"
    for job in (first, second, third):
        assert study.report(job.trial, job.until, job.trial)


def test_a_refit_that_failed_is_taken_back(tmp_path: Path) -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min", path=tmp_path / "s.db")
    study.extend(trials=2)
    while (job := study.ask()) is not None:
        for resource in range(job.start + 1, job.until + 1):
            study.report(job.trial, resource, 1 / resource)
    best = study.best.number
    assert study.refit()
    assert study.ask().refit
    study.fail(best, "out of memory")
    assert "its refit failed" in study.explain()
    assert study.retry_failed() == [best]
    job = study.ask()
    assert (job.trial, job.refit) == (best, True)
    for resource in range(job.start + 1, job.until + 1):
        study.report(best, resource, 1 / resource)
    assert study.best.refit_resource == 9
    study.close()
    assert rw.Study.open(tmp_path / "s.db").best == study.best


def test_a_trial_that_failed_in_a_promotion_and_was_refitted_since(tmp_path: Path) -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min", path=tmp_path / "s.db")
    study.extend(trials=3)
    while (job := study.ask()) is not None:
        if job.start:
            study.fail(job.trial, "a typo")
        else:
            study.report(job.trial, 1, job.trial)
    assert study.best.number == 0
    assert study.refit()
    job = study.ask()
    for resource in range(2, 10):
        study.report(0, resource, 1 / resource)
    assert study.retry_failed() == [0]
    job = study.ask()
    assert (job.start, job.until, job.refit) == (1, 3, False)
    study.report(0, 3, 0.5)
    assert study.best.refit_resource == 9
    study.close()
    again = rw.Study.open(tmp_path / "s.db")
    assert again.rungs() == study.rungs()
    assert again.best == study.best
