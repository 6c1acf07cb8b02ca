"""How do driver and worker talk? Messages with their length in front, on a socket for each worker.

Why not `multiprocessing.Connection`: its reading blocks in the middle of a message, so that a writer that died
there, or wrote anything else, would hold up the whole study. The driver's end here never blocks: it takes the bytes
that have come and sends those that there is room for. The worker's end may block; only its own job waits then.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import signal
import socket
import threading
from collections import deque
from typing import final

from rungwise.errors import InputError
from rungwise.trial import ELSEWHERE

LENGTH = 8  # bytes of a message's length
LARGEST_MESSAGE = 2**24  # bytes that a worker may say at once; a report has about 100
PIECE = 2**18  # bytes that the driver takes from one worker before it looks at the others
PAUSE = b"pause"


class Garbled(Exception):
    """What came is no message of ours."""


def a_line() -> tuple[DriverEnd, socket.socket]:
    """A new line: the driver's end, and the other, to be handed to a worker."""
    ours, theirs = socket.socketpair()
    if theirs.fileno() <= 2:  # a driver whose standard error is closed; the worker will have one
        moved = socket.socket(fileno=fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD_CLOEXEC, 3))
        theirs.close()
        theirs = moved
    return DriverEnd(ours), theirs


@final
class DriverEnd:
    """The end that never blocks."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._socket.setblocking(False)
        self._came = bytearray()
        self._out: deque[memoryview] = deque()
        self.dry = True  # whether the last reading took all that there was

    def fileno(self) -> int:
        """For a selector; -1 when it is closed."""
        return self._socket.fileno()

    def send(self, message: bytes) -> None:
        """Send `message`, now or, as far as there is no room, at the next `push`."""
        self._out.append(memoryview(len(message).to_bytes(LENGTH, "big")))
        self._out.append(memoryview(message))
        self.push()

    def push(self) -> None:
        """Send of what waits as much as there is room for."""
        try:
            while self._out:
                sent = self._socket.send(self._out[0])
                if sent < len(self._out[0]):
                    self._out[0] = self._out[0][sent:]
                else:
                    self._out.popleft()
        except BlockingIOError:
            pass
        except OSError:  # nobody is there any more, which its death or reading will tell
            self._out.clear()

    @property
    def waits(self) -> bool:
        """Whether something is still to be sent."""
        return bool(self._out)

    def read(self) -> list[bytes] | None:
        """The messages that are whole by now; None at the end of all.

        Raises `Garbled` for what cannot be the length of a message.
        """
        try:
            data = self._socket.recv(PIECE)
        except BlockingIOError:
            self.dry = True
            return []
        except OSError:  # it died with something of ours unread
            return None
        if not data:
            return None
        self.dry = len(data) < PIECE
        self._came += data
        messages, at = [], 0
        while len(self._came) - at >= LENGTH:
            length = int.from_bytes(self._came[at : at + LENGTH], "big")
            if length > LARGEST_MESSAGE:
                raise Garbled(f"a message of {length} bytes")
            if len(self._came) - at < LENGTH + length:
                break
            messages.append(bytes(self._came[at + LENGTH : at + LENGTH + length]))
            at += LENGTH + length
        del self._came[:at]
        return messages

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


@final
class WorkerEnd:
    """The end in the worker. Threads may say something; a forked child may not, and has no line at all."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._process = os.getpid()
        self._lock = threading.RLock()  # a signal's handler may report, too
        self._unsent = memoryview(b"")  # of a message in whose midst a signal's handler raised
        self.heard: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        self.pausing = threading.Event()
        # a child that keeps the line open would hide our death, and what it wrote would mix with what we write
        os.register_at_fork(after_in_child=self._socket.close)

    def listen(self) -> None:
        """Read what the driver says until it is gone; then end this process and all its children."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                message = self._take(int.from_bytes(self._take(LENGTH), "big"))
                if message == PAUSE:
                    self.pausing.set()
                else:
                    self.pausing.clear()  # that was of the job before
                    self.heard.put(message)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    def _take(self, length: int) -> bytearray:
        taken = bytearray(length)
        rest = memoryview(taken)
        while rest:
            count = self._socket.recv_into(rest)
            if count == 0:
                raise EOFError
            rest = rest[count:]
        return taken

    def check(self, message: bytes) -> None:
        """Whether it can be said: `InputError` in a forked child, and for a message that is too long."""
        if os.getpid() != self._process:
            raise InputError(ELSEWHERE)
        if len(message) > LARGEST_MESSAGE:
            raise InputError(f"a report has {len(message)} bytes; {LARGEST_MESSAGE} are allowed")

    def say(self, message: bytes) -> None:
        """Tell the driver; if it is gone, `listen` ends this process. Raises what `check` does."""
        self.check(message)
        with self._lock:
            self._unsent = memoryview(bytes(self._unsent) + len(message).to_bytes(LENGTH, "big") + message)
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
