"""What is every victim of kills.py like? A job of a few epochs that saves after each and keeps a diary of all it does.

Runs in the environment of each peer: standard library only. The diary and the fault come in the environment variables
DIARY and FAULT, so that they reach workers that the peer starts itself. A victim is called as

python victim_<peer>.py run FOLDER      (the command that is killed and started again)
python victim_<peer>.py read FOLDER     (prints what the peer has in the end, as `ended` says)
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

TRIALS, TOP, WORKERS, REDUCTION_FACTOR, EPOCH_SECONDS = 24, 27, 2, 3, 0.01


def note(*words: object) -> None:
    """Append one line to the diary."""
    fd = os.open(os.environ["DIARY"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, (" ".join(map(str, words)) + "\n").encode())  # one write to a file opened for appending is whole
    os.close(fd)


def load(file: Path) -> int:
    """The epoch in a checkpoint, 0 if there is none."""
    return int(file.read_text()) if file.exists() else 0


def save(file: Path, epoch: int) -> None:
    """Write a checkpoint, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".new")
    beside.write_text(str(epoch))
    os.replace(beside, file)


def epochs(trial: object, x: float, start: int, until: int) -> Iterator[tuple[int, float]]:
    """Train on from epoch `start`: each epoch with its loss. The victim notes "saved" when it is saved and reported."""
    note("began", trial, start)
    for epoch in range(start + 1, until + 1):
        time.sleep(EPOCH_SECONDS)
        note("trained", trial, epoch)
        misbehave(trial, epoch)
        yield epoch, loss(x, epoch)


def loss(x: float, epoch: int) -> float:
    return (x - 0.3) ** 2 + zlib.crc32(f"{x} {epoch}".encode()) % 97 / 300 + 1 / epoch


def misbehave(trial: object, epoch: int) -> None:
    """Under the fault, die at one epoch of 40, never twice at the same."""
    if not os.environ.get("FAULT") or zlib.crc32(f"{trial} {epoch}".encode()) % 40:
        return
    try:
        os.close(os.open(f"{os.environ['DIARY']}-{trial}-{epoch}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    note("struck", trial, time.time())
    ctypes.string_at(0)


def ended(package: str, *, states: dict[str, str], reports: dict[str, list[int]], wanted: int = TRIALS) -> None:
    """Print what a peer has in the end.

    `states`: "ended" (finished, paused or pruned by the scheduler), "failed" or "stuck", of each trial.
    `reports`: the epochs of each trial, by the names that the diary uses.
    """
    enough = list(states.values()).count("ended") >= wanted and "failed" not in states.values()
    about: dict[str, Any] = {"version": metadata.version(package), "states": states, "reports": reports}
    print(json.dumps(about | {"enough": enough}))


def main(run: Callable[[Path], None], read: Callable[[Path], None]) -> None:
    {"run": run, "read": read}[sys.argv[1]](Path(sys.argv[2]))
