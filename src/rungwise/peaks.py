"""Do curves get worse again? Where a curve had its best, and whether its end is worse than noise explains.

Boosting, fine-tuning and whatever overfits are best well before their end. Under `score="last"`, the papers', their
last report is what counts, and training the winner on makes it worse: that is to be said. The rule is to stay silent
on curves that are flat, noisy or improving. Imports `events`, `explain`, `metrics` and `records` only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from rungwise.explain import number
from rungwise.metrics import Metrics
from rungwise.records import BestTrial, TrialRecord

LEAST = 5  # reports, below which nothing can be said of noise
EARLY = 2 / 3  # "well before the end": within this share of the resource
NOISE = 4.0  # jitters that the end must be worse by: of 3, flat noisy curves of 9 reports reach 1 in 50
TREND = 1.0  # standard deviations of a chance trend (Mann, 1945) that the reports after the best must rise by
THINNED = 200  # reports that are enough to see a trend by, since all pairs of them are compared
ENOUGH = 3  # trials, below which nothing is said of all of them
ADVICE = 'score="best" would count the best report and keep its checkpoint'


class Peak(msgspec.Struct, frozen=True):
    """The best of a curve that got worse again: the loss at `resource`, and the last one, at `end`."""

    resource: int
    loss: float
    end: int
    last: float


def peak(curve: Mapping[int, float]) -> Peak | None:
    """The best report of `curve`, losses by resource, if it is early and the curve has got worse since; else None.

    Worse means three things: the best is within the first two thirds of the resource; the median of the last third of
    the reports is above the level at the best (the median of it and its neighbors) by more than 4 times the jitter,
    a robust estimate of the noise from how far each report lies off the middle of its neighbors; and the reports
    after the best rise by more than chance. Below 5 reports there is none. A loss that is not finite is `inf`.

    >>> peak({1: 0.5, 2: 0.4, 3: 0.3, 4: 0.35, 5: 0.4, 6: 0.45})
    Peak(resource=3, loss=0.3, end=6, last=0.45)
    >>> peak({1: 0.5, 2: 0.4, 3: 0.31, 4: 0.3, 5: 0.31, 6: 0.3})
    """
    if len(curve) < LEAST:
        return None
    resources, losses = list(curve), np.array(list(curve.values()), dtype=float)
    at, n = int(np.argmin(losses)), len(losses)
    if resources[at] > EARLY * resources[-1] or not math.isfinite(losses[at]):
        return None
    level = float(np.median(losses[max(0, at - 1) : at + 2]))
    end = float(np.median(losses[max(at + 1, n - max(2, n // 3)) :]))
    if not end - level > NOISE * _jitter(losses) or _trend(losses[at + 1 :]) < TREND:
        return None
    return Peak(resources[at], float(losses[at]), resources[-1], float(losses[-1]))


def _jitter(losses: np.ndarray) -> float:
    """The standard deviation of the noise: the median distance from the middle of the neighbors, for normal noise."""
    finite = losses[np.isfinite(losses)]
    if len(finite) < 3:
        return 0.0
    off = np.abs(finite[1:-1] - (finite[:-2] + finite[2:]) / 2)  # deviation √1.5 of that of a report
    return float(np.median(off)) * 1.4826 / math.sqrt(1.5)


def _trend(losses: np.ndarray) -> float:
    """How many standard deviations of chance the losses rise by, by the signs of all pairs (Mann, 1945; Kendall)."""
    losses = np.minimum(losses, np.finfo(float).max)[:: math.ceil(len(losses) / THINNED)]
    n = len(losses)
    if n < 2:
        return 0.0
    rises = np.sign(losses[None, :] - losses[:, None])[np.triu_indices(n, 1)].sum()
    return float(rises) / math.sqrt(n * (n - 1) * (2 * n + 5) / 18)


def peak_of(record: TrialRecord, metrics: Metrics) -> Peak | None:
    """As `peak`, of all that a trial has reported, its refit included."""
    if record.metrics:
        return None
    scores: dict[int, float] = record.reports | record.refit
    return peak({resource: metrics.loss(score) for resource, score in scores.items()})


def warning(records: Sequence[TrialRecord], metrics: Metrics) -> str | None:
    """What to say if most curves at the two highest rungs that have trials get worse again; None if they do not.

    Only trials with 5 reports or more are looked at, and 3 of them at least. Where the best report counts anyway there
    is nothing to say.
    """
    if metrics.best or metrics.names:
        return None
    there = [record for record in records if record.failure is None]
    levels = sorted({record.paused_at for record in there} - {0})[-2:]
    long = [record for record in there if record.paused_at in levels and len(record.reports) >= LEAST]
    peaks = {record.number: found for record in long if (found := peak_of(record, metrics)) is not None}
    if len(long) < ENOUGH or 2 * len(peaks) <= len(long):
        return None
    trial, worst = max(peaks.items(), key=lambda item: (item[1].end, item[1].last - item[1].loss))
    where = " and ".join(map(str, levels))
    return (
        f"curves get worse again: {len(peaks)} of {len(long)} trials at {where} had their best score well before the "
        f"end (trial {trial}: {_both(worst, metrics)}); {ADVICE}"
    )


def remarks(winner: TrialRecord, records: Sequence[TrialRecord], metrics: Metrics) -> list[str]:
    """What `explain` says of the winner's curve and of the others, if they get worse again."""
    of_all = warning(records, metrics)
    lines = [] if of_all is None else [of_all]
    if (found := peak_of(winner, metrics)) is not None:
        advice = "" if metrics.best or lines else f"; {ADVICE}"
        lines.insert(0, f"its curve got worse again: {_both(found, metrics)}{advice}")
    return lines


def not_refitted(best: BestTrial, winner: TrialRecord, metrics: Metrics) -> str | None:
    """Why the winner is not trained on though it was asked for; None if that has another reason than its curve."""
    found = peak_of(winner, metrics) if metrics.best else None
    if found is None:
        return None
    answer = f"the answer is its state at {found.resource}"
    if (saved := best.saved) != best.peak:
        answer += ", where it was not saved" + ("" if saved is None else f": best.load() gives the one at {saved}")
    return (
        f"refit: trial {winner.number} is not refitted, because its curve got worse again: {_both(found, metrics)}; "
        f"{answer}"
    )


def refitted(best: BestTrial, winner: TrialRecord, metrics: Metrics) -> str | None:
    """What to say of a refit that has come to its end and made nothing better; None if it has, or did not end."""
    end = max(winner.refit, default=None)
    if end is None or winner.job is not None or best.peak == end:
        return None
    if metrics.best:
        return (
            None
            if best.peak is None or best.peak > best.resource
            else (
                f"refit: no score up to {end} is better than {number(best.score)} at {best.peak}, which remains the "
                "answer"
            )
        )
    if not metrics.loss(winner.refit[end]) > metrics.loss(best.score):
        return None
    worse = f"refit: {number(winner.refit[end])} at {end}, worse than {number(best.score)} at {best.resource}"
    return worse if peak_of(winner, metrics) is None else f"{worse}: its curve got worse again; {ADVICE}"


def _both(found: Peak, metrics: Metrics) -> str:
    best, last = (number(metrics.score((loss,))) for loss in (found.loss, found.last))
    return f"{best} at {found.resource}, {last} at {found.end}"
