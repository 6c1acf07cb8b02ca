"""A budget of full trainings is never exceeded, and used as far as it goes, whatever the scheduler and the curves."""

from __future__ import annotations

import math
from inspect import signature
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rungwise as rw
from instances import Instance, instances
from rungwise.core import SCHEDULERS
from rungwise.decider import Decider
from rungwise.events import Created, Event, Promote, Promoted, Raise, Start, Started, Wait
from rungwise.log import MemoryLog
from rungwise.state import StudyState

every_scheduler = pytest.mark.parametrize("algorithm", sorted(SCHEDULERS))
budgets = st.sampled_from([1, 1.3, 2, 3.5, 5, 10])


def run(instance: Instance, algorithm: str, budget: float) -> rw.Simulation:
    scheduler = instance.scheduler(algorithm)
    trials = len(instance.table) if getattr(scheduler, "breadth_first", False) else None
    how = {"workers": instance.workers, "budget": budget, "score": instance.score}
    return rw.simulate(scheduler, instance.table, trials=trials, **how)


def total(simulation: rw.Simulation, budget: float) -> int:
    return math.floor(budget * simulation.study.scheduler.max_resource + 1e-6)


@every_scheduler
@given(instance=instances(), budget=budgets)
def test_no_budget_is_exceeded_and_nothing_that_it_pays_for_is_left(
    algorithm: str, instance: Instance, budget: float
) -> None:
    simulation = run(instance, algorithm, budget)
    study, units = simulation.study, total(simulation, budget)
    assert simulation.resource_used <= units
    assert sum(max(record.refit, default=record.resource) for record in study.trials) <= units
    assert not study.running
    most = study.scheduler.max_resource
    rated = {level: completed for level, completed, _, best in study.rungs() if best is not None}
    speaking = [level for level, completed in rated.items() if completed >= 5]

    def pays(start: int, until: int) -> bool:
        if algorithm in ("asha", "pasha"):
            least = max([*rated, until])
        else:
            least = max(speaking) if speaking else min([*rated, until])
        state = study.state
        return state.trained - state.refit_used + until - start + most - least <= units

    answer = study.scheduler.ask(fits=pays)
    if isinstance(answer, Start) and len(study.trials) < len(instance.table):
        above = [rung for rung, *_ in study.rungs() if rung > answer.until]
        assert above, "a new trial fits, and could be promoted"
        assert not pays(0, min(above))
        answer = study.scheduler.ask(more=False, fits=pays)
    elif isinstance(answer, Start):
        answer = study.scheduler.ask(more=False, fits=pays)
    assert isinstance(answer, Wait), "what the budget pays for was given out"
    if study.budget.trials is None and "rest" in signature(study.scheduler.ask).parameters:
        assert isinstance(study.scheduler.ask(more=False, fits=pays, rest=True), Wait), "the rest was spent"
    assert study.finished


@pytest.mark.parametrize("algorithm", ["asha", "pasha", "async-hyperband"])
def test_when_there_is_nothing_else_to_try_the_rest_goes_to_those_who_are_closest_to_going_on(algorithm: str) -> None:
    table = curves(rows=8)
    by_rule = rw.simulate(algorithm, table, trials=8).study
    study = rw.simulate(algorithm, table, budget=6).study
    assert study.resource_used > by_rule.resource_used
    rests = [fact for _, fact in study.facts() if isinstance(fact, Promoted) and fact.rule == "rest"]
    assert rests
    assert max(study.best.resource, study.best.refit_resource or 0) == 81
    assert sum(max(trial.refit, default=trial.resource) for trial in study.trials) > 81 * 4
    if algorithm == "pasha":
        assert study.rises[-1].until == 81
        assert "the rest of the budget pays for more" in study.explain()
    limited = rw.simulate(algorithm, table, budget=6, trials=8).study
    assert not any(isinstance(fact, Promoted) and fact.rule == "rest" for _, fact in limited.facts())


@every_scheduler
@given(instance=instances(), budget=budgets)
def test_the_winner_is_trained_to_the_end(algorithm: str, instance: Instance, budget: float) -> None:
    study = run(instance, algorithm, budget).study
    if study.failures or not np.isfinite(instance.scores).all() or instance.score == "best":
        return  # a job that was to make another trial the winner may have gone wrong, or a curve gets worse again
    winner = study.trials[study.best.number]
    reported = [resource for resource in instance.resources if resource <= study.scheduler.max_resource]
    assert max(winner.resource, *winner.refit, 0) == reported[-1]


@every_scheduler
def test_a_budget_decides_from_the_log_alone(algorithm: str) -> None:
    """Whoever opens the log at any moment gives out next what was given out."""
    study = rw.simulate(algorithm, curves(300, 27), budget=3, workers=3).study
    created, *facts = [fact for _, fact in study.facts()]
    assert isinstance(created, Created)
    for number, fact in enumerate(facts):
        if isinstance(fact, Started | Promoted):
            log = MemoryLog()
            state = StudyState(created)
            searcher = InOrder([fact.config for fact in facts if isinstance(fact, Started)])
            decider = Decider(state, log, study.scheduler.up_to(27), searcher)
            decider.follow((0.0, fact) for fact in facts[:number])
            assert decider.hand_out(again=False) is not None
            assert [fact for _, fact in log.read()][-1] == fact


class InOrder:
    """Proposes these configurations."""

    name = "tests.laws:InOrder"

    def __init__(self, configs: list[dict[str, Any]]) -> None:
        self.configs, self.started = configs, 0

    def propose(self, rng: np.random.Generator) -> dict[str, Any] | None:
        return self.configs[self.started]

    def tell(self, event: Event) -> None:
        self.started += isinstance(event, Started)

    def settings(self) -> dict[str, Any]:
        return {}


def curves(rows: int = 2000, most: int = 81) -> rw.CurveTable:
    rng = np.random.default_rng(0)
    loss = rng.uniform(0, 1, (rows, 1)) + 1 / np.arange(1, most + 1) + rng.normal(0, 0.01, (rows, most))
    return rw.CurveTable(loss, mode="min")


@every_scheduler
@pytest.mark.parametrize("budget", [1, 2, 5, 10])
def test_most_of_a_budget_is_spent(algorithm: str, budget: float) -> None:
    simulation = rw.simulate(algorithm, curves(), budget=budget)
    study = simulation.study
    assert study.trials[study.best.number].trained_to == 81
    assert 81 * budget * 0.8 < simulation.resource_used <= 81 * budget


class Plain:
    """A scheduler that does not know of `fits`."""

    name = "tests.laws:Plain"

    def __init__(self, max_resource: int = 9) -> None:
        self.asha = rw.ASHA(max_resource=max_resource)
        self.tell, self.may_promote, self.settings = self.asha.tell, self.asha.may_promote, self.asha.settings
        self.max_resource, self.open_level = max_resource, max_resource

    def settings(self) -> dict[str, int]:
        return {"max_resource": self.max_resource}

    def up_to(self, max_resource: int | None) -> Plain:
        return Plain(max_resource or 9)

    def ask(self, *, more: bool = True) -> Start | Promote | Wait | Raise:
        return self.asha.ask(more=more)


@pytest.mark.parametrize("budget", [1, 2, 3, 7.5])
def test_a_scheduler_that_looks_no_further_keeps_within_the_budget_too(budget: float) -> None:
    simulation = rw.simulate(Plain(9), curves(500, 9), budget=budget)
    best = simulation.study.best
    assert max(best.resource, best.refit_resource or 0) == 9
    assert simulation.resource_used <= 9 * budget


def test_where_the_first_choice_does_not_fit_a_cheaper_one_is_taken() -> None:
    asha = rw.ASHA(max_resource=9)
    study = rw.Study({"x": rw.Float(0, 1)}, asha, mode="min")
    for score in (0.1, 0.2, 0.3, 0.15, 0.25, 0.35, 0.4, 0.45, 0.5):
        job = study.ask()
        study.report(job.trial, job.until, score)
        while isinstance(study.scheduler.ask(), Promote) and study.scheduler.ask().until == 3:
            job = study.ask()
            study.report(job.trial, 3, score)
    top = study.scheduler.ask()
    assert isinstance(top, Promote)
    assert top.until == 9
    assert study.scheduler.ask(fits=lambda start, until: until - start < 6) == Start(1)
    assert study.scheduler.ask(more=False, fits=lambda start, until: until - start < 6) == Wait()


def test_with_trials_too_the_first_total_counts() -> None:
    few = rw.simulate("asha", curves(), budget=10, trials=9)
    assert len(few.study.trials) == 9
    assert few.resource_used < 300
    assert few.study.best.refit_resource in (None, 81)
    assert len(rw.simulate("asha", curves(), budget=2, trials=900).study.trials) < 60


def test_machines_that_fail_exceed_no_budget() -> None:
    cluster = rw.Cluster(4, failures=60.0, spot=40.0, retries=0, seed=3)
    simulation = rw.simulate("pasha", curves(), workers=cluster, budget=5)
    assert simulation.study.failures
    assert simulation.resource_used <= 405


def test_the_rest_goes_first_to_whoever_is_closest_to_going_on() -> None:
    """Not to the last of a rung while the leader waits under the ceiling, and from no rung that compares nobody."""
    for algorithm in ("asha", "pasha"):
        study = rw.simulate(algorithm, curves(rows=12), budget=4, workers=1).study
        rests = [fact for _, fact in study.facts() if isinstance(fact, Promoted) and fact.rule == "rest"]
        assert rests
        assert all(fact.size >= 3 for fact in rests)
        leader = study.best.number
        own = [place for place, fact in enumerate(rests) if fact.trial == leader]
        last = [place for place, fact in enumerate(rests) if fact.rank == fact.size]
        assert not own or not last or own[0] < last[0], algorithm
