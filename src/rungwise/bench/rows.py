"""What would a searcher have tried? Search among the rows of a table: a proposal is the nearest row not yet tried."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from rungwise.errors import InputError
from rungwise.events import Config, Event, Started
from rungwise.nas.cells import NONE, OPERATIONS, SKIP, Cell
from rungwise.parameters import Categorical, Float, Integer, Parameter
from rungwise.search import as_searcher, settings_of
from rungwise.space import Rng, Space, Values


def space_of(configs: Sequence[Config]) -> Space:
    """The space that `configs` seem to be drawn from: ranges of numbers, cells of networks, the choices among all else.

    A number is taken as log-uniform if its median is nearer to the middle of the range on that scale.

    >>> space_of([{"lr": 0.001, "act": "relu"}, {"lr": 0.01, "act": "gelu"}, {"lr": 0.1, "act": "relu"}])
    Space({'lr': Float(low=0.001, high=0.1, log=True), 'act': Categorical(choices=['relu', 'gelu'])})
    """
    return Space({name: _parameter([config[name] for config in configs]) for name in configs[0]})


def _parameter(values: Sequence[Any]) -> Parameter:
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return _cell(values) or Categorical(list(dict.fromkeys(values)))
    low, high, median = min(values), max(values), float(np.median(values))
    log = 0 < low < high and (
        abs(math.log(median / low) / math.log(high / low) - 0.5) < abs((median - low) / (high - low) - 0.5)
    )
    return (Integer if all(float(value).is_integer() for value in values) else Float)(low, high, log=log)


def _cell(values: Sequence[Any]) -> Cell | None:
    """The space of cells that `values` are texts of, if they are."""
    if not all(isinstance(value, str) and value.startswith("|") for value in values):
        return None
    nodes = [value.split("+") for value in values]
    names = {edge.split("~")[0] for value in nodes for node in value for edge in node.strip("|").split("|")}
    operations = OPERATIONS if names <= {*OPERATIONS} else (NONE, SKIP, *sorted(names - {NONE, SKIP}))
    try:
        cell = Cell(len(nodes[0]) + 1, operations)
    except InputError:
        return None
    return cell if all(cell.wrong(value) is None for value in values) else None


@final
class RowsOf(Space):
    """A space whose configurations are the rows of a table: one of them drawn, or the one nearest to a point.

    Cells are canonical; they are as far apart, squared, as the share of their edges that differ.
    """

    def __init__(self, configs: Sequence[Config]) -> None:
        super().__init__(space_of(configs))
        self.configs = [{name: self[name].normal(value) for name, value in config.items()} for config in configs]
        self.points = np.array([self.encode(config) for config in self.configs])  # (rows, parameters)
        self._cells = [  # (place, parameter, the operations on the edges of each row)
            (place, parameter, np.array([_numbers(parameter, config[name]) for config in self.configs]))
            for place, (name, parameter) in enumerate(self.items())
            if isinstance(parameter, Cell)
        ]

    def sample(self, rng: np.random.Generator) -> Values:
        """A row, each as likely as the others."""
        return dict(self.configs[int(rng.integers(len(self.configs)))])

    def decode(self, point: ArrayLike) -> Values:
        """The row nearest to `point`, the first among equals."""
        return dict(self.configs[int(self.distances(point).argmin())])

    def distances(self, point: ArrayLike) -> np.ndarray[Any, np.dtype[np.float64]]:
        """From `point` to each row, in the unit cube, squared: shape (rows,)."""
        point = np.asarray(point)
        squares = (self.points - point) ** 2
        for place, cell, edges in self._cells:
            squares[:, place] = (edges != _numbers(cell, cell.decode(point[place]))).mean(axis=1)
        distances: np.ndarray[Any, np.dtype[np.float64]] = squares.sum(axis=1)
        return distances


def _numbers(cell: Cell, text: str) -> list[int]:
    """The operation on each edge of `text`, as its place among the operations."""
    return [cell.operations.index(name) for name in cell.parse(text)]


@final
class RowSearch:
    """A searcher over `RowsOf` for `simulate`, which knows rows only: `{"row": 7}` stands for configuration 7."""

    name = "rows"

    def __init__(self, configs: Sequence[Config], searcher: str | Mapping[str, Any]) -> None:
        self._space = RowsOf(configs)
        self._searcher = as_searcher(searcher if isinstance(searcher, str) else dict(searcher), self._space)
        self._tried = np.zeros(len(configs), dtype=bool)

    def propose(self, rng: Rng) -> Config | None:
        """The row nearest to what the searcher proposes that was not tried; None if all were."""
        config = None if self._tried.all() else self._searcher.propose(rng)
        if config is None:
            return None
        distances = self._space.distances(self._space.encode(config))
        return {"row": int(np.where(self._tried, np.inf, distances).argmin())}

    def tell(self, event: Event) -> None:
        """Take one event; the searcher is told the configuration."""
        if isinstance(event, Started):
            row = event.config["row"]
            self._tried[row] = True
            event = msgspec.structs.replace(event, config=self._space.configs[row])
        self._searcher.tell(event)

    def settings(self) -> dict[str, Any]:
        """Which searcher, to be read."""
        return {"searcher": settings_of(self._searcher)}
