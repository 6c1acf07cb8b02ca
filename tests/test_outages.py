"""A machine that fails for a while, and a study that goes on: real processes, real files."""

from __future__ import annotations

import errno
import functools
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import rungwise as rw
from objectives import SPACE
from rungwise.events import Excused, Failed
from rungwise.executors.local import LocalWorkers


def train(broken: Path, trigger: int | None, trial: rw.Trial) -> None:
    """A disk that is full while the file `broken` is there; trial number `trigger` fills it, for five seconds."""
    trial.load()
    for epoch in trial:
        if trial.number == trigger and not (broken.parent / "done").exists():
            (broken.parent / "done").touch()
            broken.touch()
        fill = broken.exists() and trigger is not None and time.time() - broken.stat().st_mtime > 5
        if fill:
            broken.unlink(missing_ok=True)
        if broken.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        time.sleep(0.01)
        trial.report((trial.config["x"] - 0.3) ** 2 + 1 / epoch)
        trial.save(epoch)


def full_when_it_saves(broken: Path, trigger: int | None, trial: rw.Trial) -> None:
    """The same, where each epoch is reported before it is saved."""
    trial.load()
    for epoch in trial:
        time.sleep(0.01)
        trial.report((trial.config["x"] - 0.3) ** 2 + 1 / epoch)
        if trial.number == trigger and not (broken.parent / "done").exists():
            (broken.parent / "done").touch()
            broken.touch()
        if broken.exists():
            if trigger is None or time.time() - broken.stat().st_mtime < 5:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            broken.unlink(missing_ok=True)
        trial.save(epoch)


def tune(function: Callable[[rw.Trial], None], folder: Path, **arguments) -> rw.Study:
    defaults = {"mode": "min", "trials": 60, "workers": 2, "scheduler": rw.PASHA(max_resource=9)}
    return rw.tune(function, SPACE, study=folder / "s.db", **defaults | arguments)


def facts(study: rw.Study, kind: type) -> list:
    opened = rw.Study.open(study.path)
    return [fact for _, fact in opened.facts() if isinstance(fact, kind)]


@pytest.mark.parametrize("function", [train, full_when_it_saves])
def test_a_disk_that_is_full_for_five_seconds_fails_no_trial(function, tmp_path: Path, capfd) -> None:
    study = tune(functools.partial(function, tmp_path / "broken", 25), tmp_path)
    assert study.finished
    assert len(study.trials) == 60
    assert facts(study, Failed) == []
    assert facts(study, Excused)
    said = capfd.readouterr().err
    assert "trials broke off in a row" in said
    assert "No space left on device" in said
    assert "the study continues" in said


def test_a_disk_that_stays_full_ends_the_run_and_the_same_call_goes_on_when_it_is_mended(tmp_path: Path) -> None:
    tune(functools.partial(train, tmp_path / "broken", None), tmp_path, trials=20, quiet=True)
    (tmp_path / "broken").touch()
    began = time.monotonic()
    with pytest.raises(
        rw.StudyError, match=r"nothing works any more: .*No space left on device.*continue with the same command"
    ):
        tune(functools.partial(train, tmp_path / "broken", None), tmp_path, patience=3, quiet=True)
    assert time.monotonic() - began < 60
    before = rw.Study.open(tmp_path / "s.db")
    assert not [record for record in before.trials if record.failure is not None]
    assert {record.attempts for record in before.trials if record.job is not None} == {0}
    before.close()
    (tmp_path / "broken").unlink()
    study = tune(functools.partial(train, tmp_path / "broken", None), tmp_path, quiet=True)
    assert study.finished
    assert len(study.trials) == 60
    assert facts(study, Failed) == []


def broken_slot(trial: rw.Trial) -> None:
    """As on a machine of which one GPU is broken: it fails at once, before the others have done anything."""
    if trial.worker == 1:
        raise RuntimeError("CUDA error: device lost")
    for epoch in trial:
        time.sleep(0.02)
        trial.report((trial.config["x"] - 0.3) ** 2 + 1 / epoch)


@pytest.mark.parametrize("workers", [2, 3])
def test_one_broken_slot_fails_no_trial_since_its_jobs_are_tried_again_in_another(workers: int, tmp_path: Path) -> None:
    study = tune(broken_slot, tmp_path, workers=workers, trials=30)
    assert facts(study, Failed) == []
    assert [record.number for record in study.trials if not record.reports] == []


def test_what_broke_off_is_begun_elsewhere_and_the_third_time_waits_for_that(tmp_path: Path) -> None:
    workers = LocalWorkers(broken_slot, 3, tmp_path, devices="none")
    jobs = [rw.Job(trial, {"x": 0.5}, 0, 1, lease=trial) for trial in range(3)]
    try:
        workers._broke_at = {0: [1], 1: [1, 1], 2: [0, 1, 2]}
        assert [workers.takes(job, 1) for job in jobs] == [True, False, True], "the last one left may be slot 1"
        assert [workers.takes(job, 2) for job in jobs] == [True, True, True]
        workers.submit(jobs[2])
        workers.submit(jobs[1])
        assert [worker.slot for worker in workers._busy] == [0, 2]
        assert [workers.takes(job, 1) for job in jobs] == [True, False, True]
    finally:
        workers.close()


def bad_one(trial: rw.Trial) -> None:
    with (trial.folder.parent / f"worker-{trial.number}").open("a") as file:
        file.write(f"{trial.worker} ")
    time.sleep(0.02)
    for epoch in trial:
        if trial.number == 5:
            raise MemoryError
        trial.report((trial.config["x"] - 0.3) ** 2 + 1 / epoch)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_trial_that_breaks_off_in_every_slot_fails_after_its_retries(workers: int, tmp_path: Path) -> None:
    study = tune(bad_one, tmp_path, workers=workers, trials=20)
    assert [(one.trial, one.reason.partition(" ")[0]) for one in facts(study, Failed)] == [(5, "MemoryError")]
    tried = (tmp_path / "s.db.trials" / "worker-5").read_text().split()
    assert len(tried) == 3
    assert len(set(tried)) == workers
