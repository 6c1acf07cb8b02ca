"""Why is a trial where it is, and what would promote it? Its way from rung to rung, and where it waits.

May import what `known` may.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import final

import msgspec

from rungwise.core import Scheduler
from rungwise.core.asha import ASHA
from rungwise.core.hyperband import AsyncHyperband
from rungwise.core.pasha import PASHA
from rungwise.core.promotion import Promotion
from rungwise.core.rungs import Rung
from rungwise.decider import Decider
from rungwise.errors import InputError
from rungwise.events import REST, Fact, Promoted
from rungwise.explain import number
from rungwise.records import TrialRecord
from rungwise.validation import whole
from rungwise.words import counted, shown, shown_json


@final
class Waiting(msgspec.Struct, frozen=True):
    """Where a trial is paused: number `rank` (from 1) of the `size` that have completed the rung at `level`.

    The first `quota` of these may go on, to `until`: None if this is the last rung. `under_ceiling` says whether that
    is open. `more` is how many more results, none of them better, let it go on, 0 if it may now; `loss` is that of the
    last one of those that may, None if nobody may. `reachable` says whether it can still go on under the total of
    trials.
    """

    level: int
    rank: int
    size: int
    quota: int
    until: int | None
    under_ceiling: bool
    more: int
    loss: float | None
    reachable: bool


def asha_of(scheduler: Scheduler, trial: int) -> ASHA | None:
    """The ladder that `trial` is on; None if the scheduler has none of ours, or it has completed no rung."""
    all_of_them = scheduler.ladders if isinstance(scheduler, AsyncHyperband) else [scheduler]
    for ladder in all_of_them:
        asha = ladder.asha if isinstance(ladder, PASHA) else ladder
        if isinstance(asha, ASHA) and asha.rungs and _completed(asha.rungs[0], trial):
            return asha
    return None


def _completed(rung: object, trial: int) -> bool:
    try:
        return isinstance(rung, Rung) and rung.entry(trial) is not None
    except KeyError:
        return False


def waiting(scheduler: Scheduler, asha: ASHA, trial: int, total: int | None) -> Waiting:
    """Where `trial`, paused on the ladder `asha` of the scheduler, waits if at most `total` trials are ever started."""
    ladder, eta = asha.ladder, asha.ladder.reduction_factor
    place = max(place for place, rung in enumerate(asha.rungs) if _completed(rung, trial))
    rung = asha.rungs[place]
    assert isinstance(rung, Rung)
    rank, size = rung.rank(trial) + 1, len(rung)
    quota = asha.promotion.quota(size, eta)
    last = place == ladder.last
    entries = sorted(map(rung.entry, rung.trials))
    return Waiting(
        ladder.level(place),
        rank,
        size,
        quota,
        None if last else ladder.level(place + 1),
        asha.ceiling is None or place < asha.ceiling,
        max(0, enough(asha.promotion, rank, eta) - size),
        entries[quota - 1][0] if quota else None,
        not last and (total is None or trial in scheduler.may_promote(total)),
    )


def enough(promotion: Promotion, rank: int, eta: float) -> int:
    """The fewest results of a rung of which the first `rank` may go on.

    >>> from rungwise.core.promotion import EagerPromotion, PatientPromotion
    >>> enough(EagerPromotion(), 2, 3), enough(PatientPromotion(), 2, 3)
    (6, 10)
    """
    low, high = 0, 1
    while promotion.quota(high, eta) < rank:
        low, high = high, 2 * high
    while high - low > 1:  # it never lets fewer go when there are more
        middle = (low + high) // 2
        low, high = (middle, high) if promotion.quota(middle, eta) < rank else (low, middle)
    return high


# -- in words ----------------------------------------------------------------------------------------


def in_words(decider: Decider, trial: int, facts: Iterable[Fact]) -> str:
    """What `explain` says of one trial; `facts` are all of the study's."""
    records = decider.state.trials
    if not 0 <= whole(trial, "a trial's number") < len(records):
        raise InputError(f"there is no trial {trial!r}; so far {len(records)} have been started")
    record, asha = records[trial], asha_of(decider.scheduler, trial)
    lines = [f"trial {record.number}: {shown_json(record.config)}"]
    lines += [_promoted(fact, asha) for fact in facts if isinstance(fact, Promoted) and fact.trial == record.number]
    return "\n".join([*lines, *_now(decider, record, asha)])


def _promoted(fact: Promoted, asha: ASHA | None) -> str:
    said = f"it was promoted to {fact.until}"
    if not fact.size:
        return said
    said += f": it was number {fact.rank} of {fact.size} in its rung"
    if fact.rule == REST:
        return f"{said}, closest to going on with what was left of the budget"
    if fact.rule:
        return f"{said}, of which the {shown(fact.rule)} rule lets {fact.quota} go on"
    if asha is None:
        return said
    return f"{said}, of which {asha.promotion.quota(fact.size, asha.ladder.reduction_factor)} may go on"


def _now(decider: Decider, record: TrialRecord, asha: ASHA | None) -> list[str]:
    state = decider.state
    if (job := record.job) is not None:
        again = "" if record.broke_off is None else f"; its last try broke off: {shown(record.broke_off)}"
        waits = " and waits to be given out again" if record.number in state.again else ""
        kind = "is refitted" if job.refit else "trains"
        return [f"it {kind} from {job.start} to {job.until}{waits}{again}"]
    if record.failure is not None:
        return [f"it failed beyond {record.paused_at}: {shown(record.failure)}; rungwise retry gives it another chance"]
    [losses] = record.losses_at([record.paused_at], state.metrics)
    score = "" if state.metrics.names or not losses else f" with {number(state.metrics.score(losses))}"
    if asha is None:
        return [f"it has completed {record.paused_at}{score}; what comes next is not a matter of its rank in a rung"]
    found = waiting(decider.scheduler, asha, record.number, state.budget.trials)
    lines = [f"it has completed {found.level}{score}: number {found.rank} of {found.size} there"]
    if not losses or not math.isfinite(losses[0]):
        return [*lines, "it stays there: a score that is not finite is never promoted"]
    return [*lines, _what_next(found, decider)]


def _what_next(found: Waiting, decider: Decider) -> str:
    if found.until is None:
        return f"it stays there: {found.level} is max_resource"
    first = "nobody" if not found.quota else "only the first" if found.quota == 1 else f"the first {found.quota}"
    may = f"{first} may go on to {found.until}"
    if not found.under_ceiling:
        closed = f"it waits for the ceiling, {found.level}, to rise"
        return f"{closed}: then {may}" + ("" if found.more else ", it among them")
    if not found.more:
        if decider.finished:
            return f"{may}, it among them, but the study gives out no more work"
        return f"{may}, it among them: it goes on when its turn comes"
    results = f"{counted(found.more, 'more result')} there, none of them better"
    said = f"{may}: it would be promoted after {results}"
    if found.loss is not None:
        said += f"; a score better than {number(decider.state.metrics.score((found.loss,)))} would have been enough"
    if not found.reachable:
        said += f". That cannot be with {decider.state.budget.trials} trials: it stays there"
    return said
