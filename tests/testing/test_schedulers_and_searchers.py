"""The conformance suites pass what is ours, and find what is broken."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rungwise as rw
from rungwise.core import SCHEDULERS, as_scheduler
from rungwise.events import Promote, Raise, Result, Started, Wait
from rungwise.search import as_searcher
from rungwise.testing import check_scheduler, check_searcher
from search.test_searcher_laws import FEW, SEARCHERS, needs, space_of

MAX = {"max_resource": 27}
VARIANTS: dict[str, Callable[[], rw.Scheduler]] = {
    **{name: lambda name=name: as_scheduler({"name": name, **MAX}) for name in SCHEDULERS},
    "asha without end": rw.ASHA,
    "pasha without end": rw.PASHA,
    "pasha from 4 by 2": lambda: rw.PASHA(min_resource=4, reduction_factor=2, max_resource=1000),
    "async-hyperband of pasha": lambda: rw.AsyncHyperband(ladder="pasha", **MAX),
    "median every 2": lambda: rw.MedianStoppingRule(interval=2, min_trials=1, **MAX),
    "halving of 5": lambda: rw.SuccessiveHalving(bracket_size=5, **MAX),
    "patient asha": lambda: rw.ASHA(promotion="patient", **MAX),
    "patient pasha, breadth first": lambda: rw.PASHA(promotion="patient", breadth_first=True),
    "pasha, breadth first": lambda: rw.PASHA(breadth_first=True, **MAX),
    "more patience than trials": lambda: rw.ASHA(promotion={"name": "patient", "deviations": 9}, **MAX),
    "async-hyperband of patient pasha": lambda: rw.AsyncHyperband(ladder=rw.PASHA(promotion="patient"), **MAX),
    "async-hyperband, breadth first": lambda: rw.AsyncHyperband(ladder=rw.ASHA(breadth_first=True), **MAX),
    "one rung": lambda: rw.ASHA(max_resource=1),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_our_schedulers(name: str) -> None:
    check_scheduler(VARIANTS[name])


class Mine:
    """A scheduler of somebody's: the best third of those who have come to 1 may go on to 3. And how it may be broken."""

    name = "mine"
    open_level: int | None = 3

    def __init__(self, *, max_resource: int | None = 3, fault: str = "") -> None:
        self.max_resource, self.fault = max_resource, fault
        self.done: dict[int, float] = {}
        self.gone: set[int] = set()
        self.asked = 0
        self.fact = ""
        if fault == "closed":
            self.open_level = 9

    def ask(self, *, more: bool = True) -> Any:
        self.asked += 1
        best = sorted(self.done, key=lambda trial: (self.done[trial], trial), reverse=self.fault == "up")
        best = best[: len(best) // 3]
        for trial in best if self.fault != "asks" or self.asked % 100 else []:
            if trial not in self.gone:
                return Promote(trial, 5 if self.fault == "beyond" else 3)
        if self.fault == "waits" and len(self.done) == 5:
            return Wait()
        return rw.ASHA().ask() if more or self.fault == "more" else Wait()

    def tell(self, fact: Any) -> None:
        self.fact = kind = type(fact).__name__
        if kind == "Promoted" and self.fault != "forgets":
            self.gone.add(fact.trial)
        elif isinstance(fact, Result) and fact.trial not in self.gone:
            self.done[fact.trial] = fact.losses[0] if fact.finite or self.fault != "failed" else 0.0
            if not fact.finite and self.fault != "failed":
                self.gone.add(fact.trial)
        elif isinstance(fact, Started) and self.fault == "changes":
            fact.config.clear()
        if self.fault == "rises" and len(self.done) == 9:
            self.open_level = 9
        if self.fault == "chance":
            self.done = {trial: random.random() for trial in self.done}

    def may_promote(self, total: int) -> set[int]:
        loses = self.fault == "loses" or (self.fault == "loses without a total" and total > 1000)
        loses = loses or (self.fault == "loses meanwhile" and self.fact == "Report")
        return set() if loses else self.done.keys() - self.gone

    def settings(self) -> dict[str, Any]:
        if self.fault == "settings":
            return {"max_resource": self.max_resource}
        return {"max_resource": (3,) if self.fault == "tuple" else self.max_resource, "fault": self.fault}

    def up_to(self, max_resource: int | None) -> Mine:
        return self if self.fault == "same" else Mine(max_resource=max_resource, fault=self.fault)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("up", "it is told losses, less is better"),
        ("asks", "asking twice is answered twice"),
        ("beyond", "to 5, beyond its open_level, 3"),
        ("waits", "it waits though nothing runs"),
        ("more", "it starts a trial where more=False says"),
        ("forgets", "it promotes trial .*, which is running"),
        ("failed", "it promotes trial .*, which has failed"),
        ("changes", "it changes what it is told"),
        ("rises", "the ceiling moves from 3 to 9 without a rise"),
        ("chance", "told the same, one answers"),
        ("loses", r"which may_promote\(60\) had left out"),
        ("loses without a total", r"which may_promote\(1000000000\) had left out"),
        ("loses meanwhile", r"which may_promote\(60\) had left out"),
        ("closed", "its ceiling has never risen, so its open_level must be max_resource, 3, not 9"),
        ("settings", r"settings\(\) of Mine must return every argument of Mine\(…\)"),
        ("tuple", "must be plain JSON"),
        ("same", "must give a fresh one, not itself"),
    ],
)
def test_a_broken_scheduler_is_told_what_is_broken(fault: str, sentence: str) -> None:
    check_scheduler(Mine)
    with pytest.raises(AssertionError, match=sentence):
        check_scheduler(lambda: Mine(fault=fault))


class Rising:
    """PASHA of somebody's, which says that another level is open."""

    name, several_metrics = "rising", True

    def __init__(self, *, max_resource: int | None = 27, wrong: str = "") -> None:
        self.pasha, self.max_resource, self.wrong = rw.PASHA(max_resource=max_resource), max_resource, wrong
        self.ask, self.tell, self.may_promote = self.pasha.ask, self.pasha.tell, self.pasha.may_promote

    @property
    def ceilings(self) -> list[tuple[int, int]]:
        return [] if self.wrong.startswith("unsaid") else self.pasha.ceilings

    @property
    def open_level(self) -> int | None:
        return {"all": self.max_resource, "none": None, "unsaid, low": 3}.get(self.wrong, self.pasha.open_level)

    def settings(self) -> dict[str, Any]:
        return {"max_resource": self.max_resource, "wrong": self.wrong}

    def up_to(self, max_resource: int | None) -> Rising:
        return Rising(max_resource=max_resource, wrong=self.wrong)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("all", r"open_level must be the highest of its ceilings, \[3\], not 27"),
        ("none", r"open_level must be the highest of its ceilings, \[3\], not None"),
        ("unsaid, low", "the ceiling rises to 9, and open_level is 3"),
    ],
)
def test_an_open_level_that_is_wrong_is_found(wrong: str, sentence: str) -> None:
    check_scheduler(Rising)
    check_scheduler(lambda: Rising(wrong="unsaid"))
    with pytest.raises(AssertionError, match=sentence):
        check_scheduler(lambda: Rising(wrong=wrong))


class Endless(Mine):
    open_level = 9

    def ask(self, *, more: bool = True) -> Any:
        return Raise(9, 3, 1)

    def up_to(self, max_resource: int | None) -> Endless:
        return Endless(max_resource=max_resource)


def test_one_that_has_no_end_is_found() -> None:
    with pytest.raises(AssertionError, match="for ever"):
        check_scheduler(Endless)


@pytest.mark.parametrize("where", ["flat", "conditional", "forbidding"])
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.needs(*needs(name))) for name in SEARCHERS])
def test_our_searchers(name: str, where: str) -> None:
    check_searcher(lambda space: as_searcher(SEARCHERS[name], space), space_of(where), trials=FEW.get(name, 24))


class Walk:
    """A searcher of somebody's: a step from the best so far. And how it may be broken."""

    def __init__(self, space: rw.Space, *, step: float = 0.1, fault: str = "") -> None:
        self.space, self.step, self.fault = space, step, fault
        self.started: dict[int, dict[str, Any]] = {}
        self.best = float("inf"), 0
        self.count = 0

    def propose(self, rng: Any) -> Any:
        self.count += 1
        generator = np.random.default_rng(rng)
        if self.fault == "first":
            return None
        if self.fault == "count":
            return {"x": (self.count // 2 % 100) / 100}
        if self.fault == "chance":
            return {"x": random.random()}
        x = self.started.get(self.best[1], {"x": 0.5})["x"] + self.step * generator.normal()
        return {"y" if self.fault == "names" else "x": x if self.fault == "bounds" else min(max(x, 0.0), 1.0)}

    def tell(self, fact: Any) -> None:
        kind = type(fact).__name__
        if kind == "Started":
            self.started[fact.trial] = dict(fact.config)
            if self.fault == "changes":
                fact.config["x"] = 0.0
        elif kind == "Report" and fact.losses[0] < self.best[0]:
            self.best = fact.losses[0], fact.trial

    def settings(self) -> dict[str, Any]:
        if self.fault == "settings":
            return {"step": self.step, "fault": "", "more": 1}
        if self.fault == "named":
            return {"name": "walk", "step": self.step, "fault": self.fault}
        step = 0.2 if self.fault == "forgets" and self.started else self.step
        return {"step": step, "fault": self.fault}


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("first", "it proposes nothing for the first trial"),
        ("count", "two propose differently|differs|asked twice"),
        ("chance", "asked twice for trial 0"),
        ("names", "does not fit the space"),
        ("bounds", "does not fit the space"),
        ("changes", "it changes what it is told"),
        ("settings", r"settings\(\) must be what makes one"),
        ("named", r"settings\(\) of Walk must return the arguments of Walk\(space, …\), without \"name\": 'walk'"),
        ("forgets", r"being told events changes its settings\(\)"),
    ],
)
def test_a_broken_searcher_is_told_what_is_broken(fault: str, sentence: str) -> None:
    space = {"x": rw.Float(0, 1)}
    check_searcher(Walk, space)
    with pytest.raises(AssertionError, match=sentence):
        check_searcher(lambda space: Walk(space, step=0.5, fault=fault), space)


class Sums(Walk):
    """Says that it is for several metrics, and is not."""

    several_metrics = True

    def tell(self, event: Any) -> None:
        super().tell(event)
        if isinstance(event, Result):
            (_,) = event.losses


def test_a_searcher_for_one_metric_says_so_and_one_for_several_is_told_tuples() -> None:
    space, mode = {"x": rw.Float(0, 1)}, {"error": "min", "cost": "min"}
    with pytest.raises(rw.InputError, match="the searcher Walk takes one metric, but this study has error, cost"):
        rw.Study(space, searcher=Walk(rw.Space(space)), mode=mode)
    with pytest.raises(rw.InputError, match="the searcher Walk takes one metric"):
        rw.Study(space, searcher=Walk(rw.Space(space)), mode=mode, initial=[{"x": 0.5}])
    screened = rw.ScreenedSearch(rw.Space(space), sum, Walk(rw.Space(space)))
    with pytest.raises(rw.InputError, match="the searcher Walk takes one metric"):
        rw.Study(space, searcher=screened, mode=mode)
    rw.Study(space, searcher=Walk(rw.Space(space)), mode="min")
    with pytest.raises(AssertionError, match=r"it has several_metrics = True, and tell\(Result.* raises ValueError"):
        check_searcher(Sums, space)
