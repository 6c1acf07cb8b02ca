"""A forked child has a copy of the study; it may look at it, and is told so when it would change it."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import rungwise as rw

SPACE = {"x": rw.Float(0, 1)}


def in_child(work: Callable[[], Any]) -> Any:
    """What `work` returns, or the message of the error that it raises, in a forked child."""
    receive, send = os.pipe()
    if (child := os.fork()) == 0:
        try:
            said = work()
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        os.write(send, json.dumps(said).encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text)


@pytest.fixture
def study(tmp_path: Path) -> Any:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), path=tmp_path / "study.db")
    study.extend(trials=20)
    study.ask()
    yield study
    study.close()


CHANGES: dict[str, Callable[[rw.Study], Any]] = {
    "ask": lambda study: study.ask(),
    "report": lambda study: study.report(0, 1, 0.5),
    "complete": lambda study: study.complete(0),
    "fail": lambda study: study.fail(0),
    "extend": lambda study: study.extend(trials=30),
    "refit": lambda study: study.refit(),
    "sync": lambda study: study.sync(),
    "facts": lambda study: len(list(study.facts())),
}


@pytest.mark.parametrize("call", CHANGES)
def test_a_forked_child_is_refused(call: str, study: rw.Study) -> None:
    said = in_child(lambda: CHANGES[call](study))
    assert said.startswith(f"StudyError: this study belongs to process {os.getpid()}, from which this one (process ")
    assert said.endswith("ask and report there, or open the study here")
    assert "\n" not in said


def test_a_study_in_memory_is_refused_too() -> None:
    study = rw.Study(SPACE)
    assert "belongs to process" in in_child(study.ask)
    assert study.ask().trial == 0


def test_a_forked_child_may_look_and_the_file_stays_whole(study: rw.Study, tmp_path: Path) -> None:
    study.report(0, 1, 0.5)

    def look() -> Any:
        for call in CHANGES.values():
            with pytest.raises(rw.StudyError):
                call(study)
        told = study.best.score, study.rungs(), len(study.rows()), study.explain()[:5], len(study.running)
        study.close()
        return told

    assert in_child(look) == json.loads(json.dumps((0.5, study.rungs(), 1, study.explain()[:5], 0)))
    while (job := study.ask()) is not None:
        for resource in range(job.start + 1, job.until + 1):
            study.report(job.trial, resource, job.config["x"])
        in_child(study.close)
    study.close()
    again = rw.Study.open(tmp_path / "study.db")
    assert [record.reports for record in again.trials] == [record.reports for record in study.trials]


ENDING = """
import os, sys
import rungwise as rw
study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(max_resource=1), path=sys.argv[1])
for number in range(9):
    study.ask()
    if (child := os.fork()) == 0:
        if number % 2:
            del study
        sys.exit(0)  # the interpreter throws everything away that it has
    assert os.waitpid(child, 0)[1] == 0
    study.report(number, 1, 0.5)
    assert os.path.exists(sys.argv[1] + "-wal")
os.kill(os.getpid(), 9)
"""


def test_a_child_that_ends_as_python_ends_leaves_the_file_to_its_parent(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ENDING, str(tmp_path / "s.db")], stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, b"")
    assert len(rw.Study.open(tmp_path / "s.db").rows(reports=True)) == 9


DRIVER = r"""
import os, sys, time
import rungwise as rw
study = rw.Study({"x": rw.Float(0, 1)}, path=sys.argv[1])
job = study.ask()
if os.fork() == 0:
    os.write(1, b"%d\n" % os.getpid())
    time.sleep(600)
study.report(0, 1, 0.5)
os.write(1, b"reported\n")
time.sleep(600)
"""


def test_a_child_that_lives_on_does_not_hold_the_study(tmp_path: Path) -> None:
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path / "s.db")], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    said = {driver.stdout.readline().strip(), driver.stdout.readline().strip()} - {"reported"}
    (child,) = map(int, said)
    try:
        with pytest.raises(rw.StudyError, match=f"is held by process {driver.pid} on"):
            rw.Study(SPACE, path=tmp_path / "s.db")
        driver.kill()
        driver.wait()
        os.kill(child, 0)  # it lives
        study = rw.Study(SPACE, path=tmp_path / "s.db")
        assert study.trials[0].reports == {1: 0.5}
        study.close()
    finally:
        driver.kill()
        os.kill(child, signal.SIGKILL)


_shared: rw.Study | None = None


def _in_pool(number: int) -> Any:
    assert _shared is not None
    try:
        _shared.report(number, 1, 0.5)
    except rw.StudyError as error:
        return str(error)[:10], _shared.trials[0].config["x"]
    return "reported", 0


def test_a_pool_of_forked_processes_is_refused(study: rw.Study, tmp_path: Path) -> None:
    global _shared
    _shared = study
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert set(pool.map(_in_pool, range(12))) == {("this study", study.trials[0].config["x"])}
    _shared = None
    study.report(0, 1, 0.5)
    study.close()
    assert rw.Study.open(tmp_path / "study.db").trials[0].reports == {1: 0.5}


def test_a_child_has_studies_of_its_own(study: rw.Study, tmp_path: Path) -> None:
    def own() -> Any:
        mine = rw.Study(SPACE, path=tmp_path / "mine.db")
        mine.extend(trials=1)
        mine.report(mine.ask().trial, 1, 0.25)
        mine.close()
        return rw.Study.open(tmp_path / "study.db").budget.trials

    assert in_child(own) == 20
    assert rw.Study.open(tmp_path / "mine.db").best.score == 0.25


def _asks(study: rw.Study) -> Any:
    return study.ask()


@pytest.mark.parametrize("kept", ["memory", "file"])
def test_a_study_cannot_be_pickled_nor_given_to_a_pool(kept: str, tmp_path: Path) -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "asha", path=tmp_path / "s.db" if kept == "file" else None)
    message = r"^a study cannot be pickled, .*send the jobs .*rw.Study.open\(path\)$"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(rw.StudyError, match=message):
            pickle.dumps(study, protocol)
    with pytest.raises(rw.StudyError, match=message):
        copy.copy(study)
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
        pytest.raises(rw.StudyError, match=message),
    ):
        pool.submit(_asks, study).result()
    assert study.trials == []
    study.ask()
    assert len(study.trials) == 1


def test_a_deep_copy_of_a_study_in_memory_is_another_study() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "pasha")
    study.ask()
    twin = copy.deepcopy(study)
    assert twin.ask() == copy.deepcopy(study).ask()
    twin.report(0, 1, 0.5)
    assert (len(twin.trials), twin.has_best) == (2, True)
    assert (len(study.trials), study.has_best) == (1, False)
    assert in_child(lambda: twin.report(1, 1, 0.5)).startswith("StudyError")
