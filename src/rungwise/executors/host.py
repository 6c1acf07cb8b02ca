"""One slot of an engine: the worker process that local studies have, in a process that the engine has started.

Dask, Ray and Slurm start a process somewhere and carry bytes; in it a `Host` keeps the worker process that calls the
user's function. So limits, logs, devices, crashes and the end of all that a job has started are as they are locally.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import closing
from typing import final

import msgspec

from rungwise.events import Completed, Job
from rungwise.executors import TICK, Broke, Paused, Said
from rungwise.executors.devices import Devices
from rungwise.executors.local import LocalWorkers
from rungwise.executors.reasons import reason
from rungwise.executors.shipping import Shipment
from rungwise.storage import Storage


class Unable(msgspec.Struct, frozen=True, tag_field="fact", tag=str.lower):
    """No job can ever be done here, such as when the function cannot be loaded."""

    reason: str


@final
class Host:
    """Does one job at a time, in a worker process that `shipment` sets up; `say` is called with what is said of it.

    Nothing here waits: `say` is called from a thread of the host, one message after the other. It may raise; the host
    then ends, and its worker process with it. `slot` is `trial.worker`, `devices` are what the job sees, and
    `threads` is how many OpenMP and its like may use, as the environment says if it is None.
    """

    def __init__(
        self,
        shipment: Shipment,
        storage: Storage,
        say: Callable[[Said | Unable], object],
        *,
        slot: int = 0,
        devices: Devices = "auto",
        threads: int | None = None,
    ) -> None:
        self._shipment, self._storage, self._say = shipment, storage, say
        self._slot, self._devices, self._threads = slot, devices, threads
        self._asked: queue.SimpleQueue[Callable[[LocalWorkers], object] | None] = queue.SimpleQueue()
        self._lease: int | None = None  # of the job under way
        # one thread for all: the kernel ends a worker process when the thread that has started it ends
        self._thread = threading.Thread(target=self._serve, name="rungwise host", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Begin a job; the one before has ended or was canceled."""
        self._asked.put(lambda workers: self._begin(workers, job))

    def pause(self, lease: int) -> None:
        """Ask the job under `lease` to stop at its next checkpoint."""
        self._asked.put(lambda workers: workers.pause() if lease == self._lease else None)

    def cancel(self, lease: int) -> None:
        """End the worker of the job under `lease`; no more is said of it."""
        self._asked.put(lambda workers: self._end(workers, lease))

    @property
    def alive(self) -> bool:
        """Whether it can still do jobs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the worker process."""
        self._asked.put(None)
        self._thread.join()

    def _serve(self) -> None:
        try:
            workers = LocalWorkers(
                self._shipment, 1, self._storage, devices=self._devices, slot=self._slot, threads=self._threads
            )
            with closing(workers):
                self._listen(workers)
        except Exception as error:
            self._say(Unable(reason(error)))

    def _listen(self, workers: LocalWorkers) -> None:
        while True:
            if self._lease is None or not self._asked.empty():
                if (asked := self._asked.get()) is None:
                    return
                asked(workers)
                continue
            for said in workers.poll(TICK):
                if isinstance(said.message, Completed | Broke | Paused):
                    self._lease = None
                self._say(said)

    def _begin(self, workers: LocalWorkers, job: Job) -> None:
        workers.submit(job)
        self._lease = job.lease

    def _end(self, workers: LocalWorkers, lease: int) -> None:
        workers.cancel(lease)
        if lease == self._lease:
            self._lease = None
