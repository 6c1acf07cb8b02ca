"""What is a part called, and where is its class? Schedulers, searchers and kinds of parameters, by name.

A name is one of ours, one that an installed package registers as an entry point, or `module:Class`. A study's file
holds the name and the settings of each part, and a part is made anew from them. Whatever is not ours is imported only
when a study is gone on with: see `rungwise.trust`. Imports `errors` only.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
from collections.abc import Collection, Iterator, Mapping
from typing import Any, final

from rungwise.errors import InputError, suggestion

OURS = "rungwise."


@final
class Parts(Collection[str]):
    """The names of our parts of one kind: `what` it is called, the entry points' `group`, and ours, as `module:name`.

    `extras` names the extra of this package that a part of ours needs.

    >>> parts = Parts("scheduler", "rungwise.schedulers", {"asha": "rungwise.core.asha:ASHA"})
    >>> parts.named("asha").__name__, parts.is_foreign("asha"), parts.is_foreign("mine:Scheduler")
    ('ASHA', False, True)
    """

    def __init__(self, what: str, group: str, ours: Mapping[str, str], extras: Mapping[str, str] | None = None) -> None:
        self.what, self.extras, self._group, self._ours = what, extras or {}, group, ours

    def __iter__(self) -> Iterator[str]:
        return iter(self._ours)

    def __len__(self) -> int:
        return len(self._ours)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._ours

    def is_foreign(self, name: object) -> bool:
        """Whether making the part `name` imports what is not ours."""
        return name not in self

    def is_elsewhere(self, name: object) -> bool:
        """Whether there is somewhere to import the part `name` from that is not ours: a place, or an entry point."""
        if not self.is_foreign(name) or not isinstance(name, str):
            return False
        return ":" in name or any(point.name == name for point in importlib.metadata.entry_points(group=self._group))

    def is_ours(self, part: object) -> bool:
        """Whether `part`, an object or a class, came with us."""
        return (part if isinstance(part, type) else type(part)).__module__.startswith(OURS)

    def name_of(self, part: object) -> str:
        """What a file calls the kind of `part`: our name for it, or `module:Class`."""
        kind = part if isinstance(part, type) else type(part)
        own = getattr(part, "name", None)
        if self.is_ours(part) and isinstance(own, str):
            return own
        return f"{kind.__module__}:{kind.__qualname__}"

    def named(self, name: object) -> Any:
        """The class, or what makes one, of the part `name`.

        Raises `InputError` if there is no such part, if it cannot be imported, or if it needs a missing library.
        """
        if isinstance(name, str) and name in self:
            return self._of_ours(name)
        if isinstance(name, str) and ":" in name:
            return self._at(name, name)
        for point in importlib.metadata.entry_points(group=self._group):
            if point.name == name:
                return self._at(point.value, point.name)
        raise InputError(f"there is no {self.what} {name!r:.80}{suggestion(str(name), self._ours)}")

    def make(self, name: object, *args: Any, **settings: Any) -> Any:
        """A fresh part of the kind `name`, made with `settings`."""
        kind = self.named(name)
        try:
            inspect.signature(kind).bind(*args, **settings)
        except TypeError as error:
            parameters = list(inspect.signature(kind).parameters.values())[len(args) :] if callable(kind) else []
            takes = [each.name for each in parameters]
            unknown = next((setting for setting in settings if setting not in takes), None)
            if unknown is None or not takes or any(each.kind is each.VAR_KEYWORD for each in parameters):
                raise InputError(f"the {self.what} {name!r}: {error}") from None
            what = f"the {self.what} {name!r} has no setting {unknown!r:.80}{suggestion(unknown, takes)}"
            raise InputError(what) from None
        return kind(*args, **settings)

    def _of_ours(self, name: str) -> Any:
        module, _, kind = self._ours[name].partition(":")
        if name not in self.extras:
            return getattr(importlib.import_module(module), kind)
        return getattr(library(module, f"the {self.what} {name!r}", self.extras[name]), kind)

    def _at(self, place: str, name: str) -> Any:
        module, _, kind = place.partition(":")
        found: Any = None
        try:
            found = importlib.import_module(module)
            for part in kind.split("."):
                found = getattr(found, part)
        except Exception as error:  # whatever the module does when it is imported
            raise InputError(
                f"the {self.what} {name!r} cannot be imported here ({type(error).__name__}: {error}); pass it: "
                f"rw.Study(space, …, {self.what}=…, path=path)"
            ) from None
        return found


def library(module: str, what: str, extra: str) -> Any:
    """The `module`, which `what` needs, or `InputError` with the command that installs the `extra` it is part of.

    >>> library("not_there", "a figure", "plot")
    Traceback (most recent call last):
        ...
    rungwise.errors.InputError: a figure needs: pip install 'rungwise[plot]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("rungwise"):
            raise
        raise InputError(f"{what} needs: pip install 'rungwise[{extra}]'") from None


def takes_several_metrics(part: object) -> bool:
    """Whether the losses that a scheduler or searcher is told may be tuples, one a metric."""
    return getattr(part, "several_metrics", False) is True
