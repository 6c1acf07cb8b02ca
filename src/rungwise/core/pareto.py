"""Who stands where when there are several metrics? Non-dominated sorting, and rungs that are ordered by it.

Trial a dominates b if none of its losses is higher and one is lower. The first front are those that nobody dominates,
the second those that nobody else dominates, and so on (Deb et al., IEEE Transactions on Evolutionary Computation 2002,
NSGA-II; for promotion in rungs: Schmucker et al., 2021, "Multi-objective asynchronous successive halving"). In a front
those stand first that have most room around them (crowding distance), among equals the earlier completion.
May import `events` and `core`.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from rungwise.core.noise import Noise
from rungwise.core.ranking import DirectRanking, Disagreement, Ranking, SoftRanking
from rungwise.core.rungs import Entry, Rung
from rungwise.names import InputError

Losses = tuple[float, ...]


def pareto_order(losses: NDArray[np.float64]) -> list[int]:
    """The rows of `losses`, shape (n, metrics), finite and in the order of completion, from the best to the worst.

    >>> pareto_order(np.array([[3, 3], [0, 2], [1, 1], [2, 0], [2, 2]]))
    [1, 3, 2, 4, 0]
    """
    order: list[int] = []
    left = np.arange(len(losses))
    while len(left):
        here = losses[left]
        no_worse = (here[:, None] <= here[None]).all(axis=2)  # [a, b]: a is nowhere worse than b
        better = (here[:, None] < here[None]).any(axis=2)
        front = left[~(no_worse & better).any(axis=0)]
        room = _room(losses[front])
        order += front[np.argsort(-room, kind="stable")].tolist()
        left = np.setdiff1d(left, front)
    return order


def pareto_front(losses: Mapping[int, Losses]) -> list[int]:
    """The trials that no other dominates, in the order of `losses`.

    >>> pareto_front({3: (0, 2), 4: (1, 1), 5: (2, 2), 6: (1, 1)})
    [3, 4, 6]
    """
    table = np.array(list(losses.values()))
    dominated = [((table <= own).all(axis=1) & (table < own).any(axis=1)).any() for own in table]
    return [trial for trial, lost in zip(losses, dominated, strict=True) if not lost]


def _room(front: NDArray[np.float64]) -> NDArray[np.float64]:
    """The crowding distance of each row: infinite at the ends of a metric, else the gaps between its neighbours there.

    Each gap is counted in units of the range of its metric in the front.
    """
    room = np.zeros(len(front))
    for column in front.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        room[order[[0, -1]]] = np.inf
        if span > 0 and len(front) > 2:
            room[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return room


@final
class ParetoRung(Rung):
    """A rung of trials with several losses; an entry's loss is the trial's place in the order, `inf` if it failed.

    Places change with each completion, so all is sorted anew: n² comparisons.
    """

    def __init__(self) -> None:
        super().__init__()
        self.losses: dict[int, Losses] = {}  # trial -> its losses, in the order of completion; empty if it failed

    def add_losses(self, trial: int, losses: Losses) -> None:
        """`trial` completes this rung; without losses if it failed."""
        self.losses[trial] = losses
        self.order = order_of(self.losses, list(self.losses))
        self.entries = {entry[2]: entry for entry in self.order}
        self._paused = [entry for entry in self.order if entry[0] < math.inf and entry[2] not in self._promoted]
        heapq.heapify(self._paused)


def order_of(losses: dict[int, Losses], trials: Sequence[int]) -> list[Entry]:
    """`trials`, in the order of completion, as entries from the best to the worst; those that failed are last."""
    whole = [trial for trial in trials if losses[trial]]
    places = pareto_order(np.array([losses[trial] for trial in whole])) if whole else []
    order = [(float(place), place, whole[row]) for place, row in enumerate(places)]
    failed = [trial for trial in trials if not losses[trial]]
    return order + [(math.inf, len(order) + place, trial) for place, trial in enumerate(failed)]


def pareto_disagreement(
    ranking: Ranking, below: ParetoRung, top: ParetoRung, noises: Sequence[Noise]
) -> Disagreement | None:
    """Why the two rungs do not agree on the trials that completed the top one; None if they do.

    Each rung orders those trials by their losses there. Soft ranking: for each position i and each metric, the losses
    of T[i] and P[i] at the rung below are within ε of the metric. Trials that failed are equivalent to each other.
    """
    now = [trial for _, _, trial in top.order]  # T
    before = [trial for _, _, trial in order_of(below.losses, [t for t in below.losses if t in top.losses])]  # P
    if now == before:
        return None
    if isinstance(ranking, DirectRanking):
        return Disagreement(math.inf, None, sum(a != b for a, b in zip(now, before, strict=True)), ())
    if not isinstance(ranking, SoftRanking):
        raise InputError(f"with several metrics PASHA ranks 'soft' or 'direct', not {ranking.settings()['name']!r}")
    given = ranking.epsilon
    epsilons = [noise.epsilon if isinstance(given, str) else given for noise in noises]
    wrong, worst = 0, (-math.inf, 0, 0.0)
    for here, there in zip(now, before, strict=True):
        gaps = _gaps(below.losses[here], below.losses[there], len(noises))
        over = [gap - epsilon for gap, epsilon in zip(gaps, epsilons, strict=True)]
        wrong += max(over) > 0
        metric = int(np.argmax(over))
        worst = max(worst, (over[metric], metric, gaps[metric]))
    if not wrong:
        return None
    _, metric, gap = worst
    why = f"in metric {metric + 1} they differ by up to {gap:.4g}, noise explains ε = {epsilons[metric]:.4g}"
    return Disagreement(gap, epsilons[metric], wrong, (), why)


def _gaps(a: Losses, b: Losses, metrics: int) -> list[float]:
    if a and b:
        return [abs(x - y) for x, y in zip(a, b, strict=True)]
    return [0.0 if a == b else math.inf] * metrics
