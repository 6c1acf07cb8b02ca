"""What do the runs say? One line a method: score, time, speed-up, with bootstrap intervals (Efron, 1979)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import msgspec
import numpy as np
from numpy.typing import NDArray

from rungwise.bench.experiment import Run
from rungwise.bench.task import Task
from rungwise.errors import InputError

RESAMPLES = 10_000
LEVEL = 95  # per cent
Interval = tuple[float, float]
Array = NDArray[np.float64]


@final
class Line(msgspec.Struct, frozen=True):
    """One method over some tasks and all their seeds.

    `score` is the mean, `deviation` the standard deviation within a task (the root of the mean variance over the
    tasks), `test` the mean of the test scores; runs without one are left out, and `without` counts the runs without a
    score. NaN if there is nothing to take a mean of. `seconds`, `resource` and `max_resource` are
    means. `speed_up` is ASHA's time over the method's, each task counted in units of ASHA's mean time on it: on one
    task the ratio of the mean times. `saving` is the same of the resource used. `difference` is the mean of
    score − ASHA's score, pair by pair. The intervals resample pairs of (task, seed).
    """

    method: str
    runs: int
    without: int
    score: float
    deviation: float
    test: float
    seconds: float
    speed_up: float
    speed_up_interval: Interval
    difference: float
    difference_interval: Interval
    resource: float
    saving: float
    max_resource: float


def summarize(runs: Sequence[Run], against: str = "asha") -> list[Line]:
    """A line for each method that was run wherever `against` was, in the order of the runs.

    Runs are paired by suite, task and seed. Raises `InputError` if there is no run of the method `against`, or two of
    one method on the same task under the same seed, or runs of several suites.
    """
    grouped: dict[str, dict[tuple[str, int], Run]] = {}
    for run in runs:
        found = grouped.setdefault(run.method, {})
        if (run.task, run.seed) in found:
            raise InputError(f"there are two runs of {run.method} on {run.task} under seed {run.seed}")
        found[run.task, run.seed] = run
    if against not in grouped:
        raise InputError(f"there are no runs of {against!r} to compare with; there are {', '.join(grouped)}")
    if len(suites := {run.suite for run in runs}) > 1:
        raise InputError(f"these are runs of several suites, {', '.join(sorted(suites))}; summarize each by itself")
    base = grouped[against]
    return [
        _line([found[pair] for pair in base], list(base.values()))
        for found in grouped.values()
        if found.keys() >= base.keys()
    ]


def interval_of_mean(values: Array) -> Interval:
    """The interval of the mean of `values`; NaN if there are none.

    >>> interval_of_mean(np.array([0.0, 1.0, 0.0, 1.0]))
    (0.0, 1.0)
    """
    return _interval(values[_resampled(len(values))].mean(axis=1)) if len(values) else (math.nan, math.nan)


def _line(runs: Sequence[Run], base: Sequence[Run]) -> Line:
    places = {task: place for place, task in enumerate(dict.fromkeys(run.task for run in base))}
    tasks = np.array([places[run.task] for run in base])
    score, reference = _column(runs, "score"), _column(base, "score")
    there = np.isfinite(score)
    variances = [score[there & (tasks == task)].var() for task in np.unique(tasks[there])]
    differences = (score - reference)[there & np.isfinite(reference)]
    samples = _resampled(len(base))
    times = _in_units(_column(runs, "seconds"), _column(base, "seconds"), tasks)
    resources = _in_units(_column(runs, "resource"), _column(base, "resource"), tasks)
    return Line(
        runs[0].method,
        len(runs),
        int((~there).sum()),
        _mean(score),
        float(np.sqrt(_mean(np.array(variances)))),
        _mean(_column(runs, "test")),
        float(_column(runs, "seconds").mean()),
        _ratio(*times),
        _interval(times[1][samples].mean(axis=1), times[0][samples].mean(axis=1)),
        _mean(differences),
        interval_of_mean(differences),
        float(_column(runs, "resource").mean()),
        _ratio(*resources),
        float(_column(runs, "max_resource").mean()),
    )


def _resampled(size: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(0, size, (RESAMPLES, size))


def _mean(values: Array) -> float:
    """The mean of the finite ones; NaN if there are none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan


def _column(runs: Sequence[Run], name: str) -> Array:
    return np.array([getattr(run, name) for run in runs], dtype=float)  # None becomes NaN


def _in_units(spent: Array, base: Array, tasks: NDArray[np.int64]) -> tuple[Array, Array]:
    """Both in units of the mean of `base` on the same task."""
    means = (np.bincount(tasks, base) / np.bincount(tasks))[tasks]
    return spent / means, base / means


def _ratio(spent: Array, base: Array) -> float:
    return float(base.mean() / spent.mean()) if spent.any() else np.inf


def _interval(values: Array, over: Array | None = None) -> Interval:
    if over is not None:
        if not over.any():
            return np.inf, np.inf
        values = values / over
    low, high = np.percentile(values, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return float(low), float(high)


def hindsight(runs: Sequence[Run], tasks: Sequence[Task]) -> list[Run]:
    """On each task the runs of the lowest fixed ceiling whose mean score is as good as ASHA's, as a method `hindsight`.

    As good: worse by no more than the task's `tolerance`. The 1-epoch baseline is the lowest ceiling, ASHA itself the
    highest. No rule can know this one beforehand; it says how much there was to save.
    """
    found: list[Run] = []
    for task in tasks:
        here = [run for run in runs if (run.suite, run.task) == (task.suite, task.name)]
        methods = dict.fromkeys(run.method for run in here)
        fixed = [name for name in methods if name == "1-epoch" or name.startswith("ceiling-")]
        if not fixed:
            continue
        sign = 1 if task.table.mode == "min" else -1
        losses = {
            name: sign * _mean(_column([run for run in here if run.method == name], "score"))
            for name in (*fixed, "asha")
        }
        best = next(name for name, loss in losses.items() if loss <= losses["asha"] + task.tolerance or name == "asha")
        found += [msgspec.structs.replace(run, method="hindsight") for run in here if run.method == best]
    return found
