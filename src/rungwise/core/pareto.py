"""Who stands where when there are several metrics? Rungs ordered by non-dominated sorting, and whether two agree.

For promotion in rungs: Schmucker et al., 2021, "Multi-objective asynchronous successive halving". Front by front
(`fronts`); in a front those stand first that have most room around them (crowding distance), among equals the
earlier completion; those that failed are last. May import `events`, `fronts` and `core`.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from rungwise.core.noise import Noise
from rungwise.core.promotion import Promotion
from rungwise.core.ranking import DirectRanking, Ranking, SoftRanking
from rungwise.dominance import Losses
from rungwise.errors import InputError
from rungwise.events import Disagreement
from rungwise.fronts import Fronts


@final
class ParetoRung:
    """The results at one level for trials with several losses, in fronts, and who of them is paused there.

    `hopeful` says whether anybody has come.
    """

    def __init__(self) -> None:
        self.hopeful = False
        self.losses: dict[int, Losses] = {}  # trial -> its losses, in the order of completion; empty if it failed
        self.places: dict[int, int] = {}  # trial -> its place among those that have not failed
        self.trials: list[int] = []  # by place
        self.columns: list[array[float]] = []  # a metric: losses by place
        self._fronts: Fronts | None = None

    def __len__(self) -> int:
        return len(self.losses)

    def add(self, trial: int, losses: Losses) -> None:
        """`trial` completes this rung; without losses if it failed."""
        self.hopeful = True
        self.losses[trial] = losses
        if not losses:
            return
        if self._fronts is None:
            self._fronts = Fronts(len(losses))
            self.columns = [array("d") for _ in losses]
        for column, loss in zip(self.columns, losses, strict=True):
            column.append(loss)
        self._fronts.add(losses, len(self.trials))
        self.places[trial] = len(self.trials)
        self.trials.append(trial)

    def ordered(self) -> NDArray[np.int64]:
        """The places of those that have not failed, from the best to the worst."""
        return np.empty(0, dtype=np.int64) if self._fronts is None else self._fronts.order()

    def promote(self, trial: int) -> None:
        """`trial` leaves for the next rung; its result stays."""
        if self._fronts is not None and trial in self.places:
            self._fronts.go(self.places[trial], self.losses[trial])

    def paused(self, first: int) -> list[int]:
        """The trials paused here that may be among the `first` of the rung, whoever completes it yet.

        A rank may get better: a trial gains where those that stand before it, but do not dominate it, are dominated by
        a new one. What never gets less is the number of those that dominate it.
        """
        if self._fronts is None or first < 1:
            return []
        waiting = np.nonzero(np.frombuffer(self._fronts.gone, dtype=np.uint8) == 0)[0]
        # of how many dominate them there are bounds, from the order in each metric: few must be compared with all
        columns = list(map(np.frombuffer, self.columns))
        ordered = [(np.sort(column), column[waiting]) for column in columns]
        most = np.min([column.searchsorted(own, side="right") - 1 for column, own in ordered], axis=0)
        others = np.sum([len(column) - column.searchsorted(own) for column, own in ordered], axis=0)
        found: list[int] = waiting[most < first].tolist()
        waiting = waiting[(most >= first) & (len(self.trials) - others < first)]  # `others` are not better somewhere
        for part in np.array_split(waiting, math.ceil(len(waiting) * len(self.trials) / BLOCK) or 1):
            no_worse, better = (np.full((len(self.trials), len(part)), start) for start in (True, False))
            for column in columns:
                no_worse &= column[:, None] <= column[part]
                better |= column[:, None] < column[part]
            found += part[(no_worse & better).sum(axis=0) < first].tolist()
        return [self.trials[place] for place in found]

    def candidate(self, rule: Promotion, reduction_factor: float) -> tuple[int, int, int] | None:
        """The best paused trial, its rank from 0, and n, if `rule` lets it go on (ASHA, Algorithm 2, l. 14)."""
        size = len(self.losses)
        if self._fronts is None or (found := self._fronts.first(rule.quota(size, reduction_factor))) is None:
            return None
        return self.trials[found[0]], found[1], size


BLOCK = 2_000_000
"""Comparisons in one numpy call: bounds the memory, a few bytes each."""


@final
class TwoParetoRungs:
    """The trials that completed the top rung: T, their order there, and P, their order by their losses one rung below.

    Trials stand for their places at the rung below.
    """

    def __init__(self, below: ParetoRung, top: ParetoRung) -> None:
        self._below, self._top = below, top
        self._before = Fronts(len(below.columns))
        self._down = array("q")  # place at the top -> place below
        self._failed = array("q")  # at the top
        for trial in top.losses:
            self.add(trial)

    def add(self, trial: int) -> None:
        """`trial` has completed the top rung."""
        place = self._below.places[trial]
        (self._down if self._top.losses[trial] else self._failed).append(place)
        self._before.add(self._below.losses[trial], place)

    def disagreement(self, ranking: Ranking, noises: Sequence[Noise]) -> Disagreement | None:
        """Why the two orders do not agree; None if they do.

        Soft ranking: for each position i and each metric, the losses of T[i] and P[i] at the rung below are within ε
        of the metric.
        """
        down = np.frombuffer(self._down, dtype=np.int64) if self._down else np.empty(0, dtype=np.int64)
        now = np.concatenate([down[self._top.ordered()], np.array(self._failed, dtype=np.int64)])  # T
        before = self._before.order()  # P
        if np.array_equal(now, before):
            return None
        if isinstance(ranking, DirectRanking):
            return Disagreement(math.inf, None, int(np.count_nonzero(now != before)), ())
        if not isinstance(ranking, SoftRanking):
            raise InputError(
                f"with several metrics PASHA's ranking must be 'soft' or 'direct', not {ranking.settings()['name']!r}"
            )
        with np.errstate(over="ignore"):
            gaps = [np.abs(p[now] - p[before]) for p in map(np.frombuffer, self._below.columns)]
        largest = [float(gap.max()) for gap in gaps]
        if isinstance(ranking.epsilon, str):
            agree = all(noise.covers(gap) for noise, gap in zip(noises, largest, strict=True))
            epsilons = [] if agree else [noise.epsilon for noise in noises]
        else:
            epsilons = [ranking.epsilon] * len(noises)
            agree = max(largest) <= ranking.epsilon
        return None if agree else _beyond(np.array(gaps), epsilons)


def _beyond(gaps: NDArray[np.float64], epsilons: Sequence[float]) -> Disagreement:
    """How many positions are further apart than ε in any metric, and the one that is so by most.

    `gaps` has the shape (metrics, positions).
    """
    over = gaps - np.array(epsilons)[:, None]
    metrics, at = over.argmax(axis=0), np.arange(over.shape[1])
    _, metric, gap = max(zip(over[metrics, at].tolist(), metrics.tolist(), gaps[metrics, at].tolist(), strict=True))
    why = f"in metric {metric + 1} they differ by up to {gap:.4g}, and noise explains only ε = {epsilons[metric]:.4g}"
    return Disagreement(gap, epsilons[metric], int(np.count_nonzero(over.max(axis=0) > 0)), (), why)
