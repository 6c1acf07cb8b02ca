"""What has been reported? The learning curves of all trials of a study, packed.

A list for each trial would take some 200 bytes a trial more, but is quicker to add to: so the latest rows are lists.
What is packed stays as it is, so that a snapshot adds what is new. Imports nothing of ours.
"""

from __future__ import annotations

from array import array
from struct import Struct
from typing import Any, final

RECENT = 512  # trials with rows that are not packed, or rows of one of them


@final
class Reports:
    """The reports of trials, each a resource and `width` numbers. `names` are those of the metrics if several.

    `recent` holds, by trial, the rows that are not packed. Whoever adds one appends it there, and calls `pack` when
    there are more than `RECENT`. So many `rows` are packed: `data` has their numbers, each with the place of
    the trial's row before it; `last` is, by trial, the place of its last row. -1: there is none. One thread adds; any
    may read.

    >>> reports = Reports(width=1)
    >>> for trial, resource, score in ((0, 1, 0.5), (1, 1, 0.4), (0, 2, 0.3)):
    ...     reports.recent.setdefault(trial, []).append((resource, score))
    >>> reports.of(0)
    [(1, 0.5), (2, 0.3)]
    >>> reports.pack()
    >>> reports.of(0), reports.rows
    ([(1, 0.5), (2, 0.3)], 3)
    """

    def __init__(self, width: int, names: tuple[str, ...] = ()) -> None:
        self.width, self.names = width, names
        row = Struct(f"<{1 + width}di")
        self.size, self._pack, self._unpack = row.size, row.pack, row.unpack_from
        self.recent: dict[int, list[tuple[float, ...]]] = {}
        self.data = bytearray()
        self.last = array("i")
        self.rows = 0

    def __getstate__(self) -> tuple[Any, ...]:
        """All but how rows are packed, which cannot be pickled."""
        return self.width, self.names, self.recent, self.data, self.last, self.rows

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        Reports.__init__(self, *state[:2])
        self.recent, self.data, self.last, self.rows = state[2:]

    def pack(self) -> None:
        """Pack what is recent. Whoever reads meanwhile, or interrupts it, finds all as it was before, or after."""
        if not self.recent:
            return
        data, last, row, pack = self.data, self.last[:], self.rows, self._pack
        del data[row * self.size :]  # of a try that was interrupted
        last.extend([-1] * (max(self.recent) + 1 - len(last)))
        for trial, rows in self.recent.items():
            before = last[trial]
            for numbers in rows:
                data += pack(*numbers, before)
                before, row = row, row + 1
            last[trial] = before
        vars(self).update(last=last, rows=row, recent={})  # one step

    def at(self, place: int) -> tuple[Any, ...]:
        """The packed row at `place`: resource, numbers, and the place of the row before it."""
        return self._unpack(self.data, place * self.size)

    def of(self, trial: int) -> list[tuple[Any, ...]]:
        """The rows of `trial`, in their order: resources and numbers."""
        while True:
            last, recent = self.last, list(self.recent.get(trial, ()))
            if last is self.last:  # nothing was packed meanwhile
                break
        rows, place = [], last[trial] if trial < len(last) else -1
        unpack, data, size = self._unpack, self.data, self.size
        while place >= 0:
            resource, *numbers, place = unpack(data, place * size)
            rows.append((int(resource), *numbers))
        rows.reverse()
        return rows + recent
