"""What does a checkpoint say of itself, and is it what was written? Its head and its digest tell.

It is the digest, the length of the head, the head (JSON: the resource of the state, whose it is, and the reports that
led to it), and the user's state as cloudpickle wrote it. It is the user's own: loading one runs what it says, so load
only checkpoints of studies that you trust. May import `events`, `pieces` and `store`.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any

import cloudpickle
import msgspec

from rungwise.events import Score
from rungwise.pieces import OLD_REPORTS
from rungwise.store import Bytes

_DIGEST = 16


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


class Reports(msgspec.Struct, frozen=True, array_like=True):
    """A piece with `count` reports in it, and its checksum."""

    name: str
    count: int
    checksum: int


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a checkpoint says of itself: the state is that after `resource`; the reports led to it.

    The reports, (resource, score, seconds), are those of the whole trial, so that those which a driver did not live to
    note can be sent again: first those in the pieces `earlier` (`rungwise.history`), then `reports`. `study` and
    `configuration` say whose it is. `score` is the one at `resource`, where it is the best so far. Before there were
    `earlier` pieces, the first `journal` bytes, with `checksum`, of one file had those that came first.
    """

    resource: int
    reports: list[tuple[int, Score | None, float]]
    journal: int = 0
    checksum: int = 0
    study: str = ""
    configuration: str = ""
    score: float | None = None
    earlier: list[Reports] = []

    @property
    def needs(self) -> frozenset[str]:
        """The names of the pieces in which the earlier reports are."""
        return frozenset([OLD_REPORTS] if self.journal else [piece.name for piece in self.earlier])


class Found(msgspec.Struct, frozen=True):
    """The newest checkpoint that is whole and one's own, if there is one: its head and the pickled state.

    `damaged` names newer ones that are not what was written, `foreign` those that are of another trial.
    """

    head: Head | None
    pickled: Bytes
    damaged: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()

    @property
    def state(self) -> Any:
        """The user's state; None if there is none. It runs what was saved."""
        return None if self.head is None else cloudpickle.loads(self.pickled)


def written(head: Head, pickled: Bytes) -> list[Bytes]:
    """A checkpoint, in pieces that come one after the other: states can be large."""
    encoded = msgspec.json.encode(head)
    front = len(encoded).to_bytes(8, "big") + encoded
    return [_digest(front, pickled), front, pickled]


def read(data: Bytes) -> Found | None:
    """What `written` wrote; None if it is anything else."""
    data = memoryview(data)
    body = data[_DIGEST:]
    if len(body) < 8 or _digest(body) != data[:_DIGEST]:
        return None
    end = 8 + int.from_bytes(body[:8], "big")
    return Found(msgspec.json.decode(body[8:end], type=Head), body[end:])


def checksum(lines: bytes) -> int:
    """Of reports."""
    return zlib.crc32(lines)


def _digest(*pieces: Bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=_DIGEST)
    for piece in pieces:
        digest.update(piece)
    return digest.digest()
