"""Learning curves of many configurations in one table."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rungwise.errors import InputError, our_names
from rungwise.metrics import Mode
from rungwise.study import Study
from rungwise.validation import whole


@final
class CurveTable:
    """Scores (and seconds) of configurations over resources.

    `scores` has the shape (configurations, resources); not finite means that the run diverged or that
    nothing was measured. `seconds` has the same shape and is cumulative: column j is the time from the
    start of training to resource j; without it each unit of resource takes one second. Column r - 1 is
    resource r, unless `resources` (increasing, 1 or more) names the columns. `mode` is "min" or "max".

    >>> table = CurveTable([[0.5, 0.7], [0.6, 0.65]], mode="max")
    >>> len(table), table.resources.tolist()
    (2, [1, 2])

    Raises `InputError` for shapes that do not fit, seconds that fall, and resources that do not increase.
    """

    @our_names()
    def __init__(
        self,
        scores: ArrayLike,
        seconds: ArrayLike | None = None,
        *,
        mode: Mode,
        resources: ArrayLike | None = None,
    ) -> None:
        self.scores = _array(scores, "scores")
        if self.scores.ndim != 2 or 0 in self.scores.shape:
            raise InputError(f"scores must be configurations × resources, not of shape {self.scores.shape}")
        if mode not in ("min", "max"):
            raise InputError(f"mode must be 'min' or 'max', not {mode!r}")
        self.mode = mode
        columns = self.scores.shape[1]
        given = range(1, columns + 1) if resources is None else np.atleast_1d(resources).tolist()
        self.resources: NDArray[np.int64] = np.array([whole(r, "a resource") for r in given])
        if self.resources.shape != (columns,) or self.resources[0] < 1 or (np.diff(self.resources) <= 0).any():
            raise InputError(f"resources must be {columns} increasing whole numbers from 1, not {resources!r}")
        if seconds is None:
            seconds = np.broadcast_to(self.resources, self.scores.shape)
        self.seconds = _array(seconds, "seconds")
        if self.seconds.shape != self.scores.shape:
            raise InputError(f"seconds have the shape {self.seconds.shape}, scores {self.scores.shape}")
        if not (np.diff(self.seconds, axis=1, prepend=0.0) >= 0).all():
            raise InputError("seconds must be cumulative: finite, from 0, never falling along a row")

    def __len__(self) -> int:
        return len(self.scores)

    @staticmethod
    def from_study(study: Study, up_to: int) -> CurveTable:
        """The curves of a study with one metric, as a table of resources 1 … `up_to`: row i is trial i.

        Past the end of a trial's training, and where it did not report, its last score is held, and time continues at
        the trial's own pace. This is a guess, good enough to estimate what another scheduler would have spent. Trials
        that never reported are rows without a finite score.
        """
        if isinstance(study.mode, dict):
            raise InputError(f"a table of curves has one metric, but this study has {', '.join(study.mode)}")
        scores = np.full((len(study.trials), up_to), np.nan)
        seconds = np.zeros_like(scores)
        for record in study.trials:
            pace = record.seconds_used / record.resource if record.resource else 0.0
            reports, times = record.reports, record.seconds
            score, time = np.nan, 0.0
            for resource in range(1, up_to + 1):
                score = reports.get(resource, score)
                time = max(times.get(resource, time + pace), time)
                scores[record.number, resource - 1], seconds[record.number, resource - 1] = score, time
        return CurveTable(scores, seconds, mode="max" if study.mode == "max" else "min")


def _array(values: ArrayLike, what: str) -> NDArray[np.float64]:
    try:
        return np.array(values, dtype=float)
    except (ValueError, TypeError) as error:
        raise InputError(f"{what} must be numbers, configurations × resources: {error}") from None
