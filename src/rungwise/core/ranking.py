"""Do two rungs agree? Rankings of the same trials, compared (PASHA, Bohdal et al., ICLR 2023, section 4).

`soft` is the rule of the paper and the default; `core.criteria` has those that its ablation compares.

T is the order of the trials that completed the top rung, by their losses there; P is the order of the same
trials by their losses p(·) one rung below. Ties go to the earlier completion of the rung in question.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rungwise.core.named import Named
from rungwise.core.noise import LARGEST_FLOAT, Noise
from rungwise.core.rungs import Entry, Rung
from rungwise.errors import InputError
from rungwise.events import Broken, Disagreement
from rungwise.validation import real

SHOWN = 10
"""How many broken positions a disagreement names; it counts them all."""


class _Column:
    """A growing array of numbers with `insert`, which reuses its memory."""

    def __init__(self) -> None:
        self._data = np.empty(64)
        self._spare = np.empty(64)
        self.size = 0

    @property
    def values(self) -> NDArray[np.float64]:
        return self._data[: self.size]

    def insert(self, at: int, value: float) -> None:
        size = self.size
        if size == len(self._data):
            self._data = np.concatenate([self._data, np.empty_like(self._data)])
            self._spare = np.empty_like(self._data)
        tail = self._spare[: size - at]
        tail[:] = self._data[at:size]  # by way of spare memory: an overlapping copy would allocate
        self._data[at + 1 : size + 1] = tail
        self._data[at] = value
        self.size = size + 1


class TwoRungs:
    """The trials that completed the top rung: T, their order there, and P, their order one rung below.

    `same` says whether T equals P: orders only ever grow, so once they differ they differ for ever.
    """

    def __init__(self, below: Rung, top: Rung) -> None:
        self.below, self.top = below, top
        self.same = True
        self._orders: tuple[list[Entry], list[Entry]] = ([], [])  # T and P, as entries of their own rungs
        self._losses = (_Column(), _Column())  # p(T[i]) and p(P[i])
        self._scratch = np.empty(0)
        for trial in top.trials:
            self.add(trial)

    def __len__(self) -> int:
        return self._losses[0].size

    def add(self, trial: int) -> None:
        """`trial` has completed the top rung."""
        now, before = self.top.entry(trial), self.below.entry(trial)
        p = min(before[0], LARGEST_FLOAT)
        places = []
        for order, losses, entry in zip(self._orders, self._losses, (now, before), strict=True):
            place = bisect_left(order, entry)
            order.insert(place, entry)
            losses.insert(place, p)
            places.append(place)
        self.same = self.same and places[0] == places[1]

    @property
    def now(self) -> list[int]:
        """T."""
        return [trial for _, _, trial in self._orders[0]]

    @property
    def before(self) -> list[int]:
        """P."""
        return [trial for _, _, trial in self._orders[1]]

    def below_losses(self) -> NDArray[np.float64]:
        """p(·) of all trials in the order T; `LARGEST_FLOAT` for those that failed."""
        return self._losses[0].values

    def top_losses(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The losses at the top rung in the order T, and in the order P."""
        now, before = self._orders
        at_top = {trial: loss for loss, _, trial in now}
        return np.array([loss for loss, _, _ in now]), np.array([at_top[trial] for _, _, trial in before])

    def gaps(self) -> NDArray[np.float64]:
        """|p(T[i]) − p(P[i])|; valid until the next call."""
        if len(self._scratch) < len(self):
            self._scratch = np.empty(2 * len(self))
        gaps = self._scratch[: len(self)]
        with np.errstate(over="ignore"):
            np.subtract(self._losses[0].values, self._losses[1].values, out=gaps)
        np.abs(gaps, out=gaps)
        return gaps

    def gap(self) -> float:
        """The largest of the `gaps`; 0 if the orders are the same."""
        return 0.0 if self.same else float(self.gaps().max())

    def broken(self, wrong: NDArray[np.bool_]) -> tuple[Broken, ...]:
        """The `SHOWN` positions among `wrong` with the largest gaps, as losses."""
        places = np.nonzero(wrong)[0]
        worst = places[np.argsort(-self.gaps()[places], kind="stable")][:SHOWN]
        found = []
        for place in worst.tolist():
            pair = self._orders[0][place][2], self._orders[1][place][2]
            below, top = ([rung.entry(trial)[0] for trial in pair] for rung in (self.below, self.top))
            found.append(Broken(place, *pair, (below[0], below[1]), (top[0], top[1])))
        return tuple(found)


@runtime_checkable
class Ranking(Protocol):
    """A criterion: when two rungs agree."""

    def disagreement(self, rungs: TwoRungs, noise: Noise) -> Disagreement | None:
        """None if the two rankings are consistent."""
        ...

    def settings(self) -> dict[str, Any]:
        """Its name and arguments as plain JSON."""
        ...


def soft(rungs: TwoRungs, epsilon: float) -> Disagreement | None:
    """None if every trial is within `epsilon` of the one whose place it took (section 4.1)."""
    gap = rungs.gap()
    return None if gap <= epsilon else beyond(rungs, gap, epsilon)


def beyond(rungs: TwoRungs, gap: float, epsilon: float) -> Disagreement:
    """The positions at which two trials are further apart than `epsilon`; `gap` is the largest distance."""
    wrong = rungs.gaps() > epsilon
    return Disagreement(gap, epsilon, int(np.count_nonzero(wrong)), rungs.broken(wrong))


def out_of_order(rungs: TwoRungs, why: str = "") -> Disagreement:
    """The positions at which the orders differ."""
    wrong = np.array(rungs.now) != np.array(rungs.before)
    return Disagreement(rungs.gap(), None, int(np.count_nonzero(wrong)), rungs.broken(wrong), why)


@final
class SoftRanking(Named, frozen=True):
    """Consistent when |p(T[i]) − p(P[i])| ≤ ε at every position i (PASHA, section 4.1).

    `epsilon` is "auto" (estimated from the noise in the curves, `core.noise`) or a number in units of the score; 0 is
    direct ranking up to exact ties.
    """

    name = "soft"
    epsilon: float | str = "auto"

    def __post_init__(self) -> None:
        if isinstance(self.epsilon, str):
            if self.epsilon != "auto":
                raise InputError(f"epsilon must be 'auto' or a number ≥ 0, not {self.epsilon!r}")
        elif real(self.epsilon, "epsilon") < 0:
            raise InputError(f"epsilon must be 'auto' or a number ≥ 0, not {self.epsilon!r}")

    def disagreement(self, rungs: TwoRungs, noise: Noise) -> Disagreement | None:
        """None if every trial is within ε of the one whose place it took."""
        if not isinstance(self.epsilon, str):
            return soft(rungs, self.epsilon)
        gap = rungs.gap()
        return None if noise.covers(gap) else beyond(rungs, gap, noise.epsilon)


@final
class DirectRanking(Named, frozen=True):
    """Consistent when the two orders are the same."""

    name = "direct"

    def disagreement(self, rungs: TwoRungs, noise: Noise) -> Disagreement | None:
        """None if T equals P."""
        return None if rungs.same else out_of_order(rungs)
