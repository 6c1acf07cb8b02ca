"""How is a study's file read, and nothing written? Whoever looks leaves no file behind, and needs no right to write.

SQLite makes files beside a database even to read it, `-wal` and `-shm`; made by another user they lock the owner out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from rungwise import database
from rungwise.database import Row
from rungwise.log import StudyError

TRIES = 20  # at a file that changes under the reader's eyes: a driver begins, or ends
PART = 2**20  # bytes that are copied at once
PAUSE = 0.02  # seconds before another try
PASSING = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL)
"""What SQLite says while the driver makes, or takes away, the files that a reader may not make."""

T = TypeVar("T")
State = tuple[int, int, int, int | None, bool]


class NothingYet(StudyError):
    """The file holds no study yet: its driver has only just begun, or was killed as it did."""


class View:
    """A look at the study file `path`, which is at `real`: its facts from the first to the last one that is durable.

    What stands beside the file says how it can be read:

    | `-wal` | `-shm` | then |
    |---|---|---|
    | no, or empty | | all is in the file. It is read as one that nobody writes, and again if somebody does |
    | yes | yes | a driver lives, or was killed: SQLite reads both, and makes neither |
    | yes | no | as in a copy: SQLite would have to make one, so it is given a copy of its own |
    """

    def __init__(self, path: Path, real: Path) -> None:
        self._path, self._real = path, real
        self._connection: sqlite3.Connection | None = None
        self._seen: State | None = None  # of a file that is read as one that nobody writes
        self._locked = False  # whether SQLite gave up on its locks: then a copy is looked at
        self._stack = contextlib.ExitStack()
        self.version = 0

    def __enter__(self) -> View:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def rows_after(self, number: int) -> list[Row]:
        """The next facts after `number`; none if there are no more."""
        return self._looked(partial(database.rows_after, number=number))

    def size(self) -> int:
        """The bytes that the file has, what is not yet in its main part too."""
        return self._looked(database.size)

    def snapshot(self) -> database.Snapshot | None:
        """The snapshot in the file; None if there is none. `ValueError` if it is not of its facts."""
        return self._looked(database.snapshot)

    def _looked(self, look: Callable[[sqlite3.Connection], T]) -> T:
        """What `look` finds, tried again while the file changes under it."""
        for left in reversed(range(TRIES)):
            before = self._state()
            try:
                found = look(self._connection or self._open())
                if self._seen in (None, self._state()):
                    return found
            except (sqlite3.Error, OSError, StudyError) as error:
                if not left and _passing(error):
                    raise database.refusal(self._path, error, "read") from None
                if not left or (before == self._state() and not _passing(error)):
                    raise
                self._locked = self._locked or _code(error) == sqlite3.SQLITE_PROTOCOL
                time.sleep(PAUSE)
            self._close()  # it changed meanwhile: look again
        raise StudyError(f"{self._path} cannot be read: it keeps changing")

    def _state(self) -> State:
        try:
            file = self._real.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise StudyError(f"there is no study {self._path}") from None
        except OSError as error:
            raise StudyError(f"{self._path} cannot be read: {error.strerror}") from None
        try:
            wal = os.stat(f"{self._real}-wal").st_size
        except FileNotFoundError:
            wal = None
        return file.st_ino, file.st_size, file.st_mtime_ns, wal, os.path.exists(f"{self._real}-shm")

    def _open(self) -> sqlite3.Connection:
        try:
            connection = self._connect()
            version = database.version_of(connection, self._path)
        except (sqlite3.Error, OSError) as error:
            self._close()
            if _passing(error):
                raise
            raise database.refusal(self._path, error, "read") from None
        if version is None:
            raise NothingYet(f"{self._path} holds no study yet")
        self.version = version
        return connection

    def _connect(self) -> sqlite3.Connection:
        state = self._state()
        uri, wal, shm = self._real.as_uri(), state[3], state[4]
        self._seen = None
        if not state[1]:  # SQLite would delete a -wal beside it
            raise NothingYet(f"{self._path} holds no study yet")
        if wal is not None and shm and not self._locked:
            # readonly_shm: else SQLite would make one if it has gone just now
            connection = database.connect(f"{uri}?mode=ro&readonly_shm=1", uri=True)
        elif wal:
            connection = database.connect(str(self._copied()))
        else:
            self._seen = state
            connection = database.connect(f"{uri}?mode=ro&immutable=1", uri=True)
        self._connection = connection
        self._stack.callback(connection.close)
        return connection

    def _copied(self) -> Path:
        copy = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="rungwise-"))) / "study.db"
        before = self._state()
        for ending in ("", "-wal"):
            _copy(f"{self._real}{ending}", f"{copy}{ending}")
        if before != self._state():
            raise StudyError(f"{self._path} cannot be read: it changed while it was being copied")
        return copy

    def _close(self) -> None:
        self._connection = None
        self._stack.close()


def _copy(source: str, target: str) -> None:
    """Copy a file, its holes as holes: it may say that it has a terabyte, and have a page."""
    with open(source, "rb") as given, open(target, "wb") as made:
        file, size, start = given.fileno(), os.fstat(given.fileno()).st_size, 0
        made.truncate(size)
        while start < size:
            try:
                start = os.lseek(file, start, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                return  # nothing more
            end = os.lseek(file, start, os.SEEK_HOLE)
            given.seek(start)
            made.seek(start)
            while start < end and (part := given.read(min(end - start, PART))):
                made.write(part)
                start += len(part)


def _passing(error: Exception) -> bool:
    """Whether it may be gone at the next look, though the files look as they did."""
    return isinstance(error, sqlite3.Error) and _code(error) in PASSING


def _code(error: Exception) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
