"""How well have early scores predicted later ones? Rank correlations of neighboring rungs, shrunk while there are few.

Imports numpy only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

Losses = tuple[float, ...]

PRIOR, WEIGHT = 0.5, 10  # the correlation before anything is known, and for how many trials that counts
NEWEST = 128  # trials looked at in each pair of rungs


class Agreement(NamedTuple):
    """How far rungs agree on who is better: `correlation` is from −1 to 1, `trials` says how many it rests on."""

    correlation: float
    trials: int

    @property
    def random_share(self) -> float:
        """How much to leave to chance: from 3/4 where early scores say nothing of later ones to 1/4 where they say all.

        >>> Agreement(1.0, 99).random_share, Agreement(0.5, 0).random_share, Agreement(-0.3, 99).random_share
        (0.25, 0.5, 0.75)
        """
        return 0.75 - 0.5 * max(self.correlation, 0.0)

    def __str__(self) -> str:
        return (
            f"the order of trials at neighboring rungs has a rank correlation of {self.correlation:.2f} "
            f"({self.trials} trials, shrunk towards {PRIOR}), so {self.random_share:.0%} of proposals are random"
        )


def agreement(rungs: Mapping[int, dict[int, Losses]]) -> Agreement:
    """Of `rungs`, level -> trial -> losses in the order in which they came, the mean correlation of neighbors.

    Spearman's, over the newest 128 trials that both have; the mean over the metrics, and over pairs of rungs, where
    n trials weigh n − 1. Before them there is a correlation of 1/2, which weighs 10.

    >>> lower, upper = {n: (n / 9,) for n in range(9)}, {n: (n / 99,) for n in range(6)}
    >>> agreement({1: lower, 3: upper})
    Agreement(correlation=0.666..., trials=6)
    """
    total, weight, trials = PRIOR * WEIGHT, float(WEIGHT), 0
    for low, high in pairwise(sorted(rungs)):
        lower, upper = rungs[low], rungs[high]
        both = list(islice((trial for trial in reversed(upper) if trial in lower), NEWEST))
        if len(both) < 2:
            continue
        before, after = (np.array([rung[trial] for trial in both]) for rung in (lower, upper))
        found = [rank_correlation(one, other) for one, other in zip(before.T, after.T, strict=True)]
        known = [each for each in found if not math.isnan(each)]  # where all are equal there is none
        if known:
            total += (len(both) - 1) * sum(known) / len(known)
            weight += len(both) - 1
            trials += len(both)
    return Agreement(total / weight, trials)


def rank_correlation(one: ArrayLike, other: ArrayLike) -> float:
    """Spearman's rank correlation of two sequences; equal values share the mean of their ranks. nan if all are equal.

    >>> rank_correlation([1, 2, 3, 4], [10, 30, 20, 40])
    0.8
    """
    ranks = []
    for values in (one, other):
        _, place, count = np.unique(np.asarray(values, dtype=float), return_inverse=True, return_counts=True)
        mean = np.cumsum(count) - (count + 1) / 2
        ranks.append(mean[place] - mean[place].mean())
    length = math.sqrt(float((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return float(ranks[0] @ ranks[1]) / length if length else math.nan
