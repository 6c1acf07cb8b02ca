"""A log in one append-only SQLite table: one row a fact, as JSON that a person can read.

Write-ahead log, `synchronous=NORMAL`: a commit survives the death of the process; the last commits before
a power cut may be missing, as a whole. One process may write (a lock beside the file, which the system
drops when the process dies, however it dies); any number may read meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import filelock
import msgspec

from rungwise.events import AnyFact, Fact
from rungwise.log import StudyError

APPLICATION_ID = 0x52554E47  # "RUNG": tells our files from other programs'
SCHEMA_VERSION = 1

_SCHEMA = f"""
CREATE TABLE facts (
    id   INTEGER PRIMARY KEY,
    time REAL NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400.0),
    fact TEXT NOT NULL
);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""


class SQLiteLog:
    """The log in the file `path`, made if it is not there and `writable`.

    Raises `StudyError` if the file is not a study, is of a newer version, is held by another process, or
    cannot be read or written.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = path
        self._pending: list[tuple[str]] = []
        self._encode = msgspec.json.Encoder().encode
        self._lock: filelock.BaseFileLock | None = None
        if path.is_dir():
            raise StudyError(f"{path} is a directory; name a file in it, such as {path / 'study.db'}")
        if not writable and not path.exists():
            raise StudyError(f"there is no study {path}")
        try:
            if writable:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._lock = filelock.FileLock(f"{path}.lock", timeout=0)
                self._lock.acquire()
            self._connection = self._connect(writable)
        except filelock.Timeout:
            raise StudyError(
                f"{path} is held by another running process, or by an open Study in this one: wait for it, stop it, "
                "or let go with study.close()"
            ) from None
        except (OSError, sqlite3.OperationalError) as error:
            self._unlock()
            raise StudyError(f"{path} cannot be {'written' if writable else 'read'}: {error}") from None
        except sqlite3.DatabaseError as error:
            self._unlock()
            raise StudyError(f"{path} is not a study file ({error}); name another one") from None
        except StudyError:
            self._unlock()
            raise

    def _connect(self, writable: bool) -> sqlite3.Connection:
        if writable:
            connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        else:
            uri = f"{self.path.resolve().as_uri()}?mode=ro"
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
        if writable:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            if not tables:
                connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        return connection

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def read(self) -> Iterator[tuple[float, Fact]]:
        """All facts that are durable, from the first."""
        decode = msgspec.json.Decoder(AnyFact).decode
        try:
            for number, time, text in self._connection.execute("SELECT id, time, fact FROM facts ORDER BY id"):
                try:
                    yield time, decode(text)
                except msgspec.MsgspecError as error:
                    raise StudyError(f"{self.path}: row {number} is not a fact ({error}): {text!r:.80}") from None
        except sqlite3.DatabaseError as error:
            raise StudyError(f"{self.path} is damaged: {error}") from None

    def append(self, fact: Fact) -> None:
        """Add a fact; it is durable after the next `flush`."""
        self._pending.append((self._encode(fact).decode(),))

    def flush(self) -> None:
        """Commit what was appended, in one transaction."""
        if not self._pending:
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany("INSERT INTO facts (fact) VALUES (?)", self._pending)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StudyError(f"{self.path} cannot be written: {error}") from None
        self._pending.clear()

    def close(self) -> None:
        """Close the file and let go of the lock."""
        self._connection.close()
        self._unlock()
