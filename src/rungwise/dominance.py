"""Who dominates whom? Points of which none dominates another, kept up to date while points are added.

Point a dominates b if none of its losses is higher and one is lower. A point has a place, a number of its own, by which
ties are broken. May import `ordered` and numpy.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from rungwise.ordered import SMALL, Sorted

Losses = tuple[float, ...]
Points = tuple["array[Any]", ...]
"""A column of losses for each metric, and as the last one their places."""
Order = tuple[NDArray[np.int64] | slice, NDArray[np.float64]]
"""Rows, as numpy takes them, and the losses of one metric in their order."""


class Front:
    """Points of which none dominates another. Abstract: `Line` is for two metrics, `Cloud` for more.

    `waiting` is for the caller: how many of the points wait for something.
    """

    def __init__(self, points: Points) -> None:
        self.points = points
        self.waiting = 0
        self._room: NDArray[np.float64] | None = None
        self._order: NDArray[np.int64] | None = None
        self._ranked = Sorted()

    def __len__(self) -> int:
        return len(self.points[-1])

    def compare(self, losses: Losses) -> int:
        """1 if a point here dominates `losses`, 0 if one is equal to it, −1 if neither."""
        raise AssertionError("abstract")

    def put_out(self, points: Points) -> Points:
        """Take out those that are dominated by any of `points`, none of which is equal to one here."""
        raise AssertionError("abstract")

    def join(self, points: Points) -> None:
        """Take in `points`, which neither dominate nor are dominated by those here."""
        raise AssertionError("abstract")

    def orders(self) -> list[Order]:
        """For each metric its `Order`: from the lowest loss to the highest, the earlier place among equals."""
        raise AssertionError("abstract")

    def changed(self) -> None:
        """Forget what was worked out."""
        self._room = self._order = None

    @property
    def places(self) -> NDArray[np.int64]:
        """The places of the points, row by row. Let go of it before the front changes."""
        return np.frombuffer(self.points[-1], dtype=np.int64)

    @property
    def room(self) -> NDArray[np.float64]:
        """The crowding distance of each row: infinite at the ends of a metric, else the gaps to its neighbors there.

        Each gap is counted in units of the range of its metric in the front.
        """
        if self._room is None:
            room = np.zeros(len(self))
            for order, column in self.orders():
                gaps = np.zeros(len(self))
                if len(room) > 2 and column[-1] > column[0]:
                    if column[-1] / 2 - column[0] / 2 > np.finfo(float).max / 2:
                        column = column / 2  # or the range would be infinite
                    gaps[1:-1] = (column[2:] - column[:-2]) / (column[-1] - column[0])
                gaps[0] = gaps[-1] = np.inf
                room[order] += gaps
            self._room = room
        return self._room

    @property
    def order(self) -> NDArray[np.int64]:
        """The places from most room to least, the earlier among equals."""
        if self._order is None:
            self._order = self._ranked.update(self.places, -self.room)
        return self._order

    def first(self, gone: bytearray) -> tuple[int, int]:
        """The place of the first in order that is not `gone`, and how many stand before it."""
        room, places = self.room, self.places
        waiting = np.frombuffer(gone, dtype=np.uint8)[places] == 0
        most = np.where(waiting, room, -1.0).max()  # ten times as quick as room[waiting]
        equal = np.flatnonzero(room == most)
        place = int(places[equal[waiting[equal]]].min())
        return place, int(np.count_nonzero(room > most) + np.count_nonzero(places[equal] < place))


@final
class Line(Front):
    """A front of two metrics: in the order of the first loss the second one falls."""

    def compare(self, losses: Losses) -> int:
        """1 if a point here dominates `losses`, 0 if one is equal to it, −1 if neither."""
        a, b, _ = self.points
        at = bisect_right(a, losses[0]) - 1  # of those with no higher first loss this one has the lowest second
        if at < 0 or b[at] > losses[1]:
            return -1
        return 0 if a[at] == losses[0] and b[at] == losses[1] else 1

    def put_out(self, points: Points) -> Points:
        """Take out those that are dominated by any of `points`."""
        out: Points = (array("d"), array("d"), array("q"))
        a, b, _ = self.points
        for first, second in zip(points[0], points[1], strict=True):
            low = high = bisect_left(a, first)
            while high < len(a) and b[high] >= second:
                high += 1
            if high > low:
                for column, gone in zip(self.points, out, strict=True):
                    gone.extend(column[low:high])
                    del column[low:high]
        if out[0]:
            self.changed()
        return out

    def join(self, points: Points) -> None:
        """Take in `points`."""
        self.changed()
        a, _, places = self.points
        at = bisect_left(a, points[0][0])
        if at == len(a) or a[at] > points[0][-1]:  # all between two of ours
            for column, more in zip(self.points, points, strict=True):
                column[at:at] = more
            return
        for row, first in enumerate(points[0]):
            at = bisect_left(places, points[2][row], bisect_left(a, first), bisect_right(a, first))  # among its equals
            for column, more in zip(self.points, points, strict=True):
                column.insert(at, more[row])

    def orders(self) -> list[Order]:
        """For each metric its `Order`: from the lowest loss to the highest, the earlier place among equals."""
        a, b = np.frombuffer(self.points[0]), np.frombuffer(self.points[1])
        second = slice(None, None, -1) if (a[1:] > a[:-1]).all() else np.lexsort((self.places, b))
        return [(slice(None), a), (second, b[second])]


@final
class Cloud(Front):
    """A front of any number of metrics, in no order."""

    def __init__(self, points: Points) -> None:
        super().__init__(points)
        self._sorted: list[Sorted] = []  # by metric, once it is large
        self._known = 0  # so many of the rows, the first ones, are in there, and no others

    def compare(self, losses: Losses) -> int:
        """1 if a point here dominates `losses`, 0 if one is equal to it, −1 if neither."""
        columns = [np.frombuffer(column) for column in self.points[:-1]]
        no_worse = columns[0] <= losses[0]
        for column, loss in zip(columns[1:], losses[1:], strict=True):
            no_worse &= column <= loss
        at = no_worse.argmax()
        if not no_worse[at]:
            return -1
        return 0 if all(column[at] == loss for column, loss in zip(columns, losses, strict=True)) else 1

    def put_out(self, points: Points) -> Points:
        """Take out those that are dominated by any of `points`."""
        dominated = np.ones((len(self), len(points[-1])), dtype=bool)
        for column, losses in zip(self.points[:-1], points, strict=False):
            dominated &= np.frombuffer(column)[:, None] >= np.frombuffer(losses)
        rows = np.logical_or.reduce(dominated, axis=1)
        if not rows.any():
            return tuple(column[:0] for column in self.points)
        self.changed()
        self._known = 0
        out = self._only(rows)
        self.points = self._only(~rows)
        return out

    def _only(self, rows: NDArray[np.bool_]) -> Points:
        return tuple(
            array(column.typecode, np.frombuffer(column, dtype=column.typecode)[rows].tobytes())
            for column in self.points
        )

    def join(self, points: Points) -> None:
        """Take in `points`."""
        self.changed()
        for column, more in zip(self.points, points, strict=True):
            column.extend(more)

    def orders(self) -> list[Order]:
        """For each metric its `Order`: from the lowest loss to the highest, the earlier place among equals."""
        places, columns = self.places, [np.frombuffer(column) for column in self.points[:-1]]
        if len(places) <= SMALL:
            rows = [np.lexsort((places, column)) for column in columns]
            return [(order, column[order]) for order, column in zip(rows, columns, strict=True)]
        self._sorted = self._sorted or [Sorted() for _ in columns]
        for kept, column in zip(self._sorted, columns, strict=True):
            if 0 < len(places) - SMALL <= self._known:
                kept.insert(places[self._known :], column[self._known :])
            else:
                kept.update(places, column)
        self._known = len(places)
        row = np.empty(int(places.max()) + 1, dtype=np.int64)
        row[places] = np.arange(len(places))
        return [(row[kept.order], kept.keys) for kept in self._sorted]


def front(losses: Losses, place: int) -> Front:
    """A front of one point."""
    return (Line if len(losses) == 2 else Cloud)(point(losses, place))


def point(losses: Losses, place: int) -> Points:
    """One point as columns."""
    return (*(array("d", [loss]) for loss in losses), array("q", [place]))


@final
class ParetoFront:
    """The trials that no other dominates, kept while trials are added.

    >>> best = ParetoFront()
    >>> for trial, losses in [(3, (0, 2)), (4, (1, 1)), (5, (2, 2)), (6, (1, 1))]:
    ...     best.add(trial, losses)
    >>> best.trials
    [3, 4, 6]
    """

    def __init__(self) -> None:
        self._front: Front | None = None
        self._added: list[int] = []  # by place
        self.losses: dict[int, Losses] = {}

    def add(self, trial: int, losses: Losses) -> None:
        """`trial` has come with finite `losses`."""
        place = len(self._added)
        self._added.append(trial)
        self.losses[trial] = losses
        if self._front is None:
            self._front = front(losses, place)
            return
        stands = self._front.compare(losses)
        if stands < 0:
            self._front.put_out(point(losses, place))
        if stands <= 0:
            self._front.join(point(losses, place))

    @property
    def trials(self) -> list[int]:
        """Those on the front, in the order in which they came."""
        return [] if self._front is None else [self._added[place] for place in sorted(self._front.points[-1])]
