"""Where are the files of a study's trials, and where their checkpoints? In one folder each, unless told otherwise.

May import `folders`, `checkpoints`, `store` and what these import.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import final

from rungwise.checkpoints import Checkpoints
from rungwise.errors import InputError
from rungwise.events import Job
from rungwise.folders import claim, trial_folder
from rungwise.heads import Identity, identity
from rungwise.local_store import LocalStore
from rungwise.log import StudyError
from rungwise.pieces import SESSION, place_of, whose
from rungwise.store import Store

JOBS = 1 << 48  # leases of a session; the leases of drivers that did not number their sessions were below it
SESSIONS_AT_MOST = 1 << 15  # a lease has 63 bits
SESSIONS = "sessions"


@final
class Storage:
    """`folder` holds a folder and a log for each trial; the checkpoints are in the store `apart`, or there too.

    Driver and workers have equal ones; it can be pickled, and stands for the path of `folder` where one is wanted. In a
    store of its own each study has a place by its id, and in it each trial by its number and configuration.

    >>> Storage(Path("study.db.trials")).checkpoints(3, Identity("ab", "cd")).place
    '000003'
    >>> Storage(Path("study.db.trials"), LocalStore("/big")).checkpoints(3, Identity("ab", "cd")).place
    'ab/000003-cd'
    """

    def __init__(self, folder: Path, apart: Store | None = None) -> None:
        self.folder, self.apart = folder, apart
        self.store: Store = LocalStore(folder) if apart is None else apart

    def __repr__(self) -> str:
        return f"Storage({str(self.folder)!r}{'' if self.apart is None else f', {self.apart!r}'})"

    def __fspath__(self) -> str:
        return str(self.folder)

    def folder_of(self, trial: int) -> Path:
        """The trial's own folder."""
        return trial_folder(self.folder, trial)

    def log_of(self, trial: int) -> Path:
        """What its function printed."""
        return self.folder_of(trial).with_suffix(".log")

    def checkpoints(self, trial: int, owner: Identity, lease: int = 0) -> Checkpoints:
        """The checkpoints of `trial`, for a job of `lease`."""
        place = f"{trial:06d}"
        if self.apart is not None:
            place = f"{study_place(owner.study)}/{place_of(trial, owner.configuration)}"
        return Checkpoints(self.store, place, owner, lease)

    def of(self, job: Job) -> Checkpoints:
        """Those of the trial of `job`."""
        return self.checkpoints(job.trial, identity(job.study, job.config), job.lease)

    def hold(self, job: Job) -> None:
        """From here on `job`, and none of an older lease, may write into its trial's folder and save checkpoints.

        What is there of another configuration or study is put aside. Raises `Superseded` if a later one holds them.
        """
        kept = self.of(job)
        claim(self.folder_of(job.trial), job.lease, kept.owner)
        if self.apart is not None:
            kept.hold()

    def begin(self, job: Job, note: bytes = b"") -> Checkpoints:
        """The first act of a job, wherever it runs: it holds its trial, and nobody begins it a second time.

        The `note` says who does it.
        Raises `Superseded` if it was begun before, or the job of a later lease holds the trial.
        """
        kept, there = self.of(job), None
        if self.apart is not None or (there := kept.there()).lease != job.lease:
            self.hold(job)
            there = None
        kept.begin(there, note)
        return kept

    def last_session(self, study: str) -> int:
        """The number of the last driver that has begun with the store apart; 0 if none has, or there is no such store.

        >>> Storage(Path("study.db.trials")).last_session("ab")
        0
        """
        return 0 if self.apart is None else max([0, *_sessions(self.apart.list(_sessions_of(study)))])

    def kept_apart(self, study: str) -> dict[tuple[int, str], int]:
        """(Trial, digest of its configuration) -> bytes, of what the store apart has of the study with this id."""
        held: dict[tuple[int, str], int] = {}
        if self.apart is not None:
            for name, size in self.apart.list(study_place(study)).items():
                if (place := whose(name.split("/")[1])) is not None:
                    held[place] = held.get(place, 0) + size
        return held


def study_place(study: str) -> str:
    """What the study with the id `study` is called in a store: the id, which is no path whoever wrote the file.

    Raises `InputError` for an id that is none of ours.
    """
    if not (study.isascii() and study.isalnum()):
        raise InputError(
            f"a study with the id {study!r} can only keep its checkpoints beside it; leave checkpoints= out"
        )
    return study


def as_storage(given: Storage | Path | str) -> Storage:
    """A folder's path is that of files and checkpoints."""
    return given if isinstance(given, Storage) else Storage(Path(given))


def leases(storage: Storage | Path, study: str = "", sessions: int = 0) -> Iterator[int]:
    """The leases of a driver that begins now: each is greater than those before, and those of all drivers before.

    The number of its session is taken with the first, so that no two drivers have the same, though the end of a study's
    log was lost, or salvaged copies share the store. It is above the `sessions` that the log has.
    """
    storage = as_storage(storage)
    storage.folder.mkdir(parents=True, exist_ok=True)
    numbers, place = _sessions(os.listdir(storage.folder)), ""
    if storage.apart is not None:
        place = f"{_sessions_of(study)}/"
        numbers.append(storage.last_session(study))
    session = 1 + max([sessions, *numbers])
    if session >= SESSIONS_AT_MOST:
        raise StudyError(f"this study has been opened {SESSIONS_AT_MOST - 1} times, and cannot be run once more")
    while not storage.store.hold(f"{place}{SESSION}{session}", b"", durable=True):
        session += 1
    yield from itertools.count(session * JOBS)


def _sessions_of(study: str) -> str:
    return f"{study_place(study)}/{SESSIONS}"


def _sessions(names: Iterable[str]) -> list[int]:
    """The numbers of the sessions that `names` are the marks of, with or without a place before them."""
    taken = [name.rpartition("/")[2] for name in names]
    numbers = [name.removeprefix(SESSION) for name in taken if name.startswith(SESSION)]
    found = [int(number) for number in numbers if number.isdecimal() and len(number) <= 5]
    return [number for number in found if number < SESSIONS_AT_MOST]
