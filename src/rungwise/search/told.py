"""What is known of each trial? The facts that a searcher was told, folded; most searchers keep one of these.

May import `events` and `space`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, final

import numpy as np

from rungwise.events import Completed, Config, Fact, Failed, Promoted, Reported, Started
from rungwise.space import Rng, Space


class Result(NamedTuple):
    """The losses of a trial, one a metric, at the rung `level` that it completed last.

    A trial that failed, or whose last loss is not finite, has no losses and the level 0, which no rung has: it is worse
    than all others, as it is for the scheduler.
    """

    level: int
    losses: tuple[float, ...]


FAILURE = Result(0, ())


@final
class Told:
    """`configs` and `results` by trial: in the order started, and in the order of their first results.

    >>> told = Told()
    >>> for fact in (Started(0, {"x": 1}, 3), Reported(0, 3, 0.5), Completed(0)):
    ...     told.tell(fact)
    >>> told.results[0], told.knows({"x": 1}), told.proposed
    (Result(level=3, losses=(0.5,)), True, 1)
    """

    def __init__(self) -> None:
        self.configs: dict[int, Config] = {}
        self.results: dict[int, Result] = {}
        self.proposed = 0  # trials of this study; those of an earlier one have negative numbers
        self._known: set[str] = set()
        self._running: dict[int, int] = {}  # trial -> the level that it is on the way to
        self._latest: dict[int, tuple[float, ...]] = {}  # running trial -> losses of its last report in this job

    def tell(self, fact: Fact) -> None:
        """Take one fact; those that say nothing of a trial's results are ignored."""
        if type(fact) is Reported:
            self._latest[fact.trial] = fact.score if isinstance(fact.score, tuple) else (fact.loss,)
        elif type(fact) is Completed:
            level, losses = self._running.pop(fact.trial), self._latest.pop(fact.trial, ())
            self.results[fact.trial] = Result(level, losses) if losses and all(map(math.isfinite, losses)) else FAILURE
        elif type(fact) is Failed:
            del self._running[fact.trial]
            self._latest.pop(fact.trial, None)
            self.results[fact.trial] = FAILURE
        elif type(fact) is Promoted:
            self._running[fact.trial] = fact.until
        elif type(fact) is Started:
            self._running[fact.trial] = fact.until
            self.configs[fact.trial] = fact.config
            if fact.trial >= 0:
                self.proposed += 1
                self._known.add(as_key(fact.config))

    def knows(self, config: Mapping[str, Any]) -> bool:
        """Whether a trial of this study was started with this configuration."""
        return as_key(config) in self._known

    def new(self, space: Space, draw: Callable[[], Config], rng: np.random.Generator, tries: int = 100) -> Config:
        """The first of `tries` draws that is allowed and was not started; if there is none, one of `space.sample`."""
        for source, times in ((draw, tries), (lambda: space.sample(rng), 100)):
            for _ in range(times):
                config = source()
                if not self.knows(config) and space.allows(config):
                    return config
        return space.sample(rng)  # all seem to have been tried: once more, then


def best(results: Mapping[int, Result]) -> list[int]:
    """The trials at the highest level that no other there dominates: none is as good in all losses and better in one.

    >>> best({3: Result(1, (0.1,)), 4: Result(9, (0.3,)), 5: Result(9, (0.2,))})
    [5]
    >>> best({3: Result(9, (0.1, 0.9)), 4: Result(9, (0.9, 0.1)), 5: Result(9, (0.9, 0.9))})
    [3, 4]
    """
    level = max((result.level for result in results.values()), default=0)
    there = [trial for trial, result in results.items() if result.level == level]
    losses = np.array([results[trial].losses for trial in there])  # (trials, metrics)
    return [
        trial
        for trial, own in zip(there, losses, strict=True)
        if not ((losses <= own).all(axis=1) & (losses < own).any(axis=1)).any()
    ]


def as_key(config: Mapping[str, Any]) -> str:
    """Equal for equal configurations and for no others: 1, 1.0 and true are three values."""
    return json.dumps(config, sort_keys=True)


def of_study(rng: Rng) -> list[int]:
    """The part of a proposal's seed that all proposals of a study share: [seed] of [seed, n]; [0] for a generator.

    A searcher works for one study, so this stays the same.

    >>> of_study([7, 30])
    [7]
    """
    return list(rng[:-1]) if not hasattr(rng, "random") else [0]
