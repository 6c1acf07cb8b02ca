"""A log in one append-only SQLite table: one row a fact, as JSON that a person can read.

Each row carries a digest of itself, its time and all before it, so that a changed or missing fact is found, and what
stands before it can be saved (`salvage`).

Write-ahead log, `synchronous=NORMAL`: a commit survives the death of the process; the last commits before
a power cut may be missing, as a whole (after `sync`, with `synchronous=FULL`, none are). One process may
write (`hold`); any number may read meanwhile, and leave nothing behind (`view`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import struct
import tempfile
import time as clock
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import chain as joined
from itertools import count
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

import msgspec

from rungwise import database, paths, turns
from rungwise.chain import Chain
from rungwise.errors import InputError
from rungwise.events import Fact
from rungwise.hold import Held, Hold
from rungwise.integrity import Watch, check_wal
from rungwise.log import StudyError
from rungwise.view import View

T = TypeVar("T")


class Snapshots(Protocol):
    """Who knows how the study stands, as its facts say."""

    def follow(self, facts: Sequence[tuple[float, Fact]]) -> None:
        """These are durable now, each with its time (Unix seconds)."""
        ...

    def pieces(self) -> tuple[int, bytes, list[bytes]] | None:
        """How many pieces there were, how the study stands, and the pieces to be added; None if it cannot be said."""
        ...

    def forget(self) -> None:
        """What `pieces` gave was not kept: the next time all is given."""
        ...


logger = logging.getLogger("rungwise")

ATTEMPT = 1.0  # seconds that SQLite waits for a lock of another program before it says so
PAGE = 4096  # bytes: a commit writes one at least
CHECKPOINT = 1000 * PAGE  # bytes in -wal that are moved into the file: SQLite's own number
SNAPSHOT_AFTER = 50_000  # facts: they are folded in 0.2 s, so that a study with fewer needs no snapshot
SNAPSHOT_GROWTH = 1.3  # from one to the next: at worst a quarter of the facts are folded, and all cost 2 % of a run
SAID_AFTER, SAID_EVERY, GIVEN_UP_AFTER = 5, 60, 600  # attempts


class SQLiteLog(turns.InTurn):
    """The log in the file `path`, made if it is not there and `writable`.

    Raises `StudyError` if the file is not a study, is of a newer version, is held by another process, or
    cannot be read or written; `InputError` if no file can have such a name.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = paths.study_path(path)
        self.real = paths.real_path(path)
        self._pending: list[tuple[float, str, int]] = []
        self._facts: list[tuple[float, Fact]] = []  # the same, where there are snapshots
        self._digest = 0  # of the last fact that was appended, or was there when the file was opened
        self._count = 0  # of the facts that are durable
        self._last = 0  # the digest of the last of them
        self._written = 0  # bytes, or a little more, that are only in -wal
        self._read = False  # whether all that was there has been read
        self._encode = msgspec.json.Encoder().encode
        self.ended = 0, 0  # how many facts there were when they were last read to their end, and their digest
        self._snapshots: Snapshots | None = None
        self._snapped = 0  # the facts that the last snapshot holds
        self._driving = writable
        paths.refuse_leftovers(path, self.real)  # before SQLite sees anything of it
        if writable:
            self._open()
        elif not self.real.exists():
            raise StudyError(f"there is no study {path}")
        self._own()

    def _open(self) -> None:
        self._hold: Hold | None = None
        self._connection: sqlite3.Connection = None  # type: ignore[assignment]  # until it is there
        try:
            self.real.parent.mkdir(parents=True, exist_ok=True)
            self._hold = Hold(self.real)
            paths.refuse_second_names(self.path, self.real)
            check_wal(self.path, self.real)
            self._connection = database.connect(str(self.real), looks=False, seconds=ATTEMPT)
            self.version = self._patiently(self._set_up)
            self._watch = Watch(self.path, self.real, self._hold.study)
            return
        except Held as error:
            refusal = StudyError(f"{self.path} is held by {error}: wait for it, stop it, or close it there")
        except (OSError, sqlite3.Error) as error:
            refusal = database.refusal(self.path, error, "written")
        except StudyError as error:
            refusal = error
        self._let_go()
        raise refusal from None

    def _set_up(self) -> int:
        version = database.version_of(self._connection, self.path)
        (mode,) = self._connection.execute("PRAGMA journal_mode = WAL").fetchone()
        self._room = CHECKPOINT if mode == "wal" else 0  # without: each commit writes the file
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA wal_autocheckpoint = 0")  # `_commit` does it, and knows that it did
        if version is None:
            self._connection.executescript(f"BEGIN IMMEDIATE; {database.SCHEMA} COMMIT;")
        self._stamp = database.stamp_of(version or database.SCHEMA_VERSION)
        return version or database.SCHEMA_VERSION

    def _patiently(self, write: Callable[[], T]) -> T:
        """What `write` returns, called again as long as another program holds the database's lock."""
        attempts = 0
        while True:
            try:
                return write()
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or attempts >= GIVEN_UP_AFTER:
                    raise
            attempts += 1
            if attempts == SAID_AFTER or attempts % SAID_EVERY == 0:
                logger.warning(
                    "%s has been locked by another program for %d s (not by rungwise): waiting, nothing is lost",
                    self.path,
                    attempts * ATTEMPT,
                )

    def read(self, after: int = 0, digest: int | None = None) -> Iterator[tuple[float, Fact]]:
        """The facts that are durable but for the first `after`; other calls may come between two of them.

        With `digest`, `StudyError` if that is not the one of what is left out.
        """
        if not self._driving:
            with View(self.path, self.real) as view:
                chain = Chain(self.path, view, after, digest)
                yield from chain
            self.ended = chain.count, chain.digest
            return
        chain = Chain(self.path, self, after, digest)
        yield from chain
        if not self._read:  # what is appended goes on from here
            self._read, self._count, self._digest = True, chain.count, chain.digest
            self._last = chain.digest

    def snapshot(self) -> database.Snapshot | None:
        """The last snapshot; None if there is none. `ValueError` if there is one that is not of the facts."""
        with View(self.path, self.real) as view:
            try:
                return view.snapshot()
            except sqlite3.Error as error:
                raise ValueError(" ".join(str(error).split())) from None

    def keep_snapshots(self, snapshots: Snapshots) -> None:
        """Write those that `snapshots` gives, now and then; it hears each fact from now on."""
        if (there := database.facts_in_snapshot(self._connection)) is not None:
            self._snapshots, self._snapped = snapshots, there

    def rows_after(self, number: int) -> list[database.Row]:
        """The facts after `number` that are durable, as many as are read at once."""
        with self._change:
            if not self._driving:
                raise StudyError(f"{self.path} was closed while it was read")
            return database.rows_after(self._connection, number)

    def size(self) -> int:
        """The bytes that the file has, what is not yet in its main part too."""
        with self._change:
            return database.size(self._connection)

    def append(self, fact: Fact | msgspec.Raw, time: float | None = None) -> None:
        """Add a fact, or its JSON, that became true at `time` (default: now); it is durable after the next `flush`."""
        time, text = clock.time() if time is None else time, self._encode(fact)
        self._digest = zlib.crc32(text, zlib.crc32(self._stamp(time), self._digest))
        self._pending.append((time, text.decode(), self._digest))
        self._written += len(text)
        if self._snapshots is not None:
            assert not isinstance(fact, msgspec.Raw)
            self._facts.append((time, fact))

    def flush(self) -> None:
        """Commit what was appended, in one transaction.

        Where the file is gone or was overwritten, all is kept elsewhere, and `StudyError` says where; it also says
        where another process has written facts of its own.
        """
        with self._change:
            if self._pending:
                self._notice()
                try:
                    self._patiently(self._commit)
                except sqlite3.Error as error:
                    raise StudyError(f"{self.path} cannot be written: {error}") from None
                if self._count >= max(self._snapped + SNAPSHOT_AFTER, SNAPSHOT_GROWTH * self._snapped):
                    self._snap()

    def _snap(self) -> None:
        """Write a snapshot. If that fails nothing is lost: it is tried again when the log has grown."""
        if self._snapshots is None:
            return
        self._snapped = self._count
        if (given := self._snapshots.pieces()) is None:
            return
        known, *pieces = given[0], given[1], *given[2]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            database.keep_snapshot(self._connection, self._count, self._last, known, pieces)
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._snapshots.forget()
            if not isinstance(error, sqlite3.Error):
                raise
            logger.info("%s: no snapshot was written (%s); looking at it takes longer", self.path, error)
            return
        self._wrote(sum(map(len, pieces)))

    def _commit(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(database.INSERT, self._rows())
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if not isinstance(error, sqlite3.IntegrityError):
                raise
            self._drop_durable(error)
            self._commit()
            return
        first = self._count == 0
        self._durable(len(self._pending))
        if first:  # they are in the file itself, so that it is never taken for an empty one
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._watch.emptied()
            return
        self._wrote(0)

    def _wrote(self, bytes_: int) -> None:
        """A commit was made, of so many bytes beside the facts."""
        self._written += bytes_ + PAGE
        if self._written > self._room:
            with contextlib.suppress(sqlite3.Error):  # the facts are durable where they are: it is tried again
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._written = 0
            self._watch.note()

    def _rows(self) -> list[database.Row]:
        """What is pending, with the numbers that it will have: given, so that a second writer meets the first."""
        return [(number, *row) for number, row in enumerate(self._pending, start=self._count + 1)]

    def _durable(self, number: int) -> None:
        if number:
            self._count, self._last = self._count + number, self._pending[number - 1][2]
            del self._pending[:number]
            if self._snapshots is not None:
                self._snapshots.follow(self._facts[:number])
                del self._facts[:number]

    def _drop_durable(self, error: sqlite3.IntegrityError) -> None:
        """Take from what is pending what is in the file already: the last call was interrupted after its commit.

        Whatever else is there is another's: `StudyError`.
        """
        there = database.rows_after(self._connection, self._count)
        if there != self._rows()[: len(there)]:
            self._end(
                f"{self.path} was written by another process: fact {self._count + 1} is not from this one, which stops "
                f"here; {len(self._pending)} of its facts were not logged, but all earlier ones and the other's were"
            )
        if not there:
            raise error
        self._durable(len(there))

    def _notice(self, *, closing: bool = False) -> None:
        """If the file is no longer where or what it was, keep its facts in another one, and say so: `StudyError`."""
        assert self._hold is not None
        if not closing and self._watch.unchanged():
            return
        what = gone = self._hold.moved()
        if what is None and (what := self._watch.changed(self._count, self._last)) is None:
            return
        if gone is None:  # where the file is gone SQLite writes nothing as it closes, as it would here
            database.leave_open(self._connection)
        kept, why = None, ""
        for folder in (self.real.parent, Path(tempfile.gettempdir())):
            try:
                kept, number = self._rescued(folder)
                break
            except (StudyError, sqlite3.Error, OSError) as error:
                why = f"; its facts could not be kept in {folder}: {error}"
        if kept is None:
            raise StudyError(f"{self.path} {what} while it was driven{why}")
        trials = paths.trials_folder(self.real)
        along = f"mv {trials} {paths.trials_folder(kept)} && " if trials.is_dir() else ""
        count = self._count + len(self._pending)
        facts = f"all {count} of its facts" if number == count else f"the first {number} of its {count} facts"
        self._end(
            f"{self.path} {what} while it was driven: {facts} are now in {kept}; "
            f"continue with: {along}rungwise resume {kept}",
            closes=gone is not None,
        )

    def _rescued(self, folder: Path) -> tuple[Path, int]:
        """A new study file in `folder` with what can be read of the lost one, which is still open; and how many facts.

        What is pending comes behind it if nothing between them is missing.
        """
        if not folder.is_dir():
            raise StudyError(f"{folder} is gone")
        names = (folder / f"{self.real.name}.rescued{f'-{number}' if number else ''}" for number in count())
        path = next(
            name for name in names if not any(os.path.lexists(f"{name}{end}") for end in ("", "-wal", ".trials"))
        )
        facts = self._readable()
        if (first := next(facts, None)) is None:
            raise StudyError("none of them can be read anymore")
        saved = SQLiteLog(path, writable=True)
        number = 0
        try:
            for number, (time, fact) in enumerate(joined([first], facts), 1):
                saved.append(msgspec.Raw(fact), time)
                if number % 1000 == 0:
                    saved.flush()
            saved.sync()
            saved.flush()
        finally:
            saved.close()
        return path, number

    def _readable(self) -> Iterator[tuple[float, bytes]]:
        """The facts of a lost file up to the first that is missing; then, if none is, those that are pending.

        What was overwritten may still be in SQLite's memory, or in a `-wal` that has no name any more.
        """
        number = digest = 0
        next_digest = database.digest_of(self.version)
        with contextlib.suppress(sqlite3.Error, AttributeError, TypeError, ValueError, struct.error):
            while rows := database.rows_after(self._connection, number):
                for found, time, text, noted in rows:
                    fact = text.encode()
                    digest = next_digest(digest, time, fact)
                    if found != number + 1 or noted != digest:
                        return
                    number = found
                    yield time, fact
        if number == self._count:
            yield from ((time, text.encode()) for time, text, _ in self._pending)

    def _end(self, why: str, *, closes: bool = True) -> NoReturn:
        """Let go of the file for good: nothing can be appended from now on."""

        def refuse(fact: Fact | msgspec.Raw, time: float | None = None) -> NoReturn:
            raise StudyError(why)

        self.append = refuse  # type: ignore[method-assign]
        self._pending.clear()
        self._let_go(closes=closes)
        raise StudyError(why)

    def sync(self) -> None:
        """Wait for the disk at each commit from now on."""
        with self._change:
            self._connection.execute("PRAGMA synchronous = FULL")

    def close(self) -> None:
        """Close the file and let go of the lock; in a forked child, nothing."""
        if self._is_copy or not self._driving:
            return
        with self._change:
            if self._read:
                self._notice(closing=True)
                if self._count >= self._snapped + SNAPSHOT_AFTER:
                    self._snap()
            self._let_go()

    def _let_go(self, *, closes: bool = True) -> None:
        self._driving = False
        if closes and self._connection is not None:
            self._connection.close()
        if self._hold is not None:
            self._hold.let_go()  # after the connection: see `Hold`
            self._hold = None

    def _forked(self) -> None:
        """In a forked child: leave file and locks to the parent."""
        if not self._driving:
            return
        if self._hold is not None:
            self._hold.forget()
            self._hold = None
        database.leave_open(self._connection)


def salvage(path: Path, target: Path) -> tuple[int, str | None]:
    """Write the facts of the study `path`, up to the first that is damaged, to the new file `target`.

    How many there were, and what is wrong with the next one (None if nothing is). Raises `StudyError` if `target`
    exists, or if nothing of `path` can be read; `InputError` if `target` is a part of the study.
    """
    if paths.part_of(paths.real_path(paths.study_path(path)), paths.study_path(target)):
        raise InputError(f"{target} is a part of the study {path} itself; name a new file")
    if os.path.lexists(target):
        raise StudyError(f"{target} already exists; name a new file")
    saved, wrong = None, None
    number, facts = 0, SQLiteLog(path, writable=False).read()
    try:
        while True:
            try:
                time, fact = next(facts)
            except StopIteration:
                break
            except StudyError as error:
                wrong = str(error)
                break
            if saved is None:
                saved = SQLiteLog(target, writable=True)
            saved.append(fact, time)
            number += 1
            if number % 1000 == 0:
                saved.flush()
        if saved is None:
            raise StudyError(wrong or f"{path} holds no facts")
        saved.flush()
    finally:
        if saved is not None:
            saved.close()
    return number, wrong
