"""How do a driver and its pilots talk without a port? In files, in a folder that all machines see.

Each file has one writer, which only appends to it, and one reader, which knows how far it has read; whoever writes or
reads opens the file for that and closes it. NFS promises no more than this: what was written before a close is seen
after an opening. All files are there before their readers are, since NFS remembers for a while that a name was not
there, and what the age or the size of a file is. So nothing is renamed, linked, locked or listed. A line that has no
end yet, or a hole (two pieces of a line may come in either order), waits for the next look. The heartbeat alone is
rewritten, in place and at the same length.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar, final

import msgspec

T = TypeVar("T")

SOONEST, LATEST = 0.02, 1.0  # seconds between two looks into a file
PATIENCE = 5  # a file is looked at again after a fifth of the time for which it has said nothing

OVER = -1
WIDTH = 20  # digits of a heartbeat: it is rewritten in place
BEATS = 12  # of a driver, in the time after which its pilots give it up

encode = msgspec.json.Encoder().encode


@final
class Writer:
    """The end that writes; its file is made if it is not there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()

    def write(self, messages: Iterable[object]) -> None:
        """Append them; when this returns, a reader on any machine sees them. Nothing more is to be written if not."""
        rest = memoryview(b"".join(encode(message) + b"\n" for message in messages))
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            while rest:
                rest = rest[os.write(fd, rest) :]
        finally:
            os.close(fd)


@final
class Reader(Generic[T]):
    """The end that reads messages of type `kind`, and looks less often the longer there was none."""

    def __init__(self, path: Path, kind: object) -> None:
        self._path, self._at = path, 0
        self._decode: Callable[[bytes], list[T]] = msgspec.json.Decoder(kind).decode_lines
        self.expect()

    def expect(self) -> None:
        """Something may be said soon."""
        self._active = self.due = time.monotonic()

    def read(self) -> list[T]:
        """What was said since the last time. Raises `OSError`, and `MsgspecError` for what was not understood."""
        with open(self._path, "rb", buffering=0) as file:
            file.seek(self._at)
            come = file.read().partition(b"\0")[0]
        whole = come[: come.rfind(b"\n") + 1]
        self._at += len(whole)
        now = time.monotonic()
        if whole:
            self._active = now
        self.due = now + min(LATEST, max(SOONEST, (now - self._active) / PATIENCE))
        return self._decode(whole)


@final
class Heart:
    """Tells pilots that their driver is there: a thread writes another number into `path` all the time."""

    def __init__(self, path: Path, driver_seconds: float) -> None:
        self._path, self._every = path, driver_seconds / BEATS
        self._stop = threading.Event()
        beat(path, 0)
        self._thread = threading.Thread(target=self._beat, name="rungwise heartbeat", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        number, trouble = 0, ""
        while not self._stop.wait(self._every):
            number += 1
            try:
                beat(self._path, number)
            except OSError as error:
                if str(error) != trouble:
                    trouble = str(error)
                    logging.getLogger("rungwise").warning(
                        "pilots may end: they cannot be told of their driver: %s", error
                    )

    def stop(self) -> None:
        """Beat no more."""
        self._stop.set()
        self._thread.join()


def beat(path: Path, number: int) -> None:
    """Write `number` in place, or `OVER`."""
    with contextlib.closing(open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb", buffering=0)) as file:
        file.write(f"{number:0{WIDTH}d}\n".encode())


def is_over(path: Path) -> bool:
    """Whether `OVER` was written."""
    try:
        return path.read_bytes().startswith(b"-")
    except FileNotFoundError:
        return False


@final
class Pulse:
    """Watches a driver's heart. Clocks of machines are not compared: it counts for how long it has seen no change.

    It does not count while it was not looking itself, because its machine slept or its job was suspended.
    """

    def __init__(self, path: Path, driver_seconds: float) -> None:
        self._path, self._patience = path, driver_seconds
        self._every = driver_seconds / BEATS
        self._last, self._silent = b"", 0.0
        self._looked = self.due = time.monotonic()

    def lost(self) -> str | None:
        """Why there is nothing to be done any more, if that is so."""
        now = time.monotonic()
        self._silent += min(now - self._looked, 2 * self._every)
        self._looked, self.due = now, now + self._every
        with contextlib.suppress(OSError):  # as good as silence
            if (seen := self._path.read_bytes()) != self._last:
                self._last, self._silent = seen, 0.0
        if self._last.startswith(b"-"):
            return "its driver has ended"
        return f"its driver was not heard of for {self._patience:g} s" if self._silent > self._patience else None
