"""What to try next? A mutation of one of the better configurations of late: regularized (aging) evolution.

Real, Aggarwal, Huang and Le, "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019, Algorithm 1.
May import `events`, `errors`, `space`, `validation` and `search.results`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, final

import numpy as np

from rungwise.errors import InputError
from rungwise.events import Config, Event
from rungwise.search.results import Results, best
from rungwise.space import Rng, Space
from rungwise.validation import same, whole

DRAWS = 20  # configurations looked at for another value of the parameter to mutate; a parameter may have only one


@final
class EvolutionSearch:
    """Regularized evolution: `population` random configurations first, then children of tournament winners.

    The population is the last `population` trials with a result; the oldest leave as new ones arrive. `sample` of them
    are drawn, and the best becomes the parent. (These are the paper's P and S: 100 and 25 there, for 20,000 trials; 20
    and half of it here, for a few hundred.) The best has reached the highest rung and has the lowest loss there; with
    several metrics it is drawn at random from those that no other dominates. The child is the parent with one parameter
    drawn again (in a cell, the operation on one edge changed), and any parameters that become active. Configurations
    that were already started, or are forbidden, are skipped. `space` is the search space.

    >>> from rungwise.parameters import Float
    >>> EvolutionSearch(Space({"x": Float(0, 1)})).settings()
    {'population': 20, 'sample': 10}

    Raises `InputError` for a `population` below 2, and a `sample` below 1 or above it.
    """

    name = "evolution"
    several_metrics = True

    def __init__(self, space: Space, *, population: int = 20, sample: int | None = None) -> None:
        self.space = space
        self.population = whole(population, "population")
        if self.population < 2:
            raise InputError(f"population must be 2 or more, not {population!r}")
        self.sample = self.population // 2 if sample is None else whole(sample, "sample")
        if not 1 <= self.sample <= self.population:
            raise InputError(f"sample must be from 1 to the population of {self.population}, not {sample!r}")
        self._told = Results()

    def propose(self, rng: Rng) -> Config:
        """A random configuration at first, then a child."""
        rng = np.random.default_rng(rng)
        told = self._told
        if len(told.configs) < self.population or not told.results:
            return told.new(self.space, lambda: self.space.sample(rng), rng)
        living = list(islice(reversed(told.results), self.population))
        drawn = rng.choice(len(living), size=min(self.sample, len(living)), replace=False)
        winners = best({living[place]: told.results[living[place]] for place in drawn})
        parent = told.configs[winners[rng.integers(len(winners))]]
        return told.new(self.space, lambda: mutated(self.space, parent, rng), rng)

    def tell(self, event: Event) -> None:
        """Learns the rung results."""
        self._told.tell(event)

    def settings(self) -> dict[str, Any]:
        """The arguments that make an equal one, as plain JSON."""
        return {"population": self.population, "sample": self.sample}


def mutated(space: Space, parent: Mapping[str, Any], rng: np.random.Generator) -> Config:
    """`parent` with one of its parameters as in a configuration drawn at random, another value if there is one.

    A parameter that has neighbors, a `Cell`, becomes one of them.

    >>> from rungwise.parameters import Integer
    >>> mutated(Space({"x": Integer(0, 9), "y": Integer(0, 9)}), {"x": 3, "y": 3}, np.random.default_rng(0))
    {'x': 3, 'y': 0}
    """
    names = list(space)
    name = list(parent)[rng.integers(len(parent))]
    near = space[name].neighbor(parent[name], rng)
    for _ in range(DRAWS):
        donor = space.sample(rng)
        if near is not None or (name in donor and not same(donor[name], parent[name])):
            break
    point, other = space.encode(parent), space.encode(donor)
    for place, each in enumerate(names):
        if each == name or each not in parent:  # what the parent lacks is looked at only if it exists now
            point[place] = other[place] if each in donor else rng.random()
    if near is not None:
        point[names.index(name)] = space[name].encode(near)
    return space.decode(point)
