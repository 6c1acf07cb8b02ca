"""Which searcher has a study that is only looked at? None: a stand-in that knows its settings and imports nothing.

A study's file may come from anybody, and the settings of a searcher may name code to import: the path of a sampler or
of a proxy. Here are those names, for whoever must decide whether to trust them. May import `events`, `errors`, `space`
and `search`.
"""

from __future__ import annotations

import copy
from typing import Any, final

from rungwise.errors import InputError
from rungwise.events import Config, Event
from rungwise.search import SEARCHERS
from rungwise.search.initial import InitialSearch
from rungwise.space import Rng, Space

DEEPEST = 8  # searchers within searchers; ours make three: first, screened, and one more


@final
class LookedAt:
    """Stands for the searcher with `settings` in a study that was opened without `writable`."""

    def __init__(self, space: Space, settings: dict[str, Any]) -> None:
        self.space = space
        self.name = settings.get("name")
        self._settings = settings

    def propose(self, rng: Rng) -> Config:
        """Nothing that is looked at; it stands for a configuration that there may be."""
        return {}

    def tell(self, event: Event) -> None:
        """Learns nothing."""

    def settings(self) -> dict[str, Any]:
        """Those of the searcher, as the file has them."""
        return {key: copy.deepcopy(value) for key, value in self._settings.items() if key != "name"}

    @property
    def points(self) -> list[Config]:
        """The configurations that were tried first, see `InitialSearch`."""
        if self._settings.get("name") != "first":
            return []
        known = {name: self._settings.get(name, []) for name in ("points", "earlier")}
        return InitialSearch(self.space, LookedAt(self.space, {}), **known).points

    @property
    def left_out(self) -> int:
        """How many configurations of an earlier study were left out."""
        count = self._settings.get("left_out", 0)
        return count if isinstance(count, int) else 0


def named(settings: object) -> list[str]:
    """What making and asking the searcher with `settings` imports other than our own: `module:name` of each.

    >>> named({"name": "screened", "proxy": "mine:proxy", "searcher": {"name": "optuna", "sampler": "walker:Walker"}})
    ['the proxy mine:proxy', 'the sampler walker:Walker']

    Raises `InputError` for searchers within searchers, deeper than any are.
    """
    found: list[str] = []
    for _ in range(DEEPEST):
        if not isinstance(settings, dict):
            return found
        if SEARCHERS.is_elsewhere(name := settings.get("name")):
            found.append(f"the searcher {name}")
        for what in ("proxy", "sampler"):
            if isinstance(name := settings.get(what), str) and ":" in name:
                found.append(f"the {what} {name}")
        settings = settings.get("searcher")
    raise InputError(f"a searcher within a searcher, more than {DEEPEST} deep")
