"""When else do two rungs agree? The criteria that the PASHA paper compares (Bohdal et al., ICLR 2023, appendix).

May import `errors`, `validation`, `core.named` and `core.ranking`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from rungwise.core.named import Named, made
from rungwise.core.noise import LARGEST_FLOAT, Noise
from rungwise.core.ranking import (
    DirectRanking,
    Ranking,
    SoftRanking,
    TwoRungs,
    out_of_order,
    soft,
)
from rungwise.errors import InputError
from rungwise.events import Disagreement
from rungwise.validation import real

ROUNDING = 1e-9
"""What sums may be off: equal to nine digits is equal, so that no decision hangs on the order of summation."""


class _Scaled(Named, frozen=True):
    """Soft ranking with ε = `scale` times a measure of how far apart the scores at the rung below lie."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        if real(self.scale, "scale") < 0:
            raise InputError(f"scale must be 0 or more, not {self.scale!r}")

    def disagreement(self, rungs: TwoRungs, noise: Noise) -> Disagreement | None:
        """None if every trial is within ε of the one whose place it took."""
        p = rungs.below_losses()
        return soft(rungs, self.epsilon(p[p < LARGEST_FLOAT]))

    def epsilon(self, p: NDArray[np.float64]) -> float:
        """ε of the finite losses `p`: never below 0, and 0 where they are equal or fewer than two.

        They are brought to the size of 1 by a power of two, which is exact, so that no square or sum is infinite or 0.
        """
        if len(p) < 2 or self.scale == 0 or p.min() == p.max():
            return 0.0
        _, exponent = np.frexp(np.abs(p).max())
        with np.errstate(over="ignore"):  # a spread beyond the largest number: ε is infinite, so is no gap above it
            return float(np.ldexp(self.scale * self.spread(np.ldexp(p, -exponent)) * (1 + ROUNDING), exponent))

    @staticmethod
    def spread(p: NDArray[np.float64]) -> float:
        """How far apart the finite losses `p`, two or more, lie."""
        raise AssertionError("abstract")


@final
class SoftStd(_Scaled, frozen=True):
    """Soft ranking with ε = `scale` · standard deviation (of the population) of the finite scores p(·)."""

    name = "soft_std"

    @staticmethod
    def spread(p: NDArray[np.float64]) -> float:
        """The standard deviation of `p`."""
        return float(np.std(p))


@final
class SoftMeanDistance(_Scaled, frozen=True):
    """Soft ranking with ε = `scale` · mean of |p(a) − p(b)| over pairs a ≠ b of the finite scores p(·)."""

    name = "soft_mean_distance"

    @staticmethod
    def spread(p: NDArray[np.float64]) -> float:
        """The mean distance of two of `p`: each gap between neighbors, times the i · (n − i) pairs that it separates.

        (A sum of scores instead of gaps may come out below 0.)
        """
        n, i = len(p), np.arange(1, len(p))
        return float(np.diff(np.sort(p)) @ (i * (n - i)) * 2 / (n * (n - 1)))


@final
class SoftMedianDistance(_Scaled, frozen=True):
    """Soft ranking with ε = `scale` · median of |p(a) − p(b)| over pairs a ≠ b of the finite scores p(·).

    It looks at all pairs each time: 10 ms once 1,000 trials have reached the top rung.
    """

    name = "soft_median_distance"

    @staticmethod
    def spread(p: NDArray[np.float64]) -> float:
        """The median distance of two of `p`."""
        a, b = np.triu_indices(len(p), 1)
        return float(np.median(np.abs(p[a] - p[b])))


def _weights(p: float, n: int) -> NDArray[np.float64]:
    """p⁰, p¹, … p^(n−1), normalized to a sum of 1."""
    weights = p ** np.arange(n)
    return np.asarray(weights / weights.sum())


class _Weighted(Named, frozen=True):
    """A criterion that weighs position i by `p`^i: below 1, the top counts more."""

    p: float = 1.0
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < real(self.p, "p") <= 1:
            raise InputError(f"p must be above 0 and at most 1, not {self.p!r}: place i has the weight p**i")
        if not 0 <= real(self.threshold, "threshold") <= 1:
            raise InputError(f"threshold must be from 0 to 1, not {self.threshold!r}")


@final
class RankBiasedOverlap(_Weighted, frozen=True):
    """Consistent when the rank-biased overlap of the two orders is `threshold` or more.

    Σ_d w_d · |top-d(T) ∩ top-d(P)| / d with w_d ∝ p^(d−1), normalized over d = 1 … n; with p = 1 a plain average
    (Webber et al., ACM Transactions on Information Systems 2010).
    """

    name = "rbo"

    def disagreement(self, rungs: TwoRungs, noise: Noise) -> Disagreement | None:
        """None if the overlap is large enough."""
        if rungs.same:
            return None
        n = len(rungs)
        place = {trial: at for at, trial in enumerate(rungs.before)}
        joined = np.array([max(at, place[trial]) for at, trial in enumerate(rungs.now)])  # in both top-d from d - 1 on
        shared = np.cumsum(np.bincount(joined, minlength=n))
        overlap = float(_weights(self.p, n) @ (shared / np.arange(1, n + 1)))
        if overlap >= self.threshold - ROUNDING:
            return None
        return out_of_order(rungs, f"their rank-biased overlap is {overlap:.4g}, below {self.threshold:g}")


@final
class ReciprocalRankRegret(_Weighted, frozen=True):
    """Consistent when the reciprocal rank regret is `threshold` or less (PASHA, appendix).

    Σ_i w_i · (f_i − g_i) / f_i with w_i ∝ p^i, normalized; f are the scores at the top rung in the order T, g the same
    scores in the order P. For losses the regret is (g_i − f_i) / f_i. It is relative to |f|. Where f is 0 or infinite,
    the regret is 0 if g is the same; otherwise it is ±1 if f is infinite, and ∞ if f is 0.
    """

    name = "rrr"
    threshold: float = 0.05

    def disagreement(self, rungs: TwoRungs, noise: Noise) -> Disagreement | None:
        """None if the regret is small enough."""
        return _regretted(self, rungs, lambda regret: regret)


@final
class AbsoluteRankRegret(_Weighted, frozen=True):
    """`ReciprocalRankRegret` with the absolute value of each term."""

    name = "arrr"
    threshold: float = 0.05

    def disagreement(self, rungs: TwoRungs, noise: Noise) -> Disagreement | None:
        """None if the regret is small enough."""
        return _regretted(self, rungs, np.abs)


def _regretted(
    ranking: ReciprocalRankRegret | AbsoluteRankRegret,
    rungs: TwoRungs,
    each: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> Disagreement | None:
    if rungs.same:
        return None
    f, g = rungs.top_losses()
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(np.isinf(f), -1.0, (g - f) / np.abs(f))
        regret = float(_weights(ranking.p, len(f)) @ each(np.where(f == g, 0.0, terms)))
    if regret <= ranking.threshold + ROUNDING:
        return None
    return out_of_order(rungs, f"their regret is {regret:.4g}, above {ranking.threshold:g}")


@final
class YourRanking:
    """Consistent when your function returns something true.

    It is called as `function(below, top)` once two trials have completed the top rung. The arrays hold the losses of
    the same trials at the two rungs, in their order at the top rung; lower is better whatever the mode, and `inf` is a
    failure.
    """

    def __init__(self, function: Callable[[NDArray[np.float64], NDArray[np.float64]], object]) -> None:
        self._function = function
        self._shown = f"{function.__module__}:{function.__qualname__}" if hasattr(function, "__qualname__") else "?"

    def disagreement(self, rungs: TwoRungs, noise: Noise) -> Disagreement | None:
        """None if the function answers with something true."""
        if len(rungs) < 2:
            return None
        below = rungs.below_losses()
        if self._function(np.where(below < LARGEST_FLOAT, below, np.inf), rungs.top_losses()[0]):
            return None
        return out_of_order(rungs, f"{self._shown} says so")

    def settings(self) -> dict[str, Any]:
        """What it is called: enough to compare, not to make it again."""
        return {"name": "function", "function": self._shown}


def _no_function(function: object) -> YourRanking:
    """Stands for the function of a study that was opened without it: fine to look at."""
    if not isinstance(function, str):
        raise InputError(f"the name of a ranking function must be text, not {function!r:.80}")

    def missing(below: NDArray[np.float64], top: NDArray[np.float64]) -> bool:
        raise InputError(f"this study's ranking is the function {function}: pass it again to resume")

    missing.__module__, _, missing.__qualname__ = function.rpartition(":")
    return YourRanking(missing)


_KINDS = (
    SoftRanking, DirectRanking, SoftStd, SoftMeanDistance, SoftMedianDistance, RankBiasedOverlap, ReciprocalRankRegret,
    AbsoluteRankRegret,
)  # fmt: skip
RANKINGS: dict[str, type[Any]] = {kind.name: kind for kind in _KINDS}


def ranking(name: str, **arguments: float | str) -> Ranking:
    """The ranking criterion `name` with its arguments: when PASHA takes two rungs to agree.

    `soft(epsilon)`, `direct()`, `soft_std(scale)`, `soft_mean_distance(scale)`, `soft_median_distance(scale)`,
    `rbo(p, threshold)`, `rrr(p, threshold)`, `arrr(p, threshold)`.

    >>> ranking("rbo", p=0.9, threshold=0.5)
    RankBiasedOverlap(p=0.9, threshold=0.5)

    Raises `InputError` for an unknown name or argument, and for invalid values.
    """
    found: Ranking = made("ranking", RANKINGS, name, arguments)
    return found


def as_ranking(given: Ranking | Callable[..., object] | str | dict[str, Any]) -> Ranking:
    """A ranking from itself, a function, its name ("soft", "rbo", …), or its settings.

    >>> as_ranking("soft")
    SoftRanking(epsilon='auto')
    """
    if isinstance(given, str):
        return ranking(given)
    if isinstance(given, dict):
        arguments = dict(given)
        name = arguments.pop("name", None)
        return _no_function(arguments.get("function")) if name == "function" else ranking(name, **arguments)
    if isinstance(given, Ranking) and not isinstance(given, type):
        return given
    if callable(given) and not isinstance(given, type):
        return YourRanking(given)
    raise InputError(
        f'ranking must be a name, rw.ranking("rbo", p=0.9), or a function of two arrays of losses, not {given!r}'
    )
