"""How far may anyone go today? PASHA's rising ceiling (Bohdal et al., ICLR 2023, Algorithm 1).

ASHA in which only rungs 0..K are open. When a job completes rung K and the rankings of the trials there, by
rung K and by rung K−1, are not consistent, rung K+1 is opened. K starts at 1 and never falls.
May import `events`, `errors` and `core`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from rungwise.core.asha import ASHA, short_of
from rungwise.core.criteria import as_ranking
from rungwise.core.noise import Noise
from rungwise.core.pareto import ParetoRung, TwoParetoRungs
from rungwise.core.promotion import Promotion
from rungwise.core.ranking import Ranking, TwoRungs
from rungwise.core.rungs import Fits, Rung, any_job
from rungwise.errors import our_names
from rungwise.events import Answer, Created, Disagreement, Event, Lengthened, Raise, Raised, Report, Result, Wait

MANY = 1024
"""Reports that are passed on together."""


@final
class PASHA:
    """ASHA under a ceiling that rises only while the ranking of the top two rungs is unsettled.

    `min_resource`, `reduction_factor`, `max_resource`, `promotion`, and `breadth_first` are ASHA's; `max_resource` is
    optional. `ranking` decides whether two rungs agree: "soft" (with the noise estimated from the curves), another name
    for `rw.ranking`, a ranking with arguments such as `rw.ranking("rbo", p=0.9)`, or a function of your own.

    Rungs are compared when a job at the top rung completes: `ask` answers with a `Raise` right after it, and this
    answer lapses with the next event, so ask after every event. `asha` is the ASHA whose ceiling it moves.

    >>> pasha = PASHA(max_resource=81)
    >>> pasha.ask(), pasha.open_level
    (Start(until=1), 3)

    Raises `InputError` as `ASHA` does, and for a ranking that does not exist.
    """

    name = "pasha"
    several_metrics = True

    @our_names()
    def __init__(
        self,
        *,
        min_resource: int = 1,
        reduction_factor: float = 3,
        max_resource: int | None = None,
        promotion: Promotion | str | dict[str, Any] = "eager",
        breadth_first: bool = False,
        ranking: Ranking | Callable[..., object] | str | dict[str, Any] = "soft",
    ) -> None:
        self.asha = ASHA(
            min_resource=min_resource, reduction_factor=reduction_factor, max_resource=max_resource,
            promotion=promotion, breadth_first=breadth_first,
        )  # fmt: skip
        self.ranking = as_ranking(ranking)
        top = 0 if self.asha.ladder.last == 0 else 1
        self.asha.ceiling = top
        self._noises = [Noise(*self._window(top))]  # one a metric
        self._news: list[Report] = []  # that the noises have not been told
        self._rungs: TwoRungs | TwoParetoRungs | None = None
        self._unchecked = False
        self._owed: Raise | None = None  # what `Lengthened` led to

    @property
    def max_resource(self) -> int | None:
        """R, the resource of the last rung; None if there is none."""
        return self.asha.max_resource

    @property
    def breadth_first(self) -> bool:
        """Whether new trials come before promotions as long as more may be started."""
        return self.asha.breadth_first

    @property
    def open_level(self) -> int | None:
        """The resource to which a trial may be trained now."""
        return self.asha.open_level

    @property
    def ceilings(self) -> list[tuple[int, int]]:
        """One row, because there is one bracket: the highest open level, and how many trials have completed it."""
        top, rungs = self.asha.ceiling, self.asha.rungs
        assert top is not None
        return [(self.asha.ladder.level(top), len(rungs[top]) if top < len(rungs) else 0)]

    @property
    def epsilon(self) -> float:
        """The noise between the top two rungs, estimated from the curves so far, in units of the (first) score."""
        self._pass_on()
        return self._noises[0].epsilon

    def up_to(self, max_resource: int | None) -> PASHA:
        """A fresh scheduler with the same settings and this `max_resource`."""
        return PASHA(**self.asha.settings() | {"max_resource": max_resource}, ranking=self.ranking)

    def check_longer(self, max_resource: int | None) -> None:
        """Raise `InputError` if a study cannot go on up to this `max_resource`; else it may be told `Lengthened`."""
        self.asha.check_longer(max_resource)

    def beginning_at(self, min_resource: int) -> PASHA:
        """A fresh scheduler with the same settings and this `min_resource`."""
        return PASHA(**self.asha.settings() | {"min_resource": min_resource}, ranking=self.ranking)

    def settings(self) -> dict[str, Any]:
        """The arguments that make an equal one, as plain JSON."""
        return self.asha.settings() | {"ranking": self.ranking.settings()}

    def may_promote(self, total: int) -> set[int]:
        """The paused trials that can still be promoted if at most `total` trials are ever started."""
        return self.asha.may_promote(total)

    def ask(self, *, more: bool = True, fits: Fits = any_job, rest: bool = False) -> Answer:
        """A rise of the ceiling if the last event requires one, otherwise ASHA's answer.

        With the `rest` of a budget the ceiling also rises when nobody below it comes as close to going on, by rank / n,
        as the best that is paused there.
        """
        if self._unchecked and (found := self._check()) is not None:
            return found
        answer = self._owed or self.asha.ask(more=more, fits=fits)
        return self._with_the_rest(fits) if rest and isinstance(answer, Wait) else answer

    def _with_the_rest(self, fits: Fits) -> Answer:
        """What is closest to going on below the ceiling; or a rise, if whoever is there is closer."""
        below = self.asha.with_the_rest(fits)
        top, ladder = self.asha.ceiling, self.asha.ladder
        assert top is not None
        if top in (0, ladder.last) or top >= len(self.asha.rungs):
            return below
        here = self.asha.closest(top, fits)
        if here is None or (not isinstance(below, Wait) and short_of(below) < short_of(here)):
            return below
        why = "the rest of the budget pays for more"
        return Raise(ladder.level(top + 1), ladder.level(top), ladder.level(top - 1), Disagreement(why=why))

    def tell(self, event: Event) -> None:
        """Take one event."""
        self._unchecked = False
        if type(event) is Report:
            self._news.append(event)
        elif isinstance(event, Result):
            place = self.asha.complete(event)
            if place == self.asha.ceiling and place != self.asha.ladder.last:
                self._completed_top(event.trial, place)
            elif len(self._news) > MANY:
                self._pass_on()
        elif isinstance(event, Raised):
            self._pass_on()
            self.asha.ceiling = top = self.asha.ladder.rung_at(event.until)
            for noise in self._noises:
                noise.move(*self._window(top))
            self._rungs = self._owed = None
        elif isinstance(event, Lengthened):
            was_last = self.asha.ceiling == self.asha.ladder.last
            self.asha.tell(event)
            if was_last:
                self._open_above()
        else:
            self.asha.tell(event)
            if isinstance(event, Created) and self.asha.several:
                assert self.asha.ceiling is not None
                self._noises = [Noise(*self._window(self.asha.ceiling)) for _ in event.mode]

    def _pass_on(self) -> None:
        """Tell the noises what they are to know before anybody asks them: together, since that is cheaper."""
        for metric, noise in enumerate(self._noises):
            noise.report(*self._news, metric=metric)
        self._news.clear()

    def _open_above(self) -> None:
        """There is a rung above the ceiling now: compare those that have completed this one, as was not done before.

        The rise that follows does not lapse with the next event: no completion may ever come to call for it again.
        """
        top, rungs = self.asha.ceiling, self.asha.rungs
        assert top is not None
        self._pass_on()
        if top < len(rungs):
            for noise in self._noises:
                for trial in rungs[top].trials:
                    noise.arrive(trial)
            self._compare(top)
            self._owed = self._check()

    def _completed_top(self, trial: int, top: int) -> None:
        self._pass_on()
        for noise in self._noises:
            noise.arrive(trial)
        self._unchecked = True
        if self._rungs is None:
            self._compare(top)
        else:
            self._rungs.add(trial)

    def _compare(self, top: int) -> None:
        below, here = self.asha.rungs[top - 1 : top + 1]
        if isinstance(below, ParetoRung) and isinstance(here, ParetoRung):
            self._rungs = TwoParetoRungs(below, here)
        elif isinstance(below, Rung) and isinstance(here, Rung):
            self._rungs = TwoRungs(below, here)

    def _window(self, top: int) -> tuple[int, int]:
        ladder = self.asha.ladder
        return (ladder.level(top - 1), ladder.level(top)) if top else (0, ladder.level(0))

    def _check(self) -> Raise | None:
        """Lines 13 to 19 of Algorithm 1: the rise, if the top two rungs do not agree on the trials in both."""
        top = self.asha.ceiling
        assert top is not None
        if isinstance(self._rungs, TwoParetoRungs):
            found = self._rungs.disagreement(self.ranking, self._noises)
        else:
            assert self._rungs is not None
            found = self.ranking.disagreement(self._rungs, self._noises[0])
        if found is None:
            self._unchecked = False  # remembered, so that asking again costs nothing
            return None
        until, level, compared = (self.asha.ladder.level(top + step) for step in (1, 0, -1))
        return Raise(until, level, compared, found)
