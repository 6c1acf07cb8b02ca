"""Does an executor do what the loop needs? A suite for whoever writes one: plain asserts that say what is wrong.

from rungwise.testing import check_executor

def test_my_executor():
check_executor(MyExecutor)
"""

from __future__ import annotations

import contextlib
import itertools
import math
import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import final

from rungwise.core.asha import ASHA
from rungwise.events import Completed, Job, Reported
from rungwise.executors import TICK, Begun, Broke, Carrier, Executor, Message, Noticed, Paused, Said
from rungwise.folders import trial_folder
from rungwise.loop import Inbox, drive
from rungwise.parameters import Categorical, Float
from rungwise.space import Space
from rungwise.storage import Storage, leases
from rungwise.study import Study
from rungwise.trial import Trial

Make = Callable[[Callable[[Trial], object], Storage], Executor]

LONG = 1_000_000  # epochs that nobody waits for
QUIET = 1.0  # seconds in which nothing is to be heard of a job that was canceled


def check_executor(
    make: Make,
    *,
    resize: Callable[[Executor, int], object] | None = None,
    folder: str | Path | None = None,
    patience: float = 60.0,
    fork: bool = True,
) -> None:
    """Check that the executors of `make(function, storage)` do all that `rungwise.executors.Executor` says.

    Jobs kill the process in which they run, and a driver, forked from this process, is killed in the middle of a job:
    its workers must not train on. With `fork=False` that driver is a new process, to which `make` is pickled: for
    engines whose client cannot be forked. `resize(executor, capacity)` must bring the executor to another capacity
    eventually; without it, changing capacity is not checked. `folder` must be one that driver and workers both see, if
    they do not share this machine's temporary folder. Raises `AssertionError` if a rule is broken, or anything takes
    longer than `patience` seconds.
    """
    checks: list[Callable[[_Checked], None]] = [
        _says_all_in_order,
        _tells_of_a_death,
        _pauses,
        _cancels,
        _fences,
        _runs_as_many_as_it_says,
        _runs_a_study_with_kills,
        _ends_with_its_driver,
        _closes,
    ]
    if resize is not None:
        checks += [_grows_and_shrinks, _runs_a_study_while_it_grows_and_shrinks]
    for check in checks:
        # a worker that was left behind may still write into it
        with tempfile.TemporaryDirectory(dir=folder, prefix="rungwise-", ignore_cleanup_errors=True) as root:
            executor = make(_trains, Storage(Path(root)))
            try:
                check(_Checked(make, executor, Path(root), patience, resize, fork))
            except AssertionError as error:
                error.add_note(f"(found where it is checked that an executor{check.__name__.replace('_', ' ')})")
                raise
            finally:
                executor.close()


def _trains(trial: Trial) -> None:
    """Train as the configuration says, from the checkpoint on; write down each epoch."""
    does, once = trial.config.get("does"), trial.folder / "once"
    trial.load()
    for epoch in trial:
        with (trial.folder / "epochs").open("a") as file:
            file.write(f"{epoch}\n")
        if does == "meet":
            met = _wait(lambda: len(list(trial.folder.parent.glob("*/epochs"))) >= trial.config["together"])
            assert met, "the others have not begun"
        elif does == "slow":
            time.sleep(0.02)
        elif does == "raise":
            raise RuntimeError("on purpose")
        elif does == "die" and epoch == 2 and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        trial.report(_score(trial.config.get("x", 0.0), epoch))
        trial.save(epoch)


def _score(x: float, epoch: int) -> float:
    return x + 1 / epoch


def _wait(holds: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Whether it holds within `seconds`."""
    end = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < end:
        time.sleep(0.05)
    return held


@final
class _Checked:
    """The executor that is checked, with `_trains`, and what was heard of it."""

    def __init__(
        self,
        make: Make,
        executor: Executor,
        root: Path,
        patience: float,
        resize: Callable[[Executor, int], object] | None,
        fork: bool,
    ) -> None:
        self.make, self.executor, self.root, self.patience = make, executor, root, patience
        self._resize, self.fork = resize, fork
        self.heard: list[Said] = []

    def submit(self, trial: int, lease: int, until: int, does: str = "", *, start: int = 0, together: int = 0) -> None:
        self.until(lambda: self.executor.capacity > 0, "capacity is 0, so no job can be begun")
        self.executor.submit(
            Job(trial, {"does": does, "together": together}, start, until, lease=lease, study="checked")
        )

    def listen(self) -> None:
        self.heard += self.executor.poll(TICK)

    def until(self, holds: Callable[[], bool], otherwise: str) -> None:
        end = time.monotonic() + self.patience
        while not holds():
            assert time.monotonic() < end, f"after {self.patience:g} s {otherwise}; heard was {self.heard}"
            self.listen()

    def of(self, lease: int) -> list[Said]:
        """What was heard of the job of `lease`, in the order in which it was said, as far as nothing is missing."""
        placed: dict[int, Said] = {}
        alone = []
        for said in self.heard:
            if said.lease == lease and said.place is None:
                alone.append(said)
            elif said.lease == lease and said.place is not None:
                first = placed.setdefault(said.place, said)
                assert first == said, f"two messages have the place {said.place} in one job: {first} and {said}"
        return [placed[place] for place in itertools.takewhile(placed.__contains__, itertools.count())] + alone[:1]

    def end(self, lease: int) -> Said:
        """The last that is said of the job of `lease`; waits for it."""

        def ended() -> bool:
            return bool(all_said := self.of(lease)) and isinstance(all_said[-1].message, Completed | Broke | Paused)

        self.until(ended, f"the job of lease {lease} has not ended")
        return self.of(lease)[-1]

    def messages(self, lease: int) -> list[Message]:
        self.end(lease)
        return [said.message for said in self.of(lease) if not isinstance(said.message, Noticed)]

    def completes(self, lease: int, why: str) -> None:
        end = self.end(lease)
        assert isinstance(end.message, Completed), f"{why}, but it ended with {end}"

    def reports(self, lease: int) -> list[int]:
        return [said.message.resource for said in self.of(lease) if isinstance(said.message, Reported)]

    def has_reported(self, lease: int) -> None:
        self.until(lambda: bool(self.reports(lease)), f"the job of lease {lease} has reported nothing")

    def epochs(self, trial: int) -> list[int]:
        """The epochs that were trained of `trial`, again and again those that were lost."""
        with contextlib.suppress(FileNotFoundError):
            text = (trial_folder(self.root, trial) / "epochs").read_text()
            return [int(line) for line in text.split()]
        return []

    def stops(self, trial: int, why: str) -> None:
        """Nobody trains `trial` any more."""

        def still() -> bool:
            before = len(self.epochs(trial))
            time.sleep(QUIET / 2)
            return len(self.epochs(trial)) == before

        assert _wait(still, self.patience), f"{why}, but its worker trains on"

    def resize(self, capacity: int) -> None:
        assert self._resize is not None
        self._resize(self.executor, capacity)
        self.until(lambda: self.executor.capacity == capacity, f"capacity is not {capacity}")


def _says_all_in_order(it: _Checked) -> None:
    it.submit(0, 1, 5)
    said = it.messages(1)
    kinds = [type(message) for message in said]
    assert kinds == [Begun, *[Reported] * 5, Completed], f"a job of five epochs said {said}"
    assert it.reports(1) == [1, 2, 3, 4, 5], f"a job of five epochs reported {it.reports(1)}"
    it.submit(0, 2, 7, start=5)
    it.completes(2, "a trial that is promoted goes on")
    assert it.epochs(0) == [1, 2, 3, 4, 5, 6, 7], f"it went on from its checkpoint, but trained {it.epochs(0)}"
    it.submit(1, 3, 2, "raise")
    end = it.end(3)
    assert isinstance(end.message, Broke), f"the function raised, but the job ended with {end}"
    assert end.place is not None, f"the function raised and its worker lives: its end has a place, unlike {end}"
    assert "on purpose" in end.message.reason, f"the function raised, and the reason is only {end.message.reason!r}"


def _tells_of_a_death(it: _Checked) -> None:
    it.submit(0, 1, 4, "die")
    end = it.end(1)
    assert isinstance(end.message, Broke), f"its worker was killed, but the job ended with {end}"
    assert end.place is None, f"its worker was killed and cannot have said {end}; it is said without a place"
    it.submit(0, 2, 4, "die")
    it.completes(2, "after the death of a worker another does the job")
    assert it.epochs(0) == [1, 2, 2, 3, 4], f"the job went on from its checkpoint at 1, but trained {it.epochs(0)}"


def _pauses(it: _Checked) -> None:
    it.submit(0, 1, LONG, "slow")
    it.has_reported(1)
    it.executor.pause()
    end = it.end(1)
    assert isinstance(end.message, Paused), f"the job was asked to pause, but ended with {end}"
    it.submit(1, 2, 3)
    it.completes(2, "a job that is submitted after the pause runs to its end")


def _cancels(it: _Checked) -> None:
    it.submit(0, 1, LONG, "slow")
    it.has_reported(1)
    it.executor.cancel(1)
    it.heard.clear()
    end = time.monotonic() + QUIET
    while time.monotonic() < end:
        it.listen()
    assert not it.heard, f"the job was canceled, but there was heard of it {it.heard}"
    it.stops(0, "the job was canceled")
    it.executor.cancel(1)
    it.submit(1, 2, 3)
    it.completes(2, "a place where a job was canceled is free for another")
    it.executor.cancel(2)
    it.submit(0, 3, len(it.epochs(0)) + 2)
    it.completes(3, "a trial whose job was canceled may be given out again")


def _fences(it: _Checked) -> None:
    it.submit(0, 5, 3)
    it.completes(5, "a job of three epochs runs to its end")
    for lease, what in ((5, "was begun a second time"), (4, "is older than another that was begun")):
        it.heard.clear()
        it.submit(0, lease, 6)
        end = it.end(lease)
        refused = isinstance(end.message, Broke) and end.place is None
        assert refused, f"a lease that {what} is refused with Broke without a place, not with {end}"
        assert it.epochs(0) == [1, 2, 3], f"a lease that {what} trained {it.epochs(0)[3:]}"
    it.submit(0, 6, 4, start=3)
    it.completes(6, "a later lease is not refused")


def _runs_as_many_as_it_says(it: _Checked, first: int = 1) -> None:
    it.until(lambda: it.executor.capacity > 0, "capacity is 0, so no job can be begun")
    together = min(it.executor.capacity, 4)
    done = len(list(it.root.glob("*/epochs")))
    for lease in range(first, first + together):
        it.submit(lease, lease, 1, "meet", together=done + together)
    for lease in range(first, first + together):
        it.completes(lease, f"with a capacity of {together} so many jobs run at once")


def _grows_and_shrinks(it: _Checked) -> None:
    it.resize(1)
    it.submit(0, 1, 20, "slow")
    it.resize(0)
    it.completes(1, "a job that runs when the capacity goes runs to its end")
    for lease, capacity in ((10, 3), (20, 1), (30, 2)):
        it.resize(capacity)
        _runs_as_many_as_it_says(it, first=lease)


def _runs_a_study_while_it_grows_and_shrinks(it: _Checked) -> None:
    it.resize(0)
    changes = iter([2, 0, 1, 3])

    def watch(messages: list[Message]) -> None:
        if next(turn) % 3 == 0 and (capacity := next(changes, None)) is not None:
            assert it._resize is not None
            it._resize(it.executor, capacity)

    turn = itertools.count(1)
    _run_a_study(it, it.executor, watch)


def _runs_a_study_with_kills(it: _Checked) -> None:
    _run_a_study(it, _BadLine(it.executor))


def _run_a_study(
    it: _Checked, carrier: Carrier, watch: Callable[[list[Message]], None] = lambda messages: None
) -> None:
    space = Space({"x": Float(0, 1), "does": Categorical(["", "slow", "die"])})
    study = Study(space, ASHA(max_resource=9), mode="min")
    study.extend(trials=18)
    drive(study, Inbox(carrier, leases(it.root)), retries=5, watch=watch)
    assert study.finished, "the loop has ended, but the study is not finished"
    assert len(study.trials) == 18, f"there were to be 18 trials, not {len(study.trials)}"
    for record in study.trials:
        assert record.failure is None, f"trial {record.number} failed: {record.failure}"
        wrong = {r: score for r, score in record.reports.items() if score != _score(record.config["x"], r)}
        assert not wrong, f"trial {record.number} was noted with scores that it has not reported: {wrong}"
        assert sorted(record.reports) == list(range(1, record.resource + 1)), f"reports of {record} are missing"


@final
class _BadLine:
    """What lies between an executor and the loop: messages come twice, late and out of order."""

    def __init__(self, executor: Executor) -> None:
        self._executor, self._chance = executor, random.Random(0)
        self._late: list[Said] = []

    @property
    def capacity(self) -> int:
        return self._executor.capacity

    def submit(self, job: Job) -> None:
        self._executor.submit(job)

    def poll(self, timeout: float) -> list[Said]:
        said = self._late + self._executor.poll(min(timeout, 0.02) if self._late else timeout)
        said += self._chance.sample(said, len(said) // 3)
        self._chance.shuffle(said)
        self._late = [said.pop() for _ in range(len(said) // 3)]
        return said


def _ends_with_its_driver(it: _Checked) -> None:
    process = multiprocessing.get_context("fork").Process if it.fork else multiprocessing.get_context("spawn").Process
    driver = process(target=_drives, args=(it.make, it.root))
    driver.start()
    try:
        begun = _wait(lambda: len(it.epochs(0)) > 1, it.patience)
        assert begun, f"after {it.patience:g} s a job that was submitted by another process has not begun"
    finally:
        driver.kill()
        driver.join()
    it.stops(0, "the driver was killed")


def _drives(make: Make, root: Path) -> None:
    """A driver, until it is killed."""
    it = _Checked(make, make(_trains, Storage(root)), root, math.inf, None, fork=True)
    it.submit(0, 1, LONG, "slow")
    while True:
        it.listen()


def _closes(it: _Checked) -> None:
    it.submit(0, 1, LONG, "slow")
    it.has_reported(1)
    it.executor.close()
    it.stops(0, "the executor was closed")
    it.executor.close()
