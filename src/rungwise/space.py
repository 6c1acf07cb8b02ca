"""Which configurations are there? Parameters, spaces of them, and the unit cube they are drawn from.

A space is a mapping of names to `Float`, `Integer`, `Categorical` or `Ordinal`. Every configuration is
a point of the unit cube, decoded; so a searcher that knows only numbers can search any space.
Imports `names` and `values` only.
"""

from __future__ import annotations

import graphlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
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


class Parameter(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower, omit_defaults=True):
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

    def wrong(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        raise AssertionError("abstract")

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

    >>> round(Float(1e-4, 1e-2, log=True).decode(0.5), 9)
    0.001
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    when: dict[str, Any] | None = None

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

    def wrong(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return f"wants a number from {self.low!r} to {self.high!r}"
        return None


class Integer(Parameter, frozen=True):
    """A whole number in [low, high], both included; `log`, `step` and `when` as for `Float`.

    >>> [Integer(1, 4).decode(u) for u in (0.0, 0.3, 0.6, 1.0)]
    [1, 2, 3, 4]
    """

    low: int
    high: int
    log: bool = False
    step: int = 1
    when: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        low, high, step = whole(self.low, "low"), whole(self.high, "high"), whole(self.step, "step")
        self._set(low=low, high=high, step=step)
        _check_bounds(low, high, self.log)
        if max(abs(low), abs(high)) > LARGEST:
            raise InputError(f"whole numbers beyond ±2**53 are not supported, got {low!r} to {high!r}")
        if step < 1 or (self.log and step != 1):
            raise InputError(f"step must be 1 or more, and 1 with log=True, not step={step!r}, log={self.log}")
        self._check_when(self.when)

    def decode(self, u: float) -> int:
        """The value at `u` in [0, 1]."""
        if self.log:  # as wide cells as the linear case has: [low - 1/2, high + 1/2]
            bottom, top = math.log(self.low - 0.5), math.log(self.high + 0.5)
            value = round(math.exp(bottom + u * (top - bottom)))
        else:
            count = (self.high - self.low) // self.step + 1
            value = self.low + min(int(u * count), count - 1) * self.step
        return min(max(value, self.low), self.high)

    def encode(self, value: int) -> float:
        """The middle of the cell of `value` in [0, 1]."""
        if self.log:
            bottom, top = math.log(self.low - 0.5), math.log(self.high + 0.5)
            return (math.log(value) - bottom) / (top - bottom)
        count = (self.high - self.low) // self.step + 1
        return ((value - self.low) // self.step + 0.5) / count

    def wrong(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            return f"wants a whole number from {self.low} to {self.high}"
        return None


class _Choice(Parameter, frozen=True):
    """What `Categorical` and `Ordinal` share."""

    choices: Sequence[Any]
    when: dict[str, Any] | None = None

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

    def decode(self, u: float) -> Any:
        """The choice at `u` in [0, 1]."""
        return self.choices[min(int(u * len(self.choices)), len(self.choices) - 1)]

    def encode(self, value: Any) -> float:
        """The middle of the cell of `value` in [0, 1]."""
        place = next(i for i, choice in enumerate(self.choices) if same(choice, value))
        return (place + 0.5) / len(self.choices)

    def wrong(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        if not any(same(choice, value) for choice in self.choices):
            return f"wants one of {', '.join(map(repr, self.choices))}"
        return None


class Categorical(_Choice, frozen=True):
    """One of `choices`, which have no order. Choices are plain JSON values; tuples become lists.

    >>> Categorical(["relu", "gelu"]).decode(0.7)
    'gelu'
    """


class Ordinal(_Choice, frozen=True):
    """One of `choices`, which stand in order: a model may learn that neighbours are alike.

    >>> Ordinal([16, 32, 64]).encode(32)
    0.5
    """


class Space(Mapping[str, Parameter]):
    """Named parameters, some of which may exist only for certain values of others (`when=`).

    >>> space = Space({"opt": Categorical(["sgd", "adam"]), "momentum": Float(0, 1, when={"opt": "sgd"})})
    >>> space.decode([0.9, 0.5])
    {'opt': 'adam'}
    >>> Space.from_json(space.to_json()) == space
    True

    Raises `InputError` for a parameter that is none, a name that cannot be used, a condition on a name
    or a value that does not exist, and conditions in a circle.
    """

    KINDS: ClassVar[tuple[type[Parameter], ...]] = (Float, Integer, Categorical, Ordinal)

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        if isinstance(parameters, Space):
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

    def __getitem__(self, name: str) -> Parameter:
        return self._parameters[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def __repr__(self) -> str:
        return f"Space({self._parameters!r})"

    def _exists(self, name: str, config: Mapping[str, Any]) -> bool:
        when = self._parameters[name].condition
        return all(
            parent in config and any(same(config[parent], value) for value in values) for parent, values in when.items()
        )

    def decode(self, point: ArrayLike) -> Values:
        """The configuration at `point`, an array of `len(space)` numbers in [0, 1] in our order.

        Coordinates of parameters that do not exist under the others' values are not looked at.
        """
        coordinates = dict(zip(self, np.asarray(point, dtype=float).tolist(), strict=True))
        config: Values = {}
        for name in self._order:
            if self._exists(name, config):
                config[name] = self._parameters[name].decode(coordinates[name])
        return {name: config[name] for name in self if name in config}

    def encode(self, config: Mapping[str, Any]) -> NDArray[np.float64]:
        """The point of `config`, shape (len(space),), in [0, 1]; 0.5 where a parameter does not exist."""
        return np.array([self[name].encode(config[name]) if name in config else 0.5 for name in self])

    def sample(self, rng: np.random.Generator) -> Values:
        """A configuration drawn at random; takes `len(space)` numbers from `rng`, always."""
        return self.decode(rng.random(len(self)))

    def allows(self, config: Mapping[str, Any]) -> bool:
        """Whether `config`, a point of the cube decoded, is one of this space."""
        return True

    def log_prior(self, config: Mapping[str, Any]) -> float:
        """The logarithm of the density of `config` under the users' priors; 0 without any."""
        return 0.0

    def check(self, config: Mapping[str, Any]) -> Values:
        """`config` as plain values, or an `InputError` that names the value that is not in this space."""
        values: Values = plain(dict(config), "a configuration's value")
        for name in values:
            if name not in self:
                raise InputError(f"the configuration has {name!r}, the space has not{suggestion(name, self)}")
        for name in self._order:
            if not self._exists(name, values):
                if name in values:
                    raise InputError(f"{name!r} does not exist under these values: {self[name].condition}")
            elif name not in values:
                raise InputError(f"the configuration lacks {name!r}")
            elif (wrong := self[name].wrong(values[name])) is not None:
                raise InputError(f"{name!r} {wrong}, not {values[name]!r}")
        return values

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {name: msgspec.to_builtins(parameter) for name, parameter in self.items()}

    def to_json(self) -> str:
        """As JSON text; `from_json` reads it back."""
        return json.dumps(self.to_dict())

    @staticmethod
    def from_dict(parameters: object) -> Space:
        """From plain JSON values, as a log, JSON or TOML file holds them.

        >>> Space.from_dict({"lr": {"type": "float", "low": 1e-4, "high": 0.1, "log": True}})["lr"].high
        0.1
        """
        if not isinstance(parameters, Mapping):
            raise InputError(f"a space is a table of names and parameters, not {parameters!r}")
        return Space({name: _parameter(name, fields) for name, fields in parameters.items()})

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


def as_space(space: Space | Mapping[str, Parameter]) -> Space:
    """What a user gives as a space, as a `Space`."""
    return space if isinstance(space, Space) else Space(space)
