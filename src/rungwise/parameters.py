"""Which values may one parameter have? A map from [0, 1] to values and back, for each kind of parameter.

What a user expects (`prior=`) bends how [0, 1] is drawn from, never how it is decoded: a normal cut to [0, 1] around
the prior's place, or weights, as NePS and PriorBand have it (Mallik et al., NeurIPS 2023, section 4 and NePS's
`DEFAULT_CONFIDENCE_SCORES`). Imports `errors` and `validation`. Cells of networks are parameters too: `nas.cells`.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import Any, ClassVar

import msgspec
import numpy as np

from rungwise.errors import InputError
from rungwise.validation import LARGEST_INTEGER, as_text, flag, plain, real, same, whole

_SCALARS = (str, int, bool, type(None))  # of which those that are equal are the same; 0.0 and -0.0 are not
SPREADS = {"low": 0.5, "medium": 0.25, "high": 0.125}
"""Confidence -> standard deviation, in the unit cube, of the normal around a prior."""
ODDS = {"low": 2.0, "medium": 4.0, "high": 6.0}
"""Confidence -> how many times as often as any other choice the prior of a `Categorical` is drawn."""


class Axis(msgspec.Struct, frozen=True):
    """One number that describes a part of a value, for searchers that work on numbers.

    It is either the index of one of `choices` unordered choices, from 0, or a number from `low` to `high`.
    """

    low: float = 0.0
    high: float = 1.0
    log: bool = False
    step: float | None = None
    whole: bool = False
    choices: int | None = None


class Parameter(
    msgspec.Struct, frozen=True, tag_field="type", tag=str.lower, omit_defaults=True, repr_omit_defaults=True
):
    """The base class of parameters: a map from [0, 1] to values and back.

    `when` holds the values of other parameters for which this one is active; None if it always is. `countable` says
    whether its values are discrete, so that other parameters may depend on them. `has_synonyms` says whether a value
    can be written in several ways; see `normal`.

    To make your own kind, write a subclass with `decode`, `encode`, `interval`, and `wrong`; the rest has defaults. Its
    fields are stored in the study's file, so they must be plain JSON. To resume a study, its class must be importable
    by its name.
    """

    countable: ClassVar[bool] = True
    has_synonyms: ClassVar[bool] = False

    @property
    def condition(self) -> dict[str, list[Any]]:
        """`when` as lists of values; empty if there is no condition."""
        return getattr(self, "when", None) or {}

    def decode(self, u: float) -> Any:
        """The value at `u` in [0, 1]."""
        raise AssertionError("abstract")

    def encode(self, value: Any) -> float:
        """The position of `value` in [0, 1]."""
        raise AssertionError("abstract")

    def interval(self, value: Any) -> tuple[float, float]:
        """The part of [0, 1] that decodes to `value`, as (left, right); a single point for continuous values.

        A `Cell` can be written in several ways; this is the part for the one given.
        """
        raise AssertionError("abstract")

    def features(self, value: Any) -> list[float]:
        """Features of `value` for a model: numbers in [0, 1], as many for every value, close for similar values."""
        return [self.encode(value)]

    def normal(self, value: Any) -> Any:
        """The canonical form of a valid `value`, if there are several ways to write it."""
        return value

    def key(self, value: Any) -> str:
        """A key that two values share if, and only if, they are the same."""
        return as_text(self.normal(value))

    def listed(self, points: int) -> list[float]:
        """The positions in [0, 1] of a grid's values, left to right: `points` of them, or all if there are fewer."""
        return [0.5] if points == 1 else np.linspace(0, 1, points).tolist()

    def axes(self) -> dict[str, Axis]:
        """The numbers that together describe a value, by name; "" if there is only one."""
        return {"": Axis()}

    def to_axes(self, value: Any) -> list[Any]:
        """`value` as one number for each of the `axes`."""
        return [self.encode(value)]

    def from_axes(self, numbers: Sequence[Any]) -> Any:
        """The value that these numbers describe."""
        return self.decode(numbers[0])

    def surely(self) -> Callable[[Any], bool]:
        """A quick test of whether a value is valid; if it says False, `wrong` is asked."""
        return lambda value: False

    def neighbor(self, value: Any, rng: np.random.Generator) -> Any:
        """Another value near `value`, for evolution; None if a newly drawn one does as well."""
        return None

    def wrong(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        raise AssertionError("abstract")

    def quantile(self, u: float) -> float:
        """The position in [0, 1] at quantile `u` of the prior; `u` itself without a prior."""
        if (normal := self._normal) is None:
            return u
        below = _mass(normal, -math.inf, 0.0)
        share = below + u * _mass(normal, 0.0, 1.0)
        inside = min(max(share, sys.float_info.min), 1 - sys.float_info.epsilon)  # inv_cdf wants neither 0 nor 1
        return min(max(normal.inv_cdf(inside), 0.0), 1.0)

    def log_density(self, value: Any) -> float:
        """The log of how many times as likely `value` is with the prior as without; 0 if there is none."""
        if (normal := self._normal) is None:
            return 0.0
        left, right = self.interval(value)
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
                raise InputError(f"confidence={confidence!r} needs a prior; give prior= as well")
            return
        if (wrong := self.wrong(prior)) is not None:
            raise InputError(f"prior {wrong}, not {prior!r}")
        if not isinstance(confidence, str):
            confidence = real(confidence, "confidence")
        if confidence not in SPREADS if isinstance(confidence, str) else confidence <= 0:
            raise InputError(
                "confidence must be 'low', 'medium', 'high', or a standard deviation above 0 as a share of the range, "
                f"not {confidence!r}"
            )
        self._set(prior=prior, confidence=confidence)

    def _set(self, **fields: object) -> None:
        """Normalize fields while the struct is being made; it is frozen from then on."""
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
        meant = "" if log and high <= 0 else "; swap them?"
        raise InputError(f"low={low!r} is above high={high!r}{meant}")
    if log and low <= 0:
        raise InputError(f"log=True needs low > 0, not low={low!r}; use a small positive number or log=False")


class Float(Parameter, frozen=True):
    """A real number in [`low`, `high`], drawn uniformly, or with `log=True` uniformly in its logarithm.

    With `step` only low, low + step, … ≤ high are drawn (not together with `log`). `when` makes the parameter
    conditional: `when={"optimizer": "sgd"}` or `when={"optimizer": ["sgd", "adam"]}`.

    `prior` is a value that you expect to be good: values are then drawn from a normal distribution around it, truncated
    to the bounds (of the logarithm, with `log=True`). `confidence` is its standard deviation as a share of the range:
    "low" is 0.5, "medium" 0.25, "high" 0.125; or give a number.

    >>> round(Float(1e-4, 1e-2, log=True).decode(0.5), 9)
    0.001
    >>> round(Float(0, 1, prior=0.9, confidence="high").quantile(0.5), 3)
    0.866
    """

    countable: ClassVar[bool] = False

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
        """The position of `value` in [0, 1]; the middle of its cell if there is a step."""
        if self.low == self.high:
            return 0.5
        if self.step is not None:
            count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
            return (round((value - self.low) / self.step) + 0.5) / count
        if self.log:
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (value - self.low) / (self.high - self.low)

    def interval(self, value: float) -> tuple[float, float]:
        """The part of [0, 1] that decodes to `value`; a single point without a step."""
        if self.low == self.high:
            return 0.0, 1.0
        at = self.encode(value)
        if self.step is None:
            return at, at
        half = 0.5 / (math.floor((self.high - self.low) / self.step + 1e-9) + 1)
        return at - half, at + half

    def key(self, value: Any) -> str:
        """A key that equal values share: 1 is 1.0 here."""
        return as_text(float(value))

    def listed(self, points: int) -> list[float]:
        """`points` places from low to high, or all if there are no more than that."""
        if self.step is not None:
            count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
            if count <= points:
                return [(place + 0.5) / count for place in range(count)]
        return super().listed(points)

    def axes(self) -> dict[str, Axis]:
        """One, from low to the last value that `step` comes to."""
        return {"": Axis(self.low, self.decode(1.0), self.log, self.step)}

    def to_axes(self, value: Any) -> list[Any]:
        """The value itself."""
        return [value]

    def from_axes(self, numbers: Sequence[Any]) -> Any:
        """The number itself."""
        return numbers[0]

    def surely(self) -> Callable[[Any], bool]:
        """Whether it is a float in the range."""
        low, high = self.low, self.high
        return lambda value: type(value) is float and low <= value <= high

    def wrong(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return f"wants a number from {self.low!r} to {self.high!r}"
        return None


class Integer(Parameter, frozen=True):
    """A whole number in [`low`, `high`], both included; `log`, `step`, `when`, `prior`, `confidence` as for `Float`.

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
        if max(abs(low), abs(high)) > LARGEST_INTEGER:
            raise InputError(f"whole numbers beyond ±2**53 are not supported; got {low!r} to {high!r}")
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
        """The position of `value` in [0, 1]: the middle of its cell, in the logarithm with `log=True`."""
        if self.log:
            bottom, top = math.log(self.low - 0.5), math.log(self.high + 0.5)
            return (math.log(value) - bottom) / (top - bottom)
        count = (self.high - self.low) // self.step + 1
        return ((value - self.low) // self.step + 0.5) / count

    def interval(self, value: int) -> tuple[float, float]:
        """The part of [0, 1] that is decoded to `value`."""
        if self.log:
            return self.encode(value - 0.5), self.encode(value + 0.5)
        at, half = self.encode(value), 0.5 / ((self.high - self.low) // self.step + 1)
        return at - half, at + half

    def listed(self, points: int) -> list[float]:
        """`points` places from low to high, or all values if there are no more than that."""
        values = range(self.low, self.high + 1, self.step)
        return [self.encode(value) for value in values] if len(values) <= points else super().listed(points)

    def axes(self) -> dict[str, Axis]:
        """One, from low to the last value that `step` comes to."""
        return {"": Axis(self.low, self.decode(1.0), self.log, self.step, whole=True)}

    def to_axes(self, value: Any) -> list[Any]:
        """The value itself."""
        return [value]

    def from_axes(self, numbers: Sequence[Any]) -> Any:
        """The number itself."""
        return numbers[0]

    def surely(self) -> Callable[[Any], bool]:
        """Whether it is an int in the range."""
        low, high = self.low, self.high
        return lambda value: type(value) is int and low <= value <= high

    def wrong(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            return f"wants a whole number from {self.low} to {self.high}"
        return None


class _Choice(Parameter, frozen=True, dict=True):
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
        self._set(choices=choices)
        for place, choice in enumerate(choices):
            if self._places[as_text(choice)] != place:
                raise InputError(f"choices holds {choice!r} twice")
        self._check_when(self.when)
        self._check_prior(plain(self.prior, "prior"), self.confidence)

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        """The place of each choice, by what is the same for equal values."""
        return {as_text(choice): place for place, choice in enumerate(self.choices)}

    def decode(self, u: float) -> Any:
        """The choice at `u` in [0, 1]."""
        return self.choices[min(int(u * len(self.choices)), len(self.choices) - 1)]

    def encode(self, value: Any) -> float:
        """The middle of the cell of `value` in [0, 1]."""
        return (self._places[as_text(value)] + 0.5) / len(self.choices)

    def interval(self, value: Any) -> tuple[float, float]:
        """The part of [0, 1] that is decoded to `value`."""
        at, half = self.encode(value), 0.5 / len(self.choices)
        return at - half, at + half

    def listed(self, points: int) -> list[float]:
        """All choices."""
        return [self.encode(choice) for choice in self.choices]

    def to_axes(self, value: Any) -> list[Any]:
        """The place of the choice."""
        return [self._places[as_text(value)]]

    def from_axes(self, numbers: Sequence[Any]) -> Any:
        """The choice at that place."""
        return self.choices[numbers[0]]

    def surely(self) -> Callable[[Any], bool]:
        """Whether it is one of those choices that are no lists, dicts or floats."""
        scalars = {(type(choice), choice) for choice in self.choices if type(choice) in _SCALARS}
        return lambda value: type(value) in _SCALARS and (type(value), value) in scalars

    def wrong(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        if as_text(value) not in self._places:
            return f"wants one of {', '.join(map(repr, self.choices))}"
        return None


class Categorical(_Choice, frozen=True):
    """One of `choices`, which have no order. Choices are plain JSON values; tuples become lists.

    `prior` is the choice that you expect to be good: it is drawn 2, 4, or 6 times as often as any other, with
    `confidence` "low", "medium", or "high". `weights`, one per choice, let you set every frequency.

    >>> Categorical(["relu", "gelu"]).decode(0.7)
    'gelu'
    >>> round(math.exp(Categorical(["sgd", "adam", "lion"], prior="adam").log_density("adam")), 9)
    2.0
    """

    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.confidence, str):
            raise InputError(f"a Categorical's confidence must be 'low', 'medium', or 'high', not {self.confidence!r}")
        if self.weights is None:
            return
        if self.prior is not None:
            raise InputError("give either prior= or weights=, not both")
        weights = plain(list(self.weights) if isinstance(self.weights, np.ndarray) else self.weights, "weights")
        if not isinstance(weights, list) or len(weights) != len(self.choices):
            raise InputError(f"weights must be a list of {len(self.choices)} numbers, one per choice, not {weights!r}")
        self._set(weights=[real(weight, "a weight") for weight in weights])
        if min(self.weights) <= 0:
            raise InputError(f"weights must be above 0, not {min(self.weights)!r}; leave that choice out?")

    def axes(self) -> dict[str, Axis]:
        """One, with as many choices as there are."""
        return {"": Axis(choices=len(self.choices))}

    def features(self, value: Any) -> list[float]:
        """One-hot: a number for each choice, 1 for `value`; for two choices only that of the second."""
        return [float(same(choice, value)) for choice in self.choices][len(self.choices) == 2 :]

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
    """One of `choices`, which are in order: a model can learn that neighbors are similar.

    `prior` and `confidence` work as for `Float`, with the choices spread evenly over the range.

    >>> Ordinal([16, 32, 64]).encode(32)
    0.5
    """

    def axes(self) -> dict[str, Axis]:
        """One, of their places in order."""
        return {"": Axis(0, len(self.choices) - 1, whole=True)}
