"""A study: the door to its state, and to what decides in it. It is what its log says, and nothing else.

Here is what a user may say, one thread at a time; `known` has what a user may ask. Has no clock and starts no work.
May import everything below it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from rungwise import mirror, replay, same_study, snapshot, summary, turns
from rungwise import trust as trusted
from rungwise.conversion import as_space
from rungwise.core import Scheduler, SchedulerName, as_scheduler
from rungwise.decider import Decider, handed
from rungwise.errors import InputError, our_names
from rungwise.events import Completed, Created, Failed, Job, Reported
from rungwise.log import Log, MemoryLog, StudyError
from rungwise.looking import Looking
from rungwise.metrics import Counted, Metrics, Mode
from rungwise.observers import LOGGER
from rungwise.page import written
from rungwise.page.history import History
from rungwise.paths import real_path, refuse_checkpoints, study_path, trials_of
from rungwise.search import Searcher, SearcherName, as_searcher, settings_of
from rungwise.search.initial import InitialSearch
from rungwise.search.intake import own
from rungwise.space import Space
from rungwise.sqlite import SQLiteLog
from rungwise.state import StudyState
from rungwise.steered import Steered, check_longer
from rungwise.validation import as_score, whole
from rungwise.words import shown_lines

logger = logging.getLogger("rungwise")


@turns.in_turn(looks=("close",))
class Study(Steered):
    """A study that you drive: `ask` for a job, train, `report`, and ask again.

    `space` is a `Space`, a dict of parameters, or a space from ConfigSpace, Optuna, or scipy. `scheduler` and
    `searcher` are names or objects. `mode` is "min" or "max", or a dict of these for several metrics. Configuration n
    is drawn with `numpy.random.default_rng([seed, n])`. With `path` the study is kept in that file (or in a `log` of
    your own). If the file exists, its study resumes, and jobs that were running are given out again. A report is
    durable when `report` returns. `run` is stored in the log for `rungwise resume`. If `path` is an address such as
    "s3://bucket/prefix/study.db", the file is `study.db` in the current folder, and its log is copied there.

    With `score="best"`, a trial's score at a resource is the best of its reports so far instead of the last. Use it for
    curves that get worse again, as in boosting and fine-tuning. All decisions and the answer follow this score;
    `trials[i].reports` still holds every report. It needs a single metric.

    `interrupted` says whether Ctrl-C stopped the study's last run.

    The configurations in `initial` are tried first. `warm_start` is an earlier study of the same mode, or its file: its
    best configuration is tried next, and the searcher is told its results. `Study.searcher.left_out` counts its
    configurations that do not fit this space. Both are stored in the new study's file.

    >>> import rungwise as rw
    >>> study = rw.Study({"x": rw.Float(0, 1)}, "asha", mode="min")
    >>> job = study.ask()
    >>> study.report(job.trial, job.until, (job.config["x"] - 0.3) ** 2)
    True
    >>> study.best.number
    0

    Raises `InputError` for invalid arguments, also if `path` holds a study with another space, scheduler, searcher,
    mode, score, or seed. Raises `StudyError` if the file cannot be used.
    """

    @our_names()
    def __init__(
        self,
        space: Space | Mapping[str, Any],
        scheduler: Scheduler | SchedulerName | str | same_study.Unnamed = "pasha",
        searcher: Searcher | SearcherName | str = "random",
        *,
        mode: Mode | Mapping[str, Mode] = "min",
        score: Counted = "last",
        seed: int = 0,
        initial: Sequence[Mapping[str, Any]] = (),
        warm_start: Study | str | Path | None = None,
        path: str | Path | None = None,
        log: Log | None = None,
        run: dict[str, Any] | None = None,
    ) -> None:
        if path is not None and log is not None:
            raise InputError("give either path= or log=, not both")
        modes: str | dict[str, str] = {**mode} if isinstance(mode, Mapping) else mode
        Metrics(modes, score)  # which says what is wrong with them
        space, asked = as_space(space), scheduler
        scheduler = scheduler.made() if isinstance(scheduler, same_study.Unnamed) else as_scheduler(scheduler)
        searcher_given, searcher = searcher, own(as_searcher(searcher, space))
        settings, leads = settings_of(searcher), bool(initial) or warm_start is not None
        if leads:
            lead = InitialSearch(space, points=initial, earlier=_earlier(warm_start, modes, score))
            settings = settings_of(lead) | {"searcher": settings}
        wanted = partial(same_study.wanted, space, score=score, seed=seed, run=run)
        created = wanted(scheduler, searcher, settings, modes)
        where = None
        if path is not None:
            where, log = mirror.opened(path, writable=True, begins=True)
        log = MemoryLog() if log is None else log
        self._begin(log, where, path)
        try:
            facts = log.read()
            first = next(facts, None)
            if first is None:
                if leads:
                    searcher = as_searcher({**settings, "searcher": searcher}, space)
                self._set_up(created, space, scheduler, searcher)
                if self._folder is not None:
                    refuse_checkpoints(where, self._folder)
                log.append(created)
                self._keep_snapshots()
                log.flush()
            else:
                if isinstance(asked, same_study.Unnamed):
                    scheduler = asked.made(first[1])
                    created = wanted(scheduler, searcher, settings, modes)
                found = same_study.agreed(log.path, created, first[1])
                if not isinstance(searcher_given, Searcher):  # the log's order of parameters is the one that counts
                    space = Space.from_dict(found.space)
                    with replay.at(log.path, 1, InputError):
                        searcher = as_searcher(found.searcher, space)
                elif leads:  # and so is what it says of an earlier study
                    searcher = as_searcher({**found.searcher, "searcher": searcher}, space)
                self._set_up(found, space, same_study.as_it_began(scheduler, found), searcher)
                self._deciding.follow(facts)
                stays = isinstance(asked, same_study.Unnamed) and "max_resource" not in asked.said
                raised = not stays and self._raised(scheduler)  # what it was raised to stays, unless something is said
                self._keep_snapshots()
                self._deciding.opened(created.run)
                if raised:
                    self.raise_max_resource(scheduler.max_resource)
        except BaseException:
            log.close()
            raise

    @staticmethod
    def open(path: str | Path, *, writable: bool = False, trust: bool | trusted.Ask = False) -> Study:
        """Open the study in the file `path` to look at it, or with `writable` to resume it.

        Looking imports and runs nothing that the file names, whoever wrote the file. The study's `searcher` is then a
        stand-in that knows its settings but not whether a grid has been used up. If the searcher names code (the path
        of a sampler or a proxy), resuming needs `trust=True`; or pass the searcher yourself:
        `rw.Study(space, …, searcher=…, path=path)`.

        Raises `StudyError` if the file cannot be used, and `InputError` if it needs your trust.
        """
        study = Study.__new__(Study)
        ask = trust if callable(trust) else trusted.agreed if trust else trusted.refuse
        drives = writable and (mirror.is_address(path) or real_path(study_path(path)).exists())
        where, log = mirror.opened(path, writable=drives)
        study._begin(log, where, path)
        try:
            facts = log.read()
            first = next(facts, None)
            if first is None or not isinstance(first[1], Created):
                raise StudyError(f"{path} holds no study yet")
            created = first[1]
            if not writable:
                study._looks = Looking(cast("SQLiteLog", log), created, facts, study._folder)
                study._state = study._looks.state
                return study
            parts = replay.made_of(created, where, ask)
            with replay.at(where, 1, by=created.version):
                study._set_up(created, *parts)
            study._deciding.follow(facts)
            study._keep_snapshots()
            if names := trusted.runs(study.state.how):
                ask(trusted.Named(where, created, names, study.state.how))
            study._deciding.opened()
        except BaseException:
            log.close()
            raise
        return study

    def _begin(self, log: Log, path: Path | None, given: str | Path | None) -> None:
        self._log, self._address = log, given if isinstance(given, str) and mirror.is_address(given) else None
        self._decides: Decider | None = None
        self._looks: Looking | None = None  # where it is looked at
        self._folder = None if path is None else trials_of(path)
        self.interrupted = False
        """Whether Ctrl-C stopped the study's last run."""
        self._own()

    def _set_up(self, created: Created, space: Space, scheduler: Scheduler, searcher: Searcher) -> None:
        self._state = StudyState(created, space, self._folder)
        self._decides = Decider(self._state, self._log, scheduler, searcher)

    def _raised(self, wanted: Scheduler) -> bool:
        """Whether the study is to go on up to the `max_resource` of `wanted`; `InputError` if it cannot."""
        scheduler, most = self._deciding.scheduler, wanted.max_resource
        if most == (now := scheduler.max_resource):
            return False
        if most is None:
            LOGGER.warning("max_resource stays %s, as in this study; study.raise_max_resource(None) removes it", now)
            return False
        check_longer(scheduler, most)
        LOGGER.warning("max_resource was raised from %s to %s", now, most)
        return True

    def refresh(self) -> int:
        """Read the facts that were added since a study was opened to look at it; return how many.

        This takes one to four microseconds per fact. A study that you drive is always up to date: 0.

        >>> import rungwise as rw
        >>> rw.Study({"x": rw.Float(0, 1)}).refresh()
        0

        Raises `StudyError` if another file has taken the place of the one that was opened.
        """
        if self._looks is None:
            return 0
        self._decides = None  # who is told all facts anew, if anybody asks
        return self._looks.refresh()

    def write_report(self, path: str | Path, *, format: str | None = None) -> Path:
        """Write the study as one file to send to others: the answer, what it cost, why to trust it, figures, trials.

        `path` ends with .html or .md, or `format` is "html" or "md". The HTML file needs no network, and nothing that
        the study brings along can run in it. It replaces an older file only when it is complete. Returns the path.

        >>> import tempfile
        >>> import rungwise as rw
        >>> study = rw.Study({"x": rw.Float(0, 1)}, "asha", mode="min")
        >>> study.write_report(f"{tempfile.mkdtemp()}/report.md").name
        'report.md'

        Raises `InputError` for another ending or format, and for a path that is a study or a part of one.
        """
        self.refresh()
        history = History.of(self._log.read(), self._state.space, self._state.folder, self._log.path)
        held = summary.is_held(self._state, self._log.path)
        return written.write(history, self.explain(), path, kind=format, held=held)

    def _keep_snapshots(self) -> None:
        if self._folder is not None:  # it has a file of ours
            cast("SQLiteLog", self._log).keep_snapshots(snapshot.Snapshots(self._state))

    # -- asking and telling -------------------------------------------------------------------------

    def ask(self) -> Job | None:
        """The next job, which is now yours; None if there is none: all is done, or running jobs must report first."""
        decider = self._deciding
        job = decider.hand_out()
        decider.flush()
        return None if job is None else handed(job)

    def report(self, trial: int, resource: int, score: object) -> bool:
        """Report that `trial` scored `score` at `resource`. At the end of its job this completes the job.

        Returns False, and ignores the report, if this resource or a higher one was reported before. A non-finite score
        counts as the worst. Raises `InputError` if the trial is not running, if the resource is outside its job, or if
        the score is not one number.
        """
        job = self._job(trial)
        if not 0 < (resource := whole(resource, "resource")) <= job.until:
            raise InputError(
                f"trial {trial} reported at resource {resource}, but its job goes from {job.start} to {job.until}"
            )
        taken = as_score(score)
        if (wrong := self._state.metrics.wrong(taken)) is not None:
            raise InputError(wrong)
        decider = self._deciding
        new = decider.report(Reported(job.trial, resource, taken))
        if resource == job.until:
            decider.take(Completed(job.trial))
        decider.flush()
        return new

    def tell(self, job: Job | int, score: object, resource: int | None = None) -> bool:
        """As `report`, for loops in ask-and-tell style. `job` is a job or a trial's number.

        Without `resource` the score is that at the end of the job, which completes it. Raises `InputError`, too, for a
        job of another study and for one that has ended.
        """
        running = self._job(job.trial if isinstance(job, Job) else job)
        if isinstance(job, Job) and (job.study, job.start, job.until) != (running.study, running.start, running.until):
            now = f"trial {job.trial} now runs to {running.until}"
            whose = now if job.study == running.study else "another study's"
            raise InputError(f"this job, of trial {job.trial} to {job.until}, is not the one that runs: {whose}")
        return self.report(running.trial, running.until if resource is None else resource, score)

    def complete(self, trial: int) -> None:
        """End the job of `trial` although its last report came earlier, as in training that reports every k epochs.

        The last report is the score at the rung. Without any report in this job, the job has failed.
        """
        self._deciding.take(Completed(self._job(trial).trial))
        self._deciding.flush()

    def fail(self, trial: int, reason: str = "failed") -> None:
        """Report that the job of `trial` failed: the trial completes its rung with the worst score."""
        self._deciding.take(Failed(self._job(trial).trial, shown_lines(reason)))
        self._deciding.flush()

    @our_names(resource="total_resource")
    def extend(
        self,
        *,
        trials: int | None = None,
        total_resource: int | None = None,
        seconds: float | None = None,
        target: float | None = None,
        budget: float | None = None,
        hours: float | None = None,
    ) -> None:
        """Set the totals at which no more work is given out; omitted ones stay as they are.

        `budget` is in full trainings, `hours` in hours of running; a part of both is kept for `refit`, which you call
        when `ask` has nothing more. A study has no clock: `tune` and `rungwise resume` enforce `seconds`, `ask` does
        not, and it knows of `hours` what the log does. If a total has already been reached, the logger "rungwise" says
        so. Raises `InputError` for a `budget` without `max_resource`.
        """
        before = self._state.budget
        self.set_budget(before.changed(trials, total_resource, seconds, target, budget, hours))
        for text in summary.reached(self._state, before):
            LOGGER.warning("%s", text)

    def _job(self, trial: int) -> Job:
        """The job of `trial` that is under way, or an `InputError`."""
        trials = self._state.trials
        if not 0 <= (number := whole(trial, "a trial's number")) < len(trials):
            raise InputError(f"there is no trial {trial!r}; so far {len(trials)} have been started")
        if (job := trials[number].job) is None:
            raise InputError(f"trial {trial} is not running; ask() for a job first")
        return job

    def _forked(self) -> None:
        """In a forked child this is a copy, which says what was known at the fork."""
        self._refuse()

    def close(self) -> None:
        """Release the file. The study can still be read but not changed. In a forked child this does nothing."""
        try:
            if self._decides is not None and self._decides.closed is None:
                self._decides.flush()
        finally:
            self._refuse()
            self._log.close()

    def _refuse(self) -> None:
        if self._decides is not None:
            where = self._log.path or "in memory"
            self._decides.closed = f"the study {where} is closed; open it again to continue"

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _earlier(study: Study | str | Path | None, mode: str | dict[str, str], score: str) -> list[dict[str, Any]]:
    """What a warm start takes over from `study`, its scores counted as in the new study."""
    if study is None:
        return []
    if not isinstance(study, (Study, str, Path)):
        raise InputError(f"warm_start must be a study or the path of its file, not {study!r}")
    if not isinstance(study, Study):
        study = Study.open(study)
        study.close()
    if study.mode != mode:
        raise InputError(f"the earlier study has mode {study.mode!r}, this one {mode!r}; the modes must be the same")
    return study.rung_results(score)
