"""What to try next? The next point of a scrambled Sobol sequence: random search without gaps and clusters.

Sobol, 1967, scrambled by Owen's method in the form of Matoušek, J. Complexity 1998; the sequence is scipy's.
May import `events`, `space`, `search.results` and scipy.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
from scipy.stats import qmc

from rungwise.events import Config, Event
from rungwise.search.results import Results, of_study
from rungwise.space import Rng, Space

BLOCK = 64  # points are made so many at a time
TRIES = 4096  # points looked at for one that is allowed or new, before chance takes over


@final
class SobolSearch:
    """Points of a Sobol sequence, scrambled by the study's seed: proposal n is point n, at the quantiles of the priors.

    Forbidden points are left out of the sequence, and configurations that were already started are skipped while there
    are others. Needs `pip install 'rungwise[sobol]'`.

    >>> from rungwise.parameters import Float
    >>> search = SobolSearch(Space({"x": Float(0, 1)}))
    >>> 0 <= search.propose([0, 0])["x"] <= 1
    True
    """

    name = "sobol"
    several_metrics = True

    def __init__(self, space: Space) -> None:
        self.space = space
        self._told = Results()
        self._points: _Points | None = None

    def propose(self, rng: Rng) -> Config:
        """The next configuration. The numbers before the last of `rng` scramble the sequence."""
        seed = of_study(rng)
        if self._points is None or self._points.seed != seed:
            self._points = _Points(self.space, seed)
        for place in range(self._told.proposed, self._told.proposed + TRIES):
            config = self._points.at(place)
            if config is None:
                break
            if not self._told.knows(config):
                return dict(config)
        rng = np.random.default_rng(rng)
        return self._told.new(self.space, lambda: self.space.sample(rng), rng)

    def tell(self, event: Event) -> None:
        """Counts the trials that were started."""
        self._told.tell(event)

    def settings(self) -> dict[str, Any]:
        """None: it has no arguments."""
        return {}


class _Points:
    """The allowed configurations of one sequence, made as far as they were asked for."""

    def __init__(self, space: Space, seed: list[int]) -> None:
        self.space, self.seed = space, seed
        self._sequence = qmc.Sobol(len(space), scramble=True, seed=np.random.default_rng(seed))
        self._configs: list[Config] = []
        self._vain = 0  # points since the last that was allowed

    def at(self, place: int) -> Config | None:
        """Allowed configuration number `place`; None if the next one is too far away."""
        while len(self._configs) <= place and self._vain < TRIES:
            for point in self._sequence.random(BLOCK):
                config = self.space.at_quantiles(point)
                self._vain += 1
                if self.space.allows(config):
                    self._configs.append(config)
                    self._vain = 0
        return self._configs[place] if place < len(self._configs) else None
