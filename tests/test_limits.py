"""Totals end what runs, and the time of a study is counted by a clock that nobody sets: real runs."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import objectives
import rungwise as rw
from objectives import SPACE
from rungwise import sqlite
from rungwise.events import Opened, Ran

LONG = rw.FullTraining(max_resource=400)  # of `objectives.slow`, that is 20 s


def tune(function, **arguments) -> rw.Study:
    defaults = {"mode": "min", "workers": 2, "scheduler": LONG, "quiet": True}
    return rw.tune(function, SPACE, **defaults | arguments)


def one_is_quick(trial: rw.Trial) -> None:
    """Trial 0 reaches any target at once; others take a second an epoch, or two hundredths without it."""
    trial.load()
    for epoch in trial:
        time.sleep(0.02)
        trial.report(0.0 if trial.number == 0 and epoch == 9 else 1.0)
        trial.save(epoch)


def never_saves(trial: rw.Trial) -> None:
    for epoch in trial:
        time.sleep(0.02)
        trial.report(1 / epoch)


def test_running_jobs_pause_at_their_next_checkpoint_when_the_time_is_up(tmp_path: Path, capfd) -> None:
    began = time.monotonic()
    study = tune(objectives.slow, seconds=1.5, study=tmp_path / "s.db", quiet=False)
    assert time.monotonic() - began < 15
    assert not study.interrupted
    assert "time is up: 2 running jobs will pause at their next checkpoint" in capfd.readouterr().err
    assert [record.state for record in study.trials] == ["running"] * 2
    reached = [record.resource for record in study.trials]
    assert all(0 < resource < 400 for resource in reached)
    before = study.running_seconds
    study = tune(objectives.slow, seconds=before + 1, study=tmp_path / "s.db")
    assert len(study.trials) == 2
    assert [record.resource > resource for record, resource in zip(study.trials, reached, strict=True)] == [True] * 2
    assert study.decider.restarted == {}


def test_running_jobs_pause_when_the_target_is_reached_and_the_study_is_finished(tmp_path: Path, capfd) -> None:
    study = tune(one_is_quick, trials=9, target=0.5, study=tmp_path / "s.db", quiet=False)
    assert study.finished
    assert len(study.trials) == 2
    assert all(record.resource < 400 for record in study.trials)
    assert "target reached" in capfd.readouterr().err
    again = tune(one_is_quick, trials=9, target=0.5, study=tmp_path / "s.db", quiet=False)
    assert repr(again.trials) == repr(study.trials), "nothing is given out again"
    assert "already finished: 2 of 9 trials" in capfd.readouterr().err
    on = tune(one_is_quick, trials=2, study=tmp_path / "s.db")
    assert [record.resource for record in on.trials] == [400, 400]


def test_running_jobs_pause_when_the_resource_is_used_up(tmp_path: Path) -> None:
    study = tune(objectives.slow, resource=30, study=tmp_path / "s.db")
    assert study.finished
    assert 30 <= study.resource_used < 60


def test_a_job_that_never_saves_is_trained_to_its_end_and_that_is_said_once(capfd) -> None:
    study = tune(never_saves, seconds=0.5, scheduler=rw.FullTraining(max_resource=100), quiet=False)
    said = capfd.readouterr().err
    assert said.count("a job can pause only when it calls trial.save(state)") == 1
    assert [record.resource for record in study.trials] == [100, 100]


def test_the_best_is_refitted_though_its_promotion_was_paused(tmp_path: Path) -> None:
    scheduler = rw.ASHA(max_resource=27)
    study = rw.Study(SPACE, scheduler, mode="min", path=tmp_path / "s.db")
    study.extend(trials=9, seconds=1e-9)
    while (job := study.ask()) is not None and not job.start:
        study.report(job.trial, 1, 10.0 + job.trial)
    assert job is not None, "a promotion, in which the driver dies"
    study.close()
    study = tune(objectives.train, scheduler=scheduler, seconds=1e-9, study=tmp_path / "s.db", refit=27)
    assert study.best.resource == 3
    assert study.best.refit_resource == 27
    assert study.running == []
    assert len(study.trials) < 9, "nothing else was given out"


JUMP = 365 * 86_400


@pytest.mark.parametrize("when", ["during a session", "between sessions"])
def test_a_clock_that_is_set_forward_spends_nothing(when: str, tmp_path: Path) -> None:
    """The wall clock of the log jumps by a year after the tenth fact."""
    code = """
import sys
sys.path.insert(0, {tests!r})
import time
import objectives, rungwise as rw
from rungwise import sqlite
append = sqlite.SQLiteLog.append
noted = 0
def later(log, fact, time=None):
    global noted
    noted += 1
    append(log, fact, now() + ({jump} if {jumps} and noted > {after} else 0))
now = time.time
sqlite.SQLiteLog.append = later
study = rw.tune(objectives.train, objectives.SPACE, mode="min", trials={trials}, seconds=600, workers=2, study="s.db",
                scheduler=rw.PASHA(max_resource=9), quiet=True)
print(len(study.trials))
"""
    for trials, jumps, after in [(9, when.startswith("during"), 10), (12, True, 0)]:
        text = code.format(tests=str(Path(__file__).parent), jumps=jumps, after=after, trials=trials, jump=JUMP)
        done = subprocess.run([sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.stdout == f"{trials}\n", done.stderr
    study = rw.Study.open(tmp_path / "s.db")
    times = [noted for noted, _ in study.facts()]
    assert max(times) - min(times) > JUMP / 2
    assert 0 < study.running_seconds < 120
    told = sum(fact.seconds for _, fact in study.facts() if isinstance(fact, Ran))
    assert study.running_seconds == pytest.approx(told, abs=5)
    study.close()


def test_in_a_log_that_does_not_tell_the_time_a_gap_counts_an_hour_at_most(tmp_path: Path) -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), path=tmp_path / "s.db")
    job = study.ask()
    study.report(job.trial, 1, 0.5)
    log = study.decider.log
    assert isinstance(log, sqlite.SQLiteLog)
    log.append(Opened("0.1.0"), time.time() + JUMP)
    log.append(Ran(5.0), time.time() + JUMP + 50)
    log.append(Opened("0.1.0"), time.time() + JUMP + 60)
    log.append(Opened("0.1.0"), time.time() + 2 * JUMP)
    log.flush()
    study.close()
    assert 5 <= rw.Study.open(tmp_path / "s.db").running_seconds < 10


def test_of_a_killed_session_what_it_did_not_live_to_tell_counts_a_minute_a_gap_at_most(tmp_path: Path) -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), path=tmp_path / "s.db")
    began = time.time()
    log = study.decider.log
    assert isinstance(log, sqlite.SQLiteLog)
    for seconds in (0, 10, 40, 40 + JUMP):
        log.append(Ran(3.0) if seconds == 10 else rw.events.Extended(trials=seconds + 1), began + seconds)
    log.flush()
    study.close()
    assert 3 + 30 + 60 <= rw.Study.open(tmp_path / "s.db").running_seconds < 3 + 30 + 61
