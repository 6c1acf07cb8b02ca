"""A folder a trial, and in it the newest state of its training, written so that it is whole or not there.

A checkpoint is one file: a digest, the length of the head, the head (JSON: the resource of the state, and
the reports that led to it), and the user's state as cloudpickle wrote it. It is the user's
own file: loading one runs what it says, so load only checkpoints of studies that you trust.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import cloudpickle
import msgspec

NAME = "checkpoint"
_DIGEST = 16


class Head(msgspec.Struct, frozen=True):
    """What a checkpoint says of itself: the state is that after `resource`; `reports` led to it.

    The reports, (resource, score, seconds), are those of the whole trial, so that those which a driver did
    not live to note can be sent again.
    """

    resource: int
    reports: list[tuple[int, float | None, float]]


def trial_folder(root: Path, trial: int) -> Path:
    """The folder of `trial` under `root`."""
    return root / f"{trial:06d}"


def save(folder: Path, head: Head, state: object) -> None:
    """Put a checkpoint in the place of the one before; returns when it is durable."""
    folder.mkdir(parents=True, exist_ok=True)
    encoded = msgspec.json.encode(head)
    body = len(encoded).to_bytes(8, "big") + encoded + cloudpickle.dumps(state, protocol=5)
    part = folder / f"{NAME}.part"
    with part.open("wb") as file:
        file.write(hashlib.blake2b(body, digest_size=_DIGEST).digest())
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / NAME)
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read(folder: Path) -> tuple[Head, bytes] | None:
    """The head and the pickled state of the checkpoint in `folder`; None if there is none that is whole."""
    try:
        data = (folder / NAME).read_bytes()
    except FileNotFoundError:
        return None
    body = data[_DIGEST:]
    if len(body) < 8 or hashlib.blake2b(body, digest_size=_DIGEST).digest() != data[:_DIGEST]:
        return None
    end = 8 + int.from_bytes(body[:8], "big")
    return msgspec.json.decode(body[8:end], type=Head), body[end:]


def load(folder: Path) -> tuple[Head, Any] | None:
    """The head and the state of the checkpoint in `folder`; None if there is none that is whole."""
    if (found := read(folder)) is None:
        return None
    return found[0], cloudpickle.loads(found[1])


def delete(root: Path, trial: int) -> None:
    """Remove the folder of `trial`, if it is there."""
    shutil.rmtree(trial_folder(root, trial), ignore_errors=True)
