"""What lies between the driver's thread and Dask's? The connection to the scheduler, and what is said over it.

All that the scheduler tells a client comes in order over one connection: what a job says (events, by `log_event`), and
that workers come and go. So when it says that a worker is gone, all that it has heard of that worker has been told.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import uuid
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, final

import distributed

from rungwise.executors.dask.slots import Asked, Place, Slot
from rungwise.log import StudyError

ENDING = 5.0  # seconds that the slots may take to end their jobs when the executor is closed
MAKING_WAY = 20  # times that a worker is retired until the scheduler has noticed that our actors are gone


@final
class Seat:
    """The driver's side of a slot: its place on a worker, and what it is asked."""

    def __init__(self, place: Place, worker: str) -> None:
        self.place, self.worker = place, worker
        self.ready = False  # whether its actor is there
        self.lease: int | None = None  # of the job that it has
        self.asked: asyncio.Queue[Asked | None] = asyncio.Queue()  # in order: a job must not overtake a cancellation
        self.task: asyncio.Task[None] | None = None  # that asks it


@final
class Line:
    """A connection to the scheduler at `address`. Methods are called in the driver's thread, coroutines run in Dask's.

    They tell the driver's thread by what `wait` calls. Raises `StudyError` if there is no connection.
    """

    def __init__(self, address: str, security: Any) -> None:
        self._address = address
        try:
            self._client = distributed.Client(address, security=security, set_as_default=False, name="rungwise")
        except OSError as error:
            raise StudyError(f"the Dask scheduler at {address} cannot be reached: {error}") from None
        self._connection = self._client.scheduler_comm
        self._news: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._topics: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def renewed(self) -> bool:
        """Whether there is another connection now: for the scheduler all of ours is forgotten.

        Raises `StudyError` if there will be none.
        """
        if self._client.status == "closed":
            raise StudyError(f"the connection to the Dask scheduler at {self._address} was lost")
        if (connection := self._client.scheduler_comm) is None or connection is self._connection:
            return False
        self._connection = connection
        return True

    def wait(self, timeout: float) -> None:
        """Wait at most `timeout` seconds until something is told; hear all that has been."""
        with contextlib.suppress(queue.Empty):
            self._news.get(timeout=timeout)()
            while True:
                self._news.get_nowait()()

    def subscribe(self, topic: str, hear: Callable[[Any], object]) -> None:
        """Call `hear` with each event of `topic`."""
        self._topics.add(topic)
        self._client.subscribe_topic(topic, lambda event: self._tell(hear, event[1]))

    def unsubscribe(self, topic: str) -> None:
        """Hear no more of it."""
        self._topics.discard(topic)
        self._client.unsubscribe_topic(topic)

    def look(self, see: Callable[[Mapping[str, Any]], object]) -> None:
        """Call `see` with all workers that there are now, by address, as the scheduler describes them."""
        self._client.loop.add_callback(self._begin, self._look(see))

    def attend(
        self,
        seat: Seat,
        make: tuple[Any, ...],
        *,
        ready: Callable[[Seat], object],
        ended: Callable[[Seat], object],
        failed: Callable[[Seat, BaseException], object],
    ) -> None:
        """Make the actor of a slot, of the arguments `make`, and ask it what it is to be asked, until that is None.

        Then, as when it fails, there is no actor any more.
        """

        def begin() -> None:
            seat.task = self._begin(self._attend(seat, make, ready, ended, failed))

        self._client.loop.add_callback(begin)

    def ask(self, seat: Seat, asked: Asked | None) -> None:
        """Ask something of a slot, or to end with None."""
        self._client.loop.add_callback(seat.asked.put_nowait, asked)

    def give_up(self, seat: Seat) -> None:
        """Ask nothing more of a slot whose worker is gone."""

        def cancel() -> None:
            assert seat.task is not None
            seat.task.cancel()

        self._client.loop.add_callback(cancel)

    def retire(self, worker: str) -> None:
        """Retire a worker, in the place of those who could not because of our actors."""
        self._client.loop.add_callback(self._begin, self._retire(worker))

    def close(self) -> None:
        """Wait a moment until the slots have ended that were asked to, and hang up."""
        if self._client.status == "running":
            self._client.sync(self._settle)
            for topic in self._topics:  # or the scheduler would tell the client of its own end
                self._client.unsubscribe_topic(topic)
        self._client.close()  # the scheduler then lets go of our actors, and with them ends what has not ended

    def _tell(self, what: Callable[..., object], *arguments: object) -> None:
        self._news.put(partial(what, *arguments))

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _settle(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=ENDING)

    async def _look(self, see: Callable[[Mapping[str, Any]], object]) -> None:
        with contextlib.suppress(OSError):  # the connection is lost, and with the next one they are looked for
            identity = await self._client.scheduler.identity(n_workers=-1)
            self._tell(see, identity["workers"])

    async def _attend(
        self,
        seat: Seat,
        make: tuple[Any, ...],
        ready: Callable[[Seat], object],
        ended: Callable[[Seat], object],
        failed: Callable[[Seat, BaseException], object],
    ) -> None:
        with self._client.as_current():  # an actor belongs to the client that is current where it arrives
            future = self._client.submit(
                Slot, *make,
                key=f"rungwise-slot-{uuid.uuid4()}", workers=[seat.worker], allow_other_workers=False, actor=True,
            )  # fmt: skip
            try:
                actor = await future
                self._tell(ready, seat)
                while (asked := await seat.asked.get()) is not None:
                    name, argument = asked
                    await getattr(actor, name)(argument)
                await actor.close()
                told = partial(ended, seat)
            except (Exception, asyncio.CancelledError) as error:
                told = partial(failed, seat, error)
            # not when Python collects its garbage: an actor that is still there cannot be retired
            if self._client.status != "closed":  # which it is when the scheduler is gone, and with it all actors
                await self._client.cancel([future], asynchronous=True, force=True)
            self._tell(told)

    async def _retire(self, worker: str) -> None:
        with contextlib.suppress(OSError):  # the connection is lost, and the worker is one like others
            for _ in range(MAKING_WAY):
                if await self._client.scheduler.retire_workers(workers=[worker], close_workers=True, remove=True):
                    return
                await asyncio.sleep(0.1)
