"""Is the study in this file the one that the caller means? Of the same space, parts and seed, and of the same function.

May import what stands below `state`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import msgspec

from rungwise.core import SCHEDULERS, Scheduler, as_scheduler, ceilings
from rungwise.core.asha import ASHA
from rungwise.core.pasha import PASHA
from rungwise.errors import InputError
from rungwise.events import Created, Fact
from rungwise.log import StudyError
from rungwise.parts import takes_several_metrics
from rungwise.search import Searcher
from rungwise.search.intake import called
from rungwise.space import Space
from rungwise.validation import plain, same, whole
from rungwise.version import __version__

LENGTHENED = (ASHA.name, PASHA.name)
"""Schedulers whose `max_resource` may be raised: of others the brackets, or who was stopped, hang on it."""
SINCE = {"promotion": {"name": "eager"}, "breadth_first": False}
"""Settings of those that files of before are without."""
PAPERS = {"name": PASHA.name}
"""The scheduler of a study whose cost is not given: the most that a trial may get is to be found out."""
FOR_A_BUDGET = {"name": ASHA.name, "promotion": {"name": "patient", "deviations": 0.5}}
"""That of a study with a budget: of what was measured it gives the best answer (`docs/budget.md`)."""
REMEMBERED = ("earlier", "left_out")
"""Settings of a searcher that say what an earlier study had come to when this one was begun; it may have gone on."""


@final
class Unnamed(msgspec.Struct, frozen=True):
    """A scheduler that was not named: a study that is there goes on with its own, a new one begins with `default`.

    `said` are the settings that come over either.
    """

    default: dict[str, Any]
    said: dict[str, Any]

    def made(self, found: Fact | None = None) -> Scheduler:
        """The scheduler of a new study, or of the one that begins with `found`, unless that names code."""
        if isinstance(found, Created) and not SCHEDULERS.is_foreign(found.scheduler.get("name")):
            return as_scheduler(found.scheduler | self.said)
        return as_scheduler(self.default | self.said)


def scheduler_of(
    given: Scheduler | str | Mapping[str, Any] | None, max_resource: int | None, *, budget: bool
) -> Scheduler | Unnamed:
    """What `tune` was given as a scheduler; without a name it is the default for a study with a `budget`, or without.

    Raises `InputError` if the scheduler has another `max_resource` than that.
    """
    if max_resource is not None and whole(max_resource, "max_resource") < 1:
        raise InputError(f"max_resource must be 1 or more, not {max_resource!r}")
    if given is None or (isinstance(given, Mapping) and "name" not in given):
        said = ({} if max_resource is None else {"max_resource": max_resource}) | dict(given or {})
        decides: Scheduler | Unnamed = Unnamed(FOR_A_BUDGET if budget and "ranking" not in said else PAPERS, said)
        most = said.get("max_resource")
    else:
        decides = as_scheduler(dict(given) if isinstance(given, Mapping) else given, max_resource)
        most = decides.max_resource
    if max_resource is not None and most != max_resource:
        raise InputError(f"max_resource={max_resource}, but that of the scheduler is {most}; say it once")
    return decides


def wanted(
    space: Space,
    scheduler: Scheduler,
    searcher: Searcher,
    settings: dict[str, Any],
    mode: str | dict[str, str],
    *,
    score: str,
    seed: int,
    run: dict[str, Any] | None,
) -> Created:
    """The first fact of a study of these parts; `settings` are those of `searcher`, or of what wraps it.

    Raises `InputError` for a seed below 0, for several metrics where the scheduler or the searcher is for one, and for
    a scheduler of ours that its settings do not make.
    """
    if whole(seed, "seed") < 0:
        raise InputError(f"seed must be 0 or more, not {seed!r}")
    if isinstance(mode, dict) and not takes_several_metrics(scheduler):
        raise InputError(
            f"the scheduler {scheduler.name!r} takes one metric, but this study has {', '.join(mode)}; "
            "for several metrics use 'pasha', 'asha', 'async-hyperband', or 'full'"
        )
    if isinstance(mode, dict) and not takes_several_metrics(searcher):
        raise InputError(
            f"{called(searcher)} takes one metric, but this study has {', '.join(mode)}; if its tell() accepts tuples "
            "of losses, set several_metrics = True on its class"
        )
    decides = {"name": SCHEDULERS.name_of(scheduler), **scheduler.settings()}
    if not SCHEDULERS.is_foreign(decides["name"]):
        as_scheduler(decides)  # a file that nobody could open again must not be begun
    return Created(
        space.to_dict(),
        decides,
        settings,
        mode,
        whole(seed, "seed"),
        __version__,
        plain(run or {}, "what is noted of a run"),
        id=secrets.token_hex(8),
        score=score,
        ceilings=[level for level, _ in ceilings(scheduler)],
    )


def agreed(path: Path | None, wanted: Created, found: Fact) -> Created:
    """`found`, the first fact of the file `path`, if it begins a study such as `wanted`.

    Raises `StudyError` if it begins no study, `InputError` with the first difference if it is another.
    """
    if not isinstance(found, Created):
        raise StudyError(f"{path} does not begin like a study; name another file")
    for what in ("space", "mode", "score", "seed", "searcher", "scheduler"):
        new, old = _setting(wanted, what), _setting(found, what)
        if same(new, old):
            continue
        raised = {"max_resource": None} if what == "scheduler" and new.get("name") in LENGTHENED else {}
        if raised:  # whether it may be hangs on what it is by now
            new, old = new | raised, old | raised
            if same(new, old):
                continue
        if isinstance(new, dict):
            name = next(key for key in ["name", *new, *old] if not same(new.get(key), old.get(key)))
            what, new, old = f"{what}, {name!r}", new.get(name), old.get(name)
        raise InputError(
            f"{path} holds a study with another {what}: {old!r} there, {new!r} now; use the same, or begin a new file"
        )
    for what in ("function", "command"):
        new, old = wanted.run.get(what), found.run.get(what)
        if new is not None and old is not None and new != old:
            raise InputError(
                f"{path} holds a study of another {what}: {old!r} there, {new!r} now; begin a new file or, if it has "
                f"only moved, use: rungwise resume {path} --function FILE.py:NAME"
            )
    return found


def as_it_began(scheduler: Scheduler, found: Created) -> Scheduler:
    """`scheduler` with the `max_resource` that the study had when it began; it may have been raised since."""
    if found.scheduler.get("name") not in LENGTHENED:
        return scheduler
    return scheduler.up_to(found.scheduler.get("max_resource"))


def _setting(created: Created, what: str) -> Any:
    value = getattr(created, what)
    if what not in ("searcher", "scheduler"):
        return value
    kept = {name: value[name] for name in value if name not in REMEMBERED}
    if kept.get("name") in LENGTHENED:
        kept = SINCE | kept
    elif isinstance(ladder := kept.get("ladder"), dict):
        kept["ladder"] = SINCE | ladder
    if isinstance(name := kept.get("name"), str) and ":" in name:  # a script is `__main__`, and imported it is not
        kept["name"] = name.rpartition(":")[2]
    return kept
