"""What is a study's database, and which databases are refused? Nothing in one is trusted before it is checked."""

from __future__ import annotations

import ctypes
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path
from struct import Struct

from rungwise.log import StudyError

APPLICATION_ID = 0x52554E47  # "RUNG": tells our files from other programs'
SCHEMA_VERSION = 3  # 2 had no time in its digests, and is gone on with as it is; 1 was never released
OLDEST = 2

TABLE = """CREATE TABLE facts (
    id     INTEGER PRIMARY KEY,
    time   REAL NOT NULL, -- Unix seconds
    fact   TEXT NOT NULL,
    digest INTEGER NOT NULL -- CRC-32 of the facts so far
)"""
SCHEMA = f"""
{TABLE};
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""
INSERT = "INSERT INTO facts (id, time, fact, digest) VALUES (?, ?, ?, ?)"
SELECT = "SELECT id, time, fact, digest FROM facts WHERE id > ? ORDER BY id LIMIT 1000"

LARGEST_FACT = 2**27  # bytes of a fact: a study begun from 100,000 trials of an earlier one needs a quarter of it
PORTION = 2**24  # characters that are read at once, or a little more: a row
STEPS = 5_000_000  # of SQLite's machine, in one statement; none that looks takes a hundredth of them

Row = tuple[int, float, str, int]


def connect(name: str, *, uri: bool = False, looks: bool = True, seconds: float = 5.0) -> sqlite3.Connection:
    """A connection that believes nothing that a file says of itself (https://www.sqlite.org/security.html).

    It waits `seconds` for a lock. With `looks` it refuses to write, and a statement that takes long beyond reason ends.
    One that writes has no such end: SQLite counts the steps of all rows that a statement is used for, and of all times
    if it is kept, as Python does unless told otherwise.
    """
    connection = sqlite3.connect(
        name,
        uri=uri,
        isolation_level=None,
        check_same_thread=False,
        timeout=seconds,
        cached_statements=0 if looks else 128,
    )
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_FACT)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    if looks:
        connection.set_progress_handler(lambda: 1, STEPS)
        connection.execute("PRAGMA query_only = ON")
    return connection


def version_of(connection: sqlite3.Connection, path: Path) -> int | None:
    """The format of the study in a database; None if there is nothing in it. `StudyError` if it is another's."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (anything,) = connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_master)").fetchone()
    if not application and not anything:
        return None
    if application != APPLICATION_ID:
        raise StudyError(f"{path} is a database of another program; name another file")
    if version > SCHEMA_VERSION:
        raise StudyError(
            f"{path} was written by a newer rungwise (format {version}, this one reads up to {SCHEMA_VERSION}); "
            "upgrade with: pip install -U rungwise"
        )
    if version < OLDEST:
        raise StudyError(f"{path} was written by a rungwise that was never released; begin another file")
    found = connection.execute(
        "SELECT type, sql FROM sqlite_master WHERE 'facts' IN (lower(name), lower(tbl_name)) LIMIT 2"
    ).fetchall()
    if found != [("table", TABLE)]:  # nor a view that never ends, a trigger, or columns that compute
        raise StudyError(f"{path} is damaged, or was not made by rungwise: its table of facts is another")
    return int(version)


def refusal(path: Path, error: Exception, done: str) -> StudyError:
    """What is said of a file that cannot be "read" or "written"."""
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return StudyError(f"{path} is not a study file ({' '.join(str(error).split())}); name another one")
    said = "what it asks for does not end" if str(error) == "interrupted" else " ".join(str(error).split())
    return StudyError(f"{path} cannot be {done}: {said}")


def rows_after(connection: sqlite3.Connection, number: int) -> list[Row]:
    """The next facts after `number`: as many as one reads at once, up to damage, or none if there are no more."""
    rows: list[Row] = []
    size = 0
    try:
        for row in connection.execute(SELECT, (number,)):
            rows.append(row)
            if isinstance(row[2], str) and (size := size + len(row[2])) > PORTION:
                break
    except sqlite3.DatabaseError:
        if not rows:
            raise  # who asks for those behind the damage is told
    return rows


def size(connection: sqlite3.Connection) -> int:
    """The bytes of a database, those in its write-ahead log too."""
    (pages,), (bytes_,) = (connection.execute(f"PRAGMA {what}").fetchone() for what in ("page_count", "page_size"))
    return int(pages * bytes_)


def leave_open(connection: sqlite3.Connection) -> None:
    """Never close it, not even when the interpreter ends: closing would tidy up files that are not ours to write."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


_double = Struct("<d").pack


def _without_time(digest: int, time: float, fact: bytes) -> int:
    return zlib.crc32(fact, digest)


def _with_time(digest: int, time: float, fact: bytes) -> int:
    return zlib.crc32(fact, zlib.crc32(_double(time), digest))


def digest_of(version: int) -> Callable[[int, float, bytes], int]:
    """From the digest of all facts before, and a fact with its time, the digest of all so far."""
    return _without_time if version == OLDEST else _with_time
