"""The line between driver and worker: the driver never waits on it, whatever is written there."""

from __future__ import annotations

import os
import threading
from itertools import count
from pathlib import Path

import pytest

import rungwise as rw
from rungwise.events import Completed, Job, Reported
from rungwise.executors import Begun, Broke, Executor, Message, Said
from rungwise.executors.limited import Limited
from rungwise.executors.limits import Limits
from rungwise.executors.line import LARGEST_MESSAGE, LENGTH, PIECE, DriverEnd, Garbled, WorkerEnd, a_line
from rungwise.executors.local import LocalWorkers
from rungwise.loop import Inbox


def a_pair() -> tuple[DriverEnd, WorkerEnd]:
    driver, theirs = a_line()
    return driver, WorkerEnd(theirs.detach())


def test_messages_come_whole_and_in_order_however_they_are_cut(tmp_path: Path) -> None:
    driver, theirs = a_line()
    said = [b"one", b"", b"x" * 3 * PIECE, b"last"]
    sent = b"".join(len(message).to_bytes(LENGTH, "big") + message for message in said)
    heard: list[bytes] = []

    def send() -> None:
        for at in range(0, len(sent), 9_973):
            theirs.sendall(sent[at : at + 9_973])
        theirs.close()

    sender = threading.Thread(target=send)
    sender.start()
    while (messages := driver.read()) is not None:
        heard += messages
    sender.join()
    assert heard == said


def test_half_a_message_is_not_waited_for() -> None:
    driver, theirs = a_line()
    theirs.sendall((5).to_bytes(LENGTH, "big") + b"hal")
    assert driver.read() == []
    assert driver.read() == []
    theirs.close()
    assert driver.read() is None


def test_what_cannot_be_a_length_is_garbled() -> None:
    driver, theirs = a_line()
    theirs.sendall(b"Epoch 1: loss 0.3")
    with pytest.raises(Garbled):
        driver.read()
    driver, theirs = a_line()
    theirs.sendall((LARGEST_MESSAGE + 1).to_bytes(LENGTH, "big"))
    with pytest.raises(Garbled):
        driver.read()


def test_a_worker_that_reads_nothing_does_not_hold_up_the_driver() -> None:
    driver, theirs = a_line()
    large = bytes(8 * 2**20)
    driver.send(large)
    driver.send(b"next")
    assert driver.waits
    worker = WorkerEnd(theirs.detach())
    heard: list[bytearray] = []
    reader = threading.Thread(
        target=lambda: heard.extend(worker._take(int.from_bytes(worker._take(LENGTH), "big")) for _ in range(2))
    )
    reader.start()
    while driver.waits:
        driver.push()
    reader.join()
    assert heard == [large, b"next"]


def test_a_forked_child_has_no_line() -> None:
    driver, worker = a_pair()
    worker.say(b"before")
    child = os.fork()
    if child == 0:
        try:
            worker.say(b"from the child")
        except rw.InputError as error:
            os._exit(0 if "the process that received it" in str(error) else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    worker.say(b"after")
    assert driver.read() == [b"before", b"after"]


def test_threads_do_not_mix_their_messages() -> None:
    driver, worker = a_pair()
    each = 300

    def say(letter: bytes) -> None:
        for _ in range(each):
            worker.say(letter * 5_000)

    threads = [threading.Thread(target=say, args=(bytes([65 + n]),)) for n in range(4)]
    for thread in threads:
        thread.start()
    heard: list[bytes] = []
    while len(heard) < 4 * each:
        heard += driver.read() or []
    assert all(len(message) == 5_000 and len(set(message)) == 1 for message in heard)


# And in a run: what happens to the driver, the job and the worker.


def the_line() -> int:
    """The descriptor of this worker's line."""
    fds = [int(name) for name in os.listdir("/proc/self/fd")]
    for fd in fds:
        try:
            if fd > 2 and os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"):
                return fd
        except OSError:
            pass
    raise AssertionError("no line")


def writes_garbage(trial: rw.Trial) -> None:
    os.write(the_line(), b"Epoch 1: loss 0.3\n")
    threading.Event().wait(600)


def writes_a_wrong_message(trial: rw.Trial) -> None:
    os.write(the_line(), (2).to_bytes(LENGTH, "big") + b"{}")
    threading.Event().wait(600)


def dies_in_the_middle(trial: rw.Trial) -> None:
    os.write(the_line(), (100).to_bytes(LENGTH, "big") + b"half of")
    os.kill(os.getpid(), 9)


def hangs_in_the_middle(trial: rw.Trial) -> None:
    os.write(the_line(), (100).to_bytes(LENGTH, "big") + b"half of")
    threading.Event().wait(600)


def heard(workers: Executor, job: Job) -> list[Said]:
    """What is said of `job`, but for its beginning."""
    workers.submit(job)
    said: list[Said] = []
    while not any(isinstance(each.message, Completed | Broke) for each in said):
        said += workers.poll(0.2)
    return [each for each in said if not isinstance(each.message, Begun)]


def run_one(workers: Executor, job: Job) -> list[Message]:
    return [each.message for each in heard(workers, job)]


NOT_UNDERSTOOD = "what its worker process said was not understood: something else wrote on the line to it"


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (writes_garbage, NOT_UNDERSTOOD),
        (writes_a_wrong_message, NOT_UNDERSTOOD),
        (dies_in_the_middle, "the worker process was killed by SIGKILL; out of memory?"),
        (hangs_in_the_middle, "the job took longer than job_seconds=3"),
    ],
)
def test_garbage_and_half_messages_end_the_worker_and_not_the_driver(function, reason: str, tmp_path: Path) -> None:
    workers = LocalWorkers(function, 1, tmp_path)
    limited = Limited(workers, Limits(job_seconds=3)) if function is hangs_in_the_middle else workers
    try:
        assert run_one(limited, Job(0, {"x": 0.5}, 0, 1)) == [Broke(0, reason)]
        assert workers._busy == workers._idle == []
    finally:
        workers.close()


def reports_from_threads(trial: rw.Trial) -> None:
    threads = [threading.Thread(target=lambda: [trial.report(0.5) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_function_may_report_from_its_threads(tmp_path: Path) -> None:
    workers = LocalWorkers(reports_from_threads, 1, tmp_path)
    try:
        said = run_one(workers, Job(0, {"x": 0.5}, 0, 80))
    finally:
        workers.close()
    assert [each.resource for each in said if isinstance(each, Reported)] == list(range(1, 81))


def reports_too_much(trial: rw.Trial) -> None:
    trial.report({f"metric {number} {'x' * 500}": 1.0 for number in range(40_000)})


def reports_half_a_character(trial: rw.Trial) -> None:
    trial.report({"loss\ud800": 1.0})


@pytest.mark.parametrize(
    ("function", "reason"),
    [(reports_too_much, "InputError: a report has "), (reports_half_a_character, "has a lone surrogate")],
)
def test_a_report_that_cannot_be_sent_breaks_the_job_off(function, reason: str, tmp_path: Path) -> None:
    workers = LocalWorkers(function, 1, tmp_path)
    try:
        said = heard(workers, Job(0, {"x": 0.5}, 0, 1))
    finally:
        workers.close()
    assert reason in said[-1].message.reason
    assert said[-1].place == 1, "the place of what was refused is the next one's"


def loses_a_message(trial: rw.Trial) -> None:
    """As if a signal's handler had raised in the midst of `report`."""
    usual = WorkerEnd.say

    def interrupted(line: WorkerEnd, message: bytes) -> None:
        WorkerEnd.say = usual
        raise TimeoutError("by a handler")

    WorkerEnd.say = interrupted
    try:
        trial.report(0.5)
    except TimeoutError:
        if trial.number == 1:
            raise
    trial.report(0.5)


@pytest.mark.parametrize(
    ("trial", "reason"), [(0, "a message of the job was lost"), (1, "TimeoutError: by a handler (test_line.py:")]
)
def test_a_job_of_which_a_message_is_lost_breaks_off_and_hangs_nobody(trial: int, reason: str, tmp_path: Path) -> None:
    workers = LocalWorkers(loses_a_message, 1, tmp_path)
    inbox, said = Inbox(workers, count()), []
    inbox.submit(Job(trial, {"x": 0.5}, 0, 2))
    try:
        while not any(isinstance(message, Broke) for message in said):
            said += inbox.poll(1.0)
    finally:
        workers.close()
    begun, ended = said  # of the rest one was lost, and it hears none out of order but the last
    assert isinstance(begun, Begun)
    assert isinstance(ended, Broke)
    assert ended.reason.startswith(reason)
