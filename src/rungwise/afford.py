"""What can the budget still pay for? A job, if enough is left after it to train the winner to the end.

A budget of full trainings, or of hours, includes the refit of the winner, so its part is kept from the beginning. All
of this is a function of a study's facts, and for hours of how long it has run; nothing here decides what is trained.
May import what stands below `decider`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec

from rungwise.errors import InputError
from rungwise.events import Answer, Promote, Start, Wait
from rungwise.recommendation import ENOUGH
from rungwise.records import Budget, TrialRecord
from rungwise.state import StudyState
from rungwise.words import counted, duration, shown

HOUR = 3600.0


def winner(state: StudyState) -> TrialRecord | None:
    """The trial that the study would name as its best now, and would refit; None without one, or of several metrics."""
    return state.trials[state.winners[0]] if state.has_best and not state.metrics.names else None


class Account(msgspec.Struct, frozen=True):
    """The units of a budget: all, those spent, those that running jobs will still spend, those kept for the winner.

    The winner, as it is now, is trained `short` units less far than was wanted: what was kept for that went into jobs
    that were to make another one the winner.
    """

    total: int
    spent: int
    under_way: int
    kept: int
    short: int = 0

    @property
    def left(self) -> int:
        """What is free to be spent; below 0 where more was spent than the budget is now."""
        return self.total - self.spent - self.under_way - self.kept


def account(state: StudyState) -> Account | None:
    """Where the budget of full trainings has gone so far; None if there is none."""
    if (total := state.total_units) is None:
        return None
    best = winner(state)
    lacks = _lacks(state, _least_running(state, 0) if best is None else best.trained_to)
    kept = min(lacks, max(0, total - state.trained - _outstanding(state)))
    return Account(total, state.trained, _outstanding(state), kept, lacks - kept)


def fits(state: StudyState, start: int, until: int, ran: float) -> bool:
    """Whether the budget pays for another job from `start` to `until` in a study that `ran` for so many seconds.

    It does if what was spent, what the running jobs will still spend, the job, and what the winner will then lack fit
    into it. The winner is taken to be of the lowest rung that it can be of (`recommendation`), as it is now or as the
    job makes it. That one of the other running jobs makes it higher is not counted on, nor that the winner has been
    refitted before: it may be another one.
    """
    total, hours = state.total_units, state.budget.hours
    best = winner(state)
    lacks = _lacks(state, _least_answer(state, until))
    if total is not None and state.trained + _outstanding(state) + until - start + lacks > total:
        return False
    if hours is None:
        return True
    job = (until - start) * (pace(state) or 0.0)
    return ran + job + _seconds(lacks, pace(state, best)) <= hours * HOUR


def worth_starting(state: StudyState, until: int, ran: float) -> bool:
    """Whether a new trial with a first job to `until` could still be promoted: to the next rung that has results.

    One that could not would never be compared with those higher up, and cannot be the answer. Where no rung above has
    a result, it could be.
    """
    return fits(state, 0, min((level for level in state.completed if level > until), default=until), ran)


def paid(
    state: StudyState,
    ask: Callable[..., Answer],
    ran: float,
    lost: Callable[[int], bool],
    *,
    more: bool,
    looks_further: bool,
    spends_rest: bool,
) -> Answer:
    """What the scheduler that is asked with `ask` wants next of what the budget pays for; `Wait` if nothing.

    First what it wants most, where that fits; else, if it `looks_further` (takes `fits`), its next choice that does: a
    cheaper promotion, or a new trial, if there may be `more` and it could still be promoted. If there is no such choice
    either and it `spends_rest` (takes `rest`), what it would do with what is left, unless there is a total of trials:
    then these are what was wished for. A trial whose checkpoints are `lost` costs all that it takes from the start; if
    that does not fit, nobody is promoted from its rung.
    """
    passed: set[tuple[int, int]] = set()  # such promotions that do not fit, as from where to where

    def within(start: int, until: int) -> bool:
        return (start, until) not in passed and fits(state, start, until, ran)

    def wanted(**how: Any) -> Answer:
        while isinstance(answer := ask(**how, **({"fits": within} if looks_further else {})), Promote):
            start, until = state.trials[answer.trial].paused_at, answer.until
            if fits(state, 0 if lost(answer.trial) else start, until, ran):
                return answer
            if not looks_further or (start, until) in passed:
                return Wait()
            passed.add((start, until))
        return answer

    answer = wanted(more=more)
    if isinstance(answer, Start) and not worth_starting(state, answer.until, ran):
        answer = wanted(more=False)
    if isinstance(answer, Wait) and spends_rest and state.budget.trials is None:
        answer = wanted(more=False, rest=True)
    return answer


def kept_seconds(state: StudyState) -> float:
    """How much of the hours is kept for training the winner, as far as can be said."""
    best = winner(state)
    return 0.0 if best is None else _seconds(_lacks(state, best.trained_to), pace(state, best))


def pace(state: StudyState, record: TrialRecord | None = None) -> float | None:
    """The seconds that a unit of resource took so far, in the jobs of one trial or of all; None: nothing is known."""
    seconds, units = state.training_seconds, state.resource_used
    if record is not None and record.resource:
        seconds, units = record.seconds_used, record.resource
    return seconds / units if units else None


def refit_until(state: StudyState, wanted: int, ran: float) -> int | None:
    """How far to train the winner, at most to `wanted`, in a study that `ran` for so many seconds; None: no further.

    Enough was kept for all of the way, unless jobs failed that were to make another one the winner, or the budget was
    lowered. It is `wanted` where there is nothing to be paid.
    """
    best, total, hours = winner(state), state.total_units, state.budget.hours
    if best is None or best.job is not None or best.trained_to >= wanted or state.past_its_best(best):
        return wanted
    if hours is not None and ran >= hours * HOUR:
        return None
    paid = wanted if total is None else best.trained_to + total - state.trained - _outstanding(state)
    return min(wanted, paid) if paid > best.trained_to else None


def check(budget: Budget, max_resource: int | None, refit: object = None) -> None:
    """Raise `InputError` if it is not known what `budget` pays for, or if that is only the refit.

    `refit` is what was said of it.
    """
    if max_resource is not None:
        units = math.inf if budget.trainings is None else budget.trainings * max_resource
        if units < max_resource and (refit is None or refit is True):
            raise InputError(
                f"budget must be 1 or more, not {budget.trainings:g}; it counts full trainings, and one is for the "
                "winner; refit=False spends all on the search"
            )
        if units < 1:
            raise InputError(f"budget={budget.trainings:g} is less than one unit of max_resource={max_resource}")
        if not isinstance(refit, bool) and isinstance(refit, int) and refit >= units:
            raise InputError(
                f"refit={refit} takes all of budget={budget.trainings:g}, {units:g} units: nothing would be "
                f"left to choose a winner; leave out refit= to train it to max_resource={max_resource}"
            )
        return
    how = "max_resource=81"
    if budget.trainings is not None:
        raise InputError(f"budget= counts full trainings, so say how long one is: {how}")
    if budget.hours is not None and (refit is None or refit is True):
        raise InputError(f"hours= includes a full training of the winner, so say how long it is: {how}; or refit=False")


def in_words(state: StudyState) -> list[str]:
    """Where the budget has gone, a line for each that has a part for the winner."""
    lines = []
    if (found := account(state)) is not None:
        trainings = state.budget.trainings
        assert trainings is not None
        full = f"{trainings:g} full training{'' if trainings == 1 else 's'}"
        parts = [f"{found.spent} spent"]
        if found.under_way:
            parts.append(f"{found.under_way} under way")
        if found.left < 0:
            why = "it was given or lowered later, or a refit went beyond it"
            parts.append(f"{-found.left} more than it pays for: {why}")
        elif found.short and not state.running:
            parts.append(f"{found.kept or 'none'} left for the winner, which lacks {found.kept + found.short}")
            why = "the budget was lowered, or more is wanted of the refit now"
            parts.append(f"since jobs failed that were to make another one the winner, {why}")
        else:
            parts += [f"{found.kept} kept for the winner"] if found.kept else []
            parts.append(f"{found.left} left")
        lines.append(f"budget {full} ({counted(found.total, 'unit')}): {', '.join(parts)}")
    if (hours := state.budget.hours) is not None:
        kept = kept_seconds(state)
        also = f", about {duration(kept)} kept for the winner" if kept else ""
        lines.append(f"hours {hours:g}: ran {duration(state.time.seconds)}{also}")
    return lines


def left_over(state: StudyState, refused: Answer | None) -> list[str]:
    """How much is left at the end, and why, in a line; nothing where nothing is, or where it is not the end.

    `refused` is what the scheduler would have gone on with, `Wait` if with nothing, None if it is not the end.
    """
    left = what_is_left(state)
    if not left or refused is None:
        return []
    if state.spent:
        why = "the target was reached" if state.target_reached else "total_resource is used up"
    elif isinstance(refused, Promote | Start):
        job = "another trial and its way to a rung that has results"
        if isinstance(refused, Promote):
            job = f"promoting trial {refused.trial} from {state.trials[refused.trial].paused_at} to {refused.until}"
        beside = "" if state.refit_wanted is None else " beside a winner's training"
        why = f"{_given(state.budget)} did not pay for {job}{beside}"
    else:
        all_of_them = f"all {state.budget.trials} trials have been started"
        no_more = "the searcher has no other configuration" if state.budget.trials is None else all_of_them
        why = f"{no_more}, and {shown(str(state.created.scheduler.get('name')))} promotes nobody else"
    return [f"{left}, since {why}"]


def what_is_left(state: StudyState) -> str:
    """What is free to be spent of the budget, or of the hours, in words; "" if nothing is."""
    if (found := account(state)) is not None:
        return f"{counted(found.left, 'unit')} {'is' if found.left == 1 else 'are'} left" if found.left > 0 else ""
    hours = state.budget.hours
    seconds = 0.0 if hours is None else hours * HOUR - state.time.seconds - kept_seconds(state)
    return f"{duration(seconds)} of hours={hours:g} is left" if seconds > 0 else ""


def _given(budget: Budget) -> str:
    given = (("the budget", budget.trainings), ("hours", budget.hours))
    return " and ".join(name for name, value in given if value is not None)


def _outstanding(state: StudyState) -> int:
    """What the jobs that are out will still spend."""
    return sum(max(0, job.until - state.trials[job.trial].noted(job)) for job in state.running.values())


def _least_answer(state: StudyState, until: int) -> int:
    """The lowest rung that the winner can be of when a job to `until` is done too."""
    if not state.has_best:
        return _least_running(state, until)
    if state.answer_is_tested:
        return max(state.answer_level, until)
    if state.rated.get(state.answer_level, 0) >= ENOUGH:
        return state.answer_level
    return min(state.answer_level, _least_running(state, until))


def _least_running(state: StudyState, until: int) -> int:
    """Before there is a winner: where it will stand at least, if a job to `until` (0: none) is given out too."""
    levels = [job.until for job in state.running.values() if not job.refit] + ([until] if until else [])
    return min(levels, default=0)


def _lacks(state: StudyState, trained_to: int) -> int:
    """What a winner that was trained so far lacks to the end of its refit."""
    return max(0, (state.refit_wanted or 0) - trained_to)


def _seconds(lacks: int, pace: float | None) -> float:
    """What a refit takes, and a unit more: the running jobs have to come to a checkpoint before it."""
    return (lacks + 1) * pace if lacks and pace else 0.0
