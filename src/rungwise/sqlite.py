"""A log in one append-only SQLite table: one row a fact, as JSON that a person can read.

Each row carries a digest of itself and of all before it, so that a changed or missing fact is found, and what stands
before it can be saved (`salvage`).

Write-ahead log, `synchronous=NORMAL`: a commit survives the death of the process; the last commits before
a power cut may be missing, as a whole (after `sync`, with `synchronous=FULL`, none are). One process may
write (a lock beside the file, which the system drops when the process dies, however it dies); any number
may read meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sqlite3
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import filelock
import msgspec

from rungwise.events import AnyFact, Fact
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


class SQLiteLog:
    """The log in the file `path`, made if it is not there and `writable`.

    Raises `StudyError` if the file is not a study, is of a newer version, is held by another process, or
    cannot be read or written.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = path
        real = path.resolve() if path.is_symlink() else path  # one study, one lock, whatever it is called
        self._pending: list[tuple[float | None, str, int]] = []
        self._new = False  # whether the table was made just now
        self._digest = 0  # of the last fact that was read or appended
        self._encode = msgspec.json.Encoder().encode
        self._lock: filelock.BaseFileLock | None = None
        self._holder = Path(f"{real}.holder")  # who has the lock, for those who find it held
        if path.is_dir():
            raise StudyError(f"{path} is a directory; name a file in it, such as {path / 'study.db'}")
        if not writable and not path.exists():
            raise StudyError(f"there is no study {path}")
        try:
            if writable:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._lock = filelock.FileLock(f"{real}.lock", timeout=0)
                self._lock.acquire()
                self._holder.write_text(f"process {os.getpid()} on {platform.node()} ({Path(sys.argv[0]).name})")
            self._connection = self._connect(writable)
        except filelock.Timeout:
            raise StudyError(
                f"{path} is held by {self._held_by()}: wait for it, stop it, or let go with study.close()"
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

    def _held_by(self) -> str:
        with contextlib.suppress(OSError):
            if said := self._holder.read_text():
                return said
        return "another process"  # it has begun just now

    def _unlock(self) -> None:
        if self._lock is not None and self._lock.is_locked:
            self._holder.unlink(missing_ok=True)
            self._lock.release()

    def read(self) -> Iterator[tuple[float, Fact]]:
        """All facts that are durable, from the first."""
        decode = msgspec.json.Decoder(AnyFact).decode
        rescue = f"what is whole can be saved with: rungwise salvage {self.path} NEW_FILE"
        self._digest = count = 0
        try:
            for number, time, text, digest in self._connection.execute(
                "SELECT id, time, fact, digest FROM facts ORDER BY id"
            ):
                count += 1
                try:
                    self._digest = zlib.crc32(text.encode(), self._digest)
                    if (number, digest) != (count, self._digest):
                        raise StudyError(
                            f"{self.path} is damaged at fact {count}: it is not what was written; {rescue}"
                        )
                    yield time, decode(text)
                except (msgspec.MsgspecError, AttributeError, TypeError) as error:
                    raise StudyError(f"{self.path} is damaged at fact {count} ({error}); {rescue}") from None
        except sqlite3.DatabaseError as error:
            raise StudyError(f"{self.path} is damaged after fact {count} ({error}); {rescue}") from None

    def append(self, fact: Fact, time: float | None = None) -> None:
        """Add a fact that became true at `time` (default: now); it is durable after the next `flush`."""
        encoded = self._encode(fact)
        self._digest = zlib.crc32(encoded, self._digest)
        self._pending.append((time, encoded.decode(), self._digest))

    def flush(self) -> None:
        """Commit what was appended, in one transaction."""
        if not self._pending:
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(_INSERT, self._pending)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            if self._new:  # the first facts are in the file itself, so that it is never taken for an empty one
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._new = False
        except sqlite3.Error as error:
            raise StudyError(f"{self.path} cannot be written: {error}") from None
        self._pending.clear()

    def sync(self) -> None:
        """Wait for the disk at each commit from now on."""
        self._connection.execute("PRAGMA synchronous = FULL")

    def close(self) -> None:
        """Close the file and let go of the lock."""
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
