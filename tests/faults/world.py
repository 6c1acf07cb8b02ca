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
import os
import random
import re
import shutil
import sqlite3
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import rungwise as rw
from rungwise import database, mirror
from rungwise.blame import IN_A_ROW, InARow, Verdict
from rungwise.checkpoints import Superseded
from rungwise.core import as_scheduler
from rungwise.events import Completed, Fact, Failed, Job, Opened, Promote, Promoted, Raise, Raised, Start, Started
from rungwise.executors import Broke, Message, Paused, Said
from rungwise.folders import inside
from rungwise.log import StudyError
from rungwise.loop import Inbox, drive
from rungwise.pieces import name_of
from rungwise.records import LONGEST_GAP
from rungwise.sqlite import SQLiteLog
from rungwise.state import StudyState
from rungwise.storage import Storage, leases
from rungwise.study import Study
from rungwise.trial import Trial, wrong_end

TRIALS, TOP, WORKERS, RETRIES = 8, 9, 3, 2
PATIENCE, TICK, NOTED = 30.0, 0.5, 5.0  # simulated seconds
LIMIT = 20.0  # simulated seconds after which a job is ended
KILLS = 4  # of the driver, at most
CHANCE = {  # of each fault, at each chance that it has
    "driver killed": 0.01,
    "power cut": 0.3,  # when the driver is killed: the last commits may be lost, or torn
    "disk full": 0.01,
    "worker killed": 0.02,
    "worker hangs": 0.01,
    "worker taken away": 0.01,  # by whoever owns the machine
    "lease begun twice": 0.02,  # by an engine that does so behind one's back
    "message late": 0.1,
    "message twice": 0.05,
    "checkpoint torn": 0.3,  # when a worker is killed: in the middle of writing one
    "checkpoint damaged": 0.02,
    "function raises": 0.01,
    "machine fails": 0.3,  # in a history: for a while every job breaks off
    "clock set": 0.01,
    "second writer": 0.001,
    "forked writer": 0.0005,
    "study vanishes": 0.002,
}
MACHINE = "no space left on device"
JUMP = 1e8  # seconds, either way, by which the clock is set


class InvariantBroken(AssertionError):
    """An invariant does not hold."""


class Killed(BaseException):
    """The driver is dead from here on."""


SPACE = {"x": rw.Float(0, 1)}


class Learner:
    """A searcher whose proposals hang on all that it was told: after a lost tail, trial N is another configuration."""

    def __init__(self) -> None:
        self.told = 0

    def propose(self, rng: Any) -> dict[str, float]:
        return {"x": float(np.random.default_rng([*rng, self.told]).uniform())}

    def tell(self, fact: Fact) -> None:
        if not isinstance(fact, rw.events.Created):  # whose id is another in each study
            self.told = zlib.crc32(msgspec.json.encode(fact), self.told)

    def settings(self) -> dict[str, Any]:
        return {}


def score(trial: int, x: float, epoch: int) -> float:
    """What training reports: it hangs on the configuration, so that another's is found out."""
    return (x - 0.3) ** 2 + 1 / epoch + random.Random(f"{trial} {x} {epoch}").uniform(0, 0.1)


class World:
    """What goes on outside the driver: time, workers, the network, the disk, and chance."""

    def __init__(self, seed: int, folder: Path, say: Any) -> None:
        self.rng, self.folder, self.say = random.Random(seed), folder, say
        self.path = folder / "study.db"
        self.storage = Storage(folder / "study.db.trials")
        self.now = 0.0
        self.struck: Counter[str] = Counter()
        self.durable: list[Fact] = []  # what the log has said is durable
        self.cut = False  # whether the last kill cut the power, so that the last commits may be missing
        self.log: SQLiteLog | None = None
        self.zombies: list[Process] = []  # they work on though their driver is dead or has given them up
        self.network: list[tuple[float, int, Said]] = []  # (due, order, message)
        self.order = count()
        self.begun: set[int] = set()  # leases under which something trains or has trained
        # a trial of a configuration -> resources of its newest two checkpoints, 0 if damaged
        self.saved: dict[tuple[int, float], list[int]] = {}
        self.acknowledged: set[tuple[int, float, int]] = set()  # reports after which a save has returned
        self.trained: Counter[tuple[int, float, int]] = Counter()
        self.interruptions = 0
        self.wall = 1.7e9  # what the clock on the wall is ahead of the time that passes
        self.ended: StudyError | None = None  # what the log said when it let go of its file
        began = self.rng.uniform(2, 20) if self.strikes("machine fails") else float("inf")
        self.failing = began, began + self.rng.choice((5, 40, 150)) * self.rng.random()

    @property
    def machine_fails(self) -> bool:
        return self.failing[0] <= self.now < self.failing[1]

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
            def append(self, fact: Fact, time: float | None = None) -> None:
                if world.strikes("clock set"):
                    world.wall += world.rng.uniform(-JUMP, JUMP)
                super().append(fact, world.wall + world.now)

            def flush(self) -> None:
                if not self._pending:
                    return
                world.may_kill_driver()
                facts = [msgspec.json.decode(text, type=rw.events.AnyFact) for _, text, _ in self._pending]
                expected = None
                if world.strikes("disk full"):
                    self._connection.execute("PRAGMA query_only = 1")  # the next write is refused by SQLite itself
                    expected = "cannot be written"
                elif self._count and world.strikes("second writer"):
                    world.write_beside(self)
                    expected, facts = "was written by another process", []
                elif world.strikes("study vanishes"):
                    world.lose(self.path)
                    expected = "while it was driven: all "
                try:
                    super().flush()
                except StudyError as error:
                    world.require(expected is not None and expected in str(error), str(error))
                    world.ended = None if expected == "cannot be written" else error
                    if world.ended is not None:
                        world.durable += facts
                    raise
                world.require(expected is None, "what happened to the file was not noticed")
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

    def write_beside(self, log: SQLiteLog) -> None:
        """Another process, which got past all locks, opens the study and notes that."""
        fact = Opened("another")
        text, moment = msgspec.json.encode(fact), self.wall + self.now
        rows = log._connection.execute("SELECT digest FROM facts ORDER BY id").fetchall()
        digest = database.digest_of(log.version)(rows[-1][0] if rows else 0, moment, text)
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute(database.INSERT, (len(rows) + 1, moment, text.decode(), digest))
        connection.close()
        self.durable.append(fact)

    def lose(self, path: Path) -> None:
        """Somebody deletes the study, moves it, or puts another file in its place."""
        how = self.rng.choice(("deleted", "moved", "replaced"))
        if how == "moved":
            path.rename(self.folder / f"moved-{next(self.order)}.db")
        else:
            path.unlink()
        if how == "replaced":
            path.touch()

    def fork(self, study: Study) -> None:
        """A forked child uses the study: it is told not to, and nothing comes of it."""
        child = os.fork()
        if child == 0:
            refused = 0
            try:
                for call in (study.ask, lambda: study.report(0, 1, 0.0), study.sync, lambda: study.extend(trials=99)):
                    try:
                        call()
                    except StudyError as error:
                        refused += "from which this one" in str(error)
            finally:
                os._exit(refused)
        _, status = os.waitpid(child, 0)
        self.require(os.waitstatus_to_exitcode(status) == 4, "a forked child used the study")

    def obey(self, error: StudyError) -> None:
        """The log let go of its file, and said what is to be done."""
        self.interruptions += WORKERS
        self.log = None
        if (kept := re.search(r"are now in (\S+); continue with", str(error))) is not None:
            for end in ("", "-wal", "-shm"):
                Path(f"{self.path}{end}").unlink(missing_ok=True)
            Path(kept[1]).rename(self.path)

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
        self.check_time(study)

    def check_time(self, study: Study) -> None:
        most = self.now + 1e-3 + LONGEST_GAP * self.struck["clock set"]
        self.require(study.running_seconds <= most, f"it has run for {study.running_seconds:g} s, of {self.now:g}")

    # -- workers -----------------------------------------------------------------------------------

    def began(self, trial: Trial, state: list[Any] | None) -> None:
        at, x = state or (0, trial.config["x"])
        self.require(x == trial.config["x"], f"trial {trial.number} goes on from the checkpoint of x = {x}")
        newest = max(self.saved.get((trial.number, x), []), default=0)
        self.require(at >= newest, f"trial {trial.number} goes on from {at}, though {newest} was saved")

    def lost(self, job: Job, end: Broke | Paused) -> None:
        """What is said of a job whose worker says nothing more."""
        self.interruptions += 1
        self.network.append((self.now + 1, next(self.order), Said(job.lease, None, end)))

    def has_saved(self, trial: Trial, epoch: int) -> None:
        which = trial.number, trial.config["x"]
        kept = self.saved.setdefault(which, [])
        kept[:] = [*kept[-1:], epoch]  # the one before stays, damaged or not
        self.acknowledged |= {(*which, resource) for resource in range(1, epoch + 1)}
        if self.strikes("checkpoint damaged"):
            kept[-1] = 0
            self.interruptions += 1
            file = trial.folder / inside(trial.folder).there().states[-1].name
            content = bytearray(file.read_bytes())
            content[self.rng.randrange(len(content))] ^= 1 << self.rng.randrange(8)
            file.write_bytes(content)


def derive(facts: list[Fact], require: Any) -> None:
    """Take every decision in a log anew, and compare."""
    created, *rest = facts
    assert isinstance(created, rw.events.Created)
    scheduler, state = as_scheduler(created.scheduler), StudyState(created)
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
        if (event := state.apply(fact)) is not None:
            scheduler.tell(event)


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
        trial = Trial(job, world.storage.folder_of(job.trial), self.say, clock=lambda: world.now)
        try:
            world.storage.begin(job)
        except Superseded:
            world.lost(job, Broke(job.trial, "begun before"))
            return
        world.require(job.lease not in world.begun, f"the job of lease {job.lease} was begun twice, and trains twice")
        world.begun.add(job.lease)
        try:
            state = trial.load()
            if not self.zombie:
                world.began(trial, state)
            yield 0.1
            for epoch in trial:
                yield world.rng.uniform(0.5, 2)
                if world.machine_fails:
                    world.struck["broken off by the machine"] += 1
                    raise OSError(MACHINE)
                if not self.zombie:
                    world.trained[trial.number, trial.config["x"], epoch] += 1
                if world.strikes("function raises"):
                    raise RuntimeError("bad luck")
                trial.report(score(trial.number, trial.config["x"], epoch))
                yield 0.01
                trial.save([epoch, trial.config["x"]])
                world.has_saved(trial, epoch)
                yield 0.01
            wrong = wrong_end(trial)
            self.say(Completed(job.trial) if wrong is None else Broke(job.trial, wrong))
        except (RuntimeError, OSError) as error:
            world.interruptions += 1
            self.say(Broke(job.trial, str(error)))
        except Superseded:
            world.struck["fenced off"] += 1

    def kill(self) -> None:
        self.steps.close()
        self.due = float("inf")
        if self.world.strikes("checkpoint torn"):
            folder = self.world.storage.folder_of(self.job.trial)
            if folder.exists():
                (folder / f"{name_of((self.job.lease, 99))}.part").write_bytes(b"half a check")


class Watched(InARow):
    """The judge of one driver, watched by one who knows whose fault it was."""

    def __init__(self, world: World, study: Study) -> None:
        worked = any(record.resource for record in study.trials)
        broke_at = {record.number: record.broke_at for record in study.trials if record.broke_at is not None}
        clock = partial(getattr, world, "now")
        super().__init__(
            RETRIES, PATIENCE, worked=worked, ended_well=study.state.ended_well, broke_at=broke_at, clock=clock
        )
        self.world = world
        self.row: set[int] = set()  # trials that broke off since a job ended well
        self.before: set[int] = set(broke_at)  # those that did before that
        self.itself: set[int] = set()  # those of which one broke off by its own fault
        self.told: set[int] = set()  # those whose job, as it was given out last, has reported

    def began(self, trial: int) -> None:
        self.told.discard(trial)
        super().began(trial)

    def reported(self, trial: int) -> None:
        self.told.add(trial)
        super().reported(trial)

    def paused(self, trial: int) -> Sequence[Verdict]:
        verdicts = super().paused(trial)
        holds = trial in self.told or not verdicts
        self.world.require(holds, f"trial {trial} was taken away before it reported, and others were judged by that")
        return verdicts

    def broke(self, trial: int, attempts: int, reason: str) -> Sequence[Verdict]:
        self.row.add(trial)
        if reason != MACHINE:
            self.itself.add(trial)
        return self.check(super().broke(trial, attempts, reason))

    def stranded(self) -> Sequence[Verdict]:
        return self.check(super().stranded())

    def ended(self, trial: int) -> Sequence[Verdict]:
        verdicts = self.check(super().ended(trial))
        self.before |= self.row
        self.row.clear()
        self.before.discard(trial)
        return verdicts

    def check(self, verdicts: Sequence[Verdict]) -> Sequence[Verdict]:
        """Three in a row fail no trial, but for those that had broken off before others ended well."""
        for one in verdicts:
            if isinstance(one, Failed):
                alone = len(self.row - self.before) < IN_A_ROW
                holds = alone or one.trial in self.before | self.itself
                self.world.require(holds, f"trial {one.trial} failed by the fault of the machine")
        return verdicts


class Workers:
    """The executor of one driver."""

    capacity = WORKERS

    def __init__(self, world: World, study: Study) -> None:
        self.world, self.study = world, study
        self.processes: dict[int, Process] = {}  # lease -> process
        self.judge = Watched(world, study)
        self.noted = world.now

    def note_time(self, messages: list[Message]) -> None:
        """As a run does, now and then."""
        if messages and self.world.now - self.noted > NOTED:
            self.study.decider.ran(self.world.now - self.noted)
            self.noted = self.world.now

    def submit(self, job: Job) -> None:
        self.world.may_kill_driver()
        self.world.storage.hold(job)
        self.processes[job.lease] = Process(self.world, job)
        if self.world.strikes("lease begun twice"):
            twin = Process(self.world, job)
            twin.due += self.world.rng.uniform(0, 3)
            self.leave(twin)

    def give_up(self, process: Process, end: Broke | Paused) -> None:
        """What an executor says of a worker that is dead, overdue or taken away."""
        self.world.lost(process.job, end)
        del self.processes[process.job.lease]

    def leave(self, process: Process) -> None:
        """Nobody waits for `process` any more: it works on, until it finds that out within 5 s."""
        process.zombie, process.deadline = True, float("inf")
        process.dies = self.world.now + self.world.rng.uniform(0, 5)
        self.world.zombies.append(process)

    def poll(self, timeout: float) -> list[Said]:
        world = self.world
        check_step(world, self.study, self)
        world.may_kill_driver()
        world.network.sort(key=lambda sent: sent[:2])
        all_of_them = [*self.processes.values(), *world.zombies]
        if self.study.trials and world.strikes("forked writer"):
            world.fork(self.study)
        moments = [due for due, _, _ in world.network[:1]] + [min(p.due, p.deadline, p.dies) for p in all_of_them]
        if self.judge.waiting:  # a job is tried when its time has come, whatever else happens
            moments.append(world.now + TICK)
        world.now = max(world.now, min(moments))
        for process in list(self.processes.values()):
            if process.due > world.now and process.deadline <= world.now:
                self.give_up(process, Broke(process.job.trial, "overdue"))
                self.leave(process)
            elif process.due <= world.now:
                if world.strikes("worker killed"):
                    process.kill()
                    self.give_up(process, Broke(process.job.trial, "killed"))
                elif world.strikes("worker taken away"):
                    process.kill()
                    self.give_up(process, Paused(process.job.trial))
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
                if process.due == float("inf") and (twin := self.processes.pop(process.job.lease, None)) is not None:
                    self.leave(twin)  # its job has ended, by what the one beside it has said
        due = [said for when, _, said in world.network if when <= world.now]
        world.network = [sent for sent in world.network if sent[0] > world.now]
        return due

    def abandon(self) -> None:
        """The driver is dead."""
        for process in self.processes.values():
            self.leave(process)
        self.processes.clear()


def live(seed: int, folder: Path, say: Any = lambda text: None) -> Counter[str]:
    """The history of `seed` in the empty `folder`; what went wrong in it, by kind. Raises `InvariantBroken`."""
    world = World(seed, folder, say)
    original = mirror.SQLiteLog
    mirror.SQLiteLog = world.open_log
    try:
        while True:
            workers = None
            try:
                study = Study(SPACE, rw.PASHA(max_resource=TOP), Learner(), mode="min", path=world.path)
                world.check_log(study)
                study.extend(trials=TRIALS)
                workers = Workers(world, study)
                mine = leases(world.storage, study.id, study.state.sessions)
                drive(study, Inbox(workers, mine), watch=workers.note_time, judge=workers.judge)
                if workers.judge.given_up is None:
                    check_end(world, study)
                    study.close()
                    return world.struck
                world.struck["given up"] += 1
                world.say(f"{world.now:8.2f}  given up: {workers.judge.given_up}")
                study.close()
                world.log = None
                world.now = max(world.now, min(world.failing[1], world.now + 100))  # somebody mends the machine
            except Killed:
                world.crash(power_may_fail=True)
            except StudyError as error:
                if world.ended is not None:
                    world.obey(world.ended)
                    world.ended = None
                else:
                    world.require("cannot be written" in str(error), str(error))
                    world.crash(power_may_fail=False)
            if workers is not None:
                workers.abandon()
    finally:
        mirror.SQLiteLog = original
        if world.log is not None:
            with contextlib.suppress(sqlite3.Error):
                world.log.close()


def check_step(world: World, study: Study, workers: Workers) -> None:
    """What holds at every turn of the loop."""
    world.require(len(study.trials) <= TRIALS, "more trials than were wanted")
    trials = [process.job.trial for process in workers.processes.values()]
    world.require(len(trials) == len(set(trials)) <= WORKERS, f"trials {trials} are at work at once")
    cared_for = {*trials, *study.state.again, *(said.message.trial for _, _, said in world.network)}
    cared_for |= {trial for trial, broken in workers.judge._row.items() if broken.waits is not None}
    stuck = [job.trial for job in study.running if job.trial not in cared_for]
    world.require(not stuck, f"nobody cares for trials {stuck} any more")


def check_end(world: World, study: Study) -> None:
    """What holds when the study is finished."""
    world.require(len(study.trials) == TRIALS, f"{len(study.trials)} trials, not {TRIALS}")
    world.require(study.finished and not study.running, "work is left")
    for record in study.trials:
        x = record.config["x"]
        false = [r for r, said in record.reports.items() if said != score(record.number, x, r)]
        world.require(not false, f"reports {false} of trial {record.number} are another configuration's")
        saved = [r for *which, r in world.acknowledged if which == [record.number, x]]
        if world.struck["power cut"]:  # it may undo a promotion; then what was trained after it is of no use
            saved = [r for r in saved if r <= record.paused_at]
        lost = [r for r in saved if r not in record.reports]
        world.require(record.failure is not None or not lost, f"reports {lost} of trial {record.number} are lost")
    world.check_time(study)
    repeated = sum(times - 1 for times in world.trained.values())
    world.require(repeated <= world.interruptions, f"{repeated} units again after {world.interruptions} interruptions")
    study.decider.flush()
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
