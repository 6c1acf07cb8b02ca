"""`help(rw.Trial)` says of each public attribute what it is; and so for every class that `rungwise` exports."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from typing import Any

import pytest

import rungwise as rw
from rungwise.records import TrialRecord
from rungwise.search import Searcher

CLASSES = sorted({made for name in rw.__all__ if isinstance(made := getattr(rw, name), type)} | {TrialRecord}, key=str)
PROTOCOLS = (rw.Scheduler, Searcher)  # which say what their attributes are


def set_by_itself(kind: type) -> set[str]:
    """The public attributes that the methods of `kind` set."""
    found = set()
    for base in kind.__mro__:
        if not base.__module__.startswith("rungwise"):
            continue
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(base)))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                of = node.value
                found |= {node.attr} if isinstance(of, ast.Name) and of.id == "self" else set()
    return found


def documented(kind: type, name: str) -> bool:
    """Whether it has a docstring of its own that `help` shows, or is named in that of a class."""
    own: Any = inspect.getattr_static(kind, name, None)
    if isinstance(own, property | staticmethod | classmethod) or inspect.isroutine(own):
        return bool(inspect.getdoc(getattr(own, "__func__", own)))
    return any(re.search(rf"`{name}\b[^`]*`", base.__doc__ or "") for base in kind.__mro__)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_public_attribute_is_documented(kind: type) -> None:
    names = {*dir(kind), *set_by_itself(kind), *getattr(kind, "__struct_fields__", ())}
    for foreign in (base for base in kind.__mro__ if not base.__module__.startswith("rungwise")):
        names -= set(dir(foreign))
    public = [name for name in sorted(names) if not name.startswith("_")]
    missing = [name for name in public if not any(documented(one, name) for one in (kind, *PROTOCOLS))]
    assert not missing, f"help(rw.{kind.__name__}) says nothing of {', '.join(missing)}"
