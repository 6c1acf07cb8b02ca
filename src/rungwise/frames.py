"""What is a study as a table? Its columns, a pandas DataFrame, Parquet, which takes one kind of value a column.

Imports `space`, `log`, `errors` and `words` only; pandas inside the functions that need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rungwise.errors import InputError
from rungwise.log import StudyError
from rungwise.space import Space
from rungwise.words import shown, shown_json

CONFIG = "config."
Rows = Sequence[dict[str, Any]]
"""What `Study.rows` gives: a parameter that does not exist under the values of others has no key."""


def columns(space: Space, metrics: Sequence[str] = (), *, reports: bool) -> list[str]:
    """All columns of what `Study.rows` gives, in their order, also where it gives no row; `metrics` if several.

    >>> from rungwise.parameters import Float
    >>> columns(Space({"x": Float(0, 1)}), reports=True)
    ['trial', 'state', 'resource', 'score', 'seconds', 'refit', 'config.x']
    """
    scores = [f"score.{name}" for name in metrics] or ["score"]
    told = ["refit"] if reports else ["failure", "refit_failure"]
    return ["trial", "state", "resource", *scores, "seconds", *told, *(f"{CONFIG}{name}" for name in space)]


def mixed(space: Space) -> set[str]:
    """The columns of parameters whose values are not all numbers, all text, or all true and false."""
    return {
        f"{CONFIG}{name}"
        for name, parameter in space.items()
        if len(kinds := {_kind(choice) for choice in getattr(parameter, "choices", ())}) > 1 or "another" in kinds
    }


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    return "a number" if isinstance(value, (int, float)) else "text" if isinstance(value, str) else "another"


def dataframe(rows: Rows, names: Sequence[str], space: Space) -> Any:
    """`rows` as a pandas DataFrame with the columns `names`; `mixed` values stay as they are, None among them."""
    try:
        import pandas
    except ImportError:
        raise StudyError("a dataframe needs pandas: pip install 'rungwise[frames]'") from None
    frame = pandas.DataFrame(rows, columns=list(names))
    for name in mixed(space):  # which pandas would make of one kind, and NaN of None
        values = pandas.Series([None] * len(rows), dtype=object, index=frame.index)
        values[:] = [row.get(name, float("nan")) for row in rows]
        frame[name] = values
    return frame


def parquet(rows: Rows, names: Sequence[str], space: Space, path: Path, *, called: Path) -> None:
    """Write `rows` to `path`; `mixed` columns as JSON text, so that null there is a parameter that does not exist.

    `called` is the file's name for the user. Raises `InputError` for what Parquet has no place for, `StudyError` if
    pandas or pyarrow are not installed.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise StudyError("Parquet needs pandas and pyarrow: pip install 'rungwise[frames]'") from None
    frame, as_json = dataframe(rows, names, space), mixed(space)
    for name in frame.columns:
        if name in as_json:
            frame[name] = [shown_json(row[name]) if name in row else None for row in rows]
        elif any(isinstance(row.get(name), str) for row in rows):
            frame[name] = [_writable(row.get(name)) for row in rows]
    frame.columns = [_writable(name) for name in frame.columns]
    try:
        frame.to_parquet(path, index=False)
    except (ValueError, TypeError, OverflowError, NotImplementedError) as error:  # those of pyarrow are ValueErrors
        raise InputError(
            f"{called}: Parquet cannot store this study's values ({shown(error)}); export it as .json or .csv"
        ) from None


def _writable(value: Any) -> Any:
    """Text without halves of characters, which UTF-8 has not."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
