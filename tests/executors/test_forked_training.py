"""Functions that fork: children that have nothing to do with the trial just work, others are refused, none hangs."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rungwise as rw
from rungwise.events import Completed, Job
from rungwise.executors import Begun, Broke, Message, Said
from rungwise.executors.local import LocalWorkers
from rungwise.trial import ELSEWHERE, Trial

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
fork = multiprocessing.get_context("fork")


def tune(function, **arguments) -> rw.Study:
    defaults = {"mode": "min", "trials": 2, "retries": 0, "scheduler": rw.ASHA(max_resource=1), "quiet": True}
    return rw.tune(function, {"x": rw.Float(0, 1)}, **defaults | arguments)


def wait_until_gone(process: int) -> None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
            time.sleep(0.02)


def run_one(workers: LocalWorkers, job: Job) -> list[Message]:
    workers.submit(job)
    said: list[Said] = []
    while not any(isinstance(each.message, Completed | Broke) for each in said):
        said += workers.poll()
    return [each.message for each in said if not isinstance(each.message, Begun)]


def train(trial: rw.Trial) -> None:
    for epoch in trial:
        trial.report(1 / epoch)
        trial.save(epoch)


def trains_in_a_child(trial: rw.Trial) -> None:
    child = fork.Process(target=train, args=(trial,))
    child.start()
    child.join()


def trains_in_a_bare_fork(trial: rw.Trial) -> None:
    if os.fork() == 0:
        train(trial)
    os.wait()


def loads_in_a_child(trial: rw.Trial) -> None:
    child = fork.Process(target=trial.load)
    child.start()
    child.join()


@pytest.mark.parametrize("function", [trains_in_a_child, trains_in_a_bare_fork, loads_in_a_child])
def test_training_in_a_forked_child_is_refused_and_said(function) -> None:
    study = tune(function)
    assert [record.failure for record in study.trials] == [
        f"a child process of the function tried to report, save, or load; {ELSEWHERE}"
    ] * 2


def both_report(trial: rw.Trial) -> None:
    children = [fork.Process(target=train, args=(trial,)) for _ in range(3)]
    for child in children:
        child.start()
    train(trial)
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [1, 1, 1]


def a_child_returns(trial: rw.Trial) -> None:
    """As if it were the function's end."""
    if (child := os.fork()) != 0:
        train(trial)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def loads_its_data_in_children(trial: rw.Trial) -> None:
    with fork.Pool(2) as pool:
        for epoch in trial:
            trial.report(sum(pool.map(abs, range(-epoch, epoch))))


def ends_its_child(trial: rw.Trial) -> None:
    child = fork.Process(target=time.sleep, args=(600,))
    child.start()
    child.terminate()  # SIGTERM, which the worker itself outlives
    child.join()
    assert child.exitcode == -signal.SIGTERM
    train(trial)


@pytest.mark.parametrize("function", [both_report, a_child_returns, loads_its_data_in_children, ends_its_child])
def test_forks_that_harm_nobody(function) -> None:
    study = tune(function)
    assert [record.failure for record in study.trials] == [None, None]
    assert [record.resource for record in study.trials] == [1, 1]


def leaves_a_child_that_keeps_the_line(trial: rw.Trial) -> None:
    import ctypes

    libc = ctypes.CDLL(None)
    child = libc.fork()  # nothing of Python's sees it, so that the child has the line, too
    if child == 0:
        libc.sleep(600)
        os._exit(0)
    (trial.folder / "child").write_text(str(child))
    if trial.number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    train(trial)


def test_a_death_is_noticed_though_a_child_keeps_the_line(tmp_path: Path) -> None:
    workers = LocalWorkers(leaves_a_child_that_keeps_the_line, 1, tmp_path)
    try:
        said = run_one(workers, Job(0, {"x": 0.5}, 0, 1))
        assert said == [Broke(0, "the worker process was killed by SIGKILL; out of memory?")]
        said = run_one(workers, Job(1, {"x": 0.5}, 0, 1))
        assert isinstance(said[-1], Completed)
        (idle,) = workers._idle
        idle.process.kill()  # while it is idle
        idle.process.wait()
        assert isinstance(run_one(workers, Job(2, {"x": 0.5}, 0, 1))[-1], Completed)
    finally:
        workers.close()
    for trial in range(3):
        child = int((tmp_path / f"{trial:06d}" / "child").read_text())
        wait_until_gone(child)


def test_a_trial_cannot_be_pickled(tmp_path: Path) -> None:
    with pytest.raises(rw.InputError, match="only in the process that received it"):
        pickle.dumps(Trial(Job(0, {}, 0, 1), tmp_path, print))


LEAVES_A_CHILD = """
import subprocess, sys, time
import rungwise as rw
def train(trial):
    child = subprocess.Popen(["sleep", "600"], process_group=0)
    print(child.pid, file=open("child", "w"), flush=True)
    sum(range(10**12))  # in C code that lets no thread run
rw.tune(train, {"x": rw.Float(0, 1)}, mode="min", trials=1, quiet=True)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="its sessions cannot be looked through")
def test_what_a_function_has_started_is_gone_when_the_driver_is_killed(tmp_path: Path) -> None:
    driver = subprocess.Popen([sys.executable, "-c", LEAVES_A_CHILD], cwd=tmp_path)
    path = tmp_path / "child"
    while not path.exists() or not path.read_text().endswith("\n"):
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    wait_until_gone(int(path.read_text()))
