"""How near is a ceiling to rising? The pair of trials on which it hangs, and ε.

May import `core`, `explain`, `metrics` and `words`.
"""

from __future__ import annotations

from typing import final

import msgspec
import numpy as np

from rungwise.core import Scheduler
from rungwise.core.criteria import SoftMeanDistance, SoftMedianDistance, SoftStd
from rungwise.core.hyperband import AsyncHyperband
from rungwise.core.noise import LARGEST_FLOAT
from rungwise.core.pasha import PASHA
from rungwise.core.ranking import SoftRanking, TwoRungs
from rungwise.core.rungs import Rung
from rungwise.explain import number
from rungwise.metrics import Metrics
from rungwise.words import counted, shown


@final
class Nearness(msgspec.Struct, frozen=True):
    """How the top two rungs of a PASHA ladder stand to each other, `level` and `compared` below it.

    Of `trials` that have completed both, `positions` have not the same trial by both rankings. At the worst of these,
    `position` (from 0), `trial` stands by the upper rung and `expected` by the lower one; they are `gap` apart at
    `compared`. Where no position differs, both are -1 and the gap is 0. The ceiling rises if the gap is above `epsilon`
    when a trial completes `level`; None if the ranking has no ε. `scores` has those of the two at `level`, then at
    `compared`.
    """

    level: int
    compared: int
    trials: int
    positions: int
    position: int
    trial: int
    expected: int
    scores: tuple[float, ...]
    gap: float
    epsilon: float | None


def ladders(scheduler: Scheduler) -> list[PASHA]:
    """The PASHA ladders of a scheduler, one a bracket."""
    found = scheduler.ladders if isinstance(scheduler, AsyncHyperband) else [scheduler]
    return [ladder for ladder in found if isinstance(ladder, PASHA)]


def epsilon_of(scheduler: Scheduler, trial: int) -> float | None:
    """ε as PASHA estimates it from the curves, in the ladder of `trial`; None where it does not."""
    for pasha in ladders(scheduler):
        automatic = isinstance(pasha.ranking, SoftRanking) and pasha.ranking.epsilon == "auto"
        if automatic and any(trial in rung.trials for rung in pasha.asha.rungs[:1]):
            return pasha.epsilon
    return None


def nearness(pasha: PASHA, metrics: Metrics) -> Nearness | None:
    """None if nothing can be compared: at the last rung, below two trials at the top one, with several metrics."""
    asha = pasha.asha
    top, rungs = asha.ceiling, asha.rungs
    assert top is not None
    if top in (0, asha.ladder.last) or top >= len(rungs) or len(rungs[top]) < 2:
        return None
    below, here = rungs[top - 1 : top + 1]
    if not isinstance(below, Rung) or not isinstance(here, Rung):
        return None
    both = TwoRungs(below, here)
    now, before, gaps = both.now, both.before, both.gaps()
    different = [place for place, pair in enumerate(zip(now, before, strict=True)) if pair[0] != pair[1]]
    place = max(different, key=lambda place: float(gaps[place]), default=-1)
    trial, expected = (now[place], before[place]) if different else (-1, -1)
    losses = [rung.entry(each)[0] for rung in (here, below) for each in (trial, expected) if different]
    return Nearness(
        asha.ladder.level(top),
        asha.ladder.level(top - 1),
        len(both),
        len(different),
        place,
        trial,
        expected,
        tuple(metrics.score((loss,)) for loss in losses),
        float(gaps[place]) if different else 0.0,
        _epsilon(pasha, both),
    )


def _epsilon(pasha: PASHA, both: TwoRungs) -> float | None:
    ranking = pasha.ranking
    if isinstance(ranking, SoftRanking):
        return pasha.epsilon if isinstance(ranking.epsilon, str) else ranking.epsilon
    if isinstance(ranking, SoftStd | SoftMeanDistance | SoftMedianDistance):
        losses = both.below_losses()
        return ranking.epsilon(losses[np.flatnonzero(losses < LARGEST_FLOAT)])
    return None


def in_words(pasha: PASHA, metrics: Metrics) -> list[str]:
    """What `explain` says of it, under the line that says where the ceiling is; nothing if nothing is compared."""
    found = nearness(pasha, metrics)
    if found is None:
        return []
    both = f"the {counted(found.trials, 'trial')} at {found.level}"
    if not found.positions:
        noise = "" if found.epsilon is None else f"; ε is {number(found.epsilon)}"
        return [f"  it is not near to rising: {both} stand in the same order at {found.compared}{noise}"]
    at_top, at_top_other, lower, lower_other = map(number, found.scores)
    places = (
        f"of {both}, {found.positions} have another place than at "
        f"{found.compared}; furthest apart, at place {found.position + 1}: trial {found.trial} ({at_top} at "
        f"{found.level}, {lower} at {found.compared}) in that of trial {found.expected} ({at_top_other}, {lower_other})"
    )
    if found.epsilon is None:
        name = shown(pasha.ranking.settings()["name"])
        return [f"  {places}: the ranking {name} allows that"]
    pair = f"{number(found.gap)} apart at {found.compared}"
    if found.gap <= found.epsilon:
        share = f", {100 * found.gap / found.epsilon:.0f} % of it" if found.epsilon else ""
        return [f"  {places}; they are {pair}, and it rises when that is more than ε = {number(found.epsilon)}{share}"]
    return [
        f"  {places}; they are {pair}, by now more than ε = {number(found.epsilon)}: it rises when the next trial "
        f"completes {found.level}, if that stays so"
    ]
