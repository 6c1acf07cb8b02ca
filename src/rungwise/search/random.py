"""What to try next? A configuration drawn from the priors, uniformly without any (random search)."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from rungwise.events import Config, Event
from rungwise.space import Rng, Space


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

    def propose(self, rng: Rng) -> Config:
        """A configuration; takes `len(space)` numbers from `rng` for each try, as `Space.sample` does."""
        return self.space.sample(np.random.default_rng(rng))

    def tell(self, event: Event) -> None:
        """Learns nothing."""

    def settings(self) -> dict[str, Any]:
        """None: it has no arguments."""
        return {}
