"""Which learning curves? The tables of the comparison, from Rungwise's own suites."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from rungwise.bench.suites import load_suite
from rungwise.errors import InputError, suggestion

ROOT = Path(__file__).resolve().parents[2]
UNITS = {"lcbench": "percentage points of accuracy", "digits-mlp": "the same", "taskset": "loss"}
TASKS = [
    "digits-mlp/digits-mlp-0",
    "lcbench/7593",
    "lcbench/34539",
    "lcbench/168329",
    "lcbench/189354",
    "taskset/imdb_patch32_LSTM128_bs128",
    "taskset/imdb_patch32_GRU128_bs128",
    "taskset/imdb_patch32_VRNN64_tanh_avg_bs128",
]


class Curves(NamedTuple):
    """Scores and cumulative seconds, both configurations × resources 1 … R; `mode` is "min" or "max"."""

    scores: np.ndarray
    seconds: np.ndarray
    mode: str


def load(task: str) -> Curves:
    """The table `suite/name` with the worst finite score where training diverged.

    Not every peer survives a score that is not finite, and how each does is not the question here.
    """
    suite, _, name = task.partition("/")
    try:
        if suite not in UNITS:
            raise InputError(f"there is no suite {suite!r} in this comparison{suggestion(suite, UNITS)}")
        tables = {found.name: found.table for found in load_suite(suite)}
        if name not in tables:
            raise InputError(f"there is no task {task!r}{suggestion(name, tables)}")
    except InputError as error:
        raise SystemExit(str(error)) from None
    table = tables[name]
    scores = table.scores.copy()
    finite = np.isfinite(scores)
    scores[~finite] = scores[finite].min() if table.mode == "max" else scores[finite].max()
    return Curves(scores, table.seconds, table.mode)
