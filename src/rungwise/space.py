"""Which configurations are there? Parameters, spaces of them, and the unit cube they are drawn from.

A space is a mapping of names to `Float`, `Integer`, `Categorical` or `Ordinal`. Every configuration is
a point of the unit cube, decoded; so a searcher that knows only numbers can search any space. What a user
expects (`prior=`) bends how the cube is drawn from, never how it is decoded: a normal cut to [0, 1] around
the prior's place, or weights, as NePS and PriorBand have it (Mallik et al., NeurIPS 2023, section 4 and NePS's
`DEFAULT_CONFIDENCE_SCORES`). Imports `names` and `values`, and `foreign` when a space is of another library.
"""

from __future__ import annotations

import graphlib
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import Any, ClassVar

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from rungwise.names import InputError, suggestion
from rungwise.values import flag, plain, real, same, whole

Values = dict[str, Any]
Rng = Sequence[int] | np.random.Generator
"""What `numpy.random.default_rng` takes: a seed, or a generator, which it passes through."""

LARGEST = 2**53  # integers above this have no exact place in the unit interval
TRIES = 20_000  # draws before a space is taken to forbid everything
SPREADS = {"low": 0.5, "medium": 0.25, "high": 0.125}
"""Confidence -> standard deviation, in the unit cube, of the normal around a prior."""
ODDS = {"low": 2.0, "medium": 4.0, "high": 6.0}
"""Confidence -> how many times as often as any other choice the prior of a `Categorical` is drawn."""


class Parameter(
    msgspec.Struct, frozen=True, tag_field="type", tag=str.lower, omit_defaults=True, repr_omit_defaults=True
):
    """What all parameters are: a map from [0, 1] to values and back.

    `when` holds the values of other parameters under which this one exists; None if it always does.
    """

    @property
    def condition(self) -> dict[str, list[Any]]:
        """`when` as lists of values; empty if there is no condition."""
        return getattr(self, "when", None) or {}

    def decode(self, u: float) -> Any:
        """The value at `u` in [0, 1]."""
        raise AssertionError("abstract")

    def encode(self, value: Any) -> float:
        """The place of `value` in [0, 1]."""
        raise AssertionError("abstract")

    def cell(self, value: Any) -> tuple[float, float]:
        """The part of [0, 1] that is decoded to `value`, from left to right; one point where there is a continuum."""
        raise AssertionError("abstract")

    def wrong(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        raise AssertionError("abstract")

    def quantile(self, u: float) -> float:
        """The place in [0, 1] that a `u` drawn uniformly stands for under the prior; `u` without a prior."""
        if (normal := self._normal) is None:
            return u
        below = _mass(normal, -math.inf, 0.0)
        share = below + u * _mass(normal, 0.0, 1.0)
        inside = min(max(share, sys.float_info.min), 1 - sys.float_info.epsilon)  # inv_cdf wants neither 0 nor 1
        return min(max(normal.inv_cdf(inside), 0.0), 1.0)

    def log_density(self, value: Any) -> float:
        """The logarithm of how many times as likely `value` is under the prior as under no prior; 0 without one."""
        if (normal := self._normal) is None:
            return 0.0
        left, right = self.cell(value)
        density = normal.pdf(left) if left == right else _mass(normal, left, right) / (right - left)
        return math.log(max(density, sys.float_info.min)) - math.log(_mass(normal, 0.0, 1.0))

    @property
    def _normal(self) -> NormalDist | None:
        """The normal around the prior, before it is cut to [0, 1]."""
        prior: Any = getattr(self, "prior", None)
        confidence: Any = getattr(self, "confidence", None)
        return None if prior is None else NormalDist(self.encode(prior), SPREADS.get(confidence, confidence))

    def _check_prior(self, prior: Any, confidence: str | float) -> None:
        if prior is None:
            if confidence != "medium":
                raise InputError(f"confidence={confidence!r} is that of a prior; give prior= as well")
            return
        if (wrong := self.wrong(prior)) is not None:
            raise InputError(f"prior {wrong}, not {prior!r}")
        if not isinstance(confidence, str):
            confidence = real(confidence, "confidence")
        if confidence not in SPREADS if isinstance(confidence, str) else confidence <= 0:
            raise InputError(
                "confidence must be 'low', 'medium', 'high' or a standard deviation above 0 in the unit cube, "
                f"not {confidence!r}"
            )
        self._set(prior=prior, confidence=confidence)

    def _set(self, **fields: object) -> None:
        """Normalise fields while the struct is being made; it is frozen from then on."""
        for name, value in fields.items():
            msgspec.structs.force_setattr(self, name, value)

    def _check_when(self, when: object) -> None:
        if when is None:
            return
        if not isinstance(when, Mapping) or not when:
            raise InputError(f"when= must be a dict like {{'optimizer': 'sgd'}}, not {when!r}")
        lists = {
            parent: plain(values if isinstance(values, (list, tuple)) else [values], "when=")
            for parent, values in when.items()
        }
        self._set(when=lists)


def _mass(normal: NormalDist, left: float, right: float) -> float:
    """What of `normal` lies between `left` and `right`; by its lower tail, where floats are dense."""
    if left > normal.mean:
        left, right = 2 * normal.mean - right, 2 * normal.mean - left
    unit = normal.stdev * math.sqrt(2)
    return 0.5 * (math.erfc((normal.mean - right) / unit) - math.erfc((normal.mean - left) / unit))


def _check_bounds(low: float, high: float, log: bool) -> None:
    flag(log, "log")
    if low > high:
        raise InputError(f"low={low!r} is above high={high!r}; swap them?")
    if log and low <= 0:
        raise InputError(f"log=True needs low > 0, not low={low!r}; use a small positive number or log=False")


class Float(Parameter, frozen=True):
    """A real number in [low, high], uniform, or uniform in its logarithm with `log=True`.

    With `step` only low, low + step, … ≤ high are drawn (not together with `log`). `when` makes it
    conditional: `when={"optimizer": "sgd"}` or `when={"optimizer": ["sgd", "adam"]}`.

    `prior` is the value that you expect to be good: values are then drawn from a normal around it, cut to the
    bounds, in the logarithm with `log=True`. `confidence` is its standard deviation as a share of the range:
    "low" is 0.5, "medium" 0.25, "high" 0.125, or a number.

    >>> round(Float(1e-4, 1e-2, log=True).decode(0.5), 9)
    0.001
    >>> round(Float(0, 1, prior=0.9, confidence="high").quantile(0.5), 3)
    0.866
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    when: dict[str, Any] | None = None
    prior: float | None = None
    confidence: str | float = "medium"

    def __post_init__(self) -> None:
        low, high = real(self.low, "low"), real(self.high, "high")
        self._set(low=low, high=high)
        _check_bounds(low, high, self.log)
        if self.step is not None:
            step = real(self.step, "step")
            if step <= 0 or self.log:
                raise InputError(f"step must be above 0 and without log=True, not step={step!r}, log={self.log}")
            self._set(step=step)
        self._check_when(self.when)
        self._check_prior(None if self.prior is None else real(self.prior, "prior"), self.confidence)

    def decode(self, u: float) -> float:
        """The value at `u` in [0, 1]."""
        if self.step is not None:
            count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
            value = float(f"{self.low + min(int(u * count), count - 1) * self.step:.12g}")
        elif self.log:
            value = math.exp(math.log(self.low) + u * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + u * (self.high - self.low)
        return min(max(value, self.low), self.high)  # rounding may step over an end

    def encode(self, value: float) -> float:
        """The place of `value` in [0, 1]; the middle of its cell where there is a step."""
        if self.low == self.high:
            return 0.5
        if self.step is not None:
            count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
            return (round((value - self.low) / self.step) + 0.5) / count
        if self.log:
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (value - self.low) / (self.high - self.low)

    def cell(self, value: float) -> tuple[float, float]:
        """The part of [0, 1] that is decoded to `value`; one point without a step."""
        if self.low == self.high:
            return 0.0, 1.0
        at = self.encode(value)
        if self.step is None:
            return at, at
        half = 0.5 / (math.floor((self.high - self.low) / self.step + 1e-9) + 1)
        return at - half, at + half

    def wrong(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return f"wants a number from {self.low!r} to {self.high!r}"
        return None


class Integer(Parameter, frozen=True):
    """A whole number in [low, high], both included; `log`, `step`, `when`, `prior`, `confidence` as for `Float`.

    >>> [Integer(1, 4).decode(u) for u in (0.0, 0.3, 0.6, 1.0)]
    [1, 2, 3, 4]
    """

    low: int
    high: int
    log: bool = False
    step: int = 1
    when: dict[str, Any] | None = None
    prior: int | None = None
    confidence: str | float = "medium"

    def __post_init__(self) -> None:
        low, high, step = whole(self.low, "low"), whole(self.high, "high"), whole(self.step, "step")
        self._set(low=low, high=high, step=step)
        _check_bounds(low, high, self.log)
        if max(abs(low), abs(high)) > LARGEST:
            raise InputError(f"whole numbers beyond ±2**53 are not supported, got {low!r} to {high!r}")
        if step < 1 or (self.log and step != 1):
            raise InputError(f"step must be 1 or more, and 1 with log=True, not step={step!r}, log={self.log}")
        self._check_when(self.when)
        self._check_prior(None if self.prior is None else whole(self.prior, "prior"), self.confidence)

    def decode(self, u: float) -> int:
        """The value at `u` in [0, 1]."""
        if self.log:  # as wide cells as the linear case has: [low - 1/2, high + 1/2]
            bottom, top = math.log(self.low - 0.5), math.log(self.high + 0.5)
            value = round(math.exp(bottom + u * (top - bottom)))
        else:
            count = (self.high - self.low) // self.step + 1
            value = self.low + min(int(u * count), count - 1) * self.step
        return min(max(value, self.low), self.high)

    def encode(self, value: float) -> float:
        """The place of `value` in [0, 1]: the middle of its cell, with `log=True` in the logarithm of `value`."""
        if self.log:
            bottom, top = math.log(self.low - 0.5), math.log(self.high + 0.5)
            return (math.log(value) - bottom) / (top - bottom)
        count = (self.high - self.low) // self.step + 1
        return ((value - self.low) // self.step + 0.5) / count

    def cell(self, value: int) -> tuple[float, float]:
        """The part of [0, 1] that is decoded to `value`."""
        if self.log:
            return self.encode(value - 0.5), self.encode(value + 0.5)
        at, half = self.encode(value), 0.5 / ((self.high - self.low) // self.step + 1)
        return at - half, at + half

    def wrong(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            return f"wants a whole number from {self.low} to {self.high}"
        return None


class _Choice(Parameter, frozen=True):
    """What `Categorical` and `Ordinal` share."""

    choices: Sequence[Any]
    when: dict[str, Any] | None = None
    prior: Any = None
    confidence: str | float = "medium"

    def __post_init__(self) -> None:
        if isinstance(self.choices, str) or not isinstance(self.choices, Sequence | np.ndarray):
            raise InputError(f"choices must be a list, not {self.choices!r}")
        choices = plain(list(self.choices), "a choice")
        if not choices:
            raise InputError("choices is empty; give at least one")
        for i, choice in enumerate(choices):
            if any(same(choice, earlier) for earlier in choices[:i]):
                raise InputError(f"choices holds {choice!r} twice")
        self._set(choices=choices)
        self._check_when(self.when)
        self._check_prior(plain(self.prior, "prior"), self.confidence)

    def decode(self, u: float) -> Any:
        """The choice at `u` in [0, 1]."""
        return self.choices[min(int(u * len(self.choices)), len(self.choices) - 1)]

    def encode(self, value: Any) -> float:
        """The middle of the cell of `value` in [0, 1]."""
        place = next(i for i, choice in enumerate(self.choices) if same(choice, value))
        return (place + 0.5) / len(self.choices)

    def cell(self, value: Any) -> tuple[float, float]:
        """The part of [0, 1] that is decoded to `value`."""
        at, half = self.encode(value), 0.5 / len(self.choices)
        return at - half, at + half

    def wrong(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        if not any(same(choice, value) for choice in self.choices):
            return f"wants one of {', '.join(map(repr, self.choices))}"
        return None


class Categorical(_Choice, frozen=True):
    """One of `choices`, which have no order. Choices are plain JSON values; tuples become lists.

    `prior` is the choice that you expect to be good: it is drawn 2, 4 or 6 times as often as any other, for
    `confidence` "low", "medium" or "high". `weights`, one a choice, say the same in full.

    >>> Categorical(["relu", "gelu"]).decode(0.7)
    'gelu'
    >>> round(math.exp(Categorical(["sgd", "adam", "lion"], prior="adam").log_density("adam")), 9)
    2.0
    """

    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.confidence, str):
            raise InputError(f"a Categorical's confidence is 'low', 'medium' or 'high', not {self.confidence!r}")
        if self.weights is None:
            return
        if self.prior is not None:
            raise InputError("prior and weights both say what to expect; give one of them")
        weights = plain(list(self.weights) if isinstance(self.weights, np.ndarray) else self.weights, "weights")
        if not isinstance(weights, list) or len(weights) != len(self.choices):
            raise InputError(f"weights must be a list of {len(self.choices)} numbers, one a choice, not {weights!r}")
        self._set(weights=[real(weight, "a weight") for weight in weights])
        if min(self.weights) <= 0:
            raise InputError(f"weights must be above 0, not {min(self.weights)!r}; leave such a choice out?")

    @property
    def _shares(self) -> list[float] | None:
        """How often each choice is drawn; None if all are alike."""
        weights = self.weights
        if weights is None and self.prior is not None:
            odds = ODDS[str(self.confidence)]
            weights = [odds if same(choice, self.prior) else 1.0 for choice in self.choices]
        return None if weights is None else [weight / math.fsum(weights) for weight in weights]

    def quantile(self, u: float) -> float:
        """The place in [0, 1] that a `u` drawn uniformly stands for under the prior."""
        if (shares := self._shares) is None:
            return u
        place = 0
        while place < len(shares) - 1 and u >= shares[place]:
            u -= shares[place]
            place += 1
        return (place + min(u / shares[place], 1.0)) / len(shares)

    def log_density(self, value: Any) -> float:
        """The logarithm of how many times as likely `value` is under the prior as under no prior."""
        if (shares := self._shares) is None:
            return 0.0
        return math.log(shares[int(self.encode(value) * len(shares))] * len(shares))


class Ordinal(_Choice, frozen=True):
    """One of `choices`, which stand in order: a model may learn that neighbours are alike.

    `prior` and `confidence` as for `Float`, the choices being spread evenly.

    >>> Ordinal([16, 32, 64]).encode(32)
    0.5
    """


class Space(Mapping[str, Parameter]):
    """Named parameters, some of which may exist only for certain values of others (`when=`).

    `forbidden` lists what may not come together: a configuration is forbidden if, for one of these dicts, each
    parameter named exists and has the value given, or one of the list of values given.

    >>> space = Space({"opt": Categorical(["sgd", "adam"]), "momentum": Float(0, 1, when={"opt": "sgd"})})
    >>> space.decode([0.9, 0.5])
    {'opt': 'adam'}
    >>> Space.from_json(space.to_json()) == space
    True
    >>> space = Space({"depth": Integer(1, 9), "width": Integer(1, 9)}, forbidden=[{"depth": [8, 9], "width": 9}])
    >>> space.allows({"depth": 8, "width": 9}), space.allows({"depth": 8, "width": 7})
    (False, True)

    Raises `InputError` for a parameter that is none, a name that cannot be used, a condition or a forbidden
    clause on a name or a value that does not exist, conditions in a circle, and if nothing, or next to
    nothing, is allowed.
    """

    KINDS: ClassVar[tuple[type[Parameter], ...]] = (Float, Integer, Categorical, Ordinal)

    def __init__(
        self, parameters: Mapping[str, Parameter], forbidden: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        if not isinstance(forbidden, (list, tuple, type(None))):
            raise InputError(f"forbidden= must be a list of dicts like {{'optimizer': 'sgd'}}, not {forbidden!r}")
        if isinstance(parameters, Space):
            forbidden = [*parameters.forbidden, *(forbidden or [])]
            parameters = parameters._parameters
        if not isinstance(parameters, Mapping):
            raise InputError(f"a space is a dict of names and parameters, not {parameters!r}")
        self._parameters: dict[str, Parameter] = dict(parameters)
        if not self._parameters:
            raise InputError("the space is empty; give it at least one parameter")
        for name, parameter in self._parameters.items():
            self._check(name, parameter)
        try:
            parents = {name: list(p.condition) for name, p in self._parameters.items()}
            self._order = list(graphlib.TopologicalSorter(parents).static_order())
        except graphlib.CycleError as error:
            raise InputError(f"the conditions run in a circle: {' -> '.join(error.args[1])}") from None
        self._conditions = {name: self._terms(p.condition) for name, p in self._parameters.items()}
        self.forbidden: list[dict[str, list[Any]]] = [self._clause(clause) for clause in forbidden or []]
        self._never = [self._terms(clause) for clause in self.forbidden]
        if self._never:
            Space.sample(self, np.random.default_rng(0))  # raises if nothing is allowed

    def _check(self, name: object, parameter: object) -> None:
        if not isinstance(name, str) or not name or not name.isprintable() or len(name) > 200:
            raise InputError(f"a parameter's name must be printable text of 1 to 200 characters, not {name!r:.60}")
        if not isinstance(parameter, self.KINDS):
            raise InputError(
                f"{name!r} must be a Float, Integer, Categorical or Ordinal, not {parameter!r:.80}"
                + ("; did you mean rw.Categorical([...])?" if isinstance(parameter, (list, tuple)) else "")
            )
        for parent, values in parameter.condition.items():
            if parent not in self._parameters:
                raise InputError(f"{name!r} depends on {parent!r}, which is unknown{suggestion(parent, self)}")
            above = self._parameters[parent]
            if isinstance(above, Float):
                raise InputError(f"{name!r} depends on {parent!r}, a Float; conditions need countable values")
            for value in values:
                if (wrong := above.wrong(value)) is not None:
                    raise InputError(f"{name!r} exists when {parent!r} is {value!r}, but {parent!r} {wrong}")

    def _clause(self, clause: object) -> dict[str, list[Any]]:
        if not isinstance(clause, Mapping) or not clause:
            raise InputError(f"what is forbidden must be a dict like {{'optimizer': 'sgd'}}, not {clause!r}")
        lists: dict[str, list[Any]] = {}
        for name, values in clause.items():
            if name not in self._parameters:
                raise InputError(f"{clause!r} forbids {name!r}, which is unknown{suggestion(str(name), self)}")
            lists[name] = plain(values if isinstance(values, (list, tuple)) else [values], "forbidden=")
            if not lists[name]:
                raise InputError(f"{clause!r} forbids no value of {name!r}; name one, or leave {name!r} out")
            for value in lists[name]:
                if (wrong := self[name].wrong(value)) is not None:
                    raise InputError(f"{clause!r} forbids a value that cannot be: {name!r} {wrong}, not {value!r}")
        return lists

    def _terms(self, values: Mapping[str, Iterable[Any]]) -> dict[str, frozenset[str]]:
        """Names and values as `_holds` looks for them."""
        return {name: frozenset(self._text(name, value) for value in of) for name, of in values.items()}

    def _text(self, name: str, value: Any) -> str:
        """What two values share if they are the same: their JSON, save that 1 is 1.0 for a `Float`."""
        return json.dumps(float(value) if isinstance(self[name], Float) else value, sort_keys=True)

    def _holds(self, terms: Mapping[str, frozenset[str]], config: Mapping[str, Any]) -> bool:
        """Whether each parameter named in `terms` exists in `config` and has one of the values there."""
        return all(name in config and self._text(name, config[name]) in texts for name, texts in terms.items())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return dict(self) == dict(other) and self.forbidden == getattr(other, "forbidden", [])

    def __getitem__(self, name: str) -> Parameter:
        return self._parameters[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def __repr__(self) -> str:
        return f"Space({self._parameters!r}{f', forbidden={self.forbidden!r}' if self.forbidden else ''})"

    def decode(self, point: ArrayLike) -> Values:
        """The configuration at `point`, an array of `len(space)` numbers in [0, 1] in our order.

        Coordinates of parameters that do not exist under the others' values are not looked at.
        """
        coordinates = dict(zip(self, np.asarray(point, dtype=float).tolist(), strict=True))
        config: Values = {}
        for name in self._order:
            if self._holds(self._conditions[name], config):
                config[name] = self._parameters[name].decode(coordinates[name])
        return {name: config[name] for name in self if name in config}

    def encode(self, config: Mapping[str, Any]) -> NDArray[np.float64]:
        """The point of `config`, shape (len(space),), in [0, 1]; 0.5 where a parameter does not exist."""
        return np.array([self[name].encode(config[name]) if name in config else 0.5 for name in self])

    def at_quantiles(self, point: ArrayLike) -> Values:
        """The configuration at `point`, shape (len(space),), in [0, 1], of the priors: `decode` without any."""
        quantiles = zip(self.values(), np.asarray(point, dtype=float).tolist(), strict=True)
        return self.decode([parameter.quantile(u) for parameter, u in quantiles])

    def sample(self, rng: np.random.Generator) -> Values:
        """An allowed configuration drawn from the priors; uniform in the cube without any.

        Draws until one is allowed; each try takes `len(space)` numbers from `rng`, so one try where nothing is
        forbidden. Raises `InputError` if none of 20,000 is allowed.
        """
        for _ in range(TRIES):
            config = self.at_quantiles(rng.random(len(self)))
            if self.allows(config):
                return config
        raise InputError(f"{TRIES:,} configurations were drawn and all are forbidden; forbid less")

    def allows(self, config: Mapping[str, Any]) -> bool:
        """Whether nothing forbids `config`, a point of the cube decoded."""
        return not any(self._holds(terms, config) for terms in self._never)

    def log_prior(self, config: Mapping[str, Any]) -> float:
        """The logarithm of the density of `config` under the priors relative to none; 0 without priors.

        It is the sum over the parameters that exist, and not rescaled for what is forbidden.
        """
        return sum((self[name].log_density(value) for name, value in config.items()), 0.0)

    def check(self, config: Mapping[str, Any]) -> Values:
        """`config` as plain values, or an `InputError` that names the value that is not in this space."""
        values: Values = plain(dict(config), "a configuration's value")
        for name in values:
            if name not in self:
                raise InputError(f"the configuration has {name!r}, the space has not{suggestion(name, self)}")
        for name in self._order:
            if not self._holds(self._conditions[name], values):
                if name in values:
                    raise InputError(f"{name!r} does not exist under these values: {self[name].condition}")
            elif name not in values:
                raise InputError(f"the configuration lacks {name!r}")
            elif (wrong := self[name].wrong(values[name])) is not None:
                raise InputError(f"{name!r} {wrong}, not {values[name]!r}")
        for clause, terms in zip(self.forbidden, self._never, strict=True):
            if self._holds(terms, values):
                raise InputError(f"the configuration is forbidden: {clause}")
        return values

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values: the parameters, or {"parameters": …, "forbidden": […]} if something is forbidden."""
        parameters = {name: msgspec.to_builtins(parameter) for name, parameter in self.items()}
        return {"parameters": parameters, "forbidden": self.forbidden} if self.forbidden else parameters

    def to_json(self) -> str:
        """As JSON text; `from_json` reads it back."""
        return json.dumps(self.to_dict())

    @staticmethod
    def from_dict(parameters: object) -> Space:
        """From plain JSON values, as a log, JSON or TOML file holds them: what `to_dict` gives.

        >>> Space.from_dict({"lr": {"type": "float", "low": 1e-4, "high": 0.1, "log": True}})["lr"].high
        0.1
        """
        forbidden = None
        if isinstance(parameters, Mapping) and isinstance(parameters.get("forbidden"), list):  # a parameter is a table
            if parameters.keys() != {"parameters", "forbidden"}:
                raise InputError('a space with something forbidden is {"parameters": {…}, "forbidden": […]}, no more')
            forbidden, parameters = parameters["forbidden"], parameters["parameters"]
        if not isinstance(parameters, Mapping):
            raise InputError(f"a space is a table of names and parameters, not {parameters!r}")
        return Space({name: _parameter(name, fields) for name, fields in parameters.items()}, forbidden)

    @staticmethod
    def from_json(text: str) -> Space:
        """From JSON text."""
        try:
            return Space.from_dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise InputError(f"the space is not JSON: {error}") from None


def _parameter(name: str, fields: object) -> Parameter:
    kinds = {kind.__name__.lower(): kind for kind in Space.KINDS}
    if not isinstance(fields, Mapping) or not isinstance(fields.get("type"), str):
        raise InputError(f'{name!r} must be a table like {{"type": "float", "low": 0, "high": 1}}, not {fields!r}')
    kind = kinds.get(fields["type"])
    if kind is None:
        raise InputError(f"{name!r} has the unknown type {fields['type']!r}{suggestion(fields['type'], kinds)}")
    known = kind.__struct_fields__
    for field in fields:
        if field != "type" and field not in known:
            raise InputError(f"{name!r} has the unknown field {field!r}{suggestion(field, known)}")
    try:
        return msgspec.convert(dict(fields), kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{name!r}: {error}") from None


def as_space(space: Space | Mapping[str, Any]) -> Space:
    """What a user gives as a space, as a `Space`; `foreign` says what else than our own parameters it may hold."""
    from rungwise import foreign  # which is made of what stands above

    return space if isinstance(space, Space) else foreign.as_ours(space)
