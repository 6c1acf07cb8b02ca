"""What runs as a job of Slurm: a pilot, which takes our jobs, one after the other, until its time is nearly up.

`python -m rungwise.executors.pilot FOLDER BATCH`, by `rungwise.executors.slurm`. It ends when it has been idle for too
long, and when its driver is gone or has ended. When Slurm gives notice, by SIGUSR1 or SIGTERM, that its time is nearly
up or that it is preempted, it ends as soon as the job under way has come to a checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import socket
import sys
import time
from pathlib import Path
from typing import final

import msgspec

from rungwise.events import Completed, Job
from rungwise.executors import Broke, Paused, Said
from rungwise.executors.files import Pulse, Reader, Writer
from rungwise.executors.host import Host, Unable
from rungwise.executors.shipping import Shipment
from rungwise.executors.slurm_jobs import HEARTBEAT
from rungwise.storage import Storage

WORK = "work"


class Work(msgspec.Struct, frozen=True):
    """What all pilots of a driver are told; it is in the file `WORK`, pickled."""

    shipment: Shipment
    storage: Storage
    one_job: bool
    idle_seconds: float
    driver_seconds: float


class Do(msgspec.Struct, frozen=True, tag_field="ask", tag=str.lower):
    """Begin a job."""

    job: Job


class Pause(msgspec.Struct, frozen=True, tag_field="ask", tag=str.lower):
    """The job of `lease` is to stop at its next checkpoint."""

    lease: int


class Cancel(msgspec.Struct, frozen=True, tag_field="ask", tag=str.lower):
    """The job of `lease` is to end now, without a word."""

    lease: int


class Here(msgspec.Struct, frozen=True, tag_field="fact", tag=str.lower):
    """The pilot has begun, on `node`."""

    node: str


class Leaving(msgspec.Struct, frozen=True, tag_field="fact", tag=str.lower):
    """The pilot begins no more jobs; it ends when that of `lease` has, which it has begun, or now."""

    lease: int | None
    idle: bool


Asked = Do | Pause | Cancel
FromPilot = Here | Leaving | Said | Unable


def asked_file(folder: Path, batch: int, slot: int) -> Path:
    """What the driver says to this pilot."""
    return folder / f"{batch}.{slot}.asked"


def said_file(folder: Path, batch: int, slot: int) -> Path:
    """What this pilot says to the driver."""
    return folder / f"{batch}.{slot}.said"


class _Notice:
    """Slurm has told that it will end this soon."""


@final
class _Pilot:
    def __init__(self, folder: Path, batch: int, slot: int) -> None:
        work: Work = pickle.loads((folder / WORK).read_bytes())
        self._heard: queue.SimpleQueue[Said | Unable | _Notice] = queue.SimpleQueue()
        for number in (signal.SIGUSR1, signal.SIGTERM):
            signal.signal(number, lambda *_: self._heard.put(_Notice()))
        self._asked: Reader[Asked] = Reader(asked_file(folder, batch, slot), Asked)
        self._said = Writer(said_file(folder, batch, slot))
        self._pulse = Pulse(folder / HEARTBEAT, work.driver_seconds)
        self._one_job, self._idle_seconds = work.one_job, work.idle_seconds
        self._lease: int | None = None
        self._idle_since = time.monotonic()
        self._leaves = False
        self._host = Host(work.shipment, work.storage, self._heard.put, slot=slot)

    def serve(self) -> str:
        """Do what there is to do; why there is no more."""
        self._said.write([Here(socket.gethostname())])
        with contextlib.closing(self._host):
            why = self._serve()
        self._said.write([Leaving(None, idle=False)])
        return why

    def _serve(self) -> str:
        while self._host.alive or not self._heard.empty():
            noticed = False
            for heard in self._wait():
                if isinstance(heard, Unable):
                    return heard.reason
                if isinstance(heard, _Notice):
                    noticed = True
                elif isinstance(heard.message, Completed | Broke | Paused) and heard.lease == self._lease:
                    self._end()
            # a driver that ends has its pilots canceled, too
            if (noticed or time.monotonic() >= self._pulse.due) and (why := self._pulse.lost()) is not None:
                return why
            if noticed:
                self._leave(idle=False)
                if self._lease is not None:
                    self._host.pause(self._lease)
            if time.monotonic() >= self._asked.due:
                for asked in self._asked.read():
                    self._do(asked)
            if self._lease is None and time.monotonic() - self._idle_since > self._idle_seconds:
                self._leave(idle=True)
            if self._leaves and self._lease is None:
                return "it leaves"
        return "its host has ended"

    def _wait(self) -> list[Said | Unable | _Notice]:
        """What is heard until it is time to look into the files; what is to be said is said."""
        heard: list[Said | Unable | _Notice] = []
        with contextlib.suppress(queue.Empty):
            heard.append(self._heard.get(timeout=max(0.0, min(self._asked.due, self._pulse.due) - time.monotonic())))
            while True:
                heard.append(self._heard.get_nowait())
        if said := [each for each in heard if not isinstance(each, _Notice)]:
            self._said.write(said)
        return heard

    def _do(self, asked: Asked) -> None:
        match asked:
            case Do(job) if not self._leaves:
                self._lease = job.lease
                self._host.submit(job)
            case Pause(lease):
                self._host.pause(lease)
            case Cancel(lease):
                self._host.cancel(lease)
                if lease == self._lease:
                    self._end()

    def _end(self) -> None:
        """The job has ended."""
        self._lease = None
        self._idle_since = time.monotonic()
        self._asked.expect()
        if self._one_job:
            self._leave(idle=False)

    def _leave(self, *, idle: bool) -> None:
        if not self._leaves:
            self._leaves = True
            self._said.write([Leaving(self._lease, idle)])


def main(folder: str, batch: str) -> None:
    """Be the pilot of one place in an array of jobs."""
    slot = int(os.environ["SLURM_ARRAY_TASK_ID"])
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # or each job would use all of the node
        os.environ.setdefault(name, os.environ.get("SLURM_CPUS_ON_NODE", "1"))
    print(f"pilot {batch}.{slot} on {socket.gethostname()}", flush=True)
    print(f"the pilot ends: {_Pilot(Path(folder), int(batch), slot).serve()}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
