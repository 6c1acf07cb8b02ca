"""What does it cost to train on an engine? Ours beside the engine's own round trip, in one run: `engines.py NAME`.

`make engines-bench` runs it for each, in the environment of `make engine-NAME`; `local` are local processes, beside a
bare pipe. Driver, cluster, and two workers share this machine. `slurm --pilots 100` also says what it costs to watch
so many.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import rungwise as rw
from rungwise.events import Completed, Reported
from rungwise.executors import Message
from rungwise.executors.files import Reader, Writer
from rungwise.executors.local import LocalWorkers
from rungwise.executors.pilot import FromPilot, Here, said_file
from rungwise.loop import Inbox, drive
from rungwise.storage import Storage, leases

WORKERS = 2
JOBS, REPORTS, PACED = 600, 20_000, 100
PACE = 0.05  # seconds between reports whose delay is measured
TRIPS, ASKING = 5, 3.0  # round trips, and seconds of them, at least


class Engine(NamedTuple):
    """A running cluster: its version, what makes our executor, and a round trip of its own, without any of our code."""

    version: str
    executor: Callable[..., Any]
    trip: Callable[[], object]


@contextmanager
def local() -> Iterator[Engine]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=echo, args=(theirs,))
    process.start()

    def trip() -> None:
        ours.send(b" " * 200)
        ours.recv()

    yield Engine("bare pipe", lambda function, storage: LocalWorkers(function, WORKERS, storage), trip)
    ours.send(None)
    process.join()


def echo(line: Any) -> None:
    while (said := line.recv()) is not None:
        line.send(said)


@contextmanager
def dask() -> Iterator[Engine]:
    from distributed import Client, LocalCluster

    class Bare:
        async def echo(self, said: bytes) -> bytes:
            return said

    size = {"n_workers": WORKERS, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(**size) as cluster, Client(cluster) as client:
        actor = client.submit(Bare, actor=True).result()
        yield Engine(
            f"distributed {version('distributed')}, an actor",
            rw.DaskExecutor(client),
            lambda: actor.echo(b" " * 200).result(),
        )


@contextmanager
def ray() -> Iterator[Engine]:
    import ray
    from ray.cluster_utils import Cluster

    @ray.remote
    class Bare:
        def echo(self, said: bytes) -> bytes:
            return said

    size = {"object_store_memory": 100 * 2**20}
    head = {"num_cpus": 0, "include_dashboard": False, **size}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(WORKERS):
            cluster.add_node(num_cpus=1, **size)
        ray.init(address=cluster.address, log_to_driver=False)
        actor = Bare.remote()
        trip = lambda: ray.get(actor.echo.remote(b" " * 200))  # noqa: E731
        yield Engine(f"ray {version('ray')}, an actor", rw.RayExecutor(), trip)
    finally:
        ray.shutdown()
        cluster.shutdown()


@contextmanager
def slurm() -> Iterator[Engine]:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "engines"))
    from slurm_cluster import cluster, unavailable

    if (why := unavailable()) is not None:
        sys.exit(why)
    run = partial(subprocess.run, capture_output=True, text=True, check=True)
    trip = partial(run, ["sbatch", "--wait", "--output=/dev/null", "--wrap=true"])
    with tempfile.TemporaryDirectory() as root, cluster(Path(root)):
        slurm_version = run(["sbatch", "--version"]).stdout.strip()
        yield Engine(f"{slurm_version}, sbatch --wait", rw.SlurmExecutor(workers=WORKERS), trip)


class Noting:
    """Workers of the loop that note what is heard, and when."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self.submit = inbox.submit
        self.heard: list[tuple[float, Message]] = []

    @property
    def capacity(self) -> int:
        return self._inbox.capacity

    def poll(self, timeout: float) -> list[Message]:
        messages = self._inbox.poll(timeout)
        now = time.time()
        self.heard += [(now, message) for message in messages]
        return messages


def says_when(trial: rw.Trial, pace: float) -> None:
    for _ in trial:
        if pace:
            time.sleep(pace)
        trial.report(time.time())


def driven(engine: Engine, pace: float, resource: int, trials: int) -> tuple[float, list[float]]:
    """Seconds for `trials` jobs of `resource` reports each, and how old each report was when the loop got it."""
    study = rw.Study({"x": rw.Float(0, 1)}, rw.FullTraining(max_resource=resource), mode="min")
    with tempfile.TemporaryDirectory() as folder:
        executor = engine.executor(partial(says_when, pace=pace), Storage(Path(folder)))
        numbers = leases(Path(folder))
        try:
            while executor.capacity < WORKERS:
                executor.poll(0.1)
            for total in (WORKERS, WORKERS + trials):  # with the first job of each worker its process begins
                study.extend(trials=total)
                workers = Noting(Inbox(executor, numbers))
                began = time.perf_counter()
                drive(study, workers)
                seconds = time.perf_counter() - began
        finally:
            executor.close()
    assert sum(isinstance(message, Completed) for _, message in workers.heard) == trials
    return seconds, [at - message.score for at, message in workers.heard if isinstance(message, Reported)]


def trips(engine: Engine) -> list[float]:
    engine.trip()
    seconds: list[float] = []
    while len(seconds) < TRIPS or sum(seconds) < ASKING:
        began = time.perf_counter()
        engine.trip()
        seconds.append(time.perf_counter() - began)
    return seconds


def row(what: str, measured: str) -> None:
    print(f"  {what:<42}{measured}", flush=True)


def quantiles(seconds: list[float]) -> str:
    median, late = np.percentile(seconds, [50, 99]) * 1e3
    return f"median {median:8.2f} ms   99th percentile {late:8.2f} ms"


def table(name: str, engine: Engine) -> None:
    print(f"{name}: {engine.version}; Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}")
    row("the engine's bare round trip", quantiles(trips(engine)))
    row("from trial.report to the driver's poll", quantiles(driven(engine, PACE, PACED, WORKERS)[1]))
    row("jobs of one report, on two workers", f"{JOBS / driven(engine, 0, 1, JOBS)[0]:8,.0f} a second")
    row("reports of one job", f"{REPORTS / driven(engine, 0, REPORTS, 1)[0]:8,.0f} a second")


ENGINES = {"local": local, "dask": dask, "ray": ray, "slurm": slurm}


def pilots(many: int, seconds: float = 15.0) -> None:
    """What it costs the driver to look into the files of so many pilots, silent or reporting each second."""
    for silent in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            files = [said_file(Path(folder), 0, slot) for slot in range(many)]
            writers, readers = [Writer(file) for file in files], [Reader[object](file, FromPilot) for file in files]
            looks, writing, cpu, began = 0, 0.0, time.process_time(), time.monotonic()
            says = itertools.count(began + 1)
            due = next(says)
            while (now := time.monotonic()) < began + seconds:
                if not silent and now >= due:
                    due, before = next(says), time.process_time()
                    for writer in writers:
                        writer.write([Here("n")])
                    writing += time.process_time() - before
                for reader in readers:
                    if reader.due <= now:
                        reader.read()
                        looks += 1
                time.sleep(max(0.0, min(reader.due for reader in readers) - time.monotonic()))
            used = (time.process_time() - cpu - writing) / seconds
            what = f"{many} pilots, {'silent' if silent else 'reporting each second'}"
            row(what, f"{looks / seconds:8,.0f} looks into files a second, {used:.1%} of a core")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=ENGINES)
    parser.add_argument("--pilots", type=int, metavar="N", help="slurm: what it costs to watch N pilots")
    given = parser.parse_args()
    if given.pilots and given.name != "slurm":
        parser.error(f"only slurm has pilots, not {given.name}")
    with ENGINES[given.name]() as engine:
        table(given.name, engine)
    if given.pilots:
        pilots(given.pilots)


if __name__ == "__main__":
    main()
