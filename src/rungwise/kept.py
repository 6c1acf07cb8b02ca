"""Where does a run keep the checkpoints of its study? Where they are, or where it is told to if there are none yet.

May import everything below `run`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rungwise.errors import InputError
from rungwise.events import Created
from rungwise.log import StudyError
from rungwise.options import RunOptions
from rungwise.storage import SESSIONS, Storage, study_place
from rungwise.store import STORES, Store, as_store, in_words, noted
from rungwise.study import Study
from rungwise.trust import Named, wanting
from rungwise.words import shown


def refuse_unknown(study: Study, options: RunOptions) -> None:
    """Raise `InputError` if only the study's file says where its checkpoints are, and this user did not begin it here.

    Going on there would load pickles, and show this machine's credentials to the server that the file names. The class
    of a custom store is never taken from the file.
    """
    where = study.state.how.get("checkpoints")
    if where is None or options.checkpoints is not None or where == _beside(study):
        return
    if isinstance(where, Mapping) and STORES.is_foreign(where.get("name")):
        raise InputError(
            f"the checkpoints of {study.path} are in a custom store, {shown(in_words(where))}: pass it as "
            "checkpoints=, or use rungwise resume"
        )
    if (why := _distrusted(study, study.state.how_before)) is not None:
        raise InputError(
            f"the checkpoints of {study.path} are in {shown(in_words(where))}, as its file says, and {shown(why)}: if "
            "you trust that place, pass it as checkpoints="
        )


def _distrusted(study: Study, how: Mapping[str, Any]) -> str | None:
    """Why what the file says of a run, `how`, is not believed; None if this user has begun the study here."""
    _, created = next(study.facts())
    assert study.path is not None
    assert isinstance(created, Created)
    return wanting(Named(study.path, created, [], how))


def beside(study: Study, options: RunOptions) -> RunOptions:
    """`options` with the checkpoints in the bucket that the log is copied to, unless they are elsewhere already."""
    if options.checkpoints is not None or study.state.how.get("checkpoints") is not None:
        return options
    return msgspec.structs.replace(options, checkpoints=_beside(study))


def _beside(study: Study) -> str | None:
    """The bucket that the log of `study` is copied to, if there is one."""
    return None if study.address is None else study.address.rpartition("/")[0]


def storage_of(study: Study, options: RunOptions) -> Storage:
    """Where a run of `study` keeps files and checkpoints; it is noted if it is new.

    Raises `InputError` if it is told of another place than that where there are checkpoints of this study already, and
    `StudyError` if they are gone from there.
    """
    assert study.folder is not None
    before = study.state.how.get("checkpoints")
    given = before if options.checkpoints is None else options.checkpoints
    if given is None:
        return Storage(study.folder)
    storage = Storage(study.folder, as_store(given))
    place = study_place(study.id)
    if (now := noted(given)) != before:
        _refuse_to_leave(study, before)
        study.decider.opened(study.state.how | {"checkpoints": now})
    elif study.path is not None and not storage.store.list(f"{place}/{SESSIONS}"):
        raise StudyError(
            f"the checkpoints of {study.path} should be in {in_words(now)}, but nothing of this study is there: mount "
            "it or put it back, or pass the new place (checkpoints=…, --checkpoints)"
        )
    study.state.store = options.checkpoints if isinstance(options.checkpoints, Store) else None
    return storage


def looked_at(study: Study) -> Storage:
    """Where the files and checkpoints of `study` are, for who looks at it.

    Raises `InputError` if they are in a store of a class that only its file names, of which looking imports nothing, or
    in a bucket that only its file names, whose server would be shown this machine's credentials.
    """
    assert study.folder is not None
    where = study.state.how.get("checkpoints")
    if isinstance(where, Mapping) and STORES.is_foreign(where.get("name")):
        raise InputError(
            f"the checkpoints of {study.path} are in a custom store, {in_words(where)}: who trains is told there"
        )
    elsewhere = isinstance(where, Mapping) or (isinstance(where, str) and "://" in where)
    if elsewhere and where != _beside(study) and (why := _distrusted(study, study.state.how)) is not None:
        raise InputError(f"{study.path} says that its checkpoints are in {shown(in_words(where))}, and {shown(why)}")
    return Storage(study.folder, None if where is None else as_store(where))


def _refuse_to_leave(study: Study, before: Any) -> None:
    """Raise `InputError` if there are checkpoints of `study` in what was noted `before`, or beside it."""
    assert study.folder is not None
    how = ""
    if before is None:
        left, where = any(study.folder.glob("[0-9]*/checkpoint*")), str(study.folder)
    else:
        left, where = bool(as_store(before).list(study_place(study.id))), f"{in_words(before)}/{study.id}"
        moves = isinstance(before, str) and "://" not in before
        how = ", or move that folder to the new place first" if moves else ""
    if left:
        raise InputError(f"the checkpoints of this study are in {where}; leave checkpoints= out to use them{how}")
