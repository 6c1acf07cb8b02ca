"""The Gaussian-process searcher: laws, and that it finds what random search does not."""

from __future__ import annotations

import importlib
import itertools
import math
import sys
from collections.abc import Callable

import numpy as np
import pytest

import rungwise as rw
from instances import events
from rungwise.errors import InputError
from rungwise.events import Created, Event, Promoted, Result, Started
from rungwise.parameters import Categorical, Float, Integer, Ordinal
from rungwise.search import as_searcher, settings_of
from rungwise.search.gp import GPSearch
from rungwise.space import Space

Losses = float | tuple[float, ...] | None

MIXED = Space(
    {
        "optimizer": Categorical(["sgd", "adam", "lion"]),
        "momentum": Float(0, 1, when={"optimizer": "sgd"}),
        "lr": Float(1e-4, 1, log=True),
        "width": Ordinal([16, 32, 64]),
        "layers": Integer(1, 8),
    }
)


def mixed(config: dict) -> float:
    """Best with sgd, momentum 0.9, lr 0.01."""
    momentum = abs(config["momentum"] - 0.9) if config["optimizer"] == "sgd" else 1.0
    return momentum + abs(math.log10(config["lr"]) + 2) / 2 + abs(config["layers"] - 4) / 40


def tell(searcher: GPSearch, trial: int, config: dict, loss: Losses, until: int = 1) -> None:
    """A trial from beginning to end; no loss is a failure."""
    searcher.tell(Started(trial, config, until))
    losses = math.inf if loss is None else loss
    searcher.tell(Result(trial, until, losses if isinstance(losses, tuple) else (losses,)))


def search(space: Space, loss: Callable[[dict], Losses], trials: int, seed: int = 0, **settings: float) -> list[dict]:
    """The configurations proposed, one after another."""
    searcher = GPSearch(space, **settings)
    configs = []
    for trial in range(trials):
        configs.append(searcher.propose([seed, trial]))
        tell(searcher, trial, configs[-1], loss(configs[-1]))
    return configs


def facts_of_a_study(trials: int) -> tuple[rw.Study, list[Event]]:
    """A study with three trials under way at any time, and what its searcher was told."""
    study = rw.Study(MIXED, rw.ASHA(max_resource=9), GPSearch(MIXED, initial=5), mode="min")
    study.extend(trials=trials)
    jobs = []
    while (job := study.ask()) is not None or jobs:
        if job is not None:
            jobs.append(job)
        if job is None or len(jobs) == 3:
            done = jobs.pop(0)
            if done.trial % 7 == 3:
                study.fail(done.trial)
                continue
            for resource in range(done.start + 1, done.until + 1):
                study.report(done.trial, resource, mixed(done.config) + 1 / resource)
        if len(study.trials) == trials:
            break
    return study, list(events((fact for _, fact in study.facts()), "min"))


def test_a_study_opened_again_goes_on_with_the_same_proposals():
    study, facts = facts_of_a_study(18)
    replayed = GPSearch(MIXED, initial=5)
    for fact in facts:
        replayed.tell(fact)
    assert sum(isinstance(fact, Promoted) for fact in facts) > 2
    for n in range(2):
        assert study.searcher.propose([0, n]) == replayed.propose([0, n])


def test_every_proposal_of_a_study_is_made_from_the_facts_before_it():
    _, facts = facts_of_a_study(16)
    searcher = GPSearch(MIXED, initial=5)
    for fact in facts:
        if isinstance(fact, Started) and fact.trial % 5 == 0:  # asked only now and then
            assert searcher.propose([0, fact.trial]) == fact.config
        searcher.tell(fact)


def test_propose_is_a_query():
    asked, left_alone = GPSearch(MIXED, initial=4), GPSearch(MIXED, initial=4)
    for trial in range(8):
        config = MIXED.sample(np.random.default_rng(trial))
        assert asked.propose([1, trial]) == asked.propose([1, trial])
        for searcher in (asked, left_alone):
            tell(searcher, trial, config, mixed(config))
    assert asked.propose([1, 8]) != asked.propose([2, 8])
    assert asked.propose([1, 8]) == left_alone.propose([1, 8])


def test_the_unit_of_the_losses_does_not_matter():
    configs = search(MIXED, mixed, 12, initial=5)
    assert configs == search(MIXED, lambda config: 1024 * mixed(config), 12, initial=5)


def branin(config: dict) -> float:
    x, y = config["x"], config["y"]
    bowl = (y - 5.1 * x**2 / (4 * math.pi**2) + 5 * x / math.pi - 6) ** 2
    return bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def hartmann6(config: dict) -> float:
    alpha = np.array([1.0, 1.2, 3.0, 3.2])
    a = np.array(
        [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
    )
    p = 1e-4 * np.array(
        [
            [1312, 1696, 5569, 124, 8283, 5886],
            [2329, 4135, 8307, 3736, 1004, 9991],
            [2348, 1451, 3522, 2883, 3047, 6650],
            [4047, 8828, 8732, 5743, 1091, 381],
        ]
    )
    x = np.array([config[f"x{i}"] for i in range(6)])
    return float(-alpha @ np.exp(-(a * (x - p) ** 2).sum(axis=1)))


@pytest.mark.parametrize(
    ("function", "space", "trials", "optimum", "regret"),
    [
        (branin, Space({"x": Float(-5, 10), "y": Float(0, 15)}), 22, 0.398, 0.3),
        (hartmann6, Space({f"x{i}": Float(0, 1) for i in range(6)}), 26, -3.322, 0.9),
    ],
)
def test_finds_what_random_search_does_not(function, space, trials, optimum, regret):
    ours, random = [], []
    for seed in range(2):
        ours.append(min(map(function, search(space, function, trials, seed))) - optimum)
        random.append(min(function(space.sample(np.random.default_rng([seed, n]))) for n in range(trials)) - optimum)
    assert np.mean(ours) < regret
    assert np.mean(ours) < np.mean(random) / 2


def test_low_rungs_tell_of_the_highest():
    space = Space({"x": Float(0, 1)})
    searcher = GPSearch(space)
    places = np.linspace(0, 1, 12).tolist()
    for trial, x in enumerate(places):  # the valley is at 0.3, at resource 1
        tell(searcher, trial, {"x": x}, (x - 0.3) ** 2 + 1)
    for trial in (7, 9, 11):  # nothing near it is known at resource 3
        searcher.tell(Promoted(trial, 3))
        searcher.tell(Result(trial, 3, ((places[trial] - 0.3) ** 2 + 0.9,)))
    assert searcher.propose([0, 12])["x"] == pytest.approx(0.3, abs=0.1)


def test_categorical_and_conditional_parameters():
    configs = search(MIXED, mixed, 28, initial=6)
    for config in configs:
        assert MIXED.check(config) == config
    assert sum(config["optimizer"] == "sgd" for config in configs[-10:]) >= 7
    best = min(configs, key=mixed)
    assert best["optimizer"] == "sgd"
    assert best["momentum"] == pytest.approx(0.9, abs=0.15)


def test_failures_are_avoided():
    space = Space({"x": Float(0, 1), "y": Float(0, 1)})

    def loss(config: dict) -> float | None:
        return None if config["x"] > 0.5 else (config["y"] - 0.5) ** 2 - config["x"] / 4

    configs = search(space, loss, 24, initial=6)
    assert sum(config["x"] > 0.5 for config in configs[-10:]) <= 4
    best = min(
        (config for config in configs if config["x"] <= 0.5),
        key=lambda config: (config["y"] - 0.5) ** 2 - config["x"] / 4,
    )
    assert best["x"] == pytest.approx(0.5, abs=0.1)
    assert best["y"] == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("loss", [None, math.inf, 0.0])
def test_results_that_say_nothing_stop_nothing(loss):
    configs = search(MIXED, lambda config: loss, 7, initial=3)
    assert len({str(config) for config in configs}) == 7


def test_losses_of_diverged_training_hide_nothing():
    space = Space({"x": Float(0, 1)})
    configs = search(
        space, lambda config: 1e300 if config["x"] > 0.5 else 1000 + (config["x"] - 0.2) ** 2, 18, initial=5
    )
    assert min(abs(config["x"] - 0.2) for config in configs) < 0.02
    assert sum(config["x"] > 0.5 for config in configs[-8:]) <= 3


class Prior(Space):
    """A user who believes in x = 0.8."""

    def log_prior(self, config: dict) -> float:
        return -0.5 * ((config["x"] - 0.8) / 0.1) ** 2


def test_a_prior_draws_proposals_and_fades():
    space = Prior({"x": Float(0, 1)})
    searcher, without = GPSearch(space, initial=3), GPSearch(space, initial=3, prior_weight=0)
    for trial, x in enumerate([0.1, 0.25, 0.45, 0.9]):
        for each in (searcher, without):
            tell(each, trial, {"x": x}, (x - 0.2) ** 2)
    assert searcher.propose([0, 4])["x"] > 0.6
    assert without.propose([0, 4])["x"] == pytest.approx(0.2, abs=0.1)
    configs = search(space, lambda config: (config["x"] - 0.2) ** 2, 16, initial=3)
    assert any(abs(config["x"] - 0.2) < 0.05 for config in configs), "a wrong prior is overcome"


@pytest.mark.parametrize("prior_weight", [0, 10])
def test_a_prior_of_zero_rules_out_unless_its_weight_is_none(prior_weight):
    class Cut(Space):
        def log_prior(self, config: dict) -> float:
            return 0.0 if config["x"] < 0.5 else -math.inf

    space = Cut({"x": Float(0, 1)})
    configs = search(space, lambda config: -config["x"], 9, initial=3, prior_weight=prior_weight)
    assert (max(config["x"] for config in configs[3:]) > 0.5) == (prior_weight == 0)


def test_forbidden_configurations_are_not_proposed():
    class Half(Space):
        def allows(self, config: dict) -> bool:
            return config["x"] >= 0.5

        def sample(self, rng: np.random.Generator) -> dict:
            return {"x": float(rng.uniform(0.5, 1))}

    configs = search(Half({"x": Float(0, 1)}), lambda config: config["x"], 14, initial=4)
    assert min(config["x"] for config in configs) == pytest.approx(0.5, abs=0.02)
    assert min(config["x"] for config in configs) >= 0.5


def test_trials_under_way_are_not_proposed_again_nor_their_neighbors():
    space = Space({"x": Float(0, 1)})
    searcher = GPSearch(space, initial=5)
    for trial, x in enumerate(np.linspace(0, 1, 9).tolist()):
        tell(searcher, trial, {"x": x}, math.sin(18 * x))
    proposed = []
    for trial in range(9, 13):
        proposed.append(searcher.propose([0, 0])["x"])
        searcher.tell(Started(trial, {"x": proposed[-1]}, 1))
    assert len({round(18 * x / math.tau) for x in proposed}) >= 2, "one valley under way, the next is tried"
    assert min(abs(a - b) for a, b in itertools.combinations(proposed, 2)) > 1e-4


def test_a_small_space_is_gone_through_without_repeats():
    space = Space({"n": Integer(1, 12)})
    configs = search(space, lambda config: config["n"] % 5, 12, initial=4)
    assert sorted(config["n"] for config in configs) == list(range(1, 13))
    assert len(search(space, lambda config: config["n"] % 5, 14, initial=4)) == 14


def test_several_losses_are_weighed_differently_each_time():
    space = Space({"x": Float(0, 1), "y": Float(0, 1)})

    def losses(config: dict) -> tuple[float, float] | None:
        x, y = config["x"], config["y"]
        return (
            None if x > 0.98 else (1000 * ((x - 0.2) ** 2 + y), (x - 0.8) ** 2 + y)
        )  # the front: y = 0, x from 0.2 to 0.8

    last = search(space, losses, 22, initial=6)[-12:]
    assert np.mean([config["y"] for config in last]) < 0.2
    assert min(config["x"] for config in last) < 0.4
    assert max(config["x"] for config in last) > 0.6


def test_only_so_many_observations_are_used_of_the_highest_rungs():
    searcher = GPSearch(Space({"x": Float(0, 1)}), initial=2, observations=4)
    for trial, until in enumerate([1, 3, 1, 1, 3, 1]):
        tell(searcher, trial, {"x": trial / 10}, trial / 7, until)
    trials, features, losses = searcher._data(6, 4, np.ones(1))
    assert trials == [4, 1, 5, 3]
    assert features[:, -1].tolist() == [1, 1, 0, 0]
    assert np.argsort(losses).tolist() == [1, 3, 0, 2]


def test_made_from_its_name_and_its_settings():
    searcher = as_searcher({"name": "gp", "initial": 4, "observations": 50, "prior_weight": 2.5}, MIXED)
    assert isinstance(searcher, GPSearch)
    assert as_searcher(settings_of(searcher), MIXED).settings() == searcher.settings()
    assert as_searcher("gp", MIXED).settings() == GPSearch(MIXED).settings()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"initial": 1}, "initial must be 2 or more, not 1"),
        ({"observations": 0}, "observations must be 2 or more, not 0"),
        ({"prior_weight": -1}, "prior_weight must be 0 or more, not -1"),
        ({"intial": 5}, "did you mean 'initial'"),
    ],
)
def test_wrong_settings(settings, said):
    with pytest.raises(InputError, match=said):
        GPSearch(MIXED, **settings)


def test_without_botorch_the_user_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "botorch.models", None)
    monkeypatch.delitem(sys.modules, "rungwise.search.gp")
    with pytest.raises(InputError, match=r"the searcher 'gp' needs: pip install 'rungwise\[gp\]'"):
        as_searcher("gp", MIXED)
    monkeypatch.undo()
    importlib.import_module("rungwise.search.gp")


def test_threads_of_torch_are_left_as_they_were():
    import torch

    before = torch.get_num_threads()
    search(MIXED, mixed, 4, initial=3)
    assert torch.get_num_threads() == before


def test_a_study_of_maximizing_finds_the_top():
    study = rw.Study({"x": Float(0, 1)}, "pasha", "gp", mode="max")
    assert isinstance(next(study.facts())[1], Created)
    for _ in range(25):
        job = study.ask()
        for resource in range(job.start + 1, job.until + 1):
            study.report(job.trial, resource, 1 - abs(job.config["x"] - 0.7) - 0.2 / resource)
    assert study.best.config["x"] == pytest.approx(0.7, abs=0.05)
