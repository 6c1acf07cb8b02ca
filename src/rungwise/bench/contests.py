"""Which methods are on the board: our schedulers with our searchers.

A method is named after its parts, `asha` or `asha+evolution`; random search is not named.
"""

from __future__ import annotations

from typing import Any

from rungwise.bench.budget import Contest
from rungwise.core import as_scheduler
from rungwise.core.rungs import Ladder
from rungwise.errors import InputError, suggestion
from rungwise.search import SEARCHERS

BASE = "pasha"
"""The method that all are compared with: the paper's."""
CHEAP = ("random", "density", "evolution")
"""The searchers of the board if none is named: those whose proposals cost little."""


def schedulers(ladder: Ladder) -> dict[str, dict[str, Any]]:
    """The schedulers of the board over the levels of `ladder`, as settings; `one-rung` trains nobody beyond the first.

    >>> list(schedulers(Ladder(1, 3, 27)))[:3]
    ['pasha', 'asha', 'asha-stopping']
    """
    first, eta, last = ladder.min_resource, ladder.reduction_factor, ladder.max_resource
    rungs = {"min_resource": first, "reduction_factor": eta, "max_resource": last}
    found = {name: {"name": name, **rungs} for name in ("pasha", "asha", "asha-stopping", "halving", "hyperband")}
    return found | {
        "async-hyperband": {"name": "async-hyperband", "ladder": found["asha"]},
        "median": {"name": "median", "min_resource": first, "max_resource": last},
        "full": {"name": "full", "max_resource": last},
        "one-rung": found["asha"] | {"max_resource": first},
        "asha-patient": found["asha"] | {"promotion": "patient"},
        "pasha-patient": found["pasha"] | {"promotion": "patient"},
    }


def methods(wanted: tuple[str, ...] = (), base: str = BASE) -> list[str]:
    """The names of the methods to run: those that are `wanted`, or all schedulers with `CHEAP` searchers; `base` first.

    >>> methods(("asha+evolution",))
    ['pasha', 'asha+evolution']
    """
    known = schedulers(Ladder(1, 3, 27))
    if not wanted:
        wanted = tuple(name if each == "random" else f"{name}+{each}" for name in known for each in CHEAP)
    return list(dict.fromkeys((base, *wanted)))


def contest(method: str, ladder: Ladder) -> Contest:
    """The method of that name, over the levels of `ladder`.

    >>> contest("halving+evolution", Ladder(1, 3, 27)).searcher
    'evolution'

    Raises `InputError` for a scheduler or searcher that there is not.
    """
    name, _, searcher = method.partition("+")
    known = schedulers(ladder)
    if name not in known:
        raise InputError(f"there is no scheduler {name!r} on the board{suggestion(name, known)}")
    if searcher and searcher not in SEARCHERS:
        raise InputError(f"there is no searcher {searcher!r}{suggestion(searcher, SEARCHERS)}")
    return Contest(as_scheduler(known[name]), searcher or "random")
