"""The schedulers that PASHA is compared with once more, slowly: the next move, worked out anew from all that happened.

Written from the papers: successive halving (Jamieson & Talwalkar, AISTATS 2016), Hyperband (Li et al., JMLR 2018,
Algorithm 1), ASHA's stopping type and asynchronous Hyperband (Li et al., MLSys 2020), the median rule (Golovin et al.,
KDD 2017). It shares no line with the library. A move is ("start", until), ("promote", trial, until) or None.
"""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass, field

import reference

Move = tuple[str, int] | tuple[str, int, int] | None


@dataclass
class History:
    """All that has happened so far, in order."""

    starts: list[int] = field(default_factory=list)  # until, by trial
    promotions: list[tuple[int, int]] = field(default_factory=list)  # (trial, until)
    reports: list[tuple[int, int, float]] = field(default_factory=list)  # (trial, resource, loss)
    ends: list[tuple[int, int, float]] = field(default_factory=list)  # (trial, level, loss)
    seen: list[int] = field(default_factory=list)  # how many reports there were at each end
    tops: list[int] = field(default_factory=list)  # async Hyperband over PASHA: the open level of each ladder

    def on_the_way(self) -> dict[int, int]:
        """Running trials and where to."""
        targets = dict(enumerate(self.starts)) | dict(self.promotions)
        return {trial: until for trial, until in targets.items() if (trial, until) not in {e[:2] for e in self.ends}}


def ranked(ends: list[tuple[int, int, float]], level: int) -> list[tuple[int, float]]:
    return sorted([(trial, loss) for trial, at, loss in ends if at == level], key=lambda end: end[1])  # stable


def stopping(history: History, levels: list[int], eta: float, more: bool) -> Move:
    for n, (trial, level, loss) in enumerate(history.ends, start=1):
        if level == levels[-1] or loss == math.inf:
            continue
        order = [t for t, _ in ranked(history.ends[:n], level)]
        above = levels[levels.index(level) + 1]
        if order.index(trial) < max(1, math.floor(len(order) / eta)) and (trial, above) not in history.promotions:
            return "promote", trial, above
    return ("start", levels[0]) if more else None


def median(history: History, levels: list[int], least: int, more: bool) -> Move:
    for n, (trial, level, loss) in enumerate(history.ends):
        if level == levels[-1] or loss == math.inf:
            continue
        averages = []
        for other, at, _ in history.ends[:n]:
            if at == level:
                when = next(i for i, end in enumerate(history.ends) if end[:2] == (other, level))
                losses = [x for t, _, x in history.reports[: history.seen[when]] if t == other]
                averages.append(sum(losses) / len(losses) if losses else math.inf)
        best = min([x for t, _, x in history.reports[: history.seen[n]] if t == trial], default=math.inf)
        above = levels[levels.index(level) + 1]
        stopped = len(averages) >= least and best > statistics.median(averages)
        if not stopped and (trial, above) not in history.promotions:
            return "promote", trial, above
    return ("start", levels[0]) if more else None


def halving(history: History, shapes: list[tuple[int, list[int]]], eta: float, more: bool) -> Move:
    """Brackets of the sizes and levels `shapes`, again and again; members are consecutive trials."""
    first, number, started = 0, 0, len(history.starts)
    while True:
        size, levels = shapes[number % len(shapes)]
        members = range(first, min(first + size, started))
        full = started >= first + size
        if members and (full or not more):
            here, ends = list(members), [end for end in history.ends if end[0] in members]
            for level, above in itertools.pairwise(levels):
                done = ranked(ends, level)
                if len(done) < len(here):
                    break
                here = [t for t, loss in done if loss < math.inf][: max(1, math.floor(len(done) / eta))]
                for trial in here:
                    if (trial, above) not in history.promotions:
                        return "promote", trial, above
        if not full:
            return ("start", levels[0]) if more else None
        first, number = first + size, number + 1


def hyperband_shapes(r: int, eta: float, R: int) -> list[tuple[int, list[int]]]:
    s_max = 0
    while r * eta ** (s_max + 1) <= R * (1 + 1e-9):
        s_max += 1
    shapes = []
    for s in range(s_max, -1, -1):
        n = math.ceil((s_max + 1) * eta**s / (s + 1) - 1e-9)
        shapes.append((n, list(dict.fromkeys(max(1, math.floor(R / eta ** (s - i) + 0.5)) for i in range(s + 1)))))
    return shapes


def shares(count: int, eta: float) -> list[int]:
    return [math.ceil(count * eta**s / (s + 1) - 1e-9) for s in reversed(range(count))]


def joins(trials: int, of: list[int]) -> list[int]:
    """Which ladder each trial joins: the one that would be least ahead of its share with it, the lowest among equals."""
    chosen: list[int] = []
    for _ in range(trials):
        ahead = [(chosen.count(i) + 1) / share for i, share in enumerate(of)]
        chosen.append(ahead.index(min(ahead)))
    return chosen


def world(history: History, ladder: int, chosen: list[int], levels: list[int], eta: float) -> reference.World:
    """What has happened on one ladder, as the reference of ASHA and PASHA has it."""
    mine = {trial for trial in range(len(history.starts)) if chosen[trial] == ladder}
    return reference.World(
        levels,
        eta,
        [report for report in history.reports if report[0] in mine],
        [(trial, levels.index(level), loss) for trial, level, loss in history.ends if trial in mine],
        [(trial, levels.index(until) - 1) for trial, until in history.promotions if trial in mine],
        len(history.starts),
    )


def async_hyperband(
    history: History,
    ladders: list[list[int]],
    eta: float,
    more: bool,
    patience: tuple[float, int] | None = None,
    breadth: bool = False,
) -> Move:
    """Over ladders whose open levels are `history.tops`."""
    chosen = joins(len(history.starts) + 1, shares(len(ladders), eta))
    for number, levels in enumerate(ladders):
        here = world(history, number, chosen, levels, eta)
        here.patience, here.breadth = patience, breadth
        begun = chosen[: len(history.starts)].count(number)
        found = here.promotion(levels.index(history.tops[number]), more, begun)
        if found is not None:
            trial, rung = found
            return "promote", trial, levels[rung + 1]
    return ("start", ladders[chosen[-1]][0]) if more else None
