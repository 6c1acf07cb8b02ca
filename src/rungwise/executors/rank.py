"""What runs in each process of a trial that several train? The function, in a process group of torch.distributed.

Rank 0 has the trial as it is; what it says goes through `rungwise.distributed`, which watches over all ranks, to the
driver. The others have the same trial, but report and save nothing, load what was there when the job began, and keep
step with rank 0: each epoch of their loop begins when that of rank 0 has, and if that pauses, so do they.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import traceback
from collections.abc import Callable
from pathlib import Path

import msgspec

from rungwise.checkpoints import Checkpoints
from rungwise.errors import InputError
from rungwise.events import Completed, Job, Reported
from rungwise.executors import Broke, Noticed, Paused
from rungwise.executors.job import flush
from rungwise.executors.line import WorkerEnd
from rungwise.executors.reasons import reason
from rungwise.executors.worker import connected, received
from rungwise.heads import Found
from rungwise.trial import PauseRequested, Trial, wrong_end

HOST = "127.0.0.1"  # all ranks are on one machine, and no other is to come in
OVER = b"over"  # to a rank: rank 0 has ended


class Epoch(msgspec.Struct, frozen=True, tag_field="fact", tag=str.lower):
    """Rank 0 begins an epoch of its loop."""

    number: int


End = Completed | Paused | Broke
FromRank = Epoch | Reported | Noticed | End


class Task(msgspec.Struct, frozen=True):
    """What all ranks are sent; it is pickled."""

    function: Callable[[Trial], object]
    job: Job
    folder: Path
    worker: int
    kept: Checkpoints
    backend: str | None


def main(fd: int, listening: int) -> None:
    """Be the rank that the environment says, for `rungwise.distributed` at the other end of `fd`.

    `listening` is the socket of rank 0 at which the ranks find each other.
    """
    rank, process = int(os.environ["RANK"]), os.getpid()
    line, hello = connected(fd)

    def say(said: FromRank) -> None:
        line.say(msgspec.json.encode(said))

    ended: End
    try:
        (task,) = received(line, hello, 1)
        trial = _leading(task, line, say) if rank == 0 else _following(task, line, rank)
        _join(task.backend, rank, listening)
        returned = task.function(trial)
        wrong = wrong_end(trial, returned) if rank == 0 else None
        ended = Completed(trial.number) if wrong is None else Broke(trial.number, wrong)
    except PauseRequested:
        ended = Paused(task.job.trial)
    except BaseException as error:
        flush()
        text = "".join(traceback.format_exception(error))
        os.write(2, f"rank {rank}: {text}".encode(errors="backslashreplace"))
        ended = Broke(-1, reason(error))
    flush()
    if os.getpid() != process:
        os._exit(1)  # a forked child has left the function
    say(ended)
    while line.heard.get() != OVER:  # others may still need this rank, as the one that the store is in
        pass
    _leave()
    atexit._run_exitfuncs()
    flush()
    os._exit(0)  # taking down all modules of torch would take seconds more


def _leading(task: Task, line: WorkerEnd, say: Callable[[FromRank], None]) -> Trial:
    return Trial(
        task.job, task.folder, say, line.pausing.is_set, worker=task.worker, kept=task.kept,
        step=lambda epoch: say(Epoch(epoch)),
    )  # fmt: skip


def _following(task: Task, line: WorkerEnd, rank: int) -> Trial:
    def step(epoch: int) -> None:
        said = line.heard.get()
        if said == OVER:
            line.heard.put(said)  # `main` waits for it too
            raise PauseRequested
        if int(said) != epoch:
            raise InputError(
                f"rank {rank} comes to epoch {epoch}, but rank 0 to epoch {int(said)}; "
                "call trial.load() on every rank, or on none, and loop over the trial on each"
            )

    found = task.kept.find()  # before rank 0, which waits in `_join`, can have saved another
    return Trial(
        task.job, task.folder, lambda said: None, worker=task.worker, kept=task.kept, step=step,
        found=Found(found.head, found.pickled),
    )  # fmt: skip


def _join(backend: str | None, rank: int, listening: int) -> None:
    """Make the process group; returns when all ranks are there."""
    from torch.distributed import TCPStore, init_process_group  # type: ignore[attr-defined]

    size, port = int(os.environ["WORLD_SIZE"]), int(os.environ["MASTER_PORT"])
    fd = listening if rank == 0 else None
    store = TCPStore(HOST, port, size, rank == 0, master_listen_fd=fd)
    init_process_group(backend, store=store, rank=rank, world_size=size)


def _leave() -> None:
    from torch import distributed

    if distributed.is_initialized():
        with contextlib.suppress(RuntimeError):  # the others may have gone already
            distributed.destroy_process_group()
