"""Is a method worse than another one that has nine tenths of its budget? Suite by suite, on the tasks for judging.

python benchmarks/guard.py [--method asha-half-patient@budget] [--against pasha] [--repeats 10] [--first-seed 100]

It prints, in Markdown, the regret of the method at B less that of the other at 9/10 of B, in per cent: above 0 it is
worse. In brackets the bootstrap interval over tasks, and after ± 1.96 standard errors over all runs, tasks × seeds:
where a suite has two tasks, an interval over tasks is no more than the two.
"""

from __future__ import annotations

import argparse
import os

import numpy as np

from rungwise.bench.board import BoardOptions, part_of, play
from rungwise.bench.contests import BASE, contest
from rungwise.bench.statistics import interval_of_mean
from rungwise.bench.suites import load_suite, there_is

SUITES = ("lcbench", "taskset", "nmtlc", "lcdb", "boosted-trees", "fashion-cells", "fashion-cnn")
BUDGETS = (2.0, 5.0, 10.0, 20.0)
SHARE = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="asha-half-patient@budget")
    parser.add_argument("--against", default=BASE)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=100)
    given = parser.parse_args()
    options = BoardOptions(
        budgets=(*BUDGETS, *(SHARE * budget for budget in BUDGETS)),
        repeats=given.repeats,
        first_seed=given.first_seed,
        processes=os.cpu_count() or 1,
    )
    suites = [suite for suite in SUITES if there_is(suite)]
    tasks = [task for suite in suites for task in part_of(load_suite(suite), "judge")]
    found = play(tasks, [given.against, given.method], contest, options, base=given.against)
    regrets = {(one.suite, one.task, one.seed, one.method, one.budget): one.regret for one in found}
    print(
        f"| {given.method} at B less {given.against} at {SHARE:g} · B | {' | '.join(f'B = {b:g}' for b in BUDGETS)} |"
    )
    print("|---" * (len(BUDGETS) + 1) + "|")
    for suite in suites:
        names = [task.name for task in tasks if task.suite == suite]
        cells = []
        for budget in BUDGETS:
            runs = np.array([
                [
                    regrets[suite, name, seed, given.method, budget]
                    - regrets[suite, name, seed, given.against, SHARE * budget]
                    for seed in options.seeds
                ]
                for name in names
            ])  # fmt: skip
            low, high = interval_of_mean(runs.mean(axis=1))
            noise = 1.96 * runs.std(ddof=1) / runs.size**0.5
            cells.append(f"{runs.mean():+.1f} [{low:+.1f}, {high:+.1f}] ±{noise:.1f}")
        print(f"| {suite} ({len(names)}) | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
