"""What a study leaves on the disk, and what keeping it small costs.

python benchmarks/disk.py large [--trials 6] [--megabytes 200]   # the peak of a real study with large states
python benchmarks/disk.py many [--trials 10000]                  # files of many small trials, and the time it takes
python benchmarks/disk.py reports [--reports 20000]              # bytes of a trial that saves at every step
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

import rungwise as rw
from rungwise.events import Job
from rungwise.storage import Storage
from rungwise.trial import Trial

SPACE = {"x": rw.Float(0, 1)}


def held(folder: Path) -> tuple[int, int]:
    """Bytes and files under `folder` now; a file with two names counts once."""
    files: dict[int, int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                found = os.stat(os.path.join(place, name))
            except FileNotFoundError:
                continue
            files[found.st_ino] = found.st_size
    return sum(files.values()), len(files)


def large_states(trial: rw.Trial) -> None:
    """Trains nothing, and saves as much as it is told."""
    trial.load()
    state = os.urandom(trial.config["bytes"])
    for epoch in trial:
        trial.report((trial.config["x"] - 0.3) ** 2 + 1 / epoch)
        trial.save(state)


def large(trials: int, megabytes: int) -> None:
    """The peak, looked at every 5 ms, and what is left."""
    space = {**SPACE, "bytes": rw.Categorical([megabytes << 20])}
    with tempfile.TemporaryDirectory() as place:
        peak, over = 0, threading.Event()

        def look() -> None:
            nonlocal peak
            while not over.wait(0.005):
                peak = max(peak, held(Path(place))[0])

        watcher = threading.Thread(target=look)
        watcher.start()
        scheduler = rw.ASHA(max_resource=9)
        study = rw.tune(
            large_states, space, mode="min", scheduler=scheduler, trials=trials, study=Path(place) / "s.db", quiet=True
        )
        over.set()
        watcher.join()
        left, files = held(study.folder)
        most, least = (f"{size / 2**20:,.0f} MB" for size in (peak, left))
        print(f"{trials} trials of {megabytes} MB: peak {most}, left {least} in {files} files")


def many(trials: int) -> None:
    """The driver's side of a study, with a checkpoint a job and without, and the part of it that looks after files."""
    from rungwise.disk import Disk

    for saves in (False, True):
        with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as place:
            study = rw.Study(SPACE, rw.PASHA(max_resource=81), path=Path(place) / "s.db")
            study.extend(trials=trials)
            study.folder.mkdir()
            storage = Storage(study.folder)
            disk, peak, spent, jobs, said = Disk(study, storage, keep=False), 0, 0.0, 0, []
            began = time.process_time()
            while (job := study.ask()) is not None:
                given = Job(job.trial, job.config, job.start, job.until, lease=jobs, study=study.id)
                storage.hold(given)
                storage.log_of(job.trial).touch()
                trial = Trial(given, storage.folder_of(job.trial), said.append)
                if saves:
                    trial.load()
                    trial.report((job.config["x"] - 0.3) ** 2 + 1 / job.until, job.until)
                    trial.save(None)
                study.report(job.trial, job.until, (job.config["x"] - 0.3) ** 2 + 1 / job.until)
                jobs += 1
                before = time.process_time()
                disk.ended(job.trial)
                if disk.due:
                    looked = time.process_time()
                    peak = max(peak, held(study.folder)[1])
                    looked = time.process_time() - looked
                    began, before = began + looked, before + looked
                    disk.clean()
                spent += time.process_time() - before
            disk.clean()
            total = time.process_time() - began
            what = "that save at each rung" if saves else "that save nothing"
            print(
                f"{trials:,} trials {what}: at most {peak:,} files, {held(study.folder)[1]:,} left; "
                f"looking after them took {1e6 * spent / jobs:.0f} of {1e6 * total / jobs:.0f} µs of a job"
            )
            study.close()


class Written:
    """Counts the bytes of what is synced; of a file that only grows, those that are new."""

    def __init__(self) -> None:
        self.bytes = 0
        self._known: dict[int, int] = {}

    def count(self, fd: int) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}")
        if not os.path.isdir(path):
            found = os.fstat(fd)
            self.bytes += found.st_size - self._known.get(found.st_ino, 0)
            if path.endswith("reports"):
                self._known[found.st_ino] = found.st_size


def reports(most: int) -> None:
    """Bytes that are written by a trial that reports and saves at every step."""
    for count in (most // 10, most):
        with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as place:
            folder = Path(place) / "000000"
            written, fsync = Written(), os.fsync
            os.fsync = written.count
            trial = Trial(Job(0, {"x": 0.5}, 0, count), folder, lambda said: None)
            began = time.perf_counter()
            for epoch in trial:
                trial.report(1 / epoch)
                trial.save(epoch)
            seconds = time.perf_counter() - began
            os.fsync = fsync
            left, _ = held(folder)
            print(
                f"{count:,} reports with a save each: {written.bytes / 1e6:,.1f} MB written "
                f"({written.bytes / count:,.0f} bytes a save), {left / 1e6:.2f} MB left, "
                f"{1e6 * seconds / count:.0f} µs a save"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["large", "many", "reports"])
    parser.add_argument("--trials", type=int)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--reports", type=int, default=20_000)
    given = parser.parse_args()
    if given.what == "large":
        large(given.trials or 6, given.megabytes)
    elif given.what == "many":
        many(given.trials or 10_000)
    else:
        reports(given.reports)


if __name__ == "__main__":
    main()
