"""How did a study stand when so many facts had been noted? Saved beside them, so that looking need not fold them all.

A snapshot holds what a `StudyState` is folded into: JSON, and columns of numbers for the reports. It is believed no
further than the facts are: it must be of a form, and of sizes, that facts could have led to, else they are folded. Who
drives a study needs all facts in any case, and writes the snapshots. May import what stands below `study`.
"""

from __future__ import annotations

import copy
import math
import zlib
from array import array
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, final

import msgspec
import numpy as np

from rungwise.dominance import ParetoFront
from rungwise.events import (
    Completed,
    Config,
    Created,
    Enqueued,
    Fact,
    Failed,
    Job,
    Opened,
    Promoted,
    Raised,
    Ran,
    Refitted,
    Reported,
    Result,
    Retried,
    Started,
    TakenBack,
)
from rungwise.records import Budget, TrialRecord, as_config
from rungwise.replay import misfit
from rungwise.reports import Reports
from rungwise.space import Space
from rungwise.state import StudyState

FORMAT = 2
PIECE = 2**24  # bytes of reports in a piece, or a little more


Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _Job(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    trial: Count
    start: Count
    until: Count
    refit: bool
    horizon: Count | None


class _Rare(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What most trials have not."""

    trial: Count
    attempts: Count
    broke_at: int | None
    broke_off: str | None
    failure: str | None
    refit_failure: str | None
    refit: list[tuple[Count, float | None]]


class _Piece(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """How many trials and reports a piece adds, and its CRC-32."""

    trials: Count
    reports: Count
    digest: Count


class _Stand(msgspec.Struct, forbid_unknown_fields=True):
    """How the study stood, but for configurations and reports."""

    format: int
    pieces: list[_Piece]
    last: list[int]
    """The place of the last report of each trial, -1 if it has none."""
    paused_at: list[Count]
    horizons: list[tuple[Count, Count | None]]
    """From which trial on they have which horizon."""
    peaks: list[Count]
    """Where the best report counts."""
    rare: list[_Rare]
    running: list[_Job]
    again: list[Count]
    failed: dict[Count, list[_Job]]
    failures: list[tuple[Count, str]]
    completed: dict[Count, Count]
    rated: dict[Count, Count]
    best: dict[Count, tuple[float, Count]]
    fronts: dict[Count, list[tuple[Count, tuple[float, ...]]]]
    """Those on it: no other ever comes back."""
    rises: list[Raised]
    queue: list[Config]
    budget: Budget
    resource_used: Count
    ended_well: Count
    lowest: float | None
    time: tuple[float, float, bool]
    noted: float | None
    sessions: Count
    how: dict[str, Any]
    how_before: dict[str, Any]
    refit_to: Count | None
    """Where it was asked for in the last session."""
    horizon: Count | None
    max_resource: Count | None
    refit_used: Count
    repeated: Count
    training_seconds: float


# -- writing ---------------------------------------------------------------------------------------


@final
class Snapshots:
    """Those of the study of which a driver keeps `state`, as who folds its facts would see it.

    The driver knows what no fact tells: which jobs it has given out again. And it has no clock, where looking adds up
    the times between facts. So both are followed here. Reports and configurations are in pieces, to which each
    snapshot adds.
    """

    def __init__(self, state: StudyState) -> None:
        self._state = state
        self._running, self._again = dict.fromkeys(state.running), dict.fromkeys(state.again)
        self._time, self._refit_asked = copy.copy(state.time), state.refit_asked
        self._times = array("d", [] if state._noted is None else [state._noted])  # not added up yet
        self._pieces: list[_Piece] = []

    def follow(self, facts: Sequence[tuple[float, Fact]]) -> None:
        """These were noted and are durable, each with its time (Unix seconds)."""
        for time, fact in facts:
            if type(fact) is Reported:  # nearly all
                self._times.append(time)
            else:
                self._follow(time, fact)

    def _follow(self, time: float, fact: Fact) -> None:
        if isinstance(fact, Opened):
            self._add_up()
            self._times[:] = array("d")  # nobody ran it meanwhile
        self._times.append(time)
        if isinstance(fact, Completed | Failed):
            self._running.pop(fact.trial, None)
            self._again.pop(fact.trial, None)
        elif isinstance(fact, Started | Promoted | Refitted | TakenBack):
            self._running[fact.trial] = None
            if isinstance(fact, Refitted):
                self._refit_asked = fact.until
        elif isinstance(fact, Opened):
            self._again, self._refit_asked = dict(self._running), None
            self._time.opened()
        elif isinstance(fact, Ran):
            self._add_up()
            self._time.told(fact.seconds)
        if isinstance(fact, Retried | TakenBack):
            self._again.pop(fact.trial, None)
            self._again[fact.trial] = None

    def _add_up(self) -> None:
        """The time between the facts since the last time, as `RunningTime.between` adds it."""
        self._time.through(self._times)
        del self._times[:-1]

    def pieces(self) -> tuple[int, bytes, list[bytes]] | None:
        """How many pieces there were, how the study stands, and the pieces to be added; None if it cannot be said."""
        if not self._state.whole:
            return None
        known = len(self._pieces)
        added = self._added()
        return known, msgspec.json.encode(self._stand()), added

    def forget(self) -> None:
        """What `pieces` gave was not kept: the next time all is given."""
        self._pieces.clear()

    def _added(self) -> list[bytes]:
        trials, reports = self._state.trials, self._state.reports
        first, start = sum(piece.trials for piece in self._pieces), sum(piece.reports for piece in self._pieces)
        step, pieces = max(1, PIECE // reports.size), []
        reports.pack()
        while first < len(trials) or start < reports.rows:
            rows, records = reports.data[start * reports.size :][: step * reports.size], trials[first : first + step]
            content = b"".join((rows, b"[", b",".join([record.json for record in records]), b"]"))
            pieces.append(content)
            self._pieces.append(_Piece(len(records), len(rows) // reports.size, zlib.crc32(content)))
            first, start = first + len(records), start + len(rows) // reports.size
        return pieces

    def _stand(self) -> _Stand:
        self._add_up()
        state, time = self._state, self._time
        return _Stand(
            format=FORMAT,
            pieces=self._pieces,
            last=[*state.reports.last, *[-1] * (len(state.trials) - len(state.reports.last))],
            paused_at=[record.paused_at for record in state.trials],
            horizons=_horizons(state.trials),
            peaks=[record.peak for record in state.trials] if state.metrics.best else [],
            rare=[_rare(record) for record in state.trials if _has_rare(record)],
            running=[_told(job) for job in state.running.values()],
            again=list(self._again),
            failed={trial: [_told(job) for job in jobs] for trial, jobs in state._failed.items() if jobs},
            failures=state.failures,
            completed=state.completed,
            rated=state.rated,
            best={level: (found.losses[0], found.trial) for level, found in state._best.items()},
            fronts={
                level: [(trial, front.losses[trial]) for trial in front.trials]
                for level, front in state._fronts.items()
            },
            rises=state.rises,
            queue=list(state.queue),
            budget=state.budget,
            resource_used=state.resource_used,
            refit_used=state.refit_used,
            repeated=state.repeated,
            training_seconds=state.training_seconds,
            ended_well=state.ended_well,
            lowest=state._lowest if math.isfinite(state._lowest) else None,
            time=(time.seconds, time._told, time._tells),
            noted=self._times[-1] if self._times else None,
            sessions=state.sessions,
            how=state.how,
            how_before=state.how_before,
            refit_to=self._refit_asked,
            horizon=state.horizon,
            max_resource=state.max_resource,
        )


def _horizons(trials: Sequence[TrialRecord]) -> list[tuple[int, int | None]]:
    found: list[tuple[int, int | None]] = []
    for record in trials:
        if not found or record.horizon != found[-1][1]:
            found.append((record.number, record.horizon))
    return found


def _told(job: Job) -> _Job:
    return _Job(job.trial, job.start, job.until, job.refit, job.horizon)


def _has_rare(record: TrialRecord) -> bool:
    return bool(
        record.attempts
        or record.broke_at is not None
        or record.broke_off is not None
        or record.failure is not None
        or record.refit_failure is not None
        or record.refit_reports
    )


def _rare(record: TrialRecord) -> _Rare:
    refit = [(resource, None if math.isnan(score) else score) for resource, score in record.refit.items()]
    return _Rare(
        record.number, record.attempts, record.broke_at, record.broke_off, record.failure, record.refit_failure, refit
    )


# -- reading ---------------------------------------------------------------------------------------


def restored(created: Created, folder: Path | None, content: bytes, pieces: Sequence[bytes]) -> StudyState:
    """The study as it stood; `ValueError`, or another of `replay.UNFIT`, if that is none that facts have led to."""
    try:
        stand = msgspec.json.decode(content, type=_Stand)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
    _require(stand.format == FORMAT, "it was written by another version")
    state = StudyState(created, Space.from_dict(created.space, tried=False), folder)
    configs = _restore_reports(state, stand, pieces)
    _restore_trials(state, stand, configs)
    _restore_rest(state, stand)
    return state


def _require(condition: object, what: str) -> None:
    if not condition:
        raise ValueError(what)


def _restore_reports(state: StudyState, stand: _Stand, pieces: Sequence[bytes]) -> list[bytes]:
    """Fill in the reports; the configurations as JSON."""
    reports, configs = state.reports, list[bytes]()
    _require(len(pieces) == len(stand.pieces), "it lacks pieces")
    for piece, content in zip(stand.pieces, pieces, strict=True):
        _require(zlib.crc32(content) == piece.digest, "a piece is not what was written")
        end, view = piece.reports * reports.size, memoryview(content)
        _require(end <= len(content), "a piece is too short")
        reports.data += view[:end]
        try:
            found = msgspec.json.decode(view[end:], type=list[msgspec.Raw])
        except msgspec.MsgspecError as error:
            raise ValueError(str(error)) from None
        _require(len(found) == piece.trials, "a piece has other trials")
        configs += map(bytes, found)
    reports.last.extend(stand.last)
    reports.rows = len(reports.data) // reports.size
    _require(len(configs) == len(stand.last) == len(stand.paused_at), "it lacks trials")
    _check(reports)
    return configs


def _check(reports: Reports) -> None:
    """Whether each report is of one trial, further than that before it, and its numbers are such."""
    row = np.dtype([("resource", "<f8"), ("numbers", "<f8", (reports.width,)), ("before", "<i4")])
    rows, last = np.frombuffer(bytes(reports.data), row), np.asarray(reports.last)
    before, resources, numbers = rows["before"], rows["resource"], rows["numbers"]
    _require(np.all(before >= -1) and np.all(before < np.arange(len(rows))), "a report comes before the one before it")
    _require(np.all(last >= -1) and np.all(last < len(rows)), "a trial has a report that there is not")
    owners = sum(np.bincount(named[named >= 0], minlength=len(rows)) for named in (before, last))
    _require(np.all(owners == 1), "a report is not of one trial")
    later = before >= 0
    _require(np.all(resources >= 1) and np.all(resources <= 2**53), "a report is at no resource")
    _require(np.all(resources[later] > resources[before[later]]), "a report is not beyond the one before it")
    _require(np.all(np.isfinite(numbers[:, 0])), "a report took no time that can be told")
    _require(not np.any(np.isinf(numbers)), "a score is infinite")


def _restore_trials(state: StudyState, stand: _Stand, configs: list[bytes]) -> None:
    reports, names, space, trials = state.reports, state.metrics.names, state.space, state.trials
    for number, (json, last, paused_at) in enumerate(zip(configs, stand.last, stand.paused_at, strict=True)):
        record = TrialRecord(number, json, reports, paused_at=paused_at)
        config = as_config(json)
        if not space.surely_has(config) and (wrong := space.misfit(config)) is not None:
            raise ValueError(wrong)
        if last >= 0:
            resource, _, *scores, _ = reports.at(last)
            record.resource = record.peak = int(resource)
            record.score = dict(zip(names, scores, strict=True)) if names else scores[0]
        trials.append(record)
    ends = [first for first, _ in stand.horizons[1:]] + [len(trials)]
    for (first, horizon), end in zip(stand.horizons, ends, strict=True):
        for record in trials[first:end]:
            record.horizon = horizon
    if state.metrics.best:
        _require(len(stand.peaks) == len(trials), "it lacks peaks")
        for record, peak in zip(trials, stand.peaks, strict=True):
            if record.peak != peak:
                record.peak, record.score = peak, record.reports[peak]
    for rare in stand.rare:
        record = trials[rare.trial]
        record.attempts, record.broke_at, record.broke_off = rare.attempts, rare.broke_at, rare.broke_off
        record.failure, record.refit_failure = rare.failure, rare.refit_failure
        for resource, score in rare.refit:
            record.add_refit(resource, math.nan if score is None else score)
    for job in (_job(state, each) for each in stand.running):
        _require(trials[job.trial].job is None, "a trial is running twice")
        trials[job.trial].job = state.running[job.trial] = job
    state.again = {trial: state.running[trial] for trial in stand.again}
    state._failed = {trial: [_job(state, told) for told in jobs] for trial, jobs in stand.failed.items()}


def _job(state: StudyState, told: _Job) -> Job:
    _require(told.start < told.until, "a job ends before it begins")
    created = state.created
    return Job(
        told.trial,
        state.trials[told.trial].config,
        told.start,
        told.until,
        told.refit,
        study=created.id,
        score=created.score,
        mode=state._mode,
        horizon=told.horizon,
    )


def _restore_rest(state: StudyState, stand: _Stand) -> None:
    count, several = len(state.trials), bool(state.metrics.names)
    _require(not (stand.best if several else stand.fronts), "it has another kind of answer")
    named = [trial for trial, _ in stand.failures] + [trial for _, trial in stand.best.values()] + [*stand.failed]
    named += [trial for front in stand.fronts.values() for trial, _ in front]
    _require(max(named, default=-1) < count, "it names a trial that there is not")
    answers = stand.fronts if several else stand.best
    _require(stand.rated.keys() == answers.keys() and all(stand.rated.values()), "a rung lacks its answer, or results")
    for fact in (*stand.rises, *map(Enqueued, stand.queue)):
        _require(misfit(state, fact) is None, "it has a rise, or a configuration, that cannot be")
    budget = stand.budget
    state.budget = Budget().changed(*msgspec.structs.astuple(budget))
    _require(not several or budget.target is None, "a target is for one metric")
    state.failures, state.completed, state.rises, state.queue = (
        stand.failures, stand.completed, stand.rises, deque(stand.queue),
    )  # fmt: skip
    state.resource_used, state.ended_well, state.sessions = stand.resource_used, stand.ended_well, stand.sessions
    state.refit_used, state.repeated, state.training_seconds = stand.refit_used, stand.repeated, stand.training_seconds
    paused = (record for record in state.trials if record.job is None or record.job.refit)
    state.unreported = sum(record.unreported for record in paused)
    state.time.seconds, state.time._told, state.time._tells = stand.time
    state._noted = stand.noted
    state.rated = stand.rated
    state._best = {level: Result(trial, level, (loss,)) for level, (loss, trial) in stand.best.items()}
    state._lowest = math.inf if stand.lowest is None else stand.lowest
    state.how, state.how_before = stand.how, stand.how_before
    state.refit_asked, state.horizon, state.max_resource = stand.refit_to, stand.horizon, stand.max_resource
    state.check_spent()
    for level, members in stand.fronts.items():
        front = state._fronts[level] = ParetoFront()
        for trial, losses in members:
            _require(len(losses) == len(state.metrics.names), "a front has other metrics")
            front.add(trial, losses)
        _require(front.trials == [trial for trial, _ in members], "a front is none")
    numbers = [loss for loss, _ in stand.best.values()]
    numbers += [*stand.time[:2], stand.training_seconds, stand.noted or 0.0, state._lowest]
    numbers += [loss for front in stand.fronts.values() for _, losses in front for loss in losses]
    _require(not any(map(math.isnan, numbers)) and min(stand.time[:2]) >= 0, "a number is none that can be")
