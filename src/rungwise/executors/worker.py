"""A worker process: takes jobs from the driver, calls the function, says what happens.

A new interpreter that calls `main`, not a fork: it does not import the user's main script
again, so functions from notebooks and unguarded scripts work, and no lock of the driver's is inherited.
A thread listens to the driver; when the driver dies the line breaks, and the worker and all that it
started are gone at once, wherever they were.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

import cloudpickle
import msgspec

from rungwise import checkpoints
from rungwise.events import Completed, Job
from rungwise.executors import Broke, Message, Paused, Said
from rungwise.trial import IMPORTING, PauseRequested, Trial
from rungwise.words import shown


class Hello(msgspec.Struct, frozen=True):
    """The first message to a worker; `function` is the file that holds the pickled function."""

    path: list[str]
    folder: str
    pythonpath: str | None
    function: str


class Ready(msgspec.Struct, frozen=True, tag_field="fact", tag=str.lower):
    """The first message from a worker: the function is loaded, or why it cannot be."""

    error: str | None = None


PAUSE = b"pause"
PR_SET_PDEATHSIG = 1  # from linux/prctl.h
FromWorker = Said | Ready


def reason(error: BaseException) -> str:
    """An exception in one line, with the place where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    text = shown(" ".join(str(error).split()))  # it may hold what cannot be sent: file names that are no text do
    return f"{type(error).__name__}{': ' if text else ''}{text[:500]}{place}"


class Line:
    """Both directions of the line to the driver."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._encode = msgspec.json.Encoder().encode
        self.jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.pausing = threading.Event()

    def listen(self) -> None:
        """Read what the driver says until it is gone; then end this process and all its children."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                message = self._connection.recv_bytes()
                if message == PAUSE:
                    self.pausing.set()
                else:
                    self.jobs.put(message)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    def say(self, message: FromWorker) -> None:
        """Tell the driver; if it is gone, `listen` ends this process."""
        self._connection.send_bytes(self._encode(message))


def work(job: Job, function: Callable[[Trial], object], line: Line, root: Path) -> None:
    """Do one job; all that the function prints goes to a file beside its trial's folder."""
    folder = checkpoints.trial_folder(root, job.trial)
    with folder.with_suffix(".log").open("ab", buffering=0) as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    places = count()

    def say(message: Message) -> None:
        line.say(Said(job.lease, next(places), message))

    trial = Trial(job, folder, say, line.pausing.is_set)
    ended: Message
    try:
        function(trial)
        wrong = trial.end()
        ended = Completed(job.trial) if wrong is None else Broke(job.trial, wrong)
    except PauseRequested:
        ended = Paused(job.trial)
    except BaseException as error:
        traceback.print_exc()
        ended = Broke(job.trial, reason(error))
    sys.stdout.flush()
    sys.stderr.flush()
    say(ended)


def main(fd: int) -> None:
    """Serve the driver at the other end of `fd` until it hangs up."""
    os.set_inheritable(fd, False)
    for number in (signal.SIGTERM, signal.SIGINT):  # sent to all processes at once: the driver says when to stop
        signal.signal(number, lambda *_: None)  # not ignored, which the programs that we start would inherit
    if sys.platform == "linux":
        # the thread below cannot run while the function is in C code that never lets go of the interpreter
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    line = Line(Connection(fd))
    threading.Thread(target=line.listen, daemon=True).start()
    hello = msgspec.json.decode(line.jobs.get(), type=Hello)
    sys.path[:] = hello.path
    os.environ.pop("PYTHONPATH", None)  # what we were started with is not for the programs that we start
    if hello.pythonpath is not None:
        os.environ["PYTHONPATH"] = hello.pythonpath
    IMPORTING.set()
    try:
        function = cloudpickle.loads(Path(hello.function).read_bytes())
    except BaseException as error:
        line.say(Ready(reason(error)))
        return
    IMPORTING.clear()
    line.say(Ready())
    decoder = msgspec.json.Decoder(Job)
    while True:
        work(decoder.decode(line.jobs.get()), function, line, Path(hello.folder))
