"""The Dask executor on real clusters: workers that are killed, retired, added and taken away, and drivers that die."""

from __future__ import annotations

import contextlib
import doctest
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster

import rungwise as rw
from rungwise.errors import InputError
from rungwise.events import Job, Reported
from rungwise.executors import Broke, Completed, Executor, Paused, Said
from rungwise.executors import dask as package
from rungwise.executors.dask import DaskExecutor, slots
from rungwise.log import StudyError
from rungwise.storage import Storage
from rungwise.testing import check_executor

SPACE = {"x": rw.Float(0, 1)}


@contextlib.contextmanager
def cluster(workers: int, **options: Any) -> Iterator[tuple[LocalCluster, Client]]:
    settings = {"threads_per_worker": 1, "processes": True, "dashboard_address": None, **options}
    with LocalCluster(n_workers=workers, **settings) as made, Client(made) as client:
        yield made, client


def wait(holds: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def score(x: float, epoch: int) -> float:
    """What depends on every epoch before: a training that began anew where it should not would not have it."""
    for number in range(1, epoch + 1):
        x = (3.9 * x * (1 - x) + number / 1000) % 1
    return x


def train(trial: rw.Trial) -> None:
    """Write down each epoch."""
    state = trial.load()
    x = trial.config["x"] if state is None else state
    for epoch in trial:
        with (trial.folder / "epochs").open("a") as file:
            file.write(f"{epoch} {trial.worker}\n")
        time.sleep(0.03)
        x = (3.9 * x * (1 - x) + epoch / 1000) % 1
        trial.report(x)
        trial.save(x)
        if epoch == 2:
            kill_the_dask_worker(trial)


def kill_the_dask_worker(trial: rw.Trial) -> None:
    """As often as there are files that say so, in the middle of a job."""
    for order in trial.folder.parent.glob("kill-*"):
        with contextlib.suppress(FileNotFoundError):  # another was faster
            order.unlink()
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)


def epochs(folder: Path) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return [int(line.split()[0]) for line in (folder / "epochs").read_text().splitlines()]
    return []


def check_nothing_is_lost(study: rw.Study, repeated: int) -> None:
    """All reports are those of an undisturbed training; at most `repeated` epochs were trained twice."""
    assert study.finished
    again = 0
    for trial in study.trials:
        assert trial.failure is None
        assert trial.reports == {epoch: score(trial.config["x"], epoch) for epoch in range(1, trial.resource + 1)}
        trained = epochs(study.folder / f"{trial.number:06d}")
        for before, after in itertools.pairwise(trained):
            assert after in (before, before + 1), f"trial {trial.number} trained {trained}"
        again += len(trained) - trial.resource
    assert again <= repeated


def test_does_what_an_executor_has_to() -> None:
    with cluster(3) as (_, client):
        check_executor(DaskExecutor(client))


def test_examples() -> None:
    for each in (package, slots):
        failed, tried = doctest.testmod(each, optionflags=doctest.NORMALIZE_WHITESPACE)
        assert tried > 0
        assert failed == 0


def test_three_workers_are_killed_in_mid_job(tmp_path: Path) -> None:
    folder = tmp_path / "study.db.trials"
    folder.mkdir()
    for number in range(3):
        (folder / f"kill-{number}").touch()
    with cluster(4) as (_, client):
        study = rw.tune(
            train, SPACE, mode="min", scheduler=rw.ASHA(max_resource=9), trials=12, path=tmp_path / "study.db",
            executor=DaskExecutor(client), keep_checkpoints=True, quiet=True,
        )  # fmt: skip
        assert not list(folder.glob("kill-*"))
        check_nothing_is_lost(study, repeated=3)
        wait(lambda: len(client.scheduler_info()["workers"]) == 4, "the nannies start other workers")


def test_retired_workers_pause_and_that_is_no_failure(tmp_path: Path) -> None:
    retired: list[str] = []

    def retire(state: Any, fact: object) -> None:
        """Each time that so much has been reported, the next of the first three workers is to go."""
        if isinstance(fact, Reported) and next(reports) % 6 == 5 and len(retired) < 3:
            retired.append(workers[len(retired)])
            threading.Thread(target=client.retire_workers, args=([retired[-1]],)).start()

    reports = itertools.count()
    with cluster(4) as (_, client):
        workers = list(client.scheduler_info()["workers"])
        study = rw.tune(
            train, SPACE, mode="min", scheduler=rw.ASHA(max_resource=9), trials=40, path=tmp_path / "study.db",
            executor=DaskExecutor(client), retries=0, observers=[retire], keep_checkpoints=True, quiet=True,
        )  # fmt: skip
        check_nothing_is_lost(study, repeated=0)
        assert set(client.scheduler_info()["workers"]) == {workers[3]}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "trials")


def begin(make: DaskExecutor, function: Callable[[rw.Trial], object], storage: Storage, capacity: int) -> Executor:
    executor = make(function, storage)
    wait(lambda: bool(executor.poll(0.02) or True) and executor.capacity >= capacity, f"capacity is not {capacity}")
    return executor


def job(lease: int, until: int = 1_000_000) -> Job:
    return Job(lease, {"x": 0.5}, 0, until, lease=lease, study="test")


def heard_until(executor: Executor, holds: Callable[[list[Said]], bool], seconds: float = 60.0) -> list[Said]:
    heard: list[Said] = []
    end = time.monotonic() + seconds
    while not holds(heard):
        assert time.monotonic() < end, f"only {heard} was heard"
        heard += executor.poll(0.1)
    return heard


def reported(heard: list[Said]) -> bool:
    return any(isinstance(said.message, Reported) for said in heard)


def ended(heard: list[Said]) -> bool:
    return any(isinstance(said.message, Completed | Broke | Paused) for said in heard)


def test_a_worker_that_is_closed_at_once_was_taken_away_and_one_that_is_killed_was_lost(storage: Storage) -> None:
    with cluster(1) as (made, client):
        executor = begin(DaskExecutor(client), train, storage, 1)
        try:
            executor.submit(job(1))
            heard_until(executor, reported)
            made.scale(0)  # which does not wait for the job
            last = heard_until(executor, ended)[-1]
            assert last == Said(1, None, Paused(1))
            assert executor.capacity == 0
            made.scale(1)
            wait(lambda: bool(executor.poll(0.02) or True) and executor.capacity == 1, "there is no new actor")
            executor.submit(job(2))
            heard_until(executor, reported)
            os.kill(client.submit(os.getpid, pure=False).result(), signal.SIGKILL)
            last = heard_until(executor, ended)[-1]
            assert last.place is None
            assert isinstance(last.message, Broke)
            assert "was lost" in last.message.reason
        finally:
            executor.close()


def test_jobs_go_on_when_the_connection_to_the_scheduler_was_lost_for_a_moment(storage: Storage) -> None:
    with cluster(1) as (_, client):
        executor = begin(DaskExecutor(client), train, storage, 1)
        try:
            executor.submit(job(1))
            heard_until(executor, reported)
            line = executor._line._client  # type: ignore[attr-defined]
            line.loop.add_callback(line.scheduler_comm.comm.abort)
            assert heard_until(executor, ended)[-1] == Said(1, None, Paused(1))
            wait(lambda: bool(executor.poll(0.02) or True) and executor.capacity == 1, "there is no new actor")
            executor.submit(job(2, until=2))
            assert isinstance(heard_until(executor, ended)[-1].message, Completed)
        finally:
            executor.close()


def test_an_adaptive_cluster_grows_with_the_jobs_and_shrinks_without(storage: Storage) -> None:
    with cluster(1) as (_, client):
        executor = begin(DaskExecutor(client, adaptive=(1, 4)), train, storage, 1)
        try:
            leases = itertools.count(1)

            def full() -> bool:
                executor.poll(0.05)
                if executor.capacity > len(executor._out):  # type: ignore[attr-defined]
                    executor.submit(job(next(leases)))
                return len(executor._out) == 4  # type: ignore[attr-defined]

            wait(full, "it does not grow to 4 workers")
            executor.pause()
            heard_until(executor, lambda heard: executor.capacity == 1)
            wait(lambda: len(client.scheduler_info()["workers"]) == 1, "the workers are still there")
        finally:
            executor.close()


def test_a_study_on_an_adaptive_cluster(tmp_path: Path) -> None:
    with cluster(1) as (made, _):
        study = rw.tune(
            train, SPACE, mode="min", scheduler=rw.ASHA(max_resource=9), trials=120, path=tmp_path / "study.db",
            executor=DaskExecutor(made, adaptive=(1, 4)), retries=0, keep_checkpoints=True, quiet=True,
        )  # fmt: skip
        check_nothing_is_lost(study, repeated=2)
        slots = {line.split()[1] for each in study.folder.glob("*/epochs") for line in each.read_text().splitlines()}
        assert slots == {"0", "1", "2", "3"}


def sees(trial: rw.Trial) -> None:
    """Say which devices and threads there are, and wait for the others, so that each slot has one job."""
    told = f"{os.environ.get('CUDA_VISIBLE_DEVICES')} {os.environ.get('OMP_NUM_THREADS')}"
    (trial.folder / "sees").write_text(told)
    wait(lambda: len(list(trial.folder.parent.glob("*/sees"))) == trial.config["together"], "the others have not begun")
    for _ in trial:
        trial.report(0.0)


def seen(client: Client, folder: Path, together: int, **settings: Any) -> list[str]:
    executor = begin(DaskExecutor(client, **settings), sees, Storage(folder), together)
    assert executor.capacity == together
    try:
        for lease in range(together):
            executor.submit(Job(lease, {"together": together}, 0, 1, lease=lease, study="test"))
        heard_until(executor, lambda heard: sum(isinstance(said.message, Completed) for said in heard) == together)
    finally:
        executor.close()
    return sorted(file.read_text() for file in folder.glob("*/sees"))


def test_each_slot_sees_its_own_devices_and_has_its_share_of_threads(tmp_path: Path) -> None:
    with cluster(2, threads_per_worker=4, resources={"GPU": 2, "licence": 1}) as (_, client):
        assert seen(client, tmp_path / "1", 4, resources={"GPU": 1}) == ["0 2", "1 2", "2 2", "3 2"]
        assert seen(client, tmp_path / "2", 2, resources={"GPU": 2}) == ["0,1 4", "2,3 4"]
        assert seen(client, tmp_path / "half", 8, resources={"GPU": 0.5}) == [
            *["0 1"] * 2, *["1 1"] * 2, *["2 1"] * 2, *["3 1"] * 2
        ]  # fmt: skip
        assert seen(client, tmp_path / "none", 4, resources={"GPU": 1}, devices="none") == ["None 2"] * 4
        listed = seen(client, tmp_path / "listed", 8, devices=["5", "6", [7, 8], "6"])
        assert listed == ["5 1"] * 2 + ["6 1"] * 4 + ["7,8 1"] * 2
        assert seen(client, tmp_path / "other", 2, resources={"licence": 1}) == ["None 4"] * 2
        with pytest.raises(StudyError, match="start workers with --resources 'GPU=3'"):
            begin(DaskExecutor(client, resources={"GPU": 3}), sees, Storage(tmp_path / "3"), 1)


def test_a_worker_with_visible_devices_of_its_own_shares_out_those(tmp_path: Path) -> None:
    # as Slurm, dask-cuda and others set it
    with cluster(2, resources={"GPU": 1}, env={"CUDA_VISIBLE_DEVICES": "7", "OMP_NUM_THREADS": "3"}) as (_, client):
        assert seen(client, tmp_path, 2, resources={"GPU": 1}) == ["7 3", "7 3"]


DRIVER = """
import sys
sys.path.insert(0, {tests!r})
import rungwise as rw
from rungwise.executors.dask import DaskExecutor
from test_dask import SPACE, train

if __name__ == "__main__":
    rw.tune(train, SPACE, mode="min", scheduler=rw.ASHA(max_resource=9), trials=12, path={path!r},
            executor=DaskExecutor({address!r}), retries=0, quiet=True)
"""


def test_a_driver_that_was_killed_is_started_again(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    script = tmp_path / "driver.py"
    folder = tmp_path / "study.db.trials"

    def trained() -> int:
        return sum(len(epochs(each.parent)) for each in folder.glob("*/epochs"))

    with cluster(4) as (_, client):
        tests = str(Path(__file__).parent)
        script.write_text(DRIVER.format(tests=tests, path=str(path), address=client.scheduler.address))
        driver = subprocess.Popen([sys.executable, script])
        try:
            wait(lambda: trained() > 15, "the driver has not begun")
        finally:
            driver.kill()
            driver.wait()

        def still() -> bool:
            before = trained()
            time.sleep(0.5)
            return trained() == before

        wait(still, "the workers of the killed driver train on")
        wait(lambda: not any(client.has_what().values()), "its actors are still there")
        subprocess.run([sys.executable, script], check=True, timeout=120)
        with rw.Study.open(path) as study:
            check_nothing_is_lost(study, repeated=4)


class Unloadable:
    def __call__(self, trial: rw.Trial) -> None: ...

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("none",)


def test_what_can_never_work_ends_the_study(storage: Storage) -> None:
    with cluster(1) as (_, client):
        executor = begin(DaskExecutor(client), Unloadable(), storage, 1)
        executor.submit(job(1))
        with pytest.raises(StudyError, match=r"no job can be done.*ValueError.*, on tcp://"):
            heard_until(executor, ended)
        executor.close()
        with dask.config.set({"distributed.comm.timeouts.connect": "2s"}):
            executor = begin(DaskExecutor(client), train, storage, 1)
        client.shutdown()
        with pytest.raises(StudyError, match=r"connection to the Dask scheduler at tcp://.* was lost"):
            heard_until(executor, ended)
        executor.close()


def test_a_scheduler_that_is_killed_ends_the_study_with_one_message(storage: Storage, tmp_path: Path) -> None:
    about = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    scheduler = subprocess.Popen([*command, "--no-dashboard", "--scheduler-file", str(about)])
    worker = None
    try:
        wait(about.exists, "there is no scheduler")
        address = json.loads(about.read_text())["address"]
        command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
        worker = subprocess.Popen([*command, "--local-directory", str(tmp_path)])
        with dask.config.set({"distributed.comm.timeouts.connect": "3s"}):
            executor = begin(DaskExecutor(address), train, storage, 1)
        executor.submit(job(1, until=1000))
        heard_until(executor, reported)
        ((seat,),) = executor._seats.values()
        scheduler.kill()
        with pytest.raises(StudyError, match=r"connection to the Dask scheduler at tcp://.* was lost"):
            heard_until(executor, lambda heard: False)
        executor.close()
        wait(seat.task.done, "it is still asked")
        assert seat.task.exception() is None, "whose traceback would be printed after the message"
    finally:
        for process in [scheduler, *([worker] if worker else [])]:
            process.kill()
            process.wait()


def test_a_scheduler_that_is_not_there() -> None:
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(StudyError, match=r"scheduler at tcp://127.0.0.1:9 cannot be reached"),
    ):
        DaskExecutor("tcp://127.0.0.1:9")(train, Storage(Path("nowhere")))


@pytest.mark.parametrize(
    ("cluster", "settings", "message"),
    [
        (3, {}, "wants a distributed.Client, a cluster, or the scheduler's address, not 3"),
        ("", {}, "not ''"),
        ("tcp://a:1", {"resources": {"GPU": 1.5}}, "whole GPUs, or a fraction of one, not 1.5"),
        ("tcp://a:1", {"resources": {"GPU": 0}}, "like {'GPU': 1}, not {'GPU': 0}"),
        ("tcp://a:1", {"resources": {"GPU": "1"}}, "like {'GPU': 1}, not {'GPU': '1'}"),
        ("tcp://a:1", {"resources": "GPU"}, "resources must be a table of amounts, like .*, not 'GPU'"),
        ("tcp://a:1", {"devices": "0,1"}, "did you mean"),
        ("tcp://a:1", {"adaptive": (4, 1)}, r"like \(1, 16\), not \(4, 1\)"),
        ("tcp://a:1", {"adaptive": 4}, r"like \(1, 16\), not 4"),
        ("tcp://a:1", {"adaptive": (1, 4)}, "needs a cluster whose workers this process starts"),
    ],
)
def test_bad_input(cluster: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DaskExecutor(cluster, **settings)


def test_the_page_runs_and_its_recipes_are_python() -> None:
    page = (Path(__file__).parents[2] / "docs" / "dask.md").read_text()
    first, *recipes = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    for recipe in recipes:
        compile(recipe, "docs/dask.md", "exec")
    done = subprocess.run([sys.executable, "-c", first], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "'lr'" in done.stdout


def test_without_the_library_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['distributed'] = None; import rungwise.executors.dask"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: DaskExecutor needs distributed: pip install 'rungwise[dask]'"
    )
    code = "import sys, rungwise; assert not {'dask', 'distributed'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
