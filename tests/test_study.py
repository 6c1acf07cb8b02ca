from __future__ import annotations

import math
import sqlite3
import struct
import subprocess
import sys
import tracemalloc
import zlib
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

import messages
import rungwise as rw
from rungwise import database
from rungwise.events import Extended, Opened, Reported
from rungwise.sqlite import SQLiteLog

SPACE = {"x": rw.Float(0, 1)}


def finish(study: rw.Study, score=lambda trial, resource: trial) -> None:
    while (job := study.ask()) is not None:
        for resource in range(job.start + 1, job.until + 1):
            study.report(job.trial, resource, score(job.trial, resource))


def test_the_life_of_a_study() -> None:
    study = rw.Study(SPACE, rw.PASHA(max_resource=9), mode="max", seed=3)
    study.extend(trials=9)
    first = study.ask()
    assert first == rw.Job(0, study.trials[0].config, 0, 1)
    assert study.trials[0].state == "running"
    with pytest.raises(rw.StudyError, match="no trial has completed"):
        _ = study.best
    assert study.report(0, 1, 0.5)
    assert study.trials[0].state == "paused"
    assert study.best.score == 0.5
    study.ask()
    study.fail(1, "it broke")
    assert study.trials[1].state == "failed"
    finish(study)
    assert study.finished
    assert study.ask() is None
    assert len(study.trials) == 9
    best = study.best
    assert (best.number, best.score, best.resource) == (8, 8.0, 3)
    assert "1 of 9 trials failed, the last (trial 1): it broke" in study.explain()
    study.extend(trials=10)
    assert study.ask().trial == 9


def test_configuration_n_depends_on_seed_and_n_alone() -> None:
    study = rw.Study(SPACE, "asha", seed=7)
    for n in range(5):
        study.ask()
        assert study.trials[n].config == rw.Space(SPACE).sample(np.random.default_rng([7, n]))


def test_known_reports_count_once() -> None:
    study = rw.Study(SPACE, rw.ASHA(min_resource=3, max_resource=9))
    study.ask()
    assert study.report(0, 2, 0.5)
    assert not study.report(0, 2, 0.1)
    assert not study.report(0, 1, 0.1), "a report that goes back is known, too"
    assert study.trials[0].reports == {2: 0.5}
    assert study.resource_used == 2


def test_training_that_reports_every_k_completes_with_its_last_report() -> None:
    study = rw.Study(SPACE, rw.ASHA(min_resource=9, max_resource=27))
    for trial in range(3):
        study.ask()
        study.report(trial, 4, 0.0)
        study.report(trial, 8, float(trial))
        study.complete(trial)
    assert study.best.score == 0.0
    assert study.best.resource == 9
    assert study.ask() == rw.Job(0, study.trials[0].config, 9, 27)
    study.complete(0)
    assert study.trials[0].failure == "its job from 9 to 27 ended without a report"


@pytest.mark.parametrize("mode", ["min", "max"])
def test_scores_that_are_not_finite_are_worst(mode: str) -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=3), mode=mode)
    study.extend(trials=6)
    finish(study, lambda trial, resource: [math.nan, math.inf, -math.inf, 0.1, 0.1, 0.2][trial])
    assert study.best.number in (3, 4, 5)
    assert {record.number for record in study.trials if len(record.reports) > 1} <= {3, 4, 5}
    assert math.isnan(study.trials[1].reports[1])


@pytest.mark.parametrize(
    ("budget", "trials", "used"), [({"trials": 4}, 4, 8), ({"resource": 5}, 3, 5), ({"target": 2}, 3, 3)]
)
def test_budgets_are_totals(budget: dict, trials: int, used: int) -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=3), mode="max")
    study.extend(**budget)
    finish(study)
    assert (len(study.trials), study.resource_used) == (trials, used)


def test_a_study_goes_on_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "study.db"
    study = rw.Study(SPACE, "pasha", path=path)
    study.extend(trials=5)
    assert study.ask().trial == 0
    assert study.ask().trial == 1
    study.report(1, 1, 0.5)
    study.close()
    with pytest.raises(rw.StudyError, match="is closed; open it again"):
        study.ask()
    assert len(list(study.facts())) == 6, "it can still be read"
    again = rw.Study(SPACE, "pasha", path=path)
    assert again.waiting
    assert again.ask() == rw.Job(0, again.trials[0].config, 0, 1), "the job that was running is given out again"
    assert again.ask().trial == 2
    assert again.budget.trials == 5
    again.close()
    kinds = [type(fact).__name__ for _, fact in rw.Study.open(path).facts()]
    assert kinds == ["Created", "Extended", "Started", "Started", "Reported", "Completed", "Opened", "Started"]
    rows = sqlite3.connect(path).execute("SELECT fact FROM facts WHERE id = 5").fetchone()
    assert rows == ('{"fact":"reported","trial":1,"resource":1,"score":0.5,"seconds":0.0}',)


def test_a_job_that_ends_before_it_is_given_out_again_is_not_given_out_again(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    study = rw.Study(SPACE, "pasha", path=path)
    study.ask()
    study.close()
    again = rw.Study(SPACE, "pasha", path=path)
    again.report(0, 1, 0.5)
    assert not again.waiting
    assert again.ask().trial == 1


def test_the_order_of_parameters_is_that_of_the_log(tmp_path: Path) -> None:
    a, b = {"a": rw.Float(0, 1)}, {"b": rw.Float(0, 1)}
    rw.Study(a | b, path=tmp_path / "s.db").close()
    again = rw.Study(b | a, path=tmp_path / "s.db")
    assert again.ask().config == rw.Study(a | b).ask().config


def test_every_rise_is_logged_with_its_reason() -> None:
    study = rw.Study(SPACE, rw.PASHA(max_resource=9), mode="max")
    study.extend(trials=9)
    finish(study, lambda trial, resource: trial if resource == 1 else -trial)
    rise = study.rises[0]
    assert (rise.compared, rise.level, rise.until, rise.epsilon) == (1, 3, 9, 0.0)
    named = rise.broken[0]
    assert named.top == (-float(named.trial), -float(named.expected))
    assert named.below == (float(named.trial), float(named.expected))
    text = study.explain()
    assert f"trial {named.trial} ({-named.trial} at 3, {named.trial} at 1) took the place of" in text
    assert "ε = 0" in text


def test_why_the_ceiling_is_where_it_is() -> None:
    def told(top: int, trials: int, score) -> str:
        study = rw.Study(SPACE, rw.PASHA(max_resource=top), mode="max")
        study.extend(trials=trials)
        finish(study, score)
        return study.explain()

    assert "so there was nothing to compare" in told(9, 2, lambda trial, resource: trial)
    assert "the ceiling stayed at 3: the rankings" in told(9, 12, lambda trial, resource: trial)
    turning = told(27, 12, lambda trial, resource: trial if resource == 1 else -trial)
    assert "the ceiling rose from 3 to 9" in turning
    assert ", the max_resource, and cannot rise further" in told(3, 12, lambda trial, resource: trial)


def test_why_the_ceilings_of_several_brackets_are_where_they_are() -> None:
    def told(ladder: str | rw.PASHA, trials: int, score) -> str:
        study = rw.Study(SPACE, rw.AsyncHyperband(ladder=ladder, max_resource=27, brackets=2), mode="max")
        study.extend(trials=trials)
        finish(study, score)
        return study.explain()

    text = told(rw.PASHA(), 40, lambda trial, resource: trial if resource in (1, 3) else -trial)
    assert "in bracket 1 the ceiling is 3: " not in text
    assert "fixed ceiling" not in text
    assert "in bracket 2 the ceiling rose from 9 to 27: " in text
    assert "in bracket 2 the ceiling is 27, the max_resource" in text
    assert "in bracket 1 the ceiling stayed at 3: the rankings" in text
    first = told(rw.PASHA(), 40, lambda trial, resource: trial if resource > 1 else -trial)
    assert "in bracket 1 the ceiling rose from 3 to 9: " in first, "though no other has risen"
    assert "in bracket 2 the ceiling rose" not in first
    quiet = told("pasha", 4, lambda trial, resource: trial)
    assert "in bracket 1 the ceiling is 3: fewer than two trials have got that far" in quiet
    assert "in bracket 2 the ceiling is 9: fewer than two" in quiet
    assert "(async-hyperband has no ceiling that rises)" in told("asha", 4, lambda trial, resource: trial)


def test_refit_stands_outside_rungs_and_selection() -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), mode="max")
    study.extend(trials=3)
    finish(study)
    before, rungs, used = study.best, study.rungs(), study.resource_used
    assert study.refit()
    job = study.ask()
    assert job == rw.Job(2, study.trials[2].config, 3, 9, refit=True, reported=3)
    for resource in range(4, 10):
        study.report(2, resource, 100 + resource)
    assert study.ask() is None
    assert study.best.refit_score == 109
    assert study.best.refit_resource == 9
    assert (study.best.score, study.best.number) == (before.score, before.number)
    assert (study.rungs(), study.resource_used) == (rungs, used)
    assert not study.refit(), "nothing to do"
    assert study.refit(12)


def test_without_a_maximum_one_must_say_how_far_to_refit() -> None:
    study = rw.Study(SPACE, "pasha")
    study.extend(trials=1)
    finish(study)
    with pytest.raises(rw.InputError, match="no max_resource; say how far"):
        study.refit()


def test_seconds_are_those_of_all_sessions(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    rw.Study(SPACE, path=path).close()
    log = SQLiteLog(path, writable=True)
    list(log.read())
    story = ((100.0, Extended(trials=3)), (130.0, Extended(trials=4)), (500.0, Opened("1")), (510.0, Extended()))
    for time, fact in story:
        log.append(fact, time)
    log.flush()
    log.close()
    assert rw.Study.open(path).running_seconds == 40.0


def test_a_clock_that_is_set_back_takes_nothing_away(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    rw.Study(SPACE, path=path).close()
    log = SQLiteLog(path, writable=True)
    list(log.read())
    for time, fact in (
        (5e9, Extended(trials=3)),
        (5e9 + 10, Extended(trials=4)),
        (1e9, Extended(trials=5)),
        (1e9 + 7, Extended()),
    ):
        log.append(fact, time)
    log.flush()
    log.close()
    study = rw.Study.open(path, writable=True)
    assert study.running_seconds == 10 + 0 + 7
    study.extend(trials=1)
    job = study.ask()
    assert job is not None
    study.report(job.trial, 1, 0.5)
    study.close()


SCORES = {
    "numpy": (np.float32(0.5), 0.5),
    "a 0-d array": (np.array(2), 2.0),
    "an array of one": (np.array([3.0]), 3.0),
    "an integer": (7, 7.0),
}
WRONG_SCORES = [None, "0.5", [1.0], np.array([1.0, 2.0]), True, 1j, Decimal("0.5"), {}]


@pytest.mark.parametrize("kind", SCORES)
def test_scores_of_many_kinds(kind: str) -> None:
    given, taken = SCORES[kind]
    study = rw.Study(SPACE)
    study.ask()
    study.report(0, 1, given)
    assert study.trials[0].reports == {1: taken}


@pytest.mark.parametrize("score", WRONG_SCORES, ids=repr)
def test_scores_that_are_none(score: object) -> None:
    study = rw.Study(SPACE)
    study.ask()
    with pytest.raises(rw.InputError, match="a score must be one number, not"):
        study.report(0, 1, score)
    assert study.trials[0].reports == {}
    assert study.report(0, 1, 0.5), "nothing was lost"


def opened(tmp_path: Path, **arguments) -> rw.Study:
    path = tmp_path / "study.db"
    rw.Study(SPACE, rw.PASHA(max_resource=9), path=path, mode="max").close()
    return rw.Study(**{"space": SPACE, "scheduler": rw.PASHA(max_resource=9), "path": path, "mode": "max"} | arguments)


def a_newer_file(path: Path) -> rw.Study:
    rw.Study(SPACE, path=path / "s.db").close()
    database = sqlite3.connect(path / "s.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    return rw.Study(SPACE, path=path / "s.db")


def another_programs_file(path: Path) -> rw.Study:
    database = sqlite3.connect(path / "s.db")
    database.execute("CREATE TABLE t (x)")
    database.close()
    return rw.Study(SPACE, path=path / "s.db")


def a_text_file(path: Path) -> rw.Study:
    (path / "s.db").write_text("hello " * 1000)
    return rw.Study(SPACE, path=path / "s.db")


def a_strange_row(path: Path) -> rw.Study:
    rw.Study(SPACE, path=path / "s.db").close()
    database = sqlite3.connect(path / "s.db")
    (digest,) = database.execute("SELECT digest FROM facts ORDER BY id DESC").fetchone()
    digest = zlib.crc32(b"{}", zlib.crc32(struct.pack("<d", 0.0), digest))
    database.execute("INSERT INTO facts (time, fact, digest) VALUES (0, '{}', ?)", (digest,))
    database.commit()
    database.close()
    return rw.Study(SPACE, path=path / "s.db")


WRONG = {
    "eta 1": (lambda p: rw.PASHA(reduction_factor=1), "reduction_factor must be above 1"),
    "eta below 1": (lambda p: rw.ASHA(reduction_factor=0.3), "reduction_factor must be above 1"),
    "eta text": (lambda p: rw.ASHA(reduction_factor="3"), "reduction_factor must be a number, not '3'"),
    "min above max": (lambda p: rw.ASHA(min_resource=10, max_resource=9), "min_resource=10 is above max_resource=9"),
    "min 0": (lambda p: rw.ASHA(min_resource=0), "min_resource must be 1 or more"),
    "half an epoch": (lambda p: rw.ASHA(max_resource=9.5), "max_resource must be a whole number"),
    "Ray's name": (lambda p: rw.PASHA(grace_period=1), "no argument 'grace_period'; did you mean 'min_resource'?"),
    "Syne Tune's name": (lambda p: rw.ASHA(max_t=81), "no argument 'max_t'; did you mean 'max_resource'?"),
    "a scheduler that is none": (lambda p: rw.Study(SPACE, "pascha"), "no scheduler 'pascha'; did you mean 'pasha'?"),
    "a class": (lambda p: rw.Study(SPACE, rw.PASHA), "an object like rw.PASHA()"),
    "a searcher that is none": (lambda p: rw.Study(SPACE, searcher="rand"), "no searcher 'rand'"),
    "a ranking that is none": (lambda p: rw.PASHA(ranking="direkt"), "did you mean 'direct'?"),
    "a mode": (lambda p: rw.Study(SPACE, mode="maximize"), "mode must be 'min' or 'max', not 'maximize'"),
    "a seed": (lambda p: rw.Study(SPACE, seed=-1), "seed must be 0 or more"),
    "no space": (lambda p: rw.Study([1]), "a space must be a dict"),
    "trials": (lambda p: rw.Study(SPACE).extend(trials=0), "trials must be 1 or more"),
    "Optuna's name": (lambda p: rw.Study(SPACE).extend(n_trials=3), "did you mean 'trials'?"),
    "seconds": (lambda p: rw.Study(SPACE).extend(seconds=-1), "seconds must be above 0"),
    "a report of nobody": (lambda p: rw.Study(SPACE).report(0, 1, 0.5), "there is no trial 0"),
    "another space": (lambda p: opened(p, space={"y": rw.Float(0, 1)}), "another space, 'y'"),
    "other bounds": (lambda p: opened(p, space={"x": rw.Float(0, 2)}), "another space, 'x'"),
    "another mode": (lambda p: opened(p, mode="min"), "another mode: 'max' there, 'min' now"),
    "another seed": (lambda p: opened(p, seed=5), "another seed: 0 there, 5 now"),
    "a lower maximum": (lambda p: opened(p, scheduler=rw.PASHA(max_resource=3)), "max_resource can only be raised"),
    "another factor": (lambda p: opened(p, scheduler=rw.PASHA(max_resource=9, reduction_factor=9)), "another scheduler, 'reduction_factor': 3.0 there"),
    "a newer file": (a_newer_file, "was written by a newer rungwise"),
    "another program's file": (another_programs_file, "a database of another program"),
    "a text file": (a_text_file, "is not a study file"),
    "a strange row": (a_strange_row, "s.db is damaged at fact 2 (Object missing required field `fact`); save the undamaged part with: rungwise salvage"),
    "a directory": (lambda p: rw.Study(SPACE, path=p), "is a directory; name a file in it"),
    "a place that cannot be": (lambda p: rw.Study(SPACE, path="/proc/no/study.db"), "cannot be written"),
    "no file to look at": (lambda p: rw.Study.open(p / "none.db"), "there is no study"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_gets_one_line_that_says_what_to_do(case: str, tmp_path: Path) -> None:
    make, message = WRONG[case]
    with pytest.raises((rw.InputError, rw.StudyError)) as error:
        make(tmp_path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    messages.check("study", case, str(error.value), tmp_path)


def test_a_resource_outside_the_job_is_refused() -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9))
    study.ask()
    for resource in (0, 2, -1, 1.5, "1"):
        with pytest.raises(rw.InputError, match="resource"):
            study.report(0, resource, 0.5)
    assert study.report(0, 1, 0.5)
    with pytest.raises(rw.InputError, match="trial 0 is not running"):
        study.report(0, 1, 0.5)


def test_a_second_driver_is_refused_while_the_first_one_lives(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    code = f"import rungwise as rw, time; s = rw.Study({{'x': rw.Float(0, 1)}}, path={str(path)!r}); print('on', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "on\n"
    with pytest.raises(rw.StudyError, match=rf"study\.db is held by process {holder.pid} on .*: wait for it, stop it"):
        rw.Study(SPACE, path=path)
    assert rw.Study.open(path).trials == [], "looking is allowed"
    holder.kill()
    holder.wait()
    rw.Study(SPACE, path=path).close()


@pytest.mark.needs("pandas")
def test_rows_and_dataframe() -> None:
    study = rw.Study(
        {"x": rw.Float(0, 1), "k": rw.Integer(1, 1), "z": rw.Float(0, 1, when={"k": 1})}, rw.ASHA(max_resource=3)
    )
    study.extend(trials=3)
    finish(study)
    frame = study.dataframe()
    assert list(frame.columns) == [
        "trial",
        "state",
        "resource",
        "score",
        "seconds",
        "failure",
        "refit_failure",
        "config.x",
        "config.k",
        "config.z",
    ]
    assert frame.score.tolist() == [0.0, 1.0, 2.0]
    reports = study.dataframe(reports=True)
    assert len(reports) == 5
    assert reports[reports.trial == 0].resource.tolist() == [1, 2, 3]


def test_a_study_can_wait_for_the_disk(tmp_path):
    study = rw.Study({"x": rw.Float(0, 1)}, path=tmp_path / "study.db")
    synchronous = "PRAGMA synchronous"
    assert study.decider.log._connection.execute(synchronous).fetchone() == (1,), "normal"
    study.sync()
    assert study.decider.log._connection.execute(synchronous).fetchone() == (2,), "full"
    study.report(study.ask().trial, 1, 0.5)
    assert len(list(rw.Study.open(tmp_path / "study.db").facts())) == 4


def test_the_curve_of_a_trial_is_kept_in_few_bytes():
    study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(min_resource=5_000, max_resource=5_000))
    job = study.ask()
    tracemalloc.start()
    for resource in range(1, 5_001):
        study.decider.report(Reported(job.trial, resource, 0.5 + resource, 0.25))
    study.decider.flush()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    record = study.trials[0]
    assert grown < 5_000 * 70, "in the record, and in the log"
    assert (record.reports[4_999], record.seconds[5_000], record.score) == (4_999.5, 1_250, 5_000.5)


def test_a_study_has_an_id_of_its_own_that_its_jobs_carry(tmp_path: Path) -> None:
    first, second = (rw.Study({"x": rw.Float(0, 1)}, path=tmp_path / name) for name in ("a.db", "b.db"))
    assert first.id != second.id
    assert len(first.id) == len(second.id) == 16
    job = first.ask()
    assert (job.study, second.ask().study) == (first.id, second.id)
    first.report(0, 1, 0.5)
    study_id = first.id
    first.close()
    again = rw.Study({"x": rw.Float(0, 1)}, path=tmp_path / "a.db")
    assert again.id == study_id, "it is no argument that a study is compared by"
    assert again.ask().study == study_id
    assert rw.Study({"x": rw.Float(0, 1)}).id, "in memory too"


def test_a_long_study_is_written_and_read_to_its_end(tmp_path, monkeypatch) -> None:
    """SQLite counts the steps of a statement over all rows and all times that it is used for; a limit must not."""
    monkeypatch.setattr(database, "STEPS", 50_000)  # in proportion to 16,000 facts as the real one is to a million
    path = tmp_path / "s.db"
    study = rw.Study({"x": rw.Float(0, 1)}, "asha", path=path)
    for total in range(1, 16_001):
        study.decider.log.append(Extended(trials=total))
        if total % 50 == 0:
            study.decider.flush()
    study.close()
    assert sum(1 for _ in rw.Study.open(path).facts()) == 16_001
    again = rw.Study.open(path, writable=True)
    assert again.budget.trials == 16_000
    again.close()
