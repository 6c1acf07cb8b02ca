"""Which trial next, all at a time? Synchronous successive halving, and Hyperband, which is a row of such brackets.

Jamieson & Talwalkar, AISTATS 2016, Algorithm 1; Hyperband: Li et al., JMLR 2018, Algorithm 1.
May import `events`, `errors`, `validation` and `core.rungs`.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from typing import Any, final

from rungwise.core.rungs import Fits, Ladder, Levels, Rung, any_job
from rungwise.errors import InputError, our_names
from rungwise.events import Answer, Event, Promote, Promoted, Result, Start, Started, Wait
from rungwise.validation import whole

MOST_BRACKETS = 500  # beside each other; with η = 3 there are 34 up to 2**53


@final
class Bracket:
    """One run of successive halving: `size` trials, of which the best 1/η are promoted once all completed a rung.

    At least one goes on from each rung if any has a finite loss. A bracket that gets no more trials is halved
    as it stands. It is always the best trial not yet promoted that goes on: where one completes a rung after others
    were promoted from it, they stay promoted and count.
    """

    def __init__(self, levels: Levels | Ladder, reduction_factor: float, size: int) -> None:
        self.levels, self.reduction_factor, self.size = levels, reduction_factor, size
        self.started = 0
        self._rungs: list[Rung] = [Rung()]
        self._promoted = [0]  # how many, to the rung at this place

    @property
    def full(self) -> bool:
        """Whether it takes no more trials; never again once the halving has begun."""
        return self.started == self.size or len(self._promoted) > 1

    def ask(self, *, more: bool, fits: Fits) -> Promote | None:
        """The next promotion, if there is one now and it fits; with `more` only once it is full."""
        if more and not self.full:
            return None
        expected = self.started
        for place, rung in enumerate(self._rungs):
            if len(rung) < expected or place == self.levels.last:
                return None
            expected = min(self._quota(len(rung)), rung.finite())
            if self._gone(place) < expected and (best := rung.best()) is not None:
                if not fits(self.levels.level(place), until := self.levels.level(place + 1)):
                    return None
                return Promote(best[2], until, rung.rank(best[2]) + 1, len(rung))
        return None

    def _quota(self, size: int) -> int:
        """How many go on from a rung of `size` trials, if as many have a finite loss."""
        return max(1, math.floor(size / self.reduction_factor))

    def _gone(self, place: int) -> int:
        """How many were promoted from the rung at `place`."""
        return self._promoted[place + 1] if place + 1 < len(self._promoted) else 0

    def promote(self, rung: int, trial: int) -> None:
        """`trial` was promoted to `rung`."""
        if rung == len(self._promoted):
            self._promoted.append(0)
            self._rungs.append(Rung())
        self._promoted[rung] += 1
        self._rungs[rung - 1].promote(trial)

    def complete(self, rung: int, trial: int, loss: float) -> None:
        """`trial` completed `rung`."""
        self._rungs[rung].add(trial, loss)

    def to_come(self) -> set[int]:
        """The trials paused here that may yet be promoted."""
        hopeful: set[int] = set()
        most = self.size
        for place, rung in enumerate(self._rungs):
            if place == self.levels.last:
                break
            most = self._quota(most)
            hopeful.update(rung.paused(len(rung))[: max(0, most - self._gone(place))])
        return hopeful


@final
class _Row:
    """Brackets one after the other; the next one begins when the last is full, so that no worker waits for long."""

    def __init__(self, shape: Callable[[int], Bracket]) -> None:
        self._shape = shape
        self._brackets: list[Bracket] = []
        self._ready: list[int] = []  # a heap: the places of full brackets that have a promotion; others may be in it
        self._of: dict[int, int] = {}  # trial -> the place of its bracket
        self._running: dict[int, int] = {}  # trial -> the rung it is on the way to

    def ask(self, *, more: bool, fits: Fits) -> Answer:
        for place in sorted(set(self._ready)) if fits is not any_job else self._first_ready():
            if (promotion := self._brackets[place].ask(more=True, fits=fits)) is not None:
                return promotion
        if more and fits(0, first := self._newest().levels.level(0)):
            return Start(first)
        # only the last bracket may have room; now that it gets no more trials, it is halved too
        promotion = self._brackets[-1].ask(more=False, fits=fits) if self._brackets else None
        return Wait() if promotion is None else promotion

    def _first_ready(self) -> Iterator[int]:
        """The place of the first bracket that has a promotion, if any does; those before it are forgotten."""
        while self._ready:
            yield self._ready[0]
            heapq.heappop(self._ready)

    def _newest(self) -> Bracket:
        """The bracket that a new trial joins; not yet among ours if it is a new one."""
        if self._brackets and not self._brackets[-1].full:
            return self._brackets[-1]
        return self._shape(len(self._brackets))

    def _look(self, place: int) -> None:
        """The bracket at `place` has changed: whether there is a promotion in it now."""
        if self._brackets[place].ask(more=True, fits=any_job) is not None:
            heapq.heappush(self._ready, place)

    def tell(self, event: Event) -> None:
        if isinstance(event, Started):
            bracket = self._newest()
            if bracket.started == 0:
                self._brackets.append(bracket)
            bracket.started += 1
            self._of[event.trial] = len(self._brackets) - 1
            self._running[event.trial] = 0
        elif isinstance(event, Promoted):
            bracket = self._brackets[self._of[event.trial]]
            self._running[event.trial] = rung = bracket.levels.rung_at(event.until)
            bracket.promote(rung, event.trial)
            self._look(self._of[event.trial])
        elif isinstance(event, Result):
            place = self._of[event.trial]
            loss = event.losses[0] if event.finite else math.inf
            self._brackets[place].complete(self._running.pop(event.trial), event.trial, loss)
            self._look(place)

    def to_come(self) -> set[int]:
        return {trial for bracket in self._brackets for trial in bracket.to_come()}


@final
class SuccessiveHalving:
    """Synchronous successive halving: of `bracket_size` trials the best 1/η are promoted once all completed a rung.

    The default `bracket_size` is the number that it takes for one trial to reach `max_resource`. When a bracket is full
    the next one starts. If the study ends before the last one is full, it is halved as it is; at least one trial is
    promoted from each rung. Among equal losses the earlier completion comes first; failed trials are never promoted.
    `ladder` holds the levels.

    >>> SuccessiveHalving(max_resource=9).bracket_size
    9

    Raises `InputError` as `ASHA` does, and for a bracket_size below 1.
    """

    name = "halving"

    @our_names()
    def __init__(
        self,
        *,
        max_resource: int,
        min_resource: int = 1,
        reduction_factor: float = 3,
        bracket_size: int | None = None,
    ) -> None:
        ladder = Ladder(min_resource, reduction_factor, whole(max_resource, "max_resource"))
        assert ladder.last is not None
        self.ladder, self._given = ladder, bracket_size
        if bracket_size is None:
            bracket_size = math.ceil(ladder.reduction_factor**ladder.last - 1e-9)
        self.bracket_size = whole(bracket_size, "bracket_size")
        if self.bracket_size < 1:
            raise InputError(f"bracket_size must be 1 or more, not {bracket_size!r}")
        self._row = _Row(self._bracket)

    def _bracket(self, number: int) -> Bracket:
        return Bracket(self.ladder, self.ladder.reduction_factor, self.bracket_size)

    @property
    def max_resource(self) -> int | None:
        """R, the resource of the last rung."""
        return self.ladder.max_resource

    @property
    def open_level(self) -> int | None:
        """The same: no rung is closed."""
        return self.ladder.max_resource

    def settings(self) -> dict[str, Any]:
        """The arguments that make an equal one, as plain JSON."""
        return {
            "min_resource": self.ladder.min_resource,
            "reduction_factor": self.ladder.reduction_factor,
            "max_resource": self.ladder.max_resource,
            "bracket_size": self._given,
        }

    def up_to(self, max_resource: int | None) -> SuccessiveHalving:
        """A fresh scheduler with the same settings and this `max_resource`."""
        return SuccessiveHalving(**self.settings() | {"max_resource": max_resource})

    def may_promote(self, total: int) -> set[int]:
        """The paused trials that may yet be promoted, however many are started."""
        return self._row.to_come()

    def ask(self, *, more: bool = True, fits: Fits = any_job) -> Answer:
        """The next promotion, in the oldest bracket that has one, or a new trial."""
        return self._row.ask(more=more, fits=fits)

    def tell(self, event: Event) -> None:
        """Take one event."""
        self._row.tell(event)


@final
class Hyperband:
    """Hyperband: brackets of successive halving, each starting with fewer trials and more training than the one before.

    Bracket s = s_max … 0 starts n_s = ⌈(s_max + 1)/(s + 1) · η^s⌉ trials at R · η^(−s), s_max = ⌊log_η(R/r)⌋; then s
    starts over. Brackets overlap: when one is full, the next one starts, so no worker waits for the slowest trial.
    `brackets` holds the size and the levels of each bracket, `ladder` all levels.

    >>> Hyperband(max_resource=81).brackets
    [(81, [1, 3, 9, 27, 81]), (34, [3, 9, 27, 81]), (15, [9, 27, 81]), (8, [27, 81]), (5, [81])]

    Raises `InputError` as `ASHA` does.
    """

    name = "hyperband"

    @our_names()
    def __init__(self, *, max_resource: int, min_resource: int = 1, reduction_factor: float = 3) -> None:
        self.ladder = Ladder(min_resource, reduction_factor, whole(max_resource, "max_resource"))
        self.brackets = brackets(self.ladder)
        self._row = _Row(self._bracket)

    def _bracket(self, number: int) -> Bracket:
        size, levels = self.brackets[number % len(self.brackets)]
        return Bracket(Levels(levels), self.ladder.reduction_factor, size)

    @property
    def max_resource(self) -> int | None:
        """R, the resource of the last rung."""
        return self.ladder.max_resource

    @property
    def open_level(self) -> int | None:
        """The same: no rung is closed."""
        return self.ladder.max_resource

    def settings(self) -> dict[str, Any]:
        """The arguments that make an equal one, as plain JSON."""
        return {
            "min_resource": self.ladder.min_resource,
            "reduction_factor": self.ladder.reduction_factor,
            "max_resource": self.ladder.max_resource,
        }

    def up_to(self, max_resource: int | None) -> Hyperband:
        """A fresh scheduler with the same settings and this `max_resource`."""
        return Hyperband(**self.settings() | {"max_resource": max_resource})

    def may_promote(self, total: int) -> set[int]:
        """The paused trials that may yet be promoted, however many are started."""
        return self._row.to_come()

    def ask(self, *, more: bool = True, fits: Fits = any_job) -> Answer:
        """The next promotion, in the oldest bracket that has one, or a new trial."""
        return self._row.ask(more=more, fits=fits)

    def tell(self, event: Event) -> None:
        """Take one event."""
        self._row.tell(event)


def brackets(ladder: Ladder) -> list[tuple[int, list[int]]]:
    """Hyperband's brackets from s_max to 0: how many trials each starts, and its levels, counted down from R."""
    r, eta, most = ladder.min_resource, ladder.reduction_factor, ladder.max_resource
    assert most is not None
    s_max = math.floor(math.log(most / r, eta) + 1e-9)
    if s_max >= MOST_BRACKETS:
        raise InputError(
            f"reduction_factor={eta:g} up to max_resource={most} makes {s_max + 1} brackets, more than "
            f"{MOST_BRACKETS}; take a larger one, 3 and 4 are usual"
        )
    found = []
    for s in range(s_max, -1, -1):
        size = math.ceil((s_max + 1) / (s + 1) * eta**s - 1e-9)
        levels = [max(1, math.floor(most * eta ** (place - s) + 0.5)) for place in range(s + 1)]
        found.append((size, list(dict.fromkeys(levels))))
    return found
