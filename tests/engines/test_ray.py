"""RayExecutor on a real cluster of a head and two nodes, which are processes of this machine."""

from __future__ import annotations

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

import pytest
import ray
from ray.cluster_utils import Cluster

import rungwise as rw
from rungwise.events import Completed, Job, Reported, Retried
from rungwise.executors import Broke, Executor, Paused, Said
from rungwise.executors.ray import RayExecutor
from rungwise.folders import trial_folder
from rungwise.storage import Storage
from rungwise.testing import check_executor

SMALL = {"object_store_memory": 100 * 2**20}
NODE = SMALL | {"num_cpus": 2, "num_gpus": 2}
SECONDS = 60  # that anything may take


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    os.environ.pop("OMP_NUM_THREADS", None)  # or Ray would leave it as it is
    cluster = Cluster(initialize_head=True, head_node_args=SMALL | {"num_cpus": 0, "include_dashboard": False})
    os.environ["RAY_ADDRESS"] = cluster.address  # for the drivers that tests start
    try:
        for _ in range(2):
            cluster.add_node(**NODE)
        ray.init(address=cluster.address, log_to_driver=False)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
        del os.environ["RAY_ADDRESS"]


def wait(holds: Callable[[], object], what: str) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, f"{SECONDS} s and not yet: {what}"
        time.sleep(0.05)


def stat(process: int) -> list[str]:
    """State and parent of `process`, or nothing if there is none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return ["X", "0"]


def gone(process: int) -> bool:
    return stat(process)[0] in "ZX"


class Running:
    """An executor, and what was heard of it."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.heard: list[Said] = []

    def until(self, holds: Callable[[], object], what: str) -> None:
        def listened() -> object:
            self.heard += self.executor.poll(0.05)
            return holds()

        wait(listened, what)

    def capacity(self, wanted: int) -> None:
        self.until(lambda: self.executor.capacity == wanted, f"a capacity of {wanted}")

    def end(self, lease: int) -> Said:
        def ends() -> list[Said]:
            last = Completed | Broke | Paused
            return [said for said in self.heard if said.lease == lease and isinstance(said.message, last)]

        self.until(ends, f"the end of {lease}")
        return ends()[0]

    def completes(self, lease: int) -> None:
        said = self.end(lease)
        assert isinstance(said.message, Completed), said


@pytest.fixture
def running(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    made: list[Executor] = []

    def run(function: Callable[[rw.Trial], object], **settings: object) -> Running:
        made.append(RayExecutor(**settings)(function, Storage(tmp_path)))
        return Running(made[-1])

    yield run
    for executor in made:
        executor.close()


def job(trial: int, lease: int, until: int = 1) -> Job:
    return Job(trial, {}, 0, until, lease=lease, study="ab")


def test_it_conforms(cluster: Cluster) -> None:
    check_executor(RayExecutor(workers=2), fork=False)


# faults


def score(x: float, epochs: int) -> float:
    """What `train` reports: each epoch starts from the one before, so that nothing may be lost or done twice."""
    for epoch in range(1, epochs + 1):
        x = (x * 3.7 + 1 / epoch) % 1
    return x


def train(trial: rw.Trial) -> None:
    """Jobs and the processes that are to be killed are noted beside the folder, which is emptied in the end."""
    state = trial.load()
    done, x = (0, trial.config["x"]) if state is None else state
    note(trial, f"begins {done}")
    for epoch in trial:
        assert epoch == done + 1
        if epoch == 2 and trial.number in (3, 5) and not (mark := trial.folder.with_suffix(".killed")).exists():
            child = subprocess.Popen(["sleep", "600"])
            (trial.folder / "written").write_text(f"{os.getppid()} {os.getpid()} {child.pid}")
            (trial.folder / "written").rename(mark)
            time.sleep(600)
        x, done = (x * 3.7 + 1 / epoch) % 1, epoch
        time.sleep(0.02)
        trial.report(x)
        trial.save((done, x))
        note(trial, f"saved {done}")


def note(trial: rw.Trial, text: str) -> None:
    with trial.folder.with_suffix(".notes").open("a") as file:
        file.write(f"{text}\n")


def same_as_without_faults(study: rw.Study) -> None:
    for record in study.trials:
        assert record.failure is None
        assert record.reports == {epoch: score(record.config["x"], epoch) for epoch in range(1, record.resource + 1)}


def goes_on_from_checkpoints(study: rw.Study) -> None:
    for record in study.trials:
        saved = 0
        for line in notes(study.folder, record.number):
            what, _, epoch = line.partition(" ")
            if what == "saved":
                saved = int(epoch)
            else:  # it may have been killed before it had noted the last
                assert int(epoch) in (saved, saved + 1), f"trial {record.number} began at {epoch}, not {saved}"


def notes(folder: Path, trial: int) -> list[str]:
    file = trial_folder(folder, trial).with_suffix(".notes")
    return file.read_text().splitlines() if file.exists() else []


def test_a_study_survives_the_death_of_an_actor_and_of_a_node(cluster: Cluster, tmp_path: Path) -> None:
    ended: list[int] = []

    def node_of(actor: int) -> object:
        """The node whose raylet has started `actor`."""
        raylet = int(stat(actor)[1])
        [node] = [
            node for node in cluster.worker_nodes
            if raylet in [info.process.pid for infos in node.all_processes.values() for info in infos]
        ]  # fmt: skip
        return node

    def tune() -> None:  # in a thread, since nodes can be added in the main thread only
        rw.tune(
            train, {"x": rw.Float(0, 1)}, mode="min", trials=14, scheduler=rw.ASHA(min_resource=3, max_resource=9),
            path=tmp_path / "s.db", executor=RayExecutor(), retries=5, quiet=True,
        )  # fmt: skip

    tuning = threading.Thread(target=tune, daemon=True)
    tuning.start()
    for trial in (3, 5):
        mark = trial_folder(tmp_path / "s.db.trials", trial).with_suffix(".killed")
        wait(mark.exists, f"trial {trial} at its epoch 2")
        processes = [int(number) for number in mark.read_text().split()]
        if trial == 3:
            os.kill(processes[0], signal.SIGKILL)
            wait(lambda: notes(tmp_path / "s.db.trials", 3).count("begins 1") == 1, "trial 3 begun again")
        else:
            cluster.remove_node(node_of(processes[0]), allow_graceful=False)
            cluster.add_node(**NODE)
        ended.extend(processes)
    tuning.join(2 * SECONDS)
    study = rw.Study.open(tmp_path / "s.db")
    assert study.finished
    assert len(study.trials) == 14
    same_as_without_faults(study)
    retried = [fact for _, fact in study.facts() if isinstance(fact, Retried)]
    assert {3, 5} <= {fact.trial for fact in retried}
    assert all("its Ray actor on node" in fact.reason for fact in retried)
    assert "its worker process has died" in next(fact.reason for fact in retried if fact.trial == 3)
    assert "its node has died" in next(fact.reason for fact in retried if fact.trial == 5)
    goes_on_from_checkpoints(study)
    assert len(ended) == 6
    for process in ended:  # what a job had started, too
        wait(lambda process=process: gone(process), f"the end of {process}")


def test_capacity_is_what_the_cluster_holds(cluster: Cluster, running: Callable[..., Running]) -> None:
    def meet(trial: rw.Trial) -> None:
        (trial.folder / "here").touch()
        while len(list(trial.folder.parent.glob("*/here"))) < 4:
            time.sleep(0.02)
        trial.report(trial.worker)

    it = running(meet)
    it.capacity(4)
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    it.capacity(2)
    cluster.add_node(**NODE)
    it.capacity(4)
    for lease in range(4):
        it.executor.submit(job(lease, lease))
    for lease in range(4):
        it.completes(lease)
    assert len({said.message.score for said in it.heard if isinstance(said.message, Reported)}) == 4, "workers"


def test_as_many_as_are_wanted_though_there_is_room_for_more(running: Callable[..., Running]) -> None:
    it = running(train, workers=3)
    it.capacity(3)
    other = running(train, workers=2)
    other.capacity(1)  # the other one waits in Ray for a place
    it.executor.close()
    other.capacity(2)


def test_one_slot_refuses_a_lease_that_is_given_out_again(running: Callable[..., Running]) -> None:
    it = running(lambda trial: trial.report(1.0), workers=1)
    it.capacity(1)
    it.executor.submit(job(0, 5))
    it.completes(5)
    it.heard.clear()
    it.executor.submit(job(0, 5))
    again = it.end(5)
    assert again.place is None
    assert "begun before" in again.message.reason


DRIVER = """
import sys
sys.path.insert(0, {tests!r})
import rungwise as rw
from rungwise.executors.ray import RayExecutor
from test_ray import train

rw.tune(train, {{"x": rw.Float(0, 1)}}, mode="min", trials=10, scheduler=rw.ASHA(min_resource=3, max_resource=9), path={path!r},
        executor=RayExecutor(workers=2), quiet=True)
"""


def test_a_driver_that_was_killed_goes_on_and_its_workers_have_ended(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    command = [sys.executable, "-c", DRIVER.format(tests=str(Path(__file__).parent), path=str(path))]
    driver = subprocess.Popen(command)

    def marks() -> list[Path]:
        return list((tmp_path / "s.db.trials").glob("*.killed"))

    wait(lambda: len(marks()) == 2, "two jobs in their midst")
    driver.kill()
    driver.wait()
    processes = [int(number) for mark in marks() for number in mark.read_text().split()]
    subprocess.run(command, check=True, timeout=2 * SECONDS)
    study = rw.Study.open(path)
    assert study.finished
    assert len(study.trials) == 10
    same_as_without_faults(study)
    goes_on_from_checkpoints(study)
    for process in processes:
        wait(lambda process=process: gone(process), f"the end of {process}")


def test_what_a_dead_actor_was_doing_is_of_nobodys_interest(running: Callable[..., Running]) -> None:
    def tells(trial: rw.Trial) -> None:
        (trial.folder / "host").write_text(str(os.getppid()))
        for epoch in itertools.count(1):
            time.sleep(0.01)
            trial.report(epoch)

    it = running(tells, workers=1)
    it.capacity(1)
    it.executor.submit(job(0, 1, 10**6))
    it.until(lambda: len(it.heard) > 5, "reports")
    [host] = (Path(it.executor._begin.args[1].folder)).glob("*/host")
    os.kill(int(host.read_text()), signal.SIGKILL)
    assert it.end(1).place is None
    it.heard.clear()
    it.capacity(1)
    assert it.heard == []


BAD_LINE = """
import sys
sys.path.insert(0, {tests!r})
import rungwise as rw
from rungwise.executors import ray
from test_ray import train_fast, same_as_without_faults

missed, miss = [], ray._Slot.missed
ray._Slot.missed = lambda slot, turn: (missed.append(turn), miss(slot, turn))
study = rw.tune(train_fast, {{"x": rw.Float(0, 1)}}, mode="min", trials=12, scheduler=rw.ASHA(max_resource=9),
                executor=ray.RayExecutor(workers=2), retries=0, quiet=True)
same_as_without_faults(study)
assert len(study.trials) == 12
assert len(missed) >= 5, missed
"""


def train_fast(trial: rw.Trial) -> None:
    done, x = trial.load() or (0, trial.config["x"])
    for epoch in trial:
        x, done = (x * 3.7 + 1 / epoch) % 1, epoch
        trial.report(x)
        trial.save((done, x))


def test_nothing_is_lost_while_actors_cannot_be_reached(cluster: Cluster) -> None:
    """Ray itself loses calls and answers: `ActorUnavailableError`. No job breaks off, or with `retries=0` it failed."""
    method = "CoreWorkerService.grpc_client.PushTask"
    loses = {method: {"num_failures": 15, "req_failure_prob": 10, "resp_failure_prob": 10, "in_flight_failure_prob": 0}}
    subprocess.run(
        [sys.executable, "-c", BAD_LINE.format(tests=str(Path(__file__).parent))],
        check=True, timeout=SECONDS, env=os.environ | {"RAY_testing_rpc_failure": json.dumps(loses)},
    )  # fmt: skip


# what a slot sees


def sees(trial: rw.Trial) -> None:
    (trial.folder / "here").touch()
    while len(list(trial.folder.parent.glob("*/here"))) < trial.config["together"]:
        time.sleep(0.02)
    raylet = stat(os.getppid())[1]
    threads = [os.environ[f"{name}_NUM_THREADS"] for name in ("OMP", "OPENBLAS", "MKL")]
    (trial.folder / "sees").write_text(f"{raylet} {os.environ.get('CUDA_VISIBLE_DEVICES')} {' '.join(threads)}")


@pytest.mark.parametrize(
    ("settings", "devices", "threads"),
    [
        ({"num_gpus": 1, "num_cpus": 0}, ["0", "0", "1", "1"], "1"),  # of two nodes
        ({"num_gpus": 2, "num_cpus": 2}, ["0,1", "0,1"], "2"),
        ({"num_gpus": 0.5, "num_cpus": 0, "workers": 1}, ["0"], "1"),
        ({"num_gpus": 1, "workers": 1, "runtime_env": {"env_vars": {"OMP_NUM_THREADS": "3"}}}, ["0"], "3"),
    ],
)
def test_each_slot_sees_its_own_devices(
    running: Callable[..., Running], tmp_path: Path, settings: dict, devices: list[str], threads: str
) -> None:
    it = running(sees, **settings)
    it.capacity(len(devices))
    for lease in range(len(devices)):
        given = Job(lease, {"together": len(devices)}, 0, 1, lease=lease, study="ab")
        it.executor.submit(given)
    for lease in range(len(devices)):
        it.end(lease)  # it reports nothing, which is not what this is about
    seen = [file.read_text().split() for file in tmp_path.glob("*/sees")]
    assert sorted(device for _, device, *_ in seen) == devices
    assert len({(raylet, device) for raylet, device, *_ in seen}) == len(devices), "two slots share a device"
    assert {tuple(numbers) for _, _, *numbers in seen} == {(threads,) * 3}


WITH_FILES = """
import os
import re
from pathlib import Path

import ray
import rungwise as rw
from rungwise.executors.ray import RayExecutor


def reads(trial):
    import only_there

    trial.report(only_there.SCORE + float(Path("data.txt").read_text()) + float(os.environ["MORE"]))


ray.init(runtime_env={{"working_dir": {folder!r}}})
study = rw.tune(reads, {{"x": rw.Float(0, 1)}}, mode="min", trials=1, scheduler=rw.ASHA(max_resource=1), quiet=True,
                executor=RayExecutor(workers=1, runtime_env={{"env_vars": {{"MORE": "0.125"}}}}))
assert study.best.score == 0.875
"""


def test_the_files_of_a_runtime_environment_are_there(cluster: Cluster, tmp_path: Path) -> None:
    (folder := tmp_path / "working").mkdir()
    (folder / "only_there.py").write_text("SCORE = 0.25\n")
    (folder / "data.txt").write_text("0.5")
    subprocess.run([sys.executable, "-c", WITH_FILES.format(folder=str(folder))], check=True, timeout=SECONDS)


def test_large_messages_come_in_order(running: Callable[..., Running]) -> None:
    """Ray keeps answers above 100 KB in its object store."""

    def says_much(trial: rw.Trial) -> None:
        for epoch in trial:
            trial.report({f"a metric with a name that is quite long {number}": epoch for number in range(5000)})

    it = running(says_much, workers=1)
    it.capacity(1)
    it.executor.submit(job(0, 1, 20))
    it.completes(1)
    assert [said.message.resource for said in it.heard if isinstance(said.message, Reported)] == list(range(1, 21))
    assert [said.place for said in it.heard] == list(range(22))


# what is refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_cpus": -1}, "num_cpus cannot be negative"),
        ({"num_cpus": "two"}, "num_cpus must be a number, not 'two'"),
        ({"num_gpus": 1.5}, "num_gpus is a share of one GPU or a whole number of them, not 1.5"),
        ({"resources": {"CPU": 2}}, "Use the 'num_cpus' and 'num_gpus' keyword"),
        ({"resources": {"big": "one"}}, "resources['big'] must be a number, not 'one'"),
        ({"resources": "big"}, "resources must be a table of amounts, like {\"big\": 1}, not 'big'"),
        ({"runtime_env": "env.yaml"}, "runtime_env must be a table"),
        ({"workers": 0}, "workers must be at least 1, not 0"),
        ({"num_cpus": 0}, "a worker that needs nothing fits any number of times; say how many: workers=4"),
        ({"runtime_env": {"working_dir": "/nowhere"}}, "/nowhere"),
    ],
)
def test_settings_that_cannot_be(settings: dict, message: str) -> None:
    with pytest.raises(rw.InputError, match=re.escape(message)):
        RayExecutor(**settings)


def test_a_worker_that_no_node_has_room_for(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(rw.InputError, match="no node of the Ray cluster has 1 CPU, 3 GPU, which one worker needs"):
        RayExecutor(num_gpus=3)(train, Storage(tmp_path))


class Unloadable:
    """Its pickle raises where it is loaded."""

    def __call__(self, trial: rw.Trial) -> None: ...

    def __reduce__(self) -> tuple:
        return exec, ("raise ValueError('not here')",)


def test_a_function_that_cannot_be_loaded_ends_the_run(running: Callable[..., Running]) -> None:
    it = running(Unloadable(), workers=1)
    it.capacity(1)
    it.executor.submit(job(0, 1))
    with pytest.raises(
        rw.StudyError, match=r"on node \S+ of the Ray cluster no job can be done: the function cannot be"
    ):
        it.end(1)


def test_a_runtime_environment_that_cannot_be_made_ends_the_run(running: Callable[..., Running]) -> None:
    it = running(train, workers=1, runtime_env={"py_executable": "/nowhere/python", "pip": ["/nowhere/package"]})
    with pytest.raises(rw.StudyError, match="no worker can be started in the Ray cluster: "):
        it.capacity(1)


def test_without_ray_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['ray'] = None; import rungwise; import rungwise.executors.ray"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: RayExecutor needs ray: pip install 'rungwise[ray]'"


def test_importing_rungwise_does_not_import_ray() -> None:
    code = "import sys, rungwise.cli; assert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_may_hold_secrets_is_not_stored(tmp_path: Path) -> None:
    with pytest.raises(rw.InputError, match="may hold secrets"):
        rw.tune(
            train, {"x": rw.Float(0, 1)}, mode="min", trials=1, path=tmp_path / "s.db",
            executor={"name": "ray", "runtime_env": {"env_vars": {"TOKEN": "secret"}}},
        )  # fmt: skip
    assert not (tmp_path / "s.db").exists()
