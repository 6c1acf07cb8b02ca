"""Driver and pilots, without a Slurm: one that is played here, and one whose jobs are processes of this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import rungwise as rw
from rungwise.events import Completed, Job, Reported
from rungwise.executors import Begun, Broke, Paused, Said, files, pilots, slurm_jobs
from rungwise.executors.files import OVER, Pulse, Reader, Writer, beat
from rungwise.executors.host import Unable
from rungwise.executors.pilot import Asked, Cancel, Do, FromPilot, Here, Leaving, Pause, asked_file, said_file
from rungwise.executors.pilots import Pilots
from rungwise.executors.slurm import SlurmExecutor
from rungwise.log import StudyError
from rungwise.storage import Storage

# -- the files --------------------------------------------------------------------------------------


def test_what_is_written_is_read_once_and_in_order(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "said")
    reader: Reader[FromPilot] = Reader(tmp_path / "said", FromPilot)
    assert reader.read() == []
    writer.write([Here("n1"), Said(1, 0, Begun(0))])
    assert reader.read() == [Here("n1"), Said(1, 0, Begun(0))]
    assert reader.read() == []


def test_half_a_line_and_a_hole_wait(tmp_path: Path) -> None:
    path = tmp_path / "said"
    whole = b'{"fact":"here","node":"n1"}\n{"fact":"here","node":"n2"}\n'
    path.touch()
    reader: Reader[FromPilot] = Reader(path, FromPilot)
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        assert len(reader.read()) == (end == 28)
    path.write_bytes(whole[:30] + bytes(10) + whole[40:])  # a later piece has come before an earlier one
    assert reader.read() == []
    path.write_bytes(whole)
    assert reader.read() == [Here("n2")]


def test_it_looks_less_often_where_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(files.time, "monotonic", lambda: now)
    writer = Writer(tmp_path / "said")
    reader: Reader[FromPilot] = Reader(tmp_path / "said", FromPilot)
    looks = []
    for _ in range(60):
        now = reader.due
        reader.read()
        looks.append(reader.due - now)
    assert looks == pytest.approx(sorted(looks))
    assert (looks[0], looks[-1]) == pytest.approx((files.SOONEST, files.LATEST))
    writer.write([Here("n1")])
    reader.read()
    assert reader.due - now == pytest.approx(files.SOONEST)


def test_a_pulse_is_lost_after_its_time_on_the_watchers_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, path = 100.0, tmp_path / "heartbeat"
    monkeypatch.setattr(files.time, "monotonic", lambda: now)
    beat(path, 1)
    pulse = Pulse(path, 12.0)
    for number in range(2, 50):
        now = pulse.due
        beat(path, number)
        assert pulse.lost() is None
    path.unlink()
    lost = [now]
    while pulse.lost() is None:
        now = pulse.due
        lost.append(now)
    assert lost[-1] - lost[0] == pytest.approx(13)
    assert pulse.lost() == "its driver was not heard of for 12 s"


def test_who_slept_itself_does_not_take_its_driver_for_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, path = 100.0, tmp_path / "heartbeat"
    monkeypatch.setattr(files.time, "monotonic", lambda: now)
    beat(path, 1)
    pulse = Pulse(path, 12.0)
    assert pulse.lost() is None
    now += 10_000
    assert pulse.lost() is None
    beat(path, OVER)
    assert pulse.lost() == "its driver has ended"


# -- the driver, with pilots that are played --------------------------------------------------------


def trains(trial: rw.Trial) -> None:
    for _ in trial:
        trial.report(0.5)


class Played:
    """A Slurm in which nothing runs: the test writes what pilots say, and `states` is what squeue says."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.states: dict[str, str] = {}
        self.broken: dict[str, str] = {}

    def said(self, command: list[str], given: str = "") -> str:
        self.commands.append(command)
        if (error := self.broken.get(command[0])) is not None:
            raise StudyError(error)
        if command[0] == "sbatch":
            number = len(self.of("sbatch"))
            self.states |= {f"{number}_{slot}": "PENDING" for slot in self.slots()[-1].split(",")}
            return f"{number};cluster\n"
        if command[0] == "squeue":
            return "".join(f"{job.replace('_', '|')}|{state}\n" for job, state in self.states.items())
        return ""

    def of(self, program: str) -> list[list[str]]:
        return [command for command in self.commands if command[0] == program]

    def slots(self) -> list[str]:
        """Those of each sbatch."""
        return [one.partition("=")[2] for command in self.of("sbatch") for one in command if one.startswith("--array")]


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Played:
    played = Played()
    monkeypatch.setattr(slurm_jobs, "_said", played.said)
    monkeypatch.setattr(pilots, "LOOK", 0.05)
    return played


class Stage:
    """An executor whose pilots are played."""

    def __init__(self, slurm: Played, root: Path, **settings: object) -> None:
        self.slurm = slurm
        self.executor: Pilots = SlurmExecutor(**settings)(trains, Storage(root))
        (self.folder,) = (root / "slurm").iterdir()
        self.heard: list[Said] = []
        self.asked: dict[tuple[int, int], Reader[Asked]] = {}

    def say(self, slot: int, *said: FromPilot, batch: int = 0) -> None:
        Writer(said_file(self.folder, batch, slot)).write(said)
        self.slurm.states[f"{batch + 1}_{slot}"] = "RUNNING"

    def hears(self, slot: int, *, batch: int = 0) -> list[Asked]:
        if (batch, slot) not in self.asked:
            self.asked[batch, slot] = Reader(asked_file(self.folder, batch, slot), Asked)
        return self.asked[batch, slot].read()

    def poll(self, seconds: float = 0.3) -> list[Said]:
        end, heard = time.monotonic() + seconds, []
        while time.monotonic() < end:
            heard += self.executor.poll(0.05)
        return heard


@pytest.fixture
def stage(slurm: Played, tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    with contextlib.ExitStack() as stack:

        def made(**settings: object) -> Stage:
            one = Stage(slurm, tmp_path, **settings)
            stack.callback(one.executor.close)
            return one

        yield made


def job(trial: int, lease: int, reported: int = 0) -> Job:
    return Job(trial, {}, 0, 9, lease=lease, reported=reported)


def test_capacity_is_the_pilots_that_are_there(stage: Callable[..., Stage]) -> None:
    it = stage(workers=3)
    assert it.slurm.slots() == ["0,1,2"]
    assert it.executor.capacity == 0
    it.say(1, Here("n1"))
    assert it.poll() == []
    assert it.executor.capacity == 1
    it.executor.submit(job(0, 7))
    assert it.hears(1) == [Do(job(0, 7))]
    it.executor.pause()
    it.executor.cancel(7)
    it.executor.submit(job(0, 8))
    assert it.hears(1) == [Pause(7), Cancel(7), Do(job(0, 8))]
    it.say(1, Said(7, 0, Begun(0)), Said(8, 0, Begun(0)), Said(8, 1, Completed(0)))
    assert it.poll() == [Said(8, 0, Begun(0)), Said(8, 1, Completed(0))]


FIRST = "before the trial reported anything; allow more time=, or report and save more often"


@pytest.mark.parametrize(
    ("state", "said", "reason"),
    [
        ("CANCELLED", [], "Slurm job 1_0 on n1 ended: CANCELLED"),
        ("NODE_FAIL", [], "Slurm job 1_0 on n1 ended: NODE_FAIL"),
        ("OUT_OF_MEMORY", [], "Slurm job 1_0 on n1 ended: OUT_OF_MEMORY"),
        (None, [], "Slurm job 1_0 on n1 ended: no longer known to Slurm"),
        ("PREEMPTED", [], None),
        ("TIMEOUT", [Reported(0, 4, 0.5, 1.0)], None),
        ("TIMEOUT", [Reported(0, 3, 0.5, 1.0)], f"Slurm job 1_0 on n1 ended: TIMEOUT {FIRST}"),
    ],
)
def test_how_a_pilot_ended(stage: Callable[..., Stage], state: str | None, said: list, reason: str | None) -> None:
    it = stage()
    it.say(0, Here("n1"))
    it.poll()
    it.executor.submit(job(0, 7, reported=3))
    words = [Said(7, place, message) for place, message in enumerate([Begun(0), *said])]
    it.executor._pilots[0].said.due += 60  # it is not looked at before Slurm has told
    it.say(0, *words)
    it.slurm.states = {"1_0": state} if state else {}
    ended = Paused(0) if reason is None else Broke(0, reason)
    assert it.poll() == [*words, Said(7, None, ended)], "what it said last comes first"
    assert it.slurm.slots() == ["0", "0"], "another in its place"


@pytest.mark.parametrize("state", ["RUNNING", "PENDING", "COMPLETING", "SUSPENDED", "CONFIGURING"])
def test_it_may_still_be_there(stage: Callable[..., Stage], state: str) -> None:
    it = stage()
    it.say(0, Here("n1"))
    it.poll()
    it.executor.submit(job(0, 7))
    it.slurm.states = {"1_0": state}
    assert it.poll() == []
    assert it.slurm.slots() == ["0"]


def test_a_pilot_that_leaves_is_replaced_and_begins_nothing(stage: Callable[..., Stage]) -> None:
    it = stage(workers=2)
    it.say(0, Here("n1"))
    it.say(1, Here("n2"))
    it.poll()
    it.executor.submit(job(0, 7))
    it.executor.submit(job(1, 8))
    it.say(0, Said(7, 0, Begun(0)), Leaving(7, idle=False))
    it.say(1, Leaving(None, idle=False))  # it has not read of its job
    assert it.poll() == [Said(7, 0, Begun(0)), Said(8, None, Paused(1))]
    assert it.executor.capacity == 0
    assert it.slurm.slots() == ["0,1", "1,2"], "slot 0 is still at work"
    it.say(0, Said(7, 1, Paused(0)), Leaving(None, idle=False))
    assert it.poll() == [Said(7, 1, Paused(0))]


def test_idle_pilots_come_back_when_there_is_work(stage: Callable[..., Stage]) -> None:
    it = stage(workers=4)
    for slot in range(4):
        it.say(slot, Here("n1"))
    it.poll()
    it.executor.submit(job(0, 7))
    for slot in (1, 2, 3):
        it.say(slot, Leaving(None, idle=True))
    it.poll()
    assert it.executor.capacity == 1
    assert len(it.slurm.slots()) == 1, "one is enough for what there was to do"
    it.say(0, Said(7, 0, Completed(0)))
    it.poll()
    it.executor.submit(job(1, 8))  # all are busy: there may be more
    it.poll()
    assert it.slurm.slots() == ["0,1,2,3", "1"]
    it.say(1, Here("n1"), batch=1)
    it.poll()
    it.executor.submit(job(2, 9))
    it.poll()
    assert it.slurm.slots() == ["0,1,2,3", "1", "2,3"]


def test_when_all_were_idle_all_come_back(stage: Callable[..., Stage]) -> None:
    it = stage(workers=2)
    for slot in range(2):
        it.say(slot, Here("n1"), Leaving(None, idle=True))
    it.poll()
    assert it.slurm.slots() == ["0,1", "0,1"]


def test_a_pilot_that_cannot_work(stage: Callable[..., Stage]) -> None:
    it = stage()
    it.say(0, Here("n1"))
    it.poll()
    it.executor.submit(job(0, 7))
    it.say(0, Unable("the function cannot be loaded"), Leaving(None, idle=False))
    assert it.poll() == [Said(7, None, Broke(0, "the function cannot be loaded"))]
    assert it.slurm.slots() == ["0", "0"]


def test_what_is_not_understood_ends_the_pilot(stage: Callable[..., Stage]) -> None:
    it = stage()
    it.say(0, Here("n1"))
    it.poll()
    it.executor.submit(job(0, 7))
    with said_file(it.folder, 0, 0).open("a") as file:
        file.write("hello\n")
    assert it.poll() == [Said(7, None, Broke(0, "Slurm job 1_0 on n1 was given up: what it said was not understood"))]
    assert ["scancel", "--quiet", "1_0"] in it.slurm.commands


def test_a_pilot_that_cannot_be_told(stage: Callable[..., Stage]) -> None:
    it = stage()
    it.say(0, Here("n1"))
    it.poll()
    asked_file(it.folder, 0, 0).unlink()
    it.executor.submit(job(0, 7))
    (said,) = it.executor.poll(0)
    assert said.place is None
    assert "Slurm job 1_0 on n1 was given up: it cannot be told anything: [Errno 2]" in said.message.reason


def test_three_that_end_before_they_begin(stage: Callable[..., Stage]) -> None:
    it = stage(workers=3)
    (it.folder / "0.2.log").write_text("python: not found\n")
    it.slurm.states = {f"1_{slot}": "FAILED" for slot in range(3)}
    with pytest.raises(
        StudyError, match=r"^3 jobs of Slurm in a row .*: Slurm job 1_2 is FAILED; the end of .*: python: not"
    ):
        it.poll()


def test_those_that_are_taken_away_before_they_begin_are_submitted_again(stage: Callable[..., Stage]) -> None:
    it = stage(workers=3)
    it.slurm.states = {f"1_{slot}": state for slot, state in enumerate(["CANCELLED", "PREEMPTED", "NODE_FAIL"])}
    it.poll()
    assert it.slurm.slots() == ["0,1,2", "0,1,2"]


def test_when_slurm_does_not_answer_nothing_is_concluded(
    stage: Callable[..., Stage], caplog: pytest.LogCaptureFixture
) -> None:
    it = stage()
    it.say(0, Here("n1"))
    it.poll()
    it.executor.submit(job(0, 7))
    it.slurm.broken = {"squeue": "squeue failed: Unable to contact slurm controller", "sbatch": "sbatch failed: no"}
    with caplog.at_level(logging.WARNING):
        assert it.poll() == []
        it.say(0, Leaving(7, idle=False))  # so that another is submitted
        it.poll()
    assert [text for text in caplog.messages if "sbatch" in text] == ["no new pilots: sbatch failed: no"]
    assert (
        "it cannot be seen whether pilots are gone: squeue failed: Unable to contact slurm controller"
        in caplog.messages
    )
    it.say(0, Said(7, 0, Completed(0)))
    assert it.poll() == [Said(7, 0, Completed(0))]


def test_a_first_sbatch_that_is_refused_ends_the_study(slurm: Played, tmp_path: Path) -> None:
    slurm.broken = {"sbatch": "sbatch failed: no such partition"}
    with pytest.raises(StudyError, match="no such partition"):
        SlurmExecutor()(trains, Storage(tmp_path))
    one = SlurmExecutor(one_job=True)(trains, Storage(tmp_path))
    with pytest.raises(StudyError, match="no such partition"):
        one.submit(job(0, 7))
    one.close()


def test_one_job_that_waits_in_the_queue_pauses_at_once(stage: Callable[..., Stage]) -> None:
    it = stage(workers=2, one_job=True)
    assert it.slurm.slots() == []
    assert it.executor.capacity == 2
    it.executor.submit(job(0, 7))
    it.executor.submit(job(1, 8))
    assert it.slurm.slots() == ["0", "1"]
    it.say(0, Here("n1"))
    it.poll()
    it.executor.pause()
    assert it.poll() == [Said(8, None, Paused(1))]
    assert ["scancel", "--quiet", "2_1"] in it.slurm.commands
    it.slurm.broken = {"sbatch": "no more than 2"}
    it.executor.submit(job(2, 9))
    assert it.executor.poll(0) == [Said(9, None, Broke(2, "no more than 2"))]


def test_the_next_driver_ends_the_pilots_of_the_one_before(slurm: Played, tmp_path: Path) -> None:
    first = SlurmExecutor()(trains, Storage(tmp_path))
    (folder,) = (tmp_path / "slurm").iterdir()
    pulse = Pulse(folder / "heartbeat", 60)
    first._heart.stop()  # it was killed
    assert pulse.lost() is None
    SlurmExecutor()(trains, Storage(tmp_path)).close()
    assert pulse.lost() == "its driver has ended"
    assert ["scancel", "--quiet", f"--name={folder.name}"] in slurm.commands
    SlurmExecutor()(trains, Storage(tmp_path)).close()
    assert not folder.exists()


# -- what is asked for ------------------------------------------------------------------------------


def test_what_sbatch_is_asked_for(stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch) -> None:
    it = stage(
        partition="gpu", gpus="a100:2", time="4:00:00", cpus=8, memory="16G", notice_seconds=90,
        options=["--account=lab"], workers=2,
    )  # fmt: skip
    (command,) = it.slurm.of("sbatch")
    assert command == [
        "sbatch", "--parsable", f"--job-name={it.folder.name}", "--array=0,1", f"--output={it.folder}/0.%a.log",
        "--no-requeue", "--signal=B:USR1@90", "--partition=gpu", "--gpus-per-node=a100:2",
        "--time=4:00:00", "--cpus-per-task=8", "--mem=16G", "--account=lab",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 0}, "workers must be 1 or more, not 0"),
        ({"cpus": 0}, "cpus must be 1 or more, not 0"),
        ({"notice_seconds": 1.5}, "notice_seconds must be a whole number, not 1.5"),
        ({"idle_seconds": 0}, "idle_seconds must be above 0, not 0"),
        ({"one_job": 1}, "one_job must be true or false, not 1"),
        ({"options": "--account=lab --qos=x"}, r"options must be a list .* like \['--account=lab', '--qos=x'\], not"),
        ({"options": ["account"]}, r"options must be a list .* like \['--account=lab'\], not \['account'\]"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], message: str) -> None:
    with pytest.raises(rw.InputError, match=message):
        SlurmExecutor(**settings)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (None, r"^there is no program sbatch: SlurmExecutor runs where Slurm's programs are$"),
        (
            "echo 'sbatch: error: invalid account' >&2; echo >&2; exit 1",
            r"^sbatch --parsable .*@120 failed: sbatch: error: invalid account$",
        ),
        ("exit 3", r"failed: exit code 3$"),
        ("sleep 20", r"^sbatch has not answered for 0.5 s$"),
    ],
)
def test_what_sbatch_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, message: str) -> None:
    for name, does in (("scancel", "exit 0"), ("sbatch", program)):
        if does is not None:
            (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
            (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/nowhere" if program is None else f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm_jobs, "ANSWER", 0.5)
    with pytest.raises(StudyError, match=message):
        SlurmExecutor()(trains, Storage(tmp_path / "s"))


# -- real pilots, as processes of this machine ------------------------------------------------------


class Local:
    """A Slurm whose jobs begin at once, here."""

    def __init__(self) -> None:
        self.jobs: dict[str, tuple[str, subprocess.Popen[bytes]]] = {}

    def said(self, command: list[str], given: str = "") -> str:
        options = dict(each.partition("=")[::2] for each in command if "=" in each)
        if command[0] == "sbatch":
            number = str(1 + len(self.jobs))
            for slot in options["--array"].split(","):
                with open(options["--output"].replace("%a", slot), "wb") as log:
                    process = subprocess.Popen(
                        ["sh", "-c", given], env=os.environ | {"SLURM_ARRAY_TASK_ID": slot}, stdout=log, stderr=log,
                        start_new_session=True,
                    )  # fmt: skip
                self.jobs[f"{number}_{slot}"] = options["--job-name"], process
        elif command[0] == "scancel":
            for name, (owner, process) in self.jobs.items():
                if name == command[-1] or owner == options.get("--name"):
                    process.send_signal(signal.SIGTERM)
        else:
            states = {None: "RUNNING", 0: "COMPLETED"}
            return "".join(
                f"{name.replace('_', '|')}|{states.get(process.poll(), 'FAILED')}\n"
                for name, (owner, process) in self.jobs.items()
                if owner == options["--name"]
            )
        return f"{number}\n" if command[0] == "sbatch" else ""


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> Iterator[Local]:
    one = Local()
    monkeypatch.setattr(slurm_jobs, "_said", one.said)
    monkeypatch.setattr(pilots, "LOOK", 0.2)
    yield one
    for _, process in one.jobs.values():
        process.wait(20)


def slowly(trial: rw.Trial) -> None:
    trial.load()
    for epoch in trial:
        time.sleep(0.05)
        trial.report(1 / epoch)
        trial.save(epoch)


def heard(executor: Pilots, holds: Callable[[list[Said]], object], seconds: float = 20) -> list[Said]:
    said, end = [], time.monotonic() + seconds
    while not holds(said):
        assert time.monotonic() < end, said
        said += executor.poll(0.1)
    return said


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_notice_pauses_at_a_checkpoint(local: Local, tmp_path: Path, number: int) -> None:
    executor = SlurmExecutor()(slowly, Storage(tmp_path))
    heard(executor, lambda said: executor.capacity)
    executor.submit(Job(0, {}, 0, 10_000, lease=1))
    heard(executor, lambda said: len(said) > 3)
    local.jobs["1_0"][1].send_signal(number)
    said = heard(executor, lambda said: said and isinstance(said[-1].message, Paused))
    assert said[-1].place is not None
    assert local.jobs["1_0"][1].wait(20) == 0
    heard(executor, lambda said: executor.capacity)  # another is there
    executor.close()


def test_a_pilot_that_is_idle_for_too_long_ends(local: Local, tmp_path: Path) -> None:
    executor = SlurmExecutor(idle_seconds=0.5)(slowly, Storage(tmp_path))
    assert local.jobs["1_0"][1].wait(20) == 0
    (folder,) = (tmp_path / "slurm").iterdir()
    assert "the pilot ends: it leaves" in (folder / "0.0.log").read_text()
    executor.close()


def test_a_driver_that_was_away_takes_its_jobs_back(local: Local, tmp_path: Path) -> None:
    executor = SlurmExecutor(driver_seconds=1)(slowly, Storage(tmp_path))
    heard(executor, lambda said: executor.capacity)
    executor.submit(Job(0, {}, 0, 10_000, lease=1))
    heard(executor, lambda said: len(said) > 3)
    executor._heart.stop()  # as if it had been stopped
    assert local.jobs["1_0"][1].wait(20) == 0
    assert heard(executor, lambda said: said and said[-1].place is None)[-1] == Said(1, None, Paused(0))
    executor.close()


@pytest.mark.parametrize("one_job", [False, True])
def test_a_study(local: Local, tmp_path: Path, one_job: bool) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "s.db.trials").symlink_to(tmp_path / "shared")
    study = rw.tune(
        slowly, {"x": rw.Float(0, 1)}, mode="min", trials=3, scheduler=rw.ASHA(max_resource=3), quiet=True,
        executor=SlurmExecutor(workers=2, one_job=one_job), path=tmp_path / "s.db",
    )  # fmt: skip
    assert study.finished
    assert (tmp_path / "shared" / "slurm").stat().st_mode & 0o777 == 0o700
    only = {"one_job": True} if one_job else {}
    assert study.state.how["executor"] == {"name": "slurm", "workers": 2, **only}
    assert len(local.jobs) == (4 if one_job else 2), "three trials, and a promotion"
