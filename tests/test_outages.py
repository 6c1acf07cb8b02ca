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
    assert "the study goes on" in said


def test_a_disk_that_stays_full_ends_the_run_and_the_same_call_goes_on_when_it_is_mended(tmp_path: Path) -> None:
    tune(functools.partial(train, tmp_path / "broken", None), tmp_path, trials=20, quiet=True)
    (tmp_path / "broken").touch()
    began = time.monotonic()
    with pytest.raises(rw.StudyError, match=r"nothing works any more: .*No space left on device.* goes on"):
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
