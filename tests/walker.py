"""A sampler of Optuna's kind that nobody knows, for `test_searcher_laws`."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna


class Walker(optuna.samplers.BaseSampler):
    """A sampler with a memory: it goes on from where it went last, whatever the results."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.RandomState(seed)
        self._place = 0.5

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        self._place = (self._place + 0.3 * self._rng.random_sample()) % 1
        if hasattr(param_distribution, "choices"):
            return param_distribution.choices[int(self._place * len(param_distribution.choices))]
        low, high, step = param_distribution.low, param_distribution.high, param_distribution.step
        if step is None:
            return low + self._place * (high - low)
        return low + step * int(self._place * (round((high - low) / step) + 1))
