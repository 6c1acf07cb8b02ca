from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import messages
import rungwise as rw
from rungwise.parameters import Parameter

SPACE = rw.Space(
    {
        "lr": rw.Float(1e-5, 1e-1, log=True),
        "dropout": rw.Float(0.0, 0.5, step=0.1),
        "width": rw.Integer(16, 256, log=True),
        "layers": rw.Integer(1, 9, step=2),
        "opt": rw.Categorical(["sgd", "adam", None, True, 1, [64, 64]]),
        "size": rw.Ordinal([8, 16, 32]),
        "momentum": rw.Float(0, 0.99, when={"opt": "sgd"}),
        "nesterov": rw.Categorical([True, False], when={"opt": ["sgd"], "layers": [1, 3]}),
    }
)
points = st.lists(st.floats(0, 1), min_size=len(SPACE), max_size=len(SPACE))


@given(points)
def test_every_point_of_the_cube_is_a_configuration_and_back(point: list[float]) -> None:
    config = SPACE.decode(point)
    assert SPACE.check(config) == config
    assert json.loads(json.dumps(config)) == config
    encoded = SPACE.encode(config)
    assert encoded.shape == (len(SPACE),)
    assert ((encoded >= 0) & (encoded <= 1)).all()
    again = SPACE.decode(encoded)
    assert again == pytest.approx(config) if "lr" not in config else True
    for name, value in config.items():
        if isinstance(SPACE[name], rw.Float):
            assert again[name] == pytest.approx(value)
        else:
            assert again[name] == value


@given(points)
def test_conditional_parameters_exist_when_their_condition_holds(point: list[float]) -> None:
    config = SPACE.decode(point)
    assert ("momentum" in config) == (config["opt"] == "sgd")
    assert ("nesterov" in config) == (config["opt"] == "sgd" and config["layers"] in (1, 3))


def test_json_round_trip() -> None:
    again = rw.Space.from_json(SPACE.to_json())
    assert again == SPACE
    assert again.to_json() == SPACE.to_json()
    for n in range(50):
        seeds = (np.random.default_rng([0, n]) for _ in range(2))
        assert SPACE.sample(next(seeds)) == again.sample(next(seeds))


FORBIDDING = rw.Space(
    SPACE, forbidden=[{"opt": ["sgd", [64, 64]], "layers": 3}, {"size": 32, "momentum": 0}, {"dropout": [0, 0.3]}]
)


@given(st.integers(0, 2**32), st.sampled_from([SPACE, FORBIDDING]))
def test_what_is_sampled_is_allowed_and_valid(seed: int, space: rw.Space) -> None:
    config = space.sample(np.random.default_rng(seed))
    assert space.allows(config)
    assert space.check(config) == config


@given(points)
def test_forbidden_is_what_the_clauses_say(point: list[float]) -> None:
    config = FORBIDDING.decode(point)
    forbidden = (
        (config["opt"] in ("sgd", [64, 64]) and config["layers"] == 3)
        or (config["size"] == 32 and config.get("momentum") == 0)
        or config["dropout"] in (0, 0.3)
    )
    assert FORBIDDING.allows(config) != forbidden
    assert SPACE.allows(config)
    if forbidden:
        with pytest.raises(rw.InputError, match="the configuration is forbidden: "):
            FORBIDDING.check(config)


def test_each_try_takes_one_number_a_parameter() -> None:
    """Old studies draw what they always drew: what comes after a draw depends on how many numbers it took."""
    ours, plain = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(200):
        config = FORBIDDING.sample(ours)
        while not FORBIDDING.allows(drawn := SPACE.decode(plain.random(len(SPACE)))):
            pass
        assert config == drawn
    assert ours.random() == plain.random()


def test_forbidden_survives_json_and_copies() -> None:
    again = rw.Space.from_json(FORBIDDING.to_json())
    assert again == FORBIDDING != SPACE
    assert again.to_json() == FORBIDDING.to_json()
    assert rw.Space(FORBIDDING) == FORBIDDING
    assert rw.Space(FORBIDDING, [{"size": 8}]).forbidden == [*FORBIDDING.forbidden, {"size": [8]}]
    named = rw.Space({"forbidden": rw.Integer(1, 2), "parameters": rw.Integer(1, 2)})
    for space in (named, rw.Space(named, [{"forbidden": 2, "parameters": [1]}])):
        assert rw.Space.from_json(space.to_json()) == space


PRIORS: dict[str, Parameter] = {
    "low": rw.Float(-2, 8, prior=-1, confidence="low"),
    "medium": rw.Float(-2, 8, prior=-1),
    "high, at an end": rw.Float(-2, 8, prior=8, confidence="high"),
    "log": rw.Float(1e-5, 1e-1, log=True, prior=1e-3),
    "a number": rw.Float(0, 1, prior=0.4, confidence=0.02),
    "stepped": rw.Float(0, 1, step=0.1, prior=0.3, confidence="high"),
    "integer": rw.Integer(3, 40, prior=10, confidence="high"),
    "log integer": rw.Integer(1, 64, log=True, prior=4),
    "stepped integer": rw.Integer(1, 9, step=2, prior=7),
    "ordinal": rw.Ordinal([8, 16, 32, 64], prior=16, confidence="high"),
    "categorical": rw.Categorical(["a", "b", None], prior="b", confidence="high"),
    "weights": rw.Categorical(["a", "b", None], weights=[0.5, 2, 1]),
}


@pytest.mark.parametrize("case", PRIORS)
def test_draws_follow_the_prior(case: str) -> None:
    """Density and draws are told apart by their code: the one must be the share of the other."""
    parameter = PRIORS[case]
    space = rw.Space({"x": parameter})
    rng = np.random.default_rng(0)
    values = [space.sample(rng)["x"] for _ in range(4000)]
    assert all(parameter.wrong(value) is None for value in values)
    if isinstance(parameter, rw.Float) and parameter.step is None:
        grid = (np.arange(20_000) + 0.5) / 20_000
        density = np.exp([space.log_prior(space.decode([u])) for u in grid])
        assert density.mean() == pytest.approx(1, abs=1e-3)
        places = np.array([parameter.encode(value) for value in values])
        expected = np.interp(np.sort(places), grid, np.cumsum(density) / density.sum())
        assert np.abs(expected - (np.arange(4000) + 0.5) / 4000).max() < 1.95 / math.sqrt(4000)  # KS, p = 0.001
    else:
        seen = {json.dumps(parameter.decode(u)): parameter.decode(u) for u in np.linspace(0, 1, 5001)}
        for key, value in seen.items():
            left, right = parameter.interval(value)
            share = math.exp(space.log_prior({"x": value})) * (right - left)
            assert values.count(value) / 4000 == pytest.approx(share, abs=4 * math.sqrt(share / 4000) + 1e-3), key
        cells = sorted(parameter.interval(value) for value in seen.values())
        assert [cells[0][0], cells[-1][1]] == pytest.approx([0, 1])
        assert [left for left, _ in cells[1:]] == pytest.approx([right for _, right in cells[:-1]])
        masses = [
            math.exp(parameter.log_density(v)) * (parameter.interval(v)[1] - parameter.interval(v)[0])
            for v in seen.values()
        ]
        assert math.fsum(masses) == pytest.approx(1)


def test_confidence_is_that_of_neps() -> None:
    spread = [
        rw.Float(0, 1, prior=0.5, confidence=confidence)._normal.stdev for confidence in ("low", "medium", "high")
    ]
    assert spread == [0.5, 0.25, 0.125]
    for confidence, odds in (("low", 2), ("medium", 4), ("high", 6)):
        choice = rw.Categorical(["a", "b", "c"], prior="c", confidence=confidence)
        assert math.exp(choice.log_density("c") - choice.log_density("a")) == pytest.approx(odds)


def test_far_from_a_sure_prior_densities_stay_finite() -> None:
    for parameter in (rw.Float(0, 1, prior=0, confidence=1e-6), rw.Integer(0, 9, prior=9, confidence=1e-6)):
        densities = [parameter.log_density(parameter.decode(u)) for u in np.linspace(0, 1, 99)]
        assert np.isfinite(densities).all()
        assert 0 <= parameter.quantile(0.0) <= parameter.quantile(1 - 2**-53) <= 1
    assert rw.Float(2, 2, prior=2).log_density(2.0) == 0


def test_a_prior_counts_only_where_its_parameter_exists() -> None:
    space = rw.Space({
        "opt": rw.Categorical(["sgd", "adam"], weights=[1, 3]),
        "momentum": rw.Float(0, 1, when={"opt": "sgd"}, prior=0.9),
        "plain": rw.Float(0, 1),
    })  # fmt: skip
    assert space.log_prior({"opt": "adam", "plain": 0.1}) == pytest.approx(math.log(1.5))
    momentum = space["momentum"].log_density(0.9)
    assert momentum > 0
    assert space.log_prior({"opt": "sgd", "momentum": 0.9, "plain": 0.1}) == pytest.approx(math.log(0.5) + momentum)
    again = rw.Space.from_json(space.to_json())
    assert again == space
    assert [again.sample(np.random.default_rng(n)) for n in range(9)] == [
        space.sample(np.random.default_rng(n)) for n in range(9)
    ]


def test_without_priors_and_forbidden_files_are_as_they_were() -> None:
    assert rw.Space({"x": rw.Float(0, 1), "c": rw.Categorical(["a"]), "o": rw.Ordinal([1]), "i": rw.Integer(1, 2)}).to_dict() == {
        "x": {"type": "float", "low": 0.0, "high": 1.0}, "c": {"type": "categorical", "choices": ["a"]},
        "o": {"type": "ordinal", "choices": [1]}, "i": {"type": "integer", "low": 1, "high": 2},
    }  # fmt: skip
    assert all(SPACE[name].quantile(u) == u for name in SPACE for u in (0.0, 0.3, 1 - 2**-53))
    assert SPACE.log_prior(SPACE.decode([0.3] * len(SPACE))) == 0


def test_a_parent_may_stand_below_its_child() -> None:
    space = rw.Space({"b": rw.Float(0, 1, when={"a": 2}), "a": rw.Integer(1, 2)})
    assert list(space.decode([0.5, 0.9])) == ["b", "a"]
    assert space.decode([0.5, 0.1]) == {"a": 1}


def test_ends_and_cells_are_fair() -> None:
    assert {rw.Integer(1, 3, log=True).decode(u) for u in np.linspace(0, 1, 200)} == {1, 2, 3}
    counts = np.bincount([rw.Integer(0, 3).decode(u) for u in np.linspace(0, 1, 4001)])
    assert counts.max() - counts.min() <= 1
    assert rw.Float(0, 0.3, step=0.1).decode(1.0) == 0.3
    assert [rw.Float(0, 0.25, step=0.1).decode(u) for u in (0.0, 0.5, 1.0)] == [0.0, 0.1, 0.2]
    assert rw.Float(2.0, 2.0).decode(0.7) == 2.0
    log = rw.Float(1e-3, 1e-1, log=True)
    assert log.decode(0.0) == pytest.approx(1e-3)
    assert log.decode(1.0) == pytest.approx(1e-1)


def test_numpy_values_are_taken_as_plain_ones() -> None:
    parameter = rw.Integer(np.int64(1), np.int64(8))
    assert type(parameter.low) is int
    assert rw.Categorical(np.array([1, 2])).choices == [1, 2]
    space = rw.Space({"n": parameter})
    assert space.check({"n": np.int32(3)}) == {"n": 3}


WRONG = {
    "low above high": (lambda: rw.Float(2, 1), "low=2.0 is above high=1.0; swap them?"),
    "log with 0": (lambda: rw.Float(0, 1, log=True), "log=True needs low > 0, not low=0.0"),
    "log with 0, integers": (lambda: rw.Integer(0, 8, log=True), "log=True needs low > 0, not low=0"),
    "nan": (lambda: rw.Float(math.nan, 1), "low must be finite, not nan"),
    "infinite": (lambda: rw.Float(0, math.inf), "high must be finite, not inf"),
    "half an integer": (lambda: rw.Integer(1, 2.5), "high must be a whole number, not 2.5"),
    "text": (lambda: rw.Float("1", 2), "low must be a number, not '1'"),
    "step and log": (lambda: rw.Float(1, 2, log=True, step=0.1), "without log=True"),
    "no choices": (lambda: rw.Categorical([]), "choices is empty"),
    "a choice twice": (lambda: rw.Categorical([1, 2, 1]), "choices holds 1 twice"),
    "text as choices": (lambda: rw.Categorical("abc"), "choices must be a list, not 'abc'"),
    "a choice that is no JSON": (lambda: rw.Categorical([object()]), "a choice must be plain JSON"),
    "unknown parent": (lambda: rw.Space({"opt": rw.Integer(1, 2), "m": rw.Float(0, 1, when={"otp": 1})}),
                       "'m' depends on 'otp', which is unknown; did you mean 'opt'?"),
    "impossible value": (lambda: rw.Space({"o": rw.Categorical(["a"]), "m": rw.Float(0, 1, when={"o": "b"})}),
                         "'m' is active when 'o' is 'b', but 'o' wants one of 'a'"),
    "float as parent": (lambda: rw.Space({"o": rw.Float(0, 1), "m": rw.Float(0, 1, when={"o": 0.5})}), "a Float"),
    "a circle": (lambda: rw.Space({"a": rw.Integer(0, 1, when={"b": 1}), "b": rw.Integer(0, 1, when={"a": 1})}),
                 "the conditions are circular: "),
    "a bare list": (lambda: rw.Space({"a": [1, 2]}), "did you mean rw.Categorical"),
    "a name": (lambda: rw.Space({"": rw.Float(0, 1)}), "printable text"),
    "an unknown type": (lambda: rw.Space.from_json('{"a": {"type": "flaot"}}'), "did you mean 'float'?"),
    "an unknown field": (lambda: rw.Space.from_json('{"a": {"type": "float", "lo": 0, "high": 1}}'),
                         "unknown field 'lo'; did you mean 'low'?"),
    "a missing field": (lambda: rw.Space.from_json('{"a": {"type": "float", "low": 0}}'), "missing required field `high`"),
    "no JSON": (lambda: rw.Space.from_json("{"), "the space is not JSON"),
    "a value outside": (lambda: SPACE.check({**SPACE.decode([0.9] * 8), "size": 9}), "'size' wants one of 8, 16, 32, not 9"),
    "a name too many": (lambda: SPACE.check({"lrr": 1}), "but the space does not; did you mean 'lr'?"),
    "a name too few": (lambda: SPACE.check({}), "lacks"),
    "a forbidden configuration": (lambda: FORBIDDING.check({"dropout": 0, **FORBIDDING.decode([0.9] + [0.0] + [0.9] * 6)}),
                                  "the configuration is forbidden: {'dropout': [0, 0.3]}"),
    "forbidden as a dict": (lambda: rw.Space(SPACE, {"opt": "sgd"}), "forbidden= must be a list of dicts"),
    "an empty clause": (lambda: rw.Space(SPACE, [{}]), "must be a dict like {'optimizer': 'sgd'}, not {}"),
    "a clause on an unknown name": (lambda: rw.Space(SPACE, [{"otp": "sgd"}]), "did you mean 'opt'?"),
    "a clause on an unknown value": (lambda: rw.Space(SPACE, [{"size": [8, 9]}]), "'size' wants one of 8, 16, 32, not 9"),
    "a clause without values": (lambda: rw.Space(SPACE, [{"size": []}]), "forbids no value of 'size'"),
    "all forbidden": (lambda: rw.Space(SPACE, [{"size": [8, 16, 32]}]), "that were drawn are forbidden; forbid less"),
    "forbidden beside parameters": (lambda: rw.Space.from_dict({**SPACE.to_dict(), "forbidden": [{"size": 8}]}),
                                    '{"parameters": {…}, "forbidden": […]}'),
    "a prior outside": (lambda: rw.Float(0, 1, prior=2), "prior wants a number from 0.0 to 1.0, not 2.0"),
    "a prior that is no choice": (lambda: rw.Ordinal([1, 2], prior=3), "prior wants one of 1, 2, not 3"),
    "half a prior": (lambda: rw.Integer(0, 9, prior=0.5), "prior must be a whole number, not 0.5"),
    "unknown confidence": (lambda: rw.Float(0, 1, prior=0, confidence="sure"), "not 'sure'"),
    "no confidence at all": (lambda: rw.Float(0, 1, prior=0, confidence=0), "not 0"),
    "confidence alone": (lambda: rw.Float(0, 1, confidence="high"), "give prior= as well"),
    "a number as a choice's confidence": (lambda: rw.Categorical(["ab"], prior="ab", confidence=0.1), "not 0.1"),
    "weights too few": (lambda: rw.Categorical(["a", "b"], weights=[1]), "a list of 2 numbers, one per choice, not [1]"),
    "a weight of nothing": (lambda: rw.Categorical(["a", "b"], weights=[1, 0]), "weights must be above 0, not 0.0"),
    "weights and prior": (lambda: rw.Categorical(["a", "b"], prior="a", weights=[1, 2]), "give either prior= or weights=, not both"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_spaces_say_what_is_wanted(case: str) -> None:
    make, message = WRONG[case]
    with pytest.raises(rw.InputError) as error:
        make()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    messages.check("space", case, str(error.value))
