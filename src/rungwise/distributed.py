"""How do several processes train one trial? As ranks of torch.distributed, each a fresh process, watched over by one.

The worker process starts the ranks, passes on what rank 0 says, and ends them all when one is lost. It is none of them:
a rank that waits in a collective for one that has died can only be ended from outside. It never imports torch.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import final

import msgspec

from rungwise.errors import InputError
from rungwise.events import Completed, Reported
from rungwise.executors import Broke, Noticed, Paused
from rungwise.executors.devices import CUDA, HIP
from rungwise.executors.line import PAUSE, Garbled, a_line
from rungwise.executors.rank import HOST, OVER, End, Epoch, FromRank, Task
from rungwise.executors.reasons import ProgramError, death
from rungwise.executors.shipping import Hello, shipped
from rungwise.trial import PauseRequested, Trial
from rungwise.validation import whole

LOOK = 0.1  # seconds between looks whether a rank has died, and whether to pause
SETTLING = 0.5  # seconds in which the others' errors come in when a rank is lost: which of them was the first?
ENDING = 10.0  # seconds in which the ranks are to end after rank 0 has
HUNG_UP = 5.0  # seconds that a process may live on after it has closed its line
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
decode = msgspec.json.Decoder(FromRank).decode


@final
class Distributed:
    """A training function that calls `function(trial)` in `processes` processes at once, for `rungwise.tune`.

    Each is a fresh process on the same machine and a rank of torch.distributed: the default process group is
    initialized with `backend` ("gloo", "nccl", …; None leaves it to PyTorch), and RANK, LOCAL_RANK, WORLD_SIZE,
    LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT are set, as torchrun does. All see the devices of their worker, and
    LOCAL_RANK picks one of them. OMP_NUM_THREADS is the worker's, divided by the ranks.

    Every rank gets the same trial: configuration, `start`, `until`, seeds, and state from `load`. What rank 0 reports
    and saves counts; on the others `report` and `save` do nothing, so that `function` may call them on all ranks. A
    loop over the trial keeps the ranks in step, and when rank 0 pauses at a checkpoint, all do. Once rank 0 has
    returned, the others have 10 seconds to do so.

    When a rank raises or dies, all are ended, and the job breaks off with a reason that names the rank. It is then
    given out again and goes on from the checkpoint.

    >>> from torch import distributed
    >>> def train(trial):  # as under torchrun, without init_process_group
    ...     for epoch in trial:
    ...         trial.report(epoch / distributed.get_world_size())
    >>> job = Distributed(train, processes=2)  # for rungwise.tune(job, space, …)

    Raises `InputError` for fewer than 1 process, `ImportError` without torch. A job raises
    `InputError` if NCCL is to have more ranks than the worker sees devices.
    """

    def __init__(self, function: Callable[[Trial], object], processes: int, *, backend: str | None = None) -> None:
        if importlib.util.find_spec("torch") is None:
            raise ImportError("rungwise.distributed needs torch: pip install 'rungwise[torch]'")
        if not callable(function):
            raise InputError(f"the training function must be callable, not {function!r}")
        if whole(processes, "processes") < 1:
            raise InputError(f"processes must be 1 or more, not {processes!r}")
        if backend is not None and not isinstance(backend, str):
            raise InputError(f'backend must be the name of one, like "gloo" or "nccl", or None, not {backend!r}')
        self.__wrapped__ = function
        self._processes, self._backend = processes, backend

    def __call__(self, trial: Trial) -> None:
        """Do one job."""
        if "nccl" in (self._backend or ""):
            _check_devices(self._processes, os.environ)
        task = Task(self.__wrapped__, trial._job, trial.folder, trial.worker, trial._kept, self._backend)
        with contextlib.closing(_Ranks(task, self._processes, trial)) as ranks:
            ended = ranks.run()
        if isinstance(ended, Paused):
            raise PauseRequested
        trial._at = trial._reported = trial.until  # rank 0 has looked at how its own ended


def _check_devices(processes: int, environment: Mapping[str, str]) -> None:
    for variable in (CUDA, HIP):
        seen = [device for device in environment.get(variable, "").split(",") if device.strip()]
        if variable in environment and len(seen) < processes:
            raise InputError(
                f"{processes} ranks under NCCL need a device each, but the worker sees {len(seen)} "
                f"({variable}={environment[variable]}); give each worker as many, like devices=[[0, 1], [2, 3]]"
            )


@final
class _Rank:
    """One process, and the line to it."""

    def __init__(self, number: int, environment: Mapping[str, str], listening: socket.socket) -> None:
        self.number = number
        self.line, theirs = a_line()
        fd, store = theirs.fileno(), listening.fileno()
        command = [sys.executable, "-c", f"from rungwise.executors.rank import main; main({fd}, {store})"]
        try:
            # a process group of its own, within the worker's session, which is ended as a whole with the worker
            self.process = subprocess.Popen(
                command,
                pass_fds=[fd, store] if number == 0 else [fd],
                process_group=0,
                stdin=subprocess.DEVNULL,
                env=dict(environment) | {"RANK": str(number), "LOCAL_RANK": str(number)},
            )
        except OSError:
            self.line.close()
            raise
        finally:
            theirs.close()
        self.end: End | None = None
        self.told = True  # whether it said so itself
        self.when = 0.0  # it ended

    def ends(self, end: End, *, told: bool = True) -> None:
        """It has come to its end, which is the first that is known."""
        if self.end is None:
            self.end, self.told, self.when = end, told, time.monotonic()

    def hear(self, log: Path) -> list[FromRank] | None:
        """What it has said; None if it has hung up, as it does when it dies."""
        try:
            messages = self.line.read()
            if messages is not None:
                return [decode(message) for message in messages]
            code = self.process.wait(HUNG_UP)
        except (Garbled, msgspec.DecodeError):
            self.ends(Broke(-1, "what it said was not understood: something else wrote on the line to it"))
        except subprocess.TimeoutExpired:
            self.ends(Broke(-1, "its process hung up"))
        else:
            self.ends(Broke(-1, death(code, log, f"rank {self.number}")), told=False)
        return None

    def kill(self) -> None:
        """End it and its children, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.line.close()


@final
class _Ranks:
    """The ranks of one job; they are gone at the end of the context."""

    def __init__(self, task: Task, count: int, trial: Trial) -> None:
        self._trial, self._log = trial, trial.folder.with_suffix(".log")
        self._ranks: list[_Rank] = []
        self._lines = selectors.DefaultSelector()
        shipment = shipped(task)
        with socket.create_server((HOST, 0)) as listening:
            environment = _environment(shipment.hello, count, listening.getsockname()[1])
            try:
                for number in range(count):
                    rank = _Rank(number, environment, listening)
                    self._ranks.append(rank)
                    self._lines.register(rank.line, selectors.EVENT_READ, rank)
                    rank.line.send(msgspec.json.encode(shipment.hello))
                    rank.line.send(shipment.function)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """End all of them, now."""
        for rank in self._ranks:
            rank.kill()
        self._lines.close()

    def run(self) -> Completed | Paused:
        """Pass on what rank 0 says until it and the others have ended; how it ended.

        Raises `ProgramError` when a rank is lost, or breaks off, before rank 0 has ended.
        """
        leader, *others = self._ranks
        pausing = False
        while not isinstance(leader.end, Completed | Paused):
            self._listen()
            if any(isinstance(rank.end, Broke) for rank in self._ranks):
                self._settle()
                raise ProgramError(_why(self._ranks))
            if not pausing and self._trial._pause():
                pausing = True
                leader.line.send(PAUSE)
        until = time.monotonic() + ENDING
        self._tell(others, OVER)
        while any(rank.end is None for rank in others) and time.monotonic() < until:
            self._listen()
        self._tell([leader], OVER)
        if isinstance(leader.end, Completed):
            self._notice(others)
        for rank in self._ranks:
            if rank.end is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    rank.process.wait(max(0, until - time.monotonic()))
        return leader.end

    def _listen(self) -> None:
        """Take what the ranks say next, and see who has died."""
        for key in list(self._lines.get_map().values()):
            writing = selectors.EVENT_WRITE if key.data.line.waits else 0
            self._lines.modify(key.fileobj, selectors.EVENT_READ | writing, key.data)
        for key, events in self._lines.select(LOOK):
            if events & selectors.EVENT_WRITE:
                key.data.line.push()
            if events & selectors.EVENT_READ:
                self._hear(key.data)
        for rank in self._ranks:
            if rank.end is None and (code := rank.process.poll()) is not None:
                while self._hear(rank):  # what it said last comes first; a child of it may keep the line open
                    pass
                rank.ends(Broke(-1, death(code, self._log, f"rank {rank.number}")), told=False)

    def _hear(self, rank: _Rank) -> bool:
        """Take some of what `rank` has said; whether there may be more."""
        heard = rank.hear(self._log)
        if heard is None and rank.line in self._lines.get_map():
            self._lines.unregister(rank.line)
        for said in heard or []:
            self._take(rank, said)
        return heard is not None and not rank.line.dry

    def _take(self, rank: _Rank, said: FromRank) -> None:
        if isinstance(said, Epoch):
            self._tell(self._ranks[1:], str(said.number).encode())
        elif isinstance(said, Reported | Noticed):
            self._trial._send(said)
        else:
            rank.ends(said)

    def _tell(self, ranks: list[_Rank], message: bytes) -> None:
        for rank in ranks:
            rank.line.send(message)

    def _settle(self) -> None:
        """Hear what the others have to say of it: one that has died says nothing, and they may be quicker."""
        until = time.monotonic() + SETTLING
        while any(rank.end is None for rank in self._ranks) and time.monotonic() < until:
            self._listen()

    def _notice(self, others: list[_Rank]) -> None:
        """Say what went wrong in `others` after rank 0 had returned."""
        for rank in others:
            if rank.end is None:
                text = f"rank {rank.number} had not returned {ENDING:g} s after rank 0, and was ended"
            elif isinstance(rank.end, Broke):
                text = f"after rank 0 had returned: {_why([rank])}"
            else:
                continue
            self._trial._send(Noticed(self._trial.number, text))


def _why(ranks: list[_Rank]) -> str:
    """Why the job broke off: by the first rank that died without a word, or else the first that broke off."""
    first = min((rank for rank in ranks if isinstance(rank.end, Broke)), key=lambda rank: (rank.told, rank.when))
    assert isinstance(first.end, Broke)
    return f"rank {first.number}: {first.end.reason}" if first.told else first.end.reason


def _environment(hello: Hello, count: int, port: int) -> dict[str, str]:
    """Of all ranks: what torchrun sets, and their part of the worker's threads."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(hello.path),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(port),
    }
    for name in THREADS:
        if environment.get(name, "").isdecimal():
            environment[name] = str(max(1, int(environment[name]) // count))
    if sys.platform == "linux":
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
    return environment
