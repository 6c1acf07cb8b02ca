"""Which reports led to the newest state? They are kept with it, for a driver that did not live to note them.

The last ones stand in the head of each checkpoint. When there are more than `IN_HEAD`, they are moved to the end of a
file beside it, of which the head then says how much is its own: if every checkpoint repeated all reports, a
function that saves at every step would write the square of their number. The file only grows, and what a
checkpoint names of it is on the disk before the checkpoint is; what stands behind that is of a save that broke off.

May import `events` and `checkpoints`.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import final

import msgspec

from rungwise.checkpoints import Head, Identity
from rungwise.events import Score

FILE = "checkpoint.reports"
IN_HEAD = 64
Report = tuple[int, Score | None, float]
"""Resource, score (None: not finite), and the seconds of training since the one before."""


@final
class History:
    """The reports of the trial in `folder` up to the state that is saved next.

    >>> history = History(Path("folder"))
    >>> history.add((1, 0.5, 0.1))
    >>> history.head(1, Identity())
    Head(resource=1, reports=[(1, 0.5, 0.1)], journal=0, checksum=0, study='', configuration='', score=None)
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._length = self._checksum = 0  # of that part of the file that is ours
        self._last: list[Report] = []

    def add(self, report: Report) -> None:
        """One more."""
        self._last.append(report)

    @property
    def full(self) -> bool:
        """Whether it is time to `spill`."""
        return len(self._last) > IN_HEAD

    def spill(self) -> None:
        """Move the reports to the file; returns when they are durable. Only who holds the folder may do this."""
        lines = b"".join(msgspec.json.encode(report) + b"\n" for report in self._last)
        with open(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+b") as file:
            file.truncate(self._length)  # what a save that broke off, or an earlier life of the trial, has left
            file.seek(self._length)
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        self._length += len(lines)
        self._checksum = zlib.crc32(lines, self._checksum)
        self._last = []

    def head(self, resource: int, owner: Identity, score: float | None = None) -> Head:
        """The head of a checkpoint of the state after `resource`; with `score` if it is the best one too."""
        return Head(resource, self._last, self._length, self._checksum, owner.study, owner.configuration, score)

    def go_on_from(self, head: Head) -> list[Report]:
        """Take up where the checkpoint with this `head` was saved; all the reports that led to it.

        If its part of the file is damaged, or gone, those in the head are all that is known.
        """
        self._length, self._checksum, self._last = 0, 0, list(head.reports)
        if not head.journal:
            return self._last[:]
        try:
            with self._file.open("rb") as file:
                own = file.read(head.journal)
        except OSError:
            own = b""
        if len(own) < head.journal or zlib.crc32(own) != head.checksum:
            return self._last[:]
        self._length, self._checksum = head.journal, head.checksum
        return [*_DECODER.decode_lines(own), *self._last]


_DECODER: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)
