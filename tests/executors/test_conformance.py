"""Executors go through the public suite: the local one, and one that is written from the protocol's docstring alone."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path

import pytest

import rungwise as rw
from rungwise import testing
from rungwise.events import Completed, Job
from rungwise.executors import Broke, Executor, Paused, Said
from rungwise.executors.job import run_job
from rungwise.executors.local import LocalWorkers
from rungwise.testing import check_executor

fork = multiprocessing.get_context("fork")


def resize(executor: Executor, capacity: int) -> None:
    executor.capacity = capacity


class Toy:
    """A process a job, and a pipe from it."""

    def __init__(self, function: Callable[[rw.Trial], object], folder: Path, capacity: int = 2) -> None:
        self.function, self.folder, self.capacity = function, folder, capacity
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
        run_job(job, self.function, self.folder, line.send, pausing)

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


def two_local(function: Callable[[rw.Trial], object], folder: Path) -> LocalWorkers:
    return LocalWorkers(function, 2, folder)


@pytest.mark.parametrize("make", [two_local, Toy])
def test_executors_conform(make: testing.Make) -> None:
    check_executor(make, resize=resize)
