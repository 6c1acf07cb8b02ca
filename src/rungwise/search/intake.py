"""Whose searcher is it, and is what it proposes of this space? What stands between a searcher and a study.

May import `events`, `errors`, `space`, `validation` and `search`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from rungwise.errors import InputError
from rungwise.events import Config
from rungwise.parts import OURS
from rungwise.search import Searcher
from rungwise.space import Space
from rungwise.validation import copied


def own(searcher: Searcher) -> Searcher:
    """A copy of `searcher` that a study can tell its facts, so that no other study, nor the user's object, hears them.

    Raises `InputError` if it cannot be copied.
    """
    try:
        return copy.deepcopy(searcher)
    except Exception as error:  # whatever a searcher of the user's holds: generators, locks, open files
        raise InputError(
            f"a study uses its own copy of the searcher, but {called(searcher)} cannot be copied ({error}); keep its "
            "state in lists and dicts, or give it a __deepcopy__"
        ) from None


def is_ours(searcher: Searcher) -> bool:
    """Whether `searcher`, and the one that it wraps, came with us: those change nothing that they are told."""
    inner = getattr(searcher, "searcher", None)
    return type(searcher).__module__.startswith(OURS) and (inner is None or is_ours(inner))


def checked(proposed: object, searcher: Searcher, space: Space) -> Config:
    """What `searcher` proposed as a configuration of `space`, or an `InputError` that names both.

    One of ours too may have been made for another space, and the log has no place for what it proposes.
    """
    if space.surely_has(proposed):
        return copied(proposed)
    if not isinstance(proposed, Mapping):
        raise InputError(f"{called(searcher)} must propose a dict of values or None, not {proposed!r:.80}")
    try:
        return space.check(proposed)
    except InputError as error:
        hint = "; was it made for another space?" if is_ours(searcher) else ""
        raise InputError(f"{called(searcher)} proposed {proposed!r:.200}, which does not fit: {error}{hint}") from None


def called(searcher: Searcher) -> str:
    """Which one; where ours wrap another, that."""
    return f"the searcher {type(innermost(searcher)).__qualname__}"


def innermost(searcher: Searcher) -> Searcher:
    """The one that others of ours wrap, or itself."""
    while type(searcher).__module__.startswith(OURS) and hasattr(searcher, "searcher"):
        searcher = searcher.searcher
    return searcher


def ends(searcher: Searcher) -> bool:
    """Whether `searcher` says that it comes to an end, however many trials may be started."""
    return bool(getattr(innermost(searcher), "ends", False))


def exhausted(searcher: Searcher) -> bool:
    """Whether `searcher` knows that each configuration has been started, though it proposes them again."""
    return bool(getattr(innermost(searcher), "exhausted", False))
