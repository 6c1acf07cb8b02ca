"""What is known of each trial? The events that a searcher was told, folded; most searchers keep one of these.

May import `events` and `space`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np

from rungwise.dominance import ParetoFront
from rungwise.events import Config, Event, Result, Started
from rungwise.space import Rng, Space


@final
class Results:
    """`configs` and `results` by trial: in the order started, and in the order of their first results.

    A trial's result is that of the rung which it completed last. Where a loss is not finite it has no losses, and the
    level 0, which no rung has: it is worse than all others, as it is for the scheduler.

    >>> told = Results()
    >>> for event in (Started(0, {"x": 1}, 3), Result(0, 3, (0.5,))):
    ...     told.tell(event)
    >>> told.results[0], told.knows({"x": 1}), told.proposed
    (Result(trial=0, level=3, losses=(0.5,)), True, 1)
    """

    def __init__(self) -> None:
        self.configs: dict[int, Config] = {}
        self.results: dict[int, Result] = {}
        self.proposed = 0  # trials of this study; those of an earlier one have negative numbers
        self._known: set[str] = set()

    def tell(self, event: Event) -> None:
        """Take one event; those that say nothing of a trial's results are ignored."""
        if isinstance(event, Result):
            self.results[event.trial] = event if event.finite else Result(event.trial, 0, ())
        elif isinstance(event, Started):
            self.configs[event.trial] = event.config
            if event.trial >= 0:
                self.proposed += 1
                self._known.add(as_key(event.config))

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

    >>> best({3: Result(3, 1, (0.1,)), 4: Result(4, 9, (0.3,)), 5: Result(5, 9, (0.2,))})
    [5]
    >>> best({3: Result(3, 9, (0.1, 0.9)), 4: Result(4, 9, (0.9, 0.1)), 5: Result(5, 9, (0.9, 0.9))})
    [3, 4]
    """
    level = max((result.level for result in results.values()), default=0)
    there = {trial: result.losses for trial, result in results.items() if result.level == level}
    if not level:
        return list(there)  # all have failed
    front = ParetoFront()
    for trial, losses in there.items():
        front.add(trial, losses)
    return front.trials


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
