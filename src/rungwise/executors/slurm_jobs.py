"""Which jobs of Slurm are a driver's? Its programs sbatch, squeue and scancel are asked, never `sacct`.

The jobs of a driver have a name of their own, which is also that of the folder in which it talks with them.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from rungwise.executors.files import OVER, beat, is_over
from rungwise.log import StudyError

ANSWER = 60.0  # seconds that a program of Slurm may take
HEARTBEAT = "heartbeat"


def own_folder(root: Path) -> Path:
    """A new folder for this driver, called as its jobs are in Slurm; the pilots of those before are ended."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in sorted(root.glob("rungwise-*")):
        if is_over(path / HEARTBEAT):
            shutil.rmtree(path, ignore_errors=True)  # a pilot that is just ending may still write there
        else:
            end_all(path)
    folder = root / f"rungwise-{uuid.uuid4().hex[:12]}"
    folder.mkdir(mode=0o700)
    return folder


def end_all(folder: Path) -> None:
    """End the pilots of the driver whose folder this is: each by what it reads, and those that wait in the queue."""
    try:
        beat(folder / HEARTBEAT, OVER)
    except OSError as error:
        logging.getLogger("rungwise").warning("pilots are not told that all is over: %s", error)
    cancel(f"--name={folder.name}")


def submit(folder: Path, log: str, slots: Sequence[int], arguments: Sequence[str], script: str) -> str:
    """Submit an array of jobs, one for each of `slots`, whose number this is; they print to `log`, with %a the slot."""
    where = str(folder).replace("%", "%%")
    slots_named = ",".join(map(str, slots))
    named = [f"--job-name={folder.name}", f"--array={slots_named}", f"--output={where}/{log}"]
    return _said(["sbatch", "--parsable", *named, *arguments], script).strip().partition(";")[0]


def states(folder: Path) -> dict[tuple[str, int], str]:
    """(Array, slot) -> the state of each pilot that Slurm knows."""
    said = _said(["squeue", "--noheader", "--array", "--states=all", f"--name={folder.name}", "--format=%F|%K|%T"])
    rows = [line.strip().split("|") for line in said.splitlines() if line.strip()]
    return {(number, int(slot)): state for number, slot, state in rows}


def cancel(which: str) -> None:
    """Cancel a job or, by name, several; they end by themselves if they cannot be."""
    try:
        _said(["scancel", "--quiet", which])
    except StudyError as error:
        logging.getLogger("rungwise").warning("%s", error)


def _said(command: list[str], given: str = "") -> str:
    """What a program of Slurm prints. Raises `StudyError` if it fails."""
    # the job in which the driver itself may run is none of theirs
    environment = {name: value for name, value in os.environ.items() if name == "SLURM_CONF" or name[:6] != "SLURM_"}
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=ANSWER, env=environment,
            start_new_session=True,  # Ctrl-C is for the driver
        )  # fmt: skip
    except FileNotFoundError:
        raise StudyError(f"there is no program {command[0]}: SlurmExecutor runs where Slurm's programs are") from None
    except OSError as error:
        raise StudyError(f"{command[0]} cannot be started: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        raise StudyError(f"{command[0]} has not answered for {ANSWER:g} s") from None
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
        raise StudyError(f"{shlex.join(command)} failed: {said}")
    return done.stdout
