"""Which trials may be as good as the answer? Gaps between trials, held against how much such gaps have changed.

The rule was chosen on the tasks for choosing and judged once on the others (`docs/evidence.md`). May import `core`,
`explain`, `recommendation` and `words`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, final

import msgspec
import numpy as np

from rungwise.core.noise import LARGEST_FLOAT
from rungwise.explain import number
from rungwise.recommendation import ENOUGH
from rungwise.words import counted

if TYPE_CHECKING:
    from rungwise.records import TrialRecord
    from rungwise.state import StudyState

SHARE = 0.9
"""Of the changes of gaps, so many are no larger than `swing`."""
SHOWN = 10
"""So many contenders are named in words."""


@final
class Contender(msgspec.Struct, frozen=True):
    """A trial with its `score` at `level`, the highest rung at which it can be compared with the answer.

    `behind` is how much worse than the answer's that is, in units of the score. Below 0 it is better; -inf where the
    answer had no finite score there.
    """

    trial: int
    level: int
    score: float
    behind: float


@final
class NextRun(msgspec.Struct, frozen=True):
    """The cheapest run that could separate contenders: `jobs` are (trial, start, until), `units` their resource.

    After it all of them stand at one rung, `until`, the lowest that some of them have not reached. A trial whose
    checkpoints were deleted trains from 0 instead, which is not counted.
    """

    until: int
    jobs: tuple[tuple[int, int, int], ...]
    units: int


@final
class Contenders(msgspec.Struct, frozen=True):
    """The trials that cannot be told apart from the answer, and how that was measured.

    `trials` holds them, the answer first, then by rung and score. They are among the `field` trials that completed
    `below`, the rung below that of the answer, `level`, and did not fail since. Each is compared with the answer at
    `level` if it has completed that, otherwise at `below`, and must have a finite score there. It is a
    contender if it is behind by no more than ε, or by no more than `swing` for each of the rungs from there to
    `max_resource`: `steps` from `level` (1 at least), one more from `below`. Ties count as contenders.

    `swing` says how much gaps change from rung to rung: of `changes` changes of the gap of a trial to the answer 90 %
    are no larger (linear interpolation). These are the changes from `below` to `level`, and while they are fewer than
    5 those between the rungs further down, to `since`. `epsilon` is PASHA's ε, None where there is none.

    `next_run` is None if there is no other contender, if nothing is left to train up to `max_resource`, or if all that
    it needs is under way.
    """

    level: int
    below: int
    field: int
    trials: tuple[Contender, ...]
    swing: float
    changes: int
    since: int
    steps: int
    epsilon: float | None
    next_run: NextRun | None

    def margin(self, level: int) -> float:
        """A contender is behind by no more than this at `level`, the answer's rung or that below it."""
        return max(self.epsilon or 0.0, self.swing * (self.steps + (level == self.below)))

    @property
    def numbers(self) -> list[int]:
        """The numbers of the trials."""
        return [one.trial for one in self.trials]


def contenders(state: StudyState, epsilon: float | None = None) -> Contenders | None:
    """Those of a study, which has an ε or not; None with several metrics, without an answer, or a change to go by."""
    if not state.has_best or state.metrics.names:
        return None
    best, metrics = state.best, state.metrics
    levels = [level for level in sorted(state.rated) if level <= best.resource]
    if len(levels) < 2:
        return None
    here, below = best.resource, levels[-2]
    there = [
        record
        for record in state.trials
        if record.number == best.number or (record.failure is None and record.paused_at >= below)
    ]
    curves = {record.number: _losses(record, levels, state) for record in there}
    answer = curves[best.number]
    found, since = _changes([curve for trial, curve in curves.items() if trial != best.number], answer)
    if not found:
        return None
    swing, steps = round(float(np.quantile(found, SHARE)), 12), _steps(here, below, state.max_resource)
    field = []
    for record in there:
        curve = curves[record.number]
        at = -1 if record.paused_at >= here else -2  # where it stands
        if isfinite(curve[at]):
            behind = 0.0 if record.number == best.number else curve[at] - answer[at]
            field.append(Contender(record.number, levels[at], metrics.score((curve[at],)), behind))
    field.sort(key=lambda one: (one.trial != best.number, -one.level, one.behind, one.trial))
    of_all = Contenders(here, below, len(field), tuple(field), swing, len(found), levels[since], steps, epsilon, None)
    trials = tuple(one for one in field if one.behind <= of_all.margin(one.level))
    then = None if len(trials) < 2 else _next_run(state, trials, here, below)
    return msgspec.structs.replace(of_all, trials=trials, next_run=then)


def _losses(record: TrialRecord, levels: Sequence[int], state: StudyState) -> list[float]:
    """The losses of a trial at `levels`, `inf` at those that it has not completed, or had no finite score at."""
    reached = [level for level in levels if level <= record.paused_at]
    losses = [each[0] if each else math.inf for each in record.losses_at(reached, state.metrics)]
    return losses + [math.inf] * (len(levels) - len(losses))


def _changes(others: Sequence[Sequence[float]], answer: Sequence[float]) -> tuple[list[float], int]:
    """By how much gaps to the `answer` changed from rung to rung, from the top down; and the lowest place looked at."""
    found: list[float] = []
    for at in range(len(answer) - 1, 0, -1):
        gaps = ((curve[at] - answer[at], curve[at - 1] - answer[at - 1]) for curve in others)
        found += [min(abs(now - before), LARGEST_FLOAT) for now, before in gaps if isfinite(now) and isfinite(before)]
        if len(found) >= ENOUGH:
            return found, at - 1
    return found, 0


def _steps(level: int, below: int, most: int | None) -> int:
    """How many rungs there are above `level`, as far apart as those two; 1 at least, and where nobody knows."""
    return 1 if most is None or most <= level else math.ceil(math.log(most / level) / math.log(level / below) - 1e-9)


def _next_run(state: StudyState, trials: Sequence[Contender], level: int, below: int) -> NextRun | None:
    if all(one.level == level for one in trials):
        until = math.floor(level * level / below + 0.5)
        until = until if state.max_resource is None else min(until, state.max_resource)
    else:
        until = level
    records = [state.trials[trial] for trial in sorted(one.trial for one in trials)]
    jobs = [(each.number, each.paused_at, until) for each in records if each.job is None and each.paused_at < until]
    return NextRun(until, tuple(jobs), sum(until - start for _, start, _ in jobs)) if jobs else None


# -- in words ----------------------------------------------------------------------------------------


def in_words(found: Contenders, max_resource: int | None) -> list[str]:
    """What `explain` says of them; `max_resource` is the study's."""
    answer, *others = found.trials
    here, below = (number(found.margin(level)) for level in (found.level, found.below))
    which = f"of the {counted(found.field, 'trial')} that completed {found.below}, "
    if others:
        which += (
            f"{len(others)} cannot be told apart from trial {answer.trial}: {_named([one.trial for one in others])}"
        )
    else:
        which += f"none can be as good as trial {answer.trial}"
    measured = (
        f"  {'they are' if others else 'nobody is'} within {here} of it at {found.level}, or {below} at {found.below}: "
        f"from rung to rung 9 in 10 gaps to it changed by no more than {number(found.swing)} "
        f"({counted(found.changes, 'change')} since {found.since})"
    )
    if max_resource is not None and found.level < max_resource:
        rungs = counted(found.steps, "rung")
        measured += f", and {rungs} up to {max_resource} {'is' if found.steps == 1 else 'are'} to come"
    if found.epsilon is not None:
        measured += f"; PASHA's ε is {number(found.epsilon)}"
    lines = [which, measured]
    if (then := found.next_run) is not None:
        lines.append(
            f"  the cheapest run that could separate them: {'trials' if len(then.jobs) > 1 else 'trial'} "
            f"{_named([trial for trial, _, _ in then.jobs])} to {then.until}, {counted(then.units, 'unit')} of resource"
        )
    elif others and found.level == max_resource and len(others) == sum(one.level == found.level for one in others):
        lines.append(f"  all have been trained to {max_resource}: only training them again could separate them")
    return lines


def _named(trials: Sequence[int]) -> str:
    more = f" and {len(trials) - SHOWN} more" if len(trials) > SHOWN else ""
    return ", ".join(map(str, trials[:SHOWN])) + more
