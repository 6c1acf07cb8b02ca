"""A study on real time: your function, local processes, a file, Ctrl-C; limits in seconds are kept here."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import signal
import sys
import tempfile
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import msgspec

from rungwise import afford, explain, kept, mirror, peaks, same_study, source, summary, trust
from rungwise.blame import InARow
from rungwise.control import Control, Request
from rungwise.conversion import as_space
from rungwise.core import Scheduler, SchedulerName, check_total
from rungwise.disk import Disk
from rungwise.errors import InputError, our_names
from rungwise.events import Completed, Created, Extended, Job, Reported
from rungwise.executors import Broke, Executor, Message, Noticed, Paused
from rungwise.executors.command import Command
from rungwise.executors.devices import Devices
from rungwise.executors.limited import Limited
from rungwise.executors.limits import Limits
from rungwise.executors.local import LocalWorkers
from rungwise.executors.named import EXECUTORS, ExecutorName, made, named, noted
from rungwise.kinds import Kind, kind
from rungwise.loading import NamedFunction
from rungwise.log import StudyError
from rungwise.loop import Inbox, anywhere, drive
from rungwise.metrics import Counted, Mode
from rungwise.observers import LOGGER, Observer, log
from rungwise.options import RunOptions
from rungwise.paths import real_path
from rungwise.records import Budget
from rungwise.report.progress import of_total
from rungwise.report.result import queued, refit_failure
from rungwise.search import Searcher, SearcherName, as_searcher
from rungwise.search.intake import ends
from rungwise.space import Space
from rungwise.storage import JOBS, Storage, leases
from rungwise.store import Store
from rungwise.study import Study
from rungwise.tail import last_lines
from rungwise.trial import IMPORTING, Trial
from rungwise.words import counted

if TYPE_CHECKING:
    from rungwise.report.live import Display

Function = Callable[[Trial], object]
Engine = Executor | Callable[[Function, Storage], Executor]
"""An executor, or what makes one."""
PAUSED = 0.1  # seconds between two looks while the study pauses
TIME_NOTED = 30.0  # seconds of running after which they are noted in the study
SLOW = 5.0  # seconds of connecting, after which it is said
NOBODY = 10.0  # seconds without any worker, after which that is said


@our_names(study="path", resource="total_resource")
def tune(
    function: Function,
    space: Space | Mapping[str, Any],
    *,
    mode: Mode | Mapping[str, Mode],
    score: Counted = "last",
    scheduler: Scheduler | SchedulerName | str | Mapping[str, Any] | None = None,
    searcher: Searcher | SearcherName | str = "random",
    max_resource: int | None = None,
    trials: int | None = None,
    total_resource: int | None = None,
    seconds: float | None = None,
    target: float | None = None,
    budget: float | None = None,
    hours: float | None = None,
    workers: int | None = None,
    devices: Devices = "auto",
    executor: Engine | ExecutorName | Mapping[str, Any] | None = None,
    path: str | Path | None = None,
    seed: int = 0,
    initial: Sequence[Mapping[str, Any]] = (),
    warm_start: Study | str | Path | None = None,
    refit: bool | int | None = None,
    horizon: int | None = None,
    job_seconds: float | None = None,
    epoch_seconds: float | None = None,
    silence_seconds: float | None = None,
    retries: int = 2,
    patience: float = 120.0,
    checkpoints: str | Path | Store | None = None,
    keep_checkpoints: bool = False,
    sync: bool = False,
    quiet: bool = False,
    observers: Sequence[Observer] = (),
) -> Study:
    """Tune `function(trial)` over `space` on `workers` local processes (default 1) and return the study.

    `mode` is "min" or "max". For several metrics it is a dict of these: `trial.report` then takes a dict of scores, and
    the answer is `study.front`. With `score="best"`, a trial's score at a resource is the best of its reports so far
    instead of the last, and `study.best.load()` returns the state at that report. Use it for curves that get worse
    again.

    The study ends when it reaches one of its totals: `trials` started, `total_resource` used, `seconds` of running
    time, a score as good as `target`, or `budget` or `hours`, which include training the winner. Give at least one.
    Running jobs then pause at their next checkpoint. The study
    ends sooner if the searcher has no configuration left (a grid). `path` names the study's file; if the file exists,
    its study resumes under the new totals. With an address, as in `path="s3://bucket/prefix/study.db"`, the file is
    `study.db` in the current folder, and its log is copied to the bucket, from which any machine can resume the study
    (`docs/cloud.md`). Without `path` the study is kept in memory. `initial` (configurations to try
    first), `warm_start` (an earlier study to learn from), and `seed` work as in `Study`.

    `scheduler` is a name, an object, or a dict of settings, and `max_resource` its last rung, R. Without a name it is
    "pasha", or with `budget` or `hours` `rw.ASHA(promotion=rw.PatientPromotion(deviations=0.5))`, which gives the
    better answer for a known cost (`docs/budget.md`); a study that is there goes on with its own.

    `budget=10` is what 10 full trainings cost, each of the scheduler's `max_resource`: as many configurations are tried
    as that pays for, and the winner is trained to `max_resource` from it. A job is given out if what was spent, what
    the running jobs will still spend, the job, and what the winner will then lack fit into the budget; where the
    scheduler's first choice does not fit, a cheaper promotion or a new trial may. Reported training counts, so what a
    lost process had not reported does not. What a trial trains again since its checkpoints were deleted counts again.
    `hours=2.5` is the same in hours of running: what the winner's training will take is estimated from its own pace so
    far, and when only that is left, running jobs pause at their next checkpoint. A job that saves no checkpoints, or a
    refit that is slower than the trial was, can exceed it.

    `refit=True` trains the best trial to the scheduler's `max_resource` at the end; a number trains it to that
    resource. With `budget` or `hours` True is the default, and `refit=False` spends all on the search. `horizon` says
    how far any trial may ever be trained, if the scheduler has no `max_resource` or you may refit further later. It
    limits nothing: the function reads it as `trial.horizon` and runs its learning-rate schedule over it.

    A job is ended if it takes longer than `job_seconds`, longer than `epoch_seconds` for each unit of resource that it
    trains (counted once the function is loaded), or reports nothing for `silence_seconds` (starting a process counts).
    A job that fails, overruns, or loses its process is retried from its last checkpoint, up to `retries` times. After
    that its trial has failed, if other jobs work. If the jobs of three trials in a row break off, the machine is taken
    to be at fault: no more work is given out, and one job is tried now and then. If none works within `patience`
    seconds of waiting, the run ends, and no trial has failed.

    Checkpoints of trials that can no longer be promoted under `trials` (under any number, if there is no such total)
    are deleted. Set `keep_checkpoints` if you may raise `trials` later, or such a trial trains from the start again.
    `checkpoints` says where to keep them instead of beside the study: in a folder, such as one on a larger or a shared
    disk, in a bucket (`"s3://bucket/prefix"`, `gs://`, `az://`), or in a `rungwise.store.Store`. Several studies may
    share it. The study's file records it, so you may omit it later. With `sync` the study waits for the disk at each
    decision, so not even a power cut loses one. What the function prints goes to a log file beside each trial's folder.
    From the 200th log on, those of trials that are over and did not fail are moved into one file, `finished.log`.
    `quiet` shows nothing.

    `devices` says which GPUs each worker sees, as CUDA_VISIBLE_DEVICES. "auto" shares out those that this process sees,
    if there are several workers. A list has an entry for each worker in turn (`[0, 1]`, `[0, 0, 1, 1]`, or
    `["0,1", "2,3"]` for two each), numbered as PyTorch does here. "none" leaves all of them to the function, which
    knows its worker's number as `trial.worker`.

    With `executor`, jobs run there instead of in local processes: `rw.DaskExecutor(client)`, `rw.RayExecutor()`,
    `rw.SlurmExecutor(partition="gpu")`, or one of these by name and settings, `{"name": "slurm", "partition": "gpu"}`.
    The study's file records which, for `rungwise resume`. One of your own is a `rungwise.executors.Executor`, or a
    callable that makes one from the function and the trials' `rungwise.storage.Storage`; it is closed at the end.

    Each of `observers` is called with `(state, fact)` for each fact once the fact is durable (`rungwise.observers`). If
    one raises, it is called no more, and a message says so. While the study runs, you can steer it from any shell of
    the same user: `rungwise pause | resume | stop | extend | enqueue | retry`. `logging.getLogger("rungwise")` logs
    what happens.

    The first Ctrl-C, or SIGTERM, gives out no more work and lets running jobs reach a checkpoint. Then the study is
    returned as it stands, and can be resumed. The second Ctrl-C stops at once with `KeyboardInterrupt`.

    >>> import rungwise as rw
    >>> def train(trial):
    ...     for epoch in trial:
    ...         trial.report((trial.config["x"] - 0.3) ** 2 + 1 / epoch)
    >>> study = rw.tune(train, {"x": rw.Float(0, 1)}, mode="min", trials=9, quiet=True)
    >>> len(study.trials)
    9

    Configuration n is drawn with `numpy.random.default_rng([seed, n])`. `trial.seed()` differs between studies, even
    with the same `seed`.

    Raises `InputError` for invalid arguments, before any training. Raises `StudyError` if the file cannot be used, or
    if nothing works: the first three jobs break off, or later all of them do for longer than `patience`.
    """
    if IMPORTING.is_set():
        raise InputError(
            "tune() was called while the file of a training function was being imported; put the call under "
            'if __name__ == "__main__":'
        )
    check_function(function)
    passed: Engine | None = None
    if isinstance(executor, (str, Mapping)):
        executor = named(executor)
        passed = None if executor is None else made(executor)  # before anything is written
    elif executor is not None:
        passed, executor = executor, None
    if passed is not None and (workers is not None or devices != "auto"):
        what = "devices" if workers is None else "workers"
        raise InputError(f"{what}= is for local processes; give either it or an executor")
    if isinstance(passed, type) and EXECUTORS.is_ours(passed) and getattr(passed, "name", None) in EXECUTORS:
        raise InputError(f"executor= is the class {passed.__name__} itself; make one: rw.{passed.__name__}(…)")
    if isinstance(executor, Mapping):
        passed = made(executor)  # a wrong setting is said before there is a file that has it
    elif passed is not None and not (callable(passed) or isinstance(passed, Executor)):
        raise InputError(f"executor must be an Executor, or a callable that makes one, not {passed!r}")
    if callable(observers) or not all(map(callable, observers)):
        raise InputError(f"observers must be a list of functions (state, fact), like [{observers!r:.60}]")
    options = RunOptions(
        workers=1 if workers is None else workers, executor=executor, devices=devices, refit=refit, horizon=horizon,
        job_seconds=job_seconds, epoch_seconds=epoch_seconds, silence_seconds=silence_seconds, retries=retries,
        patience=patience, checkpoints=checkpoints, keep_checkpoints=keep_checkpoints, sync=sync, quiet=quiet,
    )  # fmt: skip
    how = options.noted() | {"source": source.digest(function)}
    del how["checkpoints"]  # it is noted when it is known that there are none elsewhere
    decides = same_study.scheduler_of(scheduler, max_resource, budget=budget is not None or hours is not None)
    scheduler = decides.made() if isinstance(decides, same_study.Unnamed) else decides
    totals = Budget().changed(trials, total_resource, seconds, target, budget, hours)
    if totals == Budget():
        raise InputError("say when to stop: trials=64 or budget=10 (or hours=, total_resource=, seconds=, target=)")
    space = as_space(space)
    check_total(scheduler, totals.trials, lambda: ends(as_searcher(searcher, space)))
    there = isinstance(path, (str, Path)) and (mirror.is_address(path) or os.path.exists(path))
    if not there:  # else the study in it says what its max_resource is by now
        options.check_against(scheduler)
        afford.check(totals, scheduler.max_resource, False if isinstance(mode, Mapping) else refit)
    if refit and isinstance(mode, Mapping):
        raise InputError(f"refit={refit!r} needs one best trial; with several metrics there is study.front instead")
    if isinstance(function, Command):
        function.check(space, horizon=bool(scheduler.max_resource or horizon or refit))
        how["command"] = function.arguments
    elif isinstance(function, NamedFunction):
        how["function"] = function.target
    if executor is None and passed is not None:
        how["executor"] = noted(passed)
    opened = Study(
        space, decides, searcher, mode=mode, score=score, seed=seed, initial=initial, warm_start=warm_start,
        path=path, run=how,
    )  # fmt: skip
    try:
        options.check_against(opened.scheduler)
        afford.check(totals, opened.scheduler.max_resource, False if opened.metrics.names else refit)
        kept.refuse_unknown(opened, options)
        options = kept.beside(opened, options)
    except InputError:
        opened.close()
        raise
    note_begun(opened)  # what was refused is asked for next time too
    opened.set_budget(totals)
    run(opened, function, options, executor=passed, observers=observers)
    return opened


def note_begun(study: Study) -> None:
    """Note that this user goes on with `study` as it is now, so that `rungwise resume` need not ask again."""
    if study.path is not None:
        _, created = next(study.facts())
        assert isinstance(created, Created)
        trust.note(study.path, created, study.state.how)


def check_function(function: object) -> None:
    """Whether `function` can be called with a trial, or an `InputError` that says what is wanted."""
    wanted = 'def train(trial): … with trial.config["lr"] and trial.report(score)'
    if isinstance(function, NamedFunction):
        function = function.function
    if not callable(function):
        raise InputError(f"the function to tune must be a function, not {function!r}; write {wanted}")
    if any(
        check(function)
        for check in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    ):
        raise InputError(f"{function!r} is a coroutine or a generator; write {wanted}")
    try:
        signature = inspect.signature(function)
    except ValueError:
        return  # written in C, without a signature: it will say itself what is wrong
    try:
        signature.bind(object())
    except TypeError as error:
        shown = f"{getattr(function, '__name__', repr(function))}{signature}"
        raise InputError(f"{shown} cannot be called with one argument, the trial ({error}); write {wanted}") from None


def run(
    study: Study,
    function: Function,
    options: RunOptions,
    *,
    tune: bool = True,
    executor: Engine | None = None,
    observers: Sequence[Observer] = (),
) -> None:
    """Run an open `study` to the end of its budget (unless not `tune`), refit the best, and close it."""
    # here, since rich would be a quarter of the time of every import, those of the workers too
    from rungwise.report.live import Display

    with contextlib.ExitStack() as stack:
        stack.callback(study.close)
        for observer in [*observers, *([log] if LOGGER.isEnabledFor(logging.INFO) else [])]:
            study.observe(observer)
        if options.sync:
            study.sync()
        if study.folder is None:
            temporary = tempfile.TemporaryDirectory(prefix="rungwise-")
            study.state.folder = Path(temporary.name)
            weakref.finalize(study, temporary.cleanup)  # as long as the study is there, so are its checkpoints
        assert study.folder is not None
        storage, takes, elsewhere = kept.storage_of(study, options), anywhere, None
        if options.checkpoints is not None:
            note_begun(study)
        if executor is None and (spec := named(options.executor)) is not None:
            executor = made(spec)
        if executor is None:
            elsewhere = study.state.how.get("executor")
            local = LocalWorkers(function, options.workers, storage, devices=options.devices)
            executor, takes = local, local.takes
        else:
            study.folder.mkdir(parents=True, exist_ok=True)
            if isinstance(executor, type) or not isinstance(executor, Executor):  # a class makes one
                with _said_if_slow("connecting to the workers; this takes longer than usual", quiet=options.quiet):
                    executor = executor(function, storage)
        stack.callback(executor.close)
        limits = Limits(
            job_seconds=options.job_seconds,
            epoch_seconds=options.epoch_seconds,
            silence_seconds=options.silence_seconds,
        )
        executor = Limited(executor, limits) if limits.any else executor
        display = stack.enter_context(Display(study, quiet=options.quiet))
        study.observe(display)
        if left_out := getattr(study.searcher, "left_out", 0):
            what = counted(left_out, "configuration")
            display.say(f"left out: {what} of the earlier study that this space does not contain")
        if isinstance(elsewhere, str):
            display.say(
                f"the jobs of this study ran in the executor {elsewhere}, which its file cannot store; now they run in "
                "local processes: to use that executor again, stop this and run the program that began the study"
            )
        session = _Session(study, storage, executor, takes, display, options)
        stack.enter_context(session.interrupts())
        stack.callback(session.control.close)
        session.program = isinstance(function, Command)
        session.compare(function)
        if tune:
            session.drive()
            session.warn_of_peaks(at_the_end=True)
            until = study.state.refit_wanted
        else:
            until = study.state.max_resource if options.refit is True else options.refit
        if until is not None and study.has_best and not session.interrupted:
            began = session.refit(until, limited=tune)
            if not tune and not began:
                display.say(f"trial {study.best.number} has already been trained that far")
        session.end(only_refits=not tune)
        study.interrupted = bool(session.interrupted)
        display.end()


@contextlib.contextmanager
def _said_if_slow(text: str, *, quiet: bool) -> Iterator[None]:
    """Say `text` if what is done here takes longer than `SLOW`; there is no display yet."""
    from rungwise.report.stream import Stream

    timer = threading.Timer(SLOW, lambda: Stream(sys.stderr).write(f"{text}\n"))
    timer.daemon = True
    if not quiet:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def taken_back(trials: Sequence[int]) -> str:
    """In words, which failures were taken back."""
    if not trials:
        return "no trial has failed, so there is nothing to retry"
    return f"{counted(len(trials), 'failed trial')} will be retried: {', '.join(map(str, trials))}"


def _judge(study: Study, options: RunOptions) -> InARow:
    worked = any(record.resource or record.refit for record in study.trials)
    broke_at = {record.number: record.broke_at for record in study.trials if record.broke_at is not None}
    return InARow(
        options.retries,
        options.patience,
        worked=worked,
        ended_well=study.state.ended_well,
        broke_at=broke_at,
        clock=time.monotonic,
    )


class _Session:
    """What a run does at each turn of the loop besides the loop: limits, Ctrl-C, checkpoints, words."""

    def __init__(
        self,
        study: Study,
        storage: Storage,
        executor: Executor,
        takes: Callable[[Job, int], bool],
        display: Display,
        options: RunOptions,
    ) -> None:
        self.study, self.executor, self.display = study, executor, display
        self.judge, self._takes = _judge(study, options), takes
        self._storage = storage
        self._inbox = Inbox(executor, self._leases())
        self.interrupted = 0
        self._pausing = False  # whether what runs was asked to pause
        self._done = False  # whether a request was done
        self.pauses = False  # whether the study was asked to pause, and not yet to go on
        path = study.path
        self.control = Control(storage.folder if path is None else real_path(path), self._do)
        self.program = False  # whether it is a program that trains
        self._ran = False  # whether a worker has said anything
        self._refits = False
        self._since = time.monotonic()  # until when the time is noted
        self.disk = Disk(study, storage, keep=options.keep_checkpoints)
        self._told: set[str] = set()
        self._failures = len(study.failures)
        self._kinds: dict[str, Kind] = {}
        self._after: Counter[int] = Counter()  # reports of a trial since it was asked to pause
        self._restarted: dict[int, Job] = {}  # of the study's jobs that train again, those that were looked at
        self._nobody_since: float | None = None  # when it was seen first that there is no worker
        self._look_again = 8  # trials: curves are looked at whenever there are twice as many
        study.decider.elapsed, study.decider.lost = self.elapsed, self.disk.lost

    def _leases(self) -> Iterator[int]:
        for lease in leases(self._storage, self.study.id, self.study.state.sessions):
            self.disk.session = lease // JOBS
            yield lease

    def drive(self, only: Callable[[Job], bool] | None = None) -> None:
        """Go on until no more work is to be given out, or with `only` until that is done."""
        self._pausing = False
        drive(
            self.study,
            self._inbox,
            takes=self._takes,
            asks=self._has_done,
            may_give_out=self.may_give_out,
            only=only,
            stopping=lambda: self.interrupted > 0 or self.pauses,
            watch=self.watch,
            judge=self.judge,
        )
        if self.judge.given_up is not None:
            raise StudyError(self._given_up(self.judge.given_up))
        if self.pauses and not self.interrupted:
            self._wait()
            self.drive(only)

    def _wait(self) -> None:
        """Until the study is to go on, or to stop; the time does not count."""
        self._note_time()
        self.study.decider.flush()
        self.display.say("paused: continue with rungwise resume, or end with rungwise stop")
        while self.pauses and not self.interrupted:
            time.sleep(PAUSED)
            self._asked()
            if self._has_done():  # what is noted meanwhile takes no time of the study's
                self.study.decider.ran(0.0)
                self.study.decider.flush()
            self.display.update()
        self._since = time.monotonic()

    def elapsed(self) -> float:
        """For how many seconds the study has run, in all sessions."""
        return self.study.running_seconds + time.monotonic() - self._since

    def refit(self, until: int, *, limited: bool) -> bool:
        """Train the best trial on to `until`; False if there is nothing to train. What it was at comes first.

        Where it is `limited`, only as far as the budget pays.
        """
        study, self._refits = self.study, True
        trained = len(study.trials[study.best.number].refit)
        self.drive(lambda job: job.refit)  # one that broke off
        while not self.interrupted and (job := study.trials[study.best.number].job) is not None and not job.refit:
            self.drive(lambda job: job.trial == study.best.number)
        to = afford.refit_until(study.state, until, self.elapsed()) if limited else until
        if to != until and not self.interrupted:
            self._say_unpaid(to, until)
        if not self.interrupted and (began := to is not None and study.refit(to)):
            self.display.say(f"refit: training trial {study.best.number} further")
            self.drive(lambda job: job.refit)
        winner = study.trials[study.best.number]
        if self.interrupted:
            return True
        if len(winner.refit) > trained:
            said = peaks.refitted(study.best, winner, study.metrics)
        else:
            said = peaks.not_refitted(study.best, winner, study.metrics)
        if said is not None:
            self.display.say(said)
        return began or said is not None

    def _say_unpaid(self, paid: int | None, wanted: int) -> None:
        """The winner is trained only as far as was `paid` for, not to what was `wanted`."""
        number = self.study.best.number
        hours, at = self.study.budget.hours, self.study.trials[number].trained_to
        if hours is not None and self.elapsed() >= hours * afford.HOUR:
            self.display.say(f"time is up: trial {number} is not refitted from {at} to {wanted}")
        else:
            far = "no further" if paid is None else f"only to {paid}"
            where = f"trial {number}, which is at {at},"
            self.display.say(f"refit: the budget pays for training {where} {far}, not to {wanted}")

    def end(self, *, only_refits: bool) -> None:
        """What is left to be done and said when all has ended well."""
        study = self.study
        self.disk.clean()
        if self._ran:
            self._note_time()
        elif study.finished and not only_refits:
            self.display.say(f"already finished: {of_total(len(study.trials), study.budget.trials)}")
        for one in self._kinds.values():
            if one.count > 1:
                self.display.say(f"{one.count} trials failed the same way as trial {one.trial}: {one.reason}")

    def compare(self, function: Function) -> None:
        """Say so if the function is not what it was."""
        before = self.study.state.how_before.get("source")
        now = source.digest(function)
        if before and now and before != now and any(record.resource for record in self.study.trials):
            self.display.say(
                "warning: the function's source has changed since this study was begun: earlier results come from the "
                "old function and are not trained again; if the two cannot be compared, begin a new study file"
            )
        if before and now and self.study.state.how.get("source") != now:  # so that it is said once
            self.study.decider.opened(self.study.state.how | {"source": now})

    def may_give_out(self) -> bool:
        return not self.interrupted and not self.pauses and (self._refits or self._over() is None)

    def _over(self) -> str | None:
        """Which total is reached."""
        state, limit, hours = self.study.state, self.study.budget.seconds, self.study.budget.hours
        if state.spent:
            total = state.budget.resource
            used_up = "the budget" if total is None or state.resource_used < total else "total_resource"
            return "target reached" if state.target_reached else f"{used_up} is used up"
        if limit is not None and self.elapsed() >= limit:
            return "time is up"
        if hours is not None and self.elapsed() + (kept := afford.kept_seconds(state)) >= hours * afford.HOUR:
            return "the rest of the time is for training the winner" if kept else "time is up"
        return None

    def _asked(self) -> None:
        """Do what others have asked for meanwhile."""
        self.control.look()
        if self.study.decider.stopping:
            self.interrupted = max(1, self.interrupted)

    def _has_done(self) -> bool:
        """Whether a request was done since this was asked last."""
        done, self._done = self._done, False
        return done

    def _do(self, request: Request) -> str:
        """Do what a request asks for; what came of it."""
        said = self._did(request)
        self._done = True
        later = self._refits and request.ask in ("extend", "enqueue", "retry")
        return f"{said}; the refit is running: when it has ended, continue with rungwise resume" if later else said

    def _did(self, request: Request) -> str:
        study = self.study
        if request.ask == "pause":
            self._pause(True)
            return f"pausing: {counted(study.state.under_way, 'running job')} may reach a checkpoint first"
        if request.ask == "resume":
            if not self.pauses:
                raise InputError(f"{study.path} is not paused; it is running")
            self._pause(False)
            return "continuing"
        if request.ask == "stop":
            self.interrupted = max(1, self.interrupted)
            return f"stopping: {counted(study.state.under_way, 'running job')} may reach a checkpoint first"
        if request.ask == "extend":
            before = study.budget
            asked = (request.trials, request.resource, request.seconds, request.target, request.budget, request.hours)
            study.set_budget(before.changed(*asked))
            totals = explain.in_words(Extended(*msgspec.structs.astuple(study.budget)))[1]
            return "; ".join([totals, *summary.reached(study.state, before)])
        if request.ask == "enqueue":
            study.enqueue(request.config or {})
            return queued(study)
        return taken_back(study.retry_failed(request.failed))

    def _tell_of_horizons(self) -> None:
        """Say once that a trial's horizon has moved in the middle of its life."""
        if "horizon" in self._told:
            return
        for job in self.study.state.running.values():
            before = self.study.trials[job.trial].horizon
            if before is not None and job.horizon is not None and job.horizon != before:
                self._tell_once(
                    "horizon",
                    f"trial {job.trial} began with trial.horizon = {before} and is now trained to {job.until}: its "
                    f"horizon is now {job.horizon}, which changes a schedule that runs over it; set horizon= to the "
                    "most that any trial may ever be trained",
                )
                return

    def _pause(self, pauses: bool) -> None:
        self.pauses = pauses
        self.control.tell_paused(pauses)

    def watch(self, messages: list[Message]) -> None:
        self._asked()
        self._tell_of_horizons()
        over = None if self._refits or self.interrupted or self.pauses else self._over()
        ends = bool(self.interrupted or self.pauses or over)
        self._pausing = self._pausing and ends
        if ends and not self._pausing:
            self._pausing = True
            self.executor.pause()
            if running := self.study.state.under_way:
                jobs, its = counted(running, "running job"), "its" if running == 1 else "their"
                why = "pausing" if self.pauses else "stopping"
                stops = f"{why}: {jobs} may reach a checkpoint first (Ctrl-C again stops at once)"
                self.display.say(stops if over is None else f"{over}: {jobs} will pause at {its} next checkpoint")
        if self.interrupted > 1:
            raise KeyboardInterrupt
        if time.monotonic() - self._since > TIME_NOTED if self._ran else messages:
            self._ran = True
            self._note_time()
        for message in messages:
            self._look_at(message)
        for trial, reason in self.study.failures[self._failures :]:
            self._tell_failure(trial, reason)
        self._failures = len(self.study.failures)
        for text in self.judge.news:
            self.display.say(text)
        self.judge.news.clear()
        if len(self.study.trials) >= self._look_again:
            self._look_again = 2 * len(self.study.trials)
            self.warn_of_peaks()
        if self.disk.due:
            self.disk.clean()
        self._look_for_workers()
        self.display.update()

    def _look_for_workers(self) -> None:
        """Say so if there is none."""
        if self.executor.capacity > 0:
            self._nobody_since = None
            self._told.discard("nobody")
            return
        now = time.monotonic()
        self._nobody_since = self._nobody_since or now
        if now - self._nobody_since >= NOBODY:
            self._tell_once("nobody", "no worker is there: the study waits until one comes")

    def _note_time(self) -> None:
        now = time.monotonic()
        self.study.decider.ran(now - self._since)
        self._since = now

    def _look_at(self, message: Message) -> None:
        record = self.study.trials[message.trial]
        if isinstance(message, Reported):
            if message.score is None:
                self._tell_once(
                    "not finite",
                    f"trial {message.trial} reported a non-finite score at {message.resource}; it counts as the worst",
                )
            if self._pausing and record.job is not None:
                self._after[message.trial] += 1
                if self._after[message.trial] > 1 and (left := record.job.until - message.resource) > 0:
                    why = (
                        "a program cannot pause before its {until}"
                        if self.program
                        else "a job can pause only when it calls trial.save(state); call it after each epoch"
                    )
                    on = f"trial {message.trial} continues to {record.job.until}, {counted(left, 'unit')} more"
                    self._tell_once("cannot pause", f"{on}: {why}")
            job = self.study.decider.restarted.get(message.trial)
            if job is not None and self._restarted.get(job.trial) is not job:  # now, before more is deleted
                self._restarted[job.trial] = job
                self._tell_once(*_from_the_start(job, self.disk.why_gone(job.trial), program=self.program))
        elif isinstance(message, Noticed):
            self.display.say(f"trial {message.trial}: {message.text}")
        elif isinstance(message, Broke) and record.job is not None:
            again = " and will be retried when the study resumes" if self.interrupted else ""
            self._tell_once(kind(message.reason), f"trial {message.trial} broke off{again}: {message.reason}")
        if isinstance(message, Completed | Paused | Broke):
            self.disk.ended(message.trial)

    def _tell_failure(self, trial: int, reason: str) -> None:
        """Each kind of failure once, and then how often there was one; that of a refit by itself."""
        if (refit := refit_failure(self.study.trials[trial])) is not None:
            self.display.say(refit)
            return
        one = self._kinds.setdefault(kind(reason), Kind(trial, reason))
        one.count += 1
        if one.count == 1:
            self.display.say(f"trial {trial} failed: {reason}")
        elif str(one.count).strip("0") == "1":  # 10, 100, …
            self.display.say(f"{one.count} trials have failed the same way as trial {one.trial}: {one.reason}")

    def _given_up(self, why: str) -> str:
        """Why the run ends, what becomes of the trials, and what the function printed."""
        log = self._storage.log_of(self.judge.last or 0)
        tail = last_lines(log)
        if self.study.path is None:  # the log goes with the study
            printed = "\n".join(["; its last output:", *tail]) if tail else ""
            return f"{why}{printed}"
        if tail:
            self.display.say("\n".join([f"the end of {log}:", *tail]))
        return (
            f"{why}; its output is in {log}; no trial has failed because of this: fix it, then continue with the same "
            f"command or rungwise resume {self.study.path}"
        )

    def warn_of_peaks(self, *, at_the_end: bool = False) -> None:
        """Say that curves get worse again: where it is seen first, and at the end."""
        if (text := peaks.warning(self.study.trials, self.study.metrics)) is not None:
            self._tell_once(text if at_the_end else "worse again", text)
            self._told.add(text)

    def _tell_once(self, what: str, text: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self.display.say(text)

    @contextlib.contextmanager
    def interrupts(self) -> Iterator[None]:
        """Count Ctrl-C and SIGTERM in place of dying, where that is possible: in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def count(number: int, frame: FrameType | None) -> None:
            self.interrupted += 1

        before = {number: signal.signal(number, count) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _from_the_start(job: Job, gone: str | None, *, program: bool) -> tuple[str, str]:
    """What is told once of a promotion that trains from the start, by its kind; `gone`: why its checkpoints are."""
    what = f"trial {job.trial} was promoted from {job.start} to {job.until} but trains from the start again"
    if gone is not None:
        return "deleted", f"{what}: its checkpoints were deleted {gone}; keep_checkpoints=True keeps them all"
    load, save = "call trial.load()", "trial.save(state)"
    if program:
        load, save = "let the program load {checkpoint}", "save to it"
    return "from the start", (
        f"{what}, which repeats {counted(job.start, 'unit')}; to avoid that, {load} at the start and {save} at the end"
    )
