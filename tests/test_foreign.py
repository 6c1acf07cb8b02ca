"""Spaces of other libraries: what ours allows is what theirs allows, and what ours cannot say is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ConfigSpace as cs
import numpy as np
import pytest
import scipy.stats
from ConfigSpace.exceptions import (
    ActiveHyperparameterNotSetError,
    ForbiddenValueError,
    IllegalValueError,
    InactiveHyperparameterSetError,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna import distributions as od

import messages
import rungwise as rw
from rungwise.conversion import as_space

pytestmark = pytest.mark.filterwarnings("ignore:The distribution is specified by")  # Optuna, lowering `high`


def conditional() -> cs.ConfigurationSpace:
    """All kinds of parameters, conditions of every kind that ours can say, two deep, and forbidden clauses."""
    space = cs.ConfigurationSpace(seed=1)
    opt = cs.Categorical("opt", ["sgd", "adam", "lion"], weights=[1, 2, 1])
    layers, width = cs.Integer("layers", (1, 9)), cs.Integer("width", (16, 10**6), log=True)
    size = cs.OrdinalHyperparameter("size", ["small", "middle", "large"])
    lr, momentum, decay = cs.Float("lr", (1e-5, 0.1), log=True), cs.Float("momentum", (0, 1)), cs.Float("decay", (0, 1))
    nesterov, warm, tail = (
        cs.Categorical("nesterov", [True, False]),
        cs.Integer("warm", (0, 3)),
        cs.Float("tail", (0, 2)),
    )
    rate = cs.Float("rate", (0, 1), distribution=cs.Normal(0.3, 0.2))
    space.add(opt, layers, width, size, lr, momentum, decay, nesterov, warm, tail, rate, cs.Constant("version", 3))
    space.add(
        cs.NotEqualsCondition(momentum, opt, "adam"),
        cs.AndConjunction(cs.EqualsCondition(nesterov, opt, "sgd"), cs.GreaterThanCondition(nesterov, layers, 2)),
        cs.OrConjunction(cs.LessThanCondition(decay, size, "middle"), cs.EqualsCondition(decay, size, "large")),
        cs.InCondition(warm, opt, ["adam", "lion"]),
        cs.AndConjunction(
            cs.GreaterThanCondition(tail, warm, 0),
            cs.LessThanCondition(tail, warm, 3),
            cs.NotEqualsCondition(tail, size, "large"),
        ),
    )
    space.add(
        cs.ForbiddenAndConjunction(cs.ForbiddenEqualsClause(opt, "lion"), cs.ForbiddenInClause(layers, [1, 2, 3])),
        cs.ForbiddenAndConjunction(cs.ForbiddenGreaterThanClause(size, "small"), cs.ForbiddenLessThanClause(layers, 3)),
        cs.ForbiddenGreaterThanRelation(warm, layers),
        cs.ForbiddenOrConjunction(
            cs.ForbiddenAndConjunction(cs.ForbiddenEqualsClause(nesterov, True), cs.ForbiddenEqualsClause(layers, 9)),
            cs.ForbiddenInClause(width, [16, 17, 999_999]),
        ),
    )
    return space


THEIRS = conditional()
OURS = as_space(THEIRS)


def theirs_allows(config: dict[str, Any]) -> bool:
    try:
        cs.Configuration(THEIRS, values=config).check_valid_configuration()
    except (ActiveHyperparameterNotSetError, ForbiddenValueError, IllegalValueError, InactiveHyperparameterSetError):
        return False
    return True


def ours_allows(config: dict[str, Any]) -> bool:
    try:
        OURS.check(config)
    except rw.InputError:
        return False
    return True


def test_what_configspace_draws_is_ours() -> None:
    for drawn in THEIRS.sample_configuration(300):
        config = dict(drawn)
        assert OURS.check(config) == json.loads(json.dumps(OURS.check(config)))


@given(st.integers(0, 2**32))
def test_what_we_draw_is_configspaces(seed: int) -> None:
    config = OURS.sample(np.random.default_rng(seed))
    assert OURS.check(config) == config
    assert theirs_allows(config)


@settings(max_examples=300)
@given(st.lists(st.floats(0, 1), min_size=len(OURS), max_size=len(OURS)), st.data())
def test_both_give_the_same_verdict(point: list[float], data: st.DataObject) -> None:
    """Also on points that are forbidden, and on configurations with a name too many or too few."""
    config = OURS.decode(point)
    assert OURS.allows(config) == ours_allows(config) == theirs_allows(config)
    name = data.draw(st.sampled_from(list(OURS)))
    if name in config:
        del config[name]
    else:
        config[name] = OURS[name].decode(0.5)
    assert ours_allows(config) == theirs_allows(config)


def test_forbidden_and_allowed_are_both_met_above() -> None:
    rng = np.random.default_rng(0)
    verdicts = [OURS.allows(OURS.decode(rng.random(len(OURS)))) for _ in range(200)]
    assert 20 < sum(verdicts) < 180


def test_draws_follow_configspaces_weights_and_normals() -> None:
    rng = np.random.default_rng(0)
    ours = as_space(
        {"w": cs.Categorical("w", "abc", weights=[1, 2, 5]), "n": cs.Float("n", (-1, 3), distribution=cs.Normal(0, 2))}
    )
    drawn = [ours.sample(rng) for _ in range(4000)]
    shares = [sum(config["w"] == choice for config in drawn) / 4000 for choice in "abc"]
    assert shares == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=0.03)
    normal = scipy.stats.truncnorm(-0.5, 1.5, loc=0, scale=2)
    assert scipy.stats.kstest([config["n"] for config in drawn], normal.cdf).pvalue > 1e-3
    at = np.linspace(-0.9, 2.9, 7)
    assert [ours["n"].log_density(x) for x in at] == pytest.approx(np.log(normal.pdf(at) * 4).tolist())
    whole = as_space({"i": cs.Integer("i", (1, 9), distribution=cs.Normal(4, 2))})["i"]
    bins = np.diff(scipy.stats.truncnorm(-3.5 / 2, 5.5 / 2, loc=4, scale=2).cdf(np.arange(0.5, 10)))
    assert [whole.log_density(i) for i in range(1, 10)] == pytest.approx(np.log(bins * 9).tolist())


numbers = st.integers(-1000, 1000)


@st.composite
def optunas(draw: st.DrawFn) -> od.BaseDistribution:
    kind = draw(st.sampled_from(["float", "log float", "stepped float", "int", "log int", "stepped int", "choice"]))
    if kind == "choice":
        choices = st.none() | st.integers(-9, 9) | st.text(max_size=3)
        return od.CategoricalDistribution(draw(st.lists(choices, min_size=1, max_size=5, unique=True)))
    low, width = draw(numbers), draw(st.integers(0, 1000))
    if "log" in kind:
        low = abs(low) + 1
    scale = draw(st.sampled_from([1, 10, 1000])) if "float" in kind else 1
    step = draw(st.integers(1, 300)) / scale if "stepped" in kind else None
    if "float" in kind:
        return od.FloatDistribution(low / scale, (low + width) / scale, log="log" in kind, step=step)
    return od.IntDistribution(low, low + width, log="log" in kind, step=int(step or 1))


@settings(max_examples=300)
@given(optunas(), st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_our_values_lie_in_optunas_distribution(distribution: od.BaseDistribution, points: list[float]) -> None:
    space = as_space({"x": distribution})
    for u in [0.0, 1.0, *points]:
        value = space.decode([u])["x"]
        assert distribution._contains(distribution.to_internal_repr(value))
        assert space.check({"x": value}) == {"x": value}


def test_optunas_ends_are_reached() -> None:
    for distribution in (
        od.FloatDistribution(0, 1, step=0.25),
        od.IntDistribution(1, 8, step=3),
        od.IntDistribution(1, 8, log=True),
    ):
        parameter = as_space({"x": distribution})["x"]
        assert (parameter.decode(0.0), parameter.decode(1.0)) == (distribution.low, distribution.high)


@pytest.mark.parametrize(
    "distribution",
    [scipy.stats.uniform(2, 3), scipy.stats.loguniform(1e-4, 10), scipy.stats.reciprocal(a=1, b=3, scale=2),
     scipy.stats.randint(3, 9), scipy.stats.randint(0, 4, loc=2)],
)  # fmt: skip
def test_draws_follow_scipys_distribution(distribution: Any) -> None:
    space = as_space({"x": distribution, "kernel": ["rbf", "poly"], "gamma": np.array([0.1, 1.0])})
    rng = np.random.default_rng(0)
    drawn = np.array([space.sample(rng)["x"] for _ in range(2000)])
    low, high = distribution.support()
    assert low <= drawn.min() <= drawn.max() <= high
    if isinstance(space["x"], rw.Integer):
        counts = [(drawn == k).sum() for k in range(low, high + 1)]
        assert scipy.stats.chisquare(counts).pvalue > 1e-3
    else:
        assert scipy.stats.kstest(drawn, distribution.cdf).pvalue > 1e-3


MIXED = {
    "ours": rw.Float(0, 1, prior=0.5),
    "optuna": od.IntDistribution(1, 9),
    "scipy": scipy.stats.uniform(0, 1),
    "list": ["a", "b"],
    "configspace": cs.OrdinalHyperparameter("any name", [1, 2, 3]),
}
SPACES: dict[str, Any] = {
    "ConfigSpace": THEIRS,
    "Optuna": {"x": od.FloatDistribution(1e-3, 1, log=True), "n": od.CategoricalDistribution(["a", None])},
    "scipy": {"x": scipy.stats.loguniform(1e-3, 1), "kernel": ["rbf", "poly"]},
    "mixed": MIXED,
}


@pytest.mark.parametrize("kind", SPACES)
def test_a_study_over_it_and_again_from_its_file(kind: str, tmp_path: Path) -> None:
    def train(trial: rw.Trial) -> None:
        for epoch in trial:
            trial.report(len(str(trial.config)) + 1 / epoch)

    path = tmp_path / "study.db"
    study = rw.tune(train, SPACES[kind], mode="min", trials=6, study=path, quiet=True)
    assert len(study.trials) == 6
    again = rw.tune(train, SPACES[kind], mode="min", trials=8, study=path, quiet=True)
    assert [record.config for record in again.trials[:6]] == [record.config for record in study.trials]
    space = as_space(SPACES[kind])
    assert again.space == space == rw.Space.from_json(space.to_json())
    for record in again.trials:
        assert space.check(record.config) == record.config


def test_nothing_foreign_is_imported_before_it_is_used() -> None:
    code = (
        "import sys, rungwise as rw; rw.Study({'x': rw.Float(0, 1)}, mode='min');"
        "assert not {'ConfigSpace', 'optuna', 'scipy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def two(*rules: Callable[..., Any]) -> cs.ConfigurationSpace:
    space = cs.ConfigurationSpace()
    space.add(
        cs.Categorical("a", [1, 2]), cs.Categorical("b", [1, 2]), cs.Float("x", (0, 1)), cs.Integer("big", (0, 10**6))
    )
    for rule in rules:
        space.add(rule(*(space[name] for name in ("a", "b", "x", "big"))))
    return space


WRONG: dict[str, Any] = {
    "or over two parents": lambda: two(
        lambda a, b, x, big: cs.OrConjunction(cs.EqualsCondition(x, a, 1), cs.EqualsCondition(x, b, 1))
    ),
    "not equals below a condition": lambda: two(
        lambda a, b, x, big: cs.EqualsCondition(b, a, 1), lambda a, b, x, big: cs.NotEqualsCondition(x, b, 1)
    ),
    "a condition on a float": lambda: two(lambda a, b, x, big: cs.GreaterThanCondition(b, x, 0.5)),
    "a relation of floats": lambda: two(lambda a, b, x, big: cs.ForbiddenGreaterThanRelation(x, a)),
    "a float above": lambda: two(lambda a, b, x, big: cs.ForbiddenGreaterThanClause(x, 0.5)),
    "a long integer above": lambda: two(lambda a, b, x, big: cs.GreaterThanCondition(a, big, 5)),
    "too many clauses": lambda: two(lambda a, b, x, big: cs.ForbiddenAndConjunction(
        *[cs.ForbiddenOrConjunction(*[cs.ForbiddenEqualsClause(big, n) for n in range(101)])] * 2)),
    "a beta": lambda: {"x": cs.Float("x", (0, 1), distribution=cs.Beta(2, 3))},
    "a normal on a log scale": lambda: {"x": cs.Float("x", (1, 9), distribution=cs.Normal(2, 3), log=True)},
    "a mean outside": lambda: {"x": cs.Float("x", (1, 9), distribution=cs.Normal(10, 3))},
    "a weight of 0": lambda: {"x": cs.Categorical("x", "ab", weights=[0, 1])},
    "a norm": lambda: {"x": scipy.stats.norm(0, 1)},
    "a loguniform moved": lambda: {"x": scipy.stats.loguniform(1, 10, loc=3)},
    "not frozen": lambda: {"x": scipy.stats.uniform},
    "a list without scipy": lambda: {"x": od.IntDistribution(1, 2), "y": [1, 2]},
    "a choice that is no JSON": lambda: {"x": scipy.stats.uniform(0, 1), "y": [object()]},
    "an unknown distribution": lambda: {
        "x": type("Odd", (od.BaseDistribution,), dict.fromkeys(od.BaseDistribution.__abstractmethods__))()
    },
    "no dict": lambda: scipy.stats.uniform(0, 1),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_what_ours_cannot_say_is_refused_in_one_line(case: str) -> None:
    given = WRONG[case]()
    with pytest.raises(rw.InputError) as error:
        as_space(given)
    assert "\n" not in str(error.value)
    messages.check("foreign", case, str(error.value))
