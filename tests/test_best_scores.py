"""`score="best"`: of a trial's reports up to a resource the best one counts, everywhere, and nothing else changes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

import rungwise as rw

SPACE = {"x": rw.Float(0, 1)}
CURVES = [  # the first gets worse again, the second diverges at the end, the third improves slowly
    [0.30, 0.20, 0.50, 0.60, 0.70, 0.80, 0.85, 0.90, 0.95],
    [0.35, 0.25, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan],
    [0.90, 0.80, 0.70, 0.60, 0.50, 0.40, 0.35, 0.32, 0.31],
]


def trained(score: str, path: Path | None = None, **arguments) -> rw.Study:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min", score=score, path=path, **arguments)
    study.extend(trials=3)
    while (job := study.ask()) is not None:
        for resource in range(job.start + 1, job.until + 1):
            study.report(job.trial, resource, CURVES[job.trial][resource - 1])
    return study


def test_the_best_report_so_far_is_the_score(tmp_path: Path) -> None:
    study = trained("best", tmp_path / "s.db")
    assert (study.best.number, study.best.resource, study.best.score) == (0, 3, 0.20)
    assert [record.score for record in study.trials] == [0.20, 0.35, 0.90]
    assert study.trials[0].reports == {1: 0.30, 2: 0.20, 3: 0.50}, "what was reported stays what it was"
    assert (study.trials[0].resource, study.trials[0].peak) == (3, 2)
    assert study.rung_results()[0]["results"] == [[1, 0.30], [3, 0.20]]
    assert study.rungs()[0][3] == 0.20
    assert [row["score"] for row in study.rows()] == [0.20, 0.35, 0.90]
    assert [row["score"] for row in study.rows(reports=True)][:3] == [0.30, 0.20, 0.50]
    study.close()
    again = rw.Study.open(tmp_path / "s.db")
    assert (again.score, again.best) == ("best", study.best)
    assert repr(again.trials) == repr(study.trials)


def test_the_last_report_is_the_score_unless_it_is_said_otherwise() -> None:
    study = trained("last")
    assert (study.best.score, study.trials[0].score, study.trials[0].peak) == (0.50, 0.50, 3)
    assert rw.Study(SPACE).score == "last"


def test_a_report_that_is_not_finite_counts_for_nothing_where_there_was_a_better_one() -> None:
    for score, counts in (("best", 0.25), ("last", math.nan)):
        study = rw.Study(SPACE, rw.ASHA(max_resource=3, min_resource=3), mode="min", score=score)
        study.extend(trials=1)
        job = study.ask()
        for resource in (1, 2, 3):
            study.report(job.trial, resource, CURVES[1][resource - 1])
        assert study.trials[0].score == pytest.approx(counts, nan_ok=True)
        assert study.has_best == (score == "best")
    study = rw.Study(SPACE, rw.ASHA(max_resource=2, min_resource=2), mode="max", score="best")
    study.ask()
    study.report(0, 1, math.nan)
    study.report(0, 2, -3)
    assert study.best.score == -3, "before it there was none"


def test_a_trial_that_fails_has_the_worst_score_whatever_it_reported() -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=3, min_resource=3), mode="min", score="best")
    study.ask()
    study.report(0, 1, 0.1)
    study.fail(0)
    assert not study.has_best
    assert study.rung_results() == [{"config": study.trials[0].config, "results": [[1, None]]}]


def test_a_target_is_reached_by_any_report() -> None:
    for score in ("best", "last"):
        study = rw.Study(SPACE, rw.ASHA(max_resource=3, min_resource=3), mode="min", score=score)
        study.extend(trials=9, target=0.2)
        study.ask()
        study.report(0, 1, 0.15)
        study.report(0, 2, 0.5)
        assert study.ask() is None


def test_a_warm_start_counts_as_the_new_study_does() -> None:
    for earlier in ("best", "last"):
        for new, counted in (("best", [[1, 0.30], [3, 0.20]]), ("last", [[1, 0.30], [3, 0.50]])):
            warm = rw.Study(SPACE, "asha", mode="min", score=new, warm_start=trained(earlier))
            assert warm.searcher.settings()["earlier"][0]["results"] == counted


def test_a_study_is_not_taken_up_under_another_score(tmp_path: Path) -> None:
    trained("best", tmp_path / "s.db").close()
    with pytest.raises(rw.InputError, match="holds a study with another score: 'best' there, 'last' now"):
        rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min", path=tmp_path / "s.db")


def test_the_job_says_what_counts() -> None:
    assert (rw.Study(SPACE).ask().score, rw.Study(SPACE).ask().mode) == ("last", "min")
    job = rw.Study(SPACE, mode="max", score="best").ask()
    assert (job.score, job.mode) == ("best", "max")


@pytest.mark.parametrize(
    ("score", "mode", "said"),
    [
        ("bets", "min", "score must be 'last' or 'best', not 'bets'; did you mean 'best'?"),
        (True, "min", "score must be 'last' or 'best', not True; choose from 'last', 'best'"),
        ("best", {"a": "min", "b": "max"}, "score='best' needs a single metric: a, b have no common best"),
    ],
)
def test_scores_that_cannot_be(score: str, mode: str, said: str) -> None:
    with pytest.raises(rw.InputError) as error:
        rw.Study(SPACE, mode=mode, score=score)
    assert str(error.value) == said
    with pytest.raises(rw.InputError) as error:
        rw.tune(len, SPACE, mode=mode, score=score, trials=3, quiet=True)
    assert str(error.value) == said


def test_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "def train(trial):\n    for epoch in trial:\n        trial.report(0.5 + (epoch - 2) ** 2)\n"
    )
    space = '{"x": {"type": "float", "low": 0, "high": 1}}'
    command = [str(Path(sys.executable).with_name("rungwise"))]
    tune = [*command, "tune", "train.py:train", "--space", space, "--mode", "min", "--trials", "3", "--quiet"]
    options = ["--scheduler", "full", "--max-resource", "5", "--score", "best"]
    run = subprocess.run([*tune, *options], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    best = subprocess.run([*command, "best", "rungwise.db", "--json"], cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(best.stdout)["score"] == 0.5
    again = subprocess.run([*tune, *options[:-1], "last"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert again.returncode == 2
    assert "holds a study with another score: 'best' there, 'last' now" in again.stderr
