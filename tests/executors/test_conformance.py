"""Executors go through the public suite: the local one, and one that is written from the protocol's docstring alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path

import pytest

import rungwise as rw
from rungwise import folders, testing
from rungwise.checkpoints import Checkpoints
from rungwise.events import Completed, Job, Retried
from rungwise.executors import Broke, Executor, Paused, Said
from rungwise.executors.job import run_job
from rungwise.executors.local import LocalWorkers
from rungwise.storage import Storage
from rungwise.testing import check_executor

fork = multiprocessing.get_context("fork")


def resize(executor: Executor, capacity: int) -> None:
    executor.capacity = capacity


class Toy:
    """A process a job, and a pipe from it."""

    def __init__(self, function: Callable[[rw.Trial], object], storage: Storage, capacity: int = 2) -> None:
        self.function, self.storage, self.capacity = function, storage, capacity
        self.jobs: dict[Connection, tuple[Job, multiprocessing.Process, multiprocessing.Event]] = {}

    def submit(self, job: Job) -> None:
        ours, theirs = fork.Pipe(duplex=False)
        pausing = fork.Event()
        process = fork.Process(target=self.work, args=(job, theirs, pausing.is_set), daemon=True)
        process.start()
        theirs.close()
        self.jobs[ours] = job, process, pausing

    def work(self, job: Job, line: Connection, pausing: Callable[[], bool]) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        threading.Thread(target=self.end_with, args=(os.getppid(),), daemon=True).start()
        run_job(job, self.function, self.storage, line.send, pausing)

    def end_with(self, driver: int) -> None:
        while os.getppid() == driver:
            time.sleep(0.1)
        os._exit(1)

    def poll(self, timeout: float) -> list[Said]:
        heard = []
        for line in wait(list(self.jobs), timeout):
            job, _, _ = self.jobs[line]
            try:
                said = line.recv()
            except EOFError:
                said = Said(job.lease, None, Broke(job.trial, "its process died"))
            heard.append(said)
            if isinstance(said.message, Completed | Broke | Paused):
                self.end(line)
        return heard

    def end(self, line: Connection) -> None:
        _, process, _ = self.jobs.pop(line)
        process.kill()
        process.join()
        line.close()

    def pause(self) -> None:
        for _, _, pausing in self.jobs.values():
            pausing.set()

    def cancel(self, lease: int) -> None:
        for line in [line for line, (job, _, _) in self.jobs.items() if job.lease == lease]:
            self.end(line)

    def close(self) -> None:
        for line in list(self.jobs):
            self.end(line)


def test_the_toy_is_small() -> None:
    source = Path(__file__).read_text().partition("class Toy:")[2].partition("\n\n\n")[0]
    assert len(source.splitlines()) <= 60


def two_local(function: Callable[[rw.Trial], object], storage: Storage) -> LocalWorkers:
    return LocalWorkers(function, 2, storage)


@pytest.mark.parametrize("make", [two_local, Toy])
def test_executors_conform(make: testing.Make) -> None:
    check_executor(make, resize=resize)


class Deaf(Toy):
    def poll(self, timeout: float) -> list[Said]:
        return [said for said in super().poll(timeout) if said.place is not None]


class Forgetful(Toy):
    def poll(self, timeout: float) -> list[Said]:
        return [said for said in super().poll(timeout) if said.place != 3]


class Relentless(Toy):
    def pause(self) -> None: ...


class PausesForGood(Toy):
    def submit(self, job: Job) -> None:
        super().submit(job)
        if getattr(self, "paused", False):
            super().pause()

    def pause(self) -> None:
        self.paused = True
        super().pause()


class Abandons(Toy):
    def cancel(self, lease: int) -> None:
        for line in [line for line, (job, _, _) in self.jobs.items() if job.lease == lease]:
            self.jobs.pop(line)


class Talkative(Toy):
    def cancel(self, lease: int) -> None: ...


class Outlives(Toy):
    def end_with(self, driver: int) -> None:
        time.sleep(20)  # long enough to be found out
        os._exit(1)


class Orphans(Toy):
    def close(self) -> None:
        self.jobs.clear()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (Deaf, "the job of lease 1 has not ended"),
        (Forgetful, "the job of lease 1 has not ended"),
        (Relentless, "the job of lease 1 has not ended"),
        (PausesForGood, "a job that is submitted after the pause runs to its end"),
        (Abandons, "the job was canceled, but its worker trains on"),
        (Talkative, "the job was canceled, but there was heard of it"),
        (Outlives, "the driver was killed, but its worker trains on"),
        (Orphans, "the executor was closed, but its worker trains on"),
    ],
)
def test_the_suite_finds(make: type[Toy], sentence: str) -> None:
    try:
        with pytest.raises(AssertionError, match=sentence):
            check_executor(make, patience=2)
    finally:
        for child in multiprocessing.active_children():
            child.kill()


def test_the_suite_finds_that_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Checkpoints, "begin", lambda self, there, note: self.hold(there))
    with pytest.raises(AssertionError, match="a lease that was begun a second time is refused"):
        check_executor(Toy, patience=2)


def test_the_suite_finds_that_an_older_lease_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Checkpoints, "_check", lambda self, there: None)
    monkeypatch.setattr(folders, "_holder", lambda kept, there: None)
    with pytest.raises(AssertionError, match="a lease that is older than another that was begun is refused"):
        check_executor(Toy, patience=2)


SPACE = {"x": rw.Float(0, 1)}


def dies_now_and_then(trial: rw.Trial) -> None:
    trial.load()
    for epoch in trial:
        mark = trial.folder / f"died at {epoch}"
        if epoch == 2 + trial.number % 2 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        trial.report(trial.config["x"] + 1 / epoch)
        trial.save(epoch)


def test_a_study_runs_in_an_executor_of_ones_own_while_workers_are_killed(tmp_path: Path) -> None:
    made: list[Toy] = []

    def make(function: Callable[[rw.Trial], object], storage: Storage) -> Toy:
        made.append(Toy(function, storage, capacity=3))
        return made[-1]

    study = rw.tune(
        dies_now_and_then, SPACE, mode="min", trials=12, scheduler=rw.ASHA(max_resource=9), quiet=True, executor=make,
        study=tmp_path / "s.db", refit=True,
    )  # fmt: skip
    facts = [fact for _, fact in rw.Study.open(tmp_path / "s.db").facts()]
    assert sum(isinstance(fact, Retried) for fact in facts) >= 3, "workers were killed"
    assert study.finished
    assert [record.failure for record in study.trials] == [None] * 12
    assert len(study.trials) == 12
    assert study.best.refit_resource == 9 or study.best.resource == 9
    assert study.best.load() == 9
    assert made[0].jobs == {}, "closed"


def test_a_study_of_an_executor_says_so_where_it_goes_on_with_local_workers(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("def train(trial):\n    for _ in trial:\n        trial.report(0.5)\n")
    toy = Toy(dies_now_and_then, tmp_path / "s.db.trials")
    for executor in (Toy, toy):
        rw.tune(
            dies_now_and_then, SPACE, mode="min", trials=3, scheduler=rw.ASHA(max_resource=1), executor=executor,
            study=tmp_path / "s.db",
        )  # fmt: skip
    command = ["resume", "s.db", "--function", "train.py:train", "--trials", "4"]
    code = f"import sys; sys.argv[1:] = {command}; from rungwise.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the jobs of this study ran in the executor Toy") == 1


def slow_once(trial: rw.Trial) -> None:
    first = not (mark := trial.folder / "begun").exists()
    mark.touch()
    for epoch in trial:
        time.sleep(60 if first and trial.number == 0 else 0)
        trial.report(1 / epoch)


def test_limits_hold_in_any_executor(tmp_path: Path) -> None:
    study = rw.tune(
        slow_once, SPACE, mode="min", trials=2, scheduler=rw.ASHA(max_resource=1), quiet=True, executor=Toy,
        study=tmp_path / "s.db", job_seconds=1,
    )  # fmt: skip
    reasons = [fact.reason for _, fact in rw.Study.open(tmp_path / "s.db").facts() if isinstance(fact, Retried)]
    assert reasons == ["the job took longer than job_seconds=1"]
    assert study.finished


def test_an_executor_that_is_there_is_used_as_it_is_and_closed(tmp_path: Path) -> None:
    toy = Toy(dies_now_and_then, tmp_path / "s.db.trials")
    study = rw.tune(
        dies_now_and_then, SPACE, mode="min", trials=3, scheduler=rw.ASHA(max_resource=1), quiet=True, executor=toy,
        study=tmp_path / "s.db",
    )  # fmt: skip
    assert len(study.trials) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": 1}, "workers= is for local processes"),
        ({"devices": [0]}, "devices= is for local processes"),
        ({"executor": 3}, "executor must be an Executor"),
    ],
)
def test_what_cannot_be_given_beside_an_executor(arguments: dict, message: str) -> None:
    with pytest.raises(rw.InputError, match=message):
        rw.tune(slow_once, SPACE, mode="min", trials=3, **{"executor": Toy} | arguments)
