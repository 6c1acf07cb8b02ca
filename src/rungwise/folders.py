"""Whose is the folder of a trial? One configuration's of one study; what is another's is put aside, as a whole.

After the end of a log was lost, a searcher that learns may draw trial N anew, another one, and its folder must not give
it the state, the scores and the files of the first. May import `checkpoints`, `deletions` and `local_store`.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shutil
from pathlib import Path

import msgspec

from rungwise import deletions
from rungwise.checkpoints import Checkpoints, Superseded
from rungwise.heads import NOBODY, Identity
from rungwise.local_store import LocalStore
from rungwise.pieces import OLD_HOLDER, PART, There, job_of, says_who_holds

ANOTHER = "of-another"


class _Holder(msgspec.Struct, frozen=True):
    lease: int
    study: str = ""
    configuration: str = ""

    @property
    def identity(self) -> Identity:
        return Identity(self.study, self.configuration)


def trial_folder(root: Path, trial: int) -> Path:
    """The folder of `trial` under `root`."""
    return root / f"{trial:06d}"


def trial_of(name: str) -> int | None:
    """The trial whose folder is called `name`; None if it is another thing, or was put aside."""
    return int(name) if len(name) >= 6 and name.isascii() and name.isdigit() else None


def inside(folder: Path, owner: Identity = NOBODY, lease: int = 0) -> Checkpoints:
    """The checkpoints in the folder of a trial itself."""
    return Checkpoints(LocalStore(folder.parent), folder.name, owner, lease)


def claim(folder: Path, lease: int, wanted: Identity) -> None:
    """The folder is of `wanted`, and the job of `lease` holds it.

    What is there of another configuration or study is put aside first, and said; what was put aside before, and is of
    this very configuration, is taken back. Raises `Superseded` if the job of a later lease of the same study holds it.
    """
    kept, there = inside(folder, wanted, lease), There({})
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        there = kept.there()
        holder = _holder(kept, there)
        if holder is not None and holder.study == wanted.study and holder.lease > lease:
            raise Superseded from None
        whose = _owner(folder, holder, there, wanted)
        owned = wanted == whose or wanted.owns(whose)
    else:
        owned = not os.path.exists(f"{folder}.log") or _owned_when_deleted(folder, wanted)
    if not owned and (_left(folder) or _size(f"{folder}.log")):
        put_aside(folder)
        folder.mkdir()
        there = There({})
    elif not owned:  # nothing but who held it
        for name in filter(says_who_holds, os.listdir(folder)):
            os.unlink(folder / name)
        there = There({})
    if os.path.exists(f"{folder}.{ANOTHER}-1") and not _left(folder):
        _take_back(folder, wanted)
        there = kept.there()
    kept.hold(there)


def _take_back(folder: Path, wanted: Identity) -> None:
    """Put what was set aside of `wanted`, when the log had lost that trial, back in the place of the empty `folder`."""
    for number in itertools.count(1):
        aside = folder.with_name(f"{folder.name}.{ANOTHER}-{number}")
        if not aside.is_dir():
            return
        if wanted.study and owner(aside) == wanted:
            shutil.rmtree(folder)
            aside.rename(folder)
            return


def _owned_when_deleted(folder: Path, wanted: Identity) -> bool:
    note = deletions.notes(folder.parent).get(int(folder.name))
    return note is None or note.configuration == wanted.configuration


def _left(folder: Path) -> list[str]:
    """What jobs have left in `folder`, whole."""
    return [name for name in os.listdir(folder) if not (says_who_holds(name) or name.endswith(PART))]


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _holder(kept: Checkpoints, there: There) -> _Holder | None:
    """What is said of who holds a folder; None if nothing is, or nothing that can be read."""
    if not there.jobs and not there.holder:
        return None
    name = job_of(there.lease) if there.jobs else OLD_HOLDER
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        said = bytes(kept.store.load(f"{kept.place}/{name}"))
        if there.jobs:
            whose = msgspec.json.decode(said, type=Identity)
            return _Holder(there.lease, whose.study, whose.configuration)
        if said.isdigit():  # as it was written before there were ids
            return _Holder(int(said))
        return msgspec.json.decode(said, type=_Holder)
    return None


def owner(folder: Path, if_empty: Identity = NOBODY) -> Identity:
    """Whose `folder` is, which is there; `if_empty` if there is nothing in it, or only what was never finished."""
    kept = inside(folder)
    there = kept.there()
    return _owner(folder, _holder(kept, there), there, if_empty)


def _owner(folder: Path, holder: _Holder | None, there: There, if_empty: Identity) -> Identity:
    if holder is not None:
        return holder.identity
    if there.states and (head := inside(folder).find().head) is not None:  # a power cut may take one, leave the other
        return Identity(head.study, head.configuration)
    return NOBODY if _left(folder) else if_empty


def put_aside(folder: Path) -> Path:
    """Move `folder` and its log, which are another trial's, out of the way, and say so; where the folder is now."""
    log = folder.with_suffix(".log")
    for number in itertools.count(1):
        aside = folder.with_name(f"{folder.name}.{ANOTHER}-{number}")
        aside_log = aside.with_name(f"{aside.name}.log")
        if not aside.exists() and not (log.exists() and aside_log.exists()):
            break
    if log.exists():  # first: what is broken off here is completed with the same number
        log.rename(aside_log)
    folder.rename(aside)
    logging.getLogger("rungwise").warning(
        "trial %d: its folder held files of another configuration or study; they were moved to %s",
        int(folder.name),
        aside,
    )
    return aside
