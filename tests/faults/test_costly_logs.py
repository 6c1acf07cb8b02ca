"""Logs that only a hand writes, or an earlier version: looking at them is cheap, and works."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import rungwise as rw
from rungwise.events import Completed, Created, Extended, Fact, Opened, Promoted, Reported, Retried, Started
from rungwise.sqlite import SQLiteLog

SPACE = rw.Space({"x": rw.Float(0, 1)}).to_dict()


def written(path: Path, scheduler: dict, *facts: Fact, mode: str | dict[str, str] = "min") -> Path:
    log = SQLiteLog(path, writable=True)
    for fact in (Created(SPACE, scheduler, {"name": "random"}, mode, 0, "0.1.0"), *facts):
        log.append(fact)
    log.flush()
    log.close()
    return path


def seconds_to_open(path: Path) -> float:
    begun = time.process_time()
    rw.Study.open(path).close()
    return time.process_time() - begun


def test_tens_of_thousands_of_running_jobs_and_of_totals_open_in_linear_time(tmp_path: Path) -> None:
    def study(number: int) -> Path:
        facts: list[Fact] = [Started(trial, {"x": 0.5}, 1) for trial in range(number)]
        facts.append(Opened("0.1.0"))
        for trial in reversed(range(number)):
            facts += [Reported(trial, 1, 0.5), Completed(trial)]
        facts += [Extended(trials=number + more, target=0.1) for more in range(number)]
        return written(tmp_path / f"{number}.db", {"name": "asha", "max_resource": 9}, *facts)

    few, many = study(2_000), study(16_000)
    assert seconds_to_open(many) < 24 * max(0.05, seconds_to_open(few)), "eight times the facts; quadratic it was 64"


def test_a_job_that_broke_off_before_it_was_taken_up_waits_once(tmp_path: Path) -> None:
    facts = Started(0, {"x": 0.5}, 1), Opened("0.1.0"), Retried(0, "broke"), Retried(0, "broke")
    study = rw.Study.open(written(tmp_path / "s.db", {"name": "asha", "max_resource": 9}, *facts))
    assert study.state.under_way == 0
    assert [job.trial for job in study.running] == [0]


def test_a_target_counts_what_was_reported_before_it_was_set(tmp_path: Path) -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(max_resource=9), mode="max", path=tmp_path / "s.db")
    job = study.ask()
    assert job is not None
    study.report(job.trial, 1, 0.5)
    study.extend(target=0.6)
    assert not study.target_reached
    study.extend(target=0.5)
    assert study.target_reached
    study.close()
    again = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(max_resource=9), mode="max", path=tmp_path / "s.db")
    assert again.target_reached
    again.extend(target=0.7)
    assert not again.target_reached


def test_a_target_in_a_study_of_several_metrics_is_not_what_a_study_says(tmp_path: Path) -> None:
    mode = {"loss": "min", "size": "min"}
    path = written(tmp_path / "s.db", {"name": "asha", "max_resource": 9}, Extended(target=0.1), mode=mode)
    with pytest.raises(rw.StudyError, match="at fact 2: a target is for one metric"):
        rw.Study.open(path)


def test_a_study_of_stopping_asha_without_a_maximum_can_be_looked_at_and_not_gone_on_with(tmp_path: Path) -> None:
    settings = {"name": "asha-stopping", "min_resource": 1, "reduction_factor": 3.0, "max_resource": None}
    facts = Started(0, {"x": 0.5}, 1), Reported(0, 1, 0.25), Completed(0), Promoted(0, 3)
    path = written(tmp_path / "s.db", settings, *facts)
    study = rw.Study.open(path)
    assert study.best.score == 0.25
    assert study.rungs() == [(3, 0, 1, None), (1, 1, 0, 0.25)]
    with pytest.raises(rw.StudyError, match="max_resource"):
        rw.Study.open(path, writable=True)
