"""What did this peer train, report by report? A virtual clock over one table of curves, and the line that tells of it.

The peer asks for configurations of the space that the rows seem to be drawn from; each proposal becomes the nearest row
that was not tried (`rungwise.bench.rows`), and the peer is told that row's own values. Workers train rows, reports
arrive one at a time in the order of simulated time (at equal times in the order in which their jobs were given out),
and free workers ask after each report. Runs in the environment of each peer, which needs numpy and msgspec, with
rungwise on its path.

An adapter defines its peers and ends with `main({method: maker, …}, packages=[…])`. board.py calls it as

python board_<peer>.py ORDER.json

An order has the method, its units as [suite, task, seed], the units of resource as a multiple of R, the number of
workers, and the file to which the lines are added.
"""

from __future__ import annotations

import heapq
import json
import math
import os
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from rungwise.bench.rows import RowsOf
from rungwise.bench.suites import load_suite
from rungwise.bench.task import Task
from rungwise.parameters import Integer, Parameter

MIN_RESOURCE, REDUCTION_FACTOR = 1, 3


class Job(NamedTuple):
    """Train `row` up to `until` at most. `handle` is the peer's own name for the job, if it needs one."""

    row: int
    until: int
    handle: Any = None


class Peer(Protocol):
    """A method behind three calls; losses are minimized."""

    resumes: bool  # whether a row goes on where it was paused, or begins again at resource 1

    def ask(self) -> Job | None:
        """A job for a free worker, None if there is none before the next report."""
        ...

    def report(self, job: Job, resource: int, loss: float) -> bool:
        """Take one report of a running job; whether the job goes on (one at its `until` never does)."""
        ...

    def answer(self) -> int | None:
        """The row that the peer itself would name the best now; None while it names none."""
        ...


class Played(NamedTuple):
    """What a run reported: entry k of `rows`, `resources` and `seconds` is the k-th report in simulated time.

    `answers` holds (number of reports before, row): from when on which row was recommended.
    """

    rows: list[int]
    resources: list[int]
    seconds: list[float]
    answers: list[tuple[int, int]]


def play(peer: Peer, losses: np.ndarray, seconds: np.ndarray, units: int, workers: int = 4) -> Played:
    """Run `peer` until `units` of resource were reported, or nothing runs and it gives out no more work.

    Both arrays are rows × resources 1 … R; `seconds` are cumulative. While the peer names no row, the recommended one
    is the best at the highest resource reported; among equals the earliest.
    """
    played = Played([], [], [], [])
    now, jobs, free = 0.0, 0, workers
    trained: dict[int, int] = {}
    highest, best, best_row = 0, math.inf, -1
    heap: list[tuple[float, int, int, float, float, Job]] = []  # (time, number, resource, begun, training before, job)
    while len(played.rows) < units:
        while free and (job := peer.ask()) is not None:
            before = trained.get(job.row, 0) if peer.resumes else 0
            assert before < job.until <= losses.shape[1], f"{job} was trained to {before} of {losses.shape[1]}"
            base = float(seconds[job.row, before - 1]) if before else 0.0
            heapq.heappush(heap, (now + seconds[job.row, before] - base, jobs, before + 1, now, base, job))
            jobs, free = jobs + 1, free - 1
        if not heap:
            break
        now, number, resource, begun, base, job = heapq.heappop(heap)
        loss = float(losses[job.row, resource - 1])
        played.rows.append(job.row)
        played.resources.append(resource)
        played.seconds.append(float(now))
        trained[job.row] = max(resource, trained.get(job.row, 0))
        if resource > highest or (resource == highest and loss < best):
            highest, best, best_row = resource, loss, job.row
        if peer.report(job, resource, loss) and resource < job.until:
            heapq.heappush(heap, (begun + seconds[job.row, resource] - base, number, resource + 1, begun, base, job))
        else:
            free += 1
        named = peer.answer()
        answer = best_row if named is None else named
        if not played.answers or played.answers[-1][1] != answer:
            played.answers.append((len(played.rows), answer))
    return played


class Rows:
    """The rows of a table as a space to search, and which of them were tried.

    `parameters` are those that differ between rows, by name; most peers know no parameter with one value only.
    """

    def __init__(self, configs: Sequence[Mapping[str, Any]]) -> None:
        self._rows = RowsOf([dict(config) for config in configs])
        varies = np.ptp(self._rows.points, axis=0) > 0
        self.parameters: dict[str, Parameter] = {
            name: parameter for (name, parameter), it in zip(self._rows.items(), varies, strict=True) if it
        }
        self._places = np.flatnonzero(varies)
        self.tried = np.zeros(len(configs), dtype=bool)

    def values(self, row: int) -> dict[str, Any]:
        """The configuration of a row: its values of the `parameters`."""
        config = self._rows.configs[row]
        return {
            name: int(config[name]) if isinstance(parameter, Integer) else config[name]
            for name, parameter in self.parameters.items()
        }

    def point(self, row: int) -> np.ndarray:
        """The same in the unit cube."""
        point: np.ndarray = self._rows.points[row, self._places]
        return point

    def take(self, proposal: Mapping[str, Any]) -> int | None:
        """The row nearest to the values of `proposal` that was not tried, from now on tried; None if all were."""
        return self.take_point([parameter.encode(proposal[name]) for name, parameter in self.parameters.items()])

    def take_point(self, place: Sequence[float] | np.ndarray) -> int | None:
        """The same for a place in the unit cube of `parameters`."""
        if self.tried.all():
            return None
        point = self._rows.points[0].copy()
        point[self._places] = place
        row = int(np.where(self.tried, np.inf, self._rows.distances(point)).argmin())
        self.tried[row] = True
        return row


class Setting(NamedTuple):
    """What a peer is told before it begins."""

    name: str
    seed: int
    rows: Rows
    max_resource: int
    units: int


class BestEver:
    """The row of the best report at any resource, the earliest among equals: the answer of several peers."""

    def __init__(self) -> None:
        self.row: int | None = None
        self._loss = math.inf

    def tell(self, row: int, loss: float) -> None:
        """Take a report."""
        if loss < self._loss:
            self.row, self._loss = row, loss


# -- the frame of an adapter -------------------------------------------------------------------------------------


def losses_of(task: Task) -> np.ndarray:
    """Scores to be minimized, with the worst finite one where training diverged: not every peer survives `inf`."""
    if task.table.resources.tolist() != list(range(1, task.table.scores.shape[1] + 1)):
        raise SystemExit(f"{task.suite}/{task.name}: the board takes curves over resources 1 … R only")
    losses = task.table.scores if task.table.mode == "min" else -task.table.scores
    finite = np.isfinite(losses)
    return np.where(finite, losses, losses[finite].max())


def main(methods: Mapping[str, Callable[[Setting], Peer]], *, packages: Sequence[str]) -> None:
    """Carry out the order that the command line names: a line in the file, and one to be read, for each unit."""
    order = json.loads(Path(sys.argv[1]).read_text())
    method, version = order["method"], " ".join(f"{name} {metadata.version(name)}" for name in packages)
    suites = {suite: {task.name: task for task in load_suite(suite)} for suite, _, _ in order["units"]}
    for suite, name, seed in order["units"]:
        task = suites[suite][name]
        losses = losses_of(task)
        last = losses.shape[1]
        random.seed(seed)
        np.random.seed(seed)  # what a peer draws without a generator of its own
        began, processor = time.perf_counter(), time.process_time()
        units = round(order["budget"] * last)
        peer = methods[method](Setting(f"{suite}-{name}-{seed}", seed, Rows(task.configs), last, units))
        played = play(peer, losses, task.table.seconds, units, order["workers"])
        took, processor = time.perf_counter() - began, time.process_time() - processor
        line = {"suite": suite, "task": name, "seed": seed, "method": method, **played._asdict()}
        line |= {"version": version, "resumes": peer.resumes, "processor": round(processor, 3)}
        text = json.dumps(line, separators=(",", ":")) + "\n"
        file = os.open(order["file"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)  # one write: two processes may add lines
        os.write(file, text.encode())
        os.close(file)
        spent, tried = len(played.rows) / last, len(set(played.rows))
        print(f"{method}, {suite}/{name}, seed {seed}: {tried} rows, {spent:.1f} R, {took:.1f} s", flush=True)
