"""What does it cost to run jobs on Ray? Ours beside Ray itself, in one run; needs `pip install 'rungwise[ray]'`.

`python benchmarks/engine_ray.py` starts a small cluster on this machine: two nodes of one core.
"""

from __future__ import annotations

import queue
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import ray
from ray.cluster_utils import Cluster

import rungwise as rw
from rungwise.events import Completed, Job, Reported
from rungwise.executors import Executor
from rungwise.executors.ray import RayExecutor
from rungwise.loop import Inbox, drive
from rungwise.storage import Storage

JOBS, REPORTS, PACED = 2_000, 20_000, 500
PACE = 0.01  # seconds between reports whose delay is measured
STORE = 100 * 2**20


@ray.remote
class Bare:
    """An actor that has nothing to do with Rungwise."""

    def nothing(self, what: bytes) -> bytes:
        return what

    def stream(self, count: int, pace: float):
        for _ in range(count):
            time.sleep(pace)
            yield time.time()


def nothing(trial: rw.Trial) -> None:
    trial.report(0.5)


def reports(trial: rw.Trial) -> None:
    for epoch in trial:
        trial.report(float(epoch))


def paced(trial: rw.Trial) -> None:
    for _ in trial:
        time.sleep(PACE)
        trial.report(time.time())


def per_second(count: int, does: Callable[[], object]) -> float:
    began = time.perf_counter()
    does()
    return count / (time.perf_counter() - began)


def milliseconds(seconds: list[float]) -> str:
    median, late = np.percentile(seconds, [50, 99]) * 1e3
    return f"{median:6.2f} ms, 99th percentile {late:6.2f} ms"


def ready(function: Callable[[rw.Trial], object], folder: Path) -> Executor:
    executor = RayExecutor()(function, Storage(folder))
    while executor.capacity < 2:
        executor.poll(1)
    for trial in (0, 1):  # worker processes start with the first job
        executor.submit(Job(trial, {}, 0, 1, lease=trial + 1, study="bench"))
    listen(executor, 2)
    return executor


def listen(executor: Executor, jobs: int) -> list[float]:
    """The delay of each report until `jobs` have ended, if its score is when it was made."""
    delays = []
    while jobs:
        heard, now = executor.poll(1), time.time()
        delays += [now - said.message.score for said in heard if isinstance(said.message, Reported)]
        jobs -= sum(isinstance(said.message, Completed) for said in heard)
    return delays


def bare() -> None:
    actors = [Bare.remote() for _ in range(2)]
    ray.get([actor.nothing.remote(b"") for actor in actors])

    def calls() -> None:
        answers: queue.SimpleQueue[ray.actor.ActorHandle] = queue.SimpleQueue()

        def call(actor: ray.actor.ActorHandle) -> None:
            actor.nothing.remote(b" " * 200).future().add_done_callback(lambda _: answers.put(actor))

        for actor in actors:
            call(actor)
        for _ in range(JOBS):
            call(answers.get())
        for _ in actors:
            answers.get()

    trips = []
    for _ in range(PACED):
        began = time.perf_counter()
        ray.get(actors[0].nothing.remote(b" " * 200))
        trips.append(time.perf_counter() - began)

    def stream() -> None:
        for item in actors[0].stream.options(num_returns="streaming").remote(REPORTS // 10, 0):
            ray.get(item)

    print(f"Ray: actor calls            {per_second(JOBS, calls):8,.0f} a second")
    print(f"Ray: round trip of a call   {milliseconds(trips)}")
    print(f"Ray: items of a stream      {per_second(REPORTS // 10, stream):8,.0f} a second")
    items = actors[0].stream.options(num_returns="streaming").remote(PACED, PACE)
    delays = [-ray.get(item) + time.time() for item in items]
    print(f"Ray: delay of an item       {milliseconds(delays)}")
    for actor in actors:
        ray.kill(actor)


def ours(folder: Path) -> None:
    executor = ready(nothing, folder / "jobs")
    study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(max_resource=1), mode="min")
    study.extend(trials=JOBS)
    leases = iter(range(100, 100 + 10 * JOBS))
    print(
        f"jobs of nothing             {per_second(JOBS, lambda: drive(study, Inbox(executor, leases))):8,.0f} a second"
    )
    executor.close()
    executor = ready(reports, folder / "reports")
    executor.submit(Job(7, {}, 0, REPORTS, lease=7, study="bench"))
    print(f"reports of one job          {per_second(REPORTS, lambda: listen(executor, 1)):8,.0f} a second")
    executor.close()
    executor = ready(paced, folder / "paced")
    executor.submit(Job(7, {}, 0, PACED, lease=7, study="bench"))
    print(f"delay, report to poll       {milliseconds(listen(executor, 1))}")
    executor.close()


def main() -> None:
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE},
    )
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=STORE)
    ray.init(address=cluster.address)
    try:
        bare()
        with tempfile.TemporaryDirectory() as folder:
            ours(Path(folder))
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
