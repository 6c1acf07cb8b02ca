"""A real study that is to be killed: `python victim.py FOLDER`. Keeps a diary of what was trained and saved."""

import os
import sys
import time
from pathlib import Path

import rungwise as rw

TRIALS, TOP = 24, 27


def note(diary: str, *words: object) -> None:
    line = " ".join(map(str, words)) + "\n"
    fd = os.open(diary, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, line.encode())  # one write to a file opened for appending is whole
    os.close(fd)


def train(trial: rw.Trial) -> None:
    diary = trial.config["diary"]
    state = trial.load()
    note(diary, "began", trial.number, 0 if state is None else state)
    for epoch in trial:
        time.sleep(0.01)
        note(diary, "trained", trial.number, epoch)
        trial.report((trial.config["x"] - 0.3) ** 2 + (hash((trial.number, epoch)) % 97) / 300 + 1 / epoch)
        trial.save(epoch)
        note(diary, "saved", trial.number, epoch)


def main(folder: Path) -> None:
    space = {"x": rw.Float(0, 1), "diary": rw.Categorical([str(folder / "diary")])}
    rw.tune(
        train,
        space,
        mode="min",
        scheduler=rw.PASHA(max_resource=TOP),
        trials=TRIALS,
        workers=2,
        study=folder / "study.db",
        refit=True,
        quiet=True,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
