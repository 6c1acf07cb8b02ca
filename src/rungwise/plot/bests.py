"""What did each improvement cost? Rows of numbers for the best score against the resource used."""

from __future__ import annotations

import math
from typing import NamedTuple

from rungwise.events import Completed, Reported
from rungwise.explain import number
from rungwise.plot.studied import Studied
from rungwise.words import counted


class Best(NamedTuple):
    """When `used` of the resource had been used, `trial` had the best `score`, at `resource`."""

    used: int
    trial: int
    score: float
    resource: int


class Cost(NamedTuple):
    """Each report that was better than all before, and each new answer of the study; both end at `used`, now."""

    reports: list[Best]
    answers: list[Best]
    used: int


def cost(studied: Studied) -> Cost:
    """The best report so far, and the answer, over the resource used (refits aside)."""
    studied.one_metric("cost")
    reports: list[Best] = []
    answers: list[Best] = []
    least, used = math.inf, 0
    for state, fact in studied.folded():
        before, used = used, state.resource_used
        if isinstance(fact, Reported) and used > before:
            resource, score = studied.scores(state.trials[fact.trial])[-1]
            if (loss := studied.loss(score)) < least:
                least = loss
                reports.append(Best(used, fact.trial, score, resource))
        elif isinstance(fact, Completed) and state.has_best and not state.metrics.names:
            best = state.best
            if not answers or (answers[-1].trial, answers[-1].resource) != (best.number, best.resource):
                answers.append(Best(used, best.number, best.score, best.resource))
    return Cost(reports, answers, used)


def caption(studied: Studied, found: Cost) -> str:
    """What the figure shows, in words."""
    if not found.reports:
        return "No trial has reported a finite score yet."
    last = found.reports[-1]
    text = f"The best report, {number(last.score)} of trial {last.trial}, came after {last.used} of {found.used} used"
    if not found.answers:
        return f"{text}."
    answer = found.answers[-1]
    changes = len(found.answers) - 1
    return (
        f"{text}. The answer, trial {answer.trial} with {number(answer.score)} at {answer.resource}, has stood since "
        f"{answer.used}; it had changed {counted(changes, 'time')} before."
        if changes
        else f"{text}. The answer is trial {answer.trial} with {number(answer.score)} at {answer.resource}."
    )
