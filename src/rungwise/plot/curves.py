"""What did each trial report on its way up, and where did it pause? Rows of numbers for the learning curves."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from typing import NamedTuple

from rungwise.explain import number
from rungwise.plot.studied import Studied
from rungwise.records import TrialRecord
from rungwise.words import counted, duration

GREY = 200
"""How many of the trials that are not among the best are drawn, in grey."""


class Point(NamedTuple):
    """`trial` reported `score` at `resource`, on its way to the rung `until`."""

    trial: int
    resource: int
    score: float
    until: int


class Stop(NamedTuple):
    """`trial` came to the end of a job at `resource`, with `score`; since then it "went on", "waits", or "failed".

    "trains": there is its last report so far. `waited` is how many seconds it paused before it went on.
    """

    trial: int
    resource: int
    score: float
    fate: str
    waited: float = 0.0


class Curves(NamedTuple):
    """The curves of the best trials in `shown`, best first, their `stops`, and some of the others in `grey`.

    Each curve is the points of a trial with a finite score. `others` counts the trials that are not among the best,
    `unseen` those of all that have reported no finite score.
    """

    shown: list[list[Point]]
    stops: list[Stop]
    grey: list[list[Point]]
    others: int
    unseen: int


def curves(studied: Studied, top: int) -> Curves:
    """The curves of the `top` best trials, and of at most `GREY` others, evenly chosen."""
    studied.one_metric("learning_curves")
    ends: dict[int, list[int]] = defaultdict(list)
    left: dict[int, list[tuple[float, float]]] = defaultdict(list)  # of each such job when it began and ended
    for row in studied.stretches.rows:
        if not row.refit and (not ends[row.trial] or ends[row.trial][-1] != row.until):
            ends[row.trial].append(row.until)
            left[row.trial].append((row.begin, row.end))
        elif not row.refit:
            left[row.trial][-1] = left[row.trial][-1][0], row.end
    shown: list[list[Point]] = []
    stops: list[Stop] = []
    rest: list[list[Point]] = []
    unseen = 0
    for record in studied.order:
        points = [
            Point(record.number, resource, score, _rung(ends[record.number], resource))
            for resource, score in studied.scores(record)
            if math.isfinite(score)
        ]
        unseen += not points
        if not points:
            continue
        if len(shown) < top:
            shown.append(points)
            stops += _stops(record, points, ends[record.number], left[record.number])
        else:
            rest.append(points)
    step = max(1.0, len(rest) / GREY)
    grey = [rest[int(place * step)] for place in range(min(GREY, len(rest)))]
    return Curves(shown, stops, grey, len(rest), unseen)


def _rung(ends: list[int], resource: int) -> int:
    place = bisect_left(ends, resource)
    return ends[place] if place < len(ends) else resource


def _stops(record: TrialRecord, points: list[Point], ends: list[int], times: list[tuple[float, float]]) -> list[Stop]:
    stops = []
    for place, end in enumerate(ends):
        at = [point for point in points if point.resource <= end and (not place or point.resource > ends[place - 1])]
        if not at:
            continue
        last = place == len(ends) - 1
        fate = {"running": "trains", "failed": "failed", "paused": "waits"}[record.state] if last else "went on"
        waited = 0.0 if last else max(0.0, times[place + 1][0] - times[place][1])
        stops.append(Stop(record.number, at[-1].resource, at[-1].score, fate, waited))
    return stops


def by_rung(shown: list[list[Point]]) -> dict[int, list[Point | None]]:
    """The curves cut where jobs ended: for each rung the points on the way to it, None where the line is interrupted.

    Each piece begins with the last point of the one before, so that a curve has no gaps.

    >>> by_rung([[Point(0, 1, 0.5, 1), Point(0, 2, 0.4, 3)]])[3]
    [Point(trial=0, resource=1, score=0.5, until=1), Point(trial=0, resource=2, score=0.4, until=3), None]
    """
    lines: dict[int, list[Point | None]] = defaultdict(list)
    for points in shown:
        before: Point | None = None
        for point in points:
            line = lines[point.until]
            if before is not None and before.until != point.until:
                line.append(before)
            line.append(point)
            before = point
        for until in {point.until for point in points}:
            lines[until].append(None)
    return dict(sorted(lines.items()))


def caption(studied: Studied, found: Curves) -> str:
    """What the figure shows, in words."""
    trials = len(studied.state.trials)
    if not found.shown:
        return "No trial has been started yet." if not trials else "No trial has reported a finite score yet."
    if found.others:
        said = [f"The {len(found.shown)} best of {counted(trials, 'trial')}, colored by the rung they train to"]
        said.append(f"; {len(found.grey)} of the {found.others} others in gray.")
    else:
        said = [f"{counted(trials, 'trial')}, colored by the rung they train to."]
    if studied.best is not None:
        best = studied.state.best
        said.append(f" Trial {best.number} is the best: {number(best.score)} at {best.resource}.")
    waited = [stop.waited for stop in found.stops if stop.fate == "went on"]
    if waited and studied.stretches.clock and sorted(waited)[len(waited) // 2] >= 0.5:
        said.append(f" A pause before a promotion took {duration(sorted(waited)[len(waited) // 2])} (median).")
    if found.unseen:
        have = "has" if found.unseen == 1 else "have"
        said.append(f" {counted(found.unseen, 'trial')} {have} no finite score and cannot be drawn.")
    return "".join(said)
