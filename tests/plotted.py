"""Studies to be drawn."""

from __future__ import annotations

import numpy as np

import rungwise as rw


def simulated(trials: int = 60, scheduler: object = None, mode: str = "max", **options) -> rw.Study:
    rng = np.random.default_rng(3)
    epochs = np.arange(1, 28)
    scores = rng.uniform(0.3, 0.9, (trials, 1)) * (1 - np.exp(-epochs / rng.uniform(2, 9, (trials, 1))))
    scores += rng.normal(0, 0.01, scores.shape)
    table = rw.CurveTable(scores if mode == "max" else -scores, mode=mode)
    return rw.simulate(scheduler or rw.PASHA(max_resource=27), table, trials=trials, **options).study


EMPTY = rw.Study({"x": rw.Float(0, 1)}, rw.PASHA(max_resource=27), mode="max")
