"""Is the study in this file the one that the caller means? Of the same space, parts and seed, and of the same function.

Imports `events`, `log`, `names` and `values` only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rungwise.events import Created, Fact
from rungwise.log import StudyError
from rungwise.names import InputError
from rungwise.values import same

REMEMBERED = ("earlier", "left_out")
"""Settings of a searcher that say what an earlier study had come to when this one was begun; it may have gone on."""


def agreed(path: Path | None, wanted: Created, found: Fact) -> Created:
    """`found`, the first fact of the file `path`, if it begins a study such as `wanted`.

    Raises `StudyError` if it begins no study, `InputError` with the first difference if it is another.
    """
    if not isinstance(found, Created):
        raise StudyError(f"{path} does not begin as a study does; name another file")
    for what in ("space", "mode", "score", "seed", "searcher", "scheduler"):
        new, old = _setting(wanted, what), _setting(found, what)
        if same(new, old):
            continue
        if isinstance(new, dict):
            name = next(key for key in [*new, *old] if not same(new.get(key), old.get(key)))
            what, new, old = f"{what}, {name!r}", new.get(name), old.get(name)
        raise InputError(
            f"{path} is a study of another {what}: {old!r} there, {new!r} now; give it the same, or begin another file"
        )
    for what in ("function", "command"):
        new, old = wanted.run.get(what), found.run.get(what)
        if new is not None and old is not None and new != old:
            raise InputError(
                f"{path} is a study of another {what}: {old!r} there, {new!r} now; begin another file, or, "
                f"if it has only moved, say: rungwise resume {path} --function FILE.py:NAME"
            )
    return found


def _setting(created: Created, what: str) -> Any:
    value = getattr(created, what)
    if what not in ("searcher", "scheduler"):
        return value
    kept = {name: value[name] for name in value if name not in REMEMBERED}
    if isinstance(name := kept.get("name"), str) and ":" in name:  # a script is `__main__`, and imported it is not
        kept["name"] = name.rpartition(":")[2]
    return kept
