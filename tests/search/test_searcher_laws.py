"""What every searcher keeps to. A new one is added to SEARCHERS below."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rungwise as rw
from rungwise.events import Promoted, Report, Result, Started
from rungwise.parts import takes_several_metrics
from rungwise.search import Searcher, as_searcher, settings_of

SEARCHERS: dict[str, dict[str, Any]] = {
    "gp": {"name": "gp", "initial": 4},
    "random": {"name": "random"},
    "sobol": {"name": "sobol"},
    "grid": {"name": "grid", "points": 12},
    "density": {"name": "density", "random_share": 0.2},
    "evolution": {"name": "evolution", "population": 6, "sample": 3},
    "tpe": {"name": "tpe", "n_startup_trials": 5},
    "first": {"name": "first", "searcher": "evolution"},
    "screened": {"name": "screened", "proxy": "objectives:proxy", "searcher": "evolution"},
    **{
        f"optuna {name}": {"name": "optuna", "sampler": name, "arguments": arguments}
        for name, arguments in {
            "RandomSampler": {},
            "TPESampler": {"multivariate": True, "group": True, "n_startup_trials": 5},
            "CmaEsSampler": {"n_startup_trials": 3},
            "QMCSampler": {},
            "NSGAIISampler": {"population_size": 4},
        }.items()
    },
}
FEW = {"gp": 10}  # trials, for searchers that fit a model for each proposal
SEARCHERS["optuna Walker"] = {"name": "optuna", "sampler": "walker:Walker"}
ALONE = {"random"}  # may propose twice what it proposed before
FLAT = {"lr": rw.Float(1e-4, 1, log=True), "width": rw.Integer(1, 64, log=True), "rate": rw.Float(0, 1, step=0.1)}
SPACES: dict[str, Mapping[str, Any]] = {
    "flat": FLAT,
    "conditional": {
        "momentum": rw.Float(0, 1, when={"opt": "sgd"}),
        "opt": rw.Categorical(["sgd", ["adam", 1], None]),
        "nesterov": rw.Categorical([True, False], when={"opt": "sgd"}),
        "size": rw.Ordinal([16, 32, 64]),
        "only": rw.Integer(3, 3),
        "x": rw.Float(-1, 1),
    },
}


class Forbidding(rw.Space):
    """A space in which half of the configurations are forbidden."""

    def allows(self, config: Mapping[str, Any]) -> bool:
        return config["x"] <= config["y"]

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        while not self.allows(config := super().sample(rng)):
            pass
        return config


class Rows(rw.Space):
    """A space of which a table has only some configurations."""

    TABLE = tuple({"x": x, "y": y} for x, y in [(1, 1), (1, 5), (2, 9), (3, 3), (7, 2), (8, 8), (9, 1), (9, 9)])

    def decode(self, point: Any) -> dict[str, Any]:
        wanted = super().decode(point)
        return dict(min(self.TABLE, key=lambda row: (row["x"] - wanted["x"]) ** 2 + (row["y"] - wanted["y"]) ** 2))

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        return dict(self.TABLE[rng.integers(len(self.TABLE))])


def space_of(name: str) -> rw.Space:
    digits = {"x": rw.Integer(0, 9), "y": rw.Integer(0, 9)}
    return {"forbidding": Forbidding(digits), "rows": Rows(digits)}.get(name) or rw.Space(SPACES[name])


def needs(name: str) -> list[str]:
    """The libraries that this searcher cannot do without."""
    own = {"gp": ["botorch"], "sobol": ["scipy"], "tpe": ["optuna"]}.get(name, [])
    return own + ["optuna"] * name.startswith("optuna") + ["cmaes"] * ("CmaEs" in name)


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.needs(*needs(name))) for name in SEARCHERS])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def loss_of(config: Mapping[str, Any], level: int) -> float:
    """Any function of the configuration, better at higher levels."""
    return sum(ord(c) for c in json.dumps(config, sort_keys=True)) % 97 / 97 + 1 / level


def run(searcher: Searcher, count: int, *, seed: int = 0, metrics: int = 1) -> tuple[list[Any], list[Any]]:
    """`count` proposals with two trials running at a time, some failing, some going on; the facts and the proposals."""
    facts: list[Any] = []
    proposals = []

    def tell(fact: Any) -> None:
        facts.append(fact)
        searcher.tell(fact)

    def end(trial: int, level: int) -> None:
        if trial % 7 == 5:
            tell(Result(trial, level, (math.inf,) * metrics))
            return
        loss = loss_of(proposals[trial], level) if trial % 7 != 6 else math.inf
        losses = (loss, *[1 - loss] * (metrics - 1))
        tell(Report(trial, level, losses))
        tell(Result(trial, level, losses))

    for trial in range(count):
        config = searcher.propose([seed, trial])
        if config is None:
            break
        assert searcher.propose([seed, trial]) == config, "a query"
        proposals.append(config)
        tell(Started(trial, config, 1))
        if trial:
            end(trial - 1, 1)
        if trial % 4 == 3:
            tell(Promoted(trial - 3, 3))
            end(trial - 3, 3)
    return facts, proposals


@pytest.mark.parametrize("where", ["flat", "conditional", "forbidding", "rows"])
def test_proposals_are_of_the_space_and_come_again_when_the_facts_do(name: str, where: str) -> None:
    space = space_of(where)
    searcher = as_searcher(SEARCHERS[name], space)
    count = FEW.get(name, 24)
    facts, proposals = run(searcher, count)
    for config in proposals:
        assert space.check(config) == config
        assert space.allows(config)
        if where == "rows":
            assert config in Rows.TABLE
    again = as_searcher(settings_of(searcher), space)
    assert again.settings() == searcher.settings() == json.loads(json.dumps(searcher.settings()))
    for fact in facts:
        again.tell(fact)
    assert again.propose([0, count]) == searcher.propose([0, count])
    middle = as_searcher(SEARCHERS[name], space)  # opened again half way
    half = len(facts) // 2
    while not isinstance(facts[half], Started):
        half += 1
    for fact in facts[:half]:
        middle.tell(fact)
    for fact in facts[half:]:
        if isinstance(fact, Started):
            assert middle.propose([0, fact.trial]) == fact.config
        middle.tell(fact)


def test_the_seed_decides(name: str) -> None:
    def of(seed: int) -> list[Any]:
        return run(as_searcher(SEARCHERS[name], space_of("flat")), FEW.get(name, 12), seed=seed)[1]

    assert of(1) == of(1)
    assert of(1) != of(2)


def test_asking_changes_nothing(name: str) -> None:
    facts, _ = run(as_searcher(SEARCHERS[name], space_of("flat")), FEW.get(name, 12) - 1)
    quiet, curious = (as_searcher(SEARCHERS[name], space_of("flat")) for _ in range(2))
    for fact in facts:
        curious.propose([0, 77])
        curious.propose(np.random.default_rng(4))
        for searcher in (quiet, curious):
            searcher.tell(fact)
    assert curious.propose([0, 12]) == quiet.propose([0, 12])


@pytest.mark.parametrize("where", ["rows", "small"])
def test_nothing_is_proposed_twice_while_there_is_another(name: str, where: str) -> None:
    if name in ALONE:
        pytest.skip("random search has no memory")
    small = {"a": rw.Categorical(["p", "q", "r"]), "b": rw.Integer(1, 2), "c": rw.Integer(0, 1, when={"a": "p"})}
    space = space_of("rows") if where == "rows" else rw.Space(small)
    _, proposals = run(as_searcher(SEARCHERS[name], space), 8)
    assert len({json.dumps(config) for config in proposals}) == 8
    after = run(as_searcher(SEARCHERS[name], space), 9)[1][8:]
    assert after == [] if "grid" in name else len(after) == 1, "all were tried: only a grid knows"


@pytest.mark.parametrize("metrics", [2, 3])
def test_several_metrics(name: str, metrics: int) -> None:
    space = space_of("conditional")
    searcher = as_searcher(SEARCHERS[name], space)
    if not takes_several_metrics(searcher):
        with pytest.raises(rw.InputError, match="the searcher OptunaSearch takes one metric"):
            rw.Study(space, searcher=searcher, mode={"error": "min", "cost": "min"})
        return
    facts, proposals = run(searcher, FEW.get(name, 20), metrics=metrics)
    assert all(space.check(config) == config for config in proposals)
    again = as_searcher(SEARCHERS[name], space)
    for fact in facts:
        again.tell(fact)
    assert again.propose([0, 99]) == searcher.propose([0, 99])


def test_a_study_killed_half_way_goes_on_as_if_it_had_not_been(name: str, tmp_path: Path) -> None:
    count = FEW.get(name, 20)

    def opened(path: Path | None) -> rw.Study:
        study = rw.Study(FLAT, rw.ASHA(max_resource=9), SEARCHERS[name], mode="max", seed=3, path=path)
        study.extend(trials=count)
        return study

    def train(study: rw.Study, jobs: int) -> None:
        for _ in range(jobs):
            if (job := study.ask()) is None:
                return
            for resource in range(job.start + 1, job.until + 1):
                study.report(job.trial, resource, -loss_of(job.config, resource))

    whole, broken = opened(None), opened(tmp_path / "s.db")
    train(whole, 1000)
    for jobs in (4, 9, 1000):
        train(broken, jobs)
        broken.close()
        broken = opened(tmp_path / "s.db")
    assert len(whole.trials) == count
    assert [trial.config for trial in broken.trials] == [trial.config for trial in whole.trials]
    assert broken.finished


def test_earlier_trials_may_be_told(name: str) -> None:
    space = space_of("conditional")
    earlier = [
        {"config": space.sample(np.random.default_rng(n)), "results": [[1, n / 9], *([[3, n / 20]] if n < 3 else [])]}
        for n in range(8)
    ]
    first = as_searcher({"name": "first", "searcher": SEARCHERS[name], "earlier": earlier}, space)
    _, proposals = run(first, 10)
    assert proposals[0] == earlier[0]["config"]
    again = as_searcher(copy.deepcopy(settings_of(first)), space)
    assert run(again, 10)[1] == proposals
