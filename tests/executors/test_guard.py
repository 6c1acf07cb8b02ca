"""The process that ends the workers and what they have started when the driver cannot."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rungwise.events import Completed, Job
from rungwise.executors import guard
from rungwise.executors.guard import kill_sessions
from rungwise.executors.local import LocalWorkers
from rungwise.trial import Trial

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="sessions cannot be looked through")

LEADER = "sleep 600 & set -m; sleep 600 & echo $!; wait"  # one in its group, one in another


def a_session() -> tuple[subprocess.Popen[bytes], int]:
    """A leader of a session, and a process in it that is of another process group."""
    leader = subprocess.Popen(["bash", "-c", LEADER], start_new_session=True, stdout=subprocess.PIPE)
    assert leader.stdout is not None
    return leader, int(leader.stdout.readline())


def wait_until_gone(process: int) -> None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
            time.sleep(0.02)


def test_a_session_ends_with_all_its_groups_and_no_other_session_does() -> None:
    ours, member = a_session()
    other, untouched = a_session()
    assert os.getpgid(member) != ours.pid
    assert os.getsid(member) == ours.pid
    kill_sessions({ours.pid})
    assert ours.wait() == -signal.SIGKILL
    wait_until_gone(member)
    os.kill(untouched, 0)
    kill_sessions({other.pid})
    assert other.wait() == -signal.SIGKILL


def test_what_has_left_the_session_is_known_by_its_mark() -> None:
    """In the environment with which it began, or with which the parent began that it is a fork of."""
    session, member = a_session()
    fork = "import os, time; os.fork() or os.setsid(); os.write(1, b'%d\\n' % os.getpid()); time.sleep(600)"
    begun = [
        subprocess.Popen(
            [sys.executable, "-c", fork],
            start_new_session=True,
            stdout=subprocess.PIPE,
            env=os.environ | {guard.MARK: f"{session.pid}{more}"},
        )
        for more in ("", "0")
    ]
    marked, others = ([int(process.stdout.readline()) for _ in range(2)] for process in begun)
    kill_sessions({session.pid})
    for process in (member, *marked):
        wait_until_gone(process)
    for process in others:
        os.kill(process, 0)
    guard.kill_marked(f"{guard.MARK}={session.pid}0")
    for process in others:
        wait_until_gone(process)
    for process in (session, *begun):
        assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("told", [b"+%d\n", b"+%d\n-%d\n", b"+17000000\n-17000000\n"])
def test_what_the_guard_was_told_is_ended_when_its_input_ends(told: bytes) -> None:
    session, member = a_session()
    process = subprocess.Popen([sys.executable, "-I", "-S", guard.__file__], stdin=subprocess.PIPE)
    process.communicate(told.replace(b"%d", str(session.pid).encode()))
    assert process.returncode == 0
    if told == b"+%d\n":
        assert session.wait() == -signal.SIGKILL
        wait_until_gone(member)
    else:
        assert session.poll() is None
        kill_sessions({session.pid})
        session.wait()


def trains(trial: Trial) -> None:
    trial.report(0.5)


def test_a_guard_that_was_killed_is_replaced_and_knows_the_workers(tmp_path: Path) -> None:
    workers = LocalWorkers(trains, 2, tmp_path)
    try:
        workers.submit(Job(0, {}, 0, 1))
        first = workers._guard._process
        kill_sessions({first.pid})
        first.wait()
        workers.submit(Job(1, {}, 0, 1))
        assert workers._guard._process.pid != first.pid
        ended = 0
        while ended < 2:
            ended += sum(isinstance(said.message, Completed) for said in workers.poll())
        pids = [worker.process.pid for worker in workers._idle]
        assert workers._guard._leaders == set(pids)
    finally:
        workers.close()
