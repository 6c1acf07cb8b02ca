"""What to try next? Of configurations like the good ones the one that is least like the bad, or else a random one.

The kernel densities of BOHB (Falkner, Klein and Hutter, "BOHB: Robust and Efficient Hyperparameter Optimization at
Scale", ICML 2018, Algorithm 2), after TPE (Bergstra, Bardenet, Bengio and Kégl, "Algorithms for Hyper-Parameter
Optimization", NeurIPS 2011).

Unlike in BOHB, trials that were not promoted are bad at the higher rungs, too: what is unlike the rest of the few
there may be like those that were left behind. And the share of random configurations can follow from how well early
scores have predicted later ones in this very study. May import `events`, `errors`, `fronts`, `ordered`, `space`,
`validation`, `search.results`, `search.kernels` and `search.agreement`.
"""

from __future__ import annotations

import math
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from rungwise.errors import InputError
from rungwise.events import Config, Event, Promoted, Result, Started
from rungwise.fronts import Fronts
from rungwise.ordered import Sorted
from rungwise.search.agreement import Agreement, agreement
from rungwise.search.kernels import Columns, Kernels
from rungwise.search.results import Results
from rungwise.space import Rng, Space
from rungwise.validation import real, whole

Losses = tuple[float, ...]
Rows = NDArray[np.int64]

GOOD, BAD, RUNNING = 64, 256, 64  # kernels at most, so that a proposal takes as long after 10,000 results as after 500


@final
class DensitySearch:
    """Draws `candidates` from a density of the good results and takes that with the best ratio to one of the others.

    `space` is the search space. *Data*: the highest rung at which d + 3 trials of this study have finite losses, where
    d counts the parameters and a cell's edges; before there is one, that of an earlier study; before that, proposals
    are random. *Good* are the best `good_share` there, at least 2 and at most 64. *Bad* are the others there, then all
    that were not promoted so far, then all that failed: at most 256, evenly taken in this order. The newest 64 that run
    without a result are bad too, so that proposals made at the same time differ. With several metrics the best stand in
    the first fronts and have most room there. *Densities*: a kernel on each; see `kernels`. The user's prior is one
    more kernel of the good density, so it counts for less as results come in. Candidates are drawn with
    `bandwidth_factor` times the standard deviation of the kernels. Those that were started already are left out.

    `random_share` of the proposals are drawn at random. "auto" begins with 1/2; it goes down to 1/4 the more the order
    of trials stays as it is from one rung to the next, and up to 3/4 the less it does. `agreement` says how that
    stands.

    >>> from rungwise.parameters import Float
    >>> search = DensitySearch(Space({"x": Float(0, 1)}), random_share=0)
    >>> for trial in range(10):
    ...     for event in (Started(trial, {"x": trial / 9}, 1), Result(trial, 1, ((trial / 9 - 0.6) ** 2,))):
    ...         search.tell(event)
    >>> 0.5 < search.propose([0, 10])["x"] < 0.7
    True

    Raises `InputError` for a `good_share` that is not above 0 and below 1, a `bandwidth_factor` that is not above 0,
    `candidates` below 1, and a `random_share` that is neither "auto" nor from 0 to 1.
    """

    name = "density"
    several_metrics = True

    def __init__(
        self,
        space: Space,
        *,
        good_share: float = 0.15,
        bandwidth_factor: float = 3.0,
        candidates: int = 64,
        random_share: float | str = 0.5,
    ) -> None:
        self.space = space
        self.good_share = real(good_share, "good_share")
        if not 0 < self.good_share < 1:
            raise InputError(f"good_share must be above 0 and below 1, not {good_share!r}")
        self.bandwidth_factor = real(bandwidth_factor, "bandwidth_factor")
        if self.bandwidth_factor <= 0:
            raise InputError(f"bandwidth_factor must be above 0, not {bandwidth_factor!r}")
        self.candidates = whole(candidates, "candidates")
        if self.candidates < 1:
            raise InputError(f"candidates must be 1 or more, not {candidates!r}")
        self.random_share: float | str = "auto"
        if random_share != "auto":
            if isinstance(random_share, str) or not 0 <= real(random_share, "random_share") <= 1:
                raise InputError(f'random_share must be "auto" or a number from 0 to 1, not {random_share!r}')
            self.random_share = real(random_share, "random_share")
        self._told = Results()
        self._columns = Columns(space)
        width = len(self._columns.choices)
        self._centers, self._halves = np.empty((64, width)), np.empty((64, width))  # a row a trial, and room for more
        self._failed = np.zeros(64, dtype=bool)
        self._until = np.zeros(64, dtype=np.int64)  # to which level it was started or promoted
        self._rows: dict[int, int] = {}  # trial -> its row
        self._running: dict[int, int] = {}  # the same, of those without a result
        self._rungs: dict[int, _Rung] = {}
        self._agreement: Agreement | None = None  # None when it is to be worked out again

    def propose(self, rng: Rng) -> Config:
        """A configuration that was not started yet, if one can be found."""
        rng = np.random.default_rng(rng)
        if rng.random() >= self._share and (densities := self._densities()) is not None:
            good, bad = densities
            points = good.draw(rng, self.candidates, self.bandwidth_factor)
            exist = self._columns.existing(points)
            prior = self._columns.log_prior(points, exist)
            gains = good.log_density(points, exist, prior) - bad.log_density(points, exist)
            for place in np.argsort(-gains, kind="stable"):
                config = self._columns.config(points[place])
                if not self._told.knows(config) and self.space.allows(config):
                    return config
        return self._told.new(self.space, lambda: self.space.sample(rng), rng)

    def tell(self, event: Event) -> None:
        """Learns the rung results, and what runs."""
        self._told.tell(event)
        match event:
            case Started(trial, config, until):
                self._rows[trial] = self._running[trial] = self._add(config, until)
            case Promoted(trial, until):
                self._until[self._rows[trial]] = until
            case Result(trial, level, losses):
                self._running.pop(trial, None)
                self._agreement = None
                if event.finite:
                    self._rungs.setdefault(level, _Rung(len(losses))).add(trial, self._rows[trial], losses)
                else:
                    self._failed[self._rows[trial]] = True

    def settings(self) -> dict[str, Any]:
        """The arguments that make an equal one, as plain JSON."""
        return {
            "good_share": self.good_share,
            "bandwidth_factor": self.bandwidth_factor,
            "candidates": self.candidates,
            "random_share": self.random_share,
        }

    @property
    def agreement(self) -> Agreement:
        """How well early scores have predicted later ones so far, and what "auto" makes of it; `str` says so."""
        if self._agreement is None:
            self._agreement = agreement({level: rung.losses for level, rung in self._rungs.items()})
        return self._agreement

    @property
    def _share(self) -> float:
        return self.agreement.random_share if isinstance(self.random_share, str) else self.random_share

    def _add(self, config: Config, until: int) -> int:
        """A new row, its number."""
        row = len(self._rows)
        if row == len(self._failed):
            arrays = self._centers, self._halves, self._failed, self._until
            self._centers, self._halves, self._failed, self._until = (
                np.concatenate([each, np.zeros_like(each)]) for each in arrays
            )
        self._centers[row], self._halves[row] = self._columns.row(config)
        self._until[row] = until
        return row

    def _densities(self) -> tuple[Kernels, Kernels] | None:
        """Those of the good and of the bad; None if there are too few results anywhere."""
        dimensions = len(self._columns.choices)
        for own in (True, False):
            for level in sorted(self._rungs, reverse=True):
                rung = self._rungs[level]
                if (rung.own if own else len(rung.losses)) < dimensions + 3:
                    continue
                order = rung.order
                order = order[~self._failed[order]]  # of those that failed later, too
                good = max(2, math.ceil(self.good_share * len(order)))
                running = np.array(list(self._running.values()), dtype=np.int64)
                below = ~self._failed & (self._until < level)
                below[running] = below[len(self._rows) :] = False
                bad = np.concatenate([order[good:], np.flatnonzero(below), np.flatnonzero(self._failed)])
                if good < len(order):
                    bad = np.concatenate([_thinned(bad, BAD), running[-RUNNING:]])
                    return self._on(order[: min(good, GOOD)]), self._on(bad)
        return None

    def _on(self, rows: Rows) -> Kernels:
        return Kernels(self._columns, self._centers[rows], self._halves[rows])


class _Rung:
    """The finite results at one level; `own` counts those of this study."""

    def __init__(self, metrics: int) -> None:
        self.losses: dict[int, Losses] = {}  # trial -> its losses, in the order of completion
        self.own = 0
        self._ranked = Sorted()
        self._fronts = Fronts(metrics) if metrics > 1 else None

    def add(self, trial: int, row: int, losses: Losses) -> None:
        self.losses[trial] = losses
        self.own += trial >= 0
        if self._fronts is None:
            self._ranked.insert(np.array([row]), np.array(losses))
        else:
            self._fronts.add(losses, row)

    @property
    def order(self) -> Rows:
        """The rows from the best to the worst, the lower among equals."""
        return self._ranked.order if self._fronts is None else self._fronts.order()


def _thinned(rows: Rows, most: int) -> Rows:
    """At most `most` of `rows`, evenly from the first to the last."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]
