"""What to try next? One searcher a file; `core` and `search` know nothing of each other."""

from __future__ import annotations

import importlib
import inspect
from typing import Any, Protocol, runtime_checkable

from rungwise.events import Config, Fact
from rungwise.names import InputError, suggestion
from rungwise.search.random import RandomSearch
from rungwise.space import Rng, Space


@runtime_checkable
class Searcher(Protocol):
    """What? The next configuration."""

    def propose(self, rng: Rng) -> Config | None:
        """A configuration, None if there is none left; all chance comes from `numpy.random.default_rng(rng)`."""
        ...

    def tell(self, fact: Fact) -> None:
        """Take one fact; reports carry losses, intermediate ones too."""
        ...

    def settings(self) -> dict[str, Any]:
        """Its name and arguments as plain JSON."""
        ...


SEARCHERS = {
    "evolution": "rungwise.search.evolution:EvolutionSearch",
    "first": "rungwise.search.first:First",
    "gp": "rungwise.search.gp:GPSearch",
    "grid": "rungwise.search.grid:GridSearch",
    "optuna": "rungwise.search.optuna:OptunaSearch",
    "random": "rungwise.search.random:RandomSearch",
    "screened": "rungwise.search.screened:Screened",
    "sobol": "rungwise.search.sobol:SobolSearch",
    "tpe": "rungwise.search.optuna:tpe",
}
"""Name -> where its class is; a module is imported when its searcher is wanted, since some need extras."""

EXTRAS = {"gp": "gp", "optuna": "optuna", "sobol": "sobol", "tpe": "optuna"}

__all__ = ["SEARCHERS", "RandomSearch", "Searcher", "as_searcher", "load"]


def as_searcher(searcher: Searcher | str | dict[str, Any], space: Space) -> Searcher:
    """A searcher from itself, its name ("random"), or its settings.

    Raises `InputError` for what is none, and for one of ours that was made for other parameters than `space` has; for
    other ranges of them it may have been, as long as what it proposes fits.
    """
    if isinstance(searcher, str):
        searcher = {"name": searcher}
    if not isinstance(searcher, dict):
        if isinstance(searcher, type) or not hasattr(searcher, "propose"):
            raise InputError(f"searcher must be a name or an object like rw.RandomSearch(space), not {searcher!r}")
        ours = type(searcher).__module__.startswith(f"{__name__}.")
        if ours and (others := getattr(searcher, "space", space).keys()) != space.keys():
            raise InputError(
                f"the searcher {type(searcher).__qualname__} was made for a space of {', '.join(others)}, and this one "
                f"is of {', '.join(space)}; make it with this space"
            )
        return searcher
    arguments = dict(searcher)
    name = arguments.pop("name", None)
    if not isinstance(name, str) or name not in SEARCHERS:
        raise InputError(f"there is no searcher {name!r:.80}{suggestion(str(name), SEARCHERS)}")
    kind = load(name)
    try:
        inspect.signature(kind).bind(space, **arguments)
    except TypeError as error:
        raise InputError(f"the searcher {name!r}: {error}") from None
    made: Searcher = kind(space, **arguments)
    return made


def load(name: str) -> Any:
    """The class, or what makes one, of the searcher `name`; an `InputError` if a library that it needs is missing."""
    module, kind = SEARCHERS[name].split(":")
    try:
        return getattr(importlib.import_module(module), kind)
    except ModuleNotFoundError as error:
        if name not in EXTRAS or (error.name or "").startswith("rungwise"):
            raise
        raise InputError(f"the searcher {name!r} needs: pip install 'rungwise[{EXTRAS[name]}]'") from None
