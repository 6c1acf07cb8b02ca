"""What is known of a trial and of the best one, what may be spent, how long did it run? Plain values: `study` decides.

Imports `events`, `metrics`, `errors`, `validation`, `reports`, `answers` and `checkpoints` only.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, final

import msgspec
import numpy as np

from rungwise import answers
from rungwise.checkpoints import Checkpoints
from rungwise.errors import InputError
from rungwise.events import Config, Job
from rungwise.metrics import Metrics
from rungwise.reports import Reports
from rungwise.validation import LARGEST_INTEGER, real, whole

as_config = msgspec.json.Decoder(dict[str, Any]).decode
as_json = msgspec.json.Encoder().encode


class TrialRecord(msgspec.Struct, gc=False, eq=False):
    """What is known of the trial `number`.

    * `config`: its configuration, stored in `json`. `metrics`: the metrics' names if there are several.
    * `job`: its running job, or None. `horizon`: how far the trial may ever be trained, as known when it started.
    * `attempts`: how often that job broke off. `broke_off`: the last reason. `broke_at`: how many jobs had ended by
      then (`blame.TOLD` if a run was given up with it).
    * `resource`: the highest reported. `score`: the score that counts there; NaN if it is not finite, None before the
      first report. `peak`: the resource at which that score was reported. `seconds_used`: the training time so far.
      `reports` and `seconds` hold all reports; they are stored in `all_reports`, shared by all trials.
    * `paused_at`: the last rung that it completed. `failure`: why it failed, or None.
    * `refit`: like `reports`, for jobs that trained the winner further (stored in `refit_reports`); `refit_failure`.
    """

    number: int
    json: bytes
    """Its configuration."""
    all_reports: Reports
    """Those of all trials of its study: of each the seconds of training since the one before, and its scores."""
    refit_reports: dict[int, float] | None = None
    resource: int = 0
    """The highest resource reported, refits aside."""
    score: Any = None
    """What counts there: the last report, or the best so far. nan if it is not finite; None before the first."""
    peak: int = 0
    """The resource at which that was reported."""
    paused_at: int = 0
    """The rung that it completed last."""
    horizon: int | None = None
    """How far it may ever be trained, as that was known when it was started: so all its jobs have it, if it holds."""
    job: Job | None = None
    """The job that is under way."""
    attempts: int = 0
    """How often that job broke off."""
    broke_at: int | None = None
    """How many jobs had come to their end when it did so last; `blame.TOLD` if a run was given up with it."""
    broke_off: str | None = None
    """Why it did so last."""
    failure: str | None = None
    refit_failure: str | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics where there are several; scores are then dicts."""
        return self.all_reports.names

    @property
    def config(self) -> Config:
        """The configuration: a copy, which may be changed."""
        return as_config(self.json)

    @property
    def reports(self) -> dict[int, Any]:
        """Resource -> the score there (nan where it was not finite)."""
        rows, names = self.all_reports.of(self.number), self.metrics
        if not names:
            return {row[0]: row[2] for row in rows}
        return {row[0]: dict(zip(names, row[2:], strict=True)) for row in rows}

    @property
    def seconds(self) -> dict[int, float]:
        """Resource -> the training time that it took to get there."""
        rows = self.all_reports.of(self.number)
        spent = accumulate(row[1] for row in rows)
        return {row[0]: seconds for row, seconds in zip(rows, spent, strict=True)}

    @property
    def seconds_used(self) -> float:
        """The training time that it took to get to `resource`."""
        return sum((row[1] for row in self.all_reports.of(self.number)), 0.0)

    @property
    def refit(self) -> dict[int, float]:
        """Like `reports`, for jobs that trained the winner on."""
        return self.refit_reports or {}

    @property
    def unreported(self) -> int:
        """What it trained after its last report, up to the rung that it completed last."""
        return max(0, self.paused_at - self.resource)

    @property
    def trained_to(self) -> int:
        """From where a refit goes on: how far it has been trained, at the end of a job or by a refit."""
        return max(self.refit, default=self.paused_at)

    @property
    def state(self) -> str:
        """One of "running", "failed" and "paused" (at a rung, from where it may be promoted)."""
        return "running" if self.job is not None else "failed" if self.failure is not None else "paused"

    @property
    def has_failed(self) -> bool:
        """Whether its last job failed, be it a refit."""
        return self.failure is not None or self.refit_failure is not None

    def __repr__(self) -> str:
        names = ("number", "state", "resource", "score", "config")
        told = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"TrialRecord({told})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TrialRecord) and all(getattr(self, name) == getattr(other, name) for name in _COMPARED)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def noted(self, job: Job) -> int:
        """The highest resource reported for `job`, or for those before it; a refit counts apart."""
        return max(self.refit, default=job.start) if job.refit else self.resource

    def add_refit(self, resource: int, score: float) -> None:
        """A report of a job that trains it on as the winner."""
        self.refit_reports = {**self.refit, resource: score}

    def losses_at(self, levels: Iterable[int], metrics: Metrics) -> list[tuple[float, ...]]:
        """The losses that count at each level: of the last report by then, or of the best; () before any."""
        reports = self.reports
        reported, counted = list(reports), list(accumulate(reports.values(), metrics.counted))
        places = [bisect_right(reported, level) for level in levels]
        return [metrics.losses(counted[place - 1]) if place else () for place in places]

    def refitted(self, metrics: Metrics) -> tuple[int | None, float | None, int | None]:
        """How far a refit has come, what counts there, and, where the best counts, the resource of the best so far."""
        counted, peak = self.score, self.peak
        for resource, score in self.refit.items():
            before, counted = counted, metrics.counted(counted, score)
            peak = peak if counted is before else resource
        end = max(self.refit, default=None)
        return end, None if end is None else counted, peak if metrics.best else None


_HIDDEN = {"json", "all_reports", "refit_reports"}
_TOLD = [name for name in TrialRecord.__struct_fields__ if name not in _HIDDEN]
_COMPARED = [*_TOLD, "config", "reports", "seconds", "refit"]


def to_take_back(records: Iterable[TrialRecord], wanted: Iterable[int] | None) -> list[int]:
    """The numbers of the `wanted` trials in order (None: of all that have failed), or `InputError` if one has not."""
    failed = [record.number for record in records if record.job is None and record.has_failed]
    if wanted is None:
        return failed
    numbers = sorted({whole(trial, "a trial's number") for trial in wanted})
    for trial in numbers:
        if trial not in failed:
            there = f"; those that have: {', '.join(map(str, failed[:20]))}" if failed else ""
            raise InputError(f"trial {trial} has not failed{there}")
    return numbers


def rung_results(records: Iterable[TrialRecord], levels: Iterable[int], metrics: Metrics) -> list[dict[str, Any]]:
    """What `Study.rung_results` gives, of trials that completed some of `levels`."""
    trials = []
    for record in records:
        completed = sorted(level for level in levels if level <= record.paused_at)
        results: list[list[Any]] = []
        for level, losses in zip(completed, record.losses_at(completed, metrics), strict=True):
            if losses:
                loss = losses if metrics.names else losses[0]
                results.append([level, loss if all(map(math.isfinite, losses)) else None])
        if record.failure is not None:
            results.append([record.paused_at + 1, None])
        if results:
            trials.append({"config": record.config, "results": results})
    return trials


class BestTrial(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """The answer of a study: the trial with the best finite score at the highest rung that has one.

    So it is in ASHA and PASHA. Under other schedulers trials come to a high rung untested: until 5 trials have
    completed it, its best must also have the best score of all rungs down to the first that 5 have completed. Among
    equals the higher rung wins. Whoever is chosen stands at the last rung that it completed.

    It is trial `number` with configuration `config` and its `score` at `resource`. `folder` is the trial's folder, or
    None if unknown; `study` is the study's id. `checkpoints` is the store of its checkpoints; None if they are in
    `folder`. With `score="best"`, `peak` is the resource at which the trial's best score was reported; otherwise it is
    None.

    Only results at a rung count; in a rung the earlier completion wins among equals. `refit_score` is the last score of
    the refit, at `refit_resource`. Without a refit it is None; if there was nothing to refit, as the trial had been
    trained that far, it is `score`. With `score="best"` it is the trial's best so far, never worse than `score`, and a
    trial whose curve got worse again is not refitted.
    """

    number: int
    config: Config
    score: float
    resource: int
    refit_score: float | None
    refit_resource: int | None
    folder: Path | None
    study: str = ""
    """The id of the study."""
    peak: int | None = None
    """With `score="best"`: the resource at which the trial's best score so far was reported; else None."""
    checkpoints: Any = None
    """The store of its `checkpoints`, or what the study's file says of it; None if they are in `folder`."""

    def load(self) -> Any:
        """The state in the newest checkpoint; None if the function saved none.

        With `score="best"` it is the state saved at `peak`. If none was saved there, it is the saved state with the
        best reported score; if that file is missing or damaged, it is the newest. The logger "rungwise" says so if the
        state is not the one at `peak`. Loading a pickle can run code: load only from studies that you trust.
        """
        if self.peak is None:
            return _state(self)
        return None if (kept := _kept(self)) is None else answers.best_state(kept, self.peak)

    @property
    def saved(self) -> int | None:
        """The resource of the state that `load` returns; None if the function saved none."""
        return None if (kept := _kept(self)) is None else answers.best_saved(kept)


class ParetoTrial(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """A trial on the Pareto front of a study with several metrics: no other trial at the highest rung dominates it.

    That is, none is at least as good in every metric and better in one. It is trial `number` with configuration
    `config`; `scores` maps each metric to the score at `resource`. `folder` is the trial's folder, or None if unknown;
    `study` is the study's id. `checkpoints` is the store of its checkpoints; None if they are in `folder`.
    """

    number: int
    config: Config
    scores: dict[str, float]
    resource: int
    folder: Path | None
    study: str = ""
    checkpoints: Any = None

    def load(self) -> Any:
        """The state in the newest checkpoint, as `BestTrial.load`."""
        return _state(self)


def _state(of: BestTrial | ParetoTrial) -> Any:
    return None if (kept := _kept(of)) is None else answers.newest_state(kept)


def _kept(of: BestTrial | ParetoTrial) -> Checkpoints | None:
    if of.folder is None:
        return None
    return answers.checkpoints_of(of.study, of.number, of.config, of.folder, of.checkpoints)


class Budget(msgspec.Struct, frozen=True):
    """Totals over the whole life of a study; None is no limit. `seconds` and `hours` are running time.

    Of `trainings`, full ones, and of `hours` a part is kept for the winner's refit (`afford`).
    """

    trials: int | None = None
    resource: int | None = None
    seconds: float | None = None
    target: float | None = None
    trainings: float | None = None
    hours: float | None = None

    @property
    def keeps(self) -> bool:
        """Whether a part is kept for the winner's refit."""
        return self.trainings is not None or self.hours is not None

    def changed(
        self,
        trials: int | None = None,
        resource: int | None = None,
        seconds: float | None = None,
        target: float | None = None,
        trainings: float | None = None,
        hours: float | None = None,
    ) -> Budget:
        """The same budget with the totals that are given."""
        for name, value in (("trials", trials), ("total_resource", resource)):
            if value is not None and whole(value, name) < 1:
                raise InputError(f"{name} must be 1 or more, not {value!r}; it is a total")
        if seconds is not None and real(seconds, "seconds") <= 0:
            raise InputError(f"seconds must be above 0, not {seconds!r}; it is a total")
        if trainings is not None and not 0 < real(trainings, "budget") <= LARGEST_INTEGER:
            raise InputError(f"budget must be above 0 and at most 9e15, not {trainings!r}; it counts full trainings")
        if hours is not None and real(hours, "hours") <= 0:
            raise InputError(f"hours must be above 0, not {hours!r}; it is a total")
        return Budget(
            self.trials if trials is None else whole(trials, "trials"),
            self.resource if resource is None else whole(resource, "total_resource"),
            self.seconds if seconds is None else real(seconds, "seconds"),
            self.target if target is None else real(target, "target"),
            self.trainings if trainings is None else real(trainings, "budget"),
            self.hours if hours is None else real(hours, "hours"),
        )


LONGEST_GAP = 3600.0
"""Seconds between two facts: if it is longer, and nothing else is told, the clock was set meanwhile."""
UNTOLD = 60.0
"""The same in a session that tells how long it has run, which it does every half a minute (`Ran`)."""


@final
class RunningTime:
    """For how long has a study been run? What its sessions told of it, and for the rest the time between facts."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._told = 0.0  # of those what this session and those before it told, or what was known when it began
        self._tells = False  # whether this session has told any

    def opened(self) -> None:
        """A session begins."""
        self._told, self._tells = self.seconds, False

    def told(self, seconds: float) -> None:
        """The session has run for `seconds` more; the time between facts since it told last is part of that."""
        self.seconds = self._told = self._told + seconds
        self._tells = True

    def between(self, before: float, time: float) -> None:
        """Two facts of one session were noted at these times (Unix seconds); the clock may have been set meanwhile."""
        self.seconds += min(max(0.0, time - before), UNTOLD if self._tells else LONGEST_GAP)

    def through(self, times: Sequence[float]) -> None:
        """`between` each two of `times` that stand beside each other, to the last bit."""
        gaps = np.clip(np.diff(times), 0.0, UNTOLD if self._tells else LONGEST_GAP)
        self.seconds = float(np.cumsum(np.append(self.seconds, gaps))[-1])
