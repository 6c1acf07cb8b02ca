"""A simulated world for the real driver loop, log and checkpoint store: everything fails in it, from a seed.

The driver's loop, the study, the SQLite log, the trial and the checkpoint files are the real ones; the clock, the
workers and the ways in which things fail are simulated, so that a seed gives the same history every time (in the manner
of FoundationDB's simulation). `live` runs one history and raises `InvariantBroken` if an invariant does not hold.

    python tests/faults/world.py 17            # the history of seed 17, step by step
    python tests/faults/world.py --seeds 1000  # many, and what they went through
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

import rungwise as rw
from rungwise import checkpoints
from rungwise.core import as_scheduler
from rungwise.events import Completed, Fact, Job, Opened, Promote, Promoted, Raise, Raised, Start, Started
from rungwise.executors import Broke, Said
from rungwise.log import StudyError
from rungwise.loop import drive
from rungwise.sqlite import SQLiteLog
from rungwise.study import Study
from rungwise.trial import Trial

TRIALS, TOP, WORKERS, RETRIES = 8, 9, 3, 2
LIMIT = 20.0  # simulated seconds after which a job is ended
KILLS = 4  # of the driver, at most
CHANCE = {  # of each fault, at each chance that it has
    "driver killed": 0.01,
    "power cut": 0.3,  # when the driver is killed: the last commits may be lost, or torn
    "disk full": 0.01,
    "worker killed": 0.02,
    "worker hangs": 0.01,
    "message late": 0.1,
    "message twice": 0.05,
    "checkpoint torn": 0.3,  # when a worker is killed: in the middle of writing one
    "checkpoint damaged": 0.02,
    "function raises": 0.01,
}


class InvariantBroken(AssertionError):
    """An invariant does not hold."""


class Killed(BaseException):
    """The driver is dead from here on."""


SPACE = {"x": rw.Float(0, 1)}


class World:
    """What goes on outside the driver: time, workers, the network, the disk, and chance."""

    def __init__(self, seed: int, folder: Path, say: Any) -> None:
        self.rng, self.folder, self.say = random.Random(seed), folder, say
        self.path = folder / "study.db"
        self.now = 0.0
        self.struck: Counter[str] = Counter()
        self.durable: list[Fact] = []  # what the log has said is durable
        self.cut = False  # whether the last kill cut the power, so that the last commits may be missing
        self.log: SQLiteLog | None = None
        self.zombies: list[Process] = []  # they work on though their driver is dead or has given them up
        self.network: list[tuple[float, int, Said]] = []  # (due, order, message)
        self.order = count()
        self.leases = count(1)
        self.saved: dict[int, list[int]] = {}  # trial -> resources of its newest two checkpoints, 0 if damaged
        self.acknowledged: set[tuple[int, int]] = set()  # reports after which a save has returned
        self.trained: Counter[tuple[int, int]] = Counter()
        self.interruptions = 0

    def strikes(self, fault: str) -> bool:
        if self.rng.random() >= CHANCE[fault]:
            return False
        self.struck[fault] += 1
        self.say(f"{self.now:8.2f}  {fault}")
        return True

    def may_kill_driver(self) -> None:
        if self.struck["driver killed"] < KILLS and self.strikes("driver killed"):
            raise Killed

    def require(self, holds: bool, what: str) -> None:
        if not holds:
            raise InvariantBroken(f"{what} (at {self.now:.2f} s)")

    # -- the disk ----------------------------------------------------------------------------------

    def open_log(self, path: Path, *, writable: bool) -> SQLiteLog:
        world = self

        class FaultyLog(SQLiteLog):
            def flush(self) -> None:
                if not self._pending:
                    return
                world.may_kill_driver()
                facts = [msgspec.json.decode(text, type=rw.events.AnyFact) for _, text, _ in self._pending]
                if world.strikes("disk full"):
                    self._connection.execute("PRAGMA query_only = 1")  # the next write is refused by SQLite itself
                super().flush()
                world.durable += facts
                world.may_kill_driver()

        self.log = FaultyLog(path, writable=writable)
        return self.log

    def crash(self, *, power_may_fail: bool) -> None:
        """The driver's process is gone: what was not committed is lost, and its files stay as they are."""
        self.interruptions += WORKERS
        if self.log is None:
            return
        files = {name: self.path.with_name(self.path.name + name) for name in ("", "-wal")}
        kept = {name: file.read_bytes() for name, file in files.items() if file.exists()}
        self.log._connection.close()  # this would tidy up, as a process that is killed cannot: put it all back
        if self.log._hold is not None:  # else it was killed while it was opened
            self.log._hold.let_go()
        self.log = None
        if power_may_fail and "-wal" in kept and self.strikes("power cut"):
            self.cut = True
            kept["-wal"] = kept["-wal"][: self.rng.randrange(len(kept["-wal"]) + 1)]  # torn anywhere
        for name, content in kept.items():
            files[name].write_bytes(content)

    def check_log(self, study: Study) -> None:
        """After a start: what was durable is there, and the decisions in it are those that the scheduler takes."""
        facts = [fact for _, fact in study.facts()]
        known = self.durable
        if self.cut:
            while known and known != facts[: len(known)]:
                known = known[:-1]
            self.require(
                all(type(fact) is Opened for fact in facts[len(known) :][:1]), "the log is no prefix of itself"
            )
        self.require(facts[: len(known)] == known, "durable facts are gone from the log")
        self.durable, self.cut = facts, False
        derive(facts, self.require)

    # -- workers -----------------------------------------------------------------------------------

    def began(self, trial: int, state: int | None) -> None:
        newest = max(self.saved.get(trial, []), default=0)
        self.require((state or 0) >= newest, f"trial {trial} goes on from {state}, though {newest} was saved")

    def has_saved(self, trial: Trial, epoch: int) -> None:
        kept = self.saved.setdefault(trial.number, [])
        kept[:] = [*kept[-1:], epoch]  # the one before stays, damaged or not
        self.acknowledged |= {(trial.number, resource) for resource in range(1, epoch + 1)}
        if self.strikes("checkpoint damaged"):
            kept[-1] = 0
            self.interruptions += 1
            file = trial.folder / checkpoints.NAME
            content = bytearray(file.read_bytes())
            content[self.rng.randrange(len(content))] ^= 1 << self.rng.randrange(8)
            file.write_bytes(content)


def derive(facts: list[Fact], require: Any) -> None:
    """Take every decision in a log anew, and compare."""
    created, *rest = facts
    assert isinstance(created, rw.events.Created)
    scheduler = as_scheduler(created.scheduler)
    for fact in rest:
        answer = scheduler.ask()
        if isinstance(fact, Started):
            require(answer == Start(fact.until), f"{fact} was not what the scheduler says: {answer}")
        elif isinstance(fact, Promoted):
            require(
                isinstance(answer, Promote) and (answer.trial, answer.until) == (fact.trial, fact.until),
                f"{fact}, not {answer}",
            )
        elif isinstance(fact, Raised):
            require(isinstance(answer, Raise) and answer.until == fact.until, f"{fact}, not {answer}")
        scheduler.tell(fact)


class Process:
    """A worker with one job: the real trial and the real checkpoint files, step by step in simulated time."""

    def __init__(self, world: World, job: Job) -> None:
        self.world, self.job = world, job
        self.number = count()
        self.steps = self._work()
        self.due = world.now
        self.deadline = world.now + LIMIT
        self.dies = float("inf")
        self.zombie = False

    def say(self, message: Any) -> None:
        world = self.world
        said = Said(self.job.lease, next(self.number), message)
        for _ in range(2 if world.strikes("message twice") else 1):
            late = world.rng.uniform(0, 5) if world.strikes("message late") else 0
            world.network.append((world.now + late, next(world.order), said))

    def step(self) -> None:
        """Go on to the next moment at which something may happen to it."""
        self.due = self.world.now + next(self.steps, float("inf"))

    def _work(self) -> Iterator[float]:
        world, job = self.world, self.job
        place = checkpoints.trial_folder(world.folder / "study.db.trials", job.trial)
        trial = Trial(job, place, self.say, clock=lambda: world.now)
        try:
            state = trial.load()
            if not self.zombie:
                world.began(trial.number, state)
            yield 0.1
            for epoch in trial:
                yield world.rng.uniform(0.5, 2)
                if not self.zombie:
                    world.trained[trial.number, epoch] += 1
                if world.strikes("function raises"):
                    raise RuntimeError("bad luck")
                trial.report(
                    (trial.config["x"] - 0.3) ** 2
                    + 1 / epoch
                    + random.Random(f"{trial.number} {epoch}").uniform(0, 0.1)
                )
                yield 0.01
                trial.save(epoch)
                world.has_saved(trial, epoch)
                yield 0.01
            wrong = trial.end()
            self.say(Completed(job.trial) if wrong is None else Broke(job.trial, wrong))
        except RuntimeError as error:
            world.interruptions += 1
            self.say(Broke(job.trial, str(error)))
        except checkpoints.Superseded:
            world.struck["fenced off"] += 1

    def kill(self) -> None:
        self.steps.close()
        self.due = float("inf")
        if self.world.strikes("checkpoint torn"):
            folder = checkpoints.trial_folder(self.world.folder / "study.db.trials", self.job.trial)
            if folder.exists():
                (folder / f"{checkpoints.NAME}.{self.job.lease}.part").write_bytes(b"half a check")


class Workers:
    """The executor of one driver."""

    size = WORKERS

    def __init__(self, world: World, study: Study) -> None:
        self.world, self.study = world, study
        self.processes: dict[int, Process] = {}  # lease -> process

    def submit(self, job: Job) -> None:
        self.world.may_kill_driver()
        checkpoints.hold(checkpoints.trial_folder(self.world.folder / "study.db.trials", job.trial), job.lease)
        self.processes[job.lease] = Process(self.world, job)

    def give_up(self, process: Process, reason: str) -> None:
        """What an executor says of a worker that is dead or overdue."""
        world = self.world
        world.interruptions += 1
        world.network.append(
            (world.now + 1, next(world.order), Said(process.job.lease, None, Broke(process.job.trial, reason)))
        )
        del self.processes[process.job.lease]

    def poll(self) -> list[Said]:
        world = self.world
        check_step(world, self.study, self)
        world.may_kill_driver()
        world.network.sort(key=lambda sent: sent[:2])
        all_of_them = [*self.processes.values(), *world.zombies]
        world.now = max(
            world.now,
            min([due for due, _, _ in world.network[:1]] + [min(p.due, p.deadline, p.dies) for p in all_of_them]),
        )
        for process in list(self.processes.values()):
            if process.due > world.now and process.deadline <= world.now:
                self.give_up(process, "overdue")
                process.zombie, process.deadline = True, float("inf")
                process.dies = world.now + world.rng.uniform(0, 5)
                world.zombies.append(process)
            elif process.due <= world.now:
                if world.strikes("worker killed"):
                    process.kill()
                    self.give_up(process, "killed")
                elif world.strikes("worker hangs"):
                    process.due = world.now + world.rng.uniform(0, 2 * LIMIT)
                else:
                    process.step()
                    if process.due == float("inf"):
                        del self.processes[process.job.lease]
        for process in list(world.zombies):
            if process.dies <= world.now:
                process.kill()
                world.zombies.remove(process)
            elif process.due <= world.now:
                process.step()
        due = [said for when, _, said in world.network if when <= world.now]
        world.network = [sent for sent in world.network if sent[0] > world.now]
        return due

    def abandon(self) -> None:
        """The driver is dead: its workers find out within 5 s."""
        for process in self.processes.values():
            process.zombie, process.deadline = True, float("inf")
            process.dies = self.world.now + self.world.rng.uniform(0, 5)
            self.world.zombies.append(process)
        self.processes.clear()


def live(seed: int, folder: Path, say: Any = lambda text: None) -> Counter[str]:
    """The history of `seed` in the empty `folder`; what went wrong in it, by kind. Raises `InvariantBroken`."""
    world = World(seed, folder, say)
    original = rw.study.SQLiteLog
    rw.study.SQLiteLog = world.open_log
    try:
        while True:
            workers = None
            try:
                study = Study(SPACE, rw.PASHA(max_resource=TOP), mode="min", path=world.path)
                world.check_log(study)
                study.extend(trials=TRIALS)
                workers = Workers(world, study)
                drive(study, workers, retries=RETRIES, first_lease=world.rng.getrandbits(32))
                check_end(world, study)
                study.close()
                return world.struck
            except Killed:
                world.crash(power_may_fail=True)
            except StudyError as error:
                world.require("cannot be written" in str(error), str(error))
                world.crash(power_may_fail=False)
            if workers is not None:
                workers.abandon()
    finally:
        rw.study.SQLiteLog = original
        if world.log is not None:
            with contextlib.suppress(sqlite3.Error):
                world.log.close()


def check_step(world: World, study: Study, workers: Workers) -> None:
    """What holds at every turn of the loop."""
    world.require(len(study.trials) <= TRIALS, "more trials than were wanted")
    trials = [process.job.trial for process in workers.processes.values()]
    world.require(len(trials) == len(set(trials)) <= WORKERS, f"trials {trials} are at work at once")
    cared_for = {*trials, *(job.trial for job in study._again), *(said.message.trial for _, _, said in world.network)}
    stuck = [job.trial for job in study.running if job.trial not in cared_for]
    world.require(not stuck, f"nobody cares for trials {stuck} any more")


def check_end(world: World, study: Study) -> None:
    """What holds when the study is finished."""
    world.require(len(study.trials) == TRIALS, f"{len(study.trials)} trials, not {TRIALS}")
    world.require(study.finished and not study.running, "work is left")
    for record in study.trials:
        saved = [r for trial, r in world.acknowledged if trial == record.number]
        if world.struck["power cut"]:  # it may undo a promotion; then what was trained after it is of no use
            saved = [r for r in saved if r <= record.paused_at]
        lost = [r for r in saved if r not in record.reports]
        world.require(record.failure is not None or not lost, f"reports {lost} of trial {record.number} are lost")
    repeated = sum(times - 1 for times in world.trained.values())
    world.require(repeated <= world.interruptions, f"{repeated} units again after {world.interruptions} interruptions")
    study.flush()
    derive([fact for _, fact in study.facts()], world.require)
    again = Study.open(world.path)
    for what in ("rungs", "rows", "explain"):
        world.require(getattr(again, what)() == getattr(study, what)(), f"{what} are others when the log is replayed")
    again.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seed", type=int, nargs="?", help="tell the history of one seed")
    parser.add_argument("--seeds", type=int, default=1000, help="how many to go through (default 1,000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    given = parser.parse_args()
    if given.seed is not None:
        with folder() as place:
            live(given.seed, place, say=print)
        return 0
    struck: Counter[str] = Counter()
    began = time.monotonic()
    for seed in range(given.first, given.first + given.seeds):
        try:
            with folder() as place:
                struck += live(seed, place)
        except Exception as error:
            print(f"seed {seed}: {type(error).__name__}: {error}\nagain: {sys.executable} {__file__} {seed}")
            return 1
    seconds = time.monotonic() - began
    print(
        f"{given.seeds} histories in {seconds:.0f} s ({60 * given.seeds / seconds:.0f} a minute), no invariant broken"
    )
    for fault, times in struck.most_common():
        print(f"{times:9,}  {fault}")
    return 0


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """An empty folder, in memory where the system has such a place: there are thousands of histories."""
    memory = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(prefix="rungwise-", dir=memory if memory.is_dir() else None))
    try:
        yield place
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    sys.exit(main())
