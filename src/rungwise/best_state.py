"""Is this the state to keep? Under `score="best"`, the one of the best score among those that a trial has saved.

Imports `events`, `metrics` and `checkpoints` only.
"""

from __future__ import annotations

import math
from typing import final

from rungwise.checkpoints import Checkpoints
from rungwise.events import Job, Score
from rungwise.metrics import Metrics


@final
class BestState:
    """Follows the reports and saves of one job. `score` is that of the state at hand if it is to be kept, else None.

    A state is judged by the report at its own resource, whether that comes before the save or after it. Among equals
    the earlier one is kept. In a study with `score="last"` none is kept beside the newest.
    """

    def __init__(self, job: Job, kept: Checkpoints) -> None:
        self._metrics = Metrics(job.mode) if job.score == "best" else None
        self._checkpoints = kept
        self._kept: float | None = None  # the loss of the one that is kept; None: nobody has looked yet
        self._report: tuple[int, Score | None] = (0, None)
        self._saved = 0
        self.score: float | None = None

    def reported(self, resource: int, score: Score | None) -> bool:
        """Take a report; whether the state that was saved before it is one to keep."""
        self._report = resource, score
        return self._saved == resource and self._judge(resource)

    def saving(self, resource: int) -> None:
        """Look at the state of `resource`, which is about to be saved."""
        self._saved = resource
        self._judge(resource)

    def saved(self) -> None:
        """The state that was looked at last has been saved, and is kept if it is to be."""
        if self.score is not None:
            self._kept = self._loss(self.score)

    def _judge(self, resource: int) -> bool:
        at, score = self._report
        self.score = None
        if self._metrics is None or at != resource or not isinstance(score, float):
            return False
        loss = self._loss(score)
        if self._kept is None:
            head = self._checkpoints.best().head
            self._kept = math.inf if head is None or head.score is None else self._loss(head.score)
        if loss < self._kept:
            self.score = score
        return self.score is not None

    def _loss(self, score: float) -> float:
        assert self._metrics is not None
        return self._metrics.loss(score)
