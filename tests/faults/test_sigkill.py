"""SIGKILL to the driver of a real study at random moments; the same command again finishes it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import rungwise as rw
from faults.victim import TRIALS
from rungwise.events import Fact

KILLS = int(os.environ.get("RUNGWISE_KILLS", "20"))
VICTIM = Path(__file__).with_name("victim.py")


def facts_of(folder: Path) -> list[Fact]:
    try:
        study = rw.Study.open(folder / "study.db")
    except rw.StudyError as error:
        if "no study" in str(error):  # killed before there was anything
            return []
        raise
    facts = [fact for _, fact in study.facts()]
    study.close()
    return facts


@pytest.mark.timeout(60 + 10 * KILLS)
def test_nothing_is_lost_when_the_driver_is_killed(tmp_path: Path) -> None:
    rng = random.Random(0)
    kills = studies = 0
    while kills < KILLS:
        folder = tmp_path / str(studies)
        folder.mkdir()
        studies += 1
        kills += kill_until_finished(folder, rng, KILLS - kills)
        check(folder)


def kill_until_finished(folder: Path, rng: random.Random, most: int) -> int:
    """Start the same command again and again, kill it up to `most` times; how often it was killed."""
    kills, known = 0, []
    while True:
        driver = subprocess.Popen([sys.executable, str(VICTIM), str(folder)], env=os.environ | {"PYTHONHASHSEED": "0"})
        if kills < most:
            try:
                driver.wait(timeout=rng.uniform(0.2, 1.5))
            except subprocess.TimeoutExpired:
                driver.send_signal(signal.SIGKILL)
                driver.wait()
                kills += 1
                facts = facts_of(folder)
                assert facts[: len(known)] == known, "what was in the log is there still"
                known = facts
                continue
        assert driver.wait(timeout=60) == 0
        assert facts_of(folder)[: len(known)] == known
        return kills


def check(folder: Path) -> None:
    study = rw.Study.open(folder / "study.db")
    assert len(study.trials) == TRIALS, "the wanted number of trials"
    assert [record.state for record in study.trials] == ["paused"] * TRIALS, "no trial is stuck or lost"
    assert study.finished
    assert study.best.refit_resource == 27
    saved: dict[int, int] = {}
    trained: Counter[tuple[int, int]] = Counter()
    for line in (folder / "diary").read_text().splitlines():
        what, trial, resource = line.split()
        if what == "began":
            assert int(resource) >= saved.get(int(trial), 0), "goes on from the checkpoint that there was"
        elif what == "trained":
            trained[int(trial), int(resource)] += 1
        else:
            saved[int(trial)] = int(resource)
            record = study.trials[int(trial)]
            assert int(resource) in record.reports | record.refit, "a report that was followed by a save is in the log"
    repeated = sum(count - 1 for count in trained.values())
    sessions = sum(isinstance(fact, rw.events.Opened) for _, fact in study.facts())
    assert repeated <= 2 * sessions, "at most the epoch under way is trained again, for each worker"
    study.close()


KINDS = [
    "created",
    "extended",
    "started",
    "reported",
    "completed",
    "promoted",
    "raised",
    "opened",
    "refitted",
    "retried",
]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_when_the_driver_dies_after_a_fact(kind: str, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONHASHSEED": "0", "DIE_AFTER": kind}
    if kind == "retried":
        environment["FAULT"] = "function raises"
    command = [sys.executable, str(VICTIM), str(tmp_path)]
    if kind == "opened":  # there must be something to open
        subprocess.run(command, env=environment | {"DIE_AFTER": "completed"}, check=False)
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    facts = facts_of(tmp_path)
    assert any(type(fact).__name__.lower() == kind for fact in facts)
    assert subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": "0"}, check=False).returncode == 0
    assert facts_of(tmp_path)[: len(facts)] == facts
    if kind == "retried":
        return  # what its diary says of a job that raised is for tests/faults/real.py
    check(tmp_path)


def test_the_configurations_are_those_of_a_study_that_nobody_killed(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    configs = []
    for name, kinds in (("killed", ["completed", "promoted", "started"]), ("whole", [])):
        (tmp_path / name).mkdir()
        command = [sys.executable, str(VICTIM), str(tmp_path / name)]
        for kind in kinds:
            subprocess.run(command, env=environment | {"DIE_AFTER": kind}, check=False)
        assert subprocess.run(command, env=environment, check=False).returncode == 0
        study = rw.Study.open(tmp_path / name / "study.db")
        configs.append([record.config["x"] for record in study.trials])
        study.close()
    assert configs[0] == configs[1]


STARTS = int(os.environ.get("RUNGWISE_STARTS", "12"))


def test_many_first_starts_at_once_begin_one_study(tmp_path: Path) -> None:
    code = (
        "import rungwise as rw, os, sys, time\n"
        "try:\n"
        f"    study = rw.Study({{'x': rw.Float(0, 1)}}, path={str(tmp_path / 'study.db')!r})\n"
        "except rw.StudyError as error:\n"
        "    sys.exit(3 if 'is held by' in str(error) else str(error))\n"
        f"while not os.path.exists({str(tmp_path / 'enough')!r}): time.sleep(0.05)\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(STARTS)]
    while sum(process.poll() is None for process in started) > 1:
        time.sleep(0.05)
    (tmp_path / "enough").touch()
    codes = []
    for process in started:
        _, said = process.communicate(timeout=60)
        codes.append(process.returncode)
        assert process.returncode in (0, 3), said
    assert codes.count(0) == 1, "one holds it, and all others are told so"
    assert [type(fact).__name__ for fact in facts_of(tmp_path)] == ["Created"]


def test_workers_are_gone_soon_after_their_driver(tmp_path: Path) -> None:
    driver = subprocess.Popen([sys.executable, str(VICTIM), str(tmp_path)], env=os.environ | {"PYTHONHASHSEED": "0"})
    diary = tmp_path / "diary"
    while not diary.exists():
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    time.sleep(1)
    size = diary.stat().st_size
    time.sleep(0.5)
    assert diary.stat().st_size == size, "nobody trains any more"
