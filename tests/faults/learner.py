"""A real study with a searcher that learns: `python learner.py FOLDER SEARCHER SEED`.

What a trial scores depends on the state that it goes on from: whoever is handed another configuration's state reports
a false score. DIE_AFTER, a number, kills the driver when so many jobs have been completed. WORSE says which trials score worse by
`WORSE_BY`, the even or the odd ones, so that a searcher that learns draws others in a second run.
"""

import json
import os
import signal
import sys
from pathlib import Path

import rungwise as rw
from rungwise.sqlite import SQLiteLog

SPACE = {"x": rw.Float(0, 1), "y": rw.Float(0, 1)}
TRIALS = 40
WORSE_BY = 10


def truth(config: dict, epoch: int) -> float:
    return (config["x"] - 0.3) ** 2 + (config["y"] - 0.6) ** 2 + 1 / epoch


def train(trial: rw.Trial) -> None:
    worse = WORSE_BY * (trial.number % 2 == int(os.environ["WORSE"]))
    model = trial.load() or {"of": dict(trial.config)}
    for epoch in trial:
        trial.report(truth(model["of"], epoch) + worse)
        trial.save(model)


def die_after(completed: int) -> None:
    """End this process with SIGKILL as soon as so many completions are durable."""
    flush, seen = SQLiteLog.flush, 0

    def flushed(log: SQLiteLog) -> None:
        nonlocal seen
        seen += sum(json.loads(row[1])["fact"] == "completed" for row in log._pending)
        flush(log)
        if seen >= completed:
            os.kill(os.getpid(), signal.SIGKILL)

    SQLiteLog.flush = flushed  # type: ignore[method-assign]


def main(folder: Path, searcher: str, seed: int) -> None:
    if completed := os.environ.get("DIE_AFTER"):
        die_after(int(completed))
    rw.tune(
        train,
        SPACE,
        mode="min",
        scheduler=rw.PASHA(max_resource=9),
        searcher=searcher,
        trials=TRIALS,
        workers=2,
        seed=seed,
        keep_checkpoints=True,
        study=folder / "study.db",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
