"""`SlurmExecutor` on a real slurmctld with two nodes, which are both this machine."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from slurm_cluster import Cluster, cluster, command_of, unavailable, until, with_signal

import rungwise as rw
from rungwise.events import Job, Retried
from rungwise.executors import Broke, Paused, Said, pilots, slurm_jobs
from rungwise.executors.pilots import Pilots
from rungwise.executors.slurm import SlurmExecutor
from rungwise.log import StudyError
from rungwise.storage import Storage
from rungwise.testing import check_executor

SPACE = {"x": rw.Float(0, 1)}
DRIVER = Path(__file__).with_name("slurm_driver.py")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if (why := unavailable()) is not None:
        pytest.skip(why)
    with cluster(tmp_path_factory.mktemp("slurm")) as one:
        yield one


@pytest.fixture(autouse=True)
def clear(slurm: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pilots, "LOOK", 1.0)
    yield
    slurm.clear()


def score(x: float, epoch: int) -> float:
    return x + 1 / epoch


def trains(trial: rw.Trial) -> None:
    """Slowly, until the faults are over."""
    trial.load()
    for epoch in trial:
        with (trial.folder / "epochs").open("a") as file:
            file.write(f"{epoch}\n")
        time.sleep(0.01 if (trial.folder.parent / "calm").exists() else 1.0)
        trial.report(score(trial.config["x"], epoch))
        trial.save(epoch)


def never_saves(trial: rw.Trial) -> None:
    (trial.folder / "epochs").write_text("1\n")
    time.sleep(600)


def epochs(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "epochs").read_text().split()]


def went_on(trained: list[int]) -> bool:
    """Whether it began at 1, and each job from the checkpoint before: the epoch under way may come twice."""
    return trained[0] == 1 and all(after - before in (0, 1) for before, after in itertools.pairwise(trained))


def pilots_on(slurm: Cluster, node: str) -> list[int]:
    return sorted(
        process for process in slurm.processes(node) if "rungwise.executors.pilot" in command_of(process)
    )  # fmt: skip


class Hand:
    """Gives a job to an executor, and listens."""

    def __init__(self, function: Callable[[rw.Trial], object], root: Path, executor: SlurmExecutor) -> None:
        self.root, self.executor = root, executor(function, Storage(root))
        self.heard: list[Said] = []

    def submit(self, job: Job) -> None:
        until(lambda: self.listen() or self.executor.capacity > 0, "a pilot is there")
        self.executor.submit(job)
        until(lambda: self.listen() or (self.root / f"{job.trial:06d}" / "epochs").exists(), "it trains")

    def listen(self) -> None:
        self.heard += self.executor.poll(0.1)

    def end(self, seconds: float = 60) -> Said:
        until(
            lambda: self.listen() or (self.heard and isinstance(self.heard[-1].message, Broke | Paused)),
            "an end",
            seconds,
        )
        return self.heard[-1]

    def __enter__(self) -> Hand:
        return self

    def __exit__(self, *_: object) -> None:
        self.executor.close()


def test_it_does_what_the_loop_needs() -> None:
    check_executor(SlurmExecutor(workers=2, driver_seconds=4, notice_seconds=30))


def test_a_study_survives_all_that_befalls_its_pilots(slurm: Cluster, tmp_path: Path) -> None:
    root, done = tmp_path / "s.db.trials", []

    def hurt() -> None:
        until(lambda: len(list(root.glob("*/epochs"))) >= 4, "four train")
        with_signal(pilots_on(slurm, "n1")[0], signal.SIGKILL)
        done.append("a step killed")
        time.sleep(2)
        pilot = next(job for job in slurm.jobs() if job[3] == "RUNNING" and job[4] == "n1")
        slurm.said("scancel", f"{pilot[1]}_{pilot[2]}")
        done.append("a pilot canceled")
        time.sleep(2)
        slurm.said("sbatch", "--partition=urgent", "--nodelist=n1", "--cpus-per-task=2", "--output=/dev/null",
                   "--job-name=urgent", "--wrap=sleep 2")  # fmt: skip
        until(
            lambda: ["urgent", "RUNNING"] in [[job[0], job[3]] for job in slurm.jobs()], "the urgent job has its node"
        )
        done.append("pilots preempted")
        until(lambda: not any(job[0] == "urgent" for job in slurm.jobs()), "the urgent job is over")
        until(lambda: pilots_on(slurm, "n1") and pilots_on(slurm, "n2"), "there are pilots on both")
        time.sleep(1)
        slurm.lose("n2")
        until(lambda: "down" in slurm.said("sinfo", "--noheader", "--nodes=n2", "--format=%T"), "Slurm has seen it")
        done.append("a node gone")
        slurm.begin_node("n2")
        (root / "calm").touch()

    fates = threading.Thread(target=hurt)
    fates.start()
    study = rw.tune(
        trains, SPACE, mode="min", trials=16, scheduler=rw.ASHA(min_resource=9, max_resource=27), retries=5, quiet=True,
        executor=SlurmExecutor(workers=4, notice_seconds=30, driver_seconds=30), path=tmp_path / "s.db",
        keep_checkpoints=True,
    )  # fmt: skip
    fates.join()
    assert done == ["a step killed", "a pilot canceled", "pilots preempted", "a node gone"]
    assert study.finished
    assert [record.failure for record in study.trials] == [None] * 16
    for record in study.trials:
        assert record.reports == {epoch: score(record.config["x"], epoch) for epoch in range(1, record.resource + 1)}
        assert went_on(epochs(root / f"{record.number:06d}"))
    reasons = [fact.reason for _, fact in rw.Study.open(tmp_path / "s.db").facts() if isinstance(fact, Retried)]
    states = [reason.rpartition(": ")[2] for reason in reasons]
    assert states.count("FAILED") == 1, reasons
    assert set(states) == {"FAILED", "NODE_FAIL"}, "preemption and scancel let them come to a checkpoint"


def test_scancel_of_what_comes_to_no_checkpoint(slurm: Cluster, tmp_path: Path) -> None:
    with Hand(never_saves, tmp_path, SlurmExecutor()) as it:
        it.submit(Job(0, {}, 0, 3, lease=1))
        (pilot,) = slurm.jobs()
        slurm.said("scancel", f"{pilot[1]}_{pilot[2]}")
        end = it.end()
    assert end.place is None
    assert isinstance(end.message, Broke)
    assert end.message.reason == f"Slurm job {pilot[1]}_0 on {os.uname().nodename} ended: CANCELLED"


def test_preemption_of_what_comes_to_no_checkpoint(slurm: Cluster, tmp_path: Path) -> None:
    with Hand(never_saves, tmp_path, SlurmExecutor(options=["--nodelist=n1"], cpus=2)) as it:
        it.submit(Job(0, {}, 0, 3, lease=1))
        slurm.said("scontrol", "update", "partitionname=main", "gracetime=1")
        slurm.said(
            "sbatch", "--partition=urgent", "--nodelist=n1", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"
        )
        end = it.end()
        slurm.said("scontrol", "update", "partitionname=main", "gracetime=20")
    assert end == Said(1, None, Paused(0))


def test_the_end_of_its_time(slurm: Cluster, tmp_path: Path) -> None:
    with Hand(trains, tmp_path, SlurmExecutor(time=1, notice_seconds=55)) as it:
        it.submit(Job(0, {"x": 0.5}, 0, 1000, lease=1))
        end = it.end()
        assert end.place is not None
        assert end.message == Paused(0)
        it.submit(Job(0, {"x": 0.5}, 0, 1000, lease=2))  # another pilot has come
        assert went_on(epochs(tmp_path / "000000"))


def test_a_node_that_is_cut_off(slurm: Cluster, tmp_path: Path) -> None:
    """What runs there is out of Slurm's hands, and may write."""
    with Hand(trains, tmp_path, SlurmExecutor(options=["--nodelist=n2"], driver_seconds=4)) as it:
        it.submit(Job(0, {"x": 0.5}, 0, 1000, lease=1))
        ours = pilots_on(slurm, "n2")
        slurm.cut_off("n2")
        end = it.end()
        assert end.place is None
        assert "NODE_FAIL" in end.message.reason
        assert pilots_on(slurm, "n2") == ours
    until(lambda: not pilots_on(slurm, "n2"), "its pilot has read that all is over")
    slurm.begin_node("n2")


def test_each_slot_sees_its_own_device(tmp_path: Path) -> None:
    def looks(trial: rw.Trial) -> None:
        seen = [os.environ[name] for name in ("SLURMD_NODENAME", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")]
        (trial.folder / "seen").write_text(" ".join([str(trial.worker), *seen]))
        until(lambda: len(list(trial.folder.parent.glob("*/seen"))) == 4, "all are there")
        trial.report(0.5)

    rw.tune(
        looks, SPACE, mode="min", trials=4, scheduler=rw.ASHA(max_resource=1), quiet=True,
        executor=SlurmExecutor(workers=4, gpus=1), path=tmp_path / "s.db", keep_checkpoints=True,
    )  # fmt: skip
    seen = sorted(path.read_text().split() for path in tmp_path.glob("s.db.trials/*/seen"))
    assert [slot for slot, *_ in seen] == ["0", "1", "2", "3"]
    assert sorted((node, device) for _, node, device, _ in seen) == [("n1", "0"), ("n1", "1"), ("n2", "0"), ("n2", "1")]
    assert {threads for *_, threads in seen} == {"1"}


def test_a_driver_that_is_killed(slurm: Cluster, tmp_path: Path) -> None:
    root = tmp_path / "s.db.trials"
    command = [sys.executable, DRIVER, tmp_path / "s.db"]
    driver = subprocess.Popen(command)
    until(lambda: len(list(root.glob("*/checkpoint*"))) >= 4, "four have saved")
    driver.kill()
    driver.wait()
    before = {job[0] for job in slurm.jobs()}
    assert len(before) == 1
    (root / "calm").touch()
    subprocess.run(command, timeout=100, check=True)
    until(lambda: not slurm.jobs(), "no pilot is left")
    study = rw.Study.open(tmp_path / "s.db")
    assert study.finished
    for record in study.trials:
        assert record.reports == {epoch: score(record.config["x"], epoch) for epoch in range(1, record.resource + 1)}
        assert went_on(epochs(root / f"{record.number:06d}"))
    assert len(list((root / "slurm").iterdir())) == 2


def test_a_job_of_slurm_for_each_of_ours(slurm: Cluster, tmp_path: Path) -> None:
    (tmp_path / "s.db.trials").mkdir()
    (tmp_path / "s.db.trials" / "calm").touch()
    study = rw.tune(
        trains, SPACE, mode="min", trials=3, scheduler=rw.ASHA(min_resource=1, max_resource=3), quiet=True,
        executor=SlurmExecutor(workers=2, one_job=True), path=tmp_path / "s.db", keep_checkpoints=True,
    )  # fmt: skip
    assert study.finished
    (folder,) = (tmp_path / "s.db.trials" / "slurm").iterdir()
    assert len(slurm_jobs.states(folder)) == 4, "three trials, and a promotion"
    assert [went_on(epochs(path)) for path in sorted((tmp_path / "s.db.trials").glob("0*[0-9]"))] == [True] * 3


def test_what_sbatch_refuses(tmp_path: Path) -> None:
    with pytest.raises(
        StudyError, match=r"^sbatch .*--partition=nowhere.* failed: .*invalid partition specified: nowhere"
    ):
        SlurmExecutor(partition="nowhere")(trains, Storage(tmp_path))


def test_pilots_that_cannot_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    wanted = r"3 jobs of Slurm in a row ended .* is FAILED; the end of .*/nowhere/python"
    with Hand(trains, tmp_path, SlurmExecutor()) as it, pytest.raises(StudyError, match=wanted):
        until(lambda: it.listen(), "it is seen")


def test_what_slurm_knows(slurm: Cluster, tmp_path: Path) -> None:
    it: Pilots = SlurmExecutor(workers=3, options=["--hold"])(trains, Storage(tmp_path))
    try:
        (number,) = {job[1] for job in slurm.jobs()}
        (folder,) = (tmp_path / "slurm").iterdir()
        assert slurm_jobs.states(folder) == {(number, slot): "PENDING" for slot in range(3)}
    finally:
        it.close()
    until(lambda: not slurm.jobs(), "those that wait are canceled too")
