"""Is this the next fact that was written? Each one carries a digest of itself and of all before it."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn, Protocol

import msgspec

from rungwise.database import Row, digest_of
from rungwise.events import AnyFact, Fact
from rungwise.log import StudyError
from rungwise.version import __version__, is_newer, parts


class Source(Protocol):
    """Where rows come from."""

    @property
    def version(self) -> int:
        """The format of the file."""
        ...

    def rows_after(self, number: int) -> list[Row]:
        """The next facts after `number`; none if there are no more."""
        ...

    def size(self) -> int:
        """The bytes that the file has, all parts of it."""
        ...


class Chain:
    """The facts in `source` but for the first `after`; `count` and `digest` are those of what was read so far.

    A fact that is not what was written, or that cannot be, is a `StudyError`; so is another `digest` of those left out.
    """

    def __init__(self, path: Path, source: Source, after: int = 0, digest: int | None = None) -> None:
        self._path, self._source = path, source
        self._rescue = f"save the undamaged part with: rungwise salvage {path} NEW_FILE"
        self.count, self.digest, self._known = after, 0, digest

    def __iter__(self) -> Iterator[tuple[float, Fact]]:
        decode, encode = msgspec.json.Decoder(AnyFact).decode, msgspec.json.Encoder().encode
        size = 0
        try:
            self.digest = digest = self._digest_there()
            while rows := self._source.rows_after(self.count):
                next_digest = digest_of(self._source.version)
                for wanted, (number, time, text, noted) in enumerate(rows, self.count + 1):
                    self.count = wanted
                    try:
                        content = text.encode()
                        digest = next_digest(digest, time, content)
                        if number != wanted or noted != digest or not isfinite(time):
                            self._damaged("it is not what was written")
                        fact = decode(content)
                    except (
                        msgspec.MsgspecError,
                        AttributeError,
                        RecursionError,
                        TypeError,
                        ValueError,
                        struct.error,
                    ) as error:
                        self._refuse(text, error)
                    if encode(fact) != content:  # written by an older version, or by somebody who tells two stories
                        self._check_names(text)
                    size += len(content)
                    yield time, fact
                self.digest = digest
                if size > self._source.size():  # many rows may share one place in a file that was made for that
                    self._damaged("it says more than it can hold")
        except sqlite3.DatabaseError as error:
            self._broken(error)

    def check(self, at: int = 0) -> int:
        """Whether each fact is what was written, whatever it says; the digest of fact `at`, 0 if it is not there."""
        found = digest = 0
        try:
            while rows := self._source.rows_after(self.count):
                next_digest = digest_of(self._source.version)
                for wanted, (number, time, text, noted) in enumerate(rows, self.count + 1):
                    self.count = wanted
                    try:
                        digest = next_digest(digest, time, text.encode())
                    except (AttributeError, TypeError, ValueError, struct.error) as error:
                        self._refuse(text, error)
                    if number != wanted or noted != digest:
                        self._damaged("it is not what was written")
                    if wanted == at:
                        found = digest
        except sqlite3.DatabaseError as error:
            self._broken(error)
        return found

    def _broken(self, error: sqlite3.DatabaseError) -> NoReturn:
        raise StudyError(
            f"{self._path} is damaged after fact {self.count} ({' '.join(str(error).split())}); {self._rescue}"
        ) from None

    def _digest_there(self) -> int:
        """The digest of all facts up to the one to read on from."""
        if self.count == 0:
            return 0
        rows = self._source.rows_after(self.count - 1)
        if not rows or rows[0][0] != self.count or not isinstance(rows[0][3], int):
            raise StudyError(f"{self._path} has been replaced or changed: fact {self.count} is gone")
        if self._known not in (None, rows[0][3]):
            raise StudyError(f"{self._path} has been replaced or changed: fact {self.count} is different")
        return rows[0][3]

    def _damaged(self, why: str) -> NoReturn:
        raise StudyError(f"{self._path} is damaged at fact {self.count}: {why}; {self._rescue}")

    def _refuse(self, text: object, error: Exception) -> NoReturn:
        """Say why `text`, which is what was written, is no fact: a newer version knows it, or it is damaged."""
        if isinstance(error, msgspec.ValidationError) and isinstance(text, str):
            kind = _told(text).get("fact")
            known = isinstance(kind, str) and kind in _KINDS
            if (isinstance(kind, str) and not known) or "unknown field" in str(error):
                what = f"it says {str(kind)[:40]!r}" if not known else f"{kind!r}: {error}"
                raise StudyError(
                    f"{self._path} was written by a newer rungwise{self._newest(text)}: this one, {__version__}, does "
                    f"not know fact {self.count} ({what}); upgrade with: pip install -U rungwise"
                )
        raise StudyError(f"{self._path} is damaged at fact {self.count} ({error}); {self._rescue}") from None

    def _newest(self, text: str) -> str:
        """The newest version that a fact up to this one names, in brackets, if it is newer than this one."""
        texts, number = [text], 0
        while number < self.count and (rows := self._source.rows_after(number)):
            texts += [row[2] for row in rows[: self.count - number] if '"version"' in row[2]]
            number += len(rows)
        newest = max((str(_told(each).get("version")) for each in texts), key=parts)
        return f" ({newest})" if is_newer(newest) else ""

    def _check_names(self, text: str) -> None:
        def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            told: dict[str, Any] = {}
            for name, value in pairs:
                if name in told:
                    self._damaged(f"it says {name[:40]!r} twice")
                told[name] = value
            return told

        json.loads(text, object_pairs_hook=unique)


_KINDS = {kind.__struct_config__.tag for kind in Fact.__subclasses__()}


def _told(text: str) -> dict[str, Any]:
    """What a fact says, as far as it can be read; a fact that is refused may be anything."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
