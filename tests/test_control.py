"""A study is told what to do while it runs, from another process: by files in a folder beside it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import rungwise as rw
from rungwise.control import Control, Request, ask, folder_of, is_paused

RUN = """
import logging, sys, time
sys.path.insert(0, {tests!r})
import objectives, rungwise as rw
study = rw.tune(objectives.slow, objectives.SPACE, mode="min", trials=10_000, workers=2, study="s.db",
                scheduler=rw.FullTraining(max_resource=20), quiet=True)
print(len(study.trials), study.interrupted)
"""


def rungwise(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from rungwise.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def until(condition: object, what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def seen(folder: Path) -> rw.Study:
    return rw.Study.open(folder / "s.db")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A driver of `s.db` in `tmp_path`, in which two jobs run."""
    code = RUN.format(tests=str(Path(__file__).parent))
    driver = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True)

    def begun() -> bool:
        return (tmp_path / "s.db").exists() and len(rungs(tmp_path)) > 0

    until(begun, "no report")
    yield driver
    driver.kill()
    driver.wait()


def rungs(folder: Path) -> list[object]:
    try:
        return [record for record in seen(folder).trials if record.resource]
    except rw.StudyError:  # it has just begun
        return []


def test_a_study_is_paused_goes_on_is_extended_and_stopped(running: subprocess.Popen[str], tmp_path: Path) -> None:
    paused = rungwise(tmp_path, "pause", "s.db")
    assert (paused.returncode, paused.stderr) == (0, "")
    assert paused.stdout.startswith("pausing: ")
    until(lambda: len(seen(tmp_path).state.running) >= 1 and not moves(tmp_path), "it trains on")
    assert running.poll() is None, "the driver waits"
    queued = rungwise(tmp_path, "enqueue", "s.db", '{"x": 0.123}')
    assert (queued.returncode, queued.stdout) == (0, "it will be tried next\n")
    wrong = rungwise(tmp_path, "enqueue", "s.db", '{"y": 1}')
    assert (wrong.returncode, wrong.stderr) == (
        1,
        "rungwise: the configuration has 'y', but the space does not; choose from 'x'\n",
    )
    status = rungwise(tmp_path, "status", "s.db").stdout
    assert "\npaused: continue with rungwise resume\n" in status
    assert ", 1 enqueued" in status
    assert status.endswith('\nenqueued: {"x": 0.123}\n')
    extended = rungwise(tmp_path, "extend", "s.db", "--resource", "500000")
    assert extended.stdout == "the totals are now: trials 10000, resource 500000\n"
    reached = rungwise(tmp_path, "extend", "s.db", "--trials", "1").stdout
    assert re.fullmatch(r"the totals are .* 1, .*; trials=1 has already been reached: \d+ trials started\n", reached)
    assert "has already been reached" not in rungwise(tmp_path, "extend", "s.db", "--trials", "10000").stdout
    assert "nothing to retry" in rungwise(tmp_path, "retry", "s.db").stdout
    assert rungwise(tmp_path, "resume", "s.db").stdout == "continuing\n"
    assert "paused" not in rungwise(tmp_path, "status", "s.db").stdout
    until(lambda: any(record.config == {"x": 0.123} for record in seen(tmp_path).trials), "not tried")
    again = rungwise(tmp_path, "resume", "s.db")
    assert again.returncode == 1
    assert "s.db is held by process" in again.stderr
    assert rungwise(tmp_path, "stop").returncode == 1, "there is no rungwise.db"
    assert rungwise(tmp_path, "stop", "s.db").stdout.startswith("stopping: ")
    said, _ = running.communicate(timeout=60)
    assert said.split()[1] == "True"
    assert seen(tmp_path).budget.resource == 500_000
    assert not folder_of(tmp_path / "s.db").exists()


def test_a_driver_that_was_killed_while_it_paused_is_not_paused(running: subprocess.Popen[str], tmp_path: Path) -> None:
    assert rungwise(tmp_path, "pause", "s.db").returncode == 0
    assert "paused" in rungwise(tmp_path, "status", "s.db").stdout
    running.kill()
    running.wait()
    assert "paused" not in rungwise(tmp_path, "status", "s.db").stdout
    control = Control((tmp_path / "s.db").resolve(), str)
    assert not is_paused((tmp_path / "s.db").resolve()), "another driver begins"
    control.close()


def moves(folder: Path) -> bool:
    """Whether anything is reported in half a second."""
    before = seen(folder).resource_used
    time.sleep(0.5)
    return seen(folder).resource_used != before


def test_what_is_no_request_is_answered_or_passed_over(running: subprocess.Popen[str], tmp_path: Path) -> None:
    folder = folder_of((tmp_path / "s.db").resolve())
    (folder / "1.request").write_text('{"ask": "explode"}')
    (folder / "2.request").write_text("[1")
    (folder / "3.request").symlink_to("/etc/passwd")
    os.mkfifo(folder / "4.request")
    (folder / "5.request").write_bytes(b" " * (1 << 21))
    (folder / "notes.txt").write_text("mine")
    until(lambda: not list(folder.glob("*.request")), "they are still there")
    answers = {place.name: json.loads(place.read_text()) for place in folder.glob("*.answer")}
    assert set(answers) == {"1.answer", "2.answer"}
    assert all(answer["refused"] and "the request cannot be read" in answer["said"] for answer in answers.values())
    assert (folder / "notes.txt").read_text() == "mine"
    assert running.poll() is None


def test_a_total_that_is_reached_already_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "asha", path=tmp_path / "rungwise.db")
    study.extend(trials=3, seconds=60)
    for _ in range(3):
        job = study.ask()
        study.report(job.trial, job.until, 0.5)
    study.extend(trials=3, seconds=60)
    assert not caplog.messages, "as it was"
    study.extend(trials=2, resource=9, target=0.5)
    assert caplog.messages == [
        "trials=2 has already been reached: 3 trials started",
        "target=0.5 has already been reached: a score as good as this was reported",
    ]
    study.close()
    done = rungwise(tmp_path, "extend", "--resource", "2")
    assert "resource=2 has already been reached: 3 used\n" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout.startswith("continue with: ")


def test_without_a_driver_totals_and_configurations_are_noted_at_once(tmp_path: Path) -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "asha", path=tmp_path / "rungwise.db")
    study.close()
    assert rungwise(tmp_path, "extend", "--trials", "7").returncode == 0
    assert rungwise(tmp_path, "enqueue", "rungwise.db", '{"x": 0.5}').returncode == 0
    for command in ("pause", "stop"):
        done = rungwise(tmp_path, command)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert f"no process drives rungwise.db, so there is nothing to {command}" in done.stderr
    for wrong in ("[1]", "{x"):
        assert rungwise(tmp_path, "enqueue", "rungwise.db", wrong).stderr.count("\n") == 1
    assert rungwise(tmp_path, "status").returncode == 0, "the file is rungwise.db unless another is named"
    again = rw.Study({"x": rw.Float(0, 1)}, "asha", path=tmp_path / "rungwise.db")
    assert (again.budget.trials, again.ask().config) == (7, {"x": 0.5})
    again.close()


def test_a_driver_that_does_not_answer_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(rw.StudyError, match="takes no requests: it runs its own loop"):
        ask(tmp_path / "s.db", Request("pause"))
    folder_of(tmp_path / "s.db").mkdir()
    with pytest.raises(rw.StudyError, match=r"the driver did not answer within 0\.3 s"):
        ask(tmp_path / "s.db", Request("pause"), patience=0.3)
    assert not list(folder_of(tmp_path / "s.db").iterdir()), "nothing is left that a later driver would do"


def test_a_folder_of_requests_that_is_anothers_or_a_link_is_not_taken(tmp_path: Path) -> None:
    done: list[Request] = []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "1.request").write_text('{"ask": "stop"}')
    folder_of(tmp_path / "s.db").symlink_to(tmp_path / "mine")
    control = Control(tmp_path / "s.db", lambda request: done.append(request) or "done")
    control.look()
    with pytest.raises(rw.StudyError, match="takes no requests"):
        ask(tmp_path / "s.db", Request("stop"), patience=0.3)
    assert (done, len(list((tmp_path / "mine").iterdir()))) == ([], 1)
    folder_of(tmp_path / "s.db").unlink()
    folder_of(tmp_path / "s.db").mkdir()
    folder_of(tmp_path / "s.db").chmod(0o777)
    with pytest.raises(rw.StudyError, match="takes no requests"):
        ask(tmp_path / "s.db", Request("stop"), patience=0.3)


def test_a_folder_or_deep_text_in_the_place_of_a_request_ends_no_run(tmp_path: Path) -> None:
    control = Control(tmp_path / "s.db", lambda request: "done")
    (folder_of(tmp_path / "s.db") / "1.request").mkdir()
    deep = '{"ask": "enqueue", "config": {"x": ' + "[" * 100_000 + "]" * 100_000 + "}}"
    (folder_of(tmp_path / "s.db") / "2.request").write_text(deep)
    control.look()
    answer = json.loads((folder_of(tmp_path / "s.db") / "2.answer").read_text())
    assert answer["refused"]
