"""What may a value be? Plain JSON, whole numbers, finite numbers, scores: checked where they come in.

Imports `errors` and `words` only.
"""

from __future__ import annotations

import copy
import json
import math
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np

from rungwise.errors import InputError
from rungwise.words import whole_text

LARGEST_INTEGER = 2**53  # beyond it JSON, floats and whole numbers part ways


def plain(value: object, what: str) -> Any:
    """`value` as plain JSON (numpy scalars become numbers, tuples lists), or an error naming `what`."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str) and not whole_text(value):
        raise InputError(f"{what} must be valid Unicode; {value!r} has a lone surrogate, which no file can store")
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise InputError(f"{what} must be finite, not {value}")
    if isinstance(value, (list, tuple)):
        return [plain(item, what) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {plain(key, what): plain(item, what) for key, item in value.items()}
    raise InputError(f"{what} must be plain JSON (numbers, text, true, null, lists), not {value!r}")


def copied(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `config`, including its lists and dicts, that the receiver may change."""
    for value in config.values():
        if type(value) is list or type(value) is dict:
            return copy.deepcopy(dict(config))
    return dict(config)  # nearly always


def same(a: object, b: object) -> bool:
    """Equal as JSON: 1, 1.0 and true are three values."""
    return as_text(a) == as_text(b)


def as_text(value: object) -> str:
    """`value` as JSON, equal for what is `same`."""
    return json.dumps(value, sort_keys=True)


def whole(value: object, what: str) -> int:
    """`value` as an integer (3.0 is one, True is not), or an error naming `what`."""
    if type(value) is int and -LARGEST_INTEGER <= value <= LARGEST_INTEGER:  # nearly always
        return value
    number = plain(value, what)
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int):
        raise InputError(f"{what} must be a whole number, not {value!r}")
    if not -LARGEST_INTEGER <= number <= LARGEST_INTEGER:
        raise InputError(f"{what} must be a whole number within ±2**53; this one has {len(str(abs(number)))} digits")
    return number


def real(value: object, what: str) -> float:
    """`value` as a finite float, or an error naming `what`."""
    number = plain(value, what)
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise InputError(f"{what} must be a number, not {value!r}")
    try:
        return float(number)
    except OverflowError:
        raise InputError(f"{what} must be a number that fits into a float; this one is too large") from None


def amounts(value: Any) -> dict[str, Any]:
    """The `resources` of an executor as a dict of amounts by name, empty for None; an error if it is not a table."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InputError(f'resources must be a table of amounts, like {{"big": 1}}, not {value!r:.80}')
    return dict(value)


def flag(value: object, what: str) -> bool:
    """`value` if it is True or False, or an error naming `what`."""
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"{what} must be true or false, not {value!r}")
    return bool(value)


def as_score(value: object) -> Any:
    """A reported score as a float; None if it is not finite. Anything that is not one number is refused.

    Accepts Python and NumPy numbers, anything with one element and `item()` (0-d arrays, tensors), and, for several
    metrics, a dict of these.

    >>> as_score(np.float32(0.5)), as_score(float("nan"))
    (0.5, None)
    """
    if type(value) is float:  # nearly always
        return value if math.isfinite(value) else None
    if isinstance(value, dict) and value and all(isinstance(name, str) for name in value):
        for name in value:
            if not whole_text(name):
                raise InputError(f"a metric's name must be valid Unicode; {name!r} has a lone surrogate")
        return {name: _number(each) for name, each in value.items()}
    return _number(value)


def _number(value: object) -> float | None:
    number = value
    if not isinstance(number, numbers.Real) and callable(getattr(number, "item", None)):
        try:
            number = number.item()  # type: ignore[attr-defined]
        except (ValueError, RuntimeError, TypeError):
            raise InputError(f"a score must be one number, not {value!r:.80}; take its mean?") from None
    if isinstance(number, (bool, np.bool_)) or not isinstance(number, numbers.Real):
        meant = "; use report(float(score))" if isinstance(number, str) else ""
        if number is None:
            meant = "; does the function that computes it return it?"
        raise InputError(f"a score must be one number, not {value!r:.80}{meant}")
    try:
        score = float(number)
    except OverflowError:
        return None  # a whole number beyond all floats
    return score if math.isfinite(score) else None
