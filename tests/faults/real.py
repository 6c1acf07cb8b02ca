"""The faults for real: a study of two processes with checkpoints, hit at random moments until it is finished.

    python tests/faults/real.py [--tries 10] [FAULT …]

Prints a row a fault: how often it struck, what was lost, and how long it took until it had its consequence.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import rungwise as rw
from rungwise import folders
from rungwise.events import Failed, Retried

VICTIM = Path(__file__).with_name("victim.py")
TRIALS, TOP = 24, 27
INSIDE = ["segmentation fault", "os._exit", "out of memory", "hang", "worker stopped", "function raises"]


@dataclass
class Outcome:
    """What became of the studies that a fault struck."""

    struck: int = 0
    lost: int = 0  # reports that were followed by a save and are not in the log
    stuck: int = 0  # trials that are neither paused nor failed in the end
    from_zero: int = 0  # jobs that went on from less than was saved
    repeated: int = 0  # units trained again
    studies: int = 0
    finished: int = 0  # by the same command, with the wanted number of trials, none failed, and the refit done
    slowest: float = 0.0  # seconds until it was noticed, or the driver had ended

    def read(self, folder: Path, *, damaged: bool) -> None:
        """Count what the diary in `folder` and the study say."""
        self.studies += 1
        study = rw.Study.open(folder / "study.db")
        self.stuck += sum(record.state == "running" for record in study.trials)
        done = len(study.trials) == TRIALS and study.finished and study.best.refit_resource == TOP
        self.finished += done and all(record.failure is None for record in study.trials)
        again = [(time, fact.trial) for time, fact in study.facts() if isinstance(fact, Retried | Failed)]
        saved: dict[str, int] = {}
        trained: Counter[tuple[str, str]] = Counter()
        for line in (folder / "diary").read_text().splitlines():
            what, trial, value = line.split()
            if what == "began":
                self.from_zero += int(value) < saved.get(trial, 0) - damaged
            elif what == "trained":
                trained[trial, value] += 1
            elif what == "struck":
                self.struck += 1
                began = float(value) - 0.002  # SQLite's clock has milliseconds
                noticed = [when for when, number in again if number == int(trial) and when >= began]
                self.slowest = max(self.slowest, min(noticed, default=float("inf")) - began)
            elif what == "saved":
                saved[trial] = int(value)
                record = study.trials[int(trial)]
                self.lost += int(value) not in record.reports | record.refit
        self.repeated += sum(times - 1 for times in trained.values())
        study.close()


def driver(folder: Path, fault: str = "", file_limit: int | None = None, seed: int = 37) -> subprocess.Popen[bytes]:
    def limit() -> None:
        if file_limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, resource.RLIM_INFINITY))

    environment = os.environ | {"PYTHONHASHSEED": "0", "FAULT": fault, "FAULT_SEED": str(seed)}
    return subprocess.Popen(
        [sys.executable, str(VICTIM), str(folder)], env=environment, stderr=subprocess.DEVNULL, preexec_fn=limit
    )


def finish(folder: Path) -> None:
    code = driver(folder).wait(timeout=120)
    assert code == 0, f"the command ended with {code}"


def inside(fault: str, folder: Path, chance: random.Random, outcome: Outcome) -> None:
    """The function itself misbehaves; the same driver lives through it."""
    code = driver(folder, fault, seed=chance.randrange(40)).wait(timeout=300)
    assert code == 0, f"the command ended with {code}"


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"executors.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    except FileNotFoundError:
        return []


def worker_killed(folder: Path, chance: random.Random, outcome: Outcome) -> None:
    running = driver(folder)
    diary = folder / "diary"
    while running.poll() is None and not (diary.exists() and "saved" in diary.read_text()):
        time.sleep(0.02)  # one that is killed before anything ever worked is an objective that does not
    for _ in range(6):
        time.sleep(chance.uniform(0.2, 0.5))
        if running.poll() is None and (workers := workers_of(running)):
            os.kill(chance.choice(workers), signal.SIGKILL)
            outcome.struck += 1
    assert running.wait(timeout=120) == 0


def driver_signalled(*numbers: signal.Signals, code: int) -> Callable[[Path, random.Random, Outcome], None]:
    """The driver gets signals, 50 ms apart, up to three times; each time the same command again."""

    def strike(folder: Path, chance: random.Random, outcome: Outcome) -> None:
        for _ in range(3):
            running = driver(folder)
            time.sleep(chance.uniform(0.3, 0.9))
            if running.poll() is not None:
                break
            began = time.monotonic()
            for number in numbers:
                running.send_signal(number)
                time.sleep(0.05)
            ended = running.wait(timeout=20)
            outcome.struck += 1
            outcome.slowest = max(outcome.slowest, time.monotonic() - began)
            # it may have been too early, before the study was taken up, or too late
            assert ended in (code, 130, 0, -numbers[0]), f"the command ended with {ended}"
        finish(folder)

    return strike


def stopped(folder: Path, chance: random.Random, outcome: Outcome) -> None:
    """The driver is stopped for longer than a job may take, and continued."""
    running = driver(folder)
    time.sleep(chance.uniform(0.5, 1.5))
    running.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    running.send_signal(signal.SIGCONT)
    outcome.struck += 1
    assert running.wait(timeout=120) == 0


def disk_full(folder: Path, chance: random.Random, outcome: Outcome) -> None:
    """No file may grow beyond a limit; then it may."""
    running = driver(folder, file_limit=chance.randrange(20_000, 120_000))
    if running.wait(timeout=120) != 0:
        outcome.struck += 1
    finish(folder)


def checkpoint_damaged(folder: Path, chance: random.Random, outcome: Outcome) -> None:
    """The driver is killed, and a bit of each newest checkpoint is flipped before it is started again."""
    running = driver(folder)
    time.sleep(chance.uniform(0.5, 1.5))
    running.kill()
    running.wait()
    time.sleep(0.3)
    for place in (folder / "study.db.trials").glob("[0-9]*[0-9]"):
        if not (states := folders.inside(place).there().states):
            continue
        file = place / states[-1].name
        content = bytearray(file.read_bytes())
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        file.write_bytes(content)
        outcome.struck += 1
    finish(folder)


FAULTS: dict[str, Callable[[Path, random.Random, Outcome], None]] = {
    "driver killed (SIGKILL)": driver_signalled(signal.SIGKILL, code=-signal.SIGKILL),
    "driver stopped and continued": stopped,
    "SIGTERM": driver_signalled(signal.SIGTERM, code=130),
    "Ctrl-C": driver_signalled(signal.SIGINT, code=130),
    "Ctrl-C twice": driver_signalled(signal.SIGINT, signal.SIGINT, code=-signal.SIGINT),
    "worker killed (SIGKILL)": worker_killed,
    **{
        fault: (lambda folder, chance, outcome, fault=fault: inside(fault, folder, chance, outcome)) for fault in INSIDE
    },
    "disk full, then freed": disk_full,
    "checkpoint damaged": checkpoint_damaged,
}


def tries(fault: str, times: int, seed: int = 0) -> Outcome:
    """`times` studies under `fault`."""
    outcome, chance = Outcome(), random.Random(f"{fault} {seed}")
    for _ in range(times):
        with tempfile.TemporaryDirectory(prefix="rungwise-") as place:
            FAULTS[fault](Path(place), chance, outcome)
            outcome.read(Path(place), damaged=fault == "checkpoint damaged")
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(FAULTS)} (default: all)")
    parser.add_argument("--tries", type=int, default=10, help="studies for each fault (default 10)")
    given = parser.parse_args()
    print(
        "| fault | studies | struck | reports lost | trials stuck | from zero | units repeated | finished | seconds, at most |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for fault in given.faults or FAULTS:
        o = tries(fault, given.tries)
        slowest = f"{o.slowest:.2f}" if o.slowest else ""
        cells = (fault, o.studies, o.struck, o.lost, o.stuck, o.from_zero, o.repeated, o.finished, slowest)
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
