"""When was which trial trained, from where to where? The jobs of a study on the clock of its running time.

Facts say when a job was given out and when it ended, not where it ran: `slots` puts jobs that overlap on lines of their
own. Between two sessions the clock stands still. Imports `events` only.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rungwise.events import (
    Completed,
    Excused,
    Fact,
    Failed,
    Opened,
    Promoted,
    Refitted,
    Reported,
    Retried,
    Started,
    TakenBack,
)


class Stretch(NamedTuple):
    """`trial` was trained towards `until`, having had `start`, from `begin` to `end`.

    `how` it ended is "completed", "failed", "broke off" (its job is given out again), or "running" if it has not. What
    it did after `kept`, its last report, is lost if it failed or broke off.
    """

    trial: int
    start: int
    until: int
    begin: float
    end: float
    how: str
    kept: float
    refit: bool = False


class Stretches(NamedTuple):
    """All `rows` in the order of their ends, the times at which `sessions` began, and the time at the `end`.

    Times are seconds of running, from 0; where nothing has a clock (a study in memory), `clock` is false, and the time
    counts facts.
    """

    rows: list[Stretch]
    sessions: list[float]
    end: float
    clock: bool


def stretches(facts: Sequence[tuple[float, Fact]]) -> Stretches:
    """What `facts`, the first and all that follow, tell of the jobs.

    A job that broke off begins again as early as its next report allows.

    >>> facts = [(10.0, Started(0, {}, 3)), (12.0, Reported(0, 1, 0.5)), (15.0, Failed(0, "gone"))]
    >>> stretches(facts).rows
    [Stretch(trial=0, start=0, until=3, begin=0.0, end=5.0, how='failed', kept=2.0, refit=False)]
    """
    clock = any(time != facts[0][0] for time, _ in facts)
    rows: list[Stretch] = []
    sessions: list[float] = []
    jobs: dict[int, tuple[int, int, bool]] = {}  # trial -> start, until, refit of its job
    begun: dict[int, float] = {}  # of those that somebody does
    again: dict[int, float] = {}  # of those that nobody does, since when
    reported: dict[int, float] = {}
    reached: dict[int, int] = {}  # the rung of each trial
    now = cut = 0.0

    def end(trial: int, how: str) -> None:
        start, until, refit = jobs[trial]
        begin = begun.pop(trial)
        kept = now if how == "completed" else max(begin, reported.get(trial, begin))
        rows.append(Stretch(trial, start, until, begin, now, how, kept, refit))

    for place, (time, fact) in enumerate(facts):
        since = time - facts[0][0] - cut if clock else float(place)
        if isinstance(fact, Opened):
            cut += max(0.0, since - now) if clock else 0.0
            sessions.append(now)
            for trial in list(begun):
                end(trial, "broke off")
            again = dict.fromkeys(jobs, now)
            continue
        now = max(now, since)  # clocks are set
        match fact:
            case Started(trial=trial, until=until) | Promoted(trial=trial, until=until):
                jobs[trial], begun[trial] = (reached.get(trial, 0), until, False), now
            case Refitted(trial=trial):
                jobs[trial], begun[trial] = (fact.start, fact.until, True), now
            case Reported(trial=trial):
                if trial in again:
                    begun[trial] = max(again.pop(trial), now - fact.seconds)
                reported[trial] = now
            case Completed(trial=trial) | Failed(trial=trial):
                begun.setdefault(trial, again.pop(trial, now))
                end(trial, "completed" if isinstance(fact, Completed) else "failed")
                _, until, refit = jobs.pop(trial)
                if isinstance(fact, Completed) and not refit:
                    reached[trial] = until
            case Retried(trial=trial) | Excused(trial=trial):
                if trial in begun:
                    end(trial, "broke off")
                    again[trial] = now
            case TakenBack(trial=trial):
                failed = next(row for row in reversed(rows) if row.trial == trial and row.how == "failed")
                jobs[trial], again[trial] = (failed.start, failed.until, failed.refit), now
    for trial in list(begun):
        end(trial, "running")
    return Stretches(rows, sessions, now, clock)


def slots(rows: Iterable[Stretch]) -> list[int]:
    """The line on which each of `rows` is drawn, from 0: the first that is free.

    >>> slots([Stretch(0, 0, 1, 0, 5, "completed", 5), Stretch(1, 0, 1, 1, 2, "completed", 2),
    ...        Stretch(2, 0, 1, 2, 9, "running", 9)])
    [0, 1, 1]
    """
    rows = list(rows)
    lines = [0] * len(rows)
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    for place in sorted(range(len(rows)), key=lambda place: (rows[place].begin, place)):
        while busy and busy[0][0] <= rows[place].begin:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lines[place] = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (rows[place].end, lines[place]))
    return lines
