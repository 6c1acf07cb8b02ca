"""How does a study stand? Its facts, folded one by one; no scheduler, no searcher and no file are needed for that.

Whoever watches a study keeps a `StudyState` and applies the facts that are new. Scores become losses here and
nowhere else. May import what stands below `study`.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from pathlib import Path
from typing import Any, final

import msgspec

from rungwise import peaks, recommendation, summary
from rungwise.blame import TOLD
from rungwise.core import SCHEDULERS, as_scheduler, ceilings
from rungwise.dominance import ParetoFront
from rungwise.errors import InputError
from rungwise.events import (
    Completed,
    Config,
    Created,
    Enqueued,
    Event,
    Excused,
    Extended,
    Fact,
    Failed,
    Job,
    Lengthened,
    Opened,
    Promoted,
    Raised,
    Ran,
    Refitted,
    Report,
    Reported,
    Result,
    Retried,
    Started,
    TakenBack,
)
from rungwise.folders import trial_folder
from rungwise.log import StudyError
from rungwise.metrics import Metrics
from rungwise.records import BestTrial, Budget, ParetoTrial, RunningTime, TrialRecord, as_config, as_json
from rungwise.reports import RECENT, Reports
from rungwise.space import Space


@final
class StudyState:
    """What the facts of a study say, from `created`, the first, to the last that was applied.

    `trials` holds a record a trial, `rises` the rises of the ceiling, `failures` (trial, reason) of those that were
    not taken back, in their order. `running` holds the jobs that are under way by trial, in the order given out;
    `again` those of them that nobody does now. `max_resource` is the most that the scheduler gives any trial, None
    without limit; `horizon` how far any may ever be trained, None if nobody has said. `folder` is where the trials'
    folders are. `spent` says whether the total of resource, or all of the full trainings, is used up, or the target
    reached.

    >>> state = StudyState(Created({"x": {"type": "float", "low": 0, "high": 1}}, {"name": "asha"}, {}, "max", 0, "1"))
    >>> for fact in (Started(0, {"x": 0.5}, 1), Reported(0, 1, 0.9), Completed(0)):
    ...     told = state.apply(fact)
    >>> state.best.number, state.rungs()
    (0, [(1, 1, 0, 0.9)])
    """

    def __init__(self, created: Created, space: Space | None = None, folder: Path | None = None) -> None:
        self.created = created
        self.space = Space.from_dict(created.space, tried=False) if space is None else space
        self.folder = folder
        self.store: Any = None  # where a run keeps the checkpoints, if not in the trials' folders
        self.metrics = Metrics(created.mode, created.score)
        self.trials: list[TrialRecord] = []
        names = self.metrics.names
        self.reports = Reports(1 + max(1, len(names)), names)
        self.budget = Budget()
        self.rises: list[Raised] = []
        self.failures: list[tuple[int, str]] = []
        self.resource_used = self.refit_used = self.repeated = 0
        self.unreported = 0  # which trials that are paused trained after their last report, up to their rung
        self.training_seconds = 0.0  # which that took, refits aside
        self.ended_well = 0  # jobs that came to their end
        self.running: dict[int, Job] = {}
        self.again: dict[int, Job] = {}
        self.queue: deque[Config] = deque()  # configurations that were asked for and not yet started
        self.completed: dict[int, int] = {}  # level -> jobs that ended there
        self.rated: dict[int, int] = {}  # level -> those of them with a finite result
        self.time = RunningTime()
        self.sessions = 0  # how often a driver took it up again
        most = created.scheduler.get("max_resource")
        self.max_resource = most if isinstance(most, int) else None
        self.how = self.how_before = created.run  # how it was run last, and before this session
        self.refit_asked: int | None = None  # how far to refit, where it was asked for in this session
        self.horizon = self._horizon()
        self.whole = True  # whether it is what its facts say: not where an error, or Ctrl-C, came between
        self._noted: float | None = None  # when the last fact was noted
        self._best: dict[int, Result] = {}  # level -> the best result there; where there is one metric
        self._fronts: dict[int, ParetoFront] = {}  # level -> where there are several metrics, the best there
        self._failed: dict[int, list[Job]] = {}  # trial -> its jobs that failed
        self.spent = self._may_be_spent = False
        self._lowest = math.inf  # the least loss reported; where there is one metric
        self._mode = created.mode if isinstance(created.mode, str) else "min"  # of several there is no best

    # -- what facts change -------------------------------------------------------------------------

    def apply(self, fact: Fact, time: float | None = None) -> Event | None:
        """Take the next fact; what scheduler and searcher are told of it, or None.

        `time` is when it was noted (Unix seconds), where a log is read: the time between two facts of a session
        counts as running time as long as the session has not said how long it ran.
        """
        if time is not None:
            if self._noted is not None and type(fact) is not Opened:
                self.time.between(self._noted, time)
            self._noted = time
        kind = type(fact)
        if kind is Reported:
            return self._report(fact)  # type: ignore[arg-type]
        if kind is Completed or kind is Failed:
            return self._end(fact)  # type: ignore[arg-type]
        if isinstance(fact, Started):
            record = TrialRecord(fact.trial, as_json(fact.config), self.reports, horizon=self.horizon)
            self.trials.append(record)
            if len(self.reports.recent) > RECENT:
                self.reports.pack()
            if self.queue:
                self.queue.popleft()
            self._give_out(record, fact.config, 0, fact.until)
            return fact
        if isinstance(fact, Promoted):
            record, self.repeated = self.trials[fact.trial], self.repeated + fact.repeats
            self._give_out(record, as_config(record.json), record.paused_at, fact.until)
            return fact
        if isinstance(fact, Refitted):
            self.refit_asked = fact.until
            record = self.trials[fact.trial]
            self._give_out(record, as_config(record.json), fact.start, fact.until, refit=True)
        elif isinstance(fact, Raised):
            self.rises.append(fact)
            return fact
        elif isinstance(fact, Lengthened):
            self.max_resource = fact.max_resource
            self.horizon = self._horizon()
            self.check_spent()
            return fact
        elif isinstance(fact, Retried):
            record = self.trials[fact.trial]
            record.attempts, record.broke_at, record.broke_off = record.attempts + 1, self.ended_well, fact.reason
            self.give_again_last(fact.trial)
        elif isinstance(fact, Excused):
            record = self.trials[fact.trial]
            record.attempts, record.broke_at = fact.attempts, TOLD if fact.given_up else self.ended_well
        elif isinstance(fact, TakenBack):
            self._take_back(fact.trial)
        elif isinstance(fact, Enqueued):
            self.queue.append(fact.config)
        elif isinstance(fact, Ran):
            self.time.told(fact.seconds)
        elif isinstance(fact, Extended):
            self.budget = Budget(*msgspec.structs.astuple(fact))
            self.check_spent()
        elif isinstance(fact, Opened):
            self.sessions += 1
            self.again = dict(self.running)  # their driver is gone
            where = {"checkpoints": self.how["checkpoints"]} if "checkpoints" in self.how else {}  # they do not move
            self.how_before, self.how = self.how, (where | fact.run) if fact.run else self.how
            self.refit_asked = None
            self.horizon = self._horizon()
            self.time.opened()
        return None

    def _give_out(self, record: TrialRecord, config: Config, start: int, until: int, *, refit: bool = False) -> None:
        created, mode = self.created, self._mode
        horizon = record.horizon if (record.horizon or 0) >= until else self.horizon
        if horizon is not None or refit:
            horizon = max(horizon or 0, until)  # a ceiling may rise beyond what was given, and a refit go further
        job = Job(
            record.number, config, start, until, refit, study=created.id, score=created.score, mode=mode,
            horizon=horizon,
        )  # fmt: skip
        record.job = self.running[record.number] = job
        if not refit:  # the reports of this job count it
            self.unreported -= record.unreported
        record.attempts, record.broke_at, record.broke_off, record.refit_failure = 0, None, None, None

    def _report(self, fact: Reported) -> Report | None:
        trial, resource, score = fact.trial, fact.resource, fact.score
        record, metrics, recent = self.trials[trial], self.metrics, self.reports.recent
        row: tuple[float, ...]
        now: Any
        if record.job is not None and record.job.refit:
            assert not isinstance(score, dict)
            self.refit_used += resource - record.noted(record.job)
            record.add_refit(resource, math.nan if score is None else score)
            return None
        if metrics.names:
            assert isinstance(score, dict)
            numbers = [math.nan if (number := score.get(name)) is None else number for name in metrics.names]
            losses, now = metrics.losses(score), dict(zip(metrics.names, numbers, strict=True))
            row = (resource, fact.seconds, *numbers)
        else:
            now = math.nan if score is None else score
            losses = (metrics.sign * now if math.isfinite(now) else math.inf,)
            row = (resource, fact.seconds, now)
        self.resource_used += resource - record.resource
        self.training_seconds += fact.seconds
        record.resource = resource
        if (rows := recent.get(trial)) is None:
            recent[trial] = [row]
        else:
            rows.append(row)
            if len(rows) > RECENT:
                self.reports.pack()
        if not metrics.best or record.score is None or losses < metrics.losses(record.score):
            record.score, record.peak = now, resource
        else:
            losses = metrics.losses(record.score)
        if losses[0] < self._lowest:
            self._lowest = losses[0]
        if self._may_be_spent:
            self.check_spent()
        return Report(trial, resource, losses)

    def _end(self, fact: Completed | Failed) -> Result | None:
        trial = fact.trial
        record, job = self.trials[trial], self.running.pop(trial)
        record.job = None
        self.again.pop(trial, None)  # it may end though it had not been taken up again
        failure = fact.reason if isinstance(fact, Failed) else None
        if failure is not None:
            self.failures.append((trial, failure))
            self._failed.setdefault(trial, []).append(job)
        else:
            self.ended_well += 1
        if job.refit:
            record.refit_failure = failure
            return None
        level = job.until
        self.completed[level] = self.completed.get(level, 0) + 1
        if failure is not None:
            record.failure = failure
            self.unreported += record.unreported
            return Result(trial, level, self.metrics.losses(None))
        score = record.score if record.resource > job.start else None  # no report in the job: as if it had failed
        if self.metrics.names or score is None or not math.isfinite(score):
            result = Result(trial, level, self.metrics.losses(score))
            if self.metrics.names and result.finite:
                self.rated[level] = self.rated.get(level, 0) + 1
                self._fronts.setdefault(level, ParetoFront()).add(trial, result.losses)
        else:
            self.rated[level] = self.rated.get(level, 0) + 1
            result = Result(trial, level, (self.metrics.sign * score,))
            if (best := self._best.get(level)) is None or result.losses < best.losses:
                self._best[level] = result  # only if better: ties go to the earlier one
        record.paused_at = level
        self.unreported += record.unreported
        if self._may_be_spent:
            self.check_spent()
        return result

    def _take_back(self, trial: int) -> None:
        """The last failure of `trial` has never been: its job is under way again, and nobody does it now."""
        record, job = self.trials[trial], self._failed[trial].pop()
        self.failures.remove(next(one for one in reversed(self.failures) if one[0] == trial))
        if job.refit:
            record.refit_failure = None
        else:
            record.failure = None
            self.unreported -= record.unreported
            self.completed[job.until] -= 1
            if not self.completed[job.until]:
                del self.completed[job.until]
        record.job = self.running[trial] = job
        record.attempts, record.broke_off = 0, None
        self.give_again_last(trial)

    def give_again_last(self, trial: int) -> None:
        """The job of `trial` is to be given out again, after all others that are."""
        self.again.pop(trial, None)
        self.again[trial] = self.running[trial]

    def has_failed(self, trial: int) -> bool:
        """Whether the last job of `trial` failed, and that was not taken back."""
        return bool(self._failed.get(trial)) and self.trials[trial].job is None and self.trials[trial].has_failed

    @property
    def refit_wanted(self) -> int | None:
        """How far the winner is to be trained at the end: as was said, else to `max_resource` if a budget pays for it.

        None: not at all, or there is no single winner.
        """
        wanted = self.how.get("refit")
        if wanted is None and self.budget.keeps and not self.metrics.names:
            wanted = True
        to = self.max_resource if wanted is True else wanted
        return to if isinstance(to, int) and to > 0 else None

    @property
    def refit_to(self) -> int | None:
        """How far the winner is to be trained, or was."""
        return self.refit_wanted if self.refit_asked is None else self.refit_asked

    def _horizon(self) -> int | None:
        """How far any trial may be trained, of what was said: the furthest; None if nothing was."""
        said = [self.max_resource, self.how.get("horizon"), self.refit_to]
        return max((to for to in said if isinstance(to, int) and to > 0), default=None)

    # -- what is known -----------------------------------------------------------------------------

    @property
    def ceilings(self) -> list[int] | None:
        """The highest level that is open in each bracket, as far as the rises tell; None if no ceiling can rise."""
        begun = self.created.ceilings
        if begun is None:  # begun by a version that did not note it
            scheduler = self.created.scheduler
            begun = []
            if not SCHEDULERS.is_foreign(scheduler.get("name")):
                with contextlib.suppress(InputError, TypeError):  # one that this version does not make
                    begun = [level for level, _ in ceilings(as_scheduler(scheduler))]
        if not begun and not self.rises:
            return None
        last = {fact.bracket: fact.until for fact in self.rises}
        return [last.get(bracket, level) for bracket, level in enumerate(begun)] or list(last.values())

    @property
    def open_level(self) -> int | None:
        """The most that any trial may get now; None without limit."""
        return self.max_resource if (ceilings := self.ceilings) is None else max(ceilings)

    @property
    def target_reached(self) -> bool:
        """Whether a score as good as the target was reported."""
        target = self.budget.target
        return target is not None and self._lowest <= self.metrics.loss(target)

    def check_spent(self) -> None:
        """Set `spent`."""
        total, units = self.budget.resource, self.total_units
        self._may_be_spent = not (total is None and units is None and self.budget.target is None)
        used_up = (total is not None and self.resource_used >= total) or (units is not None and self.trained >= units)
        self.spent = used_up or self.target_reached

    @property
    def trained(self) -> int:
        """The resource trained so far, refits included: as reported, and up to the rungs that were completed.

        What is trained again since its checkpoints were deleted counts twice, from when it is given out.
        """
        return self.resource_used + self.refit_used + self.unreported + self.repeated

    @property
    def total_units(self) -> int | None:
        """The total of full trainings in units of resource, rounded down; None if there is none."""
        trainings, full = self.budget.trainings, self.max_resource
        return None if trainings is None or full is None else math.floor(trainings * full + 1e-6)

    @property
    def under_way(self) -> int:
        """How many jobs are out: given out, and not back."""
        return len(self.running) - len(self.again)

    @property
    def has_best(self) -> bool:
        """Whether any trial has completed a rung with a finite score, in each metric."""
        return bool(self._best or self._fronts)

    @property
    def winners(self) -> list[int]:
        """The numbers of the trials that the answer holds: the best one, or the Pareto front."""
        if not self._fronts:
            return [] if (found := self._recommended) is None else [found.trial]
        return self._fronts[self.answer_level].trials

    @property
    def answer_level(self) -> int:
        """The lowest rung that the answer can be of; of a Pareto front its rung; 0 where there is none."""
        levels = recommendation.answering(self.rated, tested=self.answer_is_tested)
        if self._fronts and self.rated[levels[-1]] < recommendation.ENOUGH:
            return levels[0]  # no rung speaks for itself, and fronts of several are not compared
        return levels[-1] if levels else 0

    @property
    def may_win(self) -> set[int]:
        """The trials that may be the answer without another result of their own, now or after others' results."""
        if self.answer_is_tested:
            return set(self.winners)
        level = min(recommendation.answering(self.rated, tested=False), default=0)
        fronts = (front.trials for other, front in self._fronts.items() if other >= level)
        return {found.trial for other, found in self._best.items() if other >= level}.union(self.winners, *fronts)

    @property
    def answer_is_tested(self) -> bool:
        """Whether nobody comes to a rung but by being among the best below: the best at the highest is the answer."""
        return self.created.scheduler.get("name") in recommendation.TESTED

    @property
    def _recommended(self) -> Result | None:
        def stands(result: Result) -> bool:
            return self.trials[result.trial].paused_at <= result.level

        if not self._best:
            return None
        return recommendation.recommended(self._best, self.rated, tested=self.answer_is_tested, stands=stands)

    @property
    def front(self) -> list[ParetoTrial]:
        """The Pareto front at one rung, in the order of completion; `StudyError` where there is one metric."""
        if not self.metrics.names:
            raise StudyError("this study has one metric: study.best is its answer")
        level = self.answer_level
        scores = {number: self.metrics.score(self._fronts[level].losses[number]) for number in self.winners}
        return [
            ParetoTrial(
                number, self.trials[number].config, score, level, self.folder_of(number), self.created.id, self.kept_in
            )
            for number, score in scores.items()
        ]

    @property
    def best(self) -> BestTrial:
        """The chosen trial. Raises `StudyError` while no trial has completed a rung with a finite score."""
        if self.metrics.names:
            raise StudyError(f"this study has the metrics {', '.join(self.metrics.names)}: its answer is study.front")
        if (found := self._recommended) is None:
            raise StudyError("no trial has completed a rung with a finite score yet")
        number, level, record = found.trial, found.level, self.trials[found.trial]
        score = self.metrics.score(found.losses)
        refit, refit_score, peak = record.refitted(self.metrics)
        asked = None if refit is not None or record.job is not None else self.refit_to
        if asked is not None and (level >= asked or self.past_its_best(record)):
            refit, refit_score = level, score  # there was nothing to train
        folder, study = self.folder_of(number), self.created.id
        return BestTrial(number, record.config, score, level, refit_score, refit, folder, study, peak, self.kept_in)

    def past_its_best(self, record: TrialRecord) -> bool:
        """Whether, where the best report counts, the curve of a trial has got worse again."""
        return self.metrics.best and peaks.peak_of(record, self.metrics) is not None

    def folder_of(self, trial: int) -> Path | None:
        """The folder of `trial`; None if it is not known."""
        return None if self.folder is None else trial_folder(self.folder, trial)

    @property
    def kept_in(self) -> Any:
        """The store of the checkpoints, or what is noted of it; None if they are in the trials' folders."""
        return self.how.get("checkpoints") if self.store is None else self.store

    def rungs(self) -> list[tuple[int, int, int, float | None]]:
        """A row a level that has results, from the top: level, completed, running to it, best score."""
        best: dict[int, Any] = {level: self.metrics.score(found.losses) for level, found in self._best.items()}
        return summary.rungs(self.completed, self.running.values(), best)
