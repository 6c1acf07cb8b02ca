"""Which state is the answer's? The newest of a trial, or under `score="best"` the one of its best score.

May import `storage`, `store` and what these import.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from rungwise.checkpoints import Checkpoints
from rungwise.events import Config
from rungwise.heads import identity
from rungwise.storage import Storage
from rungwise.store import as_store, in_words


def checkpoints_of(study: str, trial: int, config: Config, folder: Path, where: Any) -> Checkpoints:
    """Those of a trial whose own folder is `folder`: there, or in the store that `where` is or notes."""
    storage = Storage(folder.parent, None if where is None else as_store(where))
    return storage.checkpoints(trial, identity(study, config))


def newest_state(kept: Checkpoints) -> Any:
    """The user's state in the newest checkpoint, or None. It runs what was saved."""
    found = kept.find()
    if found.foreign:
        logging.getLogger("rungwise").warning(
            "%s holds a checkpoint of another configuration or study; it was not loaded", _place(kept)
        )
    return found.state


def best_state(kept: Checkpoints, peak: int) -> Any:
    """As `newest_state`, of the best score among those saved; if that is missed, the newest.

    `peak` is the resource of the best score: it is said if the state is of another one.
    """
    best = kept.best()
    head = best.head or kept.find().head
    if head is not None and head.resource != peak:
        logging.getLogger("rungwise").warning(
            "%s: the checkpoint of the best score, at %d, is %s; loaded is the %s, the state at %d",
            _place(kept),
            peak,
            "damaged" if best.damaged else "not there",
            "newest" if best.head is None else "best of those saved",
            head.resource,
        )
    return newest_state(kept) if best.head is None else best.state


def best_saved(kept: Checkpoints) -> int | None:
    """The resource of what `best_state` gives; None if there is none."""
    head = kept.best().head or kept.find().head
    return None if head is None else head.resource


def _place(kept: Checkpoints) -> str:
    path = getattr(kept.store, "path", None)
    return f"{in_words(path or type(kept.store).__name__)}/{kept.place}"
