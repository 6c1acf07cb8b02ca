"""A log in one append-only SQLite table: one row a fact, as JSON that a person can read.

Each row carries a digest of itself and of all before it, so that a changed or missing fact is found, and what stands
before it can be saved (`salvage`).

Write-ahead log, `synchronous=NORMAL`: a commit survives the death of the process; the last commits before
a power cut may be missing, as a whole (after `sync`, with `synchronous=FULL`, none are). One process may
write (a lock beside the file, which the system drops when the process dies, however it dies); any number
may read meanwhile.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from rungwise import turns
from rungwise.events import AnyFact, Fact
from rungwise.hold import Held, Hold
from rungwise.log import StudyError

APPLICATION_ID = 0x52554E47  # "RUNG": tells our files from other programs'
SCHEMA_VERSION = 2  # 1 had no digests and was never released

_SCHEMA = f"""
CREATE TABLE facts (
    id     INTEGER PRIMARY KEY,
    time   REAL NOT NULL, -- Unix seconds
    fact   TEXT NOT NULL,
    digest INTEGER NOT NULL -- CRC-32 of the facts so far
);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""

_INSERT = """
INSERT INTO facts (time, fact, digest) VALUES (coalesce(?, (julianday('now') - 2440587.5) * 86400.0), ?, ?)
"""
_SELECT = "SELECT id, time, fact, digest FROM facts WHERE id > ? ORDER BY id LIMIT ?"
AT_ONCE = 1000  # rows: a reader holds up neither the driver nor other readers for long, nor has all of them in memory


class SQLiteLog(turns.InTurn):
    """The log in the file `path`, made if it is not there and `writable`.

    Raises `StudyError` if the file is not a study, is of a newer version, is held by another process, or
    cannot be read or written.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = path
        real = path.resolve() if path.is_symlink() else path  # one study, one lock, whatever it is called
        self._pending: list[tuple[float | None, str, int]] = []
        self._new = False  # whether the table was made just now
        self._digest = 0  # of the last fact that was appended, or was there when the file was opened
        self._closed = False
        self._read = False  # whether all that was there has been read
        self._encode = msgspec.json.Encoder().encode
        self._hold: Hold | None = None
        if path.is_dir():
            raise StudyError(f"{path} is a directory; name a file in it, such as {path / 'study.db'}")
        if not writable and not path.exists():
            raise StudyError(f"there is no study {path}")
        try:
            if writable:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._hold = Hold(real)
            self._connection = self._connect(writable)
        except Held as error:
            raise StudyError(f"{path} is held by {error}: wait for it, stop it, or let go with study.close()") from None
        except (OSError, sqlite3.OperationalError) as error:
            self._unlock()
            raise StudyError(f"{path} cannot be {'written' if writable else 'read'}: {error}") from None
        except sqlite3.DatabaseError as error:
            self._unlock()
            raise StudyError(f"{path} is not a study file ({error}); name another one") from None
        except StudyError:
            self._unlock()
            raise
        self.begin()

    def _connect(self, writable: bool) -> sqlite3.Connection:
        if writable:
            connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        else:
            real = self.path.resolve()
            uri = f"{real.as_uri()}?mode=ro"
            if not Path(f"{real}-wal").exists() and not os.access(real.parent, os.W_OK):
                uri += "&immutable=1"  # nobody can write it, and SQLite could not put its own files beside it
            connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application != APPLICATION_ID and (tables or application or not writable):
            connection.close()
            raise StudyError(f"{self.path} is a database of another program; name another file")
        if version > SCHEMA_VERSION:
            connection.close()
            raise StudyError(
                f"{self.path} was written by a newer rungwise (format {version}, this one reads up to "
                f"{SCHEMA_VERSION}); upgrade with: pip install -U rungwise"
            )
        if tables and version < SCHEMA_VERSION:
            connection.close()
            raise StudyError(f"{self.path} was written by a rungwise that was never released; begin another file")
        if writable:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            if not tables:
                self._new = True
                connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        return connection

    def _unlock(self) -> None:
        if self._hold is not None:
            self._hold.let_go()
            self._hold = None

    def forked(self) -> None:
        """In a forked child: leave file and lock to the parent."""
        if self._hold is not None:
            self._hold.forget()
            self._hold = None
        # never closed here, not even when the interpreter ends: closing would tidy up a file that the parent writes
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))

    def read(self) -> Iterator[tuple[float, Fact]]:
        """All facts that are durable, from the first; other calls may come between two of them."""
        decode = msgspec.json.Decoder(AnyFact).decode
        rescue = f"what is whole can be saved with: rungwise salvage {self.path} NEW_FILE"
        digest = count = 0
        try:
            while rows := self._rows_after(count):
                for number, time, text, noted in rows:
                    count += 1
                    try:
                        digest = zlib.crc32(text.encode(), digest)
                        if (number, noted) != (count, digest):
                            raise StudyError(
                                f"{self.path} is damaged at fact {count}: it is not what was written; {rescue}"
                            )
                        fact = decode(text)
                    except (msgspec.MsgspecError, AttributeError, TypeError) as error:
                        raise StudyError(f"{self.path} is damaged at fact {count} ({error}); {rescue}") from None
                    yield time, fact
        except sqlite3.DatabaseError as error:
            raise StudyError(f"{self.path} is damaged after fact {count} ({error}); {rescue}") from None
        if not self._read:  # what is appended goes on from here
            self._read, self._digest = True, digest

    def _rows_after(self, number: int) -> list[tuple[int, float, str, int]]:
        with self._change:
            if self._closed:
                raise StudyError(f"{self.path} has been closed; its facts are in rungwise.Study.open(…).facts()")
            return self._connection.execute(_SELECT, (number, AT_ONCE)).fetchall()

    def append(self, fact: Fact, time: float | None = None) -> None:
        """Add a fact that became true at `time` (default: now); it is durable after the next `flush`."""
        encoded = self._encode(fact)
        self._digest = zlib.crc32(encoded, self._digest)
        self._pending.append((time, encoded.decode(), self._digest))

    def flush(self) -> None:
        """Commit what was appended, in one transaction."""
        with self._change:
            if self._pending:
                self._commit()

    def _commit(self) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(_INSERT, self._pending)
                self._connection.execute("COMMIT")
                self._pending.clear()
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            if self._new:  # the first facts are in the file itself, so that it is never taken for an empty one
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._new = False
        except sqlite3.Error as error:
            raise StudyError(f"{self.path} cannot be written: {error}") from None

    def sync(self) -> None:
        """Wait for the disk at each commit from now on."""
        with self._change:
            self._connection.execute("PRAGMA synchronous = FULL")

    def close(self) -> None:
        """Close the file and let go of the lock; in a forked child, nothing."""
        if self.is_copy:
            return
        with self._change:
            self._closed = True
            self._connection.close()
            self._unlock()


def salvage(path: Path, target: Path) -> tuple[int, str | None]:
    """Write the facts of the study `path`, up to the first that is damaged, to the new file `target`.

    How many there were, and what is wrong with the next one (None if nothing is). Raises `StudyError` if `target`
    exists, or if nothing of `path` can be read.
    """
    if target.exists():
        raise StudyError(f"{target} exists already; name a new file")
    damaged, saved, wrong = SQLiteLog(path, writable=False), None, None
    count = 0
    try:
        for time, fact in damaged.read():
            if saved is None:
                saved = SQLiteLog(target, writable=True)
            saved.append(fact, time)
            count += 1
    except StudyError as error:
        wrong = str(error)
    finally:
        damaged.close()
    if saved is None:
        raise StudyError(wrong or f"{path} holds no facts")
    saved.flush()
    saved.close()
    return count, wrong
