"""Who stands in which front? Non-dominated sorting that is kept up to date while points are added.

The first front are the points that nobody dominates (`rungwise.dominance`), the second those that nobody else
dominates, and so on (Deb et al., IEEE Transactions on Evolutionary Computation 2002, NSGA-II). A new point belongs to
the first front without a point that dominates it. Those of that front that it dominates go down by one, and push down
those of the next front that they dominate, and so on: nobody moves by more than one (Li et al., IEEE Transactions on
Cybernetics 2017, "Efficient non-domination level update"). Equal points are always in one front.
May import `dominance`.
"""

from __future__ import annotations

from array import array
from typing import final

import numpy as np
from numpy.typing import NDArray

from rungwise.dominance import Cloud, Front, Line, Losses, Points, point


@final
class Fronts:
    """Points in fronts, from the first to the last; those that wait are counted in each.

    >>> fronts = Fronts(2)
    >>> for place, losses in enumerate([(3, 3), (0, 2), (1, 1), (2, 0), (2, 2)]):
    ...     fronts.add(losses, place)
    >>> fronts.order().tolist()
    [1, 3, 2, 4, 0]
    """

    def __init__(self, metrics: int) -> None:
        self.kind = Line if metrics == 2 else Cloud
        self.fronts: list[Front] = []
        self._sizes = array("q")  # of the fronts
        self._waits = bytearray()  # for each front 1 if anyone waits there
        self._order = np.empty(0, dtype=np.int64)  # as of the last time, and since then …
        self._same = 0, 0  # … so many fronts at either end are the same
        self.gone = bytearray()  # place -> 1 if the point no longer waits
        self._first: tuple[int, int] | None = None  # what `first` found, for any `most`, since the last change
        self._fresh = False

    def add(self, losses: Losses, place: int) -> None:
        """A point, which waits."""
        self._fresh = False
        points = point(losses, place)
        self.gone.extend(bytes(max(0, place + 1 - len(self.gone))))
        top = at = self.find(losses)
        waiting, count = 1, len(self.fronts)
        if at < len(self.fronts) and self.fronts[at].compare(losses) == 0:  # whom it dominates, its equal does already
            self.fronts[at].join(points)
            self.fronts[at].waiting += 1
            self._note(at, at + 1)
            self._differ(top, count - at - 1)
            return
        while points[-1]:
            if at == len(self.fronts):
                self._insert(at, points, waiting)
                self._differ(top, 0)
                return
            front = self.fronts[at]
            out = front.put_out(points)
            still = len(out[-1]) - sum(map(self.gone.__getitem__, out[-1]))
            whole = len(front) == 0
            front.join(points)
            front.waiting += waiting - still
            self._note(at, at + 1)
            if whole:  # so goes each front below it
                self._insert(at + 1, out, still)
                break
            points, waiting, at = out, still, at + 1
        self._differ(top, count - at - whole)

    def _insert(self, at: int, points: Points, waiting: int) -> None:
        front = self.kind(points)
        front.waiting = waiting
        self.fronts.insert(at, front)
        self._note(at, at)

    def _note(self, at: int, end: int) -> None:
        """The front at `at` has changed; with `end` the same it is a new one."""
        self._sizes[at:end] = array("q", [len(self.fronts[at])])
        self._waits[at:end] = bytes([self.fronts[at].waiting > 0])

    def _differ(self, top: int, tail: int) -> None:
        """All fronts have changed but the first `top` and the last `tail`."""
        self._same = min(self._same[0], top), min(self._same[1], tail)

    def find(self, losses: Losses) -> int:
        """The front that `losses` belong to: the first one without a point that dominates them."""
        low, high = 0, len(self.fronts)
        while low < high:
            middle = (low + high) // 2
            if self.fronts[middle].compare(losses) == 1:
                low = middle + 1
            else:
                high = middle
        return low

    def go(self, place: int, losses: Losses) -> None:
        """The point at `place` no longer waits."""
        if not self.gone[place]:
            self._fresh = False
            self.gone[place] = 1
            at = self.find(losses)
            self.fronts[at].waiting -= 1
            self._note(at, at + 1)

    def first(self, most: int) -> tuple[int, int] | None:
        """The place of the first in order that waits, and its rank from 0, if that is below `most`."""
        if not self._fresh:
            self._fresh = True
            self._first, at = None, self._waits.find(1)
            if at >= 0:
                place, rank = self.fronts[at].first(self.gone)
                self._first = place, rank + int(np.frombuffer(self._sizes, dtype=np.int64)[:at].sum())
        return self._first if self._first is not None and self._first[1] < most else None

    def order(self) -> NDArray[np.int64]:
        """All places, front by front, in each from most room to least, the earlier among equals."""
        top, tail = self._same
        if top < len(self.fronts):
            end, sizes = len(self.fronts) - tail, np.frombuffer(self._sizes, dtype=np.int64)
            head, rest = self._order[: sizes[:top].sum()], self._order[len(self._order) - sizes[end:].sum() :]
            self._order = np.concatenate([head, *(front.order for front in self.fronts[top:end]), rest])
            self._same = len(self.fronts), len(self.fronts)
        return self._order
