"""Where else is a study's log? In numbered pieces in a bucket, from which another machine makes the file again.

SQLite must stay on a disk of the driver's own, so the file that a study at s3://BUCKET/PREFIX/NAME is driven through is
NAME in the current folder, and what is durable there is put into the bucket behind its back, a second or so later. Each
piece is put once, if its name is free. A driver's first piece, before its first fact, says only that it has come: an
earlier driver then finds the name of its next one taken, and stops. So the log there never has two ends.

May import what `sqlite` may, and `sqlite`.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import tempfile
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, final

import msgspec
from msgspec import Meta

from rungwise import database
from rungwise.errors import InputError
from rungwise.events import Fact
from rungwise.log import StudyError
from rungwise.paths import study_path
from rungwise.sqlite import Snapshots, SQLiteLog
from rungwise.store import SCHEMES, Store, as_store
from rungwise.words import shown

EVERY = 1.0  # seconds from one piece to the next, if there is anything new
AGAIN = 5.0  # seconds after a piece that could not be put: the store has tried for a while itself
AT_ONCE = 8  # pieces that are fetched together
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")

logger = logging.getLogger("rungwise")


class Piece(msgspec.Struct, frozen=True):
    """Some facts of a log: up to the one with number `facts`, whose digest is `digest`; (time, fact) is a row.

    `driver` says who has put it, for people.
    """

    driver: str
    facts: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    digest: int
    rows: list[tuple[float, str]] = []


@final
class Pieces:
    """The pieces of the log at `address`, which are in the store of what stands before its last slash.

    Raises `InputError` if that is no address of a study.
    """

    def __init__(self, address: str, store: Store | None = None) -> None:
        self.address = address
        self.place, _, self.name = address.rpartition("/")
        if self.place.endswith(":/") or not NAME.fullmatch(self.name):
            given = re.sub(r"(?<=//)[^/]*@|[?#].*", "…", address)  # what may be a password or a token
            raise InputError(f"a study is kept at an address like s3://BUCKET/PREFIX/study.db, not at {given!r}")
        self._store = as_store(self.place) if store is None else store
        self._driver = f"process {os.getpid()} on {platform.node()}"

    def count(self) -> int:
        """How many pieces there are; `StudyError` if one is missing."""
        found = sorted(self._store.list(self.name))
        for number, name in enumerate(found, 1):
            if name != self._named(number):
                raise StudyError(f"{self.address} is damaged: {self.place}/{self._named(number)} is missing")
        return len(found)

    def get(self, number: int) -> Piece:
        """The piece with this number, from 1 on; `StudyError` if it is none."""
        try:
            return msgspec.json.decode(self._store.load(self._named(number)), type=Piece)
        except (OSError, MemoryError, msgspec.MsgspecError) as error:  # not `Unreachable`, which may pass
            raise StudyError(
                f"{self.address} is damaged at {self._named(number)}: {shown(error) or 'it claims to be huge'}"
            ) from None

    def driver(self, number: int) -> str:
        """Who has put the piece with this number; whoever writes there may say anything."""
        return shown(self.get(number).driver)[:200]

    def put(self, number: int, facts: int, digest: int, rows: list[tuple[float, str]]) -> bool:
        """Put the next piece; False if there is one of another driver."""
        piece = Piece(self._driver, facts, digest, rows)
        return self._store.hold(self._named(number), msgspec.json.encode(piece), durable=True)

    def rows(self, until: int) -> Iterator[tuple[float, str, int]]:
        """(time, fact, digest) of all facts in the first `until` pieces, as they were written, or `StudyError`."""
        next_digest, count, digest = database.digest_of(database.SCHEMA_VERSION), 0, 0
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for number, piece in enumerate(pool.map(self.get, range(1, until + 1)), 1):
                for time, fact in piece.rows:
                    count, digest = count + 1, next_digest(digest, time, fact.encode())
                    yield time, fact, digest
                if (count, digest) != (piece.facts, piece.digest):
                    raise StudyError(f"{self.address} is damaged at {self._named(number)}: it is not what was written")

    def _named(self, number: int) -> str:
        return f"{self.name}/log.{number:08d}"


@final
class MirroredLog:
    """A log in the file `log`, of which all is put into `pieces` too; what the file lacks is taken from there first.

    With its first fact this driver becomes the one that puts the next piece. Raises `StudyError` if the file has other
    facts than the pieces.
    """

    def __init__(self, log: SQLiteLog, pieces: Pieces) -> None:
        self.path, self._log, self._pieces = log.path, log, pieces
        if log.version != database.SCHEMA_VERSION:
            raise StudyError(f"{log.path} has an earlier format; copy it with rungwise salvage, and use the copy")
        self._number = pieces.count()
        self._facts, self._digest = brought_up(log, pieces, self._number)
        self._process = os.getpid()
        self._news, self._closing = threading.Event(), threading.Event()
        self._ended: str | None = None  # why nothing is put any more
        self._thread: threading.Thread | None = None

    def _claim(self) -> None:
        if not self._pieces.put(self._number + 1, self._facts, self._digest, []):
            by = self._pieces.driver(self._number + 1)
            raise StudyError(f"{by} drives the study {self._pieces.address}: stop it there, and try again")
        self._number += 1
        self._thread = threading.Thread(target=self._put_all, name="rungwise-mirror", daemon=True)
        self._thread.start()

    def read(self, after: int = 0, digest: int | None = None) -> Iterator[tuple[float, Fact]]:
        """The durable facts but for the first `after`."""
        return self._log.read(after, digest)

    def append(self, fact: Fact) -> None:
        """Append a fact. At the first one, `StudyError` if another driver has put something since this one looked."""
        if self._thread is None:
            self._claim()
        self._log.append(fact)

    def flush(self) -> None:
        """Make what was appended durable, in the file. `StudyError` if another driver has taken over."""
        self._log.flush()
        self._news.set()
        if self._ended is not None and not self._closing.is_set():
            raise StudyError(self._ended)

    def sync(self) -> None:
        """Wait for the disk at each flush."""
        self._log.sync()

    def keep_snapshots(self, snapshots: Snapshots) -> None:
        """See `SQLiteLog`; they are in the file alone."""
        self._log.keep_snapshots(snapshots)

    def close(self) -> None:
        """Put what is left, and release the log; if that cannot be, say so: it is in the file. In a fork, nothing."""
        if os.getpid() == self._process and self._thread is not None:
            self._closing.set()
            self._news.set()
            self._thread.join()
        self._log.close()

    def _put_all(self) -> None:
        told = False
        while True:
            self._news.wait()
            self._news.clear()
            closing = self._closing.is_set()  # before it is read what there is
            try:
                while rows := self._log.rows_after(self._facts):
                    if not self._put(rows):
                        return
                    told = False
                    self._closing.wait(EVERY)
            except Exception as error:  # whatever it is: the facts are in the file, and it is tried again
                if closing or not told:
                    then = f"to put them there: rungwise resume {self._pieces.address}" if closing else "trying again"
                    logger.warning("the newest facts are in %s alone (%s); %s", self.path, error, then)
                told = True
                self._news.set()
                self._closing.wait(AGAIN)
            if closing:
                return

    def _put(self, rows: list[database.Row]) -> bool:
        facts, _, _, digest = rows[-1]
        if not self._pieces.put(self._number + 1, facts, digest, [(time, fact) for _, time, fact, _ in rows]):
            by = self._pieces.driver(self._number + 1)
            self._ended = (
                f"{by} has taken over the study {self._pieces.address}, and this driver stops; the facts that it "
                f"logged since are in {self.path} alone"
            )
            if self._closing.is_set():
                logger.warning("%s", self._ended)
            return False
        self._number, self._facts, self._digest = self._number + 1, facts, digest
        return True


def brought_up(log: SQLiteLog, pieces: Pieces, until: int) -> tuple[int, int]:
    """Append to `log` what only the first `until` pieces have: how many facts these are, and the digest of the last.

    Raises `StudyError` if the log has others in their place.
    """
    last = pieces.get(until) if until else Piece("", 0, 0)
    if not last.facts or _digest_at(log, last.facts) == last.digest:
        return last.facts, last.digest
    here = sum(1 for _ in log.read())
    for number, (time, fact, digest) in enumerate(pieces.rows(until), 1):
        if number == min(here, last.facts) and _digest_at(log, number) != digest:
            raise StudyError(
                f"{log.path} and {pieces.address} have come to differ: another driver went on with the study before "
                f"all facts in {log.path} were there; move that file and what is beside it away to go on from "
                f"{pieces.address} (nothing has been touched)"
            )
        if number > here:
            log.append(msgspec.Raw(fact.encode()), time)
            if number % 1000 == 0:
                log.flush()
    log.flush()
    return last.facts, last.digest


def _digest_at(log: SQLiteLog, number: int) -> int | None:
    rows = log.rows_after(number - 1)
    return rows[0][3] if rows else None


def is_address(path: object) -> bool:
    """Whether a study at `path` is in a bucket."""
    return isinstance(path, str) and path.partition("://")[0] in SCHEMES and "://" in path


def local(path: str | Path) -> Path:
    """The file through which the study at `path` is driven here: `path` itself, if it is no address."""
    return Path(Pieces(path).name) if isinstance(path, str) and is_address(path) else study_path(path)


def opened(path: str | Path, *, writable: bool, begins: bool = False) -> tuple[Path, SQLiteLog | MirroredLog]:
    """The file of the study at `path`, a file or an address, and its log; of one that is only looked at, a copy.

    Where there is none, `StudyError`, unless it `begins` one.
    """
    if not (isinstance(path, str) and is_address(path)):
        where = study_path(path)
        return where, SQLiteLog(where, writable=writable)
    pieces = Pieces(path)
    where, count = Path(pieces.name), pieces.count()  # now, before any file is made
    if not (begins or count or (writable and where.exists())):
        raise StudyError(f"there is no study {path}")
    if writable:
        log = SQLiteLog(where, writable=True)
        try:
            return where, MirroredLog(log, pieces)
        except BaseException:
            log.close()
            raise
    folder = tempfile.TemporaryDirectory(prefix="rungwise-")
    where = Path(folder.name, pieces.name)
    copy = SQLiteLog(where, writable=True)
    try:
        brought_up(copy, pieces, count)
    finally:
        copy.close()
    looked_at = SQLiteLog(where, writable=False)
    weakref.finalize(looked_at, folder.cleanup)
    return where, looked_at
