"""Which methods are on the board: our schedulers with our searchers.

A method is named after its parts, `asha` or `asha+evolution`; random search is not named. `asha@budget` is told the
budget. There are two bounds: the `oracle`, and breadth-first ASHA with the best number of trials in `hindsight`.
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
TOLD = "@budget"
HINDSIGHT = "hindsight"
SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
"""Of the units that are left when the winner's training is set aside: so many trials, among which hindsight chooses."""


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
        "asha-half-patient": found["asha"] | {"promotion": {"name": "patient", "deviations": 0.5}},
        "pasha-patient": found["pasha"] | {"promotion": "patient"},
    }


def methods(wanted: tuple[str, ...] = (), base: str = BASE) -> list[str]:
    """The names of the methods to run: those that are `wanted`, or all schedulers, told and not; `base` first.

    >>> methods(("asha+evolution",))
    ['pasha', 'asha+evolution']
    """
    if not wanted:
        known = [name for name in schedulers(Ladder(1, 3, 27)) if name != "one-rung"]
        wanted = (*known, *(f"{name}{TOLD}" for name in known), "one-rung")
    return list(dict.fromkeys((base, *wanted)))


def contest(method: str, ladder: Ladder) -> Contest:
    """The method of that name, over the levels of `ladder`.

    >>> found = contest("halving+evolution@budget", Ladder(1, 3, 27))
    >>> found.searcher, found.told
    ('evolution', True)

    Raises `InputError` for a scheduler or searcher that there is not.
    """
    parts, told = method.removesuffix(TOLD), method.endswith(TOLD)
    name, _, searcher = parts.partition("+")
    known = schedulers(ladder)
    if name not in known:
        raise InputError(f"there is no scheduler {name!r} on the board{suggestion(name, known)}")
    if searcher and searcher not in SEARCHERS:
        raise InputError(f"there is no searcher {searcher!r}{suggestion(searcher, SEARCHERS)}")
    return Contest(as_scheduler(known[name]), searcher or "random", told=told)


def in_hindsight(ladder: Ladder) -> dict[str, Contest]:
    """Breadth-first ASHA with each of `SHARES`: of these the best is chosen when all is known."""
    scheduler = as_scheduler(schedulers(ladder)["asha"] | {"breadth_first": True})
    return {f"{HINDSIGHT}-{share:g}": Contest(scheduler, share=share) for share in SHARES}
