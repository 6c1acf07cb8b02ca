"""Which reports led to the newest state? They are kept with it, for a driver that did not live to note them.

The last ones stand in the head of each checkpoint. When there are more than `IN_HEAD`, they are put away in a piece of
their own, which the head then names: if every checkpoint repeated all reports, a function that saves at every step
would write the square of their number. A piece takes in the one before if that is not much larger, so that N reports
stand in some log(N / `IN_HEAD`) pieces, each of them once, and each was written a few times as often.

May import `events` and `checkpoints`.
"""

from __future__ import annotations

from typing import final

import msgspec

from rungwise.checkpoints import Checkpoints
from rungwise.events import Score
from rungwise.heads import Head, Reports

IN_HEAD = 64
FEWER = 4  # times fewer reports than in the piece before: if there are more, the two are made one
Report = tuple[int, Score | None, float]
"""Resource, score (None: not finite), and the seconds of training since the one before."""


@final
class History:
    """The reports of a trial up to the state that is saved next.

    >>> from rungwise.local_store import LocalStore
    >>> history = History(Checkpoints(LocalStore("folder"), "000003"))
    >>> history.add((1, 0.5, 0.1))
    >>> history.head(1).reports
    [(1, 0.5, 0.1)]
    """

    def __init__(self, kept: Checkpoints) -> None:
        self._kept = kept
        self._earlier: list[Reports] = []  # from the first reports to the last, and from the largest to the smallest
        self._last: list[Report] = []

    def add(self, report: Report) -> None:
        """One more."""
        self._last.append(report)

    @property
    def full(self) -> bool:
        """Whether it is time to `spill`."""
        return len(self._last) > IN_HEAD

    def spill(self) -> None:
        """Put the reports away; returns when they are durable. Only who holds the trial may do this."""
        lines, count = b"".join(msgspec.json.encode(report) + b"\n" for report in self._last), len(self._last)
        earlier = self._earlier[:]
        while (
            earlier
            and earlier[-1].count <= FEWER * count
            and (before := self._kept.reports_in(earlier[-1])) is not None
        ):
            lines, count = before + lines, earlier.pop().count + count
        self._earlier = [*earlier, self._kept.put_away(lines, count)]
        self._last = []

    def head(self, resource: int, score: float | None = None) -> Head:
        """The head of a checkpoint of the state after `resource`; with `score` if it is the best one too."""
        owner = self._kept.owner
        return Head(
            resource, self._last, study=owner.study, configuration=owner.configuration, score=score,
            earlier=self._earlier,
        )  # fmt: skip

    def go_on_from(self, head: Head) -> list[Report]:
        """Take up where the checkpoint with this `head` was saved; all the reports that led to it.

        Of a piece that is damaged, or gone, and of those before it, nothing is known.
        """
        self._earlier, self._last = [], list(head.reports)
        if head.journal:  # as it was written before there were pieces
            self._last[:0] = _DECODER.decode_lines(self._kept.old_reports(head) or b"")
            return self._last[:]
        reports: list[Report] = []
        for piece in head.earlier:
            lines = self._kept.reports_in(piece)
            if lines is None:
                self._earlier, reports = [], []
            else:
                self._earlier.append(piece)
                reports += _DECODER.decode_lines(lines)
        return [*reports, *self._last]


_DECODER: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)
