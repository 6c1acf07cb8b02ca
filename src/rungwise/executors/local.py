"""Local worker processes, each on a line of its own.

Why no pool of a library: pebble (5.2) runs jobs as fast and can end one worker, but it has no way for
reports to stream back, and on "spawn" it imports the user's main script again, which breaks every script
without an `if __name__ == "__main__"`; loky cannot end one worker. With a line for each worker, a death is
an end of file, and what was said before it is not lost. Nothing here waits for one worker: `poll` waits for all.
"""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import final

import msgspec

from rungwise.checkpoints import Superseded
from rungwise.errors import InputError
from rungwise.events import Completed, Job
from rungwise.executors import TICK, Broke, Paused, Said, guard
from rungwise.executors.devices import Devices, of_slots
from rungwise.executors.line import PAUSE, Garbled, a_line
from rungwise.executors.reasons import death, reason
from rungwise.executors.shipping import Shipment, pickled, shipped
from rungwise.executors.worker import FromWorker, Ready
from rungwise.log import StudyError
from rungwise.storage import Storage, as_storage
from rungwise.store import Unreachable
from rungwise.trial import Trial

HUNG_UP = 5.0  # seconds that a process may live on after it has closed its line
SPARE = 12  # open files that starting a process and noting a report take for a moment
MOST = 100  # pieces that are still taken from a worker that has to end
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # or each process would use every core
REAPING = 5.0  # seconds that a killed process may take to be gone; it may hang in the kernel


class _Worker:
    """One process, the line to it, and the job it has."""

    def __init__(self, hello: list[bytes], slot: int, number: int, environment: dict[str, str]) -> None:
        self.slot = slot
        self.line, theirs = a_line()
        fd = theirs.fileno()
        command = [sys.executable, "-c", f"from rungwise.executors.worker import main; main({fd}, {number})"]
        try:
            # where the driver's own is closed, its number may be that of any file
            self.process = subprocess.Popen(
                command,
                pass_fds=[fd],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if sys.__stdout__ is None else None,
                stderr=subprocess.DEVNULL if sys.__stderr__ is None else None,
                env=environment,
            )
        except OSError:
            self.line.close()
            raise
        finally:
            theirs.close()
        for message in hello:
            self.line.send(message)
        self.job: Job | None = None
        self.next = 0  # the place of the first message of the job that has not come
        self.ahead: set[int] = set()  # places of those that came before it, from a signal's handler
        self.hung_up: float | None = None  # when its line ended


@final
class _Guard:
    """The process that ends the workers and all that they started if this one is killed."""

    def __init__(self) -> None:
        self._leaders: set[int] = set()
        self._process = self._begun()

    def _begun(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__],
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )

    def add(self, leader: int) -> None:
        """There is a worker process `leader`."""
        self._leaders.add(leader)
        self._tell(f"+{leader}\n")

    def remove(self, leader: int) -> None:
        """It has ended."""
        self._leaders.discard(leader)
        self._tell(f"-{leader}\n")

    def _tell(self, text: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text.encode())
        except BrokenPipeError:  # somebody has killed it
            self.close()
            self._process = self._begun()
            assert self._process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # this one too; the next is told all
                self._process.stdin.write("".join(f"+{leader}\n" for leader in self._leaders).encode())

    def close(self) -> None:
        """All workers have ended."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _check_files(size: int) -> None:
    """Whether this process may have a line to each of `size` workers."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        needed = len(os.listdir("/dev/fd")) + size + SPARE
    except OSError:  # there is not one left to look with
        needed = most + 1
    if most != resource.RLIM_INFINITY and needed > most:
        some = "worker needs" if size == 1 else "workers need"
        raise InputError(
            f"{size} {some} about {needed} open files, but this process may have only {most}; "
            f"allow more with `ulimit -n`{'' if size == 1 else ', or use fewer workers'}"
        )


@final
class LocalWorkers:
    """An `Executor`: `size` processes that call `function(trial)`; `storage` is where its files and checkpoints are.

    A process that dies is replaced, and its slot is the new one's. With a process ends all that it has started. What
    broke off in one slot is begun again in another, if one is free, and the third time waits for one: a GPU may be
    broken. `capacity` may be set while it runs. The slots have numbers from `slot` on (`trial.worker`).
    The processes share the cores: unless OMP_NUM_THREADS and its like are set, each gets its part. With `threads` each
    gets so many whatever is set.
    Which GPUs each sees is told in `devices`.
    Raises `InputError` if the function cannot be sent to another process, the devices are not there, or there may not
    be so many open files.
    """

    def __init__(
        self,
        function: Callable[[Trial], object] | Shipment,
        size: int,
        storage: Storage | Path,
        *,
        devices: Devices = "auto",
        slot: int = 0,
        threads: int | None = None,
    ) -> None:
        _check_files(size)
        self.capacity = size
        storage = as_storage(storage)
        shipment = function if isinstance(function, Shipment) else shipped(function)
        storage.folder.mkdir(parents=True, exist_ok=True)
        self.storage = Storage(storage.folder.resolve(), storage.apart)
        where, _ = pickled(self.storage)
        self._hello = [msgspec.json.encode(shipment.hello), shipment.function, where]
        self._environment = os.environ | {"PYTHONPATH": os.pathsep.join(shipment.hello.path)}
        shares = dict.fromkeys(THREADS, str(threads or max(1, (os.cpu_count() or 1) // size)))
        self._environment = self._environment | shares if threads else shares | self._environment
        self._devices = of_slots(devices, size, os.environ)
        self._unheard: list[Said] = []  # what there is to say of jobs that could not be begun
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []
        self._broke_at: dict[int, list[int]] = {}  # trial -> the slots in which its job broke off, each time
        self._lines = selectors.DefaultSelector()
        self._guard = _Guard()
        self._closed = False
        self._first = slot
        self._decode = msgspec.json.Decoder(FromWorker).decode

    def submit(self, job: Job) -> None:
        """Begin a job, in a process that is idle or a new one.

        Raises `StudyError` if no process can be started.
        """
        # here and not in the worker, which may be late: the one that this driver begins last is to hold the folder
        try:
            self.storage.hold(job)
        except (Superseded, OSError, Unreachable) as error:
            why = reason(error) if not isinstance(error, Superseded) else "a later driver holds its trial"
            self._unheard.append(Said(job.lease, None, Broke(job.trial, why)))
            return
        worker = self._alive(job.trial)
        worker.job, worker.next, worker.ahead = job, 0, set()
        self._busy.append(worker)
        self._send(worker, msgspec.json.encode(job))

    def takes(self, job: Job, places: int) -> bool:
        """Whether `job` may be begun now, if it is with the last `places` slots that are free.

        After it has broken off once it may be anywhere, so that nobody waits for what passes; after that only where it
        has not, unless there is no such slot.
        """
        broke_at = self._broke_at.get(job.trial, [])
        slots = set(broke_at)
        return len(broke_at) < 2 or len(slots) >= self.capacity or len(slots & self._free()) < places

    def _free(self) -> set[int]:
        return set(range(self.capacity)) - {worker.slot for worker in self._busy}

    def _alive(self, trial: int) -> _Worker:
        """A process that was idle and lives, or a new one; where `trial` has not broken off, if such a slot is free."""
        free = self._free()
        slots = free.difference(self._broke_at.get(trial, [])) or free
        while idle := [worker for worker in self._idle if worker.slot in slots]:
            worker = idle[-1]
            self._idle.remove(worker)
            if worker.process.poll() is None and worker.hung_up is None:
                return worker
            self._end([worker])
        slot = min(slots)
        try:
            environment = self._environment | self._devices[slot % len(self._devices)]
            worker = _Worker(self._hello, slot, self._first + slot, environment)
        except OSError as error:
            which = f"worker process {slot + 1} of {self.capacity}"
            raise StudyError(f"{which} cannot be started: {error.strerror}") from error
        self._guard.add(worker.process.pid)
        self._lines.register(worker.line, selectors.EVENT_READ, worker)
        self._look(worker)
        return worker

    def _send(self, worker: _Worker, message: bytes) -> None:
        worker.line.send(message)
        if worker.line.waits:
            self._look(worker)

    def _look(self, worker: _Worker) -> None:
        """Wait for what is to be waited for on its line."""
        if worker.hung_up is None:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.line.waits else 0)
            self._lines.modify(worker.line, wanted, worker)

    def poll(self, timeout: float = TICK) -> list[Said]:
        """Wait until a worker says something or dies, at most `timeout` seconds; what was said."""
        heard, self._unheard = self._unheard, []
        for key, events in self._lines.select(0 if heard else timeout):
            worker: _Worker = key.data
            if events & selectors.EVENT_WRITE:
                worker.line.push()
                self._look(worker)
            if events & selectors.EVENT_READ:
                self._hear(worker, heard)
        now = time.monotonic()
        for worker in list(self._busy):
            if (ended := self._ended(worker, now)) is None:
                continue
            for _ in range(MOST):  # what it said last comes first
                if not self._hear(worker, heard):
                    break
            if worker.job is not None:
                self._drop(worker, ended, heard)
        return heard

    def _hear(self, worker: _Worker, heard: list[Said]) -> bool:
        """Take some of what `worker` has said; whether there may be more."""
        if worker.hung_up is not None:
            return False
        try:
            messages = worker.line.read()
            if messages is None:
                worker.hung_up = time.monotonic()
                self._lines.unregister(worker.line)
                with contextlib.suppress(subprocess.TimeoutExpired):  # nearly always it is dead
                    worker.process.wait(0.05)
                return False
            for message in messages:
                self._take(worker, self._decode(message), heard)
        except (Garbled, msgspec.DecodeError):
            reason = "what its worker process said was not understood: something else wrote on the line to it"
            self._drop(worker, reason, heard)
            return False
        return not worker.line.dry

    def _take(self, worker: _Worker, said: FromWorker, heard: list[Said]) -> None:
        if isinstance(said, Ready):
            if said.error is not None:
                raise StudyError(f"the function cannot be loaded in a worker process: {said.error}")
            return
        if worker.job is None or said.lease != worker.job.lease:
            return  # a thread that a job before has left behind
        if said.place is None:  # it did not begin
            heard.append(said)
            self._over(worker, None)
            self._idle.append(worker)
            return
        worker.ahead.add(said.place)
        while worker.next in worker.ahead:
            worker.ahead.remove(worker.next)
            worker.next += 1
        heard.append(said)
        if isinstance(said.message, Completed | Broke | Paused):
            end: Completed | Broke | Paused = said.message
            if said.place >= worker.next:  # the worker has said its last, so what lies between will never come
                end = Broke(end.trial, end.reason if isinstance(end, Broke) else "a message of the job was lost")
                heard[-1] = Said(said.lease, None, end)
            self._over(worker, end)
            self._idle.append(worker)

    def _ended(self, worker: _Worker, now: float) -> str | None:
        """How the process of `worker` has ended, if it has; a child of it may still keep the line open."""
        if (code := worker.process.poll()) is not None:
            assert worker.job is not None
            return death(code, self.storage.log_of(worker.job.trial))
        if worker.hung_up is not None and now - worker.hung_up > HUNG_UP:
            return "the worker process hung up"
        return None

    def _drop(self, worker: _Worker, reason: str, heard: list[Said]) -> None:
        """End `worker`, and its job if it has one."""
        if worker.job is None:
            self._idle.remove(worker)
        else:
            broke = Broke(worker.job.trial, reason)
            heard.append(Said(worker.job.lease, None, broke))
            self._over(worker, broke)
        self._end([worker])

    def _over(self, worker: _Worker, end: Completed | Broke | Paused | None) -> None:
        """The job of `worker` has come to its `end`; without one it did not begin."""
        worker.job = None
        self._busy.remove(worker)
        if end is None:
            return
        if isinstance(end, Broke):
            self._broke_at.setdefault(end.trial, []).append(worker.slot)
        else:
            self._broke_at.pop(end.trial, None)

    def _end(self, workers: list[_Worker]) -> None:
        """End the processes and all that they started."""
        guard.kill_sessions({worker.process.pid for worker in workers})
        for worker in workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(REAPING)
            if worker.hung_up is None:
                self._lines.unregister(worker.line)
            worker.line.close()
            self._guard.remove(worker.process.pid)

    def pause(self) -> None:
        """Ask all that run to stop at their next checkpoint."""
        for worker in self._busy:
            self._send(worker, PAUSE)

    def cancel(self, lease: int) -> None:
        """End the process of the job of `lease`, and say nothing of it any more."""
        self._unheard = [said for said in self._unheard if said.lease != lease]
        for worker in [worker for worker in self._busy if worker.job is not None and worker.job.lease == lease]:
            self._drop(worker, "", [])

    def close(self) -> None:
        """End all processes, now."""
        if self._closed:
            return
        self._closed = True
        self._end([*self._busy, *self._idle])
        self._busy.clear()
        self._idle.clear()
        self._lines.close()
        self._guard.close()
