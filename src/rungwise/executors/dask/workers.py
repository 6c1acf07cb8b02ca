"""Which slots are there, and which job has each? The driver's side: an `Executor` over the slots of a Dask cluster."""

from __future__ import annotations

import heapq
import uuid
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Any, final

import distributed
import msgspec

from rungwise.events import Completed, Job
from rungwise.executors import Broke, Paused, Said
from rungwise.executors.dask.line import Line, Seat
from rungwise.executors.dask.slots import GPU, Place, Wanted, first_free, slots_of
from rungwise.executors.host import Unable
from rungwise.executors.reasons import reason
from rungwise.executors.shipping import Shipment
from rungwise.log import StudyError
from rungwise.storage import Storage

LOST = (OSError, distributed.KilledWorker, distributed.client.CancelledError)  # of an actor whose worker is gone


class _Out:
    """A job that was given out."""

    def __init__(self, job: Job, seat: Seat) -> None:
        self.trial, self.seat = job.trial, seat
        self.heard: set[int] = set()  # places of the messages that have come


@final
class DaskWorkers:
    """An `Executor`: jobs of what is in `shipment` on the workers of the cluster at the other end of `line`."""

    def __init__(self, line: Line, shipment: Shipment, storage: Storage, wanted: Wanted) -> None:
        self._line, self._shipment, self._storage, self._wanted = line, shipment, storage, wanted
        self._topic = f"rungwise-{uuid.uuid4()}"
        self._seats: dict[str, list[Seat]] = {}  # worker -> its slots
        self._numbers: list[int] = []  # a heap of those that lost slots had
        self._gpus: dict[str, tuple[str, int, int]] = {}  # worker -> its host, the first of its GPUs, how many
        self._free: deque[Seat] = deque()
        self._out: dict[int, _Out] = {}
        self._leaving: set[str] = set()  # workers that somebody takes away
        self._gone: set[str] = set()  # workers that may still be on a list that was on its way
        self._heard: list[Said] = []
        self._decode = msgspec.json.Decoder(Said | Unable).decode
        self._adaptive: distributed.Adaptive | None = None
        self._closed = False
        self._listen()

    def adapt(self, cluster: distributed.SpecCluster, least: int, most: int) -> None:
        """From now on the cluster has as many workers as there are jobs for, from `least` to `most`."""
        self._adaptive = cluster.adapt(Adaptive=partial(_Adaptive, self), minimum=least, maximum=most)

    @property
    def capacity(self) -> int:
        """The jobs that run, those on workers that are leaving too, and the free slots."""
        return len(self._out) + len(self._free)

    def submit(self, job: Job) -> None:
        """Begin a job in the slot that has been free for longest."""
        seat = self._free.popleft()
        seat.lease = job.lease
        self._out[job.lease] = _Out(job, seat)
        self._line.ask(seat, ("submit", msgspec.json.encode(job)))

    def poll(self, timeout: float) -> list[Said]:
        """Wait until there is news; what was said. Raises `StudyError` if no job can be done, now or ever."""
        if self._line.renewed():
            self._begin_anew()
        self._line.wait(timeout)
        heard, self._heard = self._heard, []
        return heard

    def pause(self) -> None:
        """Ask all that run to stop at their next checkpoint."""
        for lease, out in self._out.items():
            self._line.ask(out.seat, ("pause", lease))

    def cancel(self, lease: int) -> None:
        """End the process of the job of `lease`; its slot stays."""
        if (out := self._out.pop(lease, None)) is not None:
            self._line.ask(out.seat, ("cancel", lease))
            self._is_free(out.seat)

    def close(self) -> None:
        """End all jobs, and what there is of ours on the cluster."""
        if self._closed:
            return
        self._closed = True
        if self._adaptive is not None:
            self._adaptive.stop()
        for seats in self._seats.values():
            for seat in seats:
                self._line.ask(seat, None)
        self._line.close()

    def _listen(self) -> None:
        self._line.subscribe(self._topic, self._said)
        self._line.subscribe("all", self._happened)
        self._line.look(self._see)

    def _begin_anew(self) -> None:
        """There is another connection, and none of our actors any more."""
        self._leaving.update(self._seats)  # no job is at fault
        for worker in list(self._seats):
            self._lose(worker, "the connection to the Dask scheduler was lost")
        self._leaving.clear()
        self._gone.clear()
        self._listen()

    def _said(self, event: bytes) -> None:
        """A host has said something."""
        said = self._decode(event)
        if isinstance(said, Unable):
            raise StudyError(f"no job can be done on the Dask cluster: {said.reason}")
        if (out := self._out.get(said.lease)) is None:
            return  # it was canceled, or its slot was given up
        message = said.message
        if said.place is not None:
            out.heard.add(said.place)
        if isinstance(message, Completed | Broke | Paused):
            if said.place is not None and len(out.heard) <= said.place:
                said = Said(said.lease, None, Broke(message.trial, "a message of the job was lost"))
            del self._out[said.lease]
            self._is_free(out.seat)
        self._heard.append(said)

    def _happened(self, event: object) -> None:
        """The scheduler says that something has happened to its workers, or somebody anything else."""
        match event:
            case {"action": "add-worker", "worker": worker}:
                self._gone.discard(worker)
                self._leaving.discard(worker)
                self._line.look(self._see)
            case {"action": "remove-worker", "worker": worker, "expected": expected}:
                if expected:
                    self._leaving.add(worker)
                self._gone.add(worker)
                self._lose(worker, f"the Dask worker {worker} was lost; out of memory?")
            case {"action": "retire-workers", "could-not-retire": workers}:  # because of our actors
                for worker in workers:
                    self._make_way(worker)

    def _see(self, workers: Mapping[str, Mapping[str, Any]]) -> None:
        """These are the workers now."""
        for worker, about in workers.items():
            if worker in self._gone or worker in self._leaving:
                continue
            if worker not in self._seats:
                self._meet(worker, about)
            there, slots = self._seats[worker], slots_of(about, self._wanted)
            for index in sorted(set(range(slots)).difference(seat.place.index for seat in there)):
                number = heapq.heappop(self._numbers) if self._numbers else sum(map(len, self._seats.values()))
                seat = Seat(Place(number, index, slots, self._gpus[worker][1]), worker)
                there.append(seat)
                make = self._topic, self._shipment, self._storage, seat.place, self._wanted
                self._line.attend(seat, make, ready=self._is_ready, ended=self._has_ended, failed=self._has_failed)
        if workers and not self._numbers and not any(self._seats.values()):
            wanted = " ".join(f"{name}={amount:g}" for name, amount in self._wanted.resources.items())
            raise StudyError(
                f"no worker of the Dask cluster has the resources of a slot; start workers with --resources '{wanted}'"
            )

    def _meet(self, worker: str, about: Mapping[str, Any]) -> None:
        """There is a new worker."""
        self._seats[worker] = []
        host, count = about["host"], int(about["resources"].get(GPU, 0))
        first = first_free([(first, count) for other, first, count in self._gpus.values() if other == host], count)
        self._gpus[worker] = host, first, count

        def heard(event: object) -> None:
            match event:
                case {"action": "closing-worker"}:  # by itself: it was not killed
                    self._leaving.add(worker)

        self._line.subscribe(worker, heard)

    def _is_ready(self, seat: Seat) -> None:
        """Its actor is there."""
        seat.ready = True
        if self._lives(seat):
            self._is_free(seat)

    def _is_free(self, seat: Seat) -> None:
        """It may have a job, unless its worker is to go."""
        seat.lease = None
        if seat.worker in self._leaving:
            self._line.ask(seat, None)
        else:
            self._free.append(seat)

    def _make_way(self, worker: str) -> None:
        """Leave a worker that is to be retired: its jobs at their next checkpoints."""
        self._leaving.add(worker)
        for seat in self._seats.get(worker, ()):
            if seat in self._free:
                self._free.remove(seat)
                self._line.ask(seat, None)
            elif seat.lease is not None:
                self._line.ask(seat, ("pause", seat.lease))

    def _has_ended(self, seat: Seat) -> None:
        """Its actor is closed, because its worker is to go."""
        if self._lives(seat):
            self._drop(seat)
            if not self._seats[seat.worker]:
                self._line.retire(seat.worker)

    def _has_failed(self, seat: Seat, error: BaseException) -> None:
        """Its actor could not be made, or not be reached."""
        if not self._lives(seat):
            return
        if not seat.ready and not isinstance(error, LOST):
            raise StudyError(f"the Dask worker {seat.worker} can do no job: {reason(error)}")
        self._drop(seat)
        self._say_lost(seat, f"the Dask worker {seat.worker} could not be reached: {reason(error)}")
        self._line.look(self._see)

    def _lives(self, seat: Seat) -> bool:
        return seat in self._seats.get(seat.worker, ())

    def _lose(self, worker: str, why: str) -> None:
        """A worker is gone."""
        for seat in list(self._seats.get(worker, ())):
            self._drop(seat)
            self._say_lost(seat, why)
            self._line.give_up(seat)
        if self._seats.pop(worker, None) is not None:
            del self._gpus[worker]
            self._line.unsubscribe(worker)

    def _drop(self, seat: Seat) -> None:
        self._seats[seat.worker].remove(seat)
        heapq.heappush(self._numbers, seat.place.number)
        if seat in self._free:
            self._free.remove(seat)

    def _say_lost(self, seat: Seat, why: str) -> None:
        """The last of the job of a slot that is no more; nothing is heard of it any more."""
        if seat.lease is not None and (out := self._out.pop(seat.lease, None)) is not None:
            taken_away = seat.worker in self._leaving
            self._heard.append(Said(seat.lease, None, Paused(out.trial) if taken_away else Broke(out.trial, why)))

    def busy_workers(self) -> tuple[set[str], bool]:
        """The workers that have a job, and whether all slots have one. Called in another thread than all else."""
        busy = {out.seat.worker for out in list(self._out.values())}
        return busy, not self._free


@final
class _Adaptive(distributed.Adaptive):  # type: ignore[misc]  # untyped
    """Dask's own rules of how a cluster adapts, but for what is to be done."""

    def __init__(self, workers: DaskWorkers, cluster: distributed.deploy.Cluster, **settings: Any) -> None:
        self._workers = workers
        super().__init__(cluster, **settings)

    async def target(self) -> int:
        """As many as have jobs; twice as many as there are if every slot has one."""
        busy, all_busy = self._workers.busy_workers()
        return max(1, len(self.plan), 2 * len(self.observed)) if all_busy else len(busy)

    async def workers_to_close(self, target: int) -> list[str]:
        """The names of some that have no job."""
        busy, _ = self._workers.busy_workers()
        workers = self.cluster.scheduler_info["workers"]
        idle = [about["name"] for worker, about in workers.items() if worker not in busy]
        return idle[: max(0, len(self.plan) - target)]
