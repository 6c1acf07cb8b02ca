"""Is the best trial to be trained on, from where, and how far? Outside rungs, ceiling and selection.

May import what `study` may.
"""

from __future__ import annotations

from rungwise.decider import Decider
from rungwise.errors import InputError
from rungwise.events import Refitted


def begin(decider: Decider, until: int | None) -> bool:
    """Give the best trial a job to `until` (None: `max_resource`), as `Study.refit`; False if nothing is to be done."""
    state = decider.state
    if state.metrics.names:
        raise InputError("with several metrics there is no single best trial to refit; choose one of study.front")
    best = state.best
    if (until := state.max_resource if until is None else until) is None:
        raise InputError("the scheduler has no max_resource; say how far to refit, such as refit=81")
    record = state.trials[best.number]
    if record.job is not None:
        if record.job.refit:
            return True
        raise InputError(f"trial {best.number} is running; let its job end before the refit")
    state.refit_asked, start = until, record.trained_to
    if until <= start or state.past_its_best(record):
        return False
    decider.note(Refitted(best.number, start, until))
    state.give_again_last(best.number)
    return True
