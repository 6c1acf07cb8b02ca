"""Who trains on a Slurm cluster? Pilots: jobs of Slurm that take our jobs, one after the other (`pilot.py`).

One `sbatch` submits as many as are wanted, as an array. Slurm never requeues them: it would run a job twice. Driver and
pilots talk in files in the folder of the trials, which all nodes must see (`files.py`). What files cannot tell, that a
pilot is gone, `squeue` does.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, final

import msgspec

from rungwise.events import Completed, Job, Reported
from rungwise.executors import Broke, Message, Paused, Said, slurm_jobs
from rungwise.executors.files import Heart, Reader, Writer
from rungwise.executors.host import Unable
from rungwise.executors.pilot import (
    WORK,
    Cancel,
    Do,
    FromPilot,
    Here,
    Leaving,
    Pause,
    Work,
    asked_file,
    said_file,
)
from rungwise.executors.shipping import pickled, shipped
from rungwise.executors.slurm_jobs import HEARTBEAT
from rungwise.log import StudyError
from rungwise.storage import Storage, as_storage
from rungwise.tail import last_lines
from rungwise.trial import Trial

if TYPE_CHECKING:
    from rungwise.executors.slurm import SlurmExecutor

LOOK = 10.0  # seconds between two calls of squeue, each about all pilots
AGAIN = 30.0  # seconds until the next sbatch after one that was refused
USELESS = 3  # pilots in a row that end before they have begun: then nothing is right
TAKEN = {"PREEMPTED", "TIMEOUT"}  # ends of a pilot that are not its job's fault
OUTSIDE = {"CANCELLED", "PREEMPTED", "NODE_FAIL"}  # ends before the beginning that say nothing of the pilot
FORGOTTEN = "no longer known to Slurm"
GONE = TAKEN | OUTSIDE | {"BOOT_FAIL", "COMPLETED", "DEADLINE", "FAILED", "OUT_OF_MEMORY", "REVOKED", FORGOTTEN}
FOLDER = "slurm"


@final
class _Pilot:
    """One that was submitted: `job` is what it has to do. If it `leaves`, it gets no other."""

    def __init__(self, folder: Path, batch: int, slot: int, *, leaves: bool) -> None:
        self.slot = slot
        self.asked = Writer(asked_file(folder, batch, slot))
        said = said_file(folder, batch, slot)
        said.touch()
        self.said: Reader[FromPilot] = Reader(said, FromPilot)
        self.log = folder / f"{batch}.{slot}.log"
        self.number = ""  # that of the array, in Slurm
        self.since = 0.0
        self.node: str | None = None
        self.leaves = leaves
        self.job: Job | None = None
        self.jobs = 0
        self.further = False  # whether the job has reported what was not known before

    @property
    def id(self) -> str:
        return f"{self.number}_{self.slot}"

    @property
    def name(self) -> str:
        return f"Slurm job {self.id}{f' on {self.node}' if self.node else ''}"


@final
class Pilots:
    """The `Executor` that a `SlurmExecutor` makes: its pilots, of this driver.

    They are `workers` at the beginning. Those that find nothing to do end; when all others are busy, there are twice as
    many again. Pilots of an earlier driver of the same folder are ended.
    """

    def __init__(self, settings: SlurmExecutor, function: Callable[[Trial], object], storage: Storage | Path) -> None:
        self._settings, self._wanted = settings, 0 if settings.one_job else settings.workers
        storage = as_storage(storage)
        storage = Storage(storage.folder.resolve(), storage.apart)
        shipment = shipped(function)
        work, _ = pickled(Work(shipment, storage, settings.one_job, settings.idle_seconds, settings.driver_seconds))
        self._folder = slurm_jobs.own_folder(storage.folder / FOLDER)
        (self._folder / WORK).write_bytes(work)
        path = shlex.quote(os.pathsep.join(shipment.hello.path))
        self._command = f"PYTHONPATH={path} exec {shlex.quote(sys.executable)} -m rungwise.executors.pilot"
        self._heart = Heart(self._folder / HEARTBEAT, settings.driver_seconds)
        self._pilots: list[_Pilot] = []
        self._unheard: list[Said] = []
        self._batches = 0
        self._useless = 0
        self._try_again = 0.0
        self._background = ThreadPoolExecutor(1, "rungwise squeue")  # it may take long where Slurm is busy
        self._looking: Future[dict[tuple[str, int], str]] | None = None
        self._looked = time.monotonic()
        self._closed = False
        self._trouble = ""
        try:
            if self._wanted:
                self._submit(self._wanted)
        except BaseException:
            self.close()
            raise

    # -- what an executor does ----------------------------------------------------------------------

    @property
    def capacity(self) -> int:
        """How many pilots are there; with `one_job`, how many there may be."""
        if self._settings.one_job:
            return self._settings.workers
        return sum(pilot.node is not None for pilot in self._staff)

    def submit(self, job: Job) -> None:
        """Give `job` to a pilot that is idle, or one of its own. Raises `StudyError` if sbatch refuses the first."""
        if self._settings.one_job:
            try:
                (pilot,) = self._submit(1)
            except StudyError as error:
                if self._batches == 1:
                    raise
                self._unheard.append(Said(job.lease, None, Broke(job.trial, str(error))))
                return
            self._give(pilot, job)
            return
        free = [pilot for pilot in self._staff if pilot.job is None]
        self._give(next(pilot for pilot in free if pilot.node is not None), job)
        if len(free) == 1:  # there may be more to do
            self._wanted = max(self._wanted, min(self._settings.workers, 2 * len(self._staff)))

    def _give(self, pilot: _Pilot, job: Job) -> None:
        pilot.job, pilot.further = job, False
        pilot.jobs += 1
        self._ask(pilot, Do(job))

    def poll(self, timeout: float) -> list[Said]:
        """What pilots have said, and that they are gone. Raises `StudyError` if none of them can begin."""
        end = time.monotonic() + timeout
        heard, self._unheard = self._unheard, []
        while True:
            now = time.monotonic()
            for pilot in [pilot for pilot in self._pilots if pilot.said.due <= now]:
                self._hear(pilot, heard)
            self._look(heard)
            self._replace()
            if heard or (now := time.monotonic()) >= end:
                return heard
            due = min([end, *(pilot.said.due for pilot in self._pilots)])
            time.sleep(max(0.0, due - now))

    def pause(self) -> None:
        """Ask all that run to stop at their next checkpoint."""
        for pilot in list(self._pilots):
            if pilot.job is None:
                continue
            self._ask(pilot, Pause(pilot.job.lease))
            if pilot.node is None:  # it may wait in the queue for hours
                self._end(pilot, Paused, "", self._unheard)
                slurm_jobs.cancel(pilot.id)

    def cancel(self, lease: int) -> None:
        """End the worker of the job of `lease`; its pilot stays for others."""
        self._unheard = [said for said in self._unheard if said.lease != lease]
        for pilot in [pilot for pilot in self._pilots if pilot.job is not None and pilot.job.lease == lease]:
            self._over(pilot)
            self._ask(pilot, Cancel(lease))
            if self._settings.one_job:
                slurm_jobs.cancel(pilot.id)

    def close(self) -> None:
        """End all pilots."""
        if self._closed:
            return
        self._closed = True
        self._pilots.clear()
        self._heart.stop()
        self._background.shutdown(wait=False, cancel_futures=True)
        slurm_jobs.end_all(self._folder)

    # -- what pilots say ----------------------------------------------------------------------------

    def _ask(self, pilot: _Pilot, what: Do | Pause | Cancel) -> None:
        try:
            pilot.asked.write([what])
        except OSError as error:
            self._give_up(pilot, f"it cannot be told anything: {error}", self._unheard)
        pilot.said.expect()

    def _hear(self, pilot: _Pilot, heard: list[Said]) -> None:
        try:
            messages = pilot.said.read()
        except msgspec.MsgspecError:
            self._give_up(pilot, "what it said was not understood", heard)
            return
        except OSError:  # whether it is there at all, squeue says
            return
        for message in messages:
            match message:
                case Here(node):
                    pilot.node, self._useless = node, 0
                case Leaving(lease, idle):
                    self._leaves(pilot, lease, idle, heard)
                case Unable(reason):
                    self._end(pilot, Broke, reason, heard)
                case Said() if pilot.job is not None and message.lease == pilot.job.lease:
                    heard.append(message)
                    self._noted(pilot, message.message)

    def _noted(self, pilot: _Pilot, message: Message) -> None:
        assert pilot.job is not None
        if isinstance(message, Reported):
            pilot.further = pilot.further or message.resource > pilot.job.reported
        elif isinstance(message, Completed | Broke | Paused):
            self._over(pilot)

    def _over(self, pilot: _Pilot) -> None:
        """Its job has ended."""
        pilot.job = None
        if pilot.leaves and pilot in self._pilots:
            self._pilots.remove(pilot)

    def _leaves(self, pilot: _Pilot, lease: int | None, idle: bool, heard: list[Said]) -> None:
        if idle and not pilot.leaves:
            self._wanted -= 1
        pilot.leaves = True
        if pilot.job is None:
            self._over(pilot)
        elif pilot.job.lease != lease:  # it came too late to be begun, or the driver has been away for too long
            self._end(pilot, Paused, "", heard)

    # -- how they end -------------------------------------------------------------------------------

    def _end(self, pilot: _Pilot, how: type[Broke | Paused], reason: str, heard: list[Said]) -> None:
        """The pilot is no more, and its job, if it has one, has ended `how`."""
        if pilot in self._pilots:
            self._pilots.remove(pilot)
        if (job := pilot.job) is not None:
            ended = Broke(job.trial, reason) if how is Broke else Paused(job.trial)
            heard.append(Said(job.lease, None, ended))
        pilot.job = None

    def _give_up(self, pilot: _Pilot, why: str, heard: list[Said]) -> None:
        self._end(pilot, Broke, f"{pilot.name} was given up: {why}", heard)
        slurm_jobs.cancel(pilot.id)

    def _look(self, heard: list[Said]) -> None:
        """Ask Slurm now and then which of the pilots are there."""
        if self._looking is None:
            if time.monotonic() - self._looked >= LOOK and self._pilots:
                self._looked = time.monotonic()
                self._looking = self._background.submit(slurm_jobs.states, self._folder)
            return
        if not self._looking.done():
            return
        looking, self._looking = self._looking, None
        try:
            states = looking.result()
        except StudyError as error:
            self._warn(f"it cannot be seen whether pilots are gone: {error}")
            return
        for pilot in [pilot for pilot in self._pilots if pilot.since < self._looked]:
            state = states.get((pilot.number, pilot.slot), FORGOTTEN)
            if state in GONE:
                self._hear(pilot, heard)  # its last words
                if pilot in self._pilots:
                    self._gone(pilot, state, heard)

    def _gone(self, pilot: _Pilot, state: str, heard: list[Said]) -> None:
        if pilot.node is None and state not in OUTSIDE:
            self._useless += 1
            if self._useless >= USELESS:
                raise StudyError(self._never_began(pilot, state))
        # a job that has had the whole time of a pilot and comes to nothing would be given out for ever
        stuck = state == "TIMEOUT" and pilot.jobs == 1 and not pilot.further
        what = f"{pilot.name} ended: {state}"
        if stuck:
            what += " before the trial reported anything; allow more time=, or report and save more often"
        self._end(pilot, Paused if state in TAKEN and not stuck else Broke, what, heard)

    def _never_began(self, pilot: _Pilot, state: str) -> str:
        said = last_lines(pilot.log)
        shared = f"; is {self._folder} on a disk that all nodes share?"
        why = f"; the end of {pilot.log}: {' / '.join(said)}" if said else shared
        return f"{self._useless} jobs of Slurm in a row ended before they could work: {pilot.name} is {state}{why}"

    # -- how they come ------------------------------------------------------------------------------

    @property
    def _staff(self) -> list[_Pilot]:
        """Those that are there, or will be, and do not leave."""
        return [pilot for pilot in self._pilots if not pilot.leaves]

    def _replace(self) -> None:
        """Submit as many as are missing."""
        staff = len(self._staff)
        if staff == self._wanted == 0 and not self._settings.one_job:  # it is polled, so there is something to do
            self._wanted = self._settings.workers
        missing = self._wanted - staff
        if missing <= 0 or time.monotonic() < self._try_again:
            return
        try:
            self._submit(missing)
        except StudyError as error:  # it did not refuse the first
            self._try_again = time.monotonic() + AGAIN
            self._warn(f"no new pilots: {error}")

    def _submit(self, count: int) -> list[_Pilot]:
        """Have Slurm start `count` pilots, in the lowest slots that are free."""
        taken = {pilot.slot for pilot in self._pilots}
        slots = [slot for slot in range(len(taken) + count) if slot not in taken][:count]
        batch, self._batches = self._batches, self._batches + 1
        pilots = [_Pilot(self._folder, batch, slot, leaves=self._settings.one_job) for slot in slots]
        script = f"#!/bin/sh\n{self._command} {shlex.quote(str(self._folder))} {batch}\n"
        number = slurm_jobs.submit(self._folder, f"{batch}.%a.log", slots, self._settings.arguments(), script)
        for pilot in pilots:
            pilot.number, pilot.since = number, time.monotonic()
        self._pilots += pilots
        return pilots

    def _warn(self, what: str) -> None:
        if what != self._trouble:
            self._trouble = what
            logging.getLogger("rungwise").warning("%s", what)
