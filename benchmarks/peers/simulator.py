"""What would this scheduler have done, and what did its decisions cost? Every peer through the same loop.

A virtual clock over a table of curves: workers train trials, reports arrive one at a time in the order of simulated
time (at equal times in the order in which their jobs were given out), and workers freed by a stop, a pause or the end
of a curve ask for the next job. Runs in the environment of each peer: standard library and numpy only.

An adapter script defines its peers and ends with `main({method: maker, …}, packages=[…])`, which reads the curves that
run.py wrote, runs every method on every table and seed, and writes one JSON file. It is called as

python adapter_<peer>.py FOLDER_OF_CURVES RESULTS.json
"""

from __future__ import annotations

import heapq
import json
import platform
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

WORKERS = 4
MIN_RESOURCE, REDUCTION_FACTOR = 1, 3
WARM_UP = 20  # trials of a run before the others, for imports and first calls that are not to be counted


class Setting(NamedTuple):
    """What a peer is told before it begins."""

    task: str
    seed: int
    mode: str
    trials: int
    max_resource: int


class Job(NamedTuple):
    """Train `trial` on, to `until` at most. `handle` is the peer's own name for the job, if it needs one."""

    trial: int
    until: int
    handle: Any = None


class Report(NamedTuple):
    """One report that was delivered."""

    trial: int
    resource: int
    score: float


class Peer(Protocol):
    """A scheduler behind two calls. All time inside them is counted as deciding."""

    def ask(self, new: int | None) -> Job | None:
        """A job for a free worker, None if there is none now.

        `new` is the number that a new trial must have; None when all have been started.
        """
        ...

    def report(self, job: Job, resource: int, score: float) -> bool:
        """Take one report of a running job; whether the job goes on (one at its `until` never does)."""
        ...

    def answer(self, reports: list[Report]) -> int | None:
        """The trial that the peer itself would name the best, given all that was reported. Not timed."""
        ...


class Run(NamedTuple):
    """How a simulated study went; resource is in reports (epochs), `seconds` are simulated."""

    reports: list[Report]
    asks: int
    jobs: int
    deciding: float
    seconds: float
    started: int
    seconds_at_last_start: float
    resource_at_last_start: int


def simulate(peer: Peer, scores: list[list[float]], seconds: list[list[float]], workers: int = WORKERS) -> Run:
    """Run `peer` over the trials whose curves are the rows, until nothing runs and no work is given out.

    Column j is resource j + 1; `seconds` are cumulative. A trial that goes on goes on from where it was paused.
    """
    clock, ask, report = time.perf_counter, peer.ask, peer.report
    now, deciding, asks, jobs, started, free = 0.0, 0.0, 0, 0, 0, workers
    last_start = (0.0, 0)
    trained = [0] * len(scores)
    reports: list[Report] = []
    heap: list[tuple[float, int, int, float, float, Job]] = []  # (time, number, resource, begun, training before, job)
    while True:
        while free:
            new = started if started < len(scores) else None
            began = clock()
            begin = ask(new)
            deciding += clock() - began
            asks += 1
            if begin is None:
                break
            if begin.trial == new:
                started += 1
                if started == len(scores):
                    last_start = (now, len(reports))
            resource = trained[begin.trial]
            base = seconds[begin.trial][resource - 1] if resource else 0.0
            heapq.heappush(heap, (now + (seconds[begin.trial][resource] - base), jobs, resource + 1, now, base, begin))
            jobs, free = jobs + 1, free - 1
        if not heap:
            return Run(reports, asks, jobs, deciding, now, started, *last_start)
        goes_on = True
        while goes_on:  # to the end of the next job that ends
            now, number, resource, start, base, job = heapq.heappop(heap)
            score = scores[job.trial][resource - 1]
            reports.append(Report(job.trial, resource, score))
            began = clock()
            goes_on = report(job, resource, score)
            deciding += clock() - began
            if goes_on := goes_on and resource < job.until:
                time_then = start + (seconds[job.trial][resource] - base)
                heapq.heappush(heap, (time_then, number, resource + 1, start, base, job))
        trained[job.trial] = max(trained[job.trial], resource)
        free += 1


# -- ways to choose the answer -----------------------------------------------------------------------------------


def best_of(reports: list[Report], mode: str) -> int | None:
    """The trial of the best report; among equals the earlier one. None if there are no reports."""
    if not reports:
        return None
    sign = -1.0 if mode == "max" else 1.0
    return min(reports, key=lambda report: sign * report.score).trial


def best_at_highest(reports: list[Report], mode: str) -> int | None:
    """The trial of the best report at the highest resource that was reported."""
    highest = max((report.resource for report in reports), default=0)
    return best_of([report for report in reports if report.resource == highest], mode)


def best_of_last(reports: list[Report], mode: str) -> int | None:
    """The trial whose last report is the best; among equals the lower number."""
    last = {report.trial: report for report in reports}
    return best_of([last[trial] for trial in sorted(last)], mode)


# -- the frame of an adapter script ------------------------------------------------------------------------------


class Table(NamedTuple):
    """The curves of one task, and which row trial i takes under each seed."""

    task: str
    mode: str
    scores: np.ndarray
    seconds: np.ndarray
    rows: np.ndarray


def read(folder: Path) -> list[Table]:
    """The tables that run.py wrote."""
    tables = []
    for file in sorted(folder.glob("*.npz")):
        with np.load(file) as found:
            tables.append(Table(str(found["task"]), str(found["mode"]), *(found[k] for k in Table._fields[2:])))
    return tables


def main(
    methods: dict[str, Callable[[Setting], Peer]],
    *,
    packages: list[str],
    one_result_a_job: bool = False,
    check: Callable[[str, Setting, Run, np.ndarray, np.ndarray], None] = lambda *_: None,
) -> None:
    """Run every method on every table and seed.

    `packages` are those whose versions are noted, the peer's own first; `check` sees each run with its scores and
    seconds. With `one_result_a_job` only the last report of a job counts as one that was delivered to the peer.
    """
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    runs = []
    for method, maker in methods.items():
        for number, table in enumerate(read(folder)):
            for seed, rows in enumerate(table.rows):
                scores, seconds = table.scores[rows], table.seconds[rows]
                setting = Setting(table.task, seed, table.mode, len(rows), scores.shape[1])
                if number == seed == 0:
                    simulate(maker(setting._replace(trials=WARM_UP)), scores[:WARM_UP].tolist(), seconds.tolist())
                peer = maker(setting)
                run = simulate(peer, scores.tolist(), seconds.tolist())
                check(method, setting, run, scores, seconds)
                if run.started < len(rows):
                    sys.exit(f"{method} on {table.task}, seed {seed}: only {run.started} of {len(rows)} trials began")
                runs.append({
                    "method": method,
                    "task": table.task,
                    "seed": seed,
                    "resource": len(run.reports),
                    "delivered": run.jobs if one_result_a_job else len(run.reports),
                    "asks": run.asks,
                    "deciding_seconds": run.deciding,
                    "simulated_seconds": run.seconds,
                    "simulated_seconds_at_last_start": run.seconds_at_last_start,
                    "resource_at_last_start": run.resource_at_last_start,
                    "max_resource": max(report.resource for report in run.reports),
                    "answer": peer.answer(run.reports),
                    "answer_at_highest": best_at_highest(run.reports, table.mode),
                })  # fmt: skip
                print(f"{method}, {table.task}, seed {seed}: {run.deciding:.3f} s of deciding", flush=True)
    versions = {name: metadata.version(name) for name in packages}
    out.write_text(json.dumps({"python": platform.python_version(), "versions": versions, "runs": runs}, indent=1))
