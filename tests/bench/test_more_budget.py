"""More budget is never worse by more than noise, for any scheduler that ships: on the package's tables for choosing."""

from __future__ import annotations

import numpy as np
import pytest

from rungwise.bench.board import part_of
from rungwise.bench.budget import ladder_of, outcomes, run_method
from rungwise.bench.contests import contest, schedulers
from rungwise.bench.suites import load_suite
from rungwise.core.rungs import Ladder

BUDGETS = (2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 32.0, 50.0)
SEEDS = range(3)
ERRORS = 3.5
"""Standard errors of a mean that are noise: in some 500 comparisons one in a thousand is beyond them by chance."""
SCHEDULERS = [name for name in schedulers(Ladder(1, 3, 27)) if name != "one-rung"]  # which no scheduler does by itself


@pytest.mark.parametrize("suite", ["digits-mlp", "boosted-trees"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_more_budget_is_not_worse(name: str, suite: str) -> None:
    regrets = []  # of each task and seed, by budget
    for task in part_of(load_suite(suite), "select"):
        method = contest(name, ladder_of(task.table))
        for seed in SEEDS:
            trace = run_method(task, method, name, seed, BUDGETS[-1])
            regrets.append([one.regret for one in outcomes(trace, task.table, BUDGETS)])
    means = np.mean(regrets, axis=0)
    for less in range(len(BUDGETS)):
        for more in range(less + 1, len(BUDGETS)):
            worse = np.array(regrets)[:, more] - np.array(regrets)[:, less]
            noise = ERRORS * worse.std(ddof=1) / len(worse) ** 0.5
            said = f"{suite}: {means[less]:.1f} at B = {BUDGETS[less]:g}, {means[more]:.1f} at B = {BUDGETS[more]:g}"
            assert worse.mean() <= max(noise, 1.0), said
