"""What is known of a trial, of the best one, and how much may be spent. Plain values: `study` decides and fills them.

Imports `events`, `names`, `values` and `checkpoints` only.
"""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import msgspec

from rungwise import checkpoints
from rungwise.events import Config, Job
from rungwise.names import InputError
from rungwise.values import real, whole


class TrialRecord(msgspec.Struct):
    """What is known of one trial.

    `refit` is like `reports`, for jobs that trained the winner on.
    """

    number: int
    config: Config
    refit: dict[int, float] = {}
    resource: int = 0
    """The highest resource reported, refits aside."""
    score: float | None = None
    """The score there (nan if it was not finite); None before the first report."""
    seconds_used: float = 0.0
    """The training time that it took to get there."""
    paused_at: int = 0
    """The rung that it completed last."""
    job: Job | None = None
    """The job that is under way."""
    attempts: int = 0
    """How often that job broke off."""
    failure: str | None = None
    refit_failure: str | None = None
    curve: array[float] = msgspec.field(default_factory=lambda: array("d"))
    """(resource, score, seconds), one after the other, for each report: 24 bytes, where a dict needs some 200."""

    @property
    def reports(self) -> dict[int, float]:
        """Resource -> the score there (nan where it was not finite)."""
        return dict(zip(map(int, self.curve[0::3]), self.curve[1::3], strict=True))

    @property
    def seconds(self) -> dict[int, float]:
        """Resource -> the training time that it took to get there."""
        return dict(zip(map(int, self.curve[0::3]), self.curve[2::3], strict=True))

    @property
    def state(self) -> str:
        """One of "running", "failed" and "paused" (at a rung, from where it may be promoted)."""
        return "running" if self.job is not None else "failed" if self.failure is not None else "paused"

    def noted(self, job: Job) -> int:
        """The highest resource reported for `job`, or for those before it; a refit counts apart."""
        return max(self.refit, default=job.start) if job.refit else self.resource

    def add(self, resource: int, score: float, seconds: float) -> None:
        """A report, `seconds` of training after the one before."""
        self.resource, self.score = resource, score
        self.seconds_used += seconds
        self.curve.extend((resource, score, self.seconds_used))


class Best(msgspec.Struct, frozen=True):
    """The answer of a study: the best finite score at the highest rung that has one.

    Only results at that rung count; among equals the earlier completion. `refit_score` is the last score
    of the refit, taken at `refit_resource`; None if there was none.
    """

    number: int
    config: Config
    score: float
    resource: int
    refit_score: float | None
    refit_resource: int | None
    folder: Path | None

    def load(self) -> Any:
        """The state in the newest checkpoint; None if the function saved none.

        It runs what the file says: load only from studies that you trust.
        """
        return None if self.folder is None else checkpoints.state_of(checkpoints.read(self.folder))


class Budget(msgspec.Struct, frozen=True):
    """Totals over the whole life of a study; None is no limit. `seconds` are of running time."""

    trials: int | None = None
    resource: int | None = None
    seconds: float | None = None
    target: float | None = None

    def changed(
        self,
        trials: int | None = None,
        resource: int | None = None,
        seconds: float | None = None,
        target: float | None = None,
    ) -> Budget:
        """The same budget with the totals that are given."""
        for name, value in (("trials", trials), ("resource", resource)):
            if value is not None and whole(value, name) < 1:
                raise InputError(f"{name} must be 1 or more, not {value!r}; it is a total")
        if seconds is not None and real(seconds, "seconds") <= 0:
            raise InputError(f"seconds must be above 0, not {seconds!r}; it is a total")
        return Budget(
            self.trials if trials is None else whole(trials, "trials"),
            self.resource if resource is None else whole(resource, "resource"),
            self.seconds if seconds is None else real(seconds, "seconds"),
            self.target if target is None else real(target, "target"),
        )
