"""Do the rungs agree on who is best? Places from rung to rung, and which of them the noise could exchange."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from typing import NamedTuple

from rungwise.explain import number
from rungwise.plot.studied import Studied


class Place(NamedTuple):
    """`trial` had `score` at `level` and is number `rank` there, of those that completed the top rung.

    All trials from number `first` to number `last` are within ε of it.
    """

    level: int
    trial: int
    score: float
    rank: int
    first: int
    last: int


class Ranks(NamedTuple):
    """The places of the `shown` trials, the best at the top rung first, from the bottom up.

    `compared` counts the trials that completed the top rung with a finite score. `epsilon` is the noise as of now, None
    if the scheduler has no such.
    """

    places: list[Place]
    levels: list[int]
    shown: list[int]
    compared: int
    epsilon: float | None


def ranks(studied: Studied, top: int) -> Ranks:
    """The `top` best trials at the highest rung that two have completed, and their places in all rungs up to it."""
    studied.one_metric("ranks")
    state = studied.state
    for highest in sorted(state.completed, reverse=True):
        there = [record for record in state.trials if record.paused_at >= highest and record.failure is None]
        there = [record for record in there if math.isfinite(studied.score_at(record, highest))]
        if len(there) > 1:
            break
    else:
        return Ranks([], [], [], 0, None)
    levels = [
        level
        for level in sorted(state.completed)
        if level <= highest and all(math.isfinite(studied.score_at(record, level)) for record in there)
    ]
    epsilon = studied.epsilon
    best = sorted(there, key=lambda record: (studied.loss(studied.score_at(record, highest)), record.number))[:top]
    places = []
    for level in levels:
        losses = {record.number: studied.loss(studied.score_at(record, level)) for record in there}
        order = sorted(losses, key=lambda trial: (losses[trial], trial))
        sorted_losses, rank = sorted(losses.values()), {trial: place for place, trial in enumerate(order, start=1)}
        for record in best:
            loss, within = losses[record.number], epsilon or 0.0
            first = last = rank[record.number]
            if within:
                first, last = bisect_left(sorted_losses, loss - within) + 1, bisect_right(sorted_losses, loss + within)
            places.append(
                Place(level, record.number, studied.score_at(record, level), rank[record.number], first, last)
            )
    return Ranks(places, levels, [record.number for record in best], len(there), epsilon)


def caption(studied: Studied, found: Ranks) -> str:
    """What the figure shows, in words."""
    if not found.shown:
        return "Fewer than two trials have completed a rung with a finite score, so there is nothing to compare."
    top = found.levels[-1]
    text = f"Places among the {found.compared} trials that completed {top}"
    text += f"; the best {len(found.shown)} are drawn" if found.compared > len(found.shown) else ""
    if len(found.levels) > 1:
        rank = {(place.level, place.trial): place.rank for place in found.places}
        below = found.levels[-2]
        moved = sum(rank[top, trial] != rank[below, trial] for trial in found.shown)
        text += f". From {below} to {top}, {moved or 'none'} of them changed place"
    if found.epsilon is None:
        return f"{text}. {studied.state.created.scheduler.get('name')} does not estimate the noise."
    if not found.epsilon:
        return f"{text}. No noise was seen so far: ε = 0."
    return f"{text}. A bar spans the places of all trials within ε = {number(found.epsilon)}: they count as equal."
