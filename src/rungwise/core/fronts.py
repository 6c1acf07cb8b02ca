"""Who dominates whom? Non-dominated sorting that is kept up to date while points are added.

Point a dominates b if none of its losses is higher and one is lower. The first front are the points that nobody
dominates, the second those that nobody else dominates, and so on (Deb et al., IEEE Transactions on Evolutionary
Computation 2002, NSGA-II). A new point belongs to the first front without a point that dominates it. Those of that
front that it dominates go down by one, and push down those of the next front that they dominate, and so on: nobody
moves by more than one (Li et al., IEEE Transactions on Cybernetics 2017, "Efficient non-domination level update").

A point has a place, a number of its own, by which ties are broken. Equal points are always in one front.
May import numpy.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

Losses = tuple[float, ...]
Points = tuple["array[Any]", ...]
"""A column of losses for each metric, and as the last one their places."""


class Front:
    """Points of which none dominates another. Abstract: `Line` is for two metrics, `Cloud` for more.

    `waiting` is for the caller: how many of the points wait for something.
    """

    def __init__(self, points: Points) -> None:
        self.points = points
        self.waiting = 0
        self._room: NDArray[np.float64] | None = None
        self._order: NDArray[np.int64] | None = None

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

    def orders(self) -> list[NDArray[np.int64]]:
        """For each metric the rows from the lowest loss to the highest, the earlier place among equals."""
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
        """The crowding distance of each row: infinite at the ends of a metric, else the gaps to its neighbours there.

        Each gap is counted in units of the range of its metric in the front.
        """
        if self._room is None:
            room = np.zeros(len(self))
            for losses, order in zip(self.points, self.orders(), strict=False):
                column = np.frombuffer(losses)[order]
                room[order[[0, -1]]] = np.inf
                if len(room) > 2 and column[-1] > column[0]:
                    if column[-1] / 2 - column[0] / 2 > np.finfo(float).max / 2:
                        column = column / 2  # or the range would be infinite
                    room[order[1:-1]] += (column[2:] - column[:-2]) / (column[-1] - column[0])
            self._room = room
        return self._room

    @property
    def order(self) -> NDArray[np.int64]:
        """The places from most room to least, the earlier among equals."""
        if self._order is None:
            places = self.places
            self._order = places[np.lexsort((places, -self.room))]
        return self._order

    def first(self, gone: bytearray) -> tuple[int, int]:
        """The place of the first in order that is not `gone`, and how many stand before it."""
        room, places = self.room, self.places
        waiting = np.frombuffer(gone, dtype=np.uint8)[places] == 0
        most = room[waiting].max()
        equal = places[room == most]
        place = int(places[waiting & (room == most)].min())
        return place, int(np.count_nonzero(room > most) + np.count_nonzero(equal < place))


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

    def orders(self) -> list[NDArray[np.int64]]:
        """For each metric the rows from the lowest loss to the highest, the earlier place among equals."""
        rows, column = np.arange(len(self)), np.frombuffer(self.points[0])
        if (column[1:] > column[:-1]).all():
            return [rows, rows[::-1]]
        return [rows, np.lexsort((self.places, np.frombuffer(self.points[1])))]


@final
class Cloud(Front):
    """A front of any number of metrics, in no order."""

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

    def orders(self) -> list[NDArray[np.int64]]:
        """For each metric the rows from the lowest loss to the highest, the earlier place among equals."""
        places = self.places
        return [np.lexsort((places, np.frombuffer(column))) for column in self.points[:-1]]


def front(losses: Losses, place: int) -> Front:
    """A front of one point."""
    return (Line if len(losses) == 2 else Cloud)(point(losses, place))


def point(losses: Losses, place: int) -> Points:
    """One point as columns."""
    return (*(array("d", [loss]) for loss in losses), array("q", [place]))


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
        self.gone = bytearray()  # place -> 1 if the point no longer waits

    def add(self, losses: Losses, place: int) -> None:
        """A point, which waits."""
        points = point(losses, place)
        self.gone.extend(bytes(max(0, place + 1 - len(self.gone))))
        at = self.find(losses)
        waiting = 1
        if at < len(self.fronts) and self.fronts[at].compare(losses) == 0:  # whom it dominates, its equal does already
            self.fronts[at].join(points)
            self.fronts[at].waiting += 1
            return
        while points[-1]:
            if at == len(self.fronts):
                self._insert(at, points, waiting)
                return
            front = self.fronts[at]
            out = front.put_out(points)
            still = len(out[-1]) - sum(map(self.gone.__getitem__, out[-1]))
            whole = len(front) == 0
            front.join(points)
            front.waiting += waiting - still
            if whole:  # so goes each front below it
                self._insert(at + 1, out, still)
                return
            points, waiting, at = out, still, at + 1

    def _insert(self, at: int, points: Points, waiting: int) -> None:
        front = self.kind(points)
        front.waiting = waiting
        self.fronts.insert(at, front)

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
            self.gone[place] = 1
            self.fronts[self.find(losses)].waiting -= 1

    def first(self, most: int) -> tuple[int, int] | None:
        """The place of the first in order that waits, and its rank from 0, if that is below `most`."""
        before = 0
        for front in self.fronts:
            if before >= most:
                return None
            if front.waiting:
                place, rank = front.first(self.gone)
                return (place, before + rank) if before + rank < most else None
            before += len(front)
        return None

    def order(self) -> NDArray[np.int64]:
        """All places, front by front, in each from most room to least, the earlier among equals."""
        return np.concatenate([np.empty(0, dtype=np.int64), *(front.order for front in self.fronts)])
