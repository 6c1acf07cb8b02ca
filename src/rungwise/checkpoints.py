"""A folder a trial, and in it the newest state of its training, written so that it is whole or not there.

The state before it is kept as well: a digest finds damage, and then training goes on from the one before. The job
that was given out last holds the folder; a worker that has been given up, but lives, can no longer write there.

A checkpoint is one file: a digest, the length of the head, the head (JSON: the resource of the state, and
the reports that led to it), and the user's state as cloudpickle wrote it. It is the user's
own file: loading one runs what it says, so load only checkpoints of studies that you trust.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import cloudpickle
import msgspec

from rungwise.events import Score

NAME = "checkpoint"
BEFORE = "checkpoint.before"
DAMAGED = "checkpoint.damaged"
HOLDER = "holder"
_DIGEST = 16


class Superseded(BaseException):
    """The job was given out again, to another worker; not an `Exception`, so not caught by chance."""


class Head(msgspec.Struct, frozen=True):
    """What a checkpoint says of itself: the state is that after `resource`; `reports` led to it.

    The reports, (resource, score, seconds), are those of the whole trial, so that those which a driver did
    not live to note can be sent again.
    """

    resource: int
    reports: list[tuple[int, Score | None, float]]


class Found(msgspec.Struct, frozen=True):
    """What is in a folder: the head and the pickled state of the newest checkpoint that is whole, if there is one.

    `damaged`: a newer one is there, but it is not what was written.
    """

    head: Head | None
    pickled: bytes | memoryview
    damaged: bool


def trial_folder(root: Path, trial: int) -> Path:
    """The folder of `trial` under `root`."""
    return root / f"{trial:06d}"


def hold(folder: Path, lease: int) -> None:
    """From here on only the job of `lease` may write checkpoints into `folder`; what another left half done goes."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{HOLDER}.{lease}.part"
    part.write_text(str(lease))
    part.replace(folder / HOLDER)
    for left in folder.glob(f"{NAME}.*.part"):
        left.unlink(missing_ok=True)


def save(folder: Path, head: Head, state: object, lease: int) -> None:
    """Put a checkpoint in the place of the one before, which is kept beside it; returns when it is durable.

    Raises `Superseded` if the job of another lease has begun in this folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    encoded = msgspec.json.encode(head)
    body = (len(encoded).to_bytes(8, "big") + encoded, cloudpickle.dumps(state, protocol=5))  # states can be large
    part = folder / f"{NAME}.{lease}.part"
    with part.open("wb") as file:
        file.write(_digest(*body))
        for piece in body:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    holder = folder / HOLDER
    if holder.exists() and holder.read_text() != str(lease):
        part.unlink(missing_ok=True)
        raise Superseded
    newest, before, kept = folder / NAME, folder / BEFORE, folder / f"{BEFORE}.part"
    if newest.exists():
        kept.unlink(missing_ok=True)
        try:
            os.link(newest, kept)  # so that there is a whole one under one of the names at any moment
        except OSError:  # a file system without links
            newest.replace(kept)
        kept.replace(before)
    part.replace(newest)
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


def read(folder: Path) -> Found:
    """The newest checkpoint in `folder` that is whole, and whether a newer one is damaged, or cannot be read."""
    damaged = False
    for name in (NAME, BEFORE):
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
        return Found(msgspec.json.decode(body[8:end], type=Head), body[end:], damaged)
    return Found(None, b"", damaged)


def set_aside(folder: Path) -> None:
    """Put the newest checkpoint, which is damaged, out of the way, so that it never takes the place of a whole one."""
    with contextlib.suppress(FileNotFoundError):  # it is out of the way already, and the one before is damaged too
        (folder / NAME).replace(folder / DAMAGED)


def state_of(found: Found) -> Any:
    """The user's state in a checkpoint that was found; None if there is none. It runs what the file says."""
    return None if found.head is None else cloudpickle.loads(found.pickled)


def delete(root: Path, trial: int) -> None:
    """Remove the folder of `trial`, if it is there."""
    shutil.rmtree(trial_folder(root, trial), ignore_errors=True)
