"""Who may call a study now? One thread at a time, and only in the process that opened it.

A forked child has a copy of the study that its parent goes on with. What it changed there nobody would hear of, and
SQLite allows no connection in two processes (https://www.sqlite.org/howtocorrupt.html, section 2.6): so in a child each
call that would change the study, or read its file, is refused. What was known at the fork can be looked at. Nor can a
study be pickled, for the first reason.
"""

from __future__ import annotations

import copy
import functools
import os
import threading
import weakref
from collections.abc import Callable, Collection
from types import FunctionType
from typing import Any, NoReturn, Self, TypeVar

from rungwise.log import StudyError

C = TypeVar("C", bound=type)
_here: weakref.WeakSet[InTurn] = weakref.WeakSet()  # the objects that were begun in this process


class InTurn:
    """An object whose owner is the process that made it, with a lock for its calls."""

    _turn: Any  # the lock, for what looks at memory
    _change: Any  # the same lock, for all else; in a forked child, what refuses it

    def _own(self) -> None:
        """From now on it belongs to this process."""
        self._turn = self._change = threading.RLock()
        _here.add(self)

    @property
    def _is_copy(self) -> bool:
        """Whether this is a forked child, and the object its parent's."""
        return self._change is not self._turn

    def _forked(self) -> None:
        """Called in a forked child, once."""

    def __getstate__(self) -> NoReturn:
        """What unpickles it would get a copy, and so would `copy.copy`."""
        raise StudyError(
            "a study cannot be pickled, because a copy would not be the study: ask and report here, and send the jobs "
            "to where they are trained; or send the path of its file, and look at it with rw.Study.open(path)"
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """All but the locks; whoever says this means another one."""
        twin = memo[id(self)] = object.__new__(type(self))
        mine = {name: value for name, value in vars(self).items() if name not in InTurn.__annotations__}
        vars(twin).update(copy.deepcopy(mine, memo))
        twin._own()
        return twin


def in_turn(*, looks: Collection[str]) -> Callable[[C], C]:
    """Decorate a class whose public calls take the lock: its methods and its properties.

    Properties and the methods named in `looks` read what is in memory; all other methods are refused in a forked
    child.
    """

    def decorate(cls: C) -> C:
        for name, value in list(vars(cls).items()):
            if name.startswith("_"):
                continue
            if isinstance(value, property):
                setattr(cls, name, property(_look(value.fget), doc=value.__doc__))
            elif isinstance(value, FunctionType):  # neither a static method nor a class method
                setattr(cls, name, _look(value) if name in looks else _changing(value))
        return cls

    return decorate


def _look(function: Any) -> Any:
    """`function`, one thread at a time."""

    @functools.wraps(function)
    def call(self: InTurn, *args: Any, **kwargs: Any) -> Any:
        with self._turn:
            return function(self, *args, **kwargs)

    return call


def _changing(function: Any) -> Any:
    """`function`, one thread at a time, and in no forked child."""

    @functools.wraps(function)
    def call(self: InTurn, *args: Any, **kwargs: Any) -> Any:
        with self._change:
            return function(self, *args, **kwargs)

    return call


class _Refusal:
    """Stands in a forked child for the lock of what only its parent may use: whoever wants it is told so."""

    def __init__(self, owner: int) -> None:
        self._owner = owner

    def __enter__(self) -> NoReturn:
        raise StudyError(
            f"this study belongs to process {self._owner}, from which this one (process {os.getpid()}) was forked: "
            "changes here would be lost; ask and report there, or open the study here"
        )

    def __exit__(self, *_: object) -> None:
        """Nobody gets in."""


_process = os.getpid()


def _in_child() -> None:
    global _process
    for what in list(_here):
        if not isinstance(what._change, _Refusal):  # else it is the copy of a copy
            what._change = _Refusal(_process)
            what._forked()
        what._turn = threading.RLock()  # a thread that is not here may have held it
    _process = os.getpid()


os.register_at_fork(after_in_child=_in_child)
