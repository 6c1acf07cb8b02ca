"""Real runs: real processes, real files, real signals."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import messages
import objectives
import rungwise as rw
from in_folder import find
from objectives import SPACE
from rungwise.events import Completed, Failed, Opened, Promoted, Raised, Refitted, Retried, Started
from rungwise.executors import Broke, Paused
from rungwise.executors.limited import Limited
from rungwise.executors.limits import Limits
from rungwise.executors.local import LocalWorkers
from rungwise.folders import trial_folder
from rungwise.records import Budget


def tune(function, **arguments) -> rw.Study:
    defaults = {"mode": "min", "trials": 9, "workers": 2, "scheduler": rw.PASHA(max_resource=9), "quiet": True}
    return rw.tune(function, arguments.pop("space", SPACE), **defaults | arguments)


def facts(study: rw.Study, *kinds: type) -> list:
    opened = rw.Study.open(study.path)
    return [fact for _, fact in opened.facts() if isinstance(fact, kinds)]


def test_a_study_in_memory_from_end_to_end() -> None:
    study = tune(objectives.train, refit=True)
    assert len(study.trials) == 9
    assert study.finished
    assert study.best.refit_resource == 9
    assert study.best.load() == 9, "the newest state of the best trial"
    assert all(record.state == "paused" for record in study.trials)


def test_one_worker_decides_as_the_simulation_does(tmp_path: Path) -> None:
    """The real loop and the simulated one share every line: on one worker nothing is left to chance."""
    scheduler = rw.PASHA(max_resource=27)
    study = tune(objectives.train, scheduler=scheduler, workers=1, trials=20, study=tmp_path / "s.db")
    scores = [[(r.config["x"] - 0.3) ** 2 + 1 / epoch for epoch in range(1, 28)] for r in study.trials]
    run = rw.simulate(scheduler, rw.CurveTable(scores, mode="min"), workers=1, trials=20, rows=range(20))
    simulated = [fact for _, fact in run.study.facts()]
    for kind in (Promoted, Raised, Completed):
        assert facts(study, kind) == [fact for fact in simulated if isinstance(fact, kind)]


def test_taking_up_a_finished_study_trains_nothing(tmp_path: Path) -> None:
    first = tune(objectives.train, study=tmp_path / "s.db", refit=True)
    again = tune(objectives.fails, study=tmp_path / "s.db", refit=True)
    assert repr(again.trials) == repr(first.trials)
    more = tune(objectives.train, study=tmp_path / "s.db", trials=12)
    assert len(more.trials) == 12, "trials are a total"
    assert [r.config for r in more.trials[:9]] == [r.config for r in first.trials]


def test_a_function_that_saves_nothing_starts_over_and_is_told_so_once(capfd) -> None:
    study = tune(objectives.saves_nothing, quiet=False)
    assert study.decider.restarted
    error = capfd.readouterr().err
    assert error.count("trains from the start again") == 1
    assert all(sorted(r.reports) == list(range(1, r.resource + 1)) for r in study.trials)


def test_a_killed_worker_is_replaced_and_the_job_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    study = tune(objectives.dies_once, study=tmp_path / "s.db")
    retried = facts(study, Retried)
    assert [fact.trial for fact in retried] == [1]
    assert "killed by SIGKILL" in retried[0].reason
    assert study.trials[1].failure is None
    assert len(study.trials) == 9


def test_a_job_that_breaks_off_too_often_is_a_failed_trial_not_the_end(tmp_path: Path) -> None:
    study = tune(objectives.dies_always, study=tmp_path / "s.db", retries=2)
    assert len(facts(study, Retried)) == 2
    assert study.trials[1].failure == "the worker process exited with code 7"
    assert [r.state for r in study.trials].count("failed") == 1
    assert "1 of 9 trials failed" in study.explain()


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"job_seconds": 5}, "the job took longer than job_seconds=5"),
        ({"silence_seconds": 5}, "the job said nothing for silence_seconds=5"),
    ],
)
def test_a_hang_is_ended(limit: dict[str, float], reason: str, tmp_path: Path) -> None:
    study = tune(objectives.hangs_once, study=tmp_path / "s.db", **limit)
    assert [fact.reason for fact in facts(study, Retried)] == [reason]
    assert len(study.trials) == 9


def test_a_job_that_reports_is_not_silent(tmp_path: Path) -> None:
    study = tune(objectives.slow, study=tmp_path / "s.db", trials=3, silence_seconds=5)
    assert facts(study, Retried) == []


def test_a_function_that_always_fails_stops_the_study_after_three_executions(tmp_path: Path, capfd) -> None:
    with pytest.raises(rw.StudyError, match=r"all of the first 3 jobs broke off, .* with: ValueError: no such layer"):
        tune(objectives.fails, trials=50, study=tmp_path / "s.db", quiet=False)
    logs = [path.read_text() for path in sorted((tmp_path / "s.db.trials").glob("*.log"))]
    assert sum(log.count("about to fail") for log in logs) == 3
    said = capfd.readouterr().err
    assert "about to fail" in said, "the end of the log"
    assert "Traceback" in said
    study = tune(objectives.train, trials=9, study=tmp_path / "s.db")
    assert study.finished
    assert [record.state for record in study.trials] == ["paused"] * 9, "nothing has failed"
    assert all(record.resource for record in study.trials)


def test_without_a_file_the_end_of_the_log_is_in_the_message() -> None:
    with pytest.raises(rw.StudyError) as error:
        tune(objectives.fails, trials=50)
    assert "about to fail" in str(error.value)
    assert "rungwise-" not in str(error.value), "the log is in a folder that is gone"


def test_a_score_that_is_always_refused_stops_the_study_and_is_said() -> None:
    with pytest.raises(rw.StudyError, match=r"all of the first 3 jobs broke off, .*this study has one metric"):
        tune(objectives.reports_a_dict, trials=50)


@pytest.mark.parametrize(
    ("function", "trial", "reason"),
    [
        (objectives.reports_text, 0, "InputError: a score must be one number, not '0.5'; use report(float(score))"),
        (objectives.returns_early, None, "the function returned at resource 1, before trial.until = 3"),
    ],
)
def test_what_a_function_does_wrong_is_said(function, trial, reason, tmp_path: Path) -> None:
    study = tune(function, retries=0, study=tmp_path / "s.db")
    failed = facts(study, Failed)
    assert failed
    assert all(reason in fact.reason for fact in failed if trial in (None, fact.trial))


def test_a_score_that_is_not_finite_is_worst_and_said_once(capfd) -> None:
    study = tune(objectives.diverges, quiet=False)
    assert "trial 0 reported a non-finite score at 1; it counts as the worst" in capfd.readouterr().err
    assert study.trials[0].resource == 1
    assert study.best.number != 0


def test_conditional_parameters_reach_the_function() -> None:
    space = {"opt": rw.Categorical(["sgd", "adam"]), "momentum": rw.Float(0.6, 0.99, when={"opt": "sgd"})}
    study = tune(objectives.uses_a_condition, space=space, mode="max")
    assert {("momentum" in r.config) == (r.config["opt"] == "sgd") for r in study.trials} == {True}


def test_checkpoints_that_nothing_needs_are_deleted(tmp_path: Path) -> None:
    study = tune(objectives.train, trials=27, study=tmp_path / "s.db")
    kept = {int(folder.name) for folder in study.folder.iterdir() if folder.is_dir()}
    assert study.best.number in kept
    assert kept <= study.scheduler.may_promote(27) | {study.best.number}
    assert len(kept) < 15
    everything = tune(objectives.train, trials=27, study=tmp_path / "t.db", keep_checkpoints=True)
    assert len([folder for folder in everything.folder.iterdir() if folder.is_dir()]) == 27
    assert find(trial_folder(everything.folder, 0)).head is not None


def test_budgets_of_time_and_target(tmp_path: Path) -> None:
    began = time.monotonic()
    study = tune(objectives.slow, trials=None, seconds=1.5, study=tmp_path / "s.db")
    assert 1 < time.monotonic() - began < 30
    assert 0 < len(study.trials) < 60
    assert tune(objectives.train, trials=400, target=0.5).finished


def test_a_refit_that_broke_off_is_finished_though_the_time_is_up(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    study = rw.Study(SPACE, rw.PASHA(max_resource=27), path=path)
    study.extend(trials=3, seconds=1e-9)
    while (job := study.ask()) is not None:
        for resource in range(job.start + 1, job.until + 1):
            study.report(job.trial, resource, job.trial + 1 / resource)
    study.refit()
    assert study.ask().refit, "and now the driver dies"
    study.close()
    study = tune(
        objectives.train, trials=None, seconds=1e-9, scheduler=rw.PASHA(max_resource=27), study=path, refit=True
    )
    assert study.best.refit_resource == 27
    assert study.running == []


def test_totals_are_those_of_the_last_call(tmp_path: Path) -> None:
    assert len(tune(objectives.train, trials=3, target=0.0, study=tmp_path / "s.db").trials) == 3
    assert tune(objectives.train, trials=5, study=tmp_path / "s.db").budget == Budget(trials=5)


def test_whoever_has_just_been_submitted_is_asked_to_pause(tmp_path: Path) -> None:
    workers = LocalWorkers(objectives.slow, 1, tmp_path)
    workers.submit(rw.Job(0, {"x": 0.5}, 0, 9))
    workers.pause()
    said: list = []
    while not any(isinstance(message, Paused) for message in said):
        said += [said.message for said in workers.poll()]
    workers.close()
    assert len(said) < 9


def test_a_worker_that_died_while_idle_costs_nothing(tmp_path: Path) -> None:
    workers = LocalWorkers(objectives.train, 1, tmp_path)
    for trial in range(2):
        workers.submit(rw.Job(trial, {"x": 0.5}, 0, 1))
        said: list = []
        while not any(isinstance(message, Completed | Broke) for message in said):
            said += [said.message for said in workers.poll()]
        assert isinstance(said[-1], Completed)
        (idle,) = workers._idle
        idle.process.kill()
        idle.process.wait()
    workers.close()


def test_a_worker_that_dies_at_once_is_a_job_that_broke_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")  # gone before anything could be said to it
    workers = LocalWorkers(objectives.train, 1, tmp_path)
    for _ in range(5):
        workers.submit(rw.Job(0, {"x": 0.5}, 0, 1))
        said: list = []
        while not said:
            said = workers.poll()
        assert [message.message for message in said] == [Broke(0, "the worker process exited with code 1")]
        assert said[0].place is None
    workers.close()


def killed_by_a_real_time_signal(trial: rw.Trial) -> None:
    os.kill(os.getpid(), 40)


def test_a_signal_without_a_name(tmp_path: Path) -> None:
    workers = LocalWorkers(killed_by_a_real_time_signal, 1, tmp_path)
    workers.submit(rw.Job(0, {"x": 0.5}, 0, 1))
    said: list = []
    while not any(isinstance(each.message, Broke) for each in said):
        said += workers.poll()
    assert said[-1].message == Broke(0, "the worker process was killed by signal 40")
    workers.close()


def test_a_large_function_and_a_worker_that_hangs_at_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(600)")
    monkeypatch.syspath_prepend(str(tmp_path))
    held = bytes(3_000_000)
    local = LocalWorkers(lambda trial: trial.report(len(held)), 1, tmp_path)
    workers = Limited(local, Limits(job_seconds=1))
    workers.submit(rw.Job(0, {"x": 0.5}, 0, 1))
    said: list = []
    while not said:
        said = workers.poll(0.2)
    assert said[0].message == Broke(0, "the job took longer than job_seconds=1")
    workers.close()


def test_sigterm_to_all_processes_at_once_costs_nothing(tmp_path: Path) -> None:
    for _ in range(4):  # more often than a job is tried again
        driver = start_driver(tmp_path)
        children = Path(f"/proc/{driver.pid}/task/{driver.pid}/children").read_text().split()
        for pid in [driver.pid, *map(int, children)]:
            os.kill(pid, signal.SIGTERM)
        driver.communicate(timeout=20)
    study = rw.Study.open(tmp_path / "s.db")
    assert [record.failure for record in study.trials if record.failure] == []
    assert not any(isinstance(fact, Retried) for _, fact in study.facts())
    study.close()


def test_lambdas_closures_and_methods_work() -> None:
    factor = 2.0

    class Model:
        def train(self, trial: rw.Trial) -> None:
            for epoch in trial:
                trial.report(factor / epoch)

    assert len(tune(Model().train).trials) == 9
    assert len(tune(lambda trial: [trial.report(factor / epoch) for epoch in trial]).trials) == 9


UNGUARDED = """
import functools
import rungwise as rw

@functools.cache
def data():
    return 0.3

class Model:
    def __init__(self): self.epochs = 0

def train(trial):
    model = trial.load() or Model()
    for epoch in trial:
        model.epochs += 1
        trial.report((trial.config["x"] - data()) ** 2 + 1 / epoch)
    trial.save(model)

study = rw.tune(train, {"x": rw.Float(0, 1)}, mode="min", trials=9, workers=2, quiet=True,
                scheduler=rw.PASHA(max_resource=9), refit=True)
print(len(study.trials), study.best.load().epochs)
"""


@pytest.mark.parametrize("how", ["a script without a guard", "standard input, as a notebook has no file"])
def test_functions_of_the_main_script_work(how: str, tmp_path: Path) -> None:
    if how.startswith("a script"):
        (tmp_path / "script.py").write_text(UNGUARDED)
        done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True)
    else:
        done = subprocess.run([sys.executable, "-"], input=UNGUARDED, cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout == "9 9\n"


def holds_a_lock():
    lock = threading.Lock()
    return lambda trial: lock.acquire()


DRIVER = """
import sys
sys.path.insert(0, {tests!r})
import objectives, rungwise as rw
study = rw.tune(objectives.slow, objectives.SPACE, mode="min", trials=40, workers=2, study="s.db",
                scheduler=rw.PASHA(max_resource=27))
print("returned", study.interrupted, len(study.trials))
"""


def test_a_file_that_begins_a_study_when_it_is_imported_does_not_multiply(tmp_path: Path) -> None:
    (tmp_path / "unguarded.py").write_text(UNGUARDED)
    code = "import unguarded"  # not the main script: workers import it to find the function
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert "tune() was called while the file of a training function was being imported" in done.stderr
    assert done.returncode == 1


def jobs_begun(trials: Path, since: int) -> int:
    """How many trials have a job that was begun after the time `since`."""
    begun = 0
    for holder in trials.glob("*/job.*.begun"):
        with contextlib.suppress(FileNotFoundError):  # the driver puts away what it does not need
            begun += holder.stat().st_mtime_ns > since
    return begun


def start_driver(folder: Path) -> subprocess.Popen:
    code = DRIVER.format(tests=str(Path(__file__).parent))
    began = time.time_ns()
    driver = subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while jobs_begun(folder / "s.db.trials", began) < 3:
        time.sleep(0.02)
        assert driver.poll() is None
    return driver


def test_the_first_ctrl_c_lets_jobs_reach_a_checkpoint(tmp_path: Path) -> None:
    driver = start_driver(tmp_path)
    driver.send_signal(signal.SIGINT)
    out, err = driver.communicate(timeout=60)
    assert driver.returncode == 0
    assert out.startswith("returned True")
    assert "Ctrl-C again stops at once" in err
    assert "stopped; to resume the study" in err
    before = rw.Study.open(tmp_path / "s.db")
    for record in before.trials:
        if record.job is not None and record.resource:
            assert find(trial_folder(before.folder, record.number)).head is not None
    study = tune(objectives.slow, trials=12, scheduler=rw.PASHA(max_resource=27), study=tmp_path / "s.db")
    assert len(study.trials) >= 12
    assert study.finished


def test_the_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    driver = start_driver(tmp_path)
    began = time.monotonic()
    driver.send_signal(signal.SIGINT)
    time.sleep(0.01)
    driver.send_signal(signal.SIGINT)
    _, err = driver.communicate(timeout=60)
    assert time.monotonic() - began < 20
    if driver.returncode != 0:  # the jobs may have reached their checkpoints between the two
        assert err.rstrip().endswith("KeyboardInterrupt")
    assert tune(objectives.slow, trials=9, scheduler=rw.PASHA(max_resource=27), study=tmp_path / "s.db").finished


WRONG = {
    "two arguments": (lambda: tune(objectives.two_arguments), "two_arguments(lr: 'float', width: 'int') -> 'None' cannot be called with one argument"),
    "no argument": (lambda: tune(lambda: 0.5), "cannot be called with one argument, the trial"),
    "a coroutine": (lambda: tune(objectives.coroutine), "is a coroutine or a generator"),
    "a generator": (lambda: tune(objectives.generator), "is a coroutine or a generator"),
    "no function": (lambda: tune("train.py"), "the function to tune must be a function, not 'train.py'"),
    "no end": (lambda: tune(objectives.train, trials=None), "say when to stop: trials=64"),
    "no mode": (lambda: tune(objectives.train, mode="maximize"), "mode must be 'min' or 'max'"),
    "Optuna's name": (lambda: tune(objectives.train, n_trials=3), "tune has no argument 'n_trials'; did you mean 'trials'?"),
    "workers": (lambda: tune(objectives.train, workers=0), "workers must be 1 or more, not 0"),
    "half a worker": (lambda: tune(objectives.train, workers=1.5), "workers must be a whole number, not 1.5"),
    "retries": (lambda: tune(objectives.train, retries=-1), "retries must be 0 or more"),
    "a limit": (lambda: tune(objectives.train, job_seconds=0), "job_seconds must be above 0"),
    "a silence": (lambda: tune(objectives.train, silence_seconds=-1), "silence_seconds must be above 0, not -1"),
    "refit whereto": (lambda: tune(objectives.train, refit=True, scheduler="pasha"), "no max_resource; say how far to refit"),
    "refit to nothing": (lambda: tune(objectives.train, refit=-3), "refit must be True, False, or a resource"),
    "what cannot be sent": (lambda: tune(holds_a_lock()), "cannot be sent to a worker process"),
    "a command with a typo": (lambda: tune(rw.Command(["train", "{xx}"])), "{xx} in the command is unknown; did you mean 'x'?"),
    "a command with a brace": (lambda: rw.Command(["train", "{x"]), "write {{ and }} for braces"),
    "a parameter with our name": (
        lambda: tune(rw.Command(["train", "{until}"]), space={"until": rw.Float(0, 1)}),
        "the parameter 'until' has the name of a built-in placeholder",
    ),
    "a format": (lambda: rw.Command(["train", "{x:.2f}"]), "without a format"),
    "quiet as text": (lambda: tune(objectives.train, quiet="no"), "quiet must be true or false"),
    "a command as text": (lambda: rw.Command("python train.py"), "a command must be a list of text"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_answered_before_any_training(case: str) -> None:
    make, message = WRONG[case]
    with pytest.raises(rw.InputError) as error:
        make()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    messages.check("tune", case, str(error.value))


def test_the_log_tells_the_whole_story(tmp_path: Path) -> None:
    study = tune(objectives.train, study=tmp_path / "s.db", refit=True)
    kinds = facts(study, object)
    assert sum(isinstance(fact, Started) for fact in kinds) == 9
    assert sum(isinstance(fact, Refitted) for fact in kinds) == 1
    assert not any(isinstance(fact, Opened) for fact in kinds)


def test_each_kind_of_failure_is_said_once_and_counted(tmp_path: Path, capfd) -> None:
    study = tune(objectives.fails_when_odd, trials=40, study=tmp_path / "s.db", retries=0, quiet=False)
    failed = [record.number for record in study.trials if record.failure is not None]
    assert failed == list(range(1, 40, 2))
    said = " ".join(capfd.readouterr().err.split())
    assert said.count("failed: ValueError: no layer") == 1
    assert len(re.findall(r"10 trials have failed the same way as trial \d+: ValueError: no layer", said)) == 1
    assert len(re.findall(r"20 trials failed the same way as trial \d+: ValueError: no layer", said)) == 1
    assert "20 of 40 trials failed" in study.explain()
    assert [row["failure"] is not None for row in study.rows()] == [trial % 2 == 1 for trial in range(40)]


def test_failures_of_several_kinds_are_explained_by_kind() -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9))
    study.extend(trials=5)
    for reason in ("out of memory: 12 GB", "out of memory: 13 GB", "no layer", "out of memory: 14 GB"):
        study.fail(study.ask().trial, reason)
    assert "4 of 4 trials failed, the last (trial 3): out of memory: 14 GB" in study.explain()
    assert "  3 like trial 0: out of memory: 12 GB\n  1 like trial 2: no layer" in study.explain()
