"""A study with its checkpoints in a bucket, to be killed: python bucket_victim.py FOLDER ENDPOINT TRIALS BYTES."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import rungwise as rw
from rungwise.cloud_store import CloudStore

TOP = 9
SPACE = {"x": rw.Float(0, 1)}


def score(x: float, epoch: int) -> float:
    return (x - 0.3) ** 2 + 1 / epoch


def train(trial: rw.Trial, folder: str, size: int) -> None:
    def write(line: str) -> None:
        with open(f"{folder}/diary", "a") as diary:
            diary.write(f"{line}\n")

    x, state = trial.config["x"], trial.load()
    assert state is None or (state["x"], len(state["weights"])) == (x, size)
    write(f"began {trial.number} {0 if state is None else state['at']}")
    for epoch in trial:
        trial.report(score(x, epoch))
        write(f"saves {trial.number} {epoch}")
        trial.save({"x": x, "at": epoch, "weights": os.urandom(1 << 16) * (size >> 16)})
        write(f"saved {trial.number} {epoch}")


def main(folder: str, endpoint: str, trials: int, size: int) -> rw.Study:
    return rw.tune(
        lambda trial: train(trial, folder, size),
        SPACE,
        mode="min",
        scheduler=rw.ASHA(max_resource=TOP),
        trials=trials,
        workers=2,
        retries=8,
        path=Path(folder) / "study.db",
        checkpoints=CloudStore("s3://bucket/kept", endpoint=endpoint),
        quiet=True,
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
