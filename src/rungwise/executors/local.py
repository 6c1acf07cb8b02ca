"""Local worker processes, each on a line of its own.

Why no pool of a library: pebble (5.2) runs jobs as fast and can end one worker, but it has no way for
reports to stream back, and on "spawn" it imports the user's main script again, which breaks every script
without an `if __name__ == "__main__"`; loky cannot end one worker. With a line for each worker, a death is
an end of file, and what was said before it is not lost.
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Pipe, wait
from pathlib import Path
from typing import Any, final

import cloudpickle
import msgspec

from rungwise import checkpoints
from rungwise.events import Completed, Job
from rungwise.executors import Broke, Paused, Said
from rungwise.executors.worker import PAUSE, FromWorker, Hello, Ready
from rungwise.log import StudyError
from rungwise.names import InputError
from rungwise.trial import Trial

TICK = 0.2  # seconds after which `poll` returns though nothing happened


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # untyped
    """cloudpickle, which also takes functions under `functools.cache` from the main script: with an empty cache."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, functools._lru_cache_wrapper) and obj.__module__ == "__main__":
            return _cached, (obj.__wrapped__, obj.cache_parameters())
        return super().reducer_override(obj)


def _cached(function: Callable[..., object], parameters: dict[str, Any]) -> Callable[..., object]:
    cached: Callable[..., object] = functools.lru_cache(**parameters)(function)
    return cached


def _pickled(function: Callable[[Trial], object]) -> bytes:
    file = io.BytesIO()
    try:
        _Pickler(file, protocol=5).dump(function)
    except Exception as error:
        raise InputError(
            f"{function!r} cannot be sent to a worker process: {error}; "
            "open files, locks and connections inside the function, not outside"
        ) from error
    return file.getvalue()


class _Worker:
    """One process, the line to it, and the job it has."""

    def __init__(self, hello: Hello, threads: int) -> None:
        self.line, theirs = Pipe()
        fd = theirs.fileno()
        command = [sys.executable, "-c", f"from rungwise.executors.worker import main; main({fd})"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(hello.path)}
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            environment.setdefault(name, str(threads))  # or every worker would use every core
        self.process = subprocess.Popen(
            command, pass_fds=[fd], start_new_session=True, stdin=subprocess.DEVNULL, env=environment
        )
        theirs.close()
        with contextlib.suppress(OSError):  # it died at once: `poll` finds the line broken and says so
            self.line.send_bytes(msgspec.json.encode(hello))
        self.job: Job | None = None
        self.since = self.heard = 0.0  # when the job was begun, and when it last said something

    def kill(self) -> None:
        """End the process and all that it started."""
        with contextlib.suppress(ProcessLookupError):  # gone already, and its children with it
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.line.close()

    def death(self) -> str:
        """How the process ended, in words; it has ended or is about to."""
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "the worker process hung up"
        if code >= 0:
            return f"the worker process exited with code {code}"
        meant = "; out of memory?" if -code == signal.SIGKILL else ""
        known = {number.value: number.name for number in signal.Signals}  # real-time signals have no names
        return f"the worker process was killed by {known.get(-code, f'signal {-code}')}{meant}"


@final
class LocalWorkers:
    """`size` processes that call `function(trial)`; `folder` holds the folders of the trials.

    A job that takes longer than `job_seconds`, or says nothing for longer than `silence_seconds`, is ended with its
    process; a process that dies is replaced.
    The processes share the cores: unless OMP_NUM_THREADS and its like are set, each gets its part.
    Raises `InputError` if the function cannot be sent to another process.
    """

    def __init__(
        self,
        function: Callable[[Trial], object],
        size: int,
        folder: Path,
        *,
        job_seconds: float | None = None,
        silence_seconds: float | None = None,
    ) -> None:
        self.size = size
        self.folder = folder
        self._job_seconds = math.inf if job_seconds is None else job_seconds
        self._silence_seconds = math.inf if silence_seconds is None else silence_seconds
        pickled = _pickled(function)
        # a file, since one that is large would not fit into the line, and the driver would wait for a worker that hangs
        folder.mkdir(parents=True, exist_ok=True)
        self._function_file = folder / "function"
        self._function_file.write_bytes(pickled)
        path = [os.path.abspath(entry) for entry in sys.path]  # '' is the current folder
        self._hello = Hello(
            path, str(folder.resolve()), os.environ.get("PYTHONPATH"), str(self._function_file.resolve())
        )
        self._pausing = False
        self._threads = max(1, (os.cpu_count() or 1) // size)
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []
        self._decode = msgspec.json.Decoder(FromWorker).decode

    def submit(self, job: Job) -> None:
        """Begin a job, in a process that is idle or a new one."""
        # here and not in the worker, which may be late: the one that this driver begins last is to hold the folder
        checkpoints.hold(checkpoints.trial_folder(self.folder, job.trial), job.lease)
        worker = self._alive()
        worker.job = job
        worker.since = worker.heard = time.monotonic()
        self._busy.append(worker)
        with contextlib.suppress(OSError):  # it died while it was idle: `poll` finds the line broken and says so
            worker.line.send_bytes(msgspec.json.encode(job))
            if self._pausing:
                worker.line.send_bytes(PAUSE)

    def _alive(self) -> _Worker:
        """A process that was idle and lives, or a new one."""
        while self._idle:
            worker = self._idle.pop()
            if worker.process.poll() is None:
                return worker
            worker.kill()
        return _Worker(self._hello, self._threads)

    def poll(self) -> list[Said]:
        """Wait until a worker says something, dies or overruns, at most `TICK`; what was said."""
        lines: dict[object, _Worker] = {worker.line: worker for worker in self._busy}
        heard: list[Said] = []
        for ready in wait([worker.line for worker in self._busy], TICK):
            self._hear(lines[ready], heard)
        now = time.monotonic()
        for worker in list(self._busy):
            if now - worker.since > self._job_seconds:
                self._drop(worker, f"the job took longer than job_seconds={self._job_seconds:g}", heard)
            elif now - worker.heard > self._silence_seconds:
                self._drop(worker, f"the job said nothing for silence_seconds={self._silence_seconds:g}", heard)
            elif worker.process.poll() is not None:
                self._hear(worker, heard)  # what it said last comes first
        return heard

    def _hear(self, worker: _Worker, heard: list[Said]) -> None:
        """Take all that `worker` has said."""
        try:
            while worker.job is not None and worker.line.poll():
                said = self._decode(worker.line.recv_bytes())
                if isinstance(said, Ready):
                    if said.error is not None:
                        raise StudyError(f"the function cannot be loaded in a worker process: {said.error}")
                    continue
                heard.append(said)
                worker.heard = time.monotonic()
                if isinstance(said.message, Completed | Broke | Paused):
                    worker.job = None
                    self._busy.remove(worker)
                    self._idle.append(worker)
        except (EOFError, OSError):
            self._drop(worker, worker.death(), heard)
            return
        if worker.job is not None and worker.process.poll() is not None and not worker.line.poll():
            self._drop(worker, worker.death(), heard)  # dead, but a child of its keeps the line open

    def _drop(self, worker: _Worker, reason: str, heard: list[Said]) -> None:
        assert worker.job is not None
        heard.append(Said(worker.job.lease, None, Broke(worker.job.trial, reason)))
        self._busy.remove(worker)
        worker.kill()

    def pause(self) -> None:
        """Ask all that run, and those that are begun from now on, to stop at their next checkpoint."""
        self._pausing = True
        for worker in self._busy:
            with contextlib.suppress(OSError):  # it just died: `poll` will say so
                worker.line.send_bytes(PAUSE)

    def close(self) -> None:
        """End all processes, now."""
        for worker in [*self._busy, *self._idle]:
            worker.kill()
        self._busy.clear()
        self._idle.clear()
        self._function_file.unlink(missing_ok=True)
