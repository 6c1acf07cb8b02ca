"""Why did it do what it did? Facts in words. Imports `events` and `words` only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rungwise.events import (
    REST,
    Broken,
    Completed,
    Enqueued,
    Extended,
    Fact,
    Failed,
    Lengthened,
    Promoted,
    Raised,
    Refitted,
    Reported,
    Retried,
    Started,
    TakenBack,
)
from rungwise.recommendation import ENOUGH
from rungwise.words import counted, shown, shown_json

DEBUG, INFO = 10, 20  # of Python's logging


def number(value: float | None) -> str:
    """A score for people: four digits that count; "not finite" for None."""
    if value is None or not math.isfinite(value):
        return "not finite"
    return f"{value:.4g}"


def numbers(scores: Mapping[str, float]) -> str:
    """Scores of several metrics for people."""
    return ", ".join(f"{shown(name)} {number(score)}" for name, score in scores.items())


def standing(score: float, resource: int, peak: int | None) -> str:
    """The score of a trial at a resource, and where it was reported if that was before.

    >>> standing(0.31456, 27, 12)
    '0.3146 at 27, reported at 12'
    """
    return f"{number(score)} at {resource}" + ("" if peak is None or peak >= resource else f", reported at {peak}")


def why_there(above: Mapping[int, int]) -> str:
    """Why the answer is of its rung; `above` has those above that have a result, and how many each has.

    >>> why_there({27: 1})
    'better than the best at 27, which only 1 trial has completed'
    """
    if not above:
        return "the highest rung with a result"
    who = ", and at ".join(
        f"{other}, which only {counted(there, 'trial')} has completed" for other, there in above.items()
    )
    return f"better than the best at {who.replace('trials has', 'trials have')}"


def why_that_front(above: Mapping[int, int]) -> str:
    """Why the front is that of its rung; `above` is as for `why_there`.

    >>> why_that_front({27: 1})
    'at the highest rung with 5 results'
    """
    return f"at the highest rung with {f'{ENOUGH} results' if above else 'a result'}"


def rise(fact: Raised) -> str:
    """Why the ceiling rose: the trials whose order broke, their scores, and ε."""
    if fact.why:
        held = shown(fact.why)
    elif fact.epsilon is None:
        held = "the order must be the same"
    elif fact.gap is not None and fact.positions:
        held = f"they differ by up to {number(fact.gap)}, and noise explains only ε = {number(fact.epsilon)}"
    else:
        held = f"ε = {number(fact.epsilon)}"
    rankings = f"the rankings at {fact.compared} and {fact.level} differ in {counted(fact.positions, 'place')}; "
    if fact.why and not fact.positions:
        rankings = ""  # they had no part in it
    lines = [f"the ceiling rose from {fact.level} to {fact.until}: {rankings}{held}"]
    lines += [f"  {_broken(fact, broken)}" for broken in fact.broken]
    if fact.positions > len(fact.broken):
        lines.append(f"  … and {fact.positions - len(fact.broken)} more")
    return "\n".join(lines)


def _broken(fact: Raised, broken: Broken) -> str:
    return (
        f"place {broken.position + 1}: trial {broken.trial} ({number(broken.top[0])} at {fact.level}, "
        f"{number(broken.below[0])} at {fact.compared}) took the place of trial {broken.expected} "
        f"({number(broken.top[1])}, {number(broken.below[1])})"
    )


def rises(facts: Sequence[Raised], *, several: bool) -> list[str]:
    """A text a rise; where the scheduler has `several` brackets, with the bracket's number from 1."""
    several = several or any(fact.bracket for fact in facts)
    return [(f"in bracket {fact.bracket + 1} " if several else "") + rise(fact) for fact in facts]


def ceilings(name: object, last: int | None, brackets: Sequence[tuple[int, int]], facts: Sequence[Raised]) -> list[str]:
    """Where the ceiling of the scheduler `name` is, and why it is not higher: a line a bracket.

    `brackets` has for each the highest open level, and how many trials have completed it; it is empty where no ceiling
    can rise. `last` is the scheduler's max_resource.
    """
    if not brackets:
        most = "any resource" if last is None else last
        return [f"any trial may train to {most} ({name} has no ceiling that rises)"]
    lines = []
    for place, (open_level, completed) in enumerate(brackets):
        raised = sum(fact.bracket == place for fact in facts)
        line = _ceiling(open_level, last, raised, completed > 1)
        lines.append(line if len(brackets) == 1 else f"in bracket {place + 1} {line}")
    return lines


def _ceiling(level: int, last: int | None, raised: int, compared: bool) -> str:
    if level == last:
        return f"the ceiling is {level}, the max_resource, and cannot rise further"
    if not compared:
        return f"the ceiling is {level}: fewer than two trials have got that far, so there was nothing to compare"
    if raised == 0:
        return f"the ceiling stayed at {level}: the rankings of the top two rungs always agreed"
    return f"the ceiling is now {level}: since its last rise the rankings of the top two rungs have always agreed"


def in_words(fact: Fact) -> tuple[int, str]:
    """A fact in a line, and how much it matters: a level of Python's logging."""
    match fact:
        case Reported(trial=trial, resource=resource):
            return DEBUG, f"trial {trial} reported {_told(fact.score)} at {resource}"
        case Started(trial=trial, until=until):
            return INFO, f"trial {trial} started, to {until}: {shown_json(fact.config)}"
        case Promoted(trial=trial, until=until):
            place = f", number {fact.rank} of {fact.size} in its rung" if fact.size else ""
            rule = f", where the {shown(fact.rule)} rule lets {fact.quota} go" if fact.rule else ""
            if fact.rule == REST:
                rule = ", with what was left of the budget"
            return INFO, f"trial {trial} was promoted to {until}{place}{rule}"
        case Completed(trial=trial):
            return INFO, f"trial {trial} completed its job"
        case Failed(trial=trial):
            return INFO, f"trial {trial} failed: {shown(fact.reason)}"
        case Retried(trial=trial):
            return INFO, f"trial {trial} broke off and will be retried: {shown(fact.reason)}"
        case Refitted(trial=trial):
            return INFO, f"trial {trial} is refitted from {fact.start} to {fact.until}"
        case TakenBack(trial=trial):
            return INFO, f"the failure of trial {trial} was taken back"
        case Raised():
            return INFO, rise(fact).splitlines()[0]
        case Lengthened(max_resource=most):
            return INFO, "max_resource was removed" if most is None else f"max_resource was raised to {most}"
        case Extended():
            totals = {
                "trials": fact.trials, "resource": fact.resource, "seconds": fact.seconds, "target": fact.target,
                "budget": fact.trainings, "hours": fact.hours,
            }  # fmt: skip
            given = ", ".join(f"{name} {value}" for name, value in totals.items() if value is not None)
            return INFO, f"the totals are now: {given or 'none'}"
        case Enqueued():
            return INFO, f"enqueued: {shown_json(fact.config)}"
    return DEBUG, shown(fact)


def _told(score: Any) -> str:
    if isinstance(score, dict):
        return numbers({name: math.nan if each is None else each for name, each in score.items()})
    return number(score)
