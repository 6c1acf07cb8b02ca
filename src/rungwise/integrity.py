"""Are a study's file and the `-wal` beside it one study, and still as they were written? SQLite asks neither.

It puts what is in `-wal` into whatever file has the name, and writes on in a file that was overwritten.
"""

from __future__ import annotations

import math
import os
import sqlite3
import time
from pathlib import Path

from rungwise import database
from rungwise.chain import Chain
from rungwise.database import Row
from rungwise.hold import driven_here
from rungwise.log import StudyError
from rungwise.view import NothingYet, View

HEAD = 100  # bytes of SQLite's header (https://www.sqlite.org/fileformat.html#the_database_header)

OFTEN = 0.01  # seconds from one full look to the next; what is committed meanwhile is not lost, but noticed later


def is_study(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a study of ours."""
    return head.startswith(b"SQLite format 3\0") and head[68:72] == database.APPLICATION_ID.to_bytes(4, "big")


def is_study_file(path: Path) -> bool:
    """Whether the file at `path` is a study; one that this process drives is not opened, for SQLite's locks."""
    if driven_here(path):
        return True
    try:
        with path.open("rb") as file:
            return is_study(file.read(HEAD))
    except OSError:
        return False  # whoever writes to it will say what is wrong


def check_wal(path: Path, real: Path) -> None:
    """Raise `StudyError` if the `-wal` beside the study file `path`, at `real`, is another's.

    To be asked before SQLite may write: it would put what is in `-wal` into the file, or delete it.
    """
    wal = Path(f"{real}-wal")
    if not wal.exists() or not wal.stat().st_size:
        return
    try:
        check(path, real)
    except (sqlite3.Error, OSError) as error:
        raise database.refusal(path, error, "read") from None


def check(path: Path, real: Path, at: int = 0) -> int:
    """Read anew all that the file and its `-wal` hold; the digest of fact `at`, 0 if it is not there.

    `StudyError` if they do not hold one study together: if a digest is wrong, or the first fact is another one in the
    file alone. That is asked too since a `-wal` may hold all of a small study, and cover the file of another one.
    """
    alone = _first(path, real)
    with View(path, real) as view:
        try:
            found = Chain(path, view).check(at)
            together = view.rows_after(0)[:1]
        except NothingYet:
            return 0
        except StudyError as error:
            raise StudyError(f"{error}; unless {real}-wal is left from another study: then move it away") from None
    if alone and alone != together:
        raise StudyError(
            f"{path} is one study, but {real}-wal holds the newest facts of another: put back the file to which it "
            f"belongs, or move {real}-wal away (nothing has been touched)"
        )
    return found


def _first(path: Path, real: Path) -> list[Row]:
    """The first fact in the file alone: there is none before its first checkpoint, nor in the midst of some others."""
    connection = database.connect(f"{real.as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        return database.rows_after(connection, 0)[:1] if database.version_of(connection, path) is not None else []
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR):
            return []
        raise
    finally:
        connection.close()


class Watch:
    """Notices when somebody else writes the study file that this process drives, or takes its `-wal` away.

    The file is written at a checkpoint only, and those are our own. One that looks otherwise is read anew, all of it,
    since it may be harmless: another program's checkpoint. The first bytes are read on the descriptor `file`, which is
    open already: to close another one would drop SQLite's locks.
    """

    def __init__(self, path: Path, real: Path, file: int) -> None:
        self._path, self._name, self._wal, self._file = path, str(real), f"{real}-wal", file
        wal = self._stat_wal()
        self._which = wal and (wal.st_dev, wal.st_ino)  # None on disks where SQLite makes no such file
        self._next_look = -math.inf
        self.note()
        self._least = 0  # bytes that -wal has

    def note(self) -> None:
        """The file is as it should be: we have just written it."""
        found = os.fstat(self._file)
        self._state = found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev
        self._head = os.pread(self._file, HEAD, 0)

    def emptied(self) -> None:
        """The same, and `-wal` may be empty now."""
        self.note()
        self._least = 0

    def unchanged(self) -> bool:
        """Whether all looks as we left it: asked before each commit, within two microseconds; now and then in full."""
        try:
            found = os.stat(self._name)
        except OSError:
            return False
        if (found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev) != self._state:
            return False
        if (now := time.monotonic()) > self._next_look:
            self._next_look = now + OFTEN
            wal = self._stat_wal()
            if not (self._is_ours(wal) and self._keeps(wal)) or os.pread(self._file, HEAD, 0) != self._head:
                return False
            self._least = self._least or 1  # when the commit is made
        return True

    def changed(self, count: int, digest: int) -> str | None:
        """What somebody did to the file, in words; None if `count` facts, the last one with `digest`, are there."""
        wal = self._stat_wal()
        if not self._is_ours(wal):
            return "lost the -wal beside it"
        head, kept = os.pread(self._file, HEAD, 0), self._keeps(wal)
        found = os.fstat(self._file)
        if kept and head == self._head and (found.st_mtime_ns, found.st_size) == self._state[:2]:
            return None
        if (is_study(self._head) and not is_study(head)) or not self._holds(count, digest):
            return "was overwritten"
        self.emptied()
        return None

    def _stat_wal(self) -> os.stat_result | None:
        try:
            return os.stat(self._wal)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _is_ours(self, wal: os.stat_result | None) -> bool:
        return self._which is None or (wal is not None and (wal.st_dev, wal.st_ino) == self._which)

    def _keeps(self, wal: os.stat_result | None) -> bool:
        """Whether `-wal` is no shorter than at the last look: it never gets shorter by itself."""
        if self._which is None or wal is None:
            return self._which is None
        if wal.st_size < self._least:
            return False
        self._least = wal.st_size
        return True

    def _holds(self, count: int, digest: int) -> bool:
        if self._which is not None and not os.path.exists(f"{self._name}-shm"):
            return False  # to read it without would be to copy it, and that to close it
        try:
            return check(self._path, Path(self._name), count) == digest
        except (StudyError, sqlite3.Error, OSError):
            return False
