"""A real study to which things happen: `python victim.py FOLDER`. Keeps a diary of what was trained and saved.

The environment variable FAULT makes the function itself misbehave, now and then and never twice at the same place; DIE_AFTER kills the driver after the first fact of a kind.
"""

import ctypes
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

import rungwise as rw
from rungwise.sqlite import SQLiteLog

TRIALS, TOP, JOB_SECONDS = 24, 27, 2.0


def note(diary: str, *words: object) -> None:
    line = " ".join(map(str, words)) + "\n"
    fd = os.open(diary, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, line.encode())  # one write to a file opened for appending is whole
    os.close(fd)


def misbehave(fault: str, diary: str, number: int, epoch: int) -> None:
    if not fault or (7 * number + 3 * epoch + int(os.environ.get("FAULT_SEED", "37"))) % 40:
        return  # unless told otherwise it strikes in the first epoch of trial 0, and at some later ones
    try:
        os.close(os.open(f"{diary}-{number}-{epoch}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    note(diary, "struck", number, time.time())
    if fault == "segmentation fault":
        ctypes.string_at(0)
    elif fault == "os._exit":
        os._exit(0)
    elif fault == "out of memory":
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, resource.RLIM_INFINITY))
        bytearray(8 << 30)
    elif fault == "hang":
        time.sleep(1000)
    elif fault == "worker stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif fault == "function raises":
        raise RuntimeError("bad luck")


def train(trial: rw.Trial) -> None:
    diary = trial.config["diary"]
    state = trial.load()
    note(diary, "began", trial.number, 0 if state is None else state)
    for epoch in trial:
        time.sleep(0.01)
        note(diary, "trained", trial.number, epoch)
        misbehave(os.environ.get("FAULT", ""), diary, trial.number, epoch)
        trial.report((trial.config["x"] - 0.3) ** 2 + (hash((trial.number, epoch)) % 97) / 300 + 1 / epoch)
        trial.save(epoch)
        note(diary, "saved", trial.number, epoch)


def die_after(kind: str) -> None:
    """End this process with SIGKILL as soon as a fact of this kind is durable."""
    flush = SQLiteLog.flush

    def flushed(log: SQLiteLog) -> None:
        kinds = {json.loads(text)["fact"] for _, text, _ in log._pending}
        flush(log)
        if kind in kinds:
            os.kill(os.getpid(), signal.SIGKILL)

    SQLiteLog.flush = flushed  # type: ignore[method-assign]


def main(folder: Path) -> None:
    if kind := os.environ.get("DIE_AFTER"):
        die_after(kind)
    space = {"x": rw.Float(0, 1), "diary": rw.Categorical([str(folder / "diary")])}
    study = rw.tune(
        train,
        space,
        mode="min",
        scheduler=rw.PASHA(max_resource=TOP),
        trials=TRIALS,
        workers=2,
        study=folder / "study.db",
        refit=True,
        job_seconds=JOB_SECONDS,
        retries=5,
        quiet=True,
    )
    sys.exit(130 if study.interrupted else 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
