"""Who sits where, who went up, and when? Rows of numbers for the ladder."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from typing import NamedTuple

from rungwise.plot.studied import Studied
from rungwise.words import counted


class Seat(NamedTuple):
    """`trial` completed the rung `level` at `time` with `score`, and is number `rank` of `size` there.

    Since then it "went up", "waits", "trains" on its way up, or it "failed" on its way to this rung (`score` is nan).
    """

    level: int
    trial: int
    score: float
    rank: int
    size: int
    time: float
    fate: str


class Ladder(NamedTuple):
    """The `seats` to be drawn, by rung from the bottom and then by rank; `sizes` has how many there are in each rung.

    `went_up` counts the trials that were promoted from each rung.
    """

    seats: list[Seat]
    sizes: dict[int, int]
    went_up: dict[int, int]


def ladder(studied: Studied, top: int) -> Ladder:
    """The seats of a study: all who went up, and of those that stayed the `top` best of each rung.

    Ranks are by score; failures and scores that are not finite come last; among equals the earlier completion leads.
    """
    studied.one_metric("ladder")
    trials = studied.state.trials
    came: dict[int, list[tuple[float, float, int, float, bool]]] = defaultdict(list)
    rows = [row for row in studied.stretches.rows if not row.refit]
    last = {row.trial: row.until for row in rows}  # the rung of its last job
    failed: set[int] = set()
    for row in rows:
        if row.how == "completed":
            score = studied.score_at(trials[row.trial], row.until)
            came[row.until].append((studied.loss(score), row.end, row.trial, score, False))
        elif trials[row.trial].failure is not None and row.until == last[row.trial] and row.trial not in failed:
            failed.add(row.trial)
            came[row.until].append((math.inf, row.end, row.trial, math.nan, True))
    seats, sizes, went_up = [], {}, {}
    for level in sorted(came):
        ranked = sorted(came[level], key=lambda one: (one[4], one[0], one[1]))
        sizes[level], went_up[level], stayed = len(ranked), 0, 0
        for rank, (_, end, trial, score, lost) in enumerate(ranked, start=1):
            beyond = last[trial] > level
            went_up[level] += beyond
            stayed += not beyond
            on_its_way = beyond and trials[trial].job is not None and trials[trial].paused_at == level
            fate = "failed" if lost else "trains" if on_its_way else "went up" if beyond else "waits"
            if beyond or stayed <= top:
                seats.append(Seat(level, trial, score, rank, len(ranked), end, fate))
    return Ladder(seats, sizes, went_up)


def climbs(seats: list[Seat]) -> list[tuple[Seat, Seat]]:
    """Each seat with the next one of the same trial, further up."""
    of: dict[int, list[Seat]] = defaultdict(list)
    for seat in seats:
        of[seat.trial].append(seat)
    return [pair for mine in of.values() for pair in itertools.pairwise(mine)]


def caption(studied: Studied, found: Ladder) -> str:
    """What the figure shows, in words."""
    if not found.sizes:
        return "No trial has come to a rung yet."
    parts = [
        f"{counted(size, 'trial')} came to {level}"
        + (f", {found.went_up[level]} went on" if found.went_up[level] else "")
        for level, size in found.sizes.items()
    ]
    text = f"Within a rung the best stand highest. {'; '.join(parts)}."
    hidden = sum(found.sizes.values()) - len(found.seats)
    return text + (f" {hidden} of those that did not go on are not drawn." if hidden else "")
