"""Which ladder does a new trial join? Asynchronous Hyperband over ladders (Li et al., MLSys 2020, section 4).

Bracket i is a ladder that begins at r·η^i: the later ones are safe where little training tells nothing.
May import `events`, `errors`, `validation` and `core`.
"""

from __future__ import annotations

import math
from typing import Any, final

import msgspec

from rungwise.core.asha import ASHA, short_of
from rungwise.core.halving import MOST_BRACKETS
from rungwise.core.halving import brackets as sizes_and_levels
from rungwise.core.pasha import PASHA
from rungwise.core.rungs import Fits, any_job
from rungwise.errors import InputError, our_names, suggestion
from rungwise.events import Answer, Event, Promote, Promoted, Raise, Raised, Report, Result, Started, Wait
from rungwise.validation import LARGEST_INTEGER, whole

LADDERS = {"asha": ASHA, "pasha": PASHA}


@final
class AsyncHyperband:
    """Asynchronous Hyperband: `brackets` ladders like `ladder`, the i-th starting at min_resource · η^i.

    `ladder` is "asha", "pasha", or one of these with settings: `AsyncHyperband(ladder=PASHA(ranking="rbo"))`. A new
    trial joins the ladder that is furthest below its share of the trials, Hyperband's n_s (Li et al., JMLR 2018):
    ⌈B/(s + 1) · η^s⌉ for B brackets, s = B − 1 − i; among equals the ladder that starts lowest. Nothing is random.
    Promotions and rises come from the lowest ladder that has one. The default for `brackets` is as many as fit under
    `max_resource`, or 3 if there is none. `ladders` holds one ladder per bracket.

    >>> AsyncHyperband(ladder="pasha", max_resource=81).ask()
    Start(until=1)

    Raises `InputError` as `ASHA` does, and for more brackets than fit.
    """

    name = "async-hyperband"
    several_metrics = True

    @our_names()
    def __init__(
        self,
        *,
        ladder: ASHA | PASHA | str | dict[str, Any] = "asha",
        brackets: int | None = None,
        max_resource: int | None = None,
    ) -> None:
        self._like = _ladder(ladder, max_resource)
        self._given = brackets
        asha = self._like if isinstance(self._like, ASHA) else self._like.asha
        r, eta = asha.ladder.min_resource, asha.ladder.reduction_factor
        fit = None if self._like.max_resource is None else len(sizes_and_levels(asha.ladder))
        count = whole(brackets if brackets is not None else fit or 3, "brackets")
        if fit is None:  # as many as begin at a resource that there is
            fit = min(MOST_BRACKETS, 1 + math.floor(math.log(LARGEST_INTEGER / r, eta)))
        if not 1 <= count <= fit:
            raise InputError(f"brackets must be from 1 to {fit}, not {brackets!r}")
        most = math.inf if self._like.max_resource is None else self._like.max_resource
        self.ladders = [self._like.beginning_at(int(min(most, math.floor(r * eta**i + 0.5)))) for i in range(count)]
        self._shares = [math.ceil(count / (s + 1) * eta**s - 1e-9) for s in range(count - 1, -1, -1)]
        self._started = [0] * count
        self._of: dict[int, int] = {}  # trial -> its bracket

    @property
    def max_resource(self) -> int | None:
        """R, the resource of the last rung of every ladder; None if there is none."""
        return self._like.max_resource

    @property
    def breadth_first(self) -> bool:
        """Whether new trials come before promotions as long as more may be started."""
        return self._like.breadth_first

    @property
    def open_level(self) -> int | None:
        """The resource to which a trial may be trained now; None if unlimited."""
        levels = [ladder.open_level for ladder in self.ladders]
        return None if None in levels else max(level for level in levels if level is not None)

    @property
    def ceilings(self) -> list[tuple[int, int]]:
        """One row per bracket: its highest open level, and how many completed it; no rows if all levels are open."""
        return [row for ladder in self.ladders if isinstance(ladder, PASHA) for row in ladder.ceilings]

    def settings(self) -> dict[str, Any]:
        """The arguments that make an equal one, as plain JSON."""
        return {
            "ladder": {"name": self._like.name, **self._like.settings()},
            "brackets": self._given,
            "max_resource": self.max_resource,
        }

    def up_to(self, max_resource: int | None) -> AsyncHyperband:
        """A fresh scheduler with the same settings and this `max_resource`."""
        return AsyncHyperband(ladder=self._like.up_to(max_resource), brackets=self._given)

    def may_promote(self, total: int) -> set[int]:
        """The paused trials that can still be promoted if at most `total` trials are ever started."""
        left = total - sum(self._started)
        return {
            trial
            for ladder, started in zip(self.ladders, self._started, strict=True)
            for trial in ladder.may_promote(started + left)
        }

    def ask(self, *, more: bool = True, fits: Fits = any_job, rest: bool = False) -> Answer:
        """The answer of the lowest ladder with a promotion or a rise; otherwise a new trial.

        The `rest` of a budget goes to whoever is closest to going on, in any ladder.
        """
        for place, ladder in enumerate(self.ladders):
            answer = ladder.ask(more=more, fits=fits)
            if isinstance(answer, Raise):
                return msgspec.structs.replace(answer, bracket=place)
            if isinstance(answer, Promote):
                return answer
        if more or not rest:
            return self.ladders[self._next()].ask(more=True, fits=fits) if more else Wait()
        answers = [ladder.ask(more=False, fits=fits, rest=True) for ladder in self.ladders]
        for place, answer in enumerate(answers):
            if isinstance(answer, Raise):
                return msgspec.structs.replace(answer, bracket=place)
        return min((each for each in answers if isinstance(each, Promote)), key=short_of, default=Wait())

    def _next(self) -> int:
        """The ladder that lacks most of its share: the one for which (started + 1) / share is least."""
        waiting = [(started + 1) / share for started, share in zip(self._started, self._shares, strict=True)]
        return waiting.index(min(waiting))

    def tell(self, event: Event) -> None:
        """Take one event; if it is of a trial, only its ladder is told."""
        if isinstance(event, Started):
            place = self._of[event.trial] = self._next()
            self._started[place] += 1
            self.ladders[place].tell(event)
        elif isinstance(event, Raised):
            self.ladders[event.bracket].tell(event)
        elif isinstance(event, Promoted | Report | Result):
            self.ladders[self._of[event.trial]].tell(event)
        else:
            for ladder in self.ladders:
                ladder.tell(event)


def _ladder(given: object, max_resource: int | None) -> ASHA | PASHA:
    if isinstance(given, str):
        given = {"name": given}
    if isinstance(given, dict):
        arguments = dict(given)
        name = arguments.pop("name", None)
        if name not in LADDERS:
            raise InputError(f"there is no ladder {name!r}{suggestion(str(name), LADDERS)}")
        given = LADDERS[name](**arguments)
    if not isinstance(given, ASHA | PASHA):
        raise InputError(f"ladder must be 'asha', 'pasha', or an object like rw.PASHA(max_resource=81), not {given!r}")
    return given.up_to(given.max_resource if max_resource is None else max_resource)
