"""What has been reported? The learning curves of all trials of a study, as columns in the order of the reports.

A report takes 24 bytes here, where a list of its own for each trial would need some 200 more a trial. What is written
stays as it is, so that a snapshot adds what is new. Imports nothing of ours.
"""

from __future__ import annotations

from array import array
from typing import final


@final
class Reports:
    """The reports of trials 0, 1, 2 …, each of which is begun before it reports.

    `scores` has `width` numbers a report, one after the other. `last` is the place of a trial's last report, `before`
    that of the one before it; -1: there is none.

    >>> reports = Reports(width=1)
    >>> reports.begin(), reports.begin()
    (None, None)
    >>> for trial, resource, score in ((0, 1, 0.5), (1, 1, 0.4), (0, 2, 0.3)):
    ...     reports.add(trial, resource, 1.0, score)
    >>> [(reports.resources[place], reports.scores[place]) for place in reports.of(0)]
    [(1, 0.5), (2, 0.3)]
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.resources: array[int] | array[float] = array("i")
        self.seconds = array("d")
        self.scores = array("d")
        self.before = array("i")
        self.last = array("i")  # by trial

    def __len__(self) -> int:
        return len(self.before)

    def begin(self) -> None:
        """The next trial, which has reported nothing yet."""
        self.last.append(-1)

    def add(self, trial: int, resource: int, seconds: float, score: float, *scores: float) -> None:
        """`trial` has these scores at `resource`, `seconds` of training after the report before."""
        last, before, spent = self.last, self.before, self.seconds
        try:
            self.resources.append(resource)
        except OverflowError:  # beyond 2**31: as exact as a number of that size can be
            self.resources = array("d", self.resources)
            self.resources.append(resource)
        at = last[trial]
        last[trial] = len(before)
        before.append(at)
        spent.append(spent[at] + seconds if at >= 0 else seconds)
        self.scores.append(score)
        if scores:
            self.scores.extend(scores)

    def of(self, trial: int) -> list[int]:
        """The places of the reports of `trial`, in their order."""
        places, place, before = [], self.last[trial], self.before
        while place >= 0:
            places.append(place)
            place = before[place]
        places.reverse()
        return places
