"""Which trial next? Asynchronous successive halving, promotion type (Li et al., MLSys 2020, Algorithm 2).

May import `events`, `errors`, `validation` and `core`.
"""

from __future__ import annotations

from typing import Any, final

from rungwise.core.pareto import ParetoRung
from rungwise.core.promotion import EAGER, EagerPromotion, Promotion, as_promotion
from rungwise.core.rungs import Fits, Ladder, Rung, any_job
from rungwise.errors import our_names
from rungwise.events import REST, Answer, Created, Event, Lengthened, Promote, Promoted, Result, Start, Started, Wait
from rungwise.validation import flag


def short_of(promotion: Promote) -> float:
    """How far a promotion is from being one of the first of its rung: rank / n."""
    return promotion.rank / promotion.size


@final
class ASHA:
    """Promote the best paused trial in the top 1/η of its rung, from the highest rung down; otherwise start a new one.

    Among equal losses the trial that completed the rung earlier comes first. A trial that failed, or whose last report
    is not finite, completes its rung with the loss `inf` and is never promoted. With several metrics, rungs are ordered
    by non-dominated sorting (`core.pareto`). Without `max_resource` there is always a next rung. `ask` is a query:
    asking twice gives the same answer and changes nothing.

    `promotion` says how many of a rung may go on: "eager", the papers' top 1/η, or "patient", fewer until there are
    more results (`rw.PatientPromotion`). Under "patient" a study may end with nobody at the highest rungs. Where it is
    too small for anybody to go on from the first rung, the eager rule takes over at its end: once no more trials may be
    started and none is on the way to the first rung.

    With `breadth_first` new trials come before promotions as long as more may be started, so that all of a study's
    trials are compared at the first rung before any goes on; from then on nobody waits for stragglers. Such a study
    needs a total of trials, or a searcher that comes to an end: otherwise nobody would ever be promoted.

    `ceiling` is the index of the highest open rung, None if all are open; PASHA moves it. `ladder` holds the levels,
    `rungs` the results, and `running` maps each running trial to its next rung. `several` says whether there are
    several metrics.

    >>> asha = ASHA(max_resource=9)
    >>> asha.ask()
    Start(until=1)

    Raises `InputError` for min_resource < 1 or > max_resource, for reduction_factor ≤ 1, and for a `promotion` that
    does not exist.
    """

    name = "asha"
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
    ) -> None:
        self.ladder = Ladder(min_resource, reduction_factor, max_resource)
        self.promotion = as_promotion(promotion)
        self.breadth_first = flag(breadth_first, "breadth_first")
        self.ceiling: int | None = None
        self.rungs: list[Rung | ParetoRung] = []  # as many as have results
        self.running: dict[int, int] = {}  # trial -> the rung it is on the way to
        self.several = False  # whether there are several metrics

    @property
    def max_resource(self) -> int | None:
        """R, the resource of the last rung; None if there is none."""
        return self.ladder.max_resource

    def up_to(self, max_resource: int | None) -> ASHA:
        """A fresh scheduler with the same settings and this `max_resource`."""
        return ASHA(**self.settings() | {"max_resource": max_resource})

    def check_longer(self, max_resource: int | None) -> None:
        """Raise `InputError` if a study cannot go on up to this `max_resource`; else it may be told `Lengthened`."""
        self.ladder.longer(max_resource)

    def beginning_at(self, min_resource: int) -> ASHA:
        """A fresh scheduler with the same settings and this `min_resource`."""
        return ASHA(**self.settings() | {"min_resource": min_resource})

    def settings(self) -> dict[str, Any]:
        """The arguments that make an equal one, as plain JSON."""
        ladder = self.ladder
        return {
            "min_resource": ladder.min_resource,
            "reduction_factor": ladder.reduction_factor,
            "max_resource": ladder.max_resource,
            "promotion": self.promotion.settings(),
            "breadth_first": self.breadth_first,
        }

    @property
    def open_level(self) -> int | None:
        """The resource to which a trial may be trained now; None if unlimited."""
        return self.max_resource if self.ceiling is None else self.ladder.level(self.ceiling)

    def may_promote(self, total: int) -> set[int]:
        """The paused trials that can still be promoted if at most `total` trials are ever started.

        Ranks only get worse, so a trial ranked beyond all that may go on from n results, where n is the most that its
        rung can ever have, stays where it is.
        """
        eta, hopeful = self.ladder.reduction_factor, set[int]()
        most = total
        small = self._small
        for place, rung in enumerate(self.rungs):
            if place == self.ladder.last:
                break
            quota = self.promotion.quota(most, eta)
            here = rung.paused(max(quota, EAGER.quota(most, eta)) if small else quota)
            hopeful.update(here)
            above = len(self.rungs[place + 1]) if place + 1 < len(self.rungs) else 0
            above += sum(target == place + 1 for target in self.running.values())
            most = above + len(here) + most - len(rung)  # all who may still come here may go on
        return hopeful

    @property
    def _open(self) -> int:
        """How many rungs with results there are from which trials go on."""
        closed = self.ladder.last if self.ceiling is None else self.ceiling  # nobody goes on from here
        return len(self.rungs) if closed is None else min(len(self.rungs), closed)

    @property
    def _small(self) -> bool:
        """Whether `promotion` has never let anybody go on from the first rung, nor then from any other."""
        return not self.rungs or not self.promotion.quota(len(self.rungs[0]), self.ladder.reduction_factor)

    def ask(self, *, more: bool = True, fits: Fits = any_job, rest: bool = False) -> Answer:
        """The next job: a promotion, from the highest open rung down, or, if there may be `more`, a new trial.

        Rungs are passed over from which a promotion does not fit. With the `rest` of a budget, if there is nothing else
        to do, the paused trial with the least rank / n goes on, of the highest rung among equals, from a rung that has
        at least η results.
        """
        first = self.ladder.level(0)
        if self.breadth_first and more and fits(0, first):
            return Start(first)
        ends = not more and self._small and 0 not in self.running.values()  # nobody comes for whom patience could wait
        rungs, eta, rule = self.rungs, self.ladder.reduction_factor, EAGER if ends else self.promotion
        for rung in range(self._open - 1, -1, -1):
            if not (rungs[rung].hopeful or ends) or (found := rungs[rung].candidate(rule, eta)) is None:
                continue
            if fits(self.ladder.level(rung), until := self.ladder.level(rung + 1)):
                trial, rank, size = found
                if isinstance(self.promotion, EagerPromotion):
                    return Promote(trial, until, rank + 1, size)
                return Promote(trial, until, rank + 1, size, rule.quota(size, eta), rule.name)
        if more and fits(0, first):
            return Start(first)
        return self.with_the_rest(fits) if rest else Wait()

    def with_the_rest(self, fits: Fits) -> Promote | Wait:
        """The promotion under the ceiling of whoever is closest to going on."""
        found = [self.closest(rung, fits) for rung in range(self._open - 1, -1, -1)]
        return min(filter(None, found), key=short_of, default=Wait())

    def closest(self, rung: int, fits: Fits) -> Promote | None:
        """The promotion of who is closest to going on from `rung`; None below η results, or if it does not fit."""
        level, until = self.ladder.level(rung), self.ladder.level(rung + 1)
        if len(self.rungs[rung]) < self.ladder.reduction_factor or not fits(level, until):
            return None
        if (found := self.rungs[rung].candidate(EAGER, 1)) is None:
            return None
        trial, rank, size = found
        return Promote(trial, until, rank + 1, size, size, REST)

    def tell(self, event: Event) -> None:
        """Take one event; those that do not concern a rung are ignored."""
        if isinstance(event, Result):
            self.complete(event)
        elif isinstance(event, Started):
            self.running[event.trial] = self.ladder.rung_at(event.until)
        elif isinstance(event, Promoted):
            rung = self.ladder.rung_at(event.until)
            self.running[event.trial] = rung
            self.rungs[rung - 1].promote(event.trial)
        elif isinstance(event, Lengthened):
            self.ladder = self.ladder.longer(event.max_resource)
        elif isinstance(event, Created):
            self.several = isinstance(event.mode, dict)

    def complete(self, result: Result) -> int:
        """A trial has completed a rung; the place of that."""
        place = self.running.pop(result.trial)
        while len(self.rungs) <= place:
            self.rungs.append(ParetoRung() if self.several else Rung())
        rung = self.rungs[place]
        if isinstance(rung, Rung):
            rung.add(result.trial, result.losses[0])
        else:
            rung.add(result.trial, result.losses if result.finite else ())
        return place
