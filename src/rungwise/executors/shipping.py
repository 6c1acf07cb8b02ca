"""How does the user's function get into another process? Pickled, with its source lines and the logging it expects."""

from __future__ import annotations

import functools
import importlib
import io
import linecache
import logging
import os
import sys
import types
from collections.abc import Callable
from typing import Any

import cloudpickle
import msgspec

from rungwise.errors import InputError

STYLES = {logging.PercentStyle: "%", logging.StrFormatStyle: "{", logging.StringTemplateStyle: "$"}


class Handled(msgspec.Struct, frozen=True):
    """What a logger has handlers for: from which level on, and how the first of them writes it."""

    level: int
    form: str | None = None
    dates: str | None = None
    style: str = "%"


class Logger(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was set of a logger, or of the root."""

    level: int = 0
    propagate: bool = True
    disabled: bool = False
    handled: Handled | None = None


class Logging(msgspec.Struct, frozen=True):
    """What a main script has said to `logging`; `disabled` is the level up to which all is silent."""

    disabled: int
    root: Logger
    others: dict[str, Logger]


class Hello(msgspec.Struct, frozen=True):
    """How a worker process is to be set up: modules are found on `path`, and code is of files with these `sources`."""

    path: list[str]
    pythonpath: str | None
    sources: dict[str, str]
    logging: Logging


class Shipment(msgspec.Struct, frozen=True):
    """A function as it is sent to worker processes, from one machine to another too: `function` is pickled."""

    hello: Hello
    function: bytes


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
        if isinstance(obj, types.ModuleType) and type(obj) is not types.ModuleType and _is_imported(obj):
            # of a class of its own, as torch.distributed.config: cloudpickle sends it with any function that names both
            # torch.distributed and some attribute `config`
            return importlib.import_module, (obj.__name__,)
        return super().reducer_override(obj)


def _is_imported(module: types.ModuleType) -> bool:
    return sys.modules.get(module.__name__) is module


def _cached(function: Callable[..., object], parameters: dict[str, Any]) -> Callable[..., object]:
    cached: Callable[..., object] = functools.lru_cache(**parameters)(function)
    return cached


def _code(file: str, parts: tuple[Any, ...]) -> types.CodeType:
    return types.CodeType(*parts).replace(co_filename=file)


def pickled(function: object) -> tuple[bytes, dict[str, str]]:
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
            "open files, locks, and connections inside the function, not outside"
        ) from error
    return file.getvalue(), {name: "".join(linecache.getlines(name)) for name in sorted(pickler.files)}


def shipped(function: object) -> Shipment:
    """`function`, with what it needs of this process. Raises `InputError` if it cannot be sent."""
    data, sources = pickled(function)
    path = [os.path.abspath(entry) for entry in sys.path]  # '' is the current folder
    return Shipment(Hello(path, os.environ.get("PYTHONPATH"), sources, logging_here()), data)


def unpickled(data: bytes | bytearray, sources: dict[str, str]) -> Any:
    """What was pickled; tracebacks show the lines of `sources`."""
    for name, source in sources.items():
        if source:
            linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return cloudpickle.loads(data)


def logging_here() -> Logging:
    """What this process has said to `logging`."""
    root = logging.getLogger()
    others = {
        name: said
        for name, each in list(root.manager.loggerDict.items())
        if isinstance(each, logging.Logger) and (said := _said(each)) != Logger()
    }
    return Logging(root.manager.disable, _said(root), others)


def _said(logger: logging.Logger) -> Logger:
    return Logger(logger.level, logger.propagate, logger.disabled, _handled(logger.handlers))


def _handled(handlers: list[logging.Handler]) -> Handled | None:
    """One for all: where each of them wrote, there is only a trial's log."""
    theirs = [
        each
        for each in handlers
        if not isinstance(each, logging.NullHandler) and not type(each).__module__.startswith("rungwise.")
    ]
    if not theirs:
        return None
    level, formatter = min(each.level for each in theirs), theirs[0].formatter
    style = STYLES.get(type(formatter._style)) if type(formatter) is logging.Formatter else None
    if style is None or formatter is None:
        return Handled(level)
    return Handled(level, formatter._fmt, formatter.datefmt, style)


def log_as(there: Logging) -> None:
    """Log to standard error, by its number, as the process does that said `there`, its other handlers aside."""
    for name, said in there.others.items():
        logger = logging.getLogger(name)
        logger.setLevel(said.level)
        logger.propagate, logger.disabled = said.propagate, said.disabled
    root = logging.getLogger()
    root.setLevel(there.root.level)
    logging.disable(there.disabled)
    _handle(root, there.root)  # unless handled, it goes Python's own way, and the function may call basicConfig


def handle_as(there: Logging) -> None:
    """Give the other loggers their handlers, unless the modules of the function have done so in this process too."""
    for name, said in there.others.items():
        if not (logger := logging.getLogger(name)).handlers:
            _handle(logger, said)


def _handle(logger: logging.Logger, said: Logger) -> None:
    if (handled := said.handled) is not None:
        stream = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115  # to the end
        handler = logging.StreamHandler(stream)
        handler.setLevel(handled.level)
        handler.setFormatter(logging.Formatter(handled.form, handled.dates, handled.style))  # type: ignore[arg-type]
        logger.addHandler(handler)
