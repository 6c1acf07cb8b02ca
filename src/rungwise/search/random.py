"""What to try next? A configuration drawn from the priors, uniformly without any (random search)."""

from __future__ import annotations

import functools
from typing import Any, final

import numpy as np

from rungwise.events import Config, Event, Started
from rungwise.parameters import Categorical, Float, Integer, Ordinal
from rungwise.search.grid import GridSearch
from rungwise.search.results import as_key
from rungwise.space import Rng, Space

FEW = 10_000
"""Configurations that a space may have for it to be known when all of them have been started."""


@final
class RandomSearch:
    """Random search over `space`.

    >>> from rungwise.parameters import Integer
    >>> RandomSearch(Space({"width": Integer(1, 9)})).propose([0, 0])
    {'width': 6}
    """

    name = "random"
    several_metrics = True

    def __init__(self, space: Space) -> None:
        self.space = space
        self._started: set[str] = set()  # in a space of few

    def propose(self, rng: Rng) -> Config:
        """A configuration; takes `len(space)` numbers from `rng` for each try, as `Space.sample` does."""
        return self.space.sample(np.random.default_rng(rng))

    def tell(self, event: Event) -> None:
        """Learns nothing; in a space of few configurations it notes which have been started."""
        if isinstance(event, Started) and event.trial >= 0 and self._has_few:
            self._started.add(as_key(event.config))

    @property
    def exhausted(self) -> bool:
        """Whether each configuration has been started: never known where there are more than 10,000, or cells."""
        return self._has_few and len(self._started) >= self._size

    @functools.cached_property
    def _has_few(self) -> bool:
        size = 1
        for parameter in self.space.values():
            if not isinstance(parameter, Float | Integer | Categorical | Ordinal):  # to list cells takes seconds
                return False
            if (size := size * len(parameter.listed(FEW + 1))) > FEW:
                return False
        return True

    @functools.cached_property
    def _size(self) -> int:
        return len(GridSearch(self.space, points=FEW))

    def settings(self) -> dict[str, Any]:
        """None: it has no arguments."""
        return {}
