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
Order = tuple[NDArray[np.int64] | slice, NDArray[np.float64]]
"""Rows, as numpy takes them, and the losses of one metric in their order."""

SMALL = 64
"""Up to so many points are sorted anew each time."""


class Sorted:
    """Places in the order of their keys, the lower place among equals; after a few changes most of it still stands."""

    def __init__(self) -> None:
        self.order = np.empty(0, dtype=np.int64)
        self.keys = np.empty(0)

    def update(self, places: NDArray[np.int64], keys: NDArray[np.float64]) -> NDArray[np.int64]:
        """The order of `places` now that `keys` are theirs."""
        if len(places) <= SMALL or not self._resort(places, keys):
            rows = np.lexsort((places, keys))
            self.order, self.keys = places[rows], keys[rows]
        return self.order

    def _resort(self, places: NDArray[np.int64], keys: NDArray[np.float64]) -> bool:
        """Move those whose key is another one; False if these are too many."""
        if len(self.order) < len(places) // 2:
            return False
        now = np.full(max(int(places.max()), int(self.order.max())) + 1, np.nan)  # place -> key, nan if not here
        now[places] = keys
        stays = now[self.order] == self.keys
        order, kept = self.order[stays], self.keys[stays]
        if len(places) - len(order) > len(places) // 8:
            return False
        now[order] = np.nan
        moved = places[~np.isnan(now[places])]
        self.order, self.keys = order, kept
        self.insert(moved, now[moved])
        return True

    def insert(self, places: NDArray[np.int64], keys: NDArray[np.float64]) -> None:
        """Put in `places`, which are not there yet."""
        rows = np.lexsort((places, keys))
        places, keys = places[rows], keys[rows]
        at = []
        for place, key in zip(places.tolist(), keys.tolist(), strict=True):
            low, high = self.keys.searchsorted(key), self.keys.searchsorted(key, side="right")
            at.append(int(low + (self.order[low:high].searchsorted(place) if high > low else 0)))
        self.order, self.keys = _inserted(self.order, at, places), _inserted(self.keys, at, keys)


def _inserted(values: NDArray[Any], at: list[int], new: NDArray[Any]) -> NDArray[Any]:
    """As `numpy.insert`, which takes ten times as long for a few."""
    joined = np.empty(len(values) + len(at), dtype=values.dtype)
    before = 0
    for shift, place in enumerate(at):
        joined[before + shift : place + shift] = values[before:place]
        joined[place + shift] = new[shift]
        before = place
    joined[before + len(at) :] = values[before:]
    return joined


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
        """The crowding distance of each row: infinite at the ends of a metric, else the gaps to its neighbours there.

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
