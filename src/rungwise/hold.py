"""Who drives a study file? One process, which holds a lock that the system drops when it dies, however it dies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import sys
from pathlib import Path

HELD = (errno.EAGAIN, errno.EACCES)  # what an attempt says when another has the lock; the second in old POSIX


class Held(Exception):
    """Another process drives the study; the text says which."""


class Hold:
    """The lock on the study file `path`: `path.lock`, and `path.holder` says who has it, for those who find it held.

    Raises `Held`, or `OSError` if there can be no such file. `flock` rather than POSIX locks, which go with the first
    descriptor of the file that is closed anywhere in the process.
    """

    def __init__(self, path: Path) -> None:
        self._holder = Path(f"{path}.holder")
        self._file = self._locked(f"{path}.lock")
        self._say()

    def _locked(self, name: str) -> int:
        while True:
            file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.stat(name), os.fstat(file)):
                        return file
            except OSError as error:
                os.close(file)
                if error.errno in HELD:
                    raise Held(self._held_by()) from None
                raise
            os.close(file)  # it was deleted between the two steps

    def _say(self) -> None:
        text = f"process {os.getpid()} on {platform.node()} ({Path(sys.argv[0]).name})"
        with contextlib.suppress(OSError):  # these are words; the lock is what counts
            self._holder.unlink(missing_ok=True)  # never through a link that somebody put there
            file = os.open(self._holder, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            with open(file, "w", encoding="utf-8", errors="replace") as holder:
                holder.write(text)

    def _held_by(self) -> str:
        with contextlib.suppress(OSError):
            file = os.open(self._holder, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            with open(file, "rb") as holder:
                said = holder.read(200).decode("utf-8", "replace")
            if said := "".join(c if c.isprintable() else "?" for c in said):
                return said
        return "another process"  # it has begun just now

    def let_go(self) -> None:
        """Another process may drive the study now."""
        with contextlib.suppress(OSError):
            self._holder.unlink(missing_ok=True)
        os.close(self._file)

    def forget(self) -> None:
        """Leave it to the process from which this one was forked: its lock lives as long as *its* descriptor.

        Otherwise a child that lives on would hold the study after its parent is gone.
        """
        os.close(self._file)
