from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import messages
import rungwise as rw

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
                         "'m' exists when 'o' is 'b', but 'o' wants one of 'a'"),
    "float as parent": (lambda: rw.Space({"o": rw.Float(0, 1), "m": rw.Float(0, 1, when={"o": 0.5})}), "a Float"),
    "a circle": (lambda: rw.Space({"a": rw.Integer(0, 1, when={"b": 1}), "b": rw.Integer(0, 1, when={"a": 1})}),
                 "in a circle: "),
    "a bare list": (lambda: rw.Space({"a": [1, 2]}), "did you mean rw.Categorical"),
    "a name": (lambda: rw.Space({"": rw.Float(0, 1)}), "printable text"),
    "an unknown type": (lambda: rw.Space.from_json('{"a": {"type": "flaot"}}'), "did you mean 'float'?"),
    "an unknown field": (lambda: rw.Space.from_json('{"a": {"type": "float", "lo": 0, "high": 1}}'),
                         "unknown field 'lo'; did you mean 'low'?"),
    "a missing field": (lambda: rw.Space.from_json('{"a": {"type": "float", "low": 0}}'), "missing required field `high`"),
    "no JSON": (lambda: rw.Space.from_json("{"), "the space is not JSON"),
    "a value outside": (lambda: SPACE.check({**SPACE.decode([0.9] * 8), "size": 9}), "'size' wants one of 8, 16, 32, not 9"),
    "a name too many": (lambda: SPACE.check({"lrr": 1}), "the space has not; did you mean 'lr'?"),
    "a name too few": (lambda: SPACE.check({}), "lacks"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_spaces_say_what_is_wanted(case: str) -> None:
    make, message = WRONG[case]
    with pytest.raises(rw.InputError) as error:
        make()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    messages.check("space", case, str(error.value))
