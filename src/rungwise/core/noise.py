"""How far apart is noise? ε from learning curves that criss-cross (PASHA, Bohdal et al., ICLR 2023, section 4.2).

Two trials whose curves swap places and swap back cannot be told apart at that distance. Look at every
pair of trials that have both reported in the window (low, high], the stretch below the top rung. Let e be
the largest resource there at which both have a finite score, and follow the order of the two back from
e: the pair criss-crosses if the order was once the opposite, and before that once again the same. ε is the
90th percentile (linear interpolation, as `numpy.percentile`) of the distances at e of all such pairs;
while there is none, it keeps its last value, 0 at first. Order means "the loss of the trial with the lower
number is strictly above the other's". Resources at which either has no finite score are left out.

Work is bounded by one rule: only the first `LIMIT` trials that report in a window are looked at. Half a
million pairs settle a percentile; those that come after no longer move it.

What is kept: pairs of trials that are both done in the window never change again, so their distances are
computed once and stored. Pairs with a trial on its way are recomputed when ε is wanted; there are as many
of those trials as workers. "Is ε at least this gap?" needs no ε as long as the settled pairs decide it,
whatever the others may be.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rungwise.events import Report
from rungwise.reports import RECENT, Reports

LIMIT = 1024
"""How many trials, the first to report in a window, are compared with each other."""

PERCENTILE = 0.9
LARGEST_FLOAT = np.finfo(float).max
"""Stands for an infinite loss or distance, so that two of them are equal and no finite one is near."""

BLOCK = 2_000_000  # comparisons in one numpy call: bounds the memory, a few bytes each


class Noise:
    """ε for one window of resources at a time, kept as reports come in.

    >>> noise = Noise(0, 3)
    >>> for resource, losses in enumerate([(1, 2), (2, 1), (1, 1.5)], start=1):
    ...     noise.report(Report(0, resource, losses[:1]), Report(1, resource, losses[1:]))
    >>> noise.epsilon
    0.5
    """

    def __init__(self, low: int, high: int) -> None:
        self._curves = Reports(width=1)  # all losses, also those below the window
        self._carried = 0.0
        self._enter(low, high)

    def _enter(self, low: int, high: int) -> None:
        self._low, self._high = low, high
        self._slots: dict[int, int] = {}  # trial -> its column in the table
        self._rows: dict[int, int] = {}  # resource -> its row in the table
        self._gapless = True  # every trial fills a first stretch of the rows
        self._table = np.full((16, 16), np.nan)  # losses, resources × trials, nan where there is none
        self._filled: list[int] = []  # slot -> how many rows it fills
        self._on_the_way: dict[int, None] = {}  # slots, in order of entry
        self._arrived: list[int] = []  # slots that are done but not yet compared
        self._settled = np.empty(64)  # distances of criss-crossing pairs of trials that are done
        self._count = 0
        self._moving = np.empty(0)  # the same for pairs with a trial on its way
        self._mark, self._below_mark = -math.inf, 0  # a distance, and how many settled ones are below it
        self._fresh = True

    def report(self, *reports: Report, metric: int = 0) -> None:
        """These came in this order. Of several losses, that of `metric` counts; one that is not finite is no score."""
        curves, low, high, slots = self._curves, self._low, self._high, self._slots
        points: list[tuple[int, int, float]] = []  # in the window: slot, resource, loss
        for event in reports:
            trial, resource, loss = event.trial, event.resource, event.losses[metric]
            recent = curves.recent
            if (rows := recent.get(trial)) is None:
                recent[trial] = [(resource, loss)]
            else:
                rows.append((resource, loss))
                if len(rows) > RECENT:
                    curves.pack()
            if low < resource <= high:
                if (slot := slots.get(trial)) is not None:
                    points.append((slot, resource, loss))
                elif len(slots) < LIMIT:
                    slot = slots[trial] = len(slots)
                    self._filled.append(0)
                    self._on_the_way[slot] = None
                    points += [(slot, earlier, known) for earlier, known in curves.of(trial)]
        if len(curves.recent) > RECENT:
            curves.pack()
        if points:
            self._write(points)

    def arrive(self, trial: int) -> None:
        """`trial` will report nothing more in this window."""
        slot = self._slots.get(trial)
        if slot is not None and slot in self._on_the_way:
            del self._on_the_way[slot]
            self._arrived.append(slot)
            self._fresh = False

    def move(self, low: int, high: int) -> None:
        """Look at the window (low, high] from now on; ε keeps its value until a pair criss-crosses there."""
        self._carried = self.epsilon
        self._enter(low, high)  # empty: nobody is above the ceiling, so nobody has reported in there

    def _write(self, points: list[tuple[int, int, float]]) -> None:
        for _, resource, _ in points:
            if resource not in self._rows:
                self._new_row(resource)
        if (most := len(self._slots)) > self._table.shape[1]:
            self._table = np.pad(self._table, ((0, 0), (0, most)), constant_values=np.nan)
        finite = [(self._rows[resource], slot, loss) for slot, resource, loss in points if math.isfinite(loss)]
        if finite:
            for row, slot, _ in finite:
                self._gapless = self._gapless and self._filled[slot] == row
                self._filled[slot] += 1
            rows, columns, losses = zip(*finite, strict=True)
            self._table[rows, columns] = losses
        self._fresh = False

    def _new_row(self, resource: int) -> None:
        rows, used = self._rows, len(self._rows)
        if used == self._table.shape[0]:
            self._table = np.pad(self._table, ((0, used), (0, 0)), constant_values=np.nan)
        if not rows or resource > next(reversed(rows)):  # nearly always
            rows[resource] = used
            return
        row = sum(known < resource for known in rows)
        self._table[row + 1 : used + 1] = self._table[row:used].copy()  # make room in between
        self._table[row] = np.nan
        self._gapless = False
        self._rows = {known: at for at, known in enumerate(sorted([*rows, resource]))}

    # -- ε -----------------------------------------------------------------------------------------

    @property
    def epsilon(self) -> float:
        """ε as of now."""
        self._update()
        total = self._count + len(self._moving)
        if total == 0:
            return self._carried
        place = (total - 1) * PERCENTILE
        low = math.floor(place)
        part = np.concatenate([self._settled[: self._count], self._moving])
        part.partition([low, min(low + 1, total - 1)])
        a, b, t = float(part[low]), float(part[min(low + 1, total - 1)]), place - low
        return b - (b - a) * (1 - t) if t >= 0.5 else a + (b - a) * t  # to the last bit as numpy does it

    def covers(self, gap: float) -> bool:
        """Whether ε ≥ `gap`."""
        if gap <= 0:
            return True
        if gap <= self._mark:
            # Were all pairs that are not settled below the mark, would the value at the place still be above?
            unsettled = (len(self._arrived) + len(self._on_the_way)) * len(self._slots)
            place = math.floor((self._count + unsettled - 1) * PERCENTILE)
            if self._below_mark + unsettled <= place:
                return True
        epsilon = self.epsilon
        if gap < epsilon and self._count:  # halfway, so that both may move a little
            self._mark = (gap + epsilon) / 2
            self._below_mark = int(np.count_nonzero(self._settled[: self._count] < self._mark))
        return gap <= epsilon

    def _update(self) -> None:
        """Compare the trials that arrived since the last time, and those on their way, with all others."""
        if self._fresh:
            return
        self._fresh = True
        movers = [*self._arrived, *self._on_the_way]
        turn = np.full(len(self._slots), -1)  # each pair is looked at from the one whose turn is later
        turn[movers] = np.arange(len(movers))
        step = max(1, BLOCK // (len(self._rows) * len(self._slots)))
        self._moving = self._moving[:0]
        for at in range(0, len(movers), step):
            slots = np.array(movers[at : at + step])
            distances, owner = self._criss_crossing(slots, turn)
            settled = owner + at < len(self._arrived)
            self._settle(distances[settled])
            if not settled.all():
                self._moving = np.concatenate([self._moving, distances[~settled]])
        self._arrived.clear()

    def _settle(self, distances: NDArray[np.float64]) -> None:
        end = self._count + len(distances)
        if end > len(self._settled):
            self._settled = np.concatenate([self._settled[: self._count], np.empty(end)])
        self._settled[self._count : end] = distances
        self._count = end
        self._below_mark += int(np.count_nonzero(distances < self._mark))

    def _criss_crossing(
        self, slots: NDArray[np.int64], turn: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Distances at e of the criss-crossing pairs of `slots` with those before their turn; and whose they are.

        Axes: slots, resources (oldest first), trials.
        """
        rows, trials = len(self._rows), len(self._slots)
        table = self._table[:rows, :trials]
        finite = ~np.isnan(table)
        mine = table[:, slots].T
        numbers = np.fromiter(self._slots, dtype=np.int64, count=trials)
        lower = numbers[slots][:, None] < numbers
        above = np.where(lower[:, None, :], mine[:, :, None] > table, mine[:, :, None] < table)
        both = finite[:, slots].T[:, :, None] & finite
        swaps = both[:, 1:]
        if not self._gapless:  # carry the order over the resources that are left out
            place = np.where(both, np.arange(rows)[None, :, None], 0)
            above = np.take_along_axis(above, np.maximum.accumulate(place, axis=1), axis=1)
            swaps = swaps & np.logical_or.accumulate(both, axis=1)[:, :-1]
        swaps = swaps & (above[:, 1:] ^ above[:, :-1])
        # e is the last resource both have; swapped there and back means two swaps or more up to e
        e = rows - 1 - np.argmax(both[:, ::-1], axis=1)
        resources = np.fromiter(self._rows, dtype=np.int64, count=rows)
        chosen = np.count_nonzero(swaps, axis=1) >= 2
        chosen &= resources[e] > self._low
        chosen &= turn < turn[slots][:, None]
        owner, other = np.nonzero(chosen)
        at = e[owner, other]
        with np.errstate(over="ignore"):
            distances = np.abs(mine[owner, at] - table[at, other])
        return np.minimum(distances, LARGEST_FLOAT), owner  # so that ε is finite: between ∞ and ∞ is no percentile
