"""What may be asked of a study as a whole? Other totals, a refit, a configuration to try, an end, an observer.

May import what `study` may.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from rungwise import afford, refit, turns
from rungwise.core import Scheduler, check_total
from rungwise.core.asha import ASHA
from rungwise.core.pasha import PASHA
from rungwise.decider import Decider
from rungwise.errors import InputError
from rungwise.events import Enqueued, Extended, Lengthened
from rungwise.known import Known
from rungwise.log import StudyError
from rungwise.observers import Observer
from rungwise.records import Budget, to_take_back
from rungwise.search.intake import ends
from rungwise.validation import whole


@turns.in_turn(looks=())
class Steered(Known):
    """The part of a `Study` that is told what to do next, and when to end."""

    @property
    def _deciding(self) -> Decider:
        if self._decides is None:
            raise StudyError(f"{self._log.path} was opened to look at it; say writable=True to go on with it")
        return self._decides

    def set_budget(self, budget: Budget) -> None:
        """Set all totals; None is no limit."""
        decider = self._deciding
        check_total(decider.scheduler, budget.trials, lambda: ends(decider.searcher))
        if budget.target is not None and (names := self._state.metrics.names):
            raise InputError(f"target={budget.target!r} is for one metric; this study has {', '.join(names)}")
        self._check(budget, self._state.max_resource)
        if budget != self._state.budget:
            decider.note(Extended(*msgspec.structs.astuple(budget)))
            decider.flush()

    def _check(self, budget: Budget, max_resource: int | None) -> None:
        afford.check(budget, max_resource, False if self._state.metrics.names else self._state.how.get("refit"))

    def raise_max_resource(self, max_resource: int | None) -> None:
        """Go on with a study of `ASHA` or `PASHA` up to this `max_resource`, or without one (None). It stays so.

        What was trained and decided stands. Trials at the rung that was the last one may go on from there: from their
        checkpoints, unless these were deleted because the trials were through (`keep_checkpoints` keeps them).

        A `budget` is in full trainings: it is more units then, and it needs a maximum.

        Raises `InputError` if the study's `max_resource` is no lower, if it is no rung of the longer ladder, and for
        other schedulers, whose brackets or stopped trials depend on it.
        """
        most = None if max_resource is None else whole(max_resource, "max_resource")
        check_longer(self._deciding.scheduler, most)
        if most is None and (trainings := self._state.budget.trainings) is not None:
            now = self._state.max_resource
            raise InputError(f"budget={trainings:g} counts full trainings of max_resource={now}: it cannot be removed")
        self._check(self._state.budget, most)
        self._deciding.note(Lengthened(most))
        self._deciding.flush()

    def retry_failed(self, trials: Iterable[int] | None = None) -> list[int]:
        """Give failed `trials` (default: all that failed) another chance: their jobs are given out again.

        The study is then as if they had never failed. Each resumes from its newest checkpoint. Returns the numbers of
        these trials in order. Raises `InputError` for a trial that has not failed.
        """
        if wanted := to_take_back(self._state.trials, trials):
            self._deciding.take_back(wanted)
        return wanted

    def refit(self, until: int | None = None) -> bool:
        """Train the best trial to `until` (default: `max_resource`): the next `ask` returns that job.

        A refit does not affect rungs, ceiling, or selection. Returns False if there is nothing to do: the trial has
        been trained that far or, with `score="best"`, its curve has got worse again. Raises `InputError` if there is
        neither `max_resource` nor `until`.
        """
        decider = self._deciding
        wanted = refit.begin(decider, None if until is None else whole(until, "the resource to refit to"))
        decider.flush()
        return wanted

    def enqueue(self, config: Mapping[str, Any]) -> None:
        """Try `config` next, before the searcher's proposals; it counts as one of the `trials`.

        Raises `InputError` if it is not in the space, or is forbidden.
        """
        self._deciding.note(Enqueued(self._state.space.check(config)))
        self._deciding.flush()

    def stop(self) -> None:
        """Give out no more work in this session; under `tune`, running jobs pause at their next checkpoint.

        Observers and other threads may call it. The study resumes from here when it is opened again.
        """
        self._deciding.stopping = True

    def observe(self, observer: Observer) -> None:
        """Call `observer(state, fact)` for each fact from now on, once it is durable; see `rungwise.observers`."""
        self._deciding.observers.add(observer)

    def sync(self) -> None:
        """From now on wait for the disk at each decision, so that a power cut loses none."""
        self._log.sync()


def check_longer(scheduler: Scheduler, max_resource: int | None) -> None:
    """Raise `InputError` if a study with this scheduler cannot go on up to `max_resource`."""
    if not isinstance(scheduler, ASHA | PASHA):
        raise InputError(f"max_resource can be raised with 'asha' and 'pasha' only, not with {scheduler.name!r}")
    scheduler.check_longer(max_resource)
