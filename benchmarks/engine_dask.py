"""What does Dask cost? Jobs and reports a second, and how long a report is on its way, beside Dask's bare round trip.

Run it as `RUNGWISE_ENGINE=dask .venv-dask/bin/python benchmarks/engine_dask.py`, in the environment of
`make engine-dask`. Driver, scheduler and workers share this machine's cores.
"""

from __future__ import annotations

import queue
import statistics
import tempfile
import time
from pathlib import Path

from distributed import Client, LocalCluster, get_worker

import rungwise as rw
from rungwise.core.asha import ASHA
from rungwise.events import Job, Reported
from rungwise.executors import Completed
from rungwise.executors.dask import DaskExecutor
from rungwise.loop import Inbox, drive
from rungwise.space import Space
from rungwise.storage import Storage, leases
from rungwise.study import Study

WORKERS = 2
JOBS, REPORTS, DELAYS = 600, 2000, 300


class Bare:
    """An actor that does nothing, or says what it is told by an event."""

    async def nothing(self) -> None:
        pass

    async def say(self, topic: str, what: str) -> None:
        get_worker().log_event(topic, what)


def nothing(trial: rw.Trial) -> None:
    trial.report(0.0)


def many(trial: rw.Trial) -> None:
    begun = time.time()
    for _ in trial:
        trial.report(begun)


def timed(trial: rw.Trial) -> None:
    for _ in trial:
        time.sleep(0.005)
        trial.report(time.time())


def bare_jobs(client: Client) -> float:
    """Calls of actors' methods a second, one out for each worker."""
    actors = [client.submit(Bare, actor=True, workers=[w]).result() for w in client.scheduler_info()["workers"]]
    begun = time.perf_counter()
    out = [actor.nothing() for actor in actors]
    for number in range(JOBS):
        out[number % len(out)].result()
        out[number % len(out)] = actors[number % len(out)].nothing()
    return JOBS / (time.perf_counter() - begun)


def bare_delays(client: Client) -> list[float]:
    """From `log_event` in a worker to the client's handler."""
    heard: queue.SimpleQueue[float] = queue.SimpleQueue()
    client.subscribe_topic("bare", lambda event: heard.put(time.time() - float(event[1])))

    def say() -> None:
        for _ in range(DELAYS):
            time.sleep(0.005)
            get_worker().log_event("bare", repr(time.time()))

    client.submit(say, pure=False).result()
    return [heard.get(timeout=5) for _ in range(DELAYS)]


def jobs(client: Client, folder: Path) -> float:
    study = Study(Space({"x": rw.Float(0, 1)}), ASHA(max_resource=1), mode="min")
    study.extend(trials=JOBS)
    executor = DaskExecutor(client)(nothing, Storage(folder))
    begun = 0.0

    def watch(messages: list[object]) -> None:
        nonlocal begun
        if not begun and any(isinstance(message, Completed) for message in messages):
            begun = time.perf_counter()  # processes and actors are there

    drive(study, Inbox(executor, leases(folder)), watch=watch)
    rate = (JOBS - 1) / (time.perf_counter() - begun)
    executor.close()
    return rate


def one(client: Client, folder: Path, function: object, until: int) -> list[tuple[float, Reported]]:
    """When each report of the second of two jobs was there; the first starts the process."""
    executor = DaskExecutor(client)(function, Storage(folder))
    while not executor.capacity:
        executor.poll(0.1)
    heard: list[tuple[float, Reported]] = []
    executor.submit(Job(0, {}, 0, 1, lease=1, study="bench"))
    while True:
        for said in executor.poll(0.2):
            if isinstance(said.message, Reported):
                heard.append((time.time(), said.message))
            elif isinstance(said.message, Completed):
                if said.lease == 2:
                    executor.close()
                    return heard
                heard.clear()
                executor.submit(Job(1, {}, 0, until, lease=2, study="bench"))


def shown(what: str, delays: list[float]) -> None:
    cuts = statistics.quantiles(delays, n=100)
    print(f"{what:<52} median {1000 * cuts[49]:6.2f} ms   99th percentile {1000 * cuts[98]:6.2f} ms")


def main() -> None:
    options = {"n_workers": WORKERS, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster) as client, tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        print(f"{'calls of a bare actor':<52} {bare_jobs(client):8.0f} a second, {WORKERS} out")
        print(f"{'jobs of nothing through drive':<52} {jobs(client, folder / 'jobs'):8.0f} a second, {WORKERS} slots")
        heard = one(client, folder / "many", many, REPORTS)
        rate = REPORTS / (heard[-1][0] - float(heard[0][1].score or 0))
        print(f"{'reports of one job, from its first on':<52} {rate:8.0f} a second")
        shown("an event, bare", bare_delays(client))
        heard = one(client, folder / "timed", timed, DELAYS)
        shown("from trial.report to the driver's poll", [at - float(report.score) for at, report in heard])


if __name__ == "__main__":
    main()
