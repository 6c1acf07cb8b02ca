"""What does a score mean? One metric or several, each to be minimized or maximized; scores in, losses out.

And which of a trial's reports counts at a resource: the last one (the PASHA paper's), or the best up to there.

Imports `events`, `errors` and `validation` only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, final, get_args

import msgspec

from rungwise.errors import InputError, suggestion
from rungwise.events import Raise, Raised, Score

Mode = Literal["min", "max"]
"""Whether a score is to be minimized or maximized."""
Counted = Literal["last", "best"]
"""Which of a trial's reports counts at a resource."""
SCORES = get_args(Counted)


@final
class Metrics:
    """The metrics of a study: `names` is empty where there is one, whose scores are plain numbers.

    Scores of several are dicts with a number for each name; their losses are tuples in the order of the names.

    >>> Metrics({"accuracy": "max", "seconds": "min"}).losses({"accuracy": 0.9, "seconds": None})
    (-0.9, inf)
    >>> Metrics("max").losses(0.9)
    (-0.9,)

    With `score="best"` a trial's score at a resource is the best of its reports up to there.

    Raises `InputError` for an invalid mode or score, and for score="best" with several metrics.
    """

    def __init__(self, mode: str | Mapping[str, str], score: str = "last") -> None:
        several = isinstance(mode, Mapping)
        given = list(mode.values()) if isinstance(mode, Mapping) else [mode]
        for each in given:
            if each not in ("min", "max"):
                raise InputError(f"mode must be 'min' or 'max', not {each!r}{suggestion(str(each), ['min', 'max'])}")
        names = tuple(mode) if isinstance(mode, Mapping) else ()
        if several and (
            len(names) < 2 or not all(isinstance(name, str) and name and name.isprintable() for name in names)
        ):
            raise InputError(f"mode must be 'min', 'max', or a dict of two or more metrics, not {mode!r}")
        if score not in SCORES:
            raise InputError(f"score must be 'last' or 'best', not {score!r}{suggestion(str(score), SCORES)}")
        if score == "best" and names:
            raise InputError(f"score='best' needs a single metric: {', '.join(names)} have no common best")
        self.names: tuple[str, ...] = names
        self.best = score == "best"
        self._signs = tuple(-1.0 if each == "max" else 1.0 for each in given)
        self.sign = self._signs[0]  # of a loss, where there is one metric

    def wrong(self, score: object) -> str | None:
        """What is wrong with a score's shape, or None."""
        if not self.names:
            if type(score) is float or score is None:
                return None
            return f"a score must be one number: this study has one metric, and got {score!r:.80}"
        if not isinstance(score, dict) or set(score) != set(self.names):
            wanted = ", ".join(f"{name!r}: …" for name in self.names)
            return f"this study has several metrics: report {{{wanted}}}, not {score!r:.80}"
        return None

    def counted(self, before: Any, now: Any) -> Any:
        """What counts at a report: the score `now`, or what counted `before` (None: nothing) where that is as good.

        >>> Metrics("min", "last").counted(0.2, 0.3), Metrics("min", "best").counted(0.2, 0.3)
        (0.3, 0.2)
        """
        if self.best and before is not None and not self.losses(now) < self.losses(before):
            return before
        return now

    def losses(self, score: Score | None) -> tuple[float, ...]:
        """What is to be minimized, a number for each metric; `inf` where a score is not finite."""
        if isinstance(score, dict):
            numbers = [score[name] for name in self.names]
            return tuple(_loss(sign, number) for sign, number in zip(self._signs, numbers, strict=True))
        if score is None or not math.isfinite(score):
            return (math.inf,) * len(self._signs)
        return (self._signs[0] * score,)

    def loss(self, score: float | None) -> float:
        """As `losses`, where there is one metric."""
        return self.losses(score)[0]

    def score(self, losses: tuple[float, ...]) -> Any:
        """The score of which these are the losses: a number, or a dict of them."""
        if not self.names:
            return self._signs[0] * losses[0]
        return {name: sign * each for name, sign, each in zip(self.names, self._signs, losses, strict=True)}

    def raised(self, answer: Raise) -> Raised:
        """The rise of a ceiling as a fact, its losses as scores; a loss that is not finite as None."""
        fact = answer.fact
        broken = tuple(
            msgspec.structs.replace(one, below=self._pair(one.below), top=self._pair(one.top)) for one in fact.broken
        )
        return msgspec.structs.replace(fact, broken=broken)

    def _pair(self, losses: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
        one, other = (None if loss is None or not math.isfinite(loss) else self.score((loss,)) for loss in losses)
        return one, other


def _loss(sign: float, score: float | None) -> float:
    return math.inf if score is None or not math.isfinite(score) else sign * score
