"""Is this what a study says? What is read from a file is held against what a study can have written, fact by fact.

Facts that a study noted itself always fit; a file may come from anybody. The one place where facts are replayed.
May import what `study` may.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rungwise.core import Scheduler, as_scheduler
from rungwise.core.stopping import StoppingASHA
from rungwise.events import (
    Completed,
    Created,
    Excused,
    Extended,
    Fact,
    Failed,
    Promoted,
    Raised,
    Ran,
    Refitted,
    Reported,
    Retried,
    Started,
)
from rungwise.log import StudyError
from rungwise.names import InputError
from rungwise.search import Searcher, as_searcher
from rungwise.search.looked_at import LookedAt, named
from rungwise.space import Space
from rungwise.trust import Ask, Named
from rungwise.values import whole
from rungwise.version import __version__, is_newer

if TYPE_CHECKING:
    from rungwise.study import Study

UNFIT = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What may be raised where data are not of the form or the size that they should have."""
NO_END = 2**53  # more than any resource that was trained to
SHOWN = 300  # characters of what is wrong: values in a file may be of any length


def misfit(study: Study, fact: Fact) -> str | None:
    """What is wrong with `fact` as the next one of `study`, or None."""
    if type(fact) is Reported:  # nearly always
        if not 0 <= fact.trial < len(study.trials):
            return f"there is no trial {fact.trial}"
        record = study.trials[fact.trial]
        if (job := record.job) is None:
            return f"trial {fact.trial} is not running"
        if not record.noted(job) < fact.resource <= job.until:
            return (
                f"trial {fact.trial} reports at {fact.resource}, in a job to {job.until} of which "
                f"{record.noted(job)} is known"
            )
        return study.metrics.wrong(fact.score)
    if isinstance(fact, Completed | Failed | Retried | Excused | Promoted | Refitted):
        if not 0 <= fact.trial < len(study.trials):
            return f"there is no trial {fact.trial}"
        record = study.trials[fact.trial]
        if isinstance(fact, Promoted | Refitted):
            return _unfit_job(fact, running=record.job is not None, at=record.paused_at)
        return None if record.job is not None else f"trial {fact.trial} is not running"
    if isinstance(fact, Started):
        if fact.trial != len(study.trials):
            return f"it starts trial {fact.trial}, and {len(study.trials)} have been started"
        if whole(fact.until, "the end of a job") < 1:
            return f"a job to {fact.until}"
        return study.space.misfit(fact.config)
    if isinstance(fact, Ran):
        return None if fact.seconds >= 0 else f"it ran for {fact.seconds} s"
    if isinstance(fact, Raised):
        return None if fact.bracket >= 0 and whole(fact.until, "a level") > 0 else "it raises no rung"
    if isinstance(fact, Extended):
        study.budget.changed(fact.trials, fact.resource, fact.seconds, fact.target)
        if fact.target is not None and study.metrics.names:
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


def made_of(created: Created, path: Path, ask: Ask | None) -> tuple[Space, Scheduler, Searcher]:
    """What the study `path` is made of: to look at, or to go on with if `ask` agrees to what that imports."""
    with at(path, 1, by=created.version):
        space = Space.from_dict(created.space, tried=ask is not None)
        scheduler, names = as_scheduler(created.scheduler, _no_end(created, looks=ask is None)), named(created.searcher)
    if ask is None:
        return space, scheduler, LookedAt(space, created.searcher)
    if names:
        ask(Named(path, created, names))
    with at(path, 1, InputError, by=created.version):  # an extra that is not installed is not the file's fault
        return space, scheduler, as_searcher(created.searcher, space)


def _no_end(created: Created, *, looks: bool) -> int | None:
    """The maximum by which a study of stopping ASHA is looked at that has none, as earlier versions let it."""
    return NO_END if looks and created.scheduler.get("name") == StoppingASHA.name else None


def apply(study: Study, number: int, fact: Fact, change: Callable[[Fact], None]) -> None:
    """`change` the study by `fact`, number `number` of its log, or a `StudyError` that says why it does not fit."""
    try:
        if (wrong := misfit(study, fact)) is None:
            change(fact)
    except UNFIT as error:
        raise _unfit(study.path, number, _words(error)) from error
    if wrong is not None:
        raise _unfit(study.path, number, wrong)


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
    start = at if isinstance(fact, Promoted) else fact.start
    if not 0 <= start < whole(fact.until, "the end of a job"):
        return f"trial {fact.trial} goes on from {start} to {fact.until}"
    return None
