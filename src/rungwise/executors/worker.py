"""A worker process: takes jobs from the driver, calls the function, says what happens.

A new interpreter that calls `main`, not a fork: it does not import the user's main script
again, so functions from notebooks and unguarded scripts work, and no lock of the driver's is inherited.
A thread listens to the driver; when the driver dies the line breaks, and the worker and all that it
started are gone at once, wherever they were.
"""

from __future__ import annotations

import ctypes
import faulthandler
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from rungwise.events import Job
from rungwise.executors import Said, guard
from rungwise.executors.job import run_job
from rungwise.executors.line import WorkerEnd
from rungwise.executors.reasons import reason
from rungwise.executors.shipping import Hello, handle_as, log_as, unpickled
from rungwise.storage import Storage
from rungwise.trial import IMPORTING, Trial


class Ready(msgspec.Struct, frozen=True, tag_field="fact", tag=str.lower):
    """The first message from a worker: the function is loaded, or why it cannot be."""

    error: str | None = None


PR_SET_PDEATHSIG = 1  # from linux/prctl.h
FromWorker = Said | Ready
encode = msgspec.json.Encoder().encode


def work(job: Job, function: Callable[[Trial], object], line: WorkerEnd, storage: Storage, slot: int) -> None:
    """Do one job; all that the function prints goes to a file beside its trial's folder."""
    _print_to(storage.log_of(job.trial))
    run_job(job, function, storage, lambda said: line.say(encode(said)), line.pausing.is_set, slot=slot, failed=_print)


def _print(error: BaseException) -> None:
    text = "".join(traceback.format_exception(error))
    os.write(2, text.encode(errors="backslashreplace"))  # sys.stderr may be anything by now


def _print_to(log: str | os.PathLike[str]) -> None:
    """Standard output and error go to the end of `log`, whatever a job before has done to them."""
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for target in (1, 2):
        if fd == target:  # it was closed
            os.set_inheritable(fd, True)
        else:
            os.dup2(fd, target)
    if fd not in (1, 2):
        os.close(fd)
    for name, fd in (("stdout", 1), ("stderr", 2)):
        if getattr(getattr(sys, name), "closed", True):
            setattr(sys, name, open(fd, "w", errors="backslashreplace", closefd=False))  # noqa: SIM115  # to the end


def main(fd: int, slot: int) -> None:
    """Serve the driver at the other end of `fd`, as worker number `slot`, until it hangs up.

    It first sends a `Hello`, the pickled function, and the pickled storage; then jobs.
    """
    os.environ[guard.MARK] = str(os.getpid())  # what we start is known by it, also in a session of its own
    line, hello = connected(fd)
    try:
        function, storage = received(line, hello, 2)
    except BaseException as error:
        line.say(encode(Ready(reason(error))))
        return
    line.say(encode(Ready()))
    decoder = msgspec.json.Decoder(Job)
    while True:
        work(decoder.decode(line.heard.get()), function, line, storage, slot)


def connected(fd: int) -> tuple[WorkerEnd, Hello]:
    """Set this new process up as the one at the other end of `fd` says, and listen to it."""
    os.set_inheritable(fd, False)
    faulthandler.enable(2)  # where a crash was is then in the log of its trial
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    _outlive_signals()
    if sys.platform == "linux":
        # the thread below cannot run while the function is in C code that never lets go of the interpreter
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    line = WorkerEnd(fd)
    threading.Thread(target=line.listen, daemon=True).start()
    hello = msgspec.json.decode(line.heard.get(), type=Hello)
    sys.path[:] = hello.path
    os.environ.pop("PYTHONPATH", None)  # what we were started with is not for the programs that we start
    if hello.pythonpath is not None:
        os.environ["PYTHONPATH"] = hello.pythonpath
    log_as(hello.logging)
    return line, hello


def received(line: WorkerEnd, hello: Hello, count: int) -> list[Any]:
    """The `count` pickled objects that come after the `Hello`. Raises whatever unpickling them does."""
    IMPORTING.set()
    objects = [unpickled(line.heard.get(), hello.sources) for _ in range(count)]
    IMPORTING.clear()
    handle_as(hello.logging)
    return objects


def _outlive_signals() -> None:
    """Signals that are sent to all processes at once do not end this one: the driver says when to stop.

    They are not ignored, which the programs that we start would inherit; and forked children, which inherit handlers,
    are as usual: `Process.terminate` is to end them.
    """

    def nothing(*_: Any) -> None:
        pass

    usual = {number: signal.signal(number, nothing) for number in (signal.SIGTERM, signal.SIGINT)}
    here = threading.local()

    def hold_back() -> None:  # or one that comes right after the fork would meet the handler and be lost
        here.mask = signal.pthread_sigmask(signal.SIG_BLOCK, usual)

    def let_through() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, here.mask)

    def restore() -> None:
        for number, handler in usual.items():
            if signal.getsignal(number) is nothing:
                signal.signal(number, handler)
        let_through()

    os.register_at_fork(before=hold_back, after_in_parent=let_through, after_in_child=restore)
