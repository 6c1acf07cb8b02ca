"""What would make a file that nobody can open is not noted: two jobs of one trial, reports that cannot be, late requests."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import rungwise as rw
from rungwise.blame import InARow
from rungwise.events import Completed, Fact, Reported, Started
from rungwise.executors import Broke, Said
from rungwise.loop import Inbox, drive
from rungwise.state import StudyState

SPACE = {"x": rw.Float(0, 1)}


def test_a_trial_whose_refit_is_under_way_is_promoted_when_that_has_ended(tmp_path: Path) -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), path=tmp_path / "s.db")
    study.extend(trials=3)
    for _ in range(3):
        job = study.ask()
        study.report(job.trial, 1, float(job.trial))
    assert study.refit(3)
    refit = study.ask()
    assert (refit.trial, refit.refit) == (0, True)
    assert study.ask() is None, "its promotion waits"
    assert not study.finished
    for resource in (2, 3):
        study.report(0, resource, 0.5)
    promoted = study.ask()
    assert (promoted.trial, promoted.start, promoted.until, promoted.refit) == (0, 1, 3, False)
    study.close()
    assert rw.Study.open(tmp_path / "s.db").trials[0].refit == {2: 0.5, 3: 0.5}


class Says:
    """Workers that say of each job what `report` makes of it, and then that it has ended."""

    capacity = 1

    def __init__(self, report: Any) -> None:
        self.report, self.said = report, []

    def submit(self, job: rw.Job) -> None:
        self.said = [Said(job.lease, 0, self.report(job)), Said(job.lease, 1, Completed(job.trial))]

    def poll(self, timeout: float = 0) -> list[Said]:
        said, self.said = self.said, []
        return said


@pytest.mark.parametrize(
    "report",
    [
        lambda job: Reported(job.trial, job.until + 5, 0.5),
        lambda job: Reported(job.trial, 1.0, 0.5),
        lambda job: Reported(job.trial, True, 0.5),
        lambda job: Reported(job.trial, 1, 0.5, math.nan),
        lambda job: Reported(job.trial, 1, 0.5, -3.0),
        lambda job: Reported(job.trial, 1, 0.5, "long"),
        lambda job: Reported(job.trial, 1, "good"),
        lambda job: Reported(job.trial, 1, 7),
        lambda job: Broke(job.trial, "gone \ud800"),
    ],
)
def test_what_an_executor_brings_that_cannot_be_fails_its_job_and_leaves_the_file_whole(report, tmp_path: Path) -> None:
    study = rw.Study(SPACE, "asha", path=tmp_path / "s.db")
    study.extend(trials=2)
    drive(study, Inbox(Says(report)))
    study.close()
    seen = rw.Study.open(tmp_path / "s.db")
    assert [record.failure is not None for record in seen.trials] == [True, True]


def test_a_job_that_is_withdrawn_leaves_room_for_another_under_suspicion() -> None:
    now = [0.0]
    judge = InARow(2, 100, worked=True, clock=lambda: now[0])
    for trial in range(3):
        judge.began(trial)
        judge.broke(trial, 0, "disk full")
    now[0] = 10.0
    assert judge.may_give_out()
    judge.began(3)
    assert not judge.may_give_out(), "one at a time"
    judge.withdrawn(3)
    assert judge.may_give_out()


def test_initial_configurations_are_tried_whatever_is_enqueued() -> None:
    study = rw.Study(SPACE, "asha", initial=[{"x": 0.1}, {"x": 0.2}])
    study.enqueue({"x": 0.9})
    assert [study.ask().config["x"] for _ in range(3)] == [0.9, 0.1, 0.2]


def test_a_closed_study_gives_out_no_job(tmp_path: Path) -> None:
    study = rw.Study(SPACE, "asha", path=tmp_path / "s.db")
    job = study.ask()
    study.close()
    with pytest.raises(rw.StudyError, match="is closed"):
        study.ask()
    looked = rw.Study.open(tmp_path / "s.db")
    assert not looked.finished
    with pytest.raises(rw.StudyError, match="was opened read-only"):
        looked.ask()
    assert [one.trial for one in looked.running] == [job.trial]


def test_observers_that_change_the_study_hear_everything_in_order() -> None:
    heard: list[Fact] = []
    study = rw.Study(SPACE, "asha")

    def enqueues(state: StudyState, fact: Fact) -> None:
        if isinstance(fact, Started) and len(state.trials) == 1:
            study.enqueue({"x": 0.5})
            raise KeyError("and then it is lost")

    study.observe(enqueues)
    study.observe(lambda state, fact: heard.append(fact))
    study.ask()
    assert heard == [fact for _, fact in study.facts()][1:]
