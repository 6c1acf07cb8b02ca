"""Rungwise and its peers under the same faults: what is lost, stuck, or trained again.

python benchmarks/peers/kills.py [--tries 5] [--peers …] [--seed 0] [--folder runs/peers]

A study of each peer (`victim_<peer>.py`, run in the environment that run.py makes) is left alone once, to see how long
it takes. Then it is killed with all its processes at random moments, up to three times, and the same command is started
again until it succeeds; and then its function dies of a segmentation fault now and then. Prints a table in Markdown.
Linux only. See README.md for what each study is.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from curves import ROOT
from run import HERE, PEERS, Failed, environment, say

KILLS = 3  # a study, at most
WAIT_SECONDS = 7.0  # until the command is started again; a heartbeat of Optuna's is overdue after 5
LIMIT_SECONDS = 120.0  # for the command, and five times what an undisturbed one takes
ERRORS = 5  # times that the command may end with an error before we give up
SET_CHILD_SUBREAPER = 36  # of prctl(2)
TOO_LATE = 1000  # no exit code
NONE, KILLED, SEGMENTATION_FAULT = "none", "killed (SIGKILL)", "segmentation fault"
VICTIMS = [name for name in PEERS if name != "none"]
HEAD = ["peer", "fault", "studies", "struck", "errors", "reports lost", "trials stuck", "from too early"]
HEAD += ["from another's", "epochs repeated", "finished", "seconds"]


@dataclass
class Counts:
    """What became of some studies."""

    studies: int = 0
    struck: int = 0
    errors: int = 0  # times that the command ended by itself, but without success, or not in time
    acknowledged: int = 0  # reports of which the function was told that they arrived, and whose epoch it has saved
    lost: int = 0  # of those, not among the peer's results in the end
    stuck: int = 0  # trials that are neither failed, finished, paused nor pruned in the end
    too_early: int = 0  # jobs that went on from less than was saved
    foreign: int = 0  # jobs that went on from more than their trial was ever trained
    repeated: int = 0  # epochs trained again
    trained: int = 0  # epochs
    finished: int = 0  # the command succeeded in the end, with the wanted number of trials, none failed or stuck

    def read(self, diary: Iterable[str], found: dict[str, Any], *, done: bool, acknowledged: str = "saved") -> None:
        """Count one study by its diary and what the peer has in the end.

        `acknowledged` is the word in the diary for a report that the peer has taken.
        """
        saved: dict[str, int] = {}
        reported: set[tuple[str, int]] = set()
        trained: Counter[tuple[str, int]] = Counter()
        for line in diary:
            what, trial, value = line.split()
            if what == "struck":
                self.struck += 1
                continue
            epoch = int(value)
            if what == "began":
                self.too_early += epoch < saved.get(trial, 0)
                self.foreign += epoch > max((at for name, at in trained if name == trial), default=0)
            elif what == "trained":
                trained[trial, epoch] += 1
            elif what == "saved":
                saved[trial] = epoch
            if what == acknowledged:
                reported.add((trial, epoch))
        states = list(found["states"].values())
        self.studies += 1
        self.acknowledged += len(reported)
        self.lost += sum(epoch not in found["reports"].get(trial, []) for trial, epoch in reported)
        self.stuck += states.count("stuck")
        self.repeated += trained.total() - len(trained)
        self.trained += trained.total()
        self.finished += done and found["enough"] and "stuck" not in states


@dataclass
class Peer:
    """One peer, and how long an undisturbed study takes it."""

    name: str
    python: str
    log: Path
    seconds: float = 0.0
    training: float = 0.0  # seconds between the first and the last line of the diary
    version: str = "?"

    def command(self, what: str, folder: Path) -> list[str]:
        return [self.python, str(HERE / f"victim_{self.name.replace('-', '_')}.py"), what, str(folder)]


class Ended(NamedTuple):
    """How a command ended."""

    code: int | None  # None: it was killed
    seconds: float
    training: float  # seconds from the first line that it brought into the diary to the last


def descendants() -> set[int]:
    """All processes that came of this one and live; orphans are among them, as they become children of this one."""
    children: dict[int, list[int]] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = file.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            children.setdefault(int(parent), []).append(int(file.parent.name))
    found, open_ = set(), [os.getpid()]
    while open_:
        new = children.get(open_.pop(), [])
        found.update(new)
        open_ += new
    return found


def kill_all() -> None:
    """Kill what came of this process, and whatever that may have started meanwhile."""
    while alive := descendants():
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def start(peer: Peer, folder: Path, moment: float = math.inf) -> Ended:
    """Run the command to its end, or until `moment` seconds after its first line in the diary, when all is killed."""
    diary = folder / "diary"
    size = diary.stat().st_size if diary.exists() else 0
    with peer.log.open("ab") as log:
        running = subprocess.Popen(peer.command("run", folder), stdout=log, stderr=log, cwd=folder)
    began, first = time.time(), math.inf
    limit = began + LIMIT_SECONDS + 5 * peer.seconds
    while (code := running.poll()) is None and (now := time.time()) < min(limit, first + moment):
        if first == math.inf and diary.exists() and diary.stat().st_size > size:
            first = now
        time.sleep(0.005)
    if code is None and now < first + moment:
        code = TOO_LATE
    ended = time.time()
    kill_all()
    running.wait()
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):  # orphans
            pass
    return Ended(code, ended - began, diary.stat().st_mtime - first if first < math.inf else 0.0)


def in_the_end(peer: Peer, folder: Path) -> dict[str, Any]:
    """What the peer has in the end; nothing if it cannot be read."""
    with peer.log.open("ab") as log:
        done = subprocess.run(peer.command("read", folder), stdout=subprocess.PIPE, stderr=log, cwd=folder, check=False)
    kill_all()
    if done.returncode:
        return {"version": peer.version, "states": {}, "reports": {}, "enough": False}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def study(peer: Peer, fault: str, chance: random.Random, counts: Counts) -> None:
    """One study under a fault, counted."""
    with tempfile.TemporaryDirectory(prefix="kills-", ignore_cleanup_errors=True) as place:
        folder, kills, errors = Path(place), 0, 0
        os.environ |= {"DIARY": str(folder / "diary"), "FAULT": fault if fault == SEGMENTATION_FAULT else ""}
        while errors < ERRORS:
            striking = fault == KILLED and kills < KILLS
            ended = start(peer, folder, chance.uniform(0, peer.training / 2) if striking else math.inf)
            kills += ended.code is None
            errors += ended.code not in (0, None)
            if ended.code in (0, TOO_LATE):
                break
            time.sleep(WAIT_SECONDS)
        if fault == NONE:
            peer.seconds, peer.training = ended.seconds, ended.training
        found = in_the_end(peer, folder)
        peer.version = found["version"]
        counts.struck += kills
        counts.errors += errors
        diary = (folder / "diary").read_text().splitlines() if (folder / "diary").exists() else []
        counts.read(diary, found, done=ended.code == 0, acknowledged="reported" if peer.name == "neps" else "saved")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=5, help="studies for each peer and fault (default 5)")
    parser.add_argument("--peers", nargs="+", choices=VICTIMS, default=VICTIMS, help="some only")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills (default 0)")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "peers", help="for environments and logs")
    given = parser.parse_args()
    folder: Path = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        sys.exit("Linux only")
    os.environ |= {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
    failures = 0
    print("| " + " | ".join(HEAD) + " |\n" + "|---" * len(HEAD) + "|", flush=True)
    for name in [name for name in VICTIMS if name in given.peers]:
        try:
            peer = Peer(name, environment(name, folder), folder / f"kills-{name}.log")
        except Failed as failure:
            say(str(failure))
            failures += 1
            continue
        peer.log.unlink(missing_ok=True)
        for fault in (NONE, KILLED, SEGMENTATION_FAULT):
            counts, chance = Counts(), random.Random(f"{name} {fault} {given.seed}")
            for _ in range(1 if fault == NONE else given.tries):
                study(peer, fault, chance, counts)
            print(f"| {' | '.join(cells(peer, fault, counts))} |", flush=True)
    return failures


def cells(peer: Peer, fault: str, o: Counts) -> list[str]:
    """One line of the table."""
    lost, repeated = f"{o.lost} of {o.acknowledged}", f"{o.repeated} of {o.trained}"
    numbers = (o.studies, o.struck, o.errors, lost, o.stuck, o.too_early, o.foreign, repeated, o.finished)
    return [f"{peer.name} {peer.version}", fault, *map(str, numbers), f"{peer.seconds:.1f}" if fault == NONE else ""]


if __name__ == "__main__":
    sys.exit(main())
