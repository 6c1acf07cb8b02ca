"""What would it have done? The loop on virtual time, over a table of curves."""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any, final

import msgspec
import numpy as np

from rungwise.core import Scheduler, SchedulerName, as_scheduler
from rungwise.curves import CurveTable
from rungwise.errors import InputError, our_names
from rungwise.events import Completed, Config, Event, Job, Reported, Started
from rungwise.executors import Message, Said
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
    """Workers on a virtual clock. A running job is an iterator of its reports and their times."""

    def __init__(self, table: CurveTable, study: Study, workers: int) -> None:
        self.now = 0.0
        self.jobs: list[tuple[float, int, int, int]] = []
        level = study.state.open_level
        assert level is not None
        self.ceilings: list[tuple[float, int]] = [(0.0, level)]
        self._table, self._rises, self.capacity = table, study.state.rises, workers
        self._resources: list[int] = table.resources.tolist()
        self._heap: list[tuple[float, int, list[Said], Iterator[tuple[float, list[Said]]]]] = []

    def submit(self, job: Job) -> None:
        self.jobs.append((self.now, job.trial, job.start, job.until))
        self._push(len(self.jobs), self._train(job))

    def poll(self, timeout: float) -> list[Said]:
        """All that is said up to the next end of a job: nothing is decided before that."""
        heap, heard = self._heap, []
        while True:
            self.now, number, said, training = heap[0]
            heard += said
            if type(said[-1].message) is Completed:
                heapq.heappop(heap)
                return heard
            time, said = next(training)
            heapq.heapreplace(heap, (time, number, said, training))

    def look(self, messages: list[Message]) -> None:
        """Note when the ceiling rose."""
        rises = self._rises
        if len(rises) >= len(self.ceilings):
            self.ceilings += [(self.now, rise.until) for rise in rises[len(self.ceilings) - 1 :]]

    def _push(self, number: int, training: Iterator[tuple[float, list[Said]]]) -> None:
        time, said = next(training)
        heapq.heappush(self._heap, (time, number, said, training))

    def _train(self, job: Job) -> Iterator[tuple[float, list[Said]]]:
        """When `job`, begun now, reports what; the last report ends it."""
        row = job.config["row"]
        first, end = (bisect_right(self._resources, resource) for resource in (job.start, job.until))
        if first == end:  # no column between start and until: it ends at once, without a report
            yield self.now, [Said(job.lease, 0, Completed(job.trial))]
            return
        began = self.now
        scores = self._table.scores[row, first:end].tolist()
        seconds = self._table.seconds[row, first:end].tolist()
        base = float(self._table.seconds[row, first - 1]) if first else 0.0
        earlier = base
        reports = zip(self._resources[first:end], scores, seconds, strict=True)
        for place, (resource, score, second) in enumerate(reports):
            finite = score if isfinite(score) else None
            said = [Said(job.lease, place, Reported(job.trial, resource, finite, second - earlier))]
            if resource == self._resources[end - 1]:
                said.append(Said(job.lease, place + 1, Completed(job.trial)))
            yield began + (second - base), said
            earlier = second
