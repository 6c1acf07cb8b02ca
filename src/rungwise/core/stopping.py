"""Go on or stop? A trial is judged when it comes to a rung, and goes on at once or never.

For trainers that cannot pause: stopping ASHA (Li et al., MLSys 2020; as Syne Tune and Ray have it), the median rule
(Golovin et al., KDD 2017, "Google Vizier", section 3.2.1), and no rule at all.
May import `events`, `errors`, `validation` and `core.rungs`.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from typing import Any, final

from rungwise.core.rungs import Fits, Ladder, Levels, Rung, any_job
from rungwise.errors import InputError, our_names
from rungwise.events import Answer, Event, Promote, Promoted, Report, Result, Start, Started, Wait
from rungwise.validation import whole

MOST_RUNGS = 100_000  # at even steps


@final
class _Queue:
    """Who is on the way where, and who goes on: first come, first served, of those whose job fits."""

    def __init__(self, levels: Ladder | Levels) -> None:
        self._levels = levels
        self.running: dict[int, int] = {}  # trial -> the rung it is on the way to
        self.going_on: deque[Promote] = deque()

    def ask(self, *, more: bool, fits: Fits) -> Answer:
        for promotion in self.going_on:
            if fits(self._levels.level(self._levels.rung_at(promotion.until) - 1), promotion.until):
                return promotion
        first = self._levels.level(0)
        return Start(first) if more and fits(0, first) else Wait()

    def tell(self, event: Event) -> tuple[int, int, float] | None:
        """Take one event; the trial, the rung and the loss if it has completed one."""
        if isinstance(event, Started):
            self.running[event.trial] = 0
        elif isinstance(event, Promoted):
            self.running[event.trial] = self._levels.rung_at(event.until)
            if self.going_on and self.going_on[0].trial == event.trial:
                self.going_on.popleft()
            else:
                self.going_on = deque(answer for answer in self.going_on if answer.trial != event.trial)
        elif isinstance(event, Result):
            return event.trial, self.running.pop(event.trial), event.losses[0] if event.finite else math.inf
        return None

    def go_on(self, trial: int, rung: int, rank: int = 0, size: int = 0) -> None:
        """`trial`, which completed `rung`, goes on."""
        self.going_on.append(Promote(trial, self._levels.level(rung + 1), rank, size))


@final
class StoppingASHA:
    """ASHA, stopping type: a trial continues from rung to rung while it is among the best max(1, ⌊n/η⌋) there.

    It is judged once, when it completes the rung, among the n trials that have completed it so far, itself included. If
    it is not among the best, it is stopped for good. Among equal losses the earlier completion comes first. A trial
    that failed, or whose last report is not finite, is stopped.

    The best trial so far always continues, so `max_resource` is required. `ladder` holds the levels.

    >>> StoppingASHA(max_resource=9).ask()
    Start(until=1)

    Raises `InputError` as `ASHA` does.
    """

    name = "asha-stopping"

    @our_names()
    def __init__(self, *, max_resource: int, min_resource: int = 1, reduction_factor: float = 3) -> None:
        self.ladder = Ladder(min_resource, reduction_factor, whole(max_resource, "max_resource"))
        self._queue = _Queue(self.ladder)
        self._rungs: list[Rung] = []

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

    def up_to(self, max_resource: int | None) -> StoppingASHA:
        """A fresh scheduler with the same settings and this `max_resource`."""
        return StoppingASHA(**self.settings() | {"max_resource": max_resource})

    def may_promote(self, total: int) -> set[int]:
        """The paused trials that continue: they passed their rung and wait for a worker."""
        return {answer.trial for answer in self._queue.going_on}

    def ask(self, *, more: bool = True, fits: Fits = any_job) -> Answer:
        """The trial to continue, the longest waiting first, or a new one."""
        return self._queue.ask(more=more, fits=fits)

    def tell(self, event: Event) -> None:
        """Take one event."""
        if (completed := self._queue.tell(event)) is None:
            return
        trial, place, loss = completed
        if place == len(self._rungs):
            self._rungs.append(Rung())
        rung = self._rungs[place]
        rung.add(trial, loss)
        rank, best = rung.rank(trial), max(1, math.floor(len(rung) / self.ladder.reduction_factor))
        if place != self.ladder.last and loss < math.inf and rank < best:
            self._queue.go_on(trial, place, rank + 1, len(rung))


@final
class MedianStoppingRule:
    """The median stopping rule: a trial continues unless it is worse than the median of the others.

    At `min_resource` and then every `interval` (default: `min_resource`) up to `max_resource`, a trial's best loss so
    far is compared with the median of the other trials' running averages at that resource. The trial is stopped if it
    is strictly worse, once `min_trials` others have got that far. (Vizier uses only completed trials. With several
    workers and few completed trials, that would stop no trial for a long time.)

    >>> MedianStoppingRule(max_resource=9, min_resource=3).ask()
    Start(until=3)

    Raises `InputError` for numbers below 1, and for a min_resource above max_resource.
    """

    name = "median"

    @our_names()
    def __init__(
        self, *, max_resource: int, min_resource: int = 1, interval: int | None = None, min_trials: int = 3
    ) -> None:
        self._settings = {
            "max_resource": whole(max_resource, "max_resource"),
            "min_resource": whole(min_resource, "min_resource"),
            "interval": whole(min_resource if interval is None else interval, "interval"),
            "min_trials": whole(min_trials, "min_trials"),
        }
        for name, value in self._settings.items():
            if value < 1:
                raise InputError(f"{name} must be 1 or more, not {value!r}")
        if min_resource > max_resource:
            raise InputError(f"min_resource={min_resource} is above max_resource={max_resource}; swap them?")
        steps = range(min_resource, max_resource, self._settings["interval"])
        if len(steps) > MOST_RUNGS:
            raise InputError(
                f"interval={steps.step} up to max_resource={max_resource} makes {len(steps) + 1} rungs, more than "
                f"{MOST_RUNGS}; use a larger interval"
            )
        levels = [*steps, max_resource]
        self._last = len(levels) - 1
        self._queue = _Queue(Levels(levels))
        self._seen: dict[int, tuple[int, float, float]] = {}  # running trial -> its reports: number, sum, least loss
        self._averages: list[list[float]] = [[] for _ in levels]  # rung -> sorted running averages of those who came

    @property
    def max_resource(self) -> int | None:
        """The resource of a trial that is never stopped."""
        return self._settings["max_resource"]

    @property
    def open_level(self) -> int | None:
        """The same: no rung is closed."""
        return self._settings["max_resource"]

    def settings(self) -> dict[str, Any]:
        """The arguments that make an equal one, as plain JSON."""
        return dict(self._settings)

    def up_to(self, max_resource: int | None) -> MedianStoppingRule:
        """A fresh scheduler with the same settings and this `max_resource`."""
        return MedianStoppingRule(**self.settings() | {"max_resource": max_resource})

    def may_promote(self, total: int) -> set[int]:
        """The paused trials that continue: they passed their rung and wait for a worker."""
        return {answer.trial for answer in self._queue.going_on}

    def ask(self, *, more: bool = True, fits: Fits = any_job) -> Answer:
        """The trial to continue, the longest waiting first, or a new one."""
        return self._queue.ask(more=more, fits=fits)

    def tell(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, Report):
            number, total, least = self._seen.get(event.trial, (0, 0.0, math.inf))
            self._seen[event.trial] = number + 1, total + event.losses[0], min(least, event.losses[0])
        if (completed := self._queue.tell(event)) is None:
            return
        trial, rung, loss = completed
        number, total, least = self._seen.get(trial, (1, math.inf, math.inf))
        others = self._averages[rung]
        enough = len(others) >= self._settings["min_trials"]
        worse = enough and least > _median(others)
        insort(others, total / number)
        if rung != self._last and loss < math.inf and not worse:
            self._queue.go_on(trial, rung)


def _median(ordered: list[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


@final
class FullTraining:
    """No early stopping: every trial is trained to `max_resource`.

    With a searcher that learns, this is Bayesian optimization without early stopping. With a small `max_resource` it is
    the k-epoch baseline of the PASHA paper (section 5), whose winner is then trained further.

    >>> FullTraining(max_resource=81).ask()
    Start(until=81)

    Raises `InputError` for a max_resource below 1.
    """

    name = "full"
    several_metrics = True

    @our_names()
    def __init__(self, *, max_resource: int) -> None:
        if whole(max_resource, "max_resource") < 1:
            raise InputError(f"max_resource must be 1 or more, not {max_resource!r}")
        self._most = whole(max_resource, "max_resource")

    @property
    def max_resource(self) -> int | None:
        """The resource of every trial."""
        return self._most

    @property
    def open_level(self) -> int | None:
        """The same."""
        return self._most

    def settings(self) -> dict[str, Any]:
        """The arguments that make an equal one, as plain JSON."""
        return {"max_resource": self._most}

    def up_to(self, max_resource: int | None) -> FullTraining:
        """A fresh scheduler with this `max_resource`."""
        return FullTraining(max_resource=whole(max_resource, "max_resource"))

    def may_promote(self, total: int) -> set[int]:
        """None: there is nowhere to go."""
        return set()

    def ask(self, *, more: bool = True, fits: Fits = any_job) -> Answer:
        """A new trial."""
        return Start(self._most) if more and fits(0, self._most) else Wait()

    def tell(self, event: Event) -> None:
        """Learns nothing."""
