"""What would it have done? The loop on virtual time, over a table of curves."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, final

import msgspec
import numpy as np

from rungwise import afford
from rungwise.clock import Clock, ClusterClock, Notes
from rungwise.cluster import Cluster, ClusterUse
from rungwise.core import Scheduler, SchedulerName, as_scheduler
from rungwise.curves import CurveTable
from rungwise.errors import InputError, our_names
from rungwise.events import Config, Event, Started
from rungwise.loop import drive
from rungwise.metrics import Counted
from rungwise.parameters import Integer
from rungwise.search import Searcher
from rungwise.space import Rng, Space
from rungwise.study import Study
from rungwise.validation import whole


class Simulation(msgspec.Struct, frozen=True):
    """How a simulated study went.

    `seconds` is the simulated time at its end. `resource_used` is the resource reported by then, that of a refit too;
    `max_resource` the highest resource of any report, refits aside. `best_trial` is None if no trial completed a rung
    with a finite score. `jobs` holds (time, trial, start, until) in the order given out, also those given out again;
    `ceilings` (time, level), the first at time 0. `study` is the study itself, in memory. `cluster` says what became of
    the machines, if it ran on a `Cluster`.
    """

    seconds: float
    resource_used: int
    max_resource: int
    best_trial: int | None
    jobs: list[tuple[float, int, int, int]]
    ceilings: list[tuple[float, int]]
    study: Study
    cluster: ClusterUse | None = None


@our_names()
def simulate(
    scheduler: Scheduler | SchedulerName | str,
    table: CurveTable,
    *,
    workers: int | Cluster = 4,
    trials: int | None = None,
    budget: float | None = None,
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
    with its last report. The simulation ends when `trials` (default 256) have been started and no more work can be
    given out or, with `drain=False`, as soon as the last trial is started (the paper's rule). With a `budget`, in full
    trainings as for `tune`, it ends when that pays for no more work and the winner is refitted; `trials` is then
    optional. `score` is as for `Study`.

    Workers are always there, unless they are a `Cluster`: its machines start, straggle, fail, and cost money, and the
    result says what became of them.

    >>> table = CurveTable(np.arange(27.0).reshape(3, 9), mode="max")
    >>> simulate("asha", table, workers=1, trials=3).best_trial is None
    False

    Raises `InputError` for more trials than rows, for rows that are not in the table, for a `max_resource` beyond the
    table, and for fewer than one worker or trial.
    """
    if trials is None and budget is None:
        trials = 256
    for name, value in (("workers", workers), ("trials", trials)):
        if not (value is None or isinstance(value, Cluster)) and whole(value, name) < 1:
            raise InputError(f"{name} must be 1 or more, not {value!r}")
    if not isinstance(table, CurveTable):
        raise InputError(f"table must be a CurveTable, not {type(table).__name__}; rw.CurveTable(scores, mode=…)")
    if rows is None:
        rows = np.random.default_rng(seed).permutation(len(table)).tolist()
    searcher = rows if isinstance(rows, Searcher) else in_order(rows, trials, len(table))
    last = int(table.resources[-1])
    scheduler = as_scheduler(scheduler, last)
    if scheduler.max_resource is not None and scheduler.max_resource > last:
        raise InputError(f"max_resource={scheduler.max_resource} is beyond the table, which ends at {last}")
    space = Space({"row": Integer(0, len(table) - 1)})
    study = Study(space, scheduler, searcher, mode=table.mode, score=score, seed=seed)
    study.extend(trials=trials, budget=budget)
    clock = ClusterClock(table, workers) if isinstance(workers, Cluster) else Clock(table, workers)
    notes = Notes(study, clock)
    drive(study, clock, retries=clock.retries, drain=drain, watch=notes.look)
    wanted = study.state.refit_wanted if study.has_best else None
    until = None if wanted is None else afford.refit_until(study.state, wanted, clock.now)
    if until is not None and study.refit(until):
        drive(study, clock, retries=clock.retries, watch=notes.look, only=lambda job: job.refit)
    return Simulation(
        clock.now,
        study.resource_used + study.state.refit_used,
        max(record.resource for record in study.trials),
        study.best.number if study.has_best else None,
        clock.jobs,
        notes.ceilings,
        study,
        clock.use(notes.answers) if isinstance(clock, ClusterClock) else None,
    )


def in_order(rows: Sequence[int], trials: int | None, size: int) -> Searcher:
    """A searcher that hands out `rows` of a table of `size` rows in this order, enough for `trials`."""
    rows = [whole(row, "a row") for row in rows]
    if trials is not None and len(rows) < trials:
        raise InputError(f"there are {len(rows)} rows for {trials} trials; give fewer trials or more rows")
    if rows and not (min(rows) >= 0 and max(rows) < size):
        raise InputError(f"rows must be from 0 to {size - 1}, not {min(rows)} to {max(rows)}")
    return _Rows(rows)


@final
class _Rows:
    """A searcher that hands out the rows of a table in a given order."""

    name = "rows"
    ends = True

    def __init__(self, rows: Sequence[int]) -> None:
        self._rows = array("q", rows)
        self._started = 0

    def propose(self, rng: Rng) -> Config | None:
        return {"row": self._rows[self._started]} if self._started < len(self._rows) else None

    def tell(self, event: Event) -> None:
        self._started += type(event) is Started

    def settings(self) -> dict[str, Any]:
        return {}
