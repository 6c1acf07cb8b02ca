"""What to try next? One searcher a file; `core` and `search` know nothing of each other."""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

from rungwise.errors import InputError
from rungwise.events import Config, Event
from rungwise.parts import Parts
from rungwise.search.random import RandomSearch
from rungwise.space import Rng, Space


@runtime_checkable
class Searcher(Protocol):
    """What to try next? Proposes configurations.

    It is made as `Class(space, **settings)`; ours have a `name`. Set `several_metrics = True` if its losses may be
    tuples, one number per metric; otherwise studies with several metrics refuse it. Set `ends = True` if it comes to an
    end in any case: otherwise a study that is `breadth_first` needs a total of trials.
    """

    def propose(self, rng: Rng) -> Config | None:
        """A configuration, or None if none is left; all randomness must come from `numpy.random.default_rng(rng)`.

        `space.allows` it: where parts of the space are forbidden, draw again (`space.sample(rng)` does that).
        """
        ...

    def tell(self, event: Event) -> None:
        """Learn of one event: first `Created`, which holds the study's seed, then what becomes of each trial.

        That is `Started`, `Report`s, the `Result` of a rung, and `Promoted`. What schedulers are told of the study
        (`Raised`, `Lengthened`) comes too; most searchers ignore it.
        """
        ...

    def settings(self) -> dict[str, Any]:
        """The arguments after `space` that make an equal one, as plain JSON; no "name", which a study's file adds."""
        ...


SEARCHERS = Parts(
    "searcher",
    "rungwise.searchers",
    {
        "density": "rungwise.search.density:DensitySearch",
        "evolution": "rungwise.search.evolution:EvolutionSearch",
        "first": "rungwise.search.initial:InitialSearch",
        "gp": "rungwise.search.gp:GPSearch",
        "grid": "rungwise.search.grid:GridSearch",
        "optuna": "rungwise.search.optuna:OptunaSearch",
        "random": "rungwise.search.random:RandomSearch",
        "screened": "rungwise.search.screened:ScreenedSearch",
        "sobol": "rungwise.search.sobol:SobolSearch",
        "tpe": "rungwise.search.optuna:tpe",
    },
    extras={"gp": "gp", "optuna": "optuna", "sobol": "sobol", "tpe": "optuna"},
)
"""A module is imported when its searcher is wanted, since some need extras."""

SearcherName = Literal["density", "evolution", "gp", "grid", "optuna", "random", "sobol", "tpe"]
"""Our searchers' names that need no settings, for type checkers and editors."""

__all__ = ["SEARCHERS", "RandomSearch", "Searcher", "SearcherName", "as_searcher"]


def as_searcher(searcher: Searcher | str | dict[str, Any], space: Space) -> Searcher:
    """A searcher from itself, its name ("random", "module:Class"), or its settings.

    One that is made from its settings gets the space first: `Class(space, **settings)`. Raises `InputError` for what is
    none, and for one of ours that was made for other parameters than `space` has; for other ranges of them it may have
    been, as long as what it proposes fits.
    """
    if isinstance(searcher, str):
        searcher = {"name": searcher}
    if not isinstance(searcher, dict):
        if isinstance(searcher, type) or not hasattr(searcher, "propose"):
            raise InputError(f"searcher must be a name or an object like rw.RandomSearch(space), not {searcher!r}")
        if lacks := [part for part in ("tell", "settings") if not hasattr(searcher, part)]:
            raise InputError(
                f"the searcher {type(searcher).__name__} lacks {', '.join(lacks)}; see rungwise.search.Searcher"
            )
        if SEARCHERS.is_ours(searcher) and (others := getattr(searcher, "space", space).keys()) != space.keys():
            raise InputError(
                f"the searcher {type(searcher).__qualname__} was made for a space with {', '.join(others)}, but this "
                f"one has {', '.join(space)}; make it with this space"
            )
        return searcher
    settings = dict(searcher)
    made: Searcher = SEARCHERS.make(settings.pop("name", None), space, **settings)
    return made


def settings_of(searcher: Searcher) -> dict[str, Any]:
    """What a study's file holds of `searcher`: the name by which it is made anew, and its settings.

    Raises `InputError` if these have a "name", which would come to its constructor.
    """
    settings = searcher.settings()
    if "name" in settings:
        kind = type(searcher).__name__
        raise InputError(
            f'settings() of {kind} must return the arguments of {kind}(space, …), without "name": '
            f"{settings['name']!r:.80}; the study's file adds the name"
        )
    return {"name": SEARCHERS.name_of(searcher), **settings}
