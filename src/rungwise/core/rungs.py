"""Who stands where? A ladder of levels, and the results of one rung in order.

Levels: r, rη, rη², … (Jamieson & Talwalkar, AISTATS 2016; Li et al., MLSys 2020, "ASHA", Algorithm 2),
each rounded to the nearest integer (a half goes up), repeats dropped, those at or above R dropped, then
R itself. Trials are identified by number, rungs by their place from the bottom.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

from rungwise.core.promotion import Promotion
from rungwise.errors import InputError
from rungwise.validation import real, whole

Entry = tuple[float, int, int]
"""(loss, place, trial): entries compare as results do, better first, the earlier completion among equals."""

Fits = Callable[[int, int], bool]
"""Whether the budget pays for a job from one resource to another."""


def any_job(start: int, until: int) -> bool:
    """There is no such budget: every job fits."""
    return True


class Ladder:
    """The levels of resource at which trials are compared; endless when there is no `max_resource`.

    `last` is the place of the last rung, None if there is none.

    >>> Ladder(1, 3, 100).levels(9)
    [1, 3, 9, 27, 81, 100]
    >>> Ladder(1, 2.5, None).levels(4)
    [1, 3, 6, 16]
    """

    def __init__(self, min_resource: int, reduction_factor: float, max_resource: int | None) -> None:
        self.min_resource = whole(min_resource, "min_resource")
        self.reduction_factor = real(reduction_factor, "reduction_factor")
        self.max_resource = None if max_resource is None else whole(max_resource, "max_resource")
        if self.min_resource < 1:
            raise InputError(f"min_resource must be 1 or more, not {min_resource!r}")
        if not 1.01 <= self.reduction_factor <= 1e6:
            raise InputError(
                f"reduction_factor must be above 1 (3 and 4 are usual; from 1.01 to a million), not "
                f"{reduction_factor!r}: one in so many trials is promoted at each rung"
            )
        if self.max_resource is not None and self.max_resource < 1:
            raise InputError(f"max_resource must be 1 or more, not {max_resource!r}")
        if self.max_resource is not None and self.max_resource < self.min_resource:
            raise InputError(f"min_resource={min_resource} is above max_resource={max_resource}; swap them?")
        self.last: int | None = None
        self._levels: list[int] = []
        self._rung_at: dict[int, int] = {}
        self._power = 0
        while self.last is None and (self.max_resource is not None or not self._levels):
            self._grow()

    def _grow(self) -> None:
        level = math.floor(self.min_resource * self.reduction_factor**self._power + 0.5)
        self._power += 1
        if self.max_resource is not None and level >= self.max_resource:
            level = self.max_resource
            self.last = len(self._levels)
        if not self._levels or level > self._levels[-1]:
            self._rung_at[level] = len(self._levels)
            self._levels.append(level)

    def longer(self, max_resource: int | None) -> Ladder:
        """One that goes on to `max_resource` beyond the last rung of this one, with all of its rungs.

        Raises `InputError` if `max_resource` is no higher, if the last rung is none of the longer ladder, or if it is
        the only one.
        """
        ladder, here = Ladder(self.min_resource, self.reduction_factor, max_resource), self.max_resource
        if here is None or (max_resource is not None and max_resource <= here):
            anew = "; begin a new file, which can learn from this study: warm_start=" if here is None else ""
            now = "unlimited" if here is None else here
            raise InputError(f"max_resource can only be raised: it is {now} in this study, not {max_resource}{anew}")
        if ladder.levels(len(self._levels)) != self._levels or self.last == 0:
            levels = ", ".join(map(str, Ladder(self.min_resource, self.reduction_factor, None).levels(8)[1:]))
            raise InputError(
                f"max_resource={here} of this study cannot be raised: it is no rung of a longer ladder; "
                f"only one of {levels}, … could be"
            )
        return ladder

    def level(self, rung: int) -> int:
        """The resource of `rung`, which must not be above the last one."""
        while len(self._levels) <= rung:
            if self.last is not None:
                raise IndexError(f"the ladder {self._levels} has no rung {rung}")
            self._grow()
        return self._levels[rung]

    def rung_at(self, level: int) -> int:
        """The place of the rung whose resource is `level`."""
        while self.last is None and self._levels[-1] < level:
            self._grow()
        if level not in self._rung_at:
            raise InputError(f"no rung of this ladder is at {level}; the levels are {self._levels}")
        return self._rung_at[level]

    def levels(self, count: int) -> list[int]:
        """The first `count` levels, fewer if there are not so many."""
        while len(self._levels) < count and self.last is None:
            self._grow()
        return self._levels[:count]


class Levels:
    """A ladder that is given level by level.

    >>> Levels([10, 20]).rung_at(20)
    1
    """

    def __init__(self, levels: Sequence[int]) -> None:
        self._levels = levels
        self.last = len(levels) - 1

    def level(self, rung: int) -> int:
        """The resource of `rung`."""
        return self._levels[rung]

    def rung_at(self, level: int) -> int:
        """The place of the rung whose resource is `level`."""
        return self._levels.index(level)


class Rung:
    """The results at one level, in order, and the trials among them that are paused there.

    Columns of numbers, 17 bytes a result and 4 a trial: objects would take 200. A result is known by its place, the
    number of results that came before it; trials that complete one rung have numbers near each other.
    `hopeful` is False while nobody has come since `candidate` found nobody.
    """

    def __init__(self) -> None:
        self.hopeful = False
        self._losses = array("d")  # by place
        self._trials = array("i")  # by place
        self._order = array("i")  # places, from the best to the worst
        self._gone = bytearray()  # in that order: 1 if nobody is paused there
        self._first = 0  # nobody before it in that order is paused
        self._places = array("i")  # by trial, from number `_from` on; -1: is not here
        self._from = 0

    def __len__(self) -> int:
        return len(self._trials)

    @property
    def trials(self) -> list[int]:
        """Those that completed it, in the order of completion."""
        return self._trials.tolist()

    def add(self, trial: int, loss: float) -> None:
        """`trial` completes this rung with `loss`; infinite if it failed."""
        losses, order, places = self._losses, self._order, self._places
        place = len(losses)
        at = bisect_right(order, loss, key=losses.__getitem__)  # among equals the earlier completion is first
        losses.append(loss)
        self.hopeful = True
        self._trials.append(trial)
        order.insert(at, place)  # moves up to n numbers: 3 µs at n = 100,000, and no tree to maintain
        if loss < math.inf:
            self._gone.insert(at, 0)
            if at < self._first:
                self._first = at
        else:
            self._gone.append(1)
        if trial - self._from == len(places) != 0:
            places.append(place)
        else:
            self._note(trial, place)

    def _note(self, trial: int, place: int) -> None:
        places = self._places
        if not places:
            self._from = trial
        at = trial - self._from
        if at >= len(places):
            places.extend([-1] * (at + 1 - len(places)))
        elif at < 0:
            self._places = places = array("i", [-1]) * -at + places
            self._from, at = trial, 0
        places[at] = place

    def entry(self, trial: int) -> Entry:
        """The result of `trial`; `KeyError` if it has not completed this rung."""
        place = self._places[trial - self._from] if self._from <= trial < self._from + len(self._places) else -1
        if place < 0:
            raise KeyError(trial)
        return self._losses[place], place, trial

    def rank(self, trial: int) -> int:
        """The place of `trial` from 0, the best one."""
        losses = self._losses
        return bisect_left(self._order, self.entry(trial)[:2], key=lambda place: (losses[place], place))

    def promote(self, trial: int) -> None:
        """`trial` leaves for the next rung; its result stays."""
        first = self._gone.find(0, self._first)  # nearly always
        at = first if first >= 0 and self._trials[self._order[first]] == trial else self.rank(trial)
        self._gone[at] = 1

    def paused(self, first: int) -> list[int]:
        """The trials paused here that are among the `first` of the rung."""
        places = zip(self._order[:first], self._gone[:first], strict=True)
        return [self._trials[place] for place, gone in places if not gone]

    def best(self) -> Entry | None:
        """The best trial paused here; None if there is none."""
        first = self._gone.find(0, self._first)
        if first < 0:
            return None
        self._first, place = first, self._order[first]
        return self._losses[place], place, self._trials[place]

    def candidate(self, rule: Promotion, reduction_factor: float) -> tuple[int, int, int] | None:
        """The best paused trial, its rank from 0, and n, if `rule` lets it go on (ASHA, Algorithm 2, l. 14)."""
        rank, size = self._gone.find(0, self._first), len(self._order)
        if not 0 <= rank < rule.quota(size, reduction_factor):
            self.hopeful = False
            return None
        self._first = rank
        return self._trials[self._order[rank]], rank, size

    def finite(self) -> int:
        """How many have completed this rung with a finite loss."""
        return bisect_left(self._order, math.inf, key=self._losses.__getitem__)
