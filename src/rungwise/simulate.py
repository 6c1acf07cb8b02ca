"""What would it have done? The loop on virtual time, over a table of curves."""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from math import isfinite
from typing import Any, final

import msgspec
import numpy as np

from rungwise.core import Scheduler, SchedulerName, as_scheduler
from rungwise.curves import CurveTable
from rungwise.errors import InputError, our_names
from rungwise.events import Completed, Config, Event, Job, Reported, Started
from rungwise.executors import Message
from rungwise.loop import drive
from rungwise.metrics import Counted
from rungwise.parameters import Integer
from rungwise.search import Searcher
from rungwise.space import Rng, Space
from rungwise.study import Study
from rungwise.validation import whole


class Simulation(msgspec.Struct, frozen=True):
    """How a simulated study went.

    `seconds` is the simulated time at its end. `resource_used` is the resource reported by then, `max_resource` the
    highest resource of any report. `best_trial` is None if no trial completed a rung with a finite score. `jobs` holds
    (time, trial, start, until) in the order given out, `ceilings` (time, level), the first at time 0. `study` is the
    study itself, in memory.
    """

    seconds: float
    resource_used: int
    max_resource: int
    best_trial: int | None
    jobs: list[tuple[float, int, int, int]]
    ceilings: list[tuple[float, int]]
    study: Study


@our_names()
def simulate(
    scheduler: Scheduler | SchedulerName | str,
    table: CurveTable,
    *,
    workers: int = 4,
    trials: int = 256,
    rows: Sequence[int] | Searcher | None = None,
    score: Counted = "last",
    seed: int = 0,
    drain: bool = True,
) -> Simulation:
    """Run `scheduler` over the curves of `table` on a virtual clock.

    Trial i uses row `rows[i]`. The default for `rows` is a permutation drawn from `seed`; a searcher over
    {"row": Integer(0, len(table) - 1)} works too. `scheduler` is a name or an object, which is not changed. If it has
    no `max_resource`, it gets the table's last resource. Reports arrive one at a time in simulated time, and at equal
    times in the order in which their jobs were given out. Free workers get work after each job that ends. A job ends
    with its last report. The simulation ends when `trials` have been started and no more work can be given out or, with
    `drain=False`, as soon as the last trial is started (the paper's rule). `score` is as for `Study`.

    >>> table = CurveTable(np.arange(27.0).reshape(3, 9), mode="max")
    >>> simulate("asha", table, workers=1, trials=3).best_trial is None
    False

    Raises `InputError` for more trials than rows, for rows that are not in the table, for a `max_resource` beyond the
    table, and for fewer than one worker or trial.
    """
    for name, value in (("workers", workers), ("trials", trials)):
        if whole(value, name) < 1:
            raise InputError(f"{name} must be 1 or more, not {value!r}")
    if not isinstance(table, CurveTable):
        raise InputError(f"table must be a CurveTable, not {type(table).__name__}; rw.CurveTable(scores, mode=…)")
    if rows is None:
        rows = np.random.default_rng(seed).permutation(len(table)).tolist()
    searcher = rows if isinstance(rows, Searcher) else _in_order(rows, trials, len(table))
    last = int(table.resources[-1])
    scheduler = as_scheduler(scheduler, last)
    if scheduler.max_resource is not None and scheduler.max_resource > last:
        raise InputError(f"max_resource={scheduler.max_resource} is beyond the table, which ends at {last}")
    space = Space({"row": Integer(0, len(table) - 1)})
    study = Study(space, scheduler, searcher, mode=table.mode, score=score, seed=seed)
    study.extend(trials=trials)
    clock = _Clock(table, study, workers)
    drive(study, clock, drain=drain, watch=clock.look)
    return Simulation(
        clock.now,
        study.resource_used,
        max(record.resource for record in study.trials),
        study.best.number if study.has_best else None,
        clock.jobs,
        clock.ceilings,
        study,
    )


def _in_order(rows: Sequence[int], trials: int, size: int) -> Searcher:
    rows = [whole(row, "a row") for row in rows]
    if len(rows) < trials:
        raise InputError(f"there are {len(rows)} rows for {trials} trials; give fewer trials or more rows")
    if rows and not (min(rows) >= 0 and max(rows) < size):
        raise InputError(f"rows must be from 0 to {size - 1}, not {min(rows)} to {max(rows)}")
    return _Rows(rows)


@final
class _Rows:
    """A searcher that hands out the rows of a table in a given order."""

    name = "rows"

    def __init__(self, rows: Sequence[int]) -> None:
        self._rows = array("q", rows)
        self._started = 0

    def propose(self, rng: Rng) -> Config | None:
        return {"row": self._rows[self._started]} if self._started < len(self._rows) else None

    def tell(self, event: Event) -> None:
        self._started += type(event) is Started

    def settings(self) -> dict[str, Any]:
        return {}


@final
class _Clock:
    """Workers on a virtual clock."""

    def __init__(self, table: CurveTable, study: Study, workers: int) -> None:
        self.now = 0.0
        self.jobs: list[tuple[float, int, int, int]] = []
        level = study.state.open_level
        assert level is not None
        self.ceilings: list[tuple[float, int]] = [(0.0, level)]
        self._table, self._rises, self.capacity = table, study.state.rises, workers
        self._resources: list[int] = table.resources.tolist()
        self._heap: list[tuple[float, int, int, list[float], list[Message]]] = []  # of each job, first what comes next

    def submit(self, job: Job) -> None:
        self.jobs.append((self.now, job.trial, job.start, job.until))
        times, messages = self._said(job)
        heapq.heappush(self._heap, (times[0], len(self.jobs), 0, times, messages))

    def poll(self, timeout: float) -> list[Message]:
        """All that is said up to the next end of a job: nothing is decided before that."""
        heap, heard = self._heap, []
        while True:
            self.now, number, place, times, messages = heap[0]
            heard.append(messages[place])
            place += 1
            if place >= len(messages) - 1:
                heapq.heappop(heap)
                heard += messages[place:]
                return heard
            heapq.heapreplace(heap, (times[place], number, place, times, messages))

    def look(self, messages: list[Message]) -> None:
        """Note when the ceiling rose."""
        rises = self._rises
        if len(rises) >= len(self.ceilings):
            self.ceilings += [(self.now, rise.until) for rise in rises[len(self.ceilings) - 1 :]]

    def _said(self, job: Job) -> tuple[list[float], list[Message]]:
        """What is said of `job`, begun now, and when; its end comes with its last report, if any, or else at once."""
        row, trial, began = job.config["row"], job.trial, self.now
        first, end = bisect_right(self._resources, job.start), bisect_right(self._resources, job.until)
        scores, seconds = self._table.scores[row, first:end].tolist(), self._table.seconds[row, first:end].tolist()
        base = float(self._table.seconds[row, first - 1]) if first else 0.0
        times = [began + (second - base) for second in seconds]
        reports = zip(self._resources[first:end], scores, seconds, [base, *seconds], strict=False)
        messages: list[Message] = [
            Reported(trial, resource, score if isfinite(score) else None, second - before)
            for resource, score, second, before in reports
        ]
        messages.append(Completed(trial))
        return times or [began], messages
