"""Can what a scheduler answers be followed? One of somebody's own may answer anything, and the log has no place for it.

May import what stands below `state`.
"""

from __future__ import annotations

from collections.abc import Sequence

from rungwise.core import Scheduler
from rungwise.errors import InputError
from rungwise.events import Answer, Promote, Raise, Start, Wait
from rungwise.records import TrialRecord


def checked_answer(answer: Answer, scheduler: Scheduler, trials: Sequence[TrialRecord]) -> Answer:
    """`answer`, or an `InputError` that names the scheduler."""
    wrong = None
    if isinstance(answer, Start | Promote | Raise) and (type(answer.until) is not int or answer.until < 1):
        wrong = "goes to no resource"
    elif isinstance(answer, Promote):
        if type(answer.trial) is not int or not 0 <= answer.trial < len(trials):
            wrong = "is of a trial that there is not"
        elif (job := trials[answer.trial].job) is not None and not job.refit:
            wrong = "is of a trial that is running"
        elif trials[answer.trial].failure is not None:
            wrong = "is of a trial that has failed"
        elif answer.until <= trials[answer.trial].paused_at:
            wrong = f"goes no further than {trials[answer.trial].paused_at}, where the trial is"
    elif not isinstance(answer, Start | Raise | Wait):
        wrong = "is neither Start, Promote, Raise nor Wait"
    if wrong is not None:
        raise InputError(f"{shown_scheduler(scheduler)} answered {answer!r:.200}, which {wrong}")
    return answer


def shown_scheduler(scheduler: Scheduler) -> str:
    """Which one it is, for messages."""
    return f"the scheduler {type(scheduler).__qualname__}"
