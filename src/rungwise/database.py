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
SNAPSHOT = """CREATE TABLE snapshot (
    piece   INTEGER PRIMARY KEY, -- 0: how the study stood; from 1 on: its reports and configurations
    facts   INTEGER NOT NULL, -- noted when it was written
    digest  INTEGER NOT NULL, -- CRC-32 of the content, in piece 0 as if it came behind these facts
    content BLOB NOT NULL
)"""
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
        raise StudyError(f"{path} was written by an unreleased rungwise; begin a new file")
    found = connection.execute(
        "SELECT type, sql FROM sqlite_master WHERE 'facts' IN (lower(name), lower(tbl_name)) LIMIT 2"
    ).fetchall()
    if found != [("table", TABLE)]:  # nor a view that never ends, a trigger, or columns that compute
        raise StudyError(f"{path} is damaged, or was not made by rungwise: its table of facts is different")
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


Snapshot = tuple[int, int, bytes, list[bytes]]
"""After how many facts a study stood so, the digest of the last of them, how it stood, and the other pieces."""


def snapshot(connection: sqlite3.Connection) -> Snapshot | None:
    """The snapshot in a database; None if there is none. `ValueError` if it is not of the facts that are there."""
    if (found := _snapshot_table(connection)) is None:
        return None
    if not found:
        raise ValueError("its table is another")
    left, rows = size(connection), list[tuple[int, int, int, bytes]]()
    for row in connection.execute("SELECT piece, facts, digest, content FROM snapshot ORDER BY piece"):
        piece, _, _, content = row
        if piece != len(rows) or type(content) is not bytes:
            raise ValueError("it lacks a piece")
        if (left := left - len(content)) < 0:  # many rows may share one place in a file that was made for that
            raise ValueError("it says more than it can hold")
        rows.append(row)
    if not rows:
        return None
    _, facts, digest, content = rows[0]
    noted = digest_at(connection, facts)
    if noted is None or zlib.crc32(content, noted) != digest:
        raise ValueError(f"it is not of the {facts!r:.40} facts that it names, or not what was written")
    return facts, noted, content, [row[3] for row in rows[1:]]


def facts_in_snapshot(connection: sqlite3.Connection) -> int | None:
    """How many facts the snapshot in a database holds, 0 if there is none; None if there can be none."""
    if (found := _snapshot_table(connection)) is None:
        return 0
    if not found:
        return None
    row = connection.execute("SELECT facts FROM snapshot WHERE piece = 0").fetchone()
    return row[0] if row is not None and digest_at(connection, row[0]) is not None else 0


def keep_snapshot(connection: sqlite3.Connection, facts: int, digest: int, known: int, pieces: list[bytes]) -> None:
    """Write a snapshot: piece 0, and those behind the `known` ones, which stay."""
    connection.execute(SNAPSHOT.replace("TABLE", "TABLE IF NOT EXISTS", 1))
    connection.execute("DELETE FROM snapshot WHERE piece = 0 OR piece > ?", (known,))
    stand, *added = pieces
    connection.execute("INSERT INTO snapshot VALUES (0, ?, ?, ?)", (facts, zlib.crc32(stand, digest), stand))
    for piece, content in enumerate(added, known + 1):
        connection.execute("INSERT INTO snapshot VALUES (?, ?, ?, ?)", (piece, facts, zlib.crc32(content), content))


def digest_at(connection: sqlite3.Connection, fact: object) -> int | None:
    """The digest that `fact` carries; None if it is not there."""
    row = connection.execute("SELECT digest FROM facts WHERE id = ?", (fact,)).fetchone() if type(fact) is int else None
    return row[0] if row is not None and type(row[0]) is int else None


def _snapshot_table(connection: sqlite3.Connection) -> bool | None:
    """Whether the table of snapshots is ours; None if there is none."""
    found = connection.execute(
        "SELECT type, sql FROM sqlite_master WHERE 'snapshot' IN (lower(name), lower(tbl_name)) LIMIT 2"
    ).fetchall()
    return found == [("table", SNAPSHOT)] if found else None


def leave_open(connection: sqlite3.Connection) -> None:
    """Never close it, not even when the interpreter ends: closing would tidy up files that are not ours to write."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def stamp_of(version: int) -> Callable[[float], bytes]:
    """The time of a fact as it goes into the digest of all so far: after those before, and before the fact."""
    return (lambda time: b"") if version == OLDEST else Struct("<d").pack


def digest_of(version: int) -> Callable[[int, float, bytes], int]:
    """From the digest of all facts before, and a fact with its time, the digest of all so far."""
    stamp = stamp_of(version)
    return lambda digest, time, fact: zlib.crc32(fact, zlib.crc32(stamp(time), digest))
