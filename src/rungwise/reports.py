"""What has been reported? The learning curves of all trials of a study, packed in the order of the reports.

A list for each trial would take some 200 bytes a trial more. What is written stays as it is, so that a snapshot adds
what is new. Imports nothing of ours.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from struct import Struct
from typing import Any, final


@final
class Reports:
    """The reports of trials, each a resource and `width` numbers.

    A row of `data` has these, eight bytes each, and the place of the trial's row before it. `last` is, by trial, the
    place of its last row; whoever begins a trial appends to it. -1: there is none. `names` are those of the metrics
    where there are several.

    >>> reports = Reports(width=1)
    >>> reports.last.extend([-1, -1])  # trials 0 and 1
    >>> for trial, resource, score in ((0, 1, 0.5), (1, 1, 0.4), (0, 2, 0.3)):
    ...     reports.add(trial, resource, score)
    >>> reports.of(0)
    [(1.0, 0.5, -1), (2.0, 0.3, 0)]
    """

    def __init__(self, width: int, names: tuple[str, ...] = ()) -> None:
        self.width, self.names = width, names
        row = Struct(f"<{1 + width}di")
        self.size, self._pack, self._unpack = row.size, row.pack, row.unpack_from
        self.data = bytearray()
        self.last = array("i")

    def __getstate__(self) -> tuple[Any, ...]:
        """All but how rows are packed, which cannot be pickled."""
        return self.width, self.names, self.data, self.last

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        Reports.__init__(self, *state[:2])
        self.data, self.last = state[2:]

    def __len__(self) -> int:
        return len(self.data) // self.size

    # Each way to add writes its row at once, so that no Ctrl-C comes between. To pass numbers on as one bundle of any
    # size would take half as long again: hence three.

    def add(self, trial: int, resource: int, number: float) -> None:
        """`trial`, which has begun, reports one number at `resource`."""
        data, last = self.data, self.last
        place = len(data) // self.size
        data += self._pack(resource, number, last[trial])
        last[trial] = place

    def add_two(self, trial: int, resource: int, first: float, second: float) -> None:
        """The same of two."""
        data, last = self.data, self.last
        place = len(data) // self.size
        data += self._pack(resource, first, second, last[trial])
        last[trial] = place

    def add_all(self, trial: int, resource: int, numbers: Sequence[float]) -> None:
        """The same of so many."""
        data, last = self.data, self.last
        place = len(data) // self.size
        data += self._pack(resource, *numbers, last[trial])
        last[trial] = place

    def at(self, place: int) -> tuple[Any, ...]:
        """The row at `place`: resource, numbers, and the place of the row before it."""
        return self._unpack(self.data, place * self.size)

    def of(self, trial: int) -> list[tuple[Any, ...]]:
        """The rows of `trial`, in their order."""
        rows, place = [], self.last[trial]
        unpack, data, size = self._unpack, self.data, self.size
        while place >= 0:
            row = unpack(data, place * size)
            rows.append(row)
            place = row[-1]
        rows.reverse()
        return rows
