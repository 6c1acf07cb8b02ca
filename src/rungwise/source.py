"""Is it the function that it was? A digest of what trains: its source, or the program's arguments and scripts.

What it calls is not looked into. Imports `executors.command`, `loading` and the standard library only.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

from rungwise.executors.command import Command
from rungwise.loading import NamedFunction

LONGEST = 1_000_000  # bytes of a file that may be a script


def digest(function: Callable[..., object]) -> str:
    """A digest of the source of `function`, the same in each process; empty where there is none to be had."""
    while isinstance(function, NamedFunction | functools.partial):
        function = function.function if isinstance(function, NamedFunction) else function.func
    if isinstance(function, Command):
        return _of(json.dumps(function.arguments).encode(), *map(_script, function.arguments))
    function = inspect.unwrap(function)
    found: Any = function
    if not inspect.isroutine(function) and not inspect.isclass(function):
        found = type(function)  # an object that is called
    try:
        return _of(inspect.getsource(found).encode())
    except (OSError, TypeError):  # typed in at a prompt, or written in C
        code = getattr(found, "__code__", None)
        return _of(*_pieces(code)) if isinstance(code, CodeType) else ""


def _script(argument: str) -> bytes:
    """What is in the file that `argument` names, if it is one that a person may have written."""
    try:
        path = Path(argument)
        return path.read_bytes() if path.is_file() and path.stat().st_size <= LONGEST else b""
    except (OSError, ValueError):  # no path at all
        return b""


def _pieces(code: CodeType) -> list[bytes]:
    """What a function does, without where it stands."""
    pieces = [code.co_code, repr(code.co_names).encode()]
    for constant in code.co_consts:
        if isinstance(constant, frozenset):
            constant = sorted(map(repr, constant))  # or its order would be another in each process
        pieces += _pieces(constant) if isinstance(constant, CodeType) else [repr(constant).encode()]
    return pieces


def _of(*pieces: bytes) -> str:
    hashed = hashlib.blake2b(digest_size=8)
    for piece in pieces:
        hashed.update(len(piece).to_bytes(8, "big") + piece)
    return hashed.hexdigest()
