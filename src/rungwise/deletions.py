"""Whose checkpoints did we delete, and why? One line for each, in a file in the folder of the trials.

If such a trial is promoted after all, because the total of trials was raised, it can be said why it trains from the
start. Imports nothing of ours.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

FILE = "deleted"


class Deleted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The checkpoints of `trial` were deleted when the total was `trials` (None: there was none), or it had failed.

    `configuration` is the digest of its configuration, as checkpoints carry it.
    """

    trial: int
    configuration: str
    trials: int | None = None
    failed: bool = False

    @property
    def why(self) -> str:
        """In words."""
        if self.failed:
            return "after it had failed"
        how_many = "however many trials come" if self.trials is None else f"with trials={self.trials}"
        return f"as out of reach {how_many}"


def note(root: Path, deleted: Sequence[Deleted]) -> None:
    """Add to the notes in `root`, durably."""
    append(root / FILE, b"".join(msgspec.json.encode(one) + b"\n" for one in deleted))


def notes(root: Path) -> dict[int, Deleted]:
    """What was deleted last of each trial."""
    found: dict[int, Deleted] = {}
    decode = msgspec.json.Decoder(Deleted).decode
    with contextlib.suppress(FileNotFoundError):
        for line in (root / FILE).read_bytes().splitlines():
            with contextlib.suppress(msgspec.MsgspecError):  # the driver died while it wrote this line
                one = decode(line)
                found[one.trial] = one
    return found


def append(path: Path, lines: bytes) -> None:
    """Add whole lines to a file, durably; what a write that broke off has left there stays a line of its own."""
    if not lines:
        return
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW  # a link that someone has put there leads elsewhere
    with open(os.open(path, flags, 0o666), "a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            lines = lines if file.read() == b"\n" else b"\n" + lines
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())
