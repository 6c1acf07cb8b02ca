"""How a study stands is what its facts say: folded by anybody, from the log alone, at once or bit by bit."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rungwise as rw
from rungwise.events import Created, Opened
from rungwise.sqlite import SQLiteLog
from rungwise.state import StudyState
from test_taking_back import SCHEDULERS, begin, train


def shown(state: StudyState) -> dict[str, Any]:
    """All that a state says, but for what no fact says: who does the jobs that are under way."""
    return {
        "trials": [
            (r.number, r.config, r.reports, r.refit, r.score, r.paused_at, r.job, r.failure) for r in state.trials
        ],
        "rungs": state.rungs(),
        "winners": state.winners,
        "best": state.best if state.has_best else None,
        "rises": state.rises,
        "failures": state.failures,
        "numbers": (state.resource_used, state.ended_well, state.open_level, state.budget),
    }


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_state_that_is_folded_as_the_log_grows_is_that_of_the_study(scheduler: str, tmp_path: Path) -> None:
    chance = random.Random(3)
    study = begin(scheduler, path=tmp_path / "s.db")
    log = SQLiteLog(tmp_path / "s.db", writable=False)
    facts = log.read()
    _, created = next(facts)
    assert isinstance(created, Created)
    state, count = StudyState(created, folder=study.folder), 1
    for step in range(12):
        train(study, chance, 8, 0.3)
        if step % 4 == 3:
            study.retry_failed()
        for time, fact in log.read(after=count):
            state.apply(fact, time)
            count += 1
        assert shown(state) == shown(study.state)
        assert study.scheduler.open_level == state.open_level
    assert count == len(list(study.facts()))
    assert list(log.read(after=count)) == []


def test_reading_on_from_a_place_gives_the_facts_after_it(tmp_path: Path) -> None:
    for path in (tmp_path / "s.db", None):
        study = rw.Study({"x": rw.Float(0, 1)}, "asha", path=path)
        study.extend(trials=1_500)
        while (job := study.ask()) is not None:
            study.report(job.trial, job.until, job.config["x"])
        log = study.decider.log
        facts = list(log.read())
        assert len(facts) > 3_000
        for after in (0, 1, 999, 1_000, 1_001, len(facts) - 1, len(facts)):
            assert list(log.read(after)) == facts[after:]


def test_a_log_that_is_shorter_than_what_was_read_is_refused(tmp_path: Path) -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, path=tmp_path / "s.db")
    study.close()
    with pytest.raises(rw.StudyError, match="has been replaced or changed: fact 7 is gone"):
        list(SQLiteLog(tmp_path / "s.db", writable=False).read(after=7))


def test_a_fact_that_is_damaged_is_found_from_a_place_on_too(tmp_path: Path) -> None:
    import sqlite3

    study = rw.Study({"x": rw.Float(0, 1)}, path=tmp_path / "s.db")
    for _ in range(5):
        study.report(study.ask().trial, 1, 0.5)
    study.close()
    with sqlite3.connect(tmp_path / "s.db") as database:
        database.execute("UPDATE facts SET fact = replace(fact, '0.5', '0.4') WHERE id = 9")
    log = SQLiteLog(tmp_path / "s.db", writable=False)
    assert len(list(log.read(after=9))) == 5
    with pytest.raises(rw.StudyError, match="damaged at fact 9"):
        list(log.read(after=4))


@pytest.mark.needs("gp")
def test_looking_at_a_study_imports_neither_its_scheduler_nor_its_searcher(tmp_path: Path) -> None:
    rw.Study({"x": rw.Float(0, 1)}, "pasha", "gp", path=tmp_path / "s.db").close()
    code = (
        "import sys, rungwise as rw\nstudy = rw.Study.open('s.db')\n"
        "print(study.rungs(), study.rows(), study.explain())\nprint([m for m in ('torch', 'botorch') if m in sys.modules])"
    )
    seen = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert seen.stdout.splitlines()[-1] == "[]"


def test_a_session_that_begins_gives_all_jobs_out_again() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "asha")
    job = study.ask()
    assert (study.state.again, study.state.under_way) == ({}, 1)
    study.state.apply(Opened("1"))
    assert list(study.state.again) == [job.trial]


def test_a_study_lets_go_of_its_file_at_the_end_of_a_with_block(tmp_path: Path) -> None:
    with rw.Study({"x": rw.Float(0, 1)}, path=tmp_path / "s.db") as study:
        study.ask()
    with pytest.raises(rw.StudyError, match="is closed; open it again to continue"):
        study.ask()
    rw.Study({"x": rw.Float(0, 1)}, path=tmp_path / "s.db").close()
