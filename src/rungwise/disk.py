"""Which files of the trials are still needed? The others go: by their bytes when they are large, else many at once.

Needed are the folders of trials that run, that may be promoted yet under the total of trials (however many come, if
there is none), and that the answer holds; those of failed trials, since failures can be taken back, stay unless they
are large. What is deleted is noted (`rungwise.deletions`). Logs of failed trials stay as they are; of the other trials
that are over, the last `LOGS` stay, and those before them are moved into one file, `finished.log`. A log that stays
has a folder or a note beside it, which says what configuration it is of.

What `clean` costs grows with the number of trials, so it waits until `SOON` + `SOON_EACH` bytes a trial could be
freed, or some hundred jobs have ended. May import everything below `run`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from pathlib import Path
from typing import final

from rungwise import deletions
from rungwise.checkpoints import LARGE
from rungwise.deletions import Deleted
from rungwise.folders import owner, put_aside, trial_folder, trial_of
from rungwise.heads import identity
from rungwise.pieces import says_who_holds
from rungwise.storage import Storage
from rungwise.study import Study

FINISHED = "finished.log"
LOGS = 200
SOON, SOON_EACH = 1 << 20, 1 << 12  # bytes; writing them takes some ten times as long as looking for what can go
JOBS = 500
NO_TOTAL = 2**53  # where no total of trials is given there may be this many


@final
class Disk:
    """The files of the trials of `study` in its `storage`; with `keep` no checkpoint is deleted."""

    def __init__(self, study: Study, storage: Storage, *, keep: bool) -> None:
        self._study, self._root, self._keep = study, storage.folder, keep
        self._storage = storage
        self._base = os.path.join(self._root, "")
        self._deleted = deletions.notes(self._root)
        self._folders: dict[int, int] = {}  # trial -> bytes in its folder; 0 if there is nothing in it
        self._logs: set[int] = set()
        self._blank: set[int] = set()  # those logs in which nothing is
        self._ended = self._bytes = 0  # jobs, and the bytes in their folders, since the last `clean`
        self._told = False
        self.session: int | None = None  # of this driver, once it has given out a job
        for entry in os.scandir(self._root):
            name = entry.name.removesuffix(".log")
            if (trial := trial_of(name)) is not None:
                if name != entry.name:
                    self._see_log(trial)
                elif entry.is_dir(follow_symlinks=False):
                    self._folders[trial] = _bytes(entry.path)
        for (trial, configuration), size in storage.kept_apart(study.id).items():
            if trial < len(study.trials) and configuration == self._configuration(trial):
                self._folders[trial] = self._folders.get(trial, 0) + size
        self._ended, self._bytes = len(self._folders), sum(self._folders.values())

    def ended(self, trial: int) -> None:
        """A job of `trial` has ended."""
        self._ended += 1
        with contextlib.suppress(FileNotFoundError):  # the function has deleted it, or nobody wrote one
            self._see_log(trial)
        held = self._folders[trial] = self._held(trial)
        self._bytes += held

    def _held(self, trial: int) -> int:
        """How many bytes there are of `trial`."""
        held = 0
        with contextlib.suppress(FileNotFoundError):  # the function has deleted it
            held = _bytes(self._folder(trial))
        try:
            return held + sum(self._apart(trial).values())
        except OSError:  # the store is away, which ends no study: as if something were there
            return held + 1

    @property
    def due(self) -> bool:
        """Whether it is worth looking for what can go."""
        trials = len(self._study.trials)
        return self._ended > min(20 + trials // 4, JOBS) or self._bytes > SOON + SOON_EACH * trials

    def why_gone(self, trial: int) -> str | None:
        """Why there is no checkpoint of `trial` any more, in words; None if we did not delete any."""
        note = self._deleted.get(trial)
        return note.why if note is not None and note.configuration == self._configuration(trial) else None

    def lost(self, trial: int) -> bool:
        """Whether `trial` trains from the start again since its checkpoints were deleted here."""
        return self.why_gone(trial) is not None and not self._held(trial)

    def clean(self) -> None:
        """Delete the folders of trials that cannot be needed any more, and empty ones; put away their logs."""
        self._ended = self._bytes = 0
        study = self._study
        busy = {job.trial for job in study.running} | study.state.may_win
        known = range(len(study.trials))  # what is there of others, the log has lost: they may be given out again
        total = NO_TOTAL if study.budget.trials is None else study.budget.trials
        needed = study.scheduler.may_promote(total) | busy
        over = [trial for trial in sorted({*self._folders, *self._logs}) if trial in known and trial not in needed]
        try:
            if self._superseded():
                return
            if not self._keep:
                failed = {trial for trial in over if study.trials[trial].failure is not None}
                least = {trial: LARGE if trial in failed else 1 for trial in over}  # a failure can be taken back
                self._delete([trial for trial in over if self._folders.get(trial, 0) >= least[trial]])
            still = [trial for trial in over if trial in self._logs and study.trials[trial].failure is None]
            self._fold(still[: max(0, len(still) - LOGS)])
            for trial in [t for t in self._blank if t in known and t not in busy and study.trials[t].failure is None]:
                self._remove_log(trial)
            for trial in [t for t, held in self._folders.items() if not held and t in known and t not in busy]:
                if trial not in self._logs:
                    self._remove(trial)
        except OSError as error:
            if not self._told:
                self._told = True
                logging.getLogger("rungwise").warning("checkpoints no longer needed cannot be deleted: %s", error)

    def _superseded(self) -> bool:
        """Whether a later driver has begun, elsewhere, as in a bucket one may: what it needs is not known here."""
        return self.session is not None and self._storage.last_session(self._study.id) > self.session

    def _configuration(self, trial: int) -> str:
        return identity("", self._study.trials[trial].config).configuration

    def _delete(self, trials: list[int]) -> None:
        """Note that the checkpoints of `trials` go, then delete them; what is another's is put aside."""
        own = []
        for trial in trials:
            folder = trial_folder(self._root, trial)
            wanted = identity(self._study.id, self._study.trials[trial].config)
            there, apart = folder.is_dir(), bool(self._apart(trial))
            if there and not wanted.owns(owner(folder, wanted)):
                put_aside(folder)
                there = False
            if there or apart:
                own.append(trial)
            else:
                del self._folders[trial]
        total = self._study.budget.trials
        failed = [self._study.trials[trial].failure is not None for trial in own]
        notes = [Deleted(t, self._configuration(t), total, f) for t, f in zip(own, failed, strict=True)]
        deletions.note(self._root, notes)
        for note in notes:
            self._deleted[note.trial] = note
            self._remove(note.trial)

    def _remove(self, trial: int) -> None:
        if apart := self._apart(trial):
            self._storage.store.discard(list(apart))
        with contextlib.suppress(FileNotFoundError):
            if self._folders[trial]:
                shutil.rmtree(self._folder(trial))
            else:
                for name in filter(says_who_holds, os.listdir(self._folder(trial))):
                    os.unlink(f"{self._folder(trial)}/{name}")
                os.rmdir(self._folder(trial))
        del self._folders[trial]  # now: where anything fails, it is tried again

    def _apart(self, trial: int) -> dict[str, int]:
        """What a store that is not beside the study has of `trial`, and how many bytes each."""
        if self._storage.apart is None:
            return {}
        owner = identity(self._study.id, self._study.trials[trial].config)
        return self._storage.apart.list(self._storage.checkpoints(trial, owner).place)

    def _fold(self, trials: list[int]) -> None:
        """Move the logs of `trials` into one file.

        A log is deleted when it is in that file for good: after a kill in between it may stand there twice.
        """
        pieces = []
        for trial in trials:
            with contextlib.suppress(FileNotFoundError):  # the user has deleted it
                if text := Path(self._log(trial)).read_bytes():
                    pieces.append(b"==> trial %d <==\n%s" % (trial, text if text.endswith(b"\n") else text + b"\n"))
        deletions.append(self._root / FINISHED, b"".join(pieces))
        for trial in trials:
            self._remove_log(trial)

    def _see_log(self, trial: int) -> None:
        blank = not os.stat(self._log(trial)).st_size
        self._logs.add(trial)
        (self._blank.add if blank else self._blank.discard)(trial)

    def _remove_log(self, trial: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._log(trial))
        self._logs.discard(trial)
        self._blank.discard(trial)

    def _folder(self, trial: int) -> str:  # text, since a path for each job would be half of what all this costs
        return f"{self._base}{trial:06d}"

    def _log(self, trial: int) -> str:
        return f"{self._base}{trial:06d}.log"


def _bytes(folder: str) -> int:
    """How much is in `folder`, at least 1 for each file; 0 if there is nothing but what says who holds it."""
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if not says_who_holds(entry.name):
                inside = _bytes(entry.path) if entry.is_dir(follow_symlinks=False) else 0
                total += 1 + inside + entry.stat(follow_symlinks=False).st_size
    return total
