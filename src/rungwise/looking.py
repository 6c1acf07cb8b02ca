"""How does a study stand that somebody else may drive? Its facts, folded from a snapshot on where there is one.

May import what `study` may.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import final

from rungwise import replay, snapshot
from rungwise.events import Created, Fact
from rungwise.observers import LOGGER
from rungwise.space import Space
from rungwise.sqlite import SQLiteLog
from rungwise.state import StudyState
from rungwise.words import shown


@final
class Looking:
    """The `state` of the study in `log`, whose first fact is `created`, before `facts`; the trials are in `folder`."""

    def __init__(
        self, log: SQLiteLog, created: Created, facts: Iterator[tuple[float, Fact]], folder: Path | None
    ) -> None:
        self._log = log
        saved = None
        try:
            if (saved := log.snapshot()) is not None:
                known, digest, stand, pieces = saved
                self.state = snapshot.restored(created, folder, stand, pieces)
        except replay.UNFIT as error:
            saved, why = None, shown(str(error)[:300])
            LOGGER.warning("%s has a snapshot that is ignored (%s): reading all facts", shown(str(log.path)), why)
        if saved is None:
            known = 1
            with replay.at(log.path, 1, by=created.version):
                self.state = StudyState(created, Space.from_dict(created.space, tried=False), folder)
        else:
            facts = log.read(known, digest)
        self._read_on(known, facts)

    def _read_on(self, known: int, facts: Iterator[tuple[float, Fact]]) -> None:
        """Fold `facts`, which come behind the first `known`."""
        digest = None
        try:
            for time, fact in facts:
                replay.apply(self._log.path, self.state, known + 1, fact, time)
                known += 1
            known, digest = self._log.ended
        finally:
            self._seen: tuple[int, int | None] = known, digest

    def refresh(self) -> int:
        """Take in what was noted since; how many facts that was."""
        known, digest = self._seen
        self._read_on(known, self._log.read(known, digest))
        return self._seen[0] - known
