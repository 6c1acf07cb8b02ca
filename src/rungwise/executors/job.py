"""How is a job done? The function is called, and what happens is said: in whatever process, over whatever line.

May be called by any engine: it opens no pipe, touches no file descriptor, and leaves standard output as it is.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import msgspec

from rungwise.checkpoints import Superseded
from rungwise.errors import InputError
from rungwise.events import Completed, Job
from rungwise.executors import Begun, Broke, Message, Paused, Said
from rungwise.executors.command import Command
from rungwise.executors.reasons import reason
from rungwise.executors.whereabouts import here
from rungwise.storage import Storage, as_storage
from rungwise.store import Unreachable
from rungwise.trial import PauseRequested, Trial, wrong_end


def run_job(
    job: Job,
    function: Callable[[Trial], object],
    storage: Storage | Path,
    say: Callable[[Said], object],
    pausing: Callable[[], bool] = lambda: False,
    *,
    slot: int = 0,
    failed: Callable[[BaseException], object] = traceback.print_exception,
) -> None:
    """Call `function` with the trial of `job`, whose files and checkpoints are in `storage`; returns when all is said.

    `say` is called with each message, from the threads of the function too but by one at a time; it raises `InputError`
    for what it has not sent and never will, and nothing else. `pausing` is asked at each checkpoint whether to stop
    there. `slot` is the number of the worker, `trial.worker`. `failed` is handed what the function raised.

    The job's first act is to be the one that has begun under its lease: if it is not, or a later lease is there, the
    function is not called, and `Broke` without a place is said. A path as `storage` is that of a folder for both.
    """
    storage = as_storage(storage)
    try:
        kept = storage.begin(job, msgspec.json.encode(here(slot)))
    except (Superseded, OSError, Unreachable) as error:
        known = not isinstance(error, Superseded)
        why = reason(error) if known else "the job was begun before, or a later driver holds its trial"
        say(Said(job.lease, None, Broke(job.trial, why)))
        return
    process = os.getpid()
    place, turn = 0, threading.RLock()  # a function may report from its threads, and from a signal's handler

    def tell(message: Message) -> None:
        nonlocal place
        with turn:
            mine = place
            place += 1  # before it is sent: what a signal's handler says meanwhile comes after it
            try:
                say(Said(job.lease, mine, message))
            except InputError:
                if place == mine + 1:  # or the driver would wait for it
                    place = mine
                raise

    tell(Begun(job.trial))
    trial = Trial(job, storage.folder_of(job.trial), tell, pausing, worker=slot, kept=kept)
    ended: Message
    try:
        returned = function(trial)
        wrong = wrong_end(trial, returned, program=isinstance(function, Command))
        ended = Completed(job.trial) if wrong is None else Broke(job.trial, wrong)
    except PauseRequested:
        ended = Paused(job.trial)
    except BaseException as error:
        flush()
        with contextlib.suppress(Exception):  # the function has closed what it would be printed on
            failed(error)
        ended = Broke(job.trial, reason(error))
    flush()
    if os.getpid() != process:
        os._exit(1)  # a forked child has left the function: the job is its parent's
    tell(ended)


def flush() -> None:
    """What was printed is where it was printed to."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # the function has set it to None, closed it, or put its own there
            stream.flush()
