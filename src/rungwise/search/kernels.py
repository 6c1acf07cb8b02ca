"""Where are configurations dense? Configurations as rows of numbers, and kernel densities over such rows.

A column is a number in [0, 1], or the index of one of several unordered choices: that of a `Categorical`, that on one
edge of a `Cell`. A kernel is a product over columns: a normal where there are numbers (Parzen, 1962); where there are
choices, one probability for the kernel's own and one for each other (Aitchison and Aitken, Biometrika 1976). Where the
kernel's configuration lacks a parameter it says nothing of it, and is 1; so is it for parameters that a point lacks.
Densities are relative to the uniform one, and normals are not cut at 0 and 1: only ratios are asked for, in which that
makes little difference. May import `events`, `space` and numpy.
"""

from __future__ import annotations

import math
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from rungwise.events import Config
from rungwise.space import Space

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

REFERENCE = 1.06  # Silverman, Density Estimation, 1986, eq. 3.28: the normal reference rule
UNIFORM = 1 / 12  # the variance of the uniform distribution on [0, 1]
GRID = 257  # places at which the density of a prior is worked out


@final
class Columns:
    """The columns that configurations of `space` have: `choices` of each, 0 for a number.

    >>> from rungwise.parameters import Categorical, Float, Integer
    >>> columns = Columns(Space({"x": Float(0, 4), "n": Integer(1, 2), "act": Categorical(["relu", "gelu", "tanh"])}))
    >>> columns.choices, columns.row({"x": 1.0, "n": 2, "act": "tanh"})
    ([0, 0, 3], ([0.25, 0.75, 2.0], [0.0, 0.25, 0.0]))
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.choices: list[int] = []
        self._of: dict[str, slice] = {}
        for name, parameter in space.items():
            counts = [axis.choices or 0 for axis in parameter.axes().values()]
            counts = counts if min(counts) > 1 else [0]
            self._of[name] = slice(len(self.choices), len(self.choices) + len(counts))
            self.choices += counts
        self._priors = {name: found for name in space if (found := self._prior(name)) is not None}
        self._conditions = [  # parents first: name, parent, the values for which it exists
            (name, parent, [self._part(parent, space[parent].normal(value)) for value in values])
            for name in space.parents_first
            for parent, values in space[name].condition.items()
        ]

    def row(self, config: Config) -> tuple[list[float], list[float]]:
        """The numbers of `config`, NaN where it lacks a parameter, and for each half of the width that its value has.

        A whole number has a part of [0, 1] and is in its middle; a choice, or any real number, has the width 0.
        """
        centers, halves = [math.nan] * len(self.choices), [0.0] * len(self.choices)
        for name, value in config.items():
            at = self._of[name]
            if self.choices[at.start]:
                centers[at] = map(float, self.space[name].to_axes(value))
            else:
                left, right = self.space[name].interval(value)
                centers[at.start], halves[at.start] = (left + right) / 2, (right - left) / 2
        return centers, halves

    def drawn(self, rng: np.random.Generator) -> Array:
        """The numbers of one value of each parameter, drawn from its prior, whether it would exist or not."""
        draws = zip(self.space.items(), rng.random(len(self.space)).tolist(), strict=True)
        return np.array(self.row({name: each.decode(each.quantile(u)) for (name, each), u in draws})[0])

    def config(self, point: Array) -> Config:
        """The configuration that these numbers, one for each column, stand for."""
        numbers, places = point.tolist(), []
        for name, parameter in self.space.items():
            at = self._of[name]
            if self.choices[at.start]:
                places.append(parameter.encode(parameter.from_axes([int(number) for number in numbers[at]])))
            else:
                places.append(numbers[at.start])
        return self.space.decode(places)

    def existing(self, points: Array) -> Mask:
        """Which numbers count, shape (points, columns): those of parameters that exist.

        What depends on a cell that is not written in its canonical form counts as if it did not exist.
        """
        exist = np.ones(points.shape, dtype=bool)
        for name, parent, parts in self._conditions:
            at = self._of[parent]
            holds = np.zeros(len(points), dtype=bool)
            for left, right in parts:
                holds |= ((points[:, at] >= left) & (points[:, at] <= right)).all(axis=1)
            exist[:, self._of[name]] &= (holds & exist[:, at.start])[:, None]
        return exist

    def _part(self, name: str, value: Any) -> tuple[Array, Array]:
        """The numbers from which to which a parameter has this value."""
        centers, halves = self.row({name: value})
        at = self._of[name]
        return np.array(centers[at]) - halves[at], np.array(centers[at]) + halves[at]

    def log_prior(self, points: Array, exist: Mask) -> Array:
        """The log density of each of `points` under the user's priors, relative to none."""
        total = np.zeros(len(points))
        for name, (places, logs) in self._priors.items():
            at = self._of[name].start
            total += np.where(exist[:, at], np.interp(points[:, at], places, logs), 0.0)
        return total

    def _prior(self, name: str) -> tuple[Array, Array] | None:
        """The log density of a parameter's prior at places in order; None if it has none."""
        parameter, choices = self.space[name], self.choices[self._of[name]]
        if len(choices) > 1:
            return None  # a cell has no prior
        if choices[0]:
            places = np.arange(choices[0], dtype=float)
            values = [parameter.from_axes([place]) for place in range(choices[0])]
        elif all(parameter.quantile(u) == u for u in (0.2, 0.5, 0.8)):
            return None
        else:  # most of them where the prior is dense
            places = np.array([parameter.quantile(u) for u in np.linspace(0, 1, GRID).tolist()])
            values = [parameter.decode(u) for u in places.tolist()]
        logs = np.array([parameter.log_density(value) for value in values])
        return (places, logs) if logs.any() else None


@final
class Kernels:
    """A density: a kernel on each of the rows `centers`, and one that is the prior's (Bergstra et al., 2011).

    Widths, standard deviations, follow the normal reference rule in each column: 1.06 σ n^(−1/(4 + d)), where d counts
    the columns, n the centers that have a number there, and σ is theirs and that of one more, uniform, center, so that
    a few equal ones are no proof. Half of the part of a whole number is the least, so that no kernel fits between two
    values. Where there are choices, another than the kernel's own has the probability s n^(−2/(4 + d)), where s is that
    of two centers, the uniform one among them, to differ.
    """

    def __init__(self, columns: Columns, centers: Array, halves: Array) -> None:
        self.columns, self.centers, self.halves = columns, centers, halves
        present = ~np.isnan(centers)
        counts = present.sum(axis=0)
        shrinks = np.maximum(counts, 1) ** (-1 / (4 + len(columns.choices)))
        means = np.where(present, centers, 0.0).sum(axis=0) / np.maximum(counts, 1)
        squares = np.where(present, centers - means, 0.0) ** 2
        self.widths = REFERENCE * np.sqrt((squares.sum(axis=0) + UNIFORM) / (counts + 1)) * shrinks
        self.others = np.zeros(len(counts))  # how likely another choice is than the kernel's own
        for column, choices in enumerate(columns.choices):
            if choices:
                found = np.bincount(centers[present[:, column], column].astype(int), minlength=choices)
                shares = (found + 1 / choices) / (counts[column] + 1)
                self.others[column] = (1 - (shares**2).sum()) * shrinks[column] ** 2
        self._absent = ~present

    def log_density(self, points: Array, exist: Mask, log_prior: Array | float = 0.0) -> Array:
        """The logarithm of the density at each of `points`, whose numbers count where they `exist`."""
        logs = np.zeros((len(points), len(self.centers)))
        for column, choices in enumerate(self.columns.choices):
            at, centers = points[:, column, None], self.centers[:, column]
            if choices:
                others = self.others[column]
                own, other = math.log(choices * (1 - others)), math.log(choices * others / (choices - 1))
                term = np.where(at == centers, own, other)
            else:
                widths = np.maximum(self.widths[column], self.halves[:, column])
                term = -0.5 * ((at - centers) / widths) ** 2 - np.log(math.sqrt(2 * math.pi) * widths)
            if (absent := self._absent[:, column]).any() or not exist[:, column].all():
                term[absent | ~exist[:, column, None]] = 0.0
            logs += term
        most = np.maximum(logs.max(axis=1), log_prior)
        total = np.exp(logs - most[:, None]).sum(axis=1) + np.exp(log_prior - most)
        density: Array = np.log(total / (len(self.centers) + 1)) + most
        return density

    def draw(self, rng: np.random.Generator, count: int, factor: float) -> Array:
        """`count` points from all kernels but the prior's, widths times `factor`; folded back at 0 and 1.

        Numbers of parameters that a kernel lacks are drawn from their priors, the same for all of these points.
        """
        rows = rng.integers(len(self.centers), size=count)
        centers, shape = self.centers[rows], (count, len(self.columns.choices))
        spread = np.maximum(factor * self.widths, self.halves[rows])
        moved = centers + spread * rng.standard_normal(shape)
        moved = np.abs((moved + 1) % 2 - 1)
        choices = np.maximum(self.columns.choices, 2)
        other = (centers + rng.integers(1, choices, size=shape)) % choices
        chosen = np.where(rng.random(shape) < self.others, other, centers)
        points = np.where(np.array(self.columns.choices) > 0, chosen, moved)
        return np.where(np.isnan(points), self.columns.drawn(rng), points)
