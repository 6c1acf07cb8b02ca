"""When does what happen on virtual time? Workers for the loop that train nothing: a table says what they would report.

`Clock` has workers that are always there, `ClusterClock` the machines of a `Cluster`. May import what stands below
`simulate`.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Iterator
from itertools import count
from math import isfinite
from typing import final

import msgspec
import numpy as np

from rungwise.cluster import Cluster, ClusterUse, Machine, lognormal, machines
from rungwise.curves import CurveTable
from rungwise.errors import InputError
from rungwise.events import Completed, Job, Reported
from rungwise.executors import Broke, Message, Paused
from rungwise.study import Study

IN_VAIN = 1_000
"""So often a job may be taken away in a row without coming any further: then no machine lasts long enough."""


@final
class Curves:
    """What jobs over the rows of a table say, and when."""

    def __init__(self, table: CurveTable) -> None:
        self._table = table
        self._resources: list[int] = table.resources.tolist()

    def said(self, job: Job, start: int, began: float, slowness: float = 1.0) -> tuple[list[float], list[Message]]:
        """What is said of `job`, which trains from `start` since `began`, and when.

        There is a time for each report. The end comes with the last one, and has a time only where there is none.
        """
        table, row, trial = self._table, job.config["row"], job.trial
        first, end = bisect_right(self._resources, start), bisect_right(self._resources, job.until)
        scores, seconds = table.scores[row, first:end].tolist(), table.seconds[row, first:end].tolist()
        base = float(table.seconds[row, first - 1]) if first else 0.0
        times = [began + slowness * (second - base) for second in seconds]
        reports = zip(self._resources[first:end], scores, seconds, [base, *seconds], strict=False)
        messages: list[Message] = [
            Reported(trial, resource, score if isfinite(score) else None, slowness * (second - before))
            for resource, score, second, before in reports
        ]
        messages.append(Completed(trial))
        return times or [began], messages


@final
class Clock:
    """Workers that are always there, on a virtual clock."""

    def __init__(self, table: CurveTable, workers: int) -> None:
        self.now, self.capacity, self.retries = 0.0, workers, 0
        self.jobs: list[tuple[float, int, int, int]] = []
        self._curves = Curves(table)
        self._heap: list[tuple[float, int, int, list[float], list[Message]]] = []  # of each job, first what comes next

    def submit(self, job: Job) -> None:
        """Begin a job."""
        self.jobs.append((self.now, job.trial, job.start, job.until))
        times, messages = self._curves.said(job, job.start, self.now)
        heapq.heappush(self._heap, (times[0], len(self.jobs), 0, times, messages))

    def poll(self, timeout: float) -> list[Message]:
        """All that is said up to the next end of a job: nothing is decided before that."""
        heap, heard = self._heap, []
        while True:
            self.now, number, place, times, messages = heap[0]
            heard.append(messages[place])
            place += 1
            if place >= len(times):
                heapq.heappop(heap)
                heard += messages[place:]
                return heard
            heapq.heapreplace(heap, (times[place], number, place, times, messages))


class _Run(msgspec.Struct, eq=False):
    """A job on a machine: since when it is there, and since when it trains; `kept` of its training is not lost."""

    slot: int
    machine: Machine
    began: float
    trains: float
    times: list[float]
    messages: list[Message]
    kept: float


@final
class ClusterClock:
    """The machines of a cluster, on a virtual clock. Idle ones get jobs in the order of their places."""

    def __init__(self, table: CurveTable, cluster: Cluster) -> None:
        self.now, self.capacity, self.retries = 0.0, 0, cluster.retries
        self.jobs: list[tuple[float, int, int, int]] = []
        self.broken = self.preempted = 0
        self._cluster, self._curves = cluster, Curves(table)
        self._chance = np.random.default_rng([cluster.seed, cluster.most])  # of jobs; the machines have their own
        self._heap: list[tuple[float, int, int, _Run]] = []  # of each job, first what comes next
        self._slots: list[Iterator[Machine]] = []
        self._here: list[Machine | None] = []  # by place: the machine that is there, or comes next
        self._changes: list[tuple[float, int]] = []  # when a machine gets ready, or goes, in which place
        self._ready: dict[int, Machine] = {}
        self._idle: list[tuple[int, int, Machine]] = []  # those that have gone meanwhile too
        self._free: dict[int, float] = {}  # place -> since when its machine has no job
        self._serial = count()
        self._vain: dict[int, int] = {}  # trial -> how often it was taken away since it reported
        self._came = 0
        self._all = self._used = self._lost = self._starting = self._unused = 0.0
        for slot in range(cluster.most):
            self._slots.append(machines(cluster, slot))
            self._here.append(None)
            self._next(slot)
        while self._changes and self._changes[0][0] <= 0.0:
            self._change()

    def submit(self, job: Job) -> None:
        """Begin a job on the first idle machine."""
        slot, machine = self._take()
        start = max(job.start, job.reported) if self._cluster.resume == "report" else job.start
        self.jobs.append((self.now, job.trial, start, job.until))
        trains = self.now + self._cluster.job_start_up
        slowness = machine.slowness * lognormal(self._chance, self._cluster.job_stragglers)
        times, messages = self._curves.said(job, start, trains, slowness)
        kept = times[-1] - trains
        if machine.gone < times[-1]:
            said = bisect_right(times, machine.gone)
            kept = times[said - 1] - trains if said and self._cluster.resume == "report" else 0.0
            end = Broke(job.trial, "its machine failed") if machine.fails else Paused(job.trial)
            times, messages = [*times[:said], machine.gone], [*messages[:said], end]
        run = _Run(slot, machine, self.now, trains, times, messages, kept)
        heapq.heappush(self._heap, (times[0], len(self.jobs), 0, run))

    def poll(self, timeout: float) -> list[Message]:
        """All that is said up to the next end of a job, or until a machine gets ready."""
        heap, changes = self._heap, self._changes
        heard: list[Message] = []
        while True:
            if changes and (not heap or changes[0][0] <= heap[0][0]):
                if self._change():
                    return heard
                continue
            self.now, number, place, run = heap[0]
            heard.append(run.messages[place])
            place += 1
            if place >= len(run.times):
                heapq.heappop(heap)
                heard += run.messages[place:]
                self._end(run, heard[-1])
                return heard
            heapq.heapreplace(heap, (run.times[place], number, place, run))

    def use(self, answers: list[tuple[float, int]]) -> ClusterUse:
        """What became of the machines up to now; nothing goes on afterwards."""
        for _, _, _, run in self._heap:
            self._count(run, math.inf)
        for slot, machine in enumerate(self._here):
            if machine is not None and machine.came < self.now:
                self._bill(slot, machine)
        return ClusterUse(
            self._came,
            self._all,
            self._used,
            self._lost,
            self._starting,
            self._unused,
            self._all * self._cluster.price,
            self.broken,
            self.preempted,
            answers,
        )

    def _take(self) -> tuple[int, Machine]:
        """The first idle machine, which has a job now."""
        while True:
            slot, _, machine = heapq.heappop(self._idle)
            if self._ready.get(slot) is machine:
                self._unused += self.now - self._free.pop(slot)
                return slot, machine

    def _rest(self, slot: int, machine: Machine) -> None:
        """A machine has no job."""
        heapq.heappush(self._idle, (slot, next(self._serial), machine))
        self._free[slot] = self.now

    def _end(self, run: _Run, last: Message) -> None:
        """A job has ended."""
        self._count(run, run.kept)
        if self._ready.get(run.slot) is run.machine:
            self._rest(run.slot, run.machine)
        vain = 0 if run.kept else self._vain.get(last.trial, 0) + 1
        self._vain[last.trial] = vain
        if type(last) is Paused:
            self.preempted += 1
            if vain >= IN_VAIN:
                raise InputError(
                    f"trial {last.trial} was taken away {IN_VAIN:,} times without coming any further: no machine "
                    "lasts long enough; give a longer spot="
                )
        elif type(last) is Broke:
            self.broken += 1

    def _count(self, run: _Run, kept: float) -> None:
        """Count the time of a job up to now, of whose training `kept` is not lost."""
        trained = max(self.now - run.trains, 0.0)
        self._starting += min(self.now, run.trains) - run.began
        self._used += min(trained, kept)
        self._lost += max(trained - kept, 0.0)

    def _bill(self, slot: int, machine: Machine) -> None:
        """Count the time of a machine up to now."""
        self._came += 1
        self._all += self.now - machine.came
        self._starting += min(machine.ready, self.now) - machine.came
        if slot in self._free:
            self._unused += self.now - self._free.pop(slot)

    def _change(self) -> bool:
        """A machine gets ready (true), or goes (false)."""
        self.now, slot = heapq.heappop(self._changes)
        machine = self._here[slot]
        assert machine is not None
        if slot not in self._ready and self.now < machine.gone:
            self.capacity += 1
            self._ready[slot] = machine
            self._rest(slot, machine)
            if machine.gone < math.inf:
                heapq.heappush(self._changes, (machine.gone, slot))
            return True
        self._bill(slot, machine)
        if self._ready.pop(slot, None) is not None:
            self.capacity -= 1
        self._next(slot)
        return False

    def _next(self, slot: int) -> None:
        """The next machine of a place is on its way."""
        machine = self._here[slot] = next(self._slots[slot], None)
        if machine is not None:
            heapq.heappush(self._changes, (min(machine.ready, machine.gone), slot))


@final
class Notes:
    """Notes when the ceiling of a study rose, (time, level), the first at time 0, and on a cluster `answers`.

    These are (time, trial): from when on which trial was the best.
    """

    def __init__(self, study: Study, clock: Clock | ClusterClock) -> None:
        level = study.state.open_level
        assert level is not None
        self.ceilings: list[tuple[float, int]] = [(0.0, level)]
        self.answers: list[tuple[float, int]] = []
        self._state, self._rises, self._clock = study.state, study.state.rises, clock
        self._all = isinstance(clock, ClusterClock)

    def look(self, messages: list[Message]) -> None:
        """Something has happened."""
        rises = self._rises
        if len(rises) >= len(self.ceilings):
            self.ceilings += [(self._clock.now, rise.until) for rise in rises[len(self.ceilings) - 1 :]]
        if self._all and (best := self._state.winners) and (not self.answers or self.answers[-1][1] != best[0]):
            self.answers.append((self._clock.now, best[0]))
