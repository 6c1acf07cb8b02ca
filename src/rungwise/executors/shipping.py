"""How does the user's function get into another process? Pickled, with its source lines and the logging it expects."""

from __future__ import annotations

import functools
import io
import linecache
import logging
import types
from collections.abc import Callable
from typing import Any

import cloudpickle
import msgspec

from rungwise.names import InputError


class Logging(msgspec.Struct, frozen=True):
    """What a main script has said to `logging`: the root's level, its format, and the levels of other loggers."""

    handled: bool
    level: int
    form: str | None
    dates: str | None
    levels: dict[str, int]


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # untyped
    """cloudpickle, which also takes functions under `functools.cache` from the main script: with an empty cache.

    Code keeps the name of its file, which cloudpickle replaces, and `files` are those of all code that is sent.
    """

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=5)
        self.files: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, functools._lru_cache_wrapper) and obj.__module__ == "__main__":
            return _cached, (obj.__wrapped__, obj.cache_parameters())
        if isinstance(obj, types.CodeType):
            self.files.add(obj.co_filename)
            _, parts = self.dispatch_table[types.CodeType](obj)
            return _code, (obj.co_filename, parts)
        return super().reducer_override(obj)


def _cached(function: Callable[..., object], parameters: dict[str, Any]) -> Callable[..., object]:
    cached: Callable[..., object] = functools.lru_cache(**parameters)(function)
    return cached


def _code(file: str, parts: tuple[Any, ...]) -> types.CodeType:
    return types.CodeType(*parts).replace(co_filename=file)


def pickled(function: Callable[..., object]) -> tuple[bytes, dict[str, str]]:
    """`function` as bytes, and the source of each file whose code is in them: scripts, cells of notebooks.

    Raises `InputError` if it cannot be sent.
    """
    file = io.BytesIO()
    pickler = _Pickler(file)
    try:
        pickler.dump(function)
    except Exception as error:
        raise InputError(
            f"{function!r} cannot be sent to a worker process: {error}; "
            "open files, locks and connections inside the function, not outside"
        ) from error
    return file.getvalue(), {name: "".join(linecache.getlines(name)) for name in sorted(pickler.files)}


def unpickled(data: bytes | bytearray, sources: dict[str, str]) -> Any:
    """What was pickled; tracebacks show the lines of `sources`."""
    for name, source in sources.items():
        if source:
            linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return cloudpickle.loads(data)


def logging_here() -> Logging:
    """What this process has said to `logging`."""
    root = logging.getLogger()
    formatter = root.handlers[0].formatter if root.handlers else None
    simple = type(formatter) is logging.Formatter and type(formatter._style) is logging.PercentStyle
    others = root.manager.loggerDict.items()
    return Logging(
        bool(root.handlers),
        root.level,
        formatter._fmt if simple and formatter is not None else None,
        formatter.datefmt if simple and formatter is not None else None,
        {name: each.level for name, each in others if isinstance(each, logging.Logger) and each.level},
    )


def log_as(there: Logging) -> None:
    """Log to standard error, by its number, as the process does that said `there`."""
    for name, level in there.levels.items():
        logging.getLogger(name).setLevel(level)
    root = logging.getLogger()
    root.setLevel(there.level)
    if there.handled:  # else Python's own way with what nobody handles, and the function may call basicConfig
        stream = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115  # to the end
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter(there.form, there.dates))
        root.addHandler(handler)
