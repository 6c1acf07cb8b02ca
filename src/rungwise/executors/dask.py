"""Who trains, on a Dask cluster? An actor for each slot, on whatever workers there are now.

Never a task for each job: Dask runs the tasks of a killed worker again by itself, those that have ended too, and cannot
end one that runs. An actor is never run again (https://distributed.dask.org/en/stable/actors.html). What a job says is
an event of the scheduler (`log_event`), on the same ordered line as the news of workers that come and go: when the
scheduler says that a worker is gone, all that it has heard of that worker has been said.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import queue
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, cast, final

import msgspec

try:
    import distributed
except ModuleNotFoundError:
    raise ImportError("DaskExecutor needs distributed: pip install 'rungwise[dask]'") from None

from rungwise.errors import InputError
from rungwise.events import Completed, Job
from rungwise.executors import Broke, Executor, Paused, Said
from rungwise.executors.dask_slots import GPU, Asked, Place, Slot, Wanted, first_free, slots_of
from rungwise.executors.devices import Devices
from rungwise.executors.host import Unable
from rungwise.executors.reasons import reason
from rungwise.executors.shipping import Shipment, shipped
from rungwise.log import StudyError
from rungwise.storage import Storage
from rungwise.trial import Trial

ENDING = 5.0  # seconds that a slot may take to end its job when the executor is closed
MAKING_WAY = 20  # times that a worker is retired until the scheduler has noticed that our actors are gone
LOST = (OSError, distributed.KilledWorker, distributed.client.CancelledError)  # of an actor whose worker is gone


@final
class DaskExecutor:
    """Jobs on the workers of a Dask cluster: `tune(…, executor=DaskExecutor(client))`.

    `cluster` is a `distributed.Client`, a cluster (`LocalCluster`, `SLURMCluster`, `KubeCluster`, …), or the
    scheduler's address. The executor connects to the scheduler itself, so your client stays as it is.

    Each thread of a Dask worker is a slot: one job at a time, in a process of its own beside the worker. With
    `resources`, such as `{"GPU": 1}`, a worker has as many slots as its resources last for, and at most one a thread;
    each slot has its share of the worker's threads. Where `resources` has "GPU", each slot sees so many of its
    worker's GPUs and no others; 0.5 means two slots on each GPU. Workers on one host are taken to have different GPUs,
    unless they have a CUDA_VISIBLE_DEVICES of their own. `devices=` says it otherwise: "none" leaves
    CUDA_VISIBLE_DEVICES as the worker has it, and a list has an entry for each slot of a worker in turn.

    Workers may come and go. What a lost worker was doing is given out again; if it was taken away (retired, scaled
    down, at the end of its lifetime) rather than killed, that does not count as a failure. Retired workers reach a
    checkpoint first. `adaptive=(1, 16)` adapts the number of workers to the number of jobs, between these bounds:
    `cluster.adapt()` cannot, since Dask does not see the jobs.

    The study's folder, or the store in `checkpoints=`, must be the same for driver and workers, and `rungwise` must be
    installed on the workers.

    >>> import rungwise as rw
    >>> from distributed import LocalCluster
    >>> from rungwise.executors.dask import DaskExecutor
    >>> def train(trial):
    ...     for epoch in trial:
    ...         trial.report((trial.config["x"] - 0.3) ** 2 + 1 / epoch)
    >>> space = {"x": rw.Float(0, 1)}
    >>> with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
    ...     study = rw.tune(train, space, mode="min", trials=9, executor=DaskExecutor(cluster), quiet=True)
    >>> len(study.trials)
    9

    Raises `InputError` for invalid arguments, and `StudyError` if the scheduler cannot be reached.
    """

    def __init__(
        self,
        cluster: distributed.Client | distributed.deploy.Cluster | str,
        *,
        resources: Mapping[str, float] | None = None,
        devices: Devices = "auto",
        adaptive: tuple[int, int] | None = None,
    ) -> None:
        self.wanted = Wanted(dict(resources or {}), devices)
        self.wanted.check()
        self.adaptive = _checked_bounds(adaptive)
        self.security: Any = None
        self.cluster: Any = None
        if isinstance(cluster, distributed.Client):
            if cluster.scheduler is None:
                raise InputError(f"DaskExecutor wants a connected client, but this one is {cluster.status}")
            self.address, self.security, self.cluster = cluster.scheduler.address, cluster.security, cluster.cluster
        elif isinstance(cluster, distributed.deploy.Cluster):
            self.address, self.security, self.cluster = cluster.scheduler_address, cluster.security, cluster
        elif isinstance(cluster, str) and cluster:
            self.address = cluster
        else:
            raise InputError(
                f"DaskExecutor wants a distributed.Client, a cluster, or the scheduler's address, not {cluster!r}"
            )
        if adaptive is not None and not isinstance(self.cluster, distributed.SpecCluster):
            raise InputError(
                "adaptive= needs a cluster whose workers this process starts, such as LocalCluster or those of "
                f"dask-jobqueue, not {cluster!r}; scale others with cluster.scale(n)"
            )

    def __call__(self, function: Callable[[Trial], object], storage: Storage) -> Executor:
        """The executor of one study, which `tune` closes at its end."""
        return _Workers(self, shipped(function), storage)


def _checked_bounds(adaptive: object) -> tuple[int, int] | None:
    if adaptive is None:
        return None
    wanted = f"adaptive must be the least and the most workers, like (1, 16), not {adaptive!r}"
    if not isinstance(adaptive, tuple) or len(adaptive) != 2 or not all(type(each) is int for each in adaptive):
        raise InputError(wanted)
    least, most = adaptive
    if not 0 <= least <= most or most == 0:
        raise InputError(wanted)
    return least, most


class _Out:
    """A job that was given out."""

    def __init__(self, job: Job, slot: _Seat) -> None:
        self.trial, self.slot = job.trial, slot
        self.heard: set[int] = set()  # places of the messages that have come


class _Seat:
    """The driver's side of a slot."""

    def __init__(self, place: Place, worker: str) -> None:
        self.place, self.worker = place, worker
        self.asked: asyncio.Queue[Asked | None] = asyncio.Queue()  # in order: a job must not overtake a cancellation
        self.ready = False  # whether its actor is there
        self.lease: int | None = None  # of the job that it has
        self.task: asyncio.Task[None] | None = None  # that attends to it

    def give_up(self) -> None:
        """Ask nothing more of it, in the thread of the client."""
        if self.task is not None:
            self.task.cancel()


@final
class _Workers:
    """The `Executor`. All of it is done in the driver's thread but the coroutines, which tell it by `_tell`."""

    def __init__(self, settings: DaskExecutor, shipment: Shipment, storage: Storage) -> None:
        self._settings, self._shipment, self._storage = settings, shipment, storage
        self._topic = f"rungwise-{uuid.uuid4()}"
        self._news: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._seats: dict[str, list[_Seat]] = {}  # worker -> its slots
        self._numbers: list[int] = []  # a heap of those that lost slots had
        self._gpus: dict[str, tuple[str, int, int]] = {}  # worker -> its host, the first of its GPUs, how many
        self._free: deque[_Seat] = deque()
        self._out: dict[int, _Out] = {}
        self._leaving: set[str] = set()  # workers that somebody takes away
        self._gone: set[str] = set()  # workers that may still be on a list that was on its way
        self._heard: list[Said] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._decode = msgspec.json.Decoder(Said | Unable).decode
        self._closed = False
        try:
            self._client = distributed.Client(
                settings.address, security=settings.security, set_as_default=False, name="rungwise"
            )
        except OSError as error:
            raise StudyError(f"the Dask scheduler at {settings.address} cannot be reached: {error}") from None
        self._line = self._client.scheduler_comm
        self._listen()
        self._adaptive = self._adapt()

    # what the loop calls

    @property
    def capacity(self) -> int:
        """The jobs that run, those on workers that are leaving too, and the free slots."""
        return len(self._out) + len(self._free)

    def submit(self, job: Job) -> None:
        """Begin a job in the slot that has been free for longest."""
        seat = self._free.popleft()
        seat.lease = job.lease
        self._out[job.lease] = _Out(job, seat)
        self._ask(seat, ("submit", msgspec.json.encode(job)))

    def poll(self, timeout: float) -> list[Said]:
        """Wait until there is news; what was said. Raises `StudyError` if no job can be done, now or ever."""
        self._check_line()
        with contextlib.suppress(queue.Empty):
            self._news.get(timeout=timeout)()
            while True:
                self._news.get_nowait()()
        heard, self._heard = self._heard, []
        return heard

    def pause(self) -> None:
        """Ask all that run to stop at their next checkpoint."""
        for lease, out in self._out.items():
            self._ask(out.slot, ("pause", lease))

    def cancel(self, lease: int) -> None:
        """End the process of the job of `lease`; its slot stays."""
        if (out := self._out.pop(lease, None)) is not None:
            self._ask(out.slot, ("cancel", lease))
            self._is_free(out.slot)

    def close(self) -> None:
        """End all jobs, and what there is of ours on the cluster."""
        if self._closed:
            return
        self._closed = True
        if self._adaptive is not None:
            self._adaptive.stop()
        for seat in [seat for seats in self._seats.values() for seat in seats]:
            self._ask(seat, None)

        async def ended() -> None:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=ENDING)

        if self._client.status == "running":
            self._client.sync(ended)
            for topic in (self._topic, "all", *self._seats):  # or the scheduler would tell the client of its own end
                self._client.unsubscribe_topic(topic)
        self._client.close()  # the scheduler then lets go of the actors, and with them ends what has not ended

    # the line to the scheduler

    def _listen(self) -> None:
        self._client.subscribe_topic(self._topic, lambda event: self._tell(self._said, event[1]))
        self._client.subscribe_topic("all", lambda event: self._tell(self._happened, event[1]))
        self._start(self._look())

    def _check_line(self) -> None:
        """Whether this is still the connection that it was: with another the scheduler has forgotten all of ours."""
        if self._client.status == "closed":
            raise StudyError(f"the connection to the Dask scheduler at {self._settings.address} was lost")
        line = self._client.scheduler_comm
        if line is None or line is self._line:
            return
        self._line = line
        self._leaving.update(self._seats)  # no job is at fault
        for worker in list(self._seats):
            self._lose(worker, "the connection to the Dask scheduler was lost")
        self._leaving.clear()
        self._gone.clear()
        self._listen()

    def _tell(self, what: Callable[..., object], *arguments: object) -> None:
        self._news.put(partial(what, *arguments))

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run it in the thread of the client."""

        def start() -> None:
            task = asyncio.ensure_future(coroutine)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._client.loop.add_callback(start)

    def _ask(self, seat: _Seat, asked: Asked | None) -> None:
        self._client.loop.add_callback(seat.asked.put_nowait, asked)

    async def _look(self) -> None:
        """See what workers there are."""
        with contextlib.suppress(OSError):  # then the connection is lost, and with the next one they are looked for
            identity = await self._client.scheduler.identity(n_workers=-1)
            self._tell(self._see, identity["workers"])

    async def _attend(self, seat: _Seat) -> None:
        """Make the actor of a slot, and hand it what it is asked."""
        seat.task = asyncio.current_task()
        with self._client.as_current():  # an actor belongs to the client that is current where it arrives
            future = self._client.submit(
                Slot, self._topic, self._shipment, self._storage, seat.place, self._settings.wanted,
                key=f"rungwise-slot-{uuid.uuid4()}", workers=[seat.worker], allow_other_workers=False, actor=True,
            )  # fmt: skip
            try:
                actor = await future
                self._tell(self._is_ready, seat)
                while (asked := await seat.asked.get()) is not None:
                    name, argument = asked
                    await getattr(actor, name)(argument)
                await actor.close()
                ending = partial(self._has_ended, seat)
            except (Exception, asyncio.CancelledError) as error:
                ending = partial(self._has_failed, seat, error)
            await self._client.cancel(
                [future], asynchronous=True, force=True
            )  # or it is there until garbage is collected
            self._tell(ending)

    async def _retire(self, worker: str) -> None:
        """Retire a worker in the place of those who could not because of our actors."""
        with contextlib.suppress(OSError):  # then the connection is lost, and it is a worker like others
            for _ in range(MAKING_WAY):
                if await self._client.scheduler.retire_workers(workers=[worker], close_workers=True, remove=True):
                    return
                await asyncio.sleep(0.1)

    # what is told to the driver's thread

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
            self._is_free(out.slot)
        self._heard.append(said)

    def _happened(self, event: Mapping[str, Any]) -> None:
        """The scheduler says that something has happened to its workers."""
        action = event.get("action")
        if action == "add-worker":
            self._gone.discard(event["worker"])
            self._leaving.discard(event["worker"])
            self._start(self._look())
        elif action == "remove-worker":
            worker = event["worker"]
            if event.get("expected"):
                self._leaving.add(worker)
            self._gone.add(worker)
            self._lose(worker, f"the Dask worker {worker} was lost; out of memory?")
        elif action == "retire-workers":
            for worker in event["could-not-retire"]:  # because of our actors
                self._make_way(worker)

    def _see(self, workers: Mapping[str, Mapping[str, Any]]) -> None:
        """These are the workers now."""
        for worker, about in workers.items():
            if worker in self._gone or worker in self._leaving:
                continue
            if worker not in self._seats:
                self._meet(worker, about)
            there, slots = self._seats[worker], slots_of(about, self._settings.wanted)
            for index in sorted(set(range(slots)).difference(seat.place.index for seat in there)):
                number = heapq.heappop(self._numbers) if self._numbers else sum(map(len, self._seats.values()))
                seat = _Seat(Place(number, index, slots, self._gpus[worker][1]), worker)
                there.append(seat)
                self._start(self._attend(seat))
        if workers and not self._numbers and not any(self._seats.values()):
            wanted = " ".join(f"{name}={amount:g}" for name, amount in self._settings.wanted.resources.items())
            raise StudyError(
                f"no worker of the Dask cluster has the resources of a slot; start workers with --resources '{wanted}'"
            )

    def _meet(self, worker: str, about: Mapping[str, Any]) -> None:
        """There is a new worker."""
        self._seats[worker] = []
        host, count = about["host"], int(about["resources"].get(GPU, 0))
        first = first_free([(first, count) for other, first, count in self._gpus.values() if other == host], count)
        self._gpus[worker] = host, first, count

        def heard(event: tuple[float, Any]) -> None:
            if event[1].get("action") == "closing-worker":  # in order, so it is not the job that has killed it
                self._tell(self._leaving.add, worker)

        self._client.subscribe_topic(worker, heard)

    def _is_ready(self, seat: _Seat) -> None:
        """Its actor is there."""
        seat.ready = True
        if self._lives(seat):
            self._is_free(seat)

    def _is_free(self, seat: _Seat) -> None:
        """It may have a job, unless its worker is to go."""
        seat.lease = None
        if seat.worker in self._leaving:
            self._ask(seat, None)
        else:
            self._free.append(seat)

    def _make_way(self, worker: str) -> None:
        """Leave a worker that is to be retired: its jobs at their next checkpoints."""
        self._leaving.add(worker)
        for seat in self._seats.get(worker, ()):
            if seat in self._free:
                self._free.remove(seat)
                self._ask(seat, None)
            elif seat.lease is not None:
                self._ask(seat, ("pause", seat.lease))

    def _has_ended(self, seat: _Seat) -> None:
        """Its actor is closed, because its worker is to go."""
        if self._lives(seat):
            self._drop(seat)
            if not self._seats[seat.worker]:
                self._start(self._retire(seat.worker))

    def _has_failed(self, seat: _Seat, error: BaseException) -> None:
        """Its actor could not be made, or not be reached."""
        if not self._lives(seat):
            return
        if not seat.ready and not isinstance(error, LOST):
            raise StudyError(f"the Dask worker {seat.worker} can do no job: {reason(error)}")
        self._drop(seat)
        self._say_lost(seat, f"the Dask worker {seat.worker} could not be reached: {reason(error)}")
        self._start(self._look())

    def _lives(self, seat: _Seat) -> bool:
        return seat in self._seats.get(seat.worker, ())

    def _lose(self, worker: str, why: str) -> None:
        """A worker is gone."""
        for seat in list(self._seats.get(worker, ())):
            self._drop(seat)
            self._say_lost(seat, why)
            self._client.loop.add_callback(seat.give_up)
        if self._seats.pop(worker, None) is not None:
            del self._gpus[worker]
            self._client.unsubscribe_topic(worker)

    def _drop(self, seat: _Seat) -> None:
        self._seats[seat.worker].remove(seat)
        heapq.heappush(self._numbers, seat.place.number)
        if seat in self._free:
            self._free.remove(seat)

    def _say_lost(self, seat: _Seat, why: str) -> None:
        """The last of the job of a slot that is no more; nothing is heard of it any more."""
        if seat.lease is not None and (out := self._out.pop(seat.lease, None)) is not None:
            taken_away = seat.worker in self._leaving
            self._heard.append(Said(seat.lease, None, Paused(out.trial) if taken_away else Broke(out.trial, why)))

    # how many workers there should be

    def _adapt(self) -> distributed.Adaptive | None:
        if self._settings.adaptive is None:
            return None
        least, most = self._settings.adaptive
        adaptive = self._settings.cluster.adapt(Adaptive=partial(_Adaptive, self), minimum=least, maximum=most)
        return cast(distributed.Adaptive, adaptive)

    def busy_workers(self) -> tuple[set[str], bool]:
        """The workers that have a job, and whether all slots have one. Called in another thread than all else."""
        busy = {out.slot.worker for out in list(self._out.values())}
        return busy, not self._free


@final
class _Adaptive(distributed.Adaptive):  # type: ignore[misc]  # untyped
    """Dask's own rules of how a cluster adapts, but for what is to be done."""

    def __init__(self, workers: _Workers, cluster: distributed.deploy.Cluster, **settings: Any) -> None:
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
