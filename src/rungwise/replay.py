"""Is this what a study says? What is read from a file is held against what a study can have written, fact by fact.

Facts that a study noted itself always fit; a file may come from anybody. The one place where facts are replayed.
May import what `study` may.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from rungwise.core import SCHEDULERS, Scheduler, as_scheduler
from rungwise.core.stopping import StoppingASHA
from rungwise.errors import InputError
from rungwise.events import (
    Completed,
    Created,
    Enqueued,
    Event,
    Excused,
    Extended,
    Fact,
    Failed,
    Lengthened,
    Promoted,
    Raised,
    Ran,
    Refitted,
    Reported,
    Retried,
    Started,
    TakenBack,
)
from rungwise.log import StudyError
from rungwise.same_study import LENGTHENED
from rungwise.search import Searcher, as_searcher
from rungwise.search.looked_at import named
from rungwise.space import Space, foreign_kinds
from rungwise.state import StudyState
from rungwise.trust import Ask, Named
from rungwise.validation import whole
from rungwise.version import __version__, is_newer

UNFIT = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What may be raised where data are not of the form or the size that they should have."""
NO_END = 2**53  # more than any resource that was trained to
SHOWN = 300  # characters of what is wrong: values in a file may be of any length


def misfit(state: StudyState, fact: Fact) -> str | None:
    """What is wrong with `fact` as the next one of a study that stands so, or None."""
    if type(fact) is Reported:  # nearly always
        if not 0 <= fact.trial < len(state.trials):
            return f"there is no trial {fact.trial}"
        record = state.trials[fact.trial]
        if (job := record.job) is None:
            return f"trial {fact.trial} is not running"
        if not record.noted(job) < fact.resource <= job.until:
            return (
                f"trial {fact.trial} reports at {fact.resource}, in a job to {job.until} of which "
                f"{record.noted(job)} is known"
            )
        return state.metrics.wrong(fact.score)
    if isinstance(fact, Completed | Failed | Retried | Excused | TakenBack | Promoted | Refitted):
        if not 0 <= fact.trial < len(state.trials):
            return f"there is no trial {fact.trial}"
        record = state.trials[fact.trial]
        if isinstance(fact, TakenBack):
            return (
                None
                if state.has_failed(fact.trial)
                else f"it takes back a failure of trial {fact.trial}, which has not failed"
            )
        if isinstance(fact, Promoted | Refitted):
            return _unfit_job(fact, running=record.job is not None, at=record.paused_at)
        return None if record.job is not None else f"trial {fact.trial} is not running"
    if isinstance(fact, Started):
        if fact.trial != len(state.trials):
            return f"it starts trial {fact.trial}, and {len(state.trials)} have been started"
        if whole(fact.until, "the end of a job") < 1:
            return f"a job to {fact.until}"
        return state.space.misfit(fact.config)
    if isinstance(fact, Enqueued):
        return state.space.misfit(fact.config)
    if isinstance(fact, Ran):
        return None if fact.seconds >= 0 else f"it ran for {fact.seconds} s"
    if isinstance(fact, Raised):
        return None if fact.bracket >= 0 and whole(fact.until, "a level") > 0 else "it raises no rung"
    if isinstance(fact, Lengthened):
        now, most = state.max_resource, fact.max_resource
        higher = now is not None and (most is None or whole(most, "a level") > now)
        fits = higher and state.created.scheduler.get("name") in LENGTHENED
        return None if fits else "a maximum that its scheduler cannot have"
    if isinstance(fact, Extended):
        state.budget.changed(*msgspec.structs.astuple(fact))
        if fact.target is not None and state.metrics.names:
            return "a target is for one metric"
    return "a study begins once" if isinstance(fact, Created) else None


@contextlib.contextmanager
def at(path: Path | None, number: int | None = None, *but: type[Exception], by: str = "") -> Iterator[None]:
    """Around what is made of fact `number` of the file `path`: what does not fit is the file's fault, save `but`.

    `by` is the version that the file says it was begun by: a newer one knows more.
    """
    try:
        yield
    except but:
        raise
    except UNFIT as error:
        raise _unfit(path, number, _words(error), by) from error


def made_of(created: Created, path: Path, ask: Ask) -> tuple[Space, Scheduler, Searcher]:
    """What the study `path` is made of, to go on with, if `ask` agrees to what that imports."""
    with at(path, 1, by=created.version):
        names = [f"the kind of parameter {kind}" for kind in foreign_kinds(created.space)]
        if SCHEDULERS.is_elsewhere(name := created.scheduler.get("name")):
            names.append(f"the scheduler {name}")
        names += named(created.searcher)
    if names:
        ask(Named(path, created, names))
    with at(path, 1, *([InputError] if names else []), by=created.version):
        space, scheduler = Space.from_dict(created.space), as_scheduler(created.scheduler)
    with at(path, 1, InputError, by=created.version):  # an extra that is not installed is not the file's fault
        return space, scheduler, as_searcher(created.searcher, space)


def scheduler_looked_at(created: Created) -> Scheduler:
    """The scheduler of a study that is looked at, told nothing. `StudyError` if it is not one of ours."""
    name = created.scheduler.get("name")
    if SCHEDULERS.is_elsewhere(name):
        raise StudyError(f"the next step is unknown: looking at a study does not import its scheduler {name}")
    ends = NO_END if name == StoppingASHA.name else None  # old files have some without
    return as_scheduler(created.scheduler, ends)


def apply(
    path: Path | None,
    state: StudyState,
    number: int,
    fact: Fact,
    time: float,
    tell: Callable[[Event], None] | None = None,
) -> None:
    """Apply and `tell` fact `number` of the log at `path`, noted at `time`; `StudyError` says why it does not fit."""
    try:
        if (wrong := misfit(state, fact)) is None:
            told = state.apply(fact, time)
            if tell is not None and told is not None:
                tell(told)
    except UNFIT as error:
        raise _unfit(path, number, _words(error)) from error
    if wrong is not None:
        raise _unfit(path, number, wrong)


def _unfit(path: Path | None, number: int | None, why: str, by: str = "") -> StudyError:
    where = "" if number is None else f", at fact {number}"
    newer = f"; it was begun by a newer rungwise ({by}), this is {__version__}: upgrade with pip install -U rungwise"
    return StudyError(f"{path} is not what a study says{where}: {why:.{SHOWN}}{newer if is_newer(by) else ''}")


def _words(error: Exception) -> str:
    """What `error`, one of `UNFIT`, says of the data."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error) if isinstance(error, InputError) else repr(error)


def _unfit_job(fact: Promoted | Refitted, *, running: bool, at: int) -> str | None:
    if running:
        return f"trial {fact.trial} is running already"
    if isinstance(fact, Promoted) and not 0 <= fact.repeats <= at:
        return f"trial {fact.trial} repeats {fact.repeats} of {at}"
    start = at if isinstance(fact, Promoted) else fact.start
    if not 0 <= start < whole(fact.until, "the end of a job"):
        return f"trial {fact.trial} goes on from {start} to {fact.until}"
    return None
