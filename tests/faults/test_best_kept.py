"""`score="best"` with real processes: the state of the best score is kept, through a kill and through a refit."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import objectives
import rungwise as rw
from faults.booster import TRIALS, error
from in_folder import find
from rungwise.events import Refitted

BOOSTER = Path(__file__).with_name("booster.py")


def reports(path: Path) -> int:
    try:
        study = rw.Study.open(path)
    except rw.StudyError:
        return 0
    return sum(len(record.reports) for record in study.trials)


def check(path: Path) -> rw.Study:
    """The answer is the best ever reported at the highest rung, and its state is that of the resource of that report."""
    study = rw.Study.open(path)
    assert [record.failure for record in study.trials] == [None] * TRIALS
    level = max(record.paused_at for record in study.trials)
    assert level == 27
    ever = {
        r.number: min(r.reports.items(), key=lambda report: report[1]) for r in study.trials if r.paused_at == level
    }
    best = study.best
    peak, score = ever[best.number]
    assert (best.score, best.peak) == (min(score for _, score in ever.values()), peak)
    assert score == error(best.config["x"], peak) < study.trials[best.number].reports[27]
    assert best.load() == {"trees": [(best.number, epoch) for epoch in range(1, peak + 1)]}
    assert (best.refit_score, best.refit_resource) == (best.score, 27), "not trained past its best"
    return study


def test_killed_and_taken_up_again_the_answer_is_the_best_ever_reported(tmp_path: Path) -> None:
    command, path = [sys.executable, str(BOOSTER), str(tmp_path)], tmp_path / "study.db"
    driver = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while reports(path) < 40 and time.monotonic() < deadline:
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    before = reports(path)
    again = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert again.returncode == 0, again.stderr
    study = check(path)
    assert 40 <= before < reports(path), "it was killed in the middle"
    said = f"refit: trial {study.best.number} is not refitted, because its curve got worse again: {study.best.score:.4g} at"
    assert said in " ".join(again.stderr.split())
    assert not any(isinstance(fact, Refitted) for _, fact in study.facts())


def tuned(function, path: Path, **arguments) -> rw.Study:
    settings = {"mode": "min", "score": "best", "scheduler": rw.ASHA(max_resource=27), "trials": 9, "workers": 2}
    return rw.tune(function, objectives.SPACE, study=path, **settings | {"quiet": True} | arguments)


def peak_of(study: rw.Study) -> int:
    return 3 + round(6 * study.best.config["x"])


def test_a_state_that_is_saved_before_its_report_is_kept_too(tmp_path: Path) -> None:
    best = tuned(objectives.boosts_and_saves_first, tmp_path / "s.db").best
    assert best.load() == (best.number, best.peak)
    assert best.peak == 3 + round(6 * best.config["x"])


def test_of_the_states_that_were_saved_the_best_is_given_and_which_it_is_is_said(tmp_path: Path, capfd, caplog) -> None:
    """Saved at the rungs 1, 3 and 9 only: the peak itself was never saved."""
    study = tuned(objectives.boosts_and_saves_at_the_end, tmp_path / "s.db", refit=True, quiet=False)
    best = study.best
    saved = min((1, 3, 9), key=lambda at: objectives.worse_again(best.config, at))
    assert best.peak != saved
    with caplog.at_level(logging.WARNING, logger="rungwise"):
        assert best.load() == (best.number, saved)
    said = (
        f"the checkpoint of the best score, at {best.peak}, is not there; loaded is the best of those saved, the state"
    )
    assert f"{said} at {saved}" in caplog.text
    answer = f"its state at {best.peak}, where it was not saved: best.load() gives the one at {saved}"
    assert answer in " ".join(capfd.readouterr().err.split())


def test_nothing_is_said_of_the_state_of_the_best_score(tmp_path: Path, capfd, caplog) -> None:
    study = tuned(objectives.boosts, tmp_path / "s.db", refit=True, quiet=False)
    with caplog.at_level(logging.WARNING, logger="rungwise"):
        assert study.best.load() == (study.best.number, study.best.peak)
    assert caplog.text == ""
    said = " ".join(capfd.readouterr().err.split())
    assert f"the answer is its state at {study.best.peak}" in said
    assert "not saved" not in said


def test_the_refit_goes_on_from_the_newest_state_and_the_best_survives(tmp_path: Path) -> None:
    """At rung 3 no curve has had its best yet, so the winner is trained on; then it gets worse."""
    scheduler = rw.ASHA(max_resource=3)
    study = tuned(objectives.boosts, tmp_path / "s.db", scheduler=scheduler, refit=40)
    best = study.best
    assert best.resource == 3
    assert list(study.trials[best.number].refit) == list(range(4, 41))
    assert best.peak == peak_of(study)
    assert (best.refit_score, best.refit_resource) == (objectives.worse_again(best.config, best.peak), 40)
    assert best.refit_score <= best.score
    assert best.load() == (best.number, best.peak)
    assert find(best.folder).head.resource == 40, "a job would go on from here"


@pytest.mark.parametrize("damage", ["deleted", "cut off"])
def test_without_its_file_the_newest_is_given_and_that_is_said(damage: str, tmp_path: Path, caplog) -> None:
    best = tuned(objectives.boosts, tmp_path / "s.db").best
    [kept] = best.folder.glob("*.best")
    assert best.load() == (best.number, best.peak)
    if damage == "deleted":
        kept.unlink()
    else:
        os.truncate(kept, kept.stat().st_size - 1)
    with caplog.at_level(logging.WARNING, logger="rungwise"):
        assert best.load() == (best.number, best.resource)
    what = {"deleted": "not there", "cut off": "damaged"}[damage]
    assert (
        f"the checkpoint of the best score, at {best.peak}, is {what}; loaded is the newest, the state at"
        in caplog.text
    )


def test_what_the_checkpoint_of_another_configuration_holds_is_not_loaded(tmp_path: Path) -> None:
    best = tuned(objectives.boosts, tmp_path / "s.db").best
    other = rw.Trial(rw.Job(0, {"x": 2.0}, 0, 3, study=best.study, score="best"), best.folder, lambda fact: None)
    assert other.load() is None


def test_under_last_no_file_is_kept_and_the_newest_is_the_answer(tmp_path: Path) -> None:
    study = tuned(objectives.boosts, tmp_path / "s.db", score="last")
    assert study.best.load() == (study.best.number, study.best.resource)
    assert not list(study.folder.rglob("*.best"))


def test_a_run_says_once_where_it_is_seen_and_at_the_end(tmp_path: Path, capfd) -> None:
    study = tuned(objectives.boosts, tmp_path / "s.db", score="last", trials=27, quiet=False, refit=60)
    said = " ".join(capfd.readouterr().err.split())
    assert 1 <= said.count("curves get worse again") <= 2
    assert study.explain().count("curves get worse again") == 1
    best = study.best
    assert f"refit: {best.refit_score:.4g} at 60, worse than {best.score:.4g} at {best.resource}" in said
    assert 'its curve got worse again; score="best"' in said
    tuned(objectives.boosts, tmp_path / "t.db", score="best", trials=27, quiet=False)
    assert "curves get worse again" not in capfd.readouterr().err
