"""A study: scheduler, searcher and log, joined. It is what its log says, and nothing else.

Every change is a fact that is appended to the log and applied; opening a log applies its facts again, in
order, without deciding anything a second time. Scores become losses here and nowhere else: the scheduler
and the searcher minimise. May import everything below it; has no clock and starts no work.
"""

from __future__ import annotations

import copy
import math
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from rungwise import checkpoints, frames, peaks, replay, same_study, summary, turns
from rungwise import trust as trusted
from rungwise.blame import TOLD
from rungwise.core import Scheduler, as_scheduler
from rungwise.core.pareto import ParetoFront
from rungwise.events import (
    Answer,
    Completed,
    Config,
    Created,
    Excused,
    Extended,
    Fact,
    Failed,
    Job,
    Opened,
    Promote,
    Promoted,
    Raise,
    Raised,
    Ran,
    Refitted,
    Reported,
    Retried,
    Start,
    Started,
    TakenBack,
    Wait,
)
from rungwise.log import Log, MemoryLog, StudyError, undone
from rungwise.metrics import Metrics
from rungwise.names import InputError, our_names
from rungwise.paths import real_path, refuse_checkpoints, study_path, trials_of
from rungwise.records import Best, Budget, OnFront, RunningTime, TrialRecord, refusal, rung_results, to_take_back
from rungwise.search import Searcher, as_searcher
from rungwise.search.first import First
from rungwise.search.intake import checked, is_ours, own
from rungwise.space import Space, as_space
from rungwise.sqlite import SQLiteLog
from rungwise.values import as_score, copied, plain, whole
from rungwise.version import __version__
from rungwise.words import shown_lines


@turns.in_turn(
    looks=("close", "rows", "rungs", "rung_results", "dataframe", "explain", "keep_in", "facts", "begin", "forked")
)
class Study(turns.InTurn):
    """A study that you drive: `ask` for a job, train, `report`, and ask again.

    `space` is a `Space`, a dict of parameters, or one of ConfigSpace, Optuna or scipy; `scheduler` and
    `searcher` are names or objects; `mode` is "min" or "max"; configuration n is drawn with
    `numpy.random.default_rng([seed, n])`. With `path` the study lives in that file and is taken up from it if
    it is there: jobs that were running are given out again. A report is durable when
    `report` returns. `run` is noted in the log for whoever resumes it.

    With `score="best"` a trial's score at a resource is the best of its reports up to there, in place of the last one:
    for curves that get worse again, as those of boosting and fine-tuning do. All that is decided, and the answer,
    follows it; `trials[i].reports` are what was reported. It is for one metric.

    The configurations in `initial` are tried first. With `warm_start`, an earlier study or its file, of the same mode,
    its best configuration comes next, and the searcher is told its results; `Study.searcher.left_out` counts those of
    its configurations that do not fit this space. Both are kept in the new study's file.

    >>> import rungwise as rw
    >>> study = rw.Study({"x": rw.Float(0, 1)}, "asha", mode="min")
    >>> job = study.ask()
    >>> study.report(job.trial, job.until, (job.config["x"] - 0.3) ** 2)
    True
    >>> study.best.number
    0

    Raises `InputError` for arguments that cannot be, also when `path` holds a study of another space,
    scheduler, mode or seed; `StudyError` if the file cannot be used.
    """

    @our_names
    def __init__(
        self,
        space: Space | Mapping[str, Any],
        scheduler: Scheduler | str = "pasha",
        searcher: Searcher | str = "random",
        *,
        mode: str | Mapping[str, str] = "min",
        score: str = "last",
        seed: int = 0,
        initial: Sequence[Mapping[str, Any]] = (),
        warm_start: Study | str | Path | None = None,
        path: str | Path | None = None,
        run: dict[str, Any] | None = None,
    ) -> None:
        mode = dict(mode) if isinstance(mode, Mapping) else mode
        metrics = Metrics(mode, score)
        if whole(seed, "seed") < 0:
            raise InputError(f"seed must be 0 or more, not {seed!r}")
        space = as_space(space)
        scheduler = as_scheduler(scheduler)
        searcher_given, searcher = searcher, own(as_searcher(searcher, space))
        settings, leads = searcher.settings(), bool(initial) or warm_start is not None
        if leads:
            lead = First(space, points=initial, earlier=_earlier(warm_start, mode, score))
            settings = lead.settings() | {"searcher": settings}
        metrics.check(scheduler)
        created = Created(
            space.to_dict(),
            {"name": scheduler.name, **scheduler.settings()},
            settings,
            mode,
            whole(seed, "seed"),
            __version__,
            plain(run or {}, "what is noted of a run"),
            id=secrets.token_hex(8),
            score=score,
        )
        self._path = None if path is None else study_path(path)
        if path is not None:
            as_scheduler(created.scheduler)  # a file that nobody could open again must not be begun
        self._begin(MemoryLog() if self._path is None else SQLiteLog(self._path, writable=True), writable=True)
        try:
            facts = self._log.read()
            first = next(facts, None)
            if first is None:
                if leads:
                    searcher = as_searcher({**settings, "searcher": searcher}, space)
                self._set_up(created, space, scheduler, searcher)
                if self._folder is not None:
                    refuse_checkpoints(self._path, self._folder)
                self._log.append(created)
            else:
                found = same_study.agreed(self._path, created, first[1])
                if not isinstance(searcher_given, Searcher):  # the log's order of parameters is the one that counts
                    space = Space.from_dict(found.space)
                    with replay.at(self._path, 1, InputError):
                        searcher = as_searcher(found.searcher, space)
                elif leads:  # and so is what it says of an earlier study
                    searcher = as_searcher({**found.searcher, "searcher": searcher}, space)
                self._set_up(found, space, scheduler, searcher)
                self._replay(facts)
                self._note(Opened(__version__, created.run))
            self._log.flush()
        except BaseException:
            self._log.close()
            raise

    @staticmethod
    def open(path: str | Path, *, writable: bool = False, trust: bool | trusted.Ask = False) -> Study:
        """The study in the file `path`, to look at, or with `writable` to go on with.

        Looking imports and runs nothing that the file names, whoever wrote it; the study's `searcher` is then a
        stand-in that knows its settings and does not say when a grid is at its end. To go on with a study whose
        searcher names code, the path of a sampler or of a proxy, needs `trust=True`; or hand the searcher over:
        `rw.Study(space, …, searcher=…, path=path)`.

        Raises `StudyError` if the file cannot be used, `InputError` where trust is wanting.
        """
        study = Study.__new__(Study)
        ask = trust if callable(trust) else trusted.agreed if trust else trusted.refuse
        study._path = study_path(path)
        writable_file = writable and real_path(study._path).exists()
        study._begin(SQLiteLog(study._path, writable=writable_file), writable=writable)
        try:
            facts = study._log.read()
            first = next(facts, None)
            if first is None or not isinstance(first[1], Created):
                raise StudyError(f"{path} holds no study yet")
            created = first[1]
            parts = replay.made_of(created, study._path, ask if writable else None)
            with replay.at(study._path, 1, by=created.version):
                study._set_up(created, *parts)
            study._replay(facts)
            if writable:
                if names := trusted.runs(study.how):
                    ask(trusted.Named(study._path, created, names, study.how))
                study._note(Opened(__version__))
                study._log.flush()
        except BaseException:
            study._log.close()
            raise
        return study

    # -- being set up -------------------------------------------------------------------------------

    def _begin(self, log: Log, *, writable: bool) -> None:
        self._log = log
        self._writable = writable
        self._folder = None if self._path is None else trials_of(self._path)
        self.temporary: object = None  # what keeps a temporary folder alive
        self.restarted: dict[int, Job] = {}  # jobs seen to train again what was trained before them
        self.interrupted = False  # whether the last run of it was stopped by Ctrl-C
        self.begin()

    def _set_up(self, created: Created, space: Space, scheduler: Scheduler, searcher: Searcher) -> None:
        self.space, self.scheduler = space, scheduler
        self._created, self._untold = created, searcher  # as they were before anything was told, to begin anew from
        self.searcher, self._ours = own(searcher), is_ours(searcher)
        self.how_before = created.run  # how it was run before this session
        self._run_as(created.run)
        self.id = created.id  # what its checkpoints are known by
        self.mode, self.seed = created.mode, created.seed
        self.score = created.score
        self.metrics = Metrics(created.mode, created.score)
        self.trials: list[TrialRecord] = []
        self.budget = Budget()
        self.rises: list[Raised] = []
        self.resource_used = 0
        self.ended_well = 0  # jobs that came to their end
        self._time = RunningTime()
        self._results: dict[int, tuple[float, int]] = {}  # level -> best loss there and its trial
        self._several: dict[int, ParetoFront] = {}  # level -> where there are several metrics, the best there
        self._completed: dict[int, int] = {}  # level -> jobs that ended there
        self._running: dict[int, Job] = {}
        self._again: dict[int, Job] = {}  # to be given out once more, in this order
        self._shelved: dict[int, Job] = {}  # whose failure will have been taken back
        self.failures: list[tuple[int, str]] = []  # (trial, reason) in their order, refits too
        self._lowest = math.inf  # the least loss reported; where there is one metric
        self._tell(created)
        self._answer: Answer | None = None  # what the scheduler says until it is told something

    def _run_as(self, how: dict[str, Any]) -> None:
        self.how = how  # how it was run last
        wanted = how.get("refit")
        to = self.scheduler.max_resource if wanted is True else wanted
        self._refit_to = to if isinstance(to, int) and to > 0 else None

    def _next(self) -> Answer:
        if self._answer is None:
            self._answer = self.scheduler.ask()
        return self._answer

    def _decided(self) -> tuple[Answer, Config | None]:
        """What is next, and the configuration if it is a new trial, which there may not be."""
        answer = self._next()
        if not isinstance(answer, Start):
            return answer, None
        full = self.budget.trials is not None and len(self.trials) >= self.budget.trials
        config = None if full else self.searcher.propose([self.seed, len(self.trials)])
        return (answer, config) if config is not None else (self.scheduler.ask(more=False), None)

    def _replay(self, facts: Iterator[tuple[float, Fact]]) -> None:
        before: float | None = None
        for number, (time, fact) in enumerate(facts, start=2):
            if type(fact) is TakenBack:  # what follows was decided as if that failure had never been
                self._begin_anew()
                return
            before = self._replay_one(before, time, number, fact)

    def _replay_one(self, before: float | None, time: float, number: int, fact: Fact) -> float:
        """Apply `fact`, noted at `time`; the clock may have been set since the fact `before`."""
        if before is not None and type(fact) is not Opened:
            self._time.between(before, time)
        replay.apply(self, number, fact, self._apply)
        return time

    def _begin_anew(self) -> None:
        """Tell the whole log to a fresh scheduler and searcher, without the failures that were taken back."""
        with replay.at(self._path):
            never = undone(fact for _, fact in self._log.read())
        self._set_up(self._created, self.space, self.scheduler.up_to(self.scheduler.max_resource), self._untold)
        before: float | None = None
        for place, (time, fact) in enumerate(self._log.read()):
            if place in never:
                replay.apply(self, place + 1, fact, self._shelve)
            elif place:
                before = self._replay_one(before, time, place + 1, fact)

    def _shelve(self, fact: Fact) -> None:
        """The job failed, as it seemed then: nobody does it, and nobody is told."""
        assert isinstance(fact, Failed)
        self._shelved[fact.trial] = self._running.pop(fact.trial)
        self.trials[fact.trial].job = None
        self._again.pop(fact.trial, None)

    # -- asking and telling -------------------------------------------------------------------------

    def ask(self) -> Job | None:
        """The next job, now yours; None if there is none now (all is done, or others must report first)."""
        job = self.hand_out()
        self._log.flush()
        return job

    def report(self, trial: int, resource: int, score: object) -> bool:
        """`trial` scored `score` at `resource`; at the end of its job this completes it.

        False if this resource, or one beyond it, was reported before; such a report is ignored. A score
        that is not finite counts as the worst. Raises `InputError` if the trial is not running, if the
        resource is not within its job, or if the score is not one number.
        """
        job = self._job(trial)
        if not 0 < (resource := whole(resource, "resource")) <= job.until:
            raise InputError(
                f"trial {trial} reported at resource {resource}, its job goes from {job.start} to {job.until}"
            )
        taken = as_score(score)
        if (wrong := self.metrics.wrong(taken)) is not None:
            raise InputError(wrong)
        new = self._take(Reported(job.trial, resource, taken))
        if resource == job.until:
            self._take(Completed(job.trial))
        self._log.flush()
        return new

    def complete(self, trial: int) -> None:
        """The job of `trial` is at its end though its last report was before: training that reports every k.

        The last report is the score of the rung; with no report in this job, the job has failed.
        """
        self.take(Completed(self._job(trial).trial))
        self.flush()

    def fail(self, trial: int, reason: str = "failed") -> None:
        """Give up the job of `trial`: it completes its rung with the worst score."""
        self.take(Failed(self._job(trial).trial, shown_lines(reason)))
        self.flush()

    @our_names
    def extend(
        self,
        *,
        trials: int | None = None,
        resource: int | None = None,
        seconds: float | None = None,
        target: float | None = None,
    ) -> None:
        """Set the totals at which no more work is given out; those left out stay as they are.

        A study has no clock: `seconds` is kept by `tune` and `rungwise resume`, not by `ask`.
        """
        self.set_budget(self.budget.changed(trials, resource, seconds, target))

    def set_budget(self, budget: Budget) -> None:
        """Set all totals; None is no limit."""
        if budget.target is not None and self.metrics.names:
            raise InputError(
                f"target={budget.target!r} is for one metric; this study has {', '.join(self.metrics.names)}"
            )
        if budget != self.budget:
            self._note(Extended(budget.trials, budget.resource, budget.seconds, budget.target))
            self.flush()

    def _job(self, trial: int) -> Job:
        """The job of `trial` that is under way, or an `InputError`."""
        if not 0 <= (number := whole(trial, "a trial's number")) < len(self.trials):
            raise InputError(f"there is no trial {trial!r}; {len(self.trials)} have been started")
        if (job := self.trials[number].job) is None:
            raise InputError(f"trial {trial} is not running; ask() for a job first")
        return job

    # -- the same without a flush, for the loop ------------------------------------------------------

    def hand_out(self, *, again: bool = True) -> Job | None:
        """As `ask`, but durable only after `flush`; unless `again`, none that was given out before."""
        spent = self.spent
        if again and (job := self.give_again(lambda job: job.refit or not spent)) is not None:
            return job
        if spent:
            return None
        while isinstance(answer := self._next(), Raise):
            self._note(self.metrics.raised(answer))
        answer, config = self._decided()
        if isinstance(answer, Promote):
            self._note(Promoted(answer.trial, answer.until, answer.rank, answer.size))
            return _handed(self._running[answer.trial])
        if isinstance(answer, Start):
            number = len(self.trials)
            self._note(Started(number, checked(config, self.searcher, self.space), answer.until))
            return _handed(self._running[number])
        return None

    def give_again(self, which: Callable[[Job], bool]) -> Job | None:
        """The next job that was given out before, and that nobody does now, of those of which `which` is true."""
        for job in self._again.values():
            if which(job):
                del self._again[job.trial]
                return _handed(msgspec.structs.replace(job, reported=self.trials[job.trial].noted(job)))
        return None

    def put_back(self, trial: int) -> None:
        """The job of `trial` has paused, or broke off though nothing is wrong with it: nobody does it now."""
        self._again.setdefault(trial, self._running[trial])

    def refusal(self, fact: object) -> str | None:
        """Why the job that says `fact` has gone wrong by it; None if it has not."""
        return refusal(fact, self.trials, self.metrics) if isinstance(fact, Reported | Completed) else None

    def take(self, fact: Reported | Completed | Failed | Retried | Excused) -> bool:
        """Take what a worker says; False if it is nothing new. Durable only after `flush`."""
        return self._take(fact)

    def _take(self, fact: Reported | Completed | Failed | Retried | Excused) -> bool:
        """As `take`, where the lock is held already: to take it again for each report would cost a tenth of it."""
        record = self.trials[fact.trial]
        job = record.job
        if job is None:
            return False
        if isinstance(fact, Reported) and fact.resource <= record.noted(job):
            if fact.resource <= job.start and not job.refit:
                self.restarted[fact.trial] = job
            return False
        if isinstance(fact, Reported | Completed) and (wrong := refusal(fact, self.trials, self.metrics)) is not None:
            fact = Failed(fact.trial, wrong)
        self._note(fact)
        if isinstance(fact, Completed | Failed) and not job.refit and isinstance(answer := self._next(), Raise):
            self._note(self.metrics.raised(answer))
        return True

    def run_as(self, how: dict[str, Any]) -> None:
        """Note that it is run so from now on; none of its jobs has been taken up yet."""
        self._note(Opened(__version__, how))
        self._log.flush()

    def ran(self, seconds: float) -> None:
        """The session has run for `seconds` since this was said last, or since it began."""
        self._note(Ran(seconds))

    def retry_failed(self, trials: Iterable[int] | None = None) -> list[int]:
        """Take back the failures of `trials` (default: all that have failed): their jobs are given out again.

        The study is then as if they had never failed, and each goes on from its newest checkpoint. The numbers
        of the trials, in order. Raises `InputError` for a trial that has not failed.
        """
        wanted = to_take_back(self.trials, trials)
        if wanted:
            self._check_writable()
            again = list(self._again)
            for trial in wanted:
                self._log.append(TakenBack(trial))
            self._log.flush()
            self._begin_anew()
            self._again = {trial: self._running[trial] for trial in [*again, *wanted]}
        return wanted

    def refit(self, until: int | None = None) -> bool:
        """Have the best trial trained on to `until` (default: `max_resource`): the next `ask` gives that job.

        It stands outside rungs, ceiling and selection. False, and nothing to do, if the trial has been
        trained that far, or, with `score="best"`, if its curve has got worse again. Raises `InputError` if there is no
        `max_resource` and no `until`.
        """
        if self.metrics.names:
            raise InputError("a study of several metrics has no one best trial to refit; train one of study.front on")
        best = self.best
        until = self.scheduler.max_resource if until is None else whole(until, "the resource to refit to")
        if until is None:
            raise InputError("this study has no max_resource, so say how far to refit: refit=81 (a resource)")
        record = self.trials[best.number]
        if record.job is not None:
            if record.job.refit:
                return True
            raise InputError(f"trial {best.number} is running; let its job end before the refit")
        self._refit_to = until
        start = max(record.refit, default=record.paused_at)
        if until <= start or self._past_its_best(record):
            return False
        self._note(Refitted(best.number, start, until))
        self._give_again_last(best.number)
        self.flush()
        return True

    def _past_its_best(self, record: TrialRecord) -> bool:
        return self.metrics.best and peaks.peak_of(record, self.metrics) is not None

    @property
    def waiting(self) -> bool:
        """Whether there are jobs that were given out, broke off or were never begun, and are next."""
        return bool(self._again)

    def flush(self) -> None:
        """Make all facts noted so far durable."""
        self._log.flush()

    def sync(self) -> None:
        """From now on wait for the disk whenever something is noted, so that a power cut loses none of it."""
        self._log.sync()

    def forked(self) -> None:
        """In a forked child this is a copy, which says what was known at the fork."""
        self._writable = False

    def close(self) -> None:
        """Let go of the file. The study can still be read, no longer changed. In a forked child it does nothing."""
        try:
            if self._writable:
                self._log.flush()
        finally:
            self._writable = False
            self._log.close()

    @property
    def running_seconds(self) -> float:
        """For how long the study has been run, in seconds, as far as its log tells."""
        return self._time.seconds

    @property
    def under_way(self) -> int:
        """How many jobs are out: given out, and not back."""
        return len(self._running) - len(self._again)

    @property
    def target_reached(self) -> bool:
        """Whether a score as good as the target was reported."""
        target = self.budget.target
        return target is not None and self._lowest <= self.metrics.losses(target)  # type: ignore[operator]

    @property
    def spent(self) -> bool:
        """Whether the total of resource is used up, or the target reached."""
        budget = self.budget
        return self.target_reached or (budget.resource is not None and self.resource_used >= budget.resource)

    # -- facts -------------------------------------------------------------------------------------

    def _note(self, fact: Fact) -> None:
        self._check_writable()
        self._log.append(fact)
        self._apply(fact)

    def _check_writable(self) -> None:
        if not self._writable:
            raise StudyError(f"the study {self._path or 'in memory'} is closed; open it again to go on with it")

    def _apply(self, fact: Fact) -> None:
        """The one place where a fact changes anything, when it happens and when it is replayed."""
        if type(fact) is Reported:
            self._apply_report(fact)
        elif type(fact) is Completed or type(fact) is Failed:
            self._apply_end(fact)
        elif type(fact) is Started:
            record = TrialRecord(fact.trial, fact.config, self.metrics.names)
            self.trials.append(record)
            self._run(record, self._job_of(record, 0, fact.until), fact)
        elif type(fact) is Promoted:
            record = self.trials[fact.trial]
            self._run(record, self._job_of(record, record.paused_at, fact.until), fact)
        elif type(fact) is Raised:
            self.rises.append(fact)
            self._tell(fact)
        elif type(fact) is Retried:
            record = self.trials[fact.trial]
            record.attempts, record.broke_at, record.broke_off = record.attempts + 1, self.ended_well, fact.reason
            self._give_again_last(fact.trial)
        elif type(fact) is Excused:
            record = self.trials[fact.trial]
            record.attempts, record.broke_at = fact.attempts, TOLD if fact.given_up else self.ended_well
        elif type(fact) is TakenBack:
            record = self.trials[fact.trial]
            record.job = self._running[fact.trial] = self._shelved.pop(fact.trial)
            record.attempts, record.broke_off = 0, None
            self._give_again_last(fact.trial)
        elif type(fact) is Ran:
            self._time.told(fact.seconds)
        elif type(fact) is Refitted:
            record = self.trials[fact.trial]
            self._run(record, self._job_of(record, fact.start, fact.until, refit=True), fact)
        elif type(fact) is Extended:
            self.budget = Budget(fact.trials, fact.resource, fact.seconds, fact.target)
        elif type(fact) is Opened:
            self._again = dict(self._running)  # their driver is gone
            self.how_before = self.how
            self._run_as(fact.run or self.how)
            self._time.opened()
            self._tell(fact)

    def _job_of(self, record: TrialRecord, start: int, until: int, refit: bool = False) -> Job:
        mode = self.mode if isinstance(self.mode, str) else "min"  # of several there is no best
        return Job(record.number, record.config, start, until, refit, study=self.id, score=self.score, mode=mode)

    def _run(self, record: TrialRecord, job: Job, fact: Fact) -> None:
        record.job = self._running[job.trial] = job
        record.attempts, record.broke_at, record.broke_off, record.refit_failure = 0, None, None, None
        if not job.refit:
            self._tell(fact)

    def _apply_report(self, fact: Reported) -> None:
        record = self.trials[fact.trial]
        if record.job is not None and record.job.refit:
            record.refit[fact.resource] = math.nan if fact.score is None else fact.loss
            return
        self.resource_used += fact.resource - record.resource
        assert not isinstance(fact.score, tuple)
        before, peak = record.score, record.peak
        record.add(fact.resource, fact.score, fact.seconds)
        if (counted := self.metrics.counted(before, record.score)) is not record.score:
            record.score, record.peak = counted, peak
        loss = self.metrics.losses(record.score)
        if not self.metrics.names and loss < self._lowest:  # type: ignore[operator]
            self._lowest = loss  # type: ignore[assignment]
        self._tell(Reported(fact.trial, fact.resource, loss, fact.seconds))

    def _apply_end(self, fact: Completed | Failed) -> None:
        record = self.trials[fact.trial]
        job = self._running.pop(fact.trial)
        record.job = None
        self._again.pop(fact.trial, None)  # it may end though it had not been taken up again
        if isinstance(fact, Failed):
            self.failures.append((fact.trial, fact.reason))
        else:
            self.ended_well += 1
        if job.refit:
            record.refit_failure = fact.reason if isinstance(fact, Failed) else None
            return
        self._completed[job.until] = self._completed.get(job.until, 0) + 1
        if isinstance(fact, Failed):
            record.failure = fact.reason
        if isinstance(fact, Completed):
            loss = self.metrics.losses(record.score)
            if isinstance(loss, tuple):
                if all(map(math.isfinite, loss)):
                    self._several.setdefault(job.until, ParetoFront()).add(fact.trial, loss)
            elif math.isfinite(loss) and (job.until not in self._results or loss < self._results[job.until][0]):
                self._results[job.until] = loss, fact.trial  # only if better: ties go to the earlier one
            record.paused_at = job.until
        self._tell(fact)

    def _tell(self, fact: Fact) -> None:
        self._answer = None
        self.scheduler.tell(fact)
        self.searcher.tell(fact if self._ours or type(fact) is not Started else copy.deepcopy(fact))

    def _give_again_last(self, trial: int) -> None:
        self._again.pop(trial, None)
        self._again[trial] = self._running[trial]

    # -- what is known -----------------------------------------------------------------------------

    @property
    def running(self) -> list[Job]:
        """The jobs that are under way, in the order given out."""
        return [_handed(job) for job in self._running.values()]

    @property
    def finished(self) -> bool:
        """Whether nothing is running and no more work will be given out under the budget.

        A study that is only looked at does not know whether its grid is at its end.
        """
        if len(self._running) > (len(self._again) if self.spent else 0):
            return False
        if self.spent:
            return True
        return isinstance(self._decided()[0], Wait)

    @property
    def has_best(self) -> bool:
        """Whether any trial has completed a rung with a finite score, in each metric."""
        return bool(self._results or self._several)

    @property
    def winners(self) -> list[int]:
        """The numbers of the trials that the answer holds: the best one, or the Pareto front."""
        if not self._several:
            return [self._results[max(self._results)][1]] if self._results else []
        return self._several[max(self._several)].trials

    @property
    def front(self) -> list[OnFront]:
        """The answer of a study with several metrics: the Pareto front at the highest rung, in the order of completion.

        Raises `StudyError` where there is one metric, which has one `best`.
        """
        if not self.metrics.names:
            raise StudyError("this study has one metric: study.best is its answer")
        level = max(self._several, default=0)
        scores = {number: self.metrics.score(self._several[level].losses[number]) for number in self.winners}
        return [
            OnFront(number, self.trials[number].config, score, level, self._folder_of(number), study=self.id)
            for number, score in scores.items()
        ]

    @property
    def best(self) -> Best:
        """The chosen trial. Raises `StudyError` while no trial has completed a rung with a finite score."""
        if self.metrics.names:
            raise StudyError(f"this study has the metrics {', '.join(self.metrics.names)}: its answer is study.front")
        if not self._results:
            raise StudyError("no trial has completed a rung with a finite score yet")
        level = max(self._results)
        loss, number = self._results[level]
        record = self.trials[number]
        score = self.metrics.score(loss)
        refit, refit_score, peak = record.refitted(self.metrics)
        asked = refit is None and self._refit_to is not None and record.job is None
        if asked and (level >= self._refit_to or self._past_its_best(record)):  # type: ignore[operator]
            refit, refit_score = level, score  # there was nothing to train
        folder = self._folder_of(number)
        return Best(number, record.config, score, level, refit_score, refit, folder, study=self.id, peak=peak)

    def _folder_of(self, trial: int) -> Path | None:
        return None if self._folder is None else checkpoints.trial_folder(self._folder, trial)

    @property
    def folder(self) -> Path | None:
        """Where the trials' folders are."""
        return self._folder

    def keep_in(self, folder: Path, owner: object = None) -> None:
        """Put the trials' folders into `folder`; `owner` is kept alive as long as the study is."""
        self._folder, self.temporary = folder, owner

    @property
    def path(self) -> Path | None:
        """The file of the study; None in memory."""
        return self._path

    def facts(self) -> Iterator[tuple[float, Fact]]:
        """All facts that are durable, with the times at which they were noted (Unix seconds)."""
        for time, fact in self._log.read():
            yield time, copy.deepcopy(fact) if isinstance(fact, Created | Started) else fact

    def rungs(self) -> list[tuple[int, int, int, float | None]]:
        """A row a level that has results, from the top: level, completed, running to it, best score."""
        best = {level: self.metrics.score(loss) for level, (loss, _) in self._results.items()}
        return summary.rungs(self._completed, self._running.values(), best)

    def rows(self, *, reports: bool = False) -> list[dict[str, Any]]:
        """A dict a trial (with the score that counts: its last, or its best), or with `reports` one a report.

        Keys: trial, state, resource, score (score.NAME for each of several metrics), seconds, failure and
        refit_failure (with `reports` refit in their place), and config.NAME for each parameter that exists under the
        values of the others. A state is that of the record, but "waiting" for "running" where no process holds the
        study's file: whoever drove it was killed, or has ended.
        """
        return summary.rows(self, reports=reports)

    def rung_results(self, score: str | None = None) -> list[dict[str, Any]]:
        """A dict a trial that has ended a job: "config", and "results", [level, loss] at the rungs that it completed.

        A loss that is not finite is None; so is the last of a trial that failed. `score` is how to count, "last" or
        "best", if not as this study does.
        """
        metrics = self.metrics if score is None else Metrics(self.mode, score)
        return rung_results(self.trials, self._completed, metrics)

    def dataframe(self, *, reports: bool = False) -> Any:
        """`rows` as a pandas DataFrame; needs `pip install 'rungwise[frames]'`.

        A parameter that does not exist is NaN there; the choice None is None.
        """
        return frames.dataframe(self.rows(reports=reports), self.space)

    def explain(self) -> str:
        """Why the study stands where it stands: each rise of the ceiling, failures, the best trial."""
        return summary.story(self)


def _handed(job: Job) -> Job:
    """`job` for whoever trains it, who may change its configuration."""
    return msgspec.structs.replace(job, config=copied(job.config))


def _earlier(study: Study | str | Path | None, mode: str | dict[str, str], score: str) -> list[dict[str, Any]]:
    """What a warm start takes over from `study`, its scores counted as in the new study."""
    if study is None:
        return []
    if not isinstance(study, (Study, str, Path)):
        raise InputError(f"warm_start must be a study or the path of one, not {study!r}")
    if not isinstance(study, Study):
        study = Study.open(study)
        study.close()
    if study.mode != mode:
        raise InputError(f"the earlier study has mode {study.mode!r}, this one {mode!r}; its scores mean the opposite")
    return study.rung_results(score)
