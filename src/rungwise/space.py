"""Which configurations are there? Spaces of parameters, and the unit cube they are drawn from.

A space is a mapping of names to `Float`, `Integer`, `Categorical`, `Ordinal` or `Cell`. Every configuration is
a point of the unit cube, decoded; so a searcher that knows only numbers can search any space. Imports `errors`,
`validation`, `parameters` and `parts`.
"""

from __future__ import annotations

import functools
import graphlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from rungwise.errors import InputError, suggestion
from rungwise.parameters import Parameter
from rungwise.parts import Parts
from rungwise.validation import plain

Values = dict[str, Any]
Rng = Sequence[int] | np.random.Generator
"""What `numpy.random.default_rng` takes: a seed, or a generator, which it passes through."""

KINDS = Parts(
    "kind of parameter",
    "rungwise.parameters",
    {
        "float": "rungwise.parameters:Float",
        "integer": "rungwise.parameters:Integer",
        "categorical": "rungwise.parameters:Categorical",
        "ordinal": "rungwise.parameters:Ordinal",
        "cell": "rungwise.nas.cells:Cell",
    },
)
MOST = 10_000  # parameters
TRIES = 20_000  # draws before a space is taken to forbid everything


class Space(Mapping[str, Parameter]):
    """Named parameters, some of which may be active only for certain values of others (`when=`).

    `forbidden` lists combinations to exclude, as dicts. A configuration is forbidden if, for one of these dicts, every
    parameter in it is active and has the given value, or one of the given list of values.

    >>> from rungwise.parameters import Categorical, Float, Integer
    >>> space = Space({"opt": Categorical(["sgd", "adam"]), "momentum": Float(0, 1, when={"opt": "sgd"})})
    >>> space.decode([0.9, 0.5])
    {'opt': 'adam'}
    >>> Space.from_json(space.to_json()) == space
    True
    >>> space = Space({"depth": Integer(1, 9), "width": Integer(1, 9)}, forbidden=[{"depth": [8, 9], "width": 9}])
    >>> space.allows({"depth": 8, "width": 9}), space.allows({"depth": 8, "width": 7})
    (False, True)

    `parents_first` are the names, each after those on which it depends.

    With `tried=False` it is not checked, by drawing, whether anything is allowed: for spaces that are only looked at.

    Raises `InputError` for something that is not a parameter, an unusable name, a condition or a forbidden combination
    with an unknown name or value, circular conditions, more than 10,000 parameters, and if nothing, or almost nothing,
    is allowed.
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        forbidden: Sequence[Mapping[str, Any]] | None = None,
        *,
        tried: bool = True,
    ) -> None:
        if not isinstance(forbidden, (list, tuple, type(None))):
            raise InputError(f"forbidden= must be a list of dicts like {{'optimizer': 'sgd'}}, not {forbidden!r}")
        if isinstance(parameters, Space):
            forbidden = [*parameters.forbidden, *(forbidden or [])]
            parameters = parameters._parameters
        if not isinstance(parameters, Mapping):
            raise InputError(f"a space must be a dict of names and parameters, not {parameters!r}")
        self._parameters: dict[str, Parameter] = dict(parameters)
        if not self._parameters:
            raise InputError("the space is empty; give it at least one parameter")
        if len(self._parameters) > MOST:
            raise InputError(f"a space may have at most {MOST:,} parameters, not {len(self._parameters):,}")
        for name, parameter in self._parameters.items():
            self._check(name, parameter)
        try:
            parents = {name: list(p.condition) for name, p in self._parameters.items()}
            self.parents_first: list[str] = list(graphlib.TopologicalSorter(parents).static_order())
        except graphlib.CycleError as error:
            raise InputError(f"the conditions are circular: {' -> '.join(error.args[1])}") from None
        self.forbidden: list[dict[str, list[Any]]] = [self._clause(clause) for clause in forbidden or []]
        if self.forbidden and tried:
            Space.sample(self, np.random.default_rng(0))  # raises if nothing is allowed

    def _check(self, name: object, parameter: object) -> None:
        if not isinstance(name, str) or not name or not name.isprintable() or len(name) > 200:
            raise InputError(f"a parameter's name must be printable text of 1 to 200 characters, not {name!r:.60}")
        if not isinstance(parameter, Parameter):
            raise InputError(
                f"{name!r} must be a Float, Integer, Categorical, Ordinal, or Cell, not {parameter!r:.80}"
                + ("; did you mean rw.Categorical([...])?" if isinstance(parameter, (list, tuple)) else "")
            )
        for parent, values in parameter.condition.items():
            if parent not in self._parameters:
                raise InputError(f"{name!r} depends on {parent!r}, which is unknown{suggestion(parent, self)}")
            above = self._parameters[parent]
            if not above.countable:
                kind = type(above).__name__
                raise InputError(f"{name!r} depends on {parent!r}, a {kind}; a condition needs countable values")
            for value in values:
                if (wrong := above.wrong(value)) is not None:
                    raise InputError(f"{name!r} is active when {parent!r} is {value!r}, but {parent!r} {wrong}")

    def _clause(self, clause: object) -> dict[str, list[Any]]:
        if not isinstance(clause, Mapping) or not clause:
            raise InputError(f"each entry of forbidden= must be a dict like {{'optimizer': 'sgd'}}, not {clause!r}")
        lists: dict[str, list[Any]] = {}
        for name, values in clause.items():
            if name not in self._parameters:
                raise InputError(f"{clause!r} forbids {name!r}, which is unknown{suggestion(str(name), self)}")
            lists[name] = plain(values if isinstance(values, (list, tuple)) else [values], "forbidden=")
            if not lists[name]:
                raise InputError(f"{clause!r} forbids no value of {name!r}; name one, or leave {name!r} out")
            for value in lists[name]:
                if (wrong := self[name].wrong(value)) is not None:
                    raise InputError(f"{clause!r} forbids an impossible value: {name!r} {wrong}, not {value!r}")
        return lists

    # made when they are first needed: what a cell's text means may take long to say, and looking does not ask

    @functools.cached_property
    def _conditions(self) -> dict[str, dict[str, frozenset[str]]]:
        return {name: self._terms(p.condition) for name, p in self._parameters.items()}

    @functools.cached_property
    def _never(self) -> list[dict[str, frozenset[str]]]:
        return [self._terms(clause) for clause in self.forbidden]

    def _terms(self, values: Mapping[str, Iterable[Any]]) -> dict[str, frozenset[str]]:
        """Names and values as `_holds` looks for them."""
        return {name: frozenset(self._text(name, value) for value in of) for name, of in values.items()}

    def _text(self, name: str, value: Any) -> str:
        """What two values share if they are the same: their JSON, save that 1 is 1.0 for a `Float`."""
        return self[name].key(value)

    def _holds(self, terms: Mapping[str, frozenset[str]], config: Mapping[str, Any]) -> bool:
        """Whether each parameter named in `terms` exists in `config` and has one of the values there."""
        return all(name in config and self._text(name, config[name]) in texts for name, texts in terms.items())

    def exists(self, name: str, config: Mapping[str, Any]) -> bool:
        """Whether the parameter `name` is active in `config`, which holds all parameters on which it depends."""
        return self._holds(self._conditions[name], config)

    def __deepcopy__(self, memo: object) -> Space:
        return self  # it never changes

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
        """The configuration at `point`, an array of `len(space)` numbers in [0, 1], in the space's order.

        Coordinates of inactive parameters are ignored.
        """
        coordinates = dict(zip(self, np.asarray(point, dtype=float).tolist(), strict=True))
        config: Values = {}
        for name in self.parents_first:
            if self.exists(name, config):
                config[name] = self._parameters[name].decode(coordinates[name])
        return {name: config[name] for name in self if name in config}

    def encode(self, config: Mapping[str, Any]) -> NDArray[np.float64]:
        """The point of `config`, shape (len(space),), in [0, 1]; 0.5 for inactive parameters."""
        return np.array([self[name].encode(config[name]) if name in config else 0.5 for name in self])

    def at_quantiles(self, point: ArrayLike) -> Values:
        """The configuration at the quantiles `point` of the priors, shape (len(space),); `decode` without priors."""
        quantiles = zip(self.values(), np.asarray(point, dtype=float).tolist(), strict=True)
        return self.decode([parameter.quantile(u) for parameter, u in quantiles])

    def sample(self, rng: np.random.Generator) -> Values:
        """Draw an allowed configuration from the priors, or uniformly from the cube if there are none.

        Draws until one is allowed; each try takes `len(space)` numbers from `rng`. If nothing is forbidden, that is one
        try. Raises `InputError` if none of 20,000 is allowed.
        """
        for _ in range(TRIES):
            config = self.at_quantiles(rng.random(len(self)))
            if self.allows(config):
                return config
        raise InputError(f"all of {TRIES:,} configurations that were drawn are forbidden; forbid less")

    def allows(self, config: Mapping[str, Any]) -> bool:
        """Whether nothing forbids `config`, which must be in the space."""
        return not any(self._holds(terms, config) for terms in self._never)

    def log_prior(self, config: Mapping[str, Any]) -> float:
        """The log density of `config` under the priors, relative to no priors; 0 without any.

        It is the sum over the active parameters, without rescaling for what is forbidden.
        """
        return sum((self[name].log_density(value) for name, value in config.items()), 0.0)

    def check(self, config: Mapping[str, Any]) -> Values:
        """`config` as plain values, cells canonical. Raises `InputError` that names what is not in this space."""
        values: Values = plain(dict(config), "a configuration's value")
        for name in values:
            if name not in self:
                raise InputError(f"the configuration has {name!r}, but the space does not{suggestion(name, self)}")
        for name in self.parents_first:
            if not self.exists(name, values):
                if name in values:
                    raise InputError(f"{name!r} is inactive here; it needs {self[name].condition}")
            elif name not in values:
                raise InputError(f"the configuration lacks {name!r}")
            elif (wrong := self[name].wrong(values[name])) is not None:
                raise InputError(f"{name!r} {wrong}, not {values[name]!r}")
            else:
                values[name] = self[name].normal(values[name])
        for clause, terms in zip(self.forbidden, self._never, strict=True):
            if self._holds(terms, values):
                raise InputError(f"the configuration is forbidden: {clause}")
        return values

    def surely_has(self, config: object) -> TypeGuard[Values]:
        """A quick test of whether `check` would accept `config` unchanged; False means unknown."""
        tests = self._tests
        if type(config) is not dict or tests is None or len(config) != len(tests):
            return False
        return all(name in config and test(config[name]) for name, test in tests.items())

    def misfit(self, config: Mapping[str, Any]) -> str | None:
        """What is not of this space in `config`, a name or a value; None though some may be missing or forbidden.

        For what was checked when it was proposed. It takes no more time than its size, whoever wrote it.
        """
        for name, value in config.items():
            if (test := self._values.get(name)) is None:
                return f"the configuration has {name!r}, but the space does not"
            if not test(value) and (wrong := self[name].wrong(value)) is not None:
                return f"{name!r} {wrong}, not {value!r}"
        return None

    @functools.cached_property
    def _tests(self) -> dict[str, Callable[[Any], bool]] | None:
        """`_values`, if that is all there is to it: no value depends on another, none is written in several ways."""
        if self.forbidden or any(p.condition or p.has_synonyms for p in self.values()):
            return None
        return self._values

    @functools.cached_property
    def _values(self) -> dict[str, Callable[[Any], bool]]:
        """For each parameter whether a value is surely right."""
        return {name: parameter.surely() for name, parameter in self.items()}

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values: the parameters, or {"parameters": …, "forbidden": […]} if there is `forbidden`."""
        parameters = {name: _fields(parameter) for name, parameter in self.items()}
        return {"parameters": parameters, "forbidden": self.forbidden} if self.forbidden else parameters

    def to_json(self) -> str:
        """As JSON text; `from_json` reads it back."""
        return json.dumps(self.to_dict())

    @staticmethod
    def from_dict(parameters: object, *, tried: bool = True) -> Space:
        """From plain JSON values, as in a log, JSON, or TOML file: what `to_dict` returns.

        >>> Space.from_dict({"lr": {"type": "float", "low": 1e-4, "high": 0.1, "log": True}})["lr"].high
        0.1
        """
        forbidden = None
        if isinstance(parameters, Mapping) and isinstance(parameters.get("forbidden"), list):  # a parameter is a table
            if parameters.keys() != {"parameters", "forbidden"}:
                raise InputError('a space with "forbidden" must be {"parameters": {…}, "forbidden": […]}, no more')
            forbidden, parameters = parameters["forbidden"], parameters["parameters"]
        if not isinstance(parameters, Mapping):
            raise InputError(f"a space must be a table of names and parameters, not {parameters!r}")
        if len(parameters) > MOST:
            raise InputError(f"a space may have at most {MOST:,} parameters, not {len(parameters):,}")
        made = {name: _parameter(name, fields, looks=not tried) for name, fields in parameters.items()}
        return Space(made, forbidden, tried=tried)

    @staticmethod
    def from_json(text: str) -> Space:
        """From JSON text."""
        try:
            return Space.from_dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise InputError(f"the space is not JSON: {error}") from None


def foreign_kinds(parameters: object) -> list[str]:
    """The kinds of parameters, in what `Space.to_dict` gives, that are not ours: `module:Class` of each."""
    if isinstance(parameters, Mapping) and isinstance(parameters.get("forbidden"), list):
        parameters = parameters.get("parameters")
    tables = parameters.values() if isinstance(parameters, Mapping) else ()
    kinds = [fields.get("type") for fields in tables if isinstance(fields, Mapping)]
    return sorted({kind for kind in kinds if isinstance(kind, str) and ":" in kind})


class Unknown(Parameter, frozen=True):
    """Stands for a parameter of a kind that is not ours, in a study that is looked at: any value is right."""

    fields: dict[str, Any]
    when: dict[str, Any] | None = None

    def wrong(self, value: object) -> str | None:
        """Nothing that is known."""
        return None


def _fields(parameter: Parameter) -> dict[str, Any]:
    """A parameter as plain JSON: its kind, as `type`, and its fields."""
    if isinstance(parameter, Unknown):
        return parameter.fields
    fields: dict[str, Any] = msgspec.to_builtins(parameter)
    return fields if KINDS.is_ours(parameter) else fields | {"type": KINDS.name_of(parameter)}


def _parameter(name: str, fields: object, *, looks: bool) -> Parameter:
    if not isinstance(fields, Mapping) or not isinstance(fields.get("type"), str):
        raise InputError(f'{name!r} must be a table like {{"type": "float", "low": 0, "high": 1}}, not {fields!r}')
    given = fields["type"]
    if looks and ":" in given:
        return Unknown(dict(fields), fields.get("when"))
    if ":" not in given and KINDS.is_foreign(given):
        raise InputError(f"{name!r} has the unknown type {given!r}{suggestion(given, KINDS)}")
    kind = KINDS.named(given)
    if not (isinstance(kind, type) and issubclass(kind, Parameter)):
        raise InputError(f"{name!r} has the type {given!r}, which is not a Parameter class")
    known = kind.__struct_fields__
    for field in fields:
        if field != "type" and field not in known:
            raise InputError(f"{name!r} has the unknown field {field!r}{suggestion(field, known)}")
    try:
        return msgspec.convert(dict(fields) | {"type": kind.__struct_config__.tag}, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{name!r}: {error}") from None
