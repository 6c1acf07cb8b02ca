"""Which trial is the answer, and how sure is that? A function of what has completed which rung.

ASHA and PASHA answer with the best trial at the highest rung (Bohdal et al., ICLR 2023, section 3): whoever is there
was among the best of all rungs below. Other schedulers let trials come to a high rung untested, or nearly alone, so
there a rung speaks for itself only when `ENOUGH` trials have completed it; until then its best must also have the best
score of all rungs down to the first that speaks for itself. A trial counts only where it stands, at the last rung that
it completed: whoever went on and got worse is judged by that. May import `events`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from typing import final

import msgspec

from rungwise.events import Result

ENOUGH = 5
"""So many trials must have a finite result at a rung before its best is the answer, whatever the scores below it."""
TESTED = frozenset({"asha", "pasha"})
"""The schedulers under which nobody comes to a rung but by being among the best of the rung below."""


def answering(rated: Mapping[int, int], *, tested: bool) -> list[int]:
    """The levels from which the answer may be, the highest first; `rated` counts the finite results of each.

    >>> answering({1: 20, 3: 6, 9: 2, 27: 1}, tested=False), answering({1: 20, 3: 6, 9: 2, 27: 1}, tested=True)
    ([27, 9, 3], [27])
    """
    found: list[int] = []
    for level in sorted(rated, reverse=True):
        found.append(level)
        if tested or rated[level] >= ENOUGH:
            break
    return found


def recommended(
    best: Mapping[int, Result], rated: Mapping[int, int], *, tested: bool, stands: Callable[[Result], bool]
) -> Result | None:
    """The answer among the `best` results of the levels: the least loss, the highest level among equals; None if none.

    `stands` says whether a trial has gone no further than that result. Those that have are the answer only where no
    other is left: they went on to a score that is not finite.

    >>> best = {9: Result(4, 9, (0.2,)), 27: Result(7, 27, (0.5,))}
    >>> recommended(best, {9: 6, 27: 1}, tested=False, stands=lambda result: True).trial
    4
    >>> recommended(best, {9: 6, 27: 5}, tested=False, stands=lambda result: True).trial
    7
    """
    found = [best[level] for level in answering(rated, tested=tested)]
    return min(list(filter(stands, found)) or found, key=lambda result: result.losses[0], default=None)


@final
class Certainty(msgspec.Struct, frozen=True):
    """How sure an answer is, measured by the trials that stand beside it.

    `others` trials have completed the rung `level` of the answer, and had reported by the one `below`. From there to
    here the gap of such a trial to the answer changed by `swing`, in units of the score, in the median; `rivals` of
    them are no further from the answer than that, so they may be as good.
    """

    level: int
    below: int
    others: int
    swing: float
    rivals: int


def certainty(answer: int, level: int, below: int, losses: Mapping[int, tuple[float, float]]) -> Certainty | None:
    """How sure it is; `losses` has those (below, here) of each trial that completed both rungs, the answer among them.

    None without another one, and if a loss of the answer is not finite.

    >>> certainty(3, 9, 3, {3: (0.5, 0.2), 4: (0.5, 0.3), 5: (0.7, 0.6)})
    Certainty(level=9, below=3, others=2, swing=0.15, rivals=1)
    """
    before, now = losses.get(answer, (math.inf, math.inf))
    gaps = [
        (there - before, here - now)
        for trial, (there, here) in losses.items()
        if trial != answer and math.isfinite(there) and math.isfinite(here)
    ]
    if not gaps or not math.isfinite(before) or not math.isfinite(now):
        return None
    swing = round(statistics.median(abs(here - there) for there, here in gaps), 12)
    return Certainty(level, below, len(gaps), swing, sum(abs(here) <= swing for _, here in gaps))
