"""Rungwise: `tune` on two processes with a study file; a job that breaks off is given out again up to 5 times."""

from __future__ import annotations

import sys
from pathlib import Path

from diary import TOP, TRIALS, WORKERS, ended, epochs, main, note

import rungwise as rw


def train(trial: rw.Trial) -> None:
    work = epochs(trial.number, trial.config["x"], trial.load() or 0, trial.until)
    for epoch, (_, value) in zip(trial, work, strict=True):
        trial.report(value)
        trial.save(epoch)
        note("saved", trial.number, epoch)


def run(folder: Path) -> None:
    study = rw.tune(
        train,
        {"x": rw.Float(0, 1)},
        mode="min",
        scheduler=rw.PASHA(max_resource=TOP),
        trials=TRIALS,
        workers=WORKERS,
        study=folder / "study.db",
        retries=5,
        quiet=True,
    )
    sys.exit(130 if study.interrupted else 0)


def read(folder: Path) -> None:
    study = rw.Study.open(folder / "study.db")
    states = {"running": "stuck", "failed": "failed"}
    ended(
        "rungwise",
        states={str(trial.number): states.get(trial.state, "ended") for trial in study.trials},
        reports={str(trial.number): list(trial.reports) for trial in study.trials},
    )


if __name__ == "__main__":
    main(run, read)
