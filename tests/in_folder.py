"""The checkpoints of a trial in its own folder, as the tests hold, save and read them."""

from __future__ import annotations

from pathlib import Path

from rungwise.folders import claim, inside
from rungwise.heads import NOBODY, Found, Head, Identity
from rungwise.pieces import There


def hold(folder: Path, lease: int, wanted: Identity = NOBODY) -> None:
    claim(folder, lease, wanted)


def begin(folder: Path, lease: int, wanted: Identity = NOBODY) -> None:
    kept = inside(folder, wanted, lease)
    if kept.there().lease != lease:
        claim(folder, lease, wanted)
    kept.begin()


def save(folder: Path, head: Head, state: object, lease: int) -> None:
    inside(folder, lease=lease).save(head, state)


def find(folder: Path, wanted: Identity = NOBODY) -> Found:
    return inside(folder, wanted).find()


def there(folder: Path) -> There:
    return inside(folder).there()


def states(folder: Path) -> list[Path]:
    """The files of the checkpoints, from the oldest to the newest."""
    return [folder / piece.name for piece in there(folder).states]


def newest(folder: Path) -> Path:
    return states(folder)[-1]
