"""A study whose curves get worse again, to be killed and taken up again: `booster.py FOLDER`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import rungwise as rw
from rungwise import Trial

TRIALS = 27


def error(x: float, epoch: int) -> float:
    """Best after 4 to 10 epochs, as boosting is that goes on too long; how well it does then depends on x, too."""
    return 0.3 + (x - 0.3) ** 2 / 10 + (epoch - 4 - round(6 * x)) ** 2 / 5000


def train(trial: Trial) -> None:
    state = trial.load() or {"trees": []}
    for epoch in trial:
        time.sleep(0.01)
        state["trees"].append((trial.number, epoch))
        trial.report(error(trial.config["x"], epoch))
        trial.save(state)


if __name__ == "__main__":
    rw.tune(
        train,
        {"x": rw.Float(0, 1)},
        mode="min",
        score="best",
        scheduler=rw.ASHA(max_resource=27),
        trials=TRIALS,
        workers=2,
        refit=81,
        study=Path(sys.argv[1]) / "study.db",
    )
