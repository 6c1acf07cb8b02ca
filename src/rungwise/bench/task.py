"""One table of learning curves with what its rows stand for."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, final

import msgspec
import numpy as np
from numpy.typing import NDArray

from rungwise.curves import CurveTable
from rungwise.errors import InputError
from rungwise.events import Config

Array = NDArray[np.float64]


@final
class Task(msgspec.Struct, frozen=True):
    """One table of a suite.

    Row i of `table` is configuration `configs[i]`; its scores are validation scores, accuracies in per cent. `test`,
    of the same shape, holds the test scores where there are any. Scores closer than `tolerance` count as equally
    good when a ceiling is chosen in hindsight.
    """

    suite: str
    name: str
    table: CurveTable
    configs: tuple[Config, ...]
    test: Array | None = None
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        shape = self.table.scores.shape
        if len(self.configs) != len(self.table) or (self.test is not None and self.test.shape != shape):
            test = "" if self.test is None else f", test scores of the shape {self.test.shape}"
            raise InputError(
                f"{self.name} has {len(self.configs)} configurations{test}, and scores of the shape {shape}"
            )

    def identity(self) -> list[Any]:
        """What tells it from any other: its names, its mode, and sums over its arrays; plain JSON."""
        arrays = [self.table.scores, self.table.seconds, self.table.resources]
        arrays += [] if self.test is None else [self.test]
        sums = [zlib.crc32(np.ascontiguousarray(array).tobytes()) for array in arrays]
        return [self.suite, self.name, self.table.mode, *sums]


def curve_table(path: Path, *arguments: Any, **options: Any) -> CurveTable:
    """A `CurveTable` of what the file `path` holds; one clear line that names it if it is none."""
    try:
        return CurveTable(*arguments, **options)
    except InputError as error:
        raise InputError(f"{path} is no table of curves: {error}") from None
