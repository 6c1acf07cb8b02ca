"""Has this user begun this study here? What a study's file names is code: whoever wrote the file says what is run.

Looking at a study runs none of it. Going on does, so it is trusted without asking only where this user began the
study, at this path, on this machine, from this folder, and the file still names the same. That is noted in the user's
own state folder when a study is begun, or gone on with by handing everything over. Imports `errors`, `events`, `words`,
`store`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from rungwise.errors import InputError
from rungwise.events import Created
from rungwise.store import in_words
from rungwise.words import shown

KEPT = 1_000  # notes; where there are more, those of studies that are gone are dropped


class Named(msgspec.Struct, frozen=True):
    """What the study `path` would have run or imported, in words: what its searcher imports, or with `how` what is run.

    `how` is what is noted of the last run.
    """

    path: Path
    created: Created
    names: list[str]
    how: Mapping[str, Any] | None = None


Ask = Callable[[Named], None]
"""Returns if what it is told may be run, and raises `InputError` if not."""


class _Note(msgspec.Struct, frozen=True):
    """What a study was when this user went on with it last: `made` and `run` are digests of what names code."""

    path: str
    id: str
    folder: str
    made: str
    run: str


def agreed(named: Named) -> None:
    """The answer of whoever trusts the file."""


def refuse(named: Named) -> None:
    """The answer of whoever does not say so. What is run is another's question: opening a study runs nothing."""
    if named.how is None:
        raise InputError(
            f"resuming {shown(named.path)} would import {shown(', '.join(named.names))}: if you trust it, use "
            "rw.Study.open(path, writable=True, trust=True), or pass it: rw.Study(space, …, searcher=…, path=path)"
        )


def runs(how: Mapping[str, Any]) -> list[str]:
    """What going on with a study would run, as it was run last."""
    command, where = how.get("command"), how.get("checkpoints")
    kept = [] if where is None else [f"what was pickled, with {in_words(where)} as the store of the checkpoints"]
    if isinstance(executor := how.get("executor"), Mapping):
        kept.append(f"the jobs in the executor {json.dumps(dict(executor))}")
    if isinstance(command, list):
        return [f"the command {' '.join(map(str, command))}", *kept]
    return [f"the function {how['function']}", *kept] if "function" in how else kept


def wanting(named: Named) -> str | None:
    """Why `named` is not trusted without asking; None if this user has begun it here, and it is as it was."""
    path = os.path.realpath(named.path)
    note = _read(path)
    if note is None or (note.path, note.id) != (path, named.created.id):
        return "you did not begin it here"
    if note.made != _made(named.created) or (named.how is not None and note.run != _run(named.how)):
        return "it names other code than when you last resumed it"
    if note.folder != os.getcwd():
        return f"you began it in {note.folder}, where the names may mean something else"
    return None


def note(path: Path, created: Created, how: Mapping[str, Any]) -> None:
    """Note that this user goes on with the study `path`. Where there can be no note, it is asked each time."""
    real = os.path.realpath(path)
    new = _Note(real, created.id, os.getcwd(), _made(created), _run(how))
    with contextlib.suppress(OSError, RuntimeError):
        folder = _folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _private(folder) or _read(real) == new:
            return
        _drop_some(folder)
        target = _place(folder, real)
        begun = target.with_suffix(f".{os.getpid()}")
        begun.write_bytes(msgspec.json.encode(new))
        begun.replace(target)


def _read(path: str) -> _Note | None:
    try:
        folder = _folder()
        if not _private(folder):
            return None
        return msgspec.json.decode(_place(folder, path).read_bytes(), type=_Note)
    except (OSError, RuntimeError, msgspec.MsgspecError):
        return None


def _folder() -> Path:
    """The notes' folder, as the XDG base directories have it; `RuntimeError` if this user has no home."""
    given = os.environ.get("XDG_STATE_HOME", "")
    state = Path(given) if os.path.isabs(given) else Path.home() / ".local" / "state"
    return state / "rungwise" / "begun"


def _private(folder: Path) -> bool:
    """Whether nobody else can have written there."""
    seen = folder.stat()
    return seen.st_uid == os.getuid() and not stat.S_IMODE(seen.st_mode) & 0o022


def _place(folder: Path, path: str) -> Path:
    return folder / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"


def _drop_some(folder: Path) -> None:
    notes = list(folder.iterdir())
    for old in notes if len(notes) > KEPT else ():
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            if not os.path.exists(msgspec.json.decode(old.read_bytes(), type=_Note).path):
                old.unlink()


def _made(created: Created) -> str:
    return _digest([created.space, created.scheduler, created.searcher])


def _run(how: Mapping[str, Any]) -> str:
    where = [how["checkpoints"]] if "checkpoints" in how else []
    engine = [how["executor"]] if isinstance(how.get("executor"), Mapping) else []
    return _digest([how.get("function"), how.get("command"), *where, *engine])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
