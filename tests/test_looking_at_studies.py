"""What a study shows of itself: its best trials in order, itself in a line, and in a notebook."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

import rungwise as rw


def a_study(*, trials: int = 40, mode: str = "min", **options) -> rw.Study:
    """Trained to its end; every fifth trial fails at its first rung, every seventh diverges there."""
    study = rw.Study({"x": rw.Float(0, 1)}, rw.PASHA(max_resource=27), mode=mode, **options)
    study.extend(trials=trials)
    while (job := study.ask()) is not None:
        if job.trial % 5 == 4:
            study.fail(job.trial, "it broke")
            continue
        for resource in range(job.start + 1, job.until + 1):
            loss = round(job.config["x"], 1) + 1 / resource
            study.report(job.trial, resource, math.nan if job.trial % 7 == 6 else loss if mode == "min" else -loss)
    return study


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("score", ["last", "best"])
def test_top_respects_rungs(mode: str, score: str) -> None:
    study = a_study(mode=mode, score=score)
    ranked = study.top(1000)
    assert ranked[0].number == study.best.number
    assert ranked[:7] == study.top(7)
    keys = [(-one.paused_at, one.reports[one.paused_at] * (1 if mode == "min" else -1)) for one in ranked]
    assert keys == sorted(keys)
    assert keys[0][0] < keys[-1][0], "not all at one rung"
    well = {one.number for one in study.trials if one.number % 5 != 4 and one.number % 7 != 6}
    assert {one.number for one in ranked} == well


def test_top_counts_what_was_completed_only() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(max_resource=9), mode="min")
    jobs = [study.ask() for _ in range(3)]
    for job, loss in zip(jobs, (0.3, 0.2, 0.1), strict=True):
        study.tell(job, loss)
    assert [one.number for one in study.top()] == [2, 1, 0]
    promoted = study.ask()
    study.report(promoted.trial, 2, 0.9)  # on its way: what counts is still the rung that it completed
    assert [one.number for one in study.top()] == [2, 1, 0]
    study.tell(promoted, 0.8)
    assert [one.paused_at for one in study.top()] == [3, 1, 1]
    assert study.top(0) == []
    assert [one.number for one in study.top(1)] == [study.best.number]


def test_top_says_what_it_cannot_do() -> None:
    study = a_study(trials=3)
    with pytest.raises(rw.InputError, match="k must be 0 or more, not -1"):
        study.top(-1)
    two = rw.Study({"x": rw.Float(0, 1)}, "asha", mode={"error": "min", "cost": "min"})
    with pytest.raises(rw.StudyError, match=r"study\.front"):
        two.top()


def test_tell_takes_a_job_or_the_number_of_a_trial() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(min_resource=3, max_resource=9), mode="min")
    job = study.ask()
    assert study.tell(job, 0.9, resource=1)
    assert study.tell(job.trial, 0.5)
    assert study.trials[0].reports == {1: 0.9, 3: 0.5}
    assert study.best.score == 0.5
    with pytest.raises(rw.InputError, match="trial 0 is not running"):
        study.tell(job, 0.4)


def test_tell_takes_no_job_that_is_not_the_one_that_runs() -> None:
    study, other = (rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(max_resource=9), mode="min") for _ in range(2))
    jobs = [study.ask() for _ in range(3)]
    for job, loss in zip(jobs, (0.3, 0.2, 0.1), strict=True):
        study.tell(job, loss)
    promoted = study.ask()
    assert promoted.trial == 2
    with pytest.raises(rw.InputError, match="of trial 2 to 1, is not the one that runs: trial 2 now runs to 3"):
        study.tell(jobs[2], 0.1)
    other.ask()
    with pytest.raises(rw.InputError, match="of trial 0 to 1, is not the one that runs: another study's"):
        other.tell(jobs[0], 0.1)
    assert study.tell(promoted, 0.05)


def test_a_study_in_a_line(tmp_path: Path) -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "asha", mode="max")
    assert repr(study) == "<Study in memory: 0 trials, no result yet>"
    job = study.ask()
    assert repr(study) == "<Study in memory: 1 trial, 1 running, no result yet>"
    study.tell(job, 0.5)
    assert repr(study) == "<Study in memory: 1 trial, best 0.5 at 1 (trial 0)>"
    config = study.trials[0].config
    assert repr(study.top()) == f"[TrialRecord(number=0, state='paused', resource=1, score=0.5, config={config!r})]"
    path = tmp_path / "study.db"
    with rw.Study({"x": rw.Float(0, 1)}, "asha", mode={"error": "min", "cost": "min"}, path=path) as two:
        two.tell(two.ask(), {"error": 0.1, "cost": 3})
        assert repr(two) == f"<Study {path}: 1 trial, 1 on the Pareto front>"
    assert repr(rw.Study.open(path)) == f"<Study {path}: 1 trial, 1 on the Pareto front>"


def test_a_study_in_a_notebook() -> None:
    study = rw.Study({"<i>": rw.Categorical(["<b>", "a&b"]), "y": rw.Integer(1, 3, when={"<i>": "<b>"})}, "asha")
    assert "<table" not in study._repr_html_()
    for _ in range(20):
        job = study.ask()
        study.tell(job, job.trial / 100)
    html = study._repr_html_()
    assert html.count("<tr>") == 11, "the head, and the best ten"
    assert "<th>&lt;i&gt;</th>" in html
    assert "<b>" not in html
    assert "<i>" not in html
    two = rw.Study({"x": rw.Float(0, 1)}, "asha", mode={"error": "min", "cost": "min"})
    two.tell(two.ask(), {"error": 0.25, "cost": 3})
    assert "<td>0.25</td><td>3</td>" in two._repr_html_()


def test_every_public_name_is_listed_and_none_needs_an_extra_for_that() -> None:
    code = (
        "import rungwise as rw, sys; print(*dir(rw)); assert 'torch' not in sys.modules and 'optuna' not in sys.modules"
    )
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {*rw.__all__, "GPSearch", "OptunaSearch", "SobolSearch"} <= {*listed}
