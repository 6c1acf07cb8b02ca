"""What your function is handed: the configuration, how far to train, where to report and to save."""

from __future__ import annotations

import functools
import hashlib
import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar, cast, final

from rungwise.best_state import BestState
from rungwise.checkpoints import Checkpoints
from rungwise.errors import InputError
from rungwise.events import Config, Job, Reported
from rungwise.executors import Noticed
from rungwise.heads import Found, Head, identity
from rungwise.history import History
from rungwise.local_store import LocalStore
from rungwise.validation import as_score, copied, whole

IMPORTING = threading.Event()
"""Set while the file of a training function is being imported, when no study may be begun: it would begin
another one in each of its workers, and so on."""


ELSEWHERE = (
    "a trial can report, save, and load only in the process that received it, not in a child process: "
    "send the score back (multiprocessing.Queue, a return value) and call trial.report there"
)


class PauseRequested(BaseException):
    """Raised by `Trial.save` when the study is stopping; not an `Exception`, so it is not caught by accident."""


P = ParamSpec("P")
T = TypeVar("T")


def _where_it_was_given(method: Callable[Concatenate[Trial, P], T]) -> Callable[Concatenate[Trial, P], T]:
    """Refuse forked children, whose parent goes on with the same trial; threads take turns."""

    @functools.wraps(method)
    def checked(trial: Trial, *args: P.args, **kwargs: P.kwargs) -> T:
        if os.getpid() != trial._process:
            trial._astray[0] = 1
            raise InputError(ELSEWHERE)
        with trial._lock:
            return method(trial, *args, **kwargs)

    return cast("Callable[Concatenate[Trial, P], T]", checked)


@final
class Trial:
    """One job of one trial, as the training function sees it.

    Iterating over it yields the epochs (units of resource) to train in this job, up to `until`. They start after the
    state that `load` returned, or at 1 if nothing was loaded.

    `number` is the trial's number: 0, 1, 2, … in order of sampling. `config` is its configuration, which the function
    may change. `folder` is a folder of the trial's own, for whatever the function wants to keep. `start` is the rung
    from which the job resumes, 0 for a new trial. `horizon` is how far the trial may ever be trained, for learning-rate
    schedules; None if nothing says so. `worker` is the worker's number, from 0.

    >>> sent = []
    >>> trial = Trial(Job(0, {"lr": 0.1}, 0, 3), Path("folder"), sent.append)
    >>> for epoch in trial:
    ...     trial.report(1 / epoch)
    >>> [fact.resource for fact in sent]
    [1, 2, 3]
    """

    def __init__(
        self,
        job: Job,
        folder: Path,
        send: Callable[[Reported | Noticed], None],
        pause: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.perf_counter,
        *,
        worker: int = 0,
        kept: Checkpoints | None = None,
        step: Callable[[int], object] = lambda epoch: None,
        found: Found | None = None,
    ) -> None:
        # where several processes train one trial: `step` is called at the start of each epoch of the loop, and `found`
        # is what a rank other than 0 loads, which reports and saves nothing
        self.number: int = job.trial
        """The trial's number: 0, 1, 2, … in order of sampling."""
        self.config: Config = copied(job.config)
        """The configuration: parameter name -> value. The function may change it; nothing else is affected."""
        self.start: int = job.start
        """The rung from which the job resumes; 0 for a new trial."""
        self.until: int = job.until
        """The resource to which the job trains."""
        self.horizon: int | None = job.horizon
        """How far this trial may ever be trained: the scheduler's `max_resource`, or more if `tune(horizon=)` or a
        refit says so; None if nothing does. Run learning-rate schedules over this, not over `until`: a rung interrupts
        the schedule, and the next job continues it."""
        self.folder: Path = folder
        """A folder of the trial's own, for whatever the function wants to keep."""
        self.worker: int = worker
        """The worker's number, from 0; no two running workers have the same."""
        self._process = os.getpid()
        self._astray = mmap.mmap(-1, 1)  # shared with forked children: 1 if one of them has tried to report
        self._lock = threading.RLock()  # a function may report from its threads
        self._send, self._pause, self._clock = send, pause, clock
        self._job, self._step, self._found = job, step, found
        if kept is None:  # they are in its folder
            owner = identity(job.study, job.config)
            kept = Checkpoints(LocalStore(folder.parent), folder.name, owner, job.lease)
        self._kept = kept
        self._known = job.reported  # what the driver has noted
        self._at = 0  # the resource that the model has been trained to
        self._reported = 0
        self._spacing = 0
        self._iterating = False
        self._since = clock()
        self._history = History(kept)
        self._saved = False
        self._best = BestState(job, kept)

    def __iter__(self) -> Iterator[int]:
        self._iterating = True
        while self._at < self.until:
            self._step(self._at + 1)
            yield self._at + 1
            self._at += 1
        self._iterating = False

    @_where_it_was_given
    def report(self, score: object, resource: int | None = None) -> None:
        """Report the model's `score` at `resource` (default: the loop's current epoch, else the next one).

        `score` is one number: a Python or NumPy number, or a tensor with one element. NaN and infinities count as the
        worst. For several metrics it is a dict of numbers. The study ignores what an earlier job of this trial has
        already reported. Raises `InputError` if `score` is not a number, or if `resource` is beyond `until` or not
        above the last one.
        """
        if resource is None:
            resource = self._at + 1 if self._iterating else self._reported + 1
        resource = whole(resource, "resource")
        if resource > self.until:
            raise InputError(f"reported at resource {resource}, but this job only goes to trial.until = {self.until}")
        if resource <= self._reported:
            raise InputError(f"reported at resource {resource} after {self._reported}; each report must go further")
        taken, seconds = as_score(score), self._clock() - self._since
        self._spacing = resource - max(self._reported, self.start)
        self._reported = resource
        if self._found is not None:
            return
        self._history.add((resource, taken, seconds))
        if self._best.reported(resource, taken):
            self._kept.keep_newest(self._head(resource))
            self._best.saved()
        self._send(Reported(self.number, resource, taken, seconds))
        self._since = self._clock()

    @property
    def reported(self) -> int:
        """The highest resource reported in this job."""
        return self._reported

    @_where_it_was_given
    def save(self, state: object) -> None:
        """Save `state` as the state at the last reported resource; it is durable when `save` returns.

        In a loop over the trial it is the state after the current epoch, reported or not. It replaces the state before;
        with `score="best"`, the saved state with the best score is kept as well. `state` is anything that pickle can
        store.
        """
        if self._found is not None:
            return
        resource = max(self._reported, self._at + 1 if self._iterating else self._at)
        if self._history.full:
            self._history.spill()
        self._best.saving(resource)
        self._kept.save(self._head(resource), state)
        self._best.saved()
        self._saved = True
        if self._pause() and resource < self.until:
            raise PauseRequested
        self._since = self._clock()

    def _head(self, resource: int) -> Head:
        return self._history.head(resource, self._best.score)

    @_where_it_was_given
    def load(self) -> Any:
        """The newest saved state, or None; the loop over the trial then continues after its resource."""
        found = self._found or self._kept.find()
        if found.foreign or found.damaged:
            self._kept.set_aside(found)
        if found.foreign:
            self._send(Noticed(self.number, "set aside a checkpoint of another configuration or study"))
        if found.damaged:
            where = "from the start" if found.head is None else f"from the one before, at {found.head.resource}"
            self._send(Noticed(self.number, f"its newest checkpoint is damaged; training resumes {where}"))
        if (head := found.head) is None:
            return None
        state, history = found.state, History(self._kept)
        reports = [report for report in history.go_on_from(head) if report[0] <= self.until]
        known = [self._known, *(resource for resource, _, _ in reports)]
        if head.resource >= self.until and max(known) <= self.start:
            return None  # trained to the end, but the report of it is lost: only training again brings it back
        self._at = self._reported = head.resource
        self._history = history
        for report in reports:  # those that the driver may not have lived to note
            if report[0] > self.start:
                self._send(Reported(self.number, *report))
        self._since = self._clock()
        return state

    def seed(self, step: int = 0) -> int:
        """A seed, from 0 to 2**63 - 1, that depends only on the study, this trial, and `step`.

        Seed data order, dropout, and augmentation with it at the start of each epoch. They are then the same with or
        without a pause, and no generator's state has to be saved:

            for epoch in trial:
                rng = np.random.default_rng(trial.seed(epoch))
                torch.manual_seed(trial.seed(epoch))  # CUDA too
                order = rng.permutation(len(data))

        `np.random.seed` takes only 32 bits: `trial.seed(epoch) % 2**32`. Use `trial.seed()` before the first epoch, as
        for the initial weights. Another study has other seeds, even with the same `seed=`.

        >>> trial = Trial(Job(0, {}, 0, 3, study="5f1d"), Path("folder"), print)
        >>> trial.seed(1) == trial.seed(1) != trial.seed(2)
        True
        """
        words = f"{self._job.study}/{self.number}/{whole(step, 'step')}"
        return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest()) >> 1

    def __reduce__(self) -> NoReturn:
        raise InputError(ELSEWHERE)  # pickled, it would come to another process


def wrong_end(trial: Trial, returned: object = None, *, program: bool = False) -> str | None:
    """What is wrong with the function of `trial` having returned `returned` now; None if it did its job.

    `program`: it was one, not a function.
    """
    reported = max(trial._reported, trial._known)
    through = trial._at >= trial.until
    if reported > trial.start and (through or reported >= trial.until or reported + trial._spacing > trial.until):
        if trial._saved:
            trial._kept.settle()
        return None  # the last: it reports every so often, and the next report would be beyond
    if trial._astray[0]:
        return f"a child process of the function tried to report, save, or load; {ELSEWHERE}"
    if reported <= trial.start and not program and (score := _number(returned)) is not None:
        return (
            f"the function returned {score:g} but reported nothing; loop `for epoch in trial:` and call "
            "trial.report(score) after each epoch"
        )
    if reported <= trial.start and (program or through):
        who, how = ("program", ' (a line {"resource": …, "score": …})') if program else ("function", "")
        return (
            f"the {who} reported nothing between {trial.start} and {trial.until}; "
            f"report at least once by then{how}, or set min_resource to how often it reports"
        )
    if program:
        return (
            f"the program ended at resource {trial._reported}, before {{until}} = {trial.until}; "
            "let it train up to {until}, and report there"
        )
    return (
        f"the function returned at resource {trial._reported}, before trial.until = {trial.until}; "
        "loop over the whole trial, or report up to trial.until"
    )


def _number(value: object) -> float | None:
    """`value` if it could be a score."""
    try:
        score = as_score(value)
    except InputError:
        return None
    return score if isinstance(score, float) else None
