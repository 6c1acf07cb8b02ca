"""What SlurmExecutor costs, on a Slurm of this machine's own (as root): `python benchmarks/engine_slurm.py`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "engines"))

from slurm_cluster import cluster, unavailable

import rungwise as rw
from rungwise.events import Job, Reported
from rungwise.executors.files import Reader, Writer
from rungwise.executors.pilot import FromPilot, Here, said_file
from rungwise.executors.pilots import Pilots
from rungwise.executors.slurm import SlurmExecutor
from rungwise.storage import Storage

SLOTS, JOBS, FLOOD, EPOCHS, MANY = 2, 100, 20_000, 100, 100


def nothing(trial: rw.Trial) -> None:
    for _ in trial:
        trial.report(0.5)


def says_when(trial: rw.Trial) -> None:
    for _ in trial:
        time.sleep(0.1)
        trial.report(time.monotonic())


def jobs(executor: Pilots, until: int, count: int, first: int = 1) -> tuple[float, list[float]]:
    """Seconds for `count` jobs on all slots, and how old each report was when it came."""
    ages, left, running, began = [], count, 0, time.monotonic()
    while left or running:
        while left and running < executor.capacity:
            lease = first + count - left
            executor.submit(Job(lease, {}, 0, until, lease=lease, study="s"))
            left, running = left - 1, running + 1
        for said in executor.poll(0.2):
            if isinstance(said.message, Reported):
                ages.append(time.monotonic() - float(said.message.score or 0))
            running -= type(said.message).__name__ in ("Completed", "Broke", "Paused")
    return time.monotonic() - began, ages


def started(function: object, root: str) -> Pilots:
    executor = SlurmExecutor(workers=SLOTS)(function, Storage(Path(root)))
    while executor.capacity < SLOTS:
        executor.poll(0.1)
    return executor


def main() -> None:
    if (why := unavailable()) is not None:
        sys.exit(why)
    with tempfile.TemporaryDirectory() as root, cluster(Path(root)), tempfile.TemporaryDirectory() as shared:
        trips = []
        for _ in range(5):
            began = time.monotonic()
            subprocess.run(["sbatch", "--wait", "--output=/dev/null", "--wrap=true"], capture_output=True, check=True)
            trips.append(time.monotonic() - began)
        print(f"Slurm itself, sbatch --wait of `true`: {statistics.median(trips):.2f} s")
        executor = started(nothing, f"{shared}/a")
        jobs(executor, 1, SLOTS)  # the processes begin
        seconds, _ = jobs(executor, 1, JOBS, first=1000)
        print(f"jobs of nothing on {SLOTS} pilots: {JOBS / seconds:.0f} a second")
        seconds, _ = jobs(executor, FLOOD, 1, first=5000)
        print(f"reports of one job: {FLOOD / seconds:,.0f} a second")
        executor.close()
        executor = started(says_when, f"{shared}/b")
        jobs(executor, 1, SLOTS)
        _, ages = jobs(executor, EPOCHS, SLOTS, first=1000)
        ages.sort()
        median, late = (1000 * ages[int(len(ages) * part)] for part in (0.5, 0.99))
        print(f"from trial.report to poll, epochs of 0.1 s: median {median:.0f} ms, 99th percentile {late:.0f} ms")
        executor.close()
    poll_cost()


def poll_cost() -> None:
    """What polling `MANY` silent or talking pilots costs the driver; nobody is there but their files."""
    for every, what in ((0.0, "silent"), (1.0, "reporting each second")):
        with tempfile.TemporaryDirectory() as root:
            folder, readers, writers = Path(root), [], []
            for slot in range(MANY):
                writers.append(Writer(said_file(folder, 0, slot)))
                readers.append(Reader[object](said_file(folder, 0, slot), FromPilot))
            time.sleep(0)
            cpu, looks, heard, began, due = time.process_time(), 0, 0, time.monotonic(), time.monotonic() + 5
            spent = 0.0
            while (now := time.monotonic()) < began + 15:
                if every and now >= due:
                    due += every
                    before = time.process_time()
                    for writer in writers:
                        writer.write([Here("n")])
                    spent += time.process_time() - before
                for reader in [reader for reader in readers if reader.due <= now]:
                    heard += len(reader.read())
                    looks += 1
                time.sleep(max(0.0, min(reader.due for reader in readers) - time.monotonic()))
            used = time.process_time() - cpu - spent
            print(f"{MANY} pilots, {what}: {looks / 15:.0f} looks into files a second, {used / 15:.1%} of a core")


if __name__ == "__main__":
    main()
