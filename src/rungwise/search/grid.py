"""What to try next? A point of a grid that has not been tried; after the last there is none.

May import `events`, `errors`, `space`, `validation` and `search.results`.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping
from typing import Any, final

import numpy as np

from rungwise.errors import InputError, suggestion
from rungwise.events import Config, Event, Started
from rungwise.search.results import as_key
from rungwise.space import Rng, Space
from rungwise.validation import whole

MOST_POINTS = 100_000  # points; a grid beyond that is a mistake, and would take seconds to make


@final
class GridSearch:
    """All combinations of values in `space`, each once, in an order drawn from the study's seed.

    The grid has every choice of a Categorical or an Ordinal and every distinct Cell. Of a number it has `points` values
    from low to high, evenly spaced (in the logarithm, with `log`), or all values if there are fewer. `points` is one
    number for all parameters, or a dict by name; the default is 5. Combinations that differ only in inactive parameters
    count once, and forbidden ones are omitted. At the end of the grid `propose` returns None, and the study ends when
    no promotion is left.

    >>> from rungwise.parameters import Categorical, Float
    >>> grid = GridSearch(Space({"x": Float(0, 1), "act": Categorical(["relu", "gelu"])}), points=3)
    >>> len(grid), grid.propose([0, 0])
    (6, {'x': 1.0, 'act': 'gelu'})

    Raises `InputError` for `points` below 1 or for unknown names, and for a grid of more than 100,000 combinations.
    """

    name = "grid"
    ends = True
    several_metrics = True

    def __init__(self, space: Space, *, points: int | Mapping[str, int] = 5) -> None:
        self.space = space
        if isinstance(points, Mapping):
            for name in points:
                if name not in space:
                    raise InputError(f"points has {name!r}, but the space does not{suggestion(str(name), space)}")
            self.points: int | dict[str, int] = {name: _count(n, f"points of {name!r}") for name, n in points.items()}
        else:
            self.points = _count(points, "points")
        self._axes = [parameter.listed(self._of(name)) for name, parameter in space.items()]
        if (size := math.prod(map(len, self._axes))) > MOST_POINTS:
            raise InputError(f"the grid has {size:,} combinations, more than {MOST_POINTS:,}; use fewer points")

    def __len__(self) -> int:
        return len(self._left)

    def _of(self, name: str) -> int:
        return self.points.get(name, 5) if isinstance(self.points, dict) else self.points

    @functools.cached_property
    def _left(self) -> dict[str, int]:
        """Key of a configuration that has not been tried -> its place in `_configs`."""
        return {as_key(config): place for place, config in enumerate(self._configs)}

    @functools.cached_property
    def _configs(self) -> list[Config]:
        configs = {as_key(c): c for c in map(self.space.decode, itertools.product(*self._axes)) if self.space.allows(c)}
        return list(configs.values())

    def propose(self, rng: Rng) -> Config | None:
        """One of the combinations that are left, drawn at random; None if there is none."""
        if not self._left:
            return None
        return dict(self._configs[np.random.default_rng(rng).integers(len(self._left))])

    def tell(self, event: Event) -> None:
        """Takes out of the grid what was started."""
        if not isinstance(event, Started) or event.trial < 0:  # an earlier study's trials may be tried again
            return
        if (place := self._left.pop(as_key(event.config), None)) is not None:
            last = self._configs.pop()  # fills the gap, so that a draw costs the same however large the grid is
            if place < len(self._configs):
                self._configs[place] = last
                self._left[as_key(last)] = place

    def settings(self) -> dict[str, Any]:
        """Its `points` as plain JSON."""
        return {"points": self.points}


def _count(value: object, what: str) -> int:
    if (number := whole(value, what)) < 1:
        raise InputError(f"{what} must be 1 or more, not {value!r}")
    return number
