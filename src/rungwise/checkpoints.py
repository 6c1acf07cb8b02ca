"""A folder a trial, and in it the newest state of its training, written so that it is whole or not there.

The state before it is kept as well: a digest finds damage, and then training goes on from the one before. Where states
are large (`LARGE`) that is so while a job runs; at its end the newest is read back whole, and the one before goes.
In a study with `score="best"` the state of the best score keeps a name of its own beside them.

A folder belongs to one configuration of one study. After the end of a log was lost, a searcher that learns may draw
trial N anew, another one, and its folder must not give it the state and the scores of the first: it is put aside.
Within that, the job that was given out last, under the greatest lease, holds the folder; a worker that has been given
up, but lives, can no longer write there, and one that begins late, or a second time, is refused.

A checkpoint is one file: a digest, the length of the head, the head (JSON: the resource of the state, whose it is, and
the reports that led to it), and the user's state as cloudpickle wrote it. It is the user's
own file: loading one runs what it says, so load only checkpoints of studies that you trust.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import msgspec

from rungwise import deletions
from rungwise.events import Score

NAME = "checkpoint"
BEFORE = "checkpoint.before"
BEST = "checkpoint.best"
DAMAGED = "checkpoint.damaged"
HOLDER = "holder"
BEGUN = ".begun"
SESSION = "session."
ANOTHER = "of-another"
JOBS = 1 << 48  # leases of a session; the leases of drivers that did not number their sessions were below it
LARGE = 1 << 20  # bytes from which on two copies of a paused trial's state would be felt
_DIGEST = 16


class Superseded(BaseException):
    """The job was given out or begun again, elsewhere; not an `Exception`, so not caught by chance."""


class Identity(msgspec.Struct, frozen=True):
    """Whose a checkpoint or a folder is: the id of the study, and a digest of the trial's configuration.

    Both are empty in what was written before there were ids; that is of the studies that have none.
    """

    study: str = ""
    configuration: str = ""

    def owns(self, other: Identity) -> bool:
        """Whether what `other` names may be taken for this one's own."""
        if self.study != other.study:
            return False
        return self.configuration == other.configuration or not (self.study or other.configuration)


NOBODY = Identity()


def identity(study: str, config: Mapping[str, Any]) -> Identity:
    """The identity of the trial of `config` in the study with the id `study`.

    >>> identity("ab", {"x": 1, "y": 2}) == identity("ab", {"y": 2, "x": 1}) != identity("ab", {"x": 1, "y": 2.0})
    True
    """
    canonical = json.dumps(config, sort_keys=True).encode()
    return Identity(study, hashlib.blake2b(canonical, digest_size=8).hexdigest())


class Head(msgspec.Struct, frozen=True):
    """What a checkpoint says of itself: the state is that after `resource`; the reports led to it.

    The reports, (resource, score, seconds), are those of the whole trial, so that those which a driver did
    not live to note can be sent again: the first `journal` bytes, with the checksum `checksum`, of the file beside it
    (`rungwise.history`), then `reports`. `study` and `configuration` say whose it is. `score` is the one at `resource`,
    where it is the best so far and the state is kept for that.
    """

    resource: int
    reports: list[tuple[int, Score | None, float]]
    journal: int = 0
    checksum: int = 0
    study: str = ""
    configuration: str = ""
    score: float | None = None


class Found(msgspec.Struct, frozen=True):
    """What is in a folder: the head and the pickled state of the newest checkpoint that is whole, if there is one.

    `damaged`: a newer one is there, but it is not what was written. `foreign` names those that are of another trial.
    """

    head: Head | None
    pickled: bytes | memoryview
    damaged: bool
    foreign: tuple[str, ...] = ()


class _Holder(msgspec.Struct, frozen=True):
    lease: int
    study: str = ""
    configuration: str = ""


def trial_folder(root: Path, trial: int) -> Path:
    """The folder of `trial` under `root`."""
    return root / f"{trial:06d}"


def trial_of(name: str) -> int | None:
    """The trial whose folder is called `name`; None if it is another thing, or was put aside."""
    return int(name) if len(name) >= 6 and name.isascii() and name.isdigit() else None


def leases(root: Path, sessions: int = 0) -> Iterator[int]:
    """The leases of a driver that begins now: each is greater than those before, and those of all drivers before.

    The number of its session is taken with the first, by an exclusive creation under `root`: so no two drivers have the
    same, though the end of a study's log was lost, or salvaged copies share the folder. It is above the `sessions` that
    the log has.
    """
    root.mkdir(parents=True, exist_ok=True)
    taken = [name.removeprefix(SESSION) for name in os.listdir(root) if name.startswith(SESSION)]
    session = 1 + max([sessions, *map(int, filter(str.isdecimal, taken))])
    while not _create(f"{root}/{SESSION}{session}"):
        session += 1
    _sync_folder(root)
    yield from itertools.count(session * JOBS)


def begin(folder: Path, lease: int, wanted: Identity = NOBODY) -> None:
    """The first act of the job of `lease`: it holds `folder`, and nobody begins it a second time.

    Raises `Superseded` if it was begun before, or the job of a later lease holds the folder.
    """
    if _holder(folder) != _Holder(lease, wanted.study, wanted.configuration):
        hold(folder, lease, wanted)
    if not _create(f"{folder}/{HOLDER}.{lease}{BEGUN}"):
        raise Superseded


def hold(folder: Path, lease: int, wanted: Identity = NOBODY) -> None:
    """From here on only the job of `lease` may write checkpoints into `folder`; what another left half done goes.

    What is there of another configuration or study is put aside first, as a whole, and said; what was put aside before,
    and is of this very configuration, is taken back.
    Raises `Superseded` if the job of a later lease of the same study holds it.
    """
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        holder = _holder(folder)
        if holder is not None and holder.study == wanted.study and holder.lease > lease:
            raise Superseded from None
        there, owned = True, wanted.owns(owner(folder, wanted))
    else:
        there, owned = False, not os.path.exists(f"{folder}.log") or _owned_when_deleted(folder, wanted)
    if not owned and _holds_something(folder):
        put_aside(folder)
        folder.mkdir()
    if os.path.exists(f"{folder}.{ANOTHER}-1") and not _left(folder):
        there = _take_back(folder, wanted) or there
    if there:
        for left in os.listdir(folder):
            half_done = left.startswith(f"{NAME}.") and left.endswith(".part")
            if half_done or (left.endswith(BEGUN) and left != f"{HOLDER}.{lease}{BEGUN}"):
                _unlink(f"{folder}/{left}")
    _write_holder(folder, lease, wanted)


def _take_back(folder: Path, wanted: Identity) -> bool:
    """Put what was set aside of `wanted`, when the log had lost that trial, back in the place of the empty `folder`."""
    for number in itertools.count(1):
        aside = folder.with_name(f"{folder.name}.{ANOTHER}-{number}")
        if not aside.is_dir():
            return False
        if wanted.study and owner(aside) == wanted:
            shutil.rmtree(folder)
            aside.rename(folder)
            return True
    raise AssertionError("there is a number that no folder has")


def _owned_when_deleted(folder: Path, wanted: Identity) -> bool:
    note = deletions.notes(folder.parent).get(int(folder.name))
    return note is None or note.configuration == wanted.configuration


def _holds_something(folder: Path) -> bool:
    """Whether a job has left anything in `folder` or its log."""
    return bool(_left(folder) or _size(f"{folder}.log"))


def _left(folder: Path) -> list[str]:
    """What jobs have left in `folder`, whole."""
    return [name for name in os.listdir(folder) if not (says_who_holds(name) or name.endswith(".part"))]


def says_who_holds(name: str) -> bool:
    """Whether the file `name` in a trial's folder tells of leases alone."""
    return name == HOLDER or (name.startswith(f"{HOLDER}.") and name.endswith((BEGUN, ".part")))


def _write_holder(folder: Path, lease: int, wanted: Identity) -> None:
    part = f"{folder}/{HOLDER}.{lease}.part"
    with open(part, "wb") as file:
        file.write(msgspec.json.encode(_Holder(lease, wanted.study, wanted.configuration)))
    os.replace(part, f"{folder}/{HOLDER}")


def _holder(folder: Path) -> _Holder | None:
    """What the file says of who holds `folder`; None if there is none, or none that can be read."""
    try:
        with open(f"{folder}/{HOLDER}", "rb") as file:
            said = file.read()
        if said.isdigit():  # as it was written before there were ids
            return _Holder(int(said))
        return msgspec.json.decode(said, type=_Holder)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def owner(folder: Path, if_empty: Identity = NOBODY) -> Identity:
    """Whose `folder` is, which is there; `if_empty` if there is nothing in it, or only what was never finished."""
    if (holder := _holder(folder)) is not None:
        return Identity(holder.study, holder.configuration)
    if (head := read(folder).head) is not None:  # a power cut may take the one and leave the other
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
        "trial %d: what was in its folder is of another configuration or study, and is not used; it is in %s now",
        int(folder.name),
        aside,
    )
    return aside


def check_held(folder: Path, lease: int) -> bool:
    """Raise `Superseded` if the job of another lease has begun in `folder`; whether one has begun at all."""
    holder = _holder(folder)
    if holder is not None and holder.lease != lease:
        raise Superseded
    return holder is not None


def save(folder: Path, head: Head, state: object, lease: int) -> None:
    """Put a checkpoint in the place of the one before, which is kept beside it; returns when it is durable.

    With a score in its head it becomes the best one too, and that first: what is lost in between is trained again.
    Where the newest is large, the one before it makes room first, so that there are never three.
    Raises `Superseded` if the job of another lease has begun in this folder.
    """
    newest, before, kept = (f"{folder}/{name}" for name in (NAME, BEFORE, f"{BEFORE}.part"))
    pickled = cloudpickle.dumps(state, protocol=5)
    size = _size(newest)
    if size is not None and size >= LARGE:
        check_held(folder, lease)
        _unlink(before)
    part = _write(folder, head, pickled, lease)
    if head.score is not None:
        _second_name(part, f"{folder}/{BEST}")
    if size is not None:
        _unlink(kept)
        try:
            os.link(newest, kept)  # so that there is a whole one under one of the names at any moment
        except OSError:  # a file system without links
            os.replace(newest, kept)
        os.replace(kept, before)
    os.replace(part, newest)
    _sync_folder(folder)


def keep_newest(folder: Path, head: Head, lease: int) -> None:
    """Keep the newest checkpoint as the best one too, with `head`: it was saved before its score was reported."""
    found = read(folder, Identity(head.study, head.configuration))
    if found.head is not None and found.head.resource == head.resource:
        os.replace(_write(folder, head, found.pickled, lease), f"{folder}/{BEST}")
        _sync_folder(folder)


def _write(folder: Path, head: Head, pickled: bytes | memoryview, lease: int) -> str:
    """A whole checkpoint in a file that has not its name yet; it is on the disk, and `lease` holds the folder."""
    encoded = msgspec.json.encode(head)
    body = (len(encoded).to_bytes(8, "big") + encoded, pickled)  # in two, as states can be large
    os.makedirs(folder, exist_ok=True)
    part = f"{folder}/{NAME}.{lease}.part"
    with open(part, "wb") as file:
        file.write(_digest(*body))
        for piece in body:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    try:
        held = check_held(folder, lease)
    except Superseded:
        _unlink(part)
        raise
    if not held and head.study:  # the function has emptied its folder
        _write_holder(folder, lease, Identity(head.study, head.configuration))
    return part


def _second_name(path: str, name: str) -> None:
    """Give the file `path` the name `name` too, in the place of what has it."""
    part = f"{name}.part"
    _unlink(part)
    try:
        os.link(path, part)
    except OSError:  # a file system without links
        shutil.copyfile(path, part)
        with open(part, "rb") as file:
            os.fsync(file.fileno())
    os.replace(part, name)


def settle(folder: Path) -> None:
    """At the end of a job: where the newest checkpoint is large, and is on the disk as it was written, it is enough."""
    newest, before = f"{folder}/{NAME}", f"{folder}/{BEFORE}"
    if (_size(newest) or 0) < LARGE or not os.path.exists(before):
        return
    with contextlib.suppress(OSError), open(newest, "rb") as file:  # one that cannot be read is not enough
        if hasattr(os, "posix_fadvise"):  # read what the disk has, not what memory has of it
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        wanted, digest = file.read(_DIGEST), hashlib.blake2b(digest_size=_DIGEST)
        while piece := file.read(LARGE):
            digest.update(piece)
        if digest.digest() == wanted:
            _unlink(before)


def _size(path: str) -> int | None:
    """Bytes in the file; None if there is none."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None


def _create(path: str) -> bool:
    """Whether the empty file `path` was not there and is now: of all who ask this at once, of one."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        return False
    return True


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _sync_folder(folder: Path) -> None:
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _digest(*pieces: bytes | memoryview) -> bytes:
    digest = hashlib.blake2b(digest_size=_DIGEST)
    for piece in pieces:
        digest.update(piece)
    return digest.digest()


def read(folder: Path, wanted: Identity | None = None, names: Sequence[str] = (NAME, BEFORE)) -> Found:
    """The newest checkpoint in `folder` that is whole, and of `wanted` if that is given; what stood in its way."""
    damaged, foreign = False, []
    for name in names:
        try:
            data = memoryview((folder / name).read_bytes())
        except FileNotFoundError:
            continue
        except OSError:
            damaged = True
            continue
        body = data[_DIGEST:]
        if len(body) < 8 or _digest(body) != data[:_DIGEST]:
            damaged = True
            continue
        end = 8 + int.from_bytes(body[:8], "big")
        head = msgspec.json.decode(body[8:end], type=Head)
        if wanted is not None and not wanted.owns(Identity(head.study, head.configuration)):
            foreign.append(name)
            continue
        return Found(head, body[end:], damaged, tuple(foreign))
    return Found(None, b"", damaged, tuple(foreign))


def set_aside(folder: Path) -> None:
    """Put the newest checkpoint, which is damaged, out of the way, so that it never takes the place of a whole one."""
    with contextlib.suppress(FileNotFoundError):  # it is out of the way already, and the one before is damaged too
        (folder / NAME).replace(folder / DAMAGED)


def set_foreign_aside(folder: Path, names: tuple[str, ...]) -> None:
    """Put the checkpoints `names` in `folder`, which are of another trial, out of the way; they are not deleted."""
    for name in names:
        aside = (folder / f"{name}.{ANOTHER}-{number}" for number in itertools.count(1))
        (folder / name).rename(next(path for path in aside if not path.exists()))


def state_of(found: Found) -> Any:
    """The user's state in a checkpoint that was found; None if there is none. It runs what the file says."""
    return None if found.head is None else cloudpickle.loads(found.pickled)


def state_in(folder: Path, wanted: Identity) -> Any:
    """The user's state in the newest checkpoint of `wanted` in `folder`, or None. It runs what the file says."""
    found = read(folder, wanted)
    if found.foreign:
        logging.getLogger("rungwise").warning(
            "%s holds a checkpoint of another configuration or study, which is not loaded", folder
        )
    return state_of(found)


def best_state_in(folder: Path, wanted: Identity, peak: int) -> Any:
    """As `state_in`, of the best score among those saved; if that is missed, the newest.

    `peak` is the resource of the best score: it is said if the state is of another one.
    """
    best = read(folder, wanted, (BEST,))
    head = best.head or read(folder, wanted).head
    if head is not None and head.resource != peak:
        logging.getLogger("rungwise").warning(
            "%s: the checkpoint of the best score, at %d, is %s; loaded is the %s, the state at %d",
            folder,
            peak,
            "damaged" if best.damaged else "not there",
            "newest" if best.head is None else "best of those saved",
            head.resource,
        )
    return state_in(folder, wanted) if best.head is None else state_of(best)


def best_saved(folder: Path, wanted: Identity) -> int | None:
    """The resource of what `best_state_in` gives; None if there is none."""
    head = read(folder, wanted, (BEST, NAME, BEFORE)).head
    return None if head is None else head.resource
