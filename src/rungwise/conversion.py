"""Whose space is this? Spaces of ConfigSpace, Optuna and scipy, as ours, with nothing lost or added.

What cannot be said exactly in ours is refused, in one line that says what and why. No library is imported
before one of its own objects is handed in. Imports `errors`, `space` and `validation`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rungwise.errors import InputError
from rungwise.parameters import Categorical, Float, Integer, Ordinal, Parameter
from rungwise.space import Space
from rungwise.validation import plain, same, whole

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace
    from ConfigSpace.conditions import ConditionLike
    from ConfigSpace.forbidden import ForbiddenLike, ForbiddenRelation
    from ConfigSpace.hyperparameters import Hyperparameter

LIBRARIES = ("ConfigSpace", "optuna", "scipy")
MOST = 10_000  # values, or clauses, that one rule of ConfigSpace may come to

Values = dict[str, list[Any]]


def as_space(space: Space | Mapping[str, Any]) -> Space:
    """What a user gives as a space: a `Space`, a ConfigSpace `ConfigurationSpace`, or a dict of parameters.

    A dict may mix our parameters, hyperparameters of ConfigSpace, distributions of Optuna and frozen
    distributions of scipy (`uniform`, `loguniform`, `randint`). Lists are taken for choices only beside one of
    scipy's, as scikit-learn's `RandomizedSearchCV` has it.

    >>> from scipy.stats import loguniform
    >>> as_space({"C": loguniform(1e-3, 10), "kernel": ["rbf", "poly"]})["C"]
    Float(low=0.001, high=10.0, log=True)

    Raises `InputError` for what is no space, and for what ours cannot express.
    """
    if isinstance(space, Space):
        return space
    if _library(space) == "ConfigSpace" and isinstance(space, Mapping):
        return _configuration_space(space)  # type: ignore[arg-type]
    if not isinstance(space, Mapping):
        return Space(space)  # which says what is wrong
    lists = any(_library(value) == "scipy" for value in space.values())
    return Space({name: _parameter(name, value, lists) for name, value in space.items()})


def _library(value: object) -> str | None:
    """Which library `value` is an object of, if one of those we know; a subclass of the user's counts."""
    homes = (kind.__module__.split(".")[0] for kind in type(value).__mro__)
    return next((home for home in homes if home in LIBRARIES), None)


def _parameter(name: str, value: Any, lists: bool) -> Parameter:
    library = _library(value)
    if library == "ConfigSpace":
        return _named(name, _hyperparameter, value)
    if library == "optuna":
        return _named(name, _distribution, value)
    if library == "scipy":
        return _named(name, _frozen, value)
    if lists and isinstance(value, (list, tuple, np.ndarray)):
        return _named(name, Categorical, value)
    return value  # type: ignore[no-any-return]  # ours, or for Space to refuse


def _named(name: object, make: Callable[..., Parameter], *of: Any) -> Parameter:
    try:
        return make(*of)
    except InputError as error:
        raise InputError(f"{name!r}: {error}") from None


def _distribution(value: Any) -> Parameter:
    """An Optuna distribution."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match value:
        case FloatDistribution():
            return Float(value.low, value.high, log=value.log, step=value.step)
        case IntDistribution():
            return Integer(value.low, value.high, log=value.log, step=value.step)
        case CategoricalDistribution():
            return Categorical(value.choices)
    raise InputError(f"Optuna's {type(value).__name__} is not a Float-, Int-, or CategoricalDistribution")


def _frozen(value: Any) -> Parameter:
    """A frozen scipy distribution; its support says its bounds."""
    kind = getattr(getattr(value, "dist", None), "name", None)
    if kind is None:
        raise InputError(f"scipy's {type(value).__name__} is not a frozen distribution like scipy.stats.uniform(0, 1)")
    low, high = value.support()
    if kind == "uniform":
        return Float(low, high)
    if kind == "randint":
        return Integer(low, high)
    if kind in ("loguniform", "reciprocal") and math.isclose(value.median(), math.sqrt(low * high)):  # not with a loc
        return Float(low, high, log=True)
    raise InputError(
        f"scipy's {kind}{value.args or ''} is not supported, only uniform, randint, and loguniform without loc; "
        "did you mean rw.Float(low, high, prior=…)?"
    )


def _hyperparameter(value: Hyperparameter[Any, Any], when: Values | None = None) -> Parameter:
    """A hyperparameter of ConfigSpace, as it is drawn there; its default is not looked at.

    A Normal becomes a prior at its mean. For whole numbers it is cut half a step beyond the bounds.
    """
    import ConfigSpace.hyperparameters as of

    match value:
        case of.UniformFloatHyperparameter():
            return Float(value.lower, value.upper, log=value.log, when=when)
        case of.UniformIntegerHyperparameter():
            return Integer(value.lower, value.upper, log=value.log, when=when)
        case of.NormalFloatHyperparameter(log=False):
            spread = value.sigma / (value.upper - value.lower)
            return Float(value.lower, value.upper, when=when, prior=value.mu, confidence=spread)
        case of.NormalIntegerHyperparameter(log=False):
            spread = value.sigma / (value.upper - value.lower + 1)
            return Integer(value.lower, value.upper, when=when, prior=whole(value.mu, "mu"), confidence=spread)
        case of.CategoricalHyperparameter():
            return Categorical(value.choices, when=when, weights=value.weights)
        case of.OrdinalHyperparameter():
            return Ordinal(value.sequence, when=when)
        case of.Constant():
            return Categorical([value.value], when=when)
    log = " on a log scale" if getattr(value, "log", False) else ""
    raise InputError(
        f"ConfigSpace's {type(value).__name__}{log} has no equivalent; did you mean rw.Float(low, high, prior=…)?"
    )


def _configuration_space(space: ConfigurationSpace) -> Space:
    """A `ConfigurationSpace` with its conditions and forbidden clauses; no child has two conditions there."""
    when = {condition.child.name: _when(condition, space) for condition in space.conditions}
    parameters = {name: _named(name, _hyperparameter, value, when.get(name)) for name, value in space.items()}
    return Space(parameters, [clause for each in space.forbidden_clauses for clause in _clauses(each)])


def _when(condition: ConditionLike, space: ConfigurationSpace) -> Values:
    """`condition` as our `when`: for each parent the values of which it must have one."""
    from ConfigSpace.conditions import AndConjunction, Conjunction, NotEqualsCondition

    literals = condition.dlcs if isinstance(condition, Conjunction) else (condition,)
    for literal in literals:
        if isinstance(literal, NotEqualsCondition) and literal.parent.name in space.conditional_hyperparameters:
            raise InputError(
                f"ConfigSpace's condition {literal!s:.100} also holds if {literal.parent.name!r} is inactive, which "
                "when= cannot express; did you mean an InCondition?"
            )
    if len({literal.parent.name for literal in literals}) == 1:
        return _values(literals[0].parent, condition, condition.satisfied_by_value, literals)
    if isinstance(condition, AndConjunction):
        return _both([_when(part, space) for part in condition.components])
    raise InputError(
        f"ConfigSpace's condition {condition!s:.100} needs one of several parents, but when= needs all of them"
    )


def _clauses(clause: ForbiddenLike) -> list[Values]:
    """`clause` as our `forbidden`: dicts any of which forbids."""
    from ConfigSpace import forbidden as of

    match clause:
        case of.ForbiddenClause():
            found = [_values(clause.hyperparameter, clause, clause.is_forbidden_value, (clause,))]
        case of.ForbiddenRelation():
            found = _pairs(clause)
        case of.ForbiddenOrConjunction():
            found = [each for part in clause.components for each in _clauses(part)]
        case of.ForbiddenAndConjunction():
            parts = [_clauses(part) for part in clause.components]
            if math.prod(map(len, parts)) > MOST:
                raise _too_many(clause, "it comes to")
            found = [_both(chosen) for chosen in itertools.product(*parts)]
        case _:
            raise InputError(f"ConfigSpace's {type(clause).__name__} has no equivalent")
    return [each for each in found if all(each.values())]  # one that leaves a name no value never holds


def _pairs(relation: ForbiddenRelation) -> list[Values]:
    """The pairs of values that `relation` forbids, one dict for each value on its left."""
    left, right = relation.left, relation.right
    lefts, rights = _every(left), _every(right)
    if lefts is None or rights is None or len(lefts) * len(rights) > MOST:
        raise _too_many(relation, f"{left.name!r} and {right.name!r} have")
    return [
        {
            left.name: [plain(a, "a value")],
            right.name: [
                plain(b, "a value") for b in rights if relation.is_forbidden_value({left.name: a, right.name: b})
            ],
        }
        for a in lefts
    ]


def _both(parts: Sequence[Values]) -> Values:
    """What holds where all of `parts` do."""
    names = dict.fromkeys(name for part in parts for name in part)
    lists = {name: [part[name] for part in parts if name in part] for name in names}
    return {
        name: [value for value in first if all(any(same(value, other) for other in values) for values in others)]
        for name, (first, *others) in lists.items()
    }


def _values(
    parameter: Hyperparameter[Any, Any], rule: object, test: Callable[[dict[str, Any]], bool], literals: Sequence[Any]
) -> Values:
    """The values of `parameter` for which `test` is true, by its name; `rule` is made of `literals`."""
    every = _every(parameter) or _mentioned(literals)
    if every is None:
        raise _too_many(rule, f"{parameter.name!r} has")
    return {parameter.name: [plain(value, "a value") for value in every if test({parameter.name: value})]}


def _too_many(rule: object, whose: str) -> InputError:
    return InputError(
        f"ConfigSpace's rule {rule!s:.100} cannot be expressed as lists of values: {whose} more than {MOST:,}"
    )


def _every(parameter: Hyperparameter[Any, Any]) -> Sequence[Any] | None:
    """All values of `parameter`; None if they are more than a list should hold."""
    import ConfigSpace.hyperparameters as of

    match parameter:
        case of.CategoricalHyperparameter():
            return parameter.choices
        case of.OrdinalHyperparameter():
            return parameter.sequence
        case of.Constant():
            return [parameter.value]
        case of.IntegerHyperparameter() if parameter.size <= MOST:
            return range(parameter.lower, parameter.upper + 1)
    return None


def _mentioned(literals: Sequence[Any]) -> list[Any] | None:
    """The values that `literals` name; None if one of them is of another kind than `is` or `is one of`."""
    from ConfigSpace.conditions import EqualsCondition, InCondition
    from ConfigSpace.forbidden import ForbiddenEqualsClause, ForbiddenInClause

    values: list[Any] = []
    for literal in literals:
        match literal:
            case InCondition() | ForbiddenInClause():
                values += literal.values
            case EqualsCondition() | ForbiddenEqualsClause():
                values.append(literal.value)
            case _:
                return None
    return values or None
