"""How may a curve go on that nobody trained further? As a curve did that was near it; beyond all of them, as before.

Pure: numpy, and chance from a generator that is passed in. Imports `errors` only.

A curve that ends is continued by a donor: one of the `NEAR` curves that were closest to it where it ends, of those that
went on. It takes over the donor's steps, not its values. Where that ends too, another donor is drawn, and so on up to
the furthest resource that anybody was trained to. Beyond it, the last octave (threefold resource) of one of the longest
curves is repeated, its steps multiplied by a factor from `FADING`: learning curves flatten. The fewer curves there are
to learn from, the more chance is added.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
NEAR = 5
OCTAVE = 3.0
FADING = 0.3, 1.0  # by what steps shrink from octave to octave: one number for each sample of curves
UNSURE = 0.5  # spreads of the scores an octave, where nobody shows how curves go on


@final
class Curves:
    """The curves that were seen: `scores` and cumulative `seconds` of shape (curves, columns); NaN is not finite.

    `resources` names the columns. `ends` says which column of each curve is the last one known. Curves have a column
    at least.
    """

    def __init__(
        self,
        resources: NDArray[np.int64],
        scores: Array,
        seconds: Array,
        ends: NDArray[np.int64],
        fading: float = FADING[1],
    ) -> None:
        self.resources, self.scores, self.seconds, self.ends = resources, scores, seconds, ends
        self._fading = fading
        places = np.arange(len(ends))
        self.pace = seconds[places, ends] / resources[ends]  # seconds a unit, of each curve
        self._beyond: dict[int, tuple[Array, NDArray[np.intp]]] = {}
        furthest = resources[ends.max()]
        long = (resources[ends] >= furthest / OCTAVE) & (resources[ends] >= OCTAVE * resources[0])
        self.long = np.flatnonzero(long & np.isfinite(scores[places, ends]))  # the longest; they have an octave
        begin = scores[:, ends.min()]
        begin = begin[np.isfinite(begin)]
        quarters = np.quantile(begin, [0.25, 0.75]) if len(begin) > 1 else np.zeros(2)
        self._spread = float(quarters[1] - quarters[0]) / 1.35  # the standard deviation, if they are normal

    def __len__(self) -> int:
        return len(self.ends)

    def part(self, rng: np.random.Generator) -> Curves:
        """Those of the curves that are drawn, if as many are drawn as there are: another sample of what they are of."""
        which = np.unique(rng.integers(len(self), size=len(self)))
        fading = float(np.exp(rng.uniform(*np.log(FADING))))
        return Curves(self.resources, self.scores[which], self.seconds[which], self.ends[which], fading)

    def beyond(self, column: int) -> tuple[Array, NDArray[np.intp]]:
        """The curves that go on after `column`, by their scores there: the scores, ascending, and which they are."""
        if (found := self._beyond.get(column)) is None:
            which = np.flatnonzero((self.ends > column) & np.isfinite(self.scores[:, column]))
            order = np.argsort(self.scores[which, column], kind="stable")
            found = self._beyond[column] = self.scores[which[order], column], which[order]
        return found

    def others(self, count: int, rng: np.random.Generator) -> tuple[NDArray[np.intp], Array]:
        """How `count` other curves begin: like which of these, and how far above it.

        Another curve is as likely to come between any two of those that were seen, by the scores where the shortest of
        them ends, or beyond the outermost.
        """
        scores = self.scores[:, self.ends.min()]
        order = np.argsort(scores, kind="stable")  # NaN comes last
        ordered = scores[order][np.isfinite(scores[order])]
        if (finite := len(ordered)) < 2:
            return rng.integers(len(self), size=count), np.zeros(count)
        weights = rng.dirichlet(np.ones(len(self) + 1))  # others before it have fallen somewhere, too
        upper = rng.choice(len(self) + 1, size=count, p=weights)  # the place above the gap that it falls into
        at = np.clip(upper - rng.integers(2, size=count), 0, len(self) - 1)  # and of that end of it which it is like
        gaps = np.concatenate([[ordered[1] - ordered[0]], np.diff(ordered), [ordered[-1] - ordered[-2]]])
        aside = np.where(at < upper, 1, -1) * rng.random(count) / 2 * gaps[np.minimum(upper, finite)]
        out = rng.exponential(size=count)
        aside = np.where(upper == 0, -out * gaps[0], np.where((upper == finite), out * gaps[-1], aside))
        at = np.where(upper == finite, finite - 1, at)
        return order[at], np.where(at < finite, aside, 0.0)

    def unsure(self, column: int, until: int, donors: int, rng: np.random.Generator) -> Array:
        """By how much else a score may change on the way from `column` to each column after it, up to `until`.

        That is the more the fewer `donors` there are to show what curves do.
        """
        way = np.log(self.resources[column + 1 : until + 1] / self.resources[column])
        size = UNSURE * self._spread * np.sqrt(way[-1] / np.log(OCTAVE) / (1 + donors))
        return rng.standard_normal() * size * way / way[-1]  # type: ignore[no-any-return]

    def donor(self, column: int, score: float, rng: np.random.Generator) -> int | None:
        """One of those that were nearest to `score` at `column` and went on; None if nobody did."""
        scores, which = self.beyond(column)
        if not len(which):
            return None
        right = int(np.searchsorted(scores, score))
        low, high = max(0, right - NEAR), min(len(which), right + NEAR)
        near = np.argsort(np.abs(scores[low:high] - score), kind="stable")[:NEAR]
        return int(which[low + near[int(rng.integers(len(near)))]])

    def steps(self, column: int, until: int, rng: np.random.Generator) -> Array:
        """What a score changes by from `column`, the furthest, to each column after it, up to `until`."""
        resources = self.resources
        if not len(self.long):
            return np.zeros(until - column)
        donor = self.long[int(rng.integers(len(self.long)))]
        end = self.ends[donor]
        ahead = resources[column + 1 : until + 1] / resources[column]
        octaves = np.log(resources[column] / resources[end]) / np.log(OCTAVE)  # from the end of the donor
        known = self.scores[donor, : end + 1]
        at = np.log(resources[: end + 1])
        here = np.log(resources[end] / OCTAVE)
        values = np.interp(here + np.log(ahead), at, known) - np.interp(here, at, known)
        return self._fading ** (1 + octaves) * values  # type: ignore[no-any-return]


@final
class Imagined:
    """Curves to simulate with: `known` ones as they are, then others like them; each is made up as far as it is asked.

    `scores` and `seconds` have the shape (rows, columns). Row i begins as curve `known[i]` of `curves`; those beyond,
    and those where that is -1, begin as one of them, drawn with `rng`.
    """

    def __init__(self, curves: Curves, known: Sequence[int], rows: int, rng: np.random.Generator) -> None:
        like, aside = curves.others(rows, rng)  # for a trial of which nothing is known, too
        there = np.flatnonzero(np.asarray(known, dtype=int) >= 0)
        like[there], aside[there] = np.asarray(known, dtype=int)[there], 0.0
        self.scores, self.seconds = curves.scores[like] + aside[:, None], curves.seconds[like]
        self._pace, self._ends = curves.pace[like], curves.ends[like]
        self._curves, self._rng = curves.part(rng), rng

    def reach(self, row: int, until: int) -> None:
        """Make up row `row` as far as column `until`."""
        curves, rng, scores = self._curves, self._rng, self.scores[row]
        while (end := int(self._ends[row])) < until:
            score = float(scores[end])
            if not np.isfinite(score):
                last, scores[end + 1 :] = len(scores) - 1, np.nan
            elif (donor := curves.donor(end, score, rng)) is not None:
                last, theirs = int(curves.ends[donor]), curves.scores[donor]
                scores[end + 1 : last + 1] = score + theirs[end + 1 : last + 1] - theirs[end]
                donors = len(curves.beyond(end)[1])
            else:
                last = bisect_right(curves.resources, curves.resources[end] * OCTAVE) - 1
                last = min(max(last, end + 1), len(scores) - 1)
                scores[end + 1 : last + 1] = score + curves.steps(end, last, rng)
                donors = len(curves.long)
            if np.isfinite(score):
                scores[end + 1 : last + 1] += curves.unsure(end, last, donors, rng)
            took = self._pace[row] * (curves.resources[end + 1 : last + 1] - curves.resources[end])
            self.seconds[row, end + 1 : last + 1] = self.seconds[row, end] + took
            self._ends[row] = last
