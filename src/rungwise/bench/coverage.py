"""How often does a forecast hold? Studies simulated to their end, and what was forecast of them after a quarter."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, final

import msgspec
import numpy as np

from rungwise.bench.budget import ladder_of
from rungwise.bench.task import Task
from rungwise.bench.units import run_units
from rungwise.core import as_scheduler
from rungwise.events import Completed
from rungwise.forecast import forecast
from rungwise.metrics import Mode
from rungwise.simulate import Simulation, in_order, simulate
from rungwise.study import Study
from rungwise.version import __version__

TRIALS = 256  # at most: those of a task, if they are fewer


@final
class Held(msgspec.Struct, frozen=True):
    """A study of `trials` trials: the `total` resource that it used, and the interval forecast after a quarter."""

    suite: str
    task: str
    scheduler: str
    seed: int
    trials: int
    total: int
    low: float
    middle: float
    high: float

    @property
    def holds(self) -> bool:
        """Whether it used what was forecast."""
        return self.low <= self.total <= self.high


@final
class Coverage(msgspec.Struct, frozen=True):
    """How often forecasts held: shares of the `studies`.

    `width` is the median width of the interval and `off` the median distance of its middle from the truth, both as
    shares of the truth.
    """

    studies: int
    held: float
    below: float
    above: float
    width: float
    off: float

    @staticmethod
    def of(rows: Sequence[Held]) -> Coverage:
        """Over some studies."""
        totals = np.array([row.total for row in rows])
        low, middle, high = (np.array([getattr(row, name) for row in rows]) for name in ("low", "middle", "high"))
        shares = (low <= totals) & (totals <= high), totals < low, totals > high
        others = np.median((high - low) / totals), np.median((middle - totals) / totals)
        return Coverage(len(rows), *(float(share.mean()) for share in shares), *map(float, others))


def forecasts(
    tasks: Sequence[Task],
    schedulers: Sequence[str],
    *,
    repeats: int,
    processes: int = 1,
    workers: int = 4,
    journal: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Held]:
    """A row a study: each of `schedulers` on each of `tasks` under each of the seeds 0 … `repeats` - 1."""
    units = [
        _Unit(task, scheduler, seed, workers) for task in tasks for scheduler in schedulers for seed in range(repeats)
    ]
    return run_units(units, Held, processes=processes, journal=journal, progress=progress)


def at_a_quarter(end: Simulation, trials: int) -> Study:
    """The study of `end` as it stood when a quarter of its `trials` had ended their first job."""
    created = end.study.state.created
    rows = in_order(range(trials), None, trials)
    mode: Mode = "max" if end.study.mode == "max" else "min"
    study = Study(end.study.space, as_scheduler(created.scheduler), rows, mode=mode)
    ended = set[int]()
    for _, fact in islice(end.study.facts(), 1, None):
        study.decider.note(fact)
        if isinstance(fact, Completed):
            ended.add(fact.trial)
            if len(ended) >= math.ceil(trials / 4):
                break
    return study


@final
class _Unit(msgspec.Struct, frozen=True):
    task: Task
    scheduler: str
    seed: int
    workers: int

    def run(self) -> list[Held]:
        task, table = self.task, self.task.table
        ladder, trials = ladder_of(table), min(TRIALS, len(table))
        given: dict[str, Any] = {"name": self.scheduler, "max_resource": ladder.max_resource}
        if self.scheduler != "full":
            given["min_resource"] = ladder.min_resource
        end = simulate(as_scheduler(given), table, workers=self.workers, trials=trials, seed=self.seed)
        found = forecast(at_a_quarter(end, trials), trials=trials, workers=self.workers, seed=self.seed).total
        names = task.suite, task.name, self.scheduler, self.seed
        return [Held(*names, trials, end.resource_used, found.low, found.middle, found.high)]

    def identity(self) -> Any:
        return [*self.task.identity(), self.scheduler, self.seed, self.workers, __version__]
