"""A study on real time: your function, local processes, a file, Ctrl-C. The only reader of the clock."""

from __future__ import annotations

import contextlib
import inspect
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rungwise import checkpoints
from rungwise.core import Scheduler, as_scheduler
from rungwise.disk import Disk
from rungwise.events import Completed, Job, Reported
from rungwise.executors import Broke, Message, Noticed, Paused
from rungwise.executors.command import Command
from rungwise.executors.devices import Devices, of_slots
from rungwise.executors.local import LocalWorkers
from rungwise.log import StudyError
from rungwise.loop import drive
from rungwise.names import InputError, our_names
from rungwise.objective import NamedFunction
from rungwise.records import Budget
from rungwise.search import Searcher
from rungwise.space import Space, as_space
from rungwise.study import Study
from rungwise.trial import IMPORTING, Trial
from rungwise.values import flag, real, whole

if TYPE_CHECKING:
    from rungwise.report.live import Display

Function = Callable[[Trial], object]
HOPELESS = 10  # a study in which so many trials, the first ones, have all failed is stopped


@our_names
def tune(
    function: Function,
    space: Space | Mapping[str, Any],
    *,
    mode: str | Mapping[str, str],
    score: str = "last",
    scheduler: Scheduler | str = "pasha",
    searcher: Searcher | str = "random",
    trials: int | None = None,
    resource: int | None = None,
    seconds: float | None = None,
    target: float | None = None,
    workers: int = 1,
    devices: Devices = "auto",
    study: str | Path | None = None,
    seed: int = 0,
    initial: Sequence[Mapping[str, Any]] = (),
    warm_start: Study | str | Path | None = None,
    refit: bool | int = False,
    job_seconds: float | None = None,
    epoch_seconds: float | None = None,
    silence_seconds: float | None = None,
    retries: int = 2,
    keep_checkpoints: bool = False,
    sync: bool = False,
    quiet: bool = False,
) -> Study:
    """Tune `function(trial)` over `space` on `workers` local processes; the study is returned.

    `mode` is "min" or "max", or a dict of them for several metrics, which `trial.report` then gets as a dict too; the
    answer is `study.front`. The study ends when one of the totals is reached: `trials` started, `resource`
    used, `seconds` of running time, a score as good as `target`; at least one must be given. `study` names
    a file: if it is there, the study in it is taken up where it stood, and the totals are the new ones.
    Without it the study is kept in memory. `initial` and `warm_start` are as for `Study`: configurations to try first,
    and an earlier study to learn from. It ends sooner if the searcher has no configuration left (a grid).

    With `score="best"` a trial's score at a resource is the best of its reports up to there, in place of the last one,
    and `study.best.load()` gives the state of that report: for curves that get worse again.

    `refit=True` trains the best trial on to the scheduler's `max_resource` at the end, a number to that
    resource. A job that takes longer than `job_seconds`, or than `epoch_seconds` for each unit of resource that it
    trains (once the function is loaded), or reports nothing for longer than `silence_seconds` (the
    start of a process counts), is ended. A job that fails, overruns or loses its
    process is given out again from its last checkpoint, up to `retries` times; then its trial has failed.
    Checkpoints of trials that cannot be promoted any more under the `trials` given are deleted, unless
    `keep_checkpoints`: set it if `trials` may be raised later, or such a trial trains from the start again.
    With `sync` the study waits for the disk whenever it notes something, so that not even a power cut loses a
    decision. What the function prints goes to a log file beside each trial's folder.

    `devices` says which GPUs each worker sees, as CUDA_VISIBLE_DEVICES: "auto" shares out those that this process sees,
    if there are several workers; a list has an entry for each worker in turn (`[0, 1]`, `[0, 0, 1, 1]`, or
    `["0,1", "2,3"]` for two each), numbered as PyTorch does here; "none" leaves all to the function, for which
    `trial.worker` counts the workers.

    The first Ctrl-C, or SIGTERM, gives out no more work and lets running jobs reach a checkpoint; then the study
    is returned as it stands, and can be taken up again. The second stops at once with `KeyboardInterrupt`.

    >>> import rungwise as rw
    >>> def train(trial):
    ...     for epoch in trial:
    ...         trial.report((trial.config["x"] - 0.3) ** 2 + 1 / epoch)
    >>> study = rw.tune(train, {"x": rw.Float(0, 1)}, mode="min", trials=9, quiet=True)
    >>> len(study.trials)
    9

    Raises `InputError` for arguments that cannot be, before any training; `StudyError` if the file cannot be
    used, or if the first 10 trials all fail.
    """
    if IMPORTING.is_set():
        raise InputError(
            "tune() was called while the file of a training function was being imported; put the call under "
            'if __name__ == "__main__":'
        )
    check_function(function)
    how: dict[str, Any] = {
        "workers": workers,
        "devices": "none" if devices is None else devices,
        "refit": refit,
        "job_seconds": job_seconds,
        "epoch_seconds": epoch_seconds,
        "silence_seconds": silence_seconds,
        "retries": retries,
        "keep_checkpoints": keep_checkpoints,
        "sync": sync,
        "quiet": quiet,
    }
    check_run(workers, devices, job_seconds, epoch_seconds, silence_seconds, retries, keep_checkpoints, sync, quiet)
    budget = Budget().changed(trials, resource, seconds, target)
    if budget == Budget():
        raise InputError("say when to stop: trials=64 (or resource=, seconds=, target=)")
    space = as_space(space)
    scheduler = as_scheduler(scheduler)
    check_refit(refit, scheduler)
    if refit and isinstance(mode, Mapping):
        raise InputError(f"refit={refit!r} needs one best trial, which several metrics have not; see study.front")
    if isinstance(function, Command):
        function.check(space)
        how["command"] = function.arguments
    elif isinstance(function, NamedFunction):
        how["function"] = function.target
    opened = Study(
        space, scheduler, searcher, mode=mode, score=score, seed=seed, initial=initial, warm_start=warm_start,
        path=study, run=how,
    )  # fmt: skip
    opened.set_budget(budget)
    run(
        opened,
        function,
        workers=workers,
        devices=devices,
        refit=refit,
        job_seconds=job_seconds,
        epoch_seconds=epoch_seconds,
        silence_seconds=silence_seconds,
        retries=retries,
        keep_checkpoints=keep_checkpoints,
        sync=sync,
        quiet=quiet,
    )
    return opened


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


def check_run(
    workers: int,
    devices: Devices,
    job_seconds: float | None,
    epoch_seconds: float | None,
    silence_seconds: float | None,
    retries: int,
    keep_checkpoints: bool,
    sync: bool,
    quiet: bool,
) -> None:
    """Whether a run can be had with these."""
    for name, value, least in (("workers", workers, 1), ("retries", retries, 0)):
        if whole(value, name) < least:
            raise InputError(f"{name} must be {least} or more, not {value!r}")
    of_slots(devices, workers, os.environ)
    limits = {"job_seconds": job_seconds, "epoch_seconds": epoch_seconds, "silence_seconds": silence_seconds}
    for name, limit in limits.items():
        if limit is not None and real(limit, name) <= 0:
            raise InputError(f"{name} must be above 0, not {limit!r}")
    flag(keep_checkpoints, "keep_checkpoints")
    flag(sync, "sync")
    flag(quiet, "quiet")


def check_refit(refit: bool | int, scheduler: Scheduler) -> None:
    """Whether it is known how far to refit."""
    if refit is True and scheduler.max_resource is None:
        raise InputError("this study has no max_resource, so say how far to refit: refit=81 (a resource)")
    if not isinstance(refit, bool) and whole(refit, "refit") < 1:
        raise InputError(f"refit must be True, False or a resource from 1, not {refit!r}")


def run(
    study: Study,
    function: Function,
    *,
    workers: int = 1,
    devices: Devices = "auto",
    refit: bool | int = False,
    job_seconds: float | None = None,
    epoch_seconds: float | None = None,
    silence_seconds: float | None = None,
    retries: int = 2,
    keep_checkpoints: bool = False,
    sync: bool = False,
    quiet: bool = False,
    tune: bool = True,
) -> None:
    """Run an open `study` to the end of its budget (unless not `tune`), refit the best, and close it."""
    check_run(workers, devices, job_seconds, epoch_seconds, silence_seconds, retries, keep_checkpoints, sync, quiet)
    # here, since rich would be a quarter of the time of every import, those of the workers too
    from rich.console import Console

    from rungwise.report.live import Display

    with contextlib.ExitStack() as stack:
        stack.callback(study.close)
        if sync:
            study.sync()
        if study.folder is None:
            temporary = tempfile.TemporaryDirectory(prefix="rungwise-")
            study.keep_in(Path(temporary.name), owner=temporary)
        assert study.folder is not None
        local = LocalWorkers(
            function,
            workers,
            study.folder,
            devices=devices,
            job_seconds=job_seconds,
            epoch_seconds=epoch_seconds,
            silence_seconds=silence_seconds,
        )
        stack.callback(local.close)
        display = stack.enter_context(Display(study, Console(stderr=True), quiet=quiet))
        if left_out := getattr(study.searcher, "left_out", 0):
            display.say(f"{left_out} configurations of the earlier study do not fit this space and are left out")
        session = _Session(study, local, display, keep_checkpoints)
        stack.enter_context(session.interrupts())
        if tune:
            session.drive(retries, session.may_give_out)
        if refit and not session.interrupted and study.has_best:
            # jobs that broke off after the time was up, or a refit that did, come first
            session.drive(retries, session.may_refit)
            if study.refit(None if refit is True else refit):
                display.say(f"refit: training trial {study.best.number} on")
            elif not tune:
                display.say(f"trial {study.best.number} has been trained that far already")
            session.drive(retries, session.may_refit)
        session.disk.clean()
        study.interrupted = bool(session.interrupted)
        if study.interrupted:
            again = "" if study.path is None else "; the study can be taken up again where it stands"
            display.say(f"stopped{again}")


class _Session:
    """What a run does at each turn of the loop besides the loop: limits, Ctrl-C, checkpoints, words."""

    def __init__(self, study: Study, workers: LocalWorkers, display: Display, keep_checkpoints: bool) -> None:
        self.study, self.workers, self.display = study, workers, display
        self.interrupted = 0
        self._paused = False
        self._first = len(study.trials)  # those of earlier sessions do not count against this one
        self._began = time.monotonic()
        self.disk = Disk(study, keep=keep_checkpoints)
        self._told: set[str] = set()

    def drive(self, retries: int, may_give_out: Callable[[], bool]) -> None:
        first = int.from_bytes(os.urandom(6))  # no two drivers give out the same lease
        drive(
            self.study,
            self.workers,
            retries=retries,
            may_give_out=may_give_out,
            stopping=lambda: self.interrupted > 0,
            watch=self.watch,
            first_lease=first,
        )

    def may_give_out(self) -> bool:
        limit = self.study.budget.seconds
        if self.interrupted:
            return False
        return limit is None or self.study.running_seconds + time.monotonic() - self._began < limit

    def may_refit(self) -> bool:
        return self.study.waiting and not self.interrupted

    def watch(self, messages: list[Message]) -> None:
        if self.interrupted and not self._paused:
            self._paused = True
            self.workers.pause()
            running = len(self.study.running)
            self.display.say(
                f"stopping: {running} running job{'' if running == 1 else 's'} may reach a checkpoint first "
                "(Ctrl-C again stops at once)"
            )
        if self.interrupted > 1:
            raise KeyboardInterrupt
        for message in messages:
            self._look_at(message)
        for job in self.study.restarted.values():
            self._tell_once(*_from_the_start(job, self.disk.why_gone(job.trial)))
        if self.disk.due:
            self.disk.clean()
        self.display.update()

    def _look_at(self, message: Message) -> None:
        record = self.study.trials[message.trial]
        if isinstance(message, Reported):
            if message.score is None:
                self._tell_once(
                    "not finite",
                    f"trial {message.trial} reported a score that is not finite at {message.resource}; "
                    "it counts as the worst",
                )
        elif isinstance(message, Noticed):
            self.display.say(f"trial {message.trial}: {message.text}")
        elif isinstance(message, Broke):
            again = "goes on with the study" if self.interrupted else "is given out again"
            what = "failed" if record.job is None else again
            self.display.say(f"trial {message.trial} {what}: {message.reason}")
        if isinstance(message, Completed | Paused | Broke):
            self.disk.ended(message.trial)
        if record.failure is not None and isinstance(message, Completed | Broke):
            first = self.study.trials[self._first : self._first + HOPELESS]
            if len(first) == HOPELESS and all(trial.failure is not None for trial in first):
                log = checkpoints.trial_folder(self.workers.folder, message.trial).with_suffix(".log")
                raise StudyError(
                    f"the first {HOPELESS} trials all failed, the last with: {record.failure}; "
                    f"what it printed is in {log}"
                )

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


def _from_the_start(job: Job, gone: str | None) -> tuple[str, str]:
    """What is told once of a promotion that trains from the start, by its kind; `gone`: why its checkpoints are."""
    what = f"trial {job.trial} was promoted from {job.start} to {job.until} and trains from the start again"
    if gone is not None:
        return "deleted", f"{what}: its checkpoints were deleted {gone}; with keep_checkpoints=True all are kept"
    return "from the start", (
        f"{what}, {job.start} units for nothing; to spare that, call trial.save(state) at the end and trial.load() "
        "at the beginning"
    )
