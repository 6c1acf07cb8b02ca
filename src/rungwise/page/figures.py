"""What do the figures of a page show? Numbers to draw, and each figure's caption in words.

However large the study: at most `CURVES` curves of some `POINTS` points, and `CELLS` cells a rung. Pure functions of
a `History`.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from rungwise import summary
from rungwise.explain import number
from rungwise.page.history import History
from rungwise.records import TrialRecord
from rungwise.words import counted, shown

CURVES, POINTS, CELLS = 2_000, 100, 240
BEST = 500
"""So many of the curves are those of the best trials; the others are drawn evenly from the rest."""


def curves(history: History) -> dict[str, Any]:
    """The learning curves: of each its trial, the place of the rung it completed last (-1: none), and its points.

    `at` are the resources, `scores` has a list for each metric (None: not finite), and `pauses` the places in them
    where a job ended at a rung.
    """
    state = history.state
    levels = sorted(history.results)
    places = {level: place for place, level in enumerate(levels)}
    there = [record for record in state.trials if record.resource]
    drawn = _chosen(history, there)
    lines = [_line(record, history.paused.get(record.number, ()), places) for record in drawn]
    names = [shown(name) for name in state.metrics.names]
    return {
        "metrics": names or ["score"],
        "rungs": levels,
        "answer": state.winners[:1] if not names else state.winners,
        "lines": lines,
        "caption": _curves_in_words(len(drawn), len(there), names or ["score"], state.created.mode),
    }


def _chosen(history: History, there: list[TrialRecord]) -> list[TrialRecord]:
    """All, or the answer, the best, and of the others every so many."""
    if len(there) <= CURVES:
        return there
    state = history.state
    best = summary.top(state, BEST)
    kept = {record.number for record in best} | set(state.winners[:BEST])
    others = [record for record in there if record.number not in kept]
    wanted = CURVES - len(kept)
    even = [others[place * len(others) // wanted] for place in range(min(wanted, len(others)))]
    return sorted([*(state.trials[trial] for trial in kept), *even], key=lambda record: record.number)


def _line(record: TrialRecord, ends: Any, places: dict[int, int]) -> list[Any]:
    reports = list(record.reports.items())
    pauses = {max((place for place, (at, _) in enumerate(reports) if at <= end), default=0) for end in ends}
    every = -(-len(reports) // POINTS)
    kept = [p for p in range(len(reports)) if p % every == 0 or p in pauses or p == len(reports) - 1]
    where = {place: new for new, place in enumerate(kept)}
    scores = [reports[place][1] for place in kept]
    columns = [[each[name] for each in scores] for name in record.metrics] if record.metrics else [scores]
    return [
        record.number,
        places.get(record.paused_at, -1),
        [reports[place][0] for place in kept],
        [[rounded(score) for score in column] for column in columns],
        sorted(where[place] for place in pauses),
    ]


def rounded(score: float | None) -> float | None:
    """Six digits, which is more than a figure shows; None for what is not finite."""
    return float(f"{score:.6g}") if score is not None and math.isfinite(score) else None


def _curves_in_words(drawn: int, there: int, names: list[str], mode: str | dict[str, str]) -> str:
    if not there:
        return "No trial has reported a score yet."
    modes = [mode] if isinstance(mode, str) else list(mode.values())
    better = " and ".join(
        f"{name} ({'higher' if each == 'max' else 'lower'} is better)" for name, each in zip(names, modes, strict=True)
    )
    of = f"{drawn:,} of {counted_large(there, 'trial')}" if drawn < there else counted_large(there, "trial")
    which = " Drawn are the best trials and an even sample of the others." if drawn < there else ""
    return (
        f"Learning curves of {of}: {better} against the resource trained. The colour says how far a trial got; a dot "
        f"marks where it was paused at a rung.{which}"
    )


def counted_large(amount: int, noun: str) -> str:
    """`amount` with its noun, in groups of three digits.

    >>> counted_large(5000, "trial")
    '5,000 trials'
    """
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def ladder(history: History) -> dict[str, Any]:
    """A row a rung, from the top: how many completed it, went on, failed on the way, are on the way; the best score.

    `cells` are the trials that completed it with a score, the best first, or groups of equal size of them: of each the
    share that went on. `answer` is the cell of the answer, where that is among them.
    """
    state = history.state
    answer = state.winners[0] if state.winners and not state.metrics.names else None
    rows = []
    for level, completed, running, best in state.rungs():
        ranked = [trial for loss, trial in sorted(history.results.get(level, ())) if loss < math.inf]
        on = history.went_on.get(level, set())
        groups = _groups(ranked)
        rows.append(
            {
                "level": level,
                "completed": completed,
                "went_on": len(on),
                "failed": completed - len(history.results.get(level, ())),
                "running": running,
                "best": None if best is None else number(best),
                "cells": [round(sum(trial in on for trial in group) / len(group), 2) for group in groups],
                "answer": next((place for place, group in enumerate(groups) if answer in group), None),
            }
        )
    return {"rungs": rows, "caption": _ladder_in_words(rows)}


def _groups(ranked: list[int]) -> list[list[int]]:
    count = min(len(ranked), CELLS)
    edges = [place * len(ranked) // count for place in range(count + 1)] if count else []
    return [ranked[start:end] for start, end in pairwise(edges)]


def _ladder_in_words(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "No trial has come to a rung yet."
    told = ", ".join(f"{row['completed']:,} at {row['level']}" for row in reversed(rows))
    return (
        f"The ladder: how many trials completed each rung ({told}). In a rung the best stand on the left; filled are "
        "those that were promoted from it, and outlined is the answer."
    )


def answers(history: History) -> dict[str, Any] | None:
    """Resource against the score of the answer: [resource, score, level, trial] at each change, and the end.

    None with several metrics, where there is no single best.
    """
    state = history.state
    if state.metrics.names:
        return None
    rows = [[each.resource, rounded(each.score), each.level, each.trial] for each in history.answers]
    return {"rows": rows, "end": state.resource_used, "caption": _answers_in_words(history)}


def _answers_in_words(history: History) -> str:
    if not history.answers:
        return "No trial has completed a rung with a finite score yet."
    last = history.answers[-1]
    since = next(each for each in history.answers if each.trial == last.trial)
    for before, now in pairwise(history.answers):
        if now.trial == last.trial and before.trial != last.trial:
            since = now
    used = history.state.resource_used
    share = f" ({since.resource / used:.0%})" if used else ""
    return (
        f"The score of the answer as training went on. It has been trial {last.trial} since {since.resource:,}{share} "
        f"of {used:,} units of resource. Where the score gets worse, the answer moved to a higher rung."
    )


def ceilings(history: History) -> dict[str, Any] | None:
    """The ceiling over time: [seconds, resource, level] for each step of each bracket; None if none can rise."""
    if not history.ceilings:
        return None
    brackets = sorted({each.bracket for each in history.ceilings})
    rows = [
        [[each.seconds, each.resource, each.level] for each in history.ceilings if each.bracket == bracket]
        for bracket in brackets
    ]
    state = history.state
    rises = len(history.ceilings) - len(brackets)
    last = max((each.resource for each in history.ceilings), default=0)
    told = f"rose {counted(rises, 'time')}, the last after {last:,} units of resource" if rises else "has not risen"
    return {
        "brackets": rows,
        "end": [state.time.seconds, state.resource_used],
        "caption": f"How far any trial may be trained. The ceiling {told}; it is {state.open_level} now.",
    }
