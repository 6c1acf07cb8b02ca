"""Who drives a study file? One process, which holds locks that the system drops when it dies, however it dies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import struct
import sys
from pathlib import Path

HELD = (errno.EAGAIN, errno.EACCES)  # what an attempt says when another has the lock; the second in old POSIX
NO_SUCH_LOCK = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)  # of systems and disks without them
PLACE = 2**62  # of the byte that is locked in the study itself; SQLite locks some near 2**30
FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

_here: dict[tuple[int, int], str] = {}  # device and inode of what this process drives -> its name


class Held(Exception):
    """Another drives the study; the text says who."""


class Hold:
    """The right to drive the study file at `real`, which is made if it is not there.

    Two locks: on the file `….lock` beside it, for all systems, and on Linux on the study itself, since a lock file can
    be deleted, and one study have two names. `….holder` says who has them, for those who find them held.

    Raises `Held`, or `OSError` if there can be no such file. Neither is a POSIX lock: those go with the first
    descriptor of the file that is closed anywhere in the process. So do those that SQLite holds; therefore `let_go` is
    for after its connection was closed, and the study is not even opened where this process drives it already.
    """

    def __init__(self, real: Path) -> None:
        self.real = real
        self._holder = f"{real}.holder"
        self._files: list[int] = []
        self._inode: tuple[int, int] | None = None
        try:
            self._lock_file(f"{real}.lock")
            self._lock_study()
        except BaseException:
            self.forget()
            raise
        with contextlib.suppress(OSError):  # these are words; the locks are what counts
            self._say()

    def _lock_file(self, name: str) -> None:
        while True:
            file = _opened(name)
            self._files.append(file)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                self._refuse(error)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(name), os.fstat(file)):
                    return
            os.close(self._files.pop())  # it was deleted between the two steps

    def _lock_study(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            there = os.stat(self.real)
            if (name := _here.get((there.st_dev, there.st_ino))) is not None:
                raise Held(f"this process, as {name}")
        file = _opened(self.real)
        self._files.append(file)
        if hasattr(fcntl, "F_OFD_SETLK") and sys.maxsize > 2**32:
            wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, PLACE, 1, 0)  # struct flock, 64 bits
            try:
                fcntl.fcntl(file, fcntl.F_OFD_SETLK, wanted)
            except OSError as error:
                if error.errno not in NO_SUCH_LOCK:
                    self._refuse(error)
        found = os.fstat(file)
        self._inode = found.st_dev, found.st_ino
        _here[self._inode] = str(self.real)

    def _refuse(self, error: OSError) -> None:
        if error.errno in HELD:
            raise Held(self._held_by()) from None
        raise error

    def _say(self) -> None:
        text = f"process {os.getpid()} on {platform.node()} ({Path(sys.argv[0]).name})"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._holder)  # never through a link that somebody put there
        file = os.open(self._holder, FLAGS | os.O_EXCL, 0o666)
        with open(file, "w", encoding="utf-8", errors="replace") as holder:
            holder.write(text)

    def _held_by(self) -> str:
        with contextlib.suppress(OSError):
            file = os.open(self._holder, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            with open(file, "rb") as holder:
                said = holder.read(200).decode("utf-8", "replace")
            if said := "".join(c if c.isprintable() else "?" for c in said):
                return said
        return "another process"  # it has begun just now, or has the study by another name

    @property
    def study(self) -> int:
        """The descriptor of the study's file; the only one that may be read besides SQLite's, and not closed before."""
        return self._files[-1]

    def moved(self) -> str | None:
        """What has become of the file: None if it is where it was, else words for it."""
        try:
            there = os.stat(self.real)
        except (FileNotFoundError, NotADirectoryError):
            return "was deleted or moved"
        except OSError:
            return None  # SQLite will say what is wrong, if that stays so
        return None if (there.st_dev, there.st_ino) == self._inode else "was replaced by another file"

    def let_go(self) -> None:
        """Another process may drive the study now."""
        if self.moved() is None:
            with contextlib.suppress(OSError):
                os.unlink(self._holder)
        self.forget()

    def forget(self) -> None:
        """Close the files. In a forked child the locks stay: they live as long as the parent has the same files open.

        A child that had them open too would hold the study after its parent is gone.
        """
        if self._inode is not None:
            _here.pop(self._inode, None)
        while self._files:
            os.close(self._files.pop())


def _opened(name: str | Path) -> int:
    """A descriptor above 2: where standard error is closed, what writes to it would write into the study."""
    file = os.open(name, FLAGS, 0o666)
    if file > 2:
        return file
    try:
        return fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(file)


def driven_here(real: Path) -> bool:
    """Whether this process drives the study file at `real`. `OSError` if there is none."""
    there = os.stat(real)
    return (there.st_dev, there.st_ino) in _here


def held(real: Path) -> bool:
    """Whether a process drives the study file at `real` now; asked without writing or keeping anything.

    Where a lock cannot be asked for, it is tried, for less than a millisecond: without it "running" would be said of a
    study whose driver was killed. `OSError` if the file cannot be read.
    """
    if driven_here(real):
        return True
    if not hasattr(fcntl, "F_OFD_GETLK") or sys.maxsize <= 2**32:
        return _lock_file_is_held(f"{real}.lock")
    file = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, PLACE, 1, 0)
        kind: int = struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked))[0]
    except OSError as error:
        if error.errno not in NO_SUCH_LOCK:
            raise
        return _lock_file_is_held(f"{real}.lock")
    finally:
        os.close(file)
    return kind != fcntl.F_UNLCK


def _lock_file_is_held(name: str) -> bool:
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in HELD:
            raise
        return True
    finally:
        os.close(file)
    return False
