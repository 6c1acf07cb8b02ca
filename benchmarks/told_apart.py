"""Is the best configuration among those that `study.contenders()` names? Simulated studies over all suites.

python benchmarks/told_apart.py [--part judge] [--repeats 10] [--first-seed 100]       (select: prints what was tried)

Each study is of 256 configurations (fewer if the table has fewer) on 4 workers, and runs until nothing is left to do.
A study holds if the set has the best score at R, the table's last resource, of all trials that `contenders` compares:
those that completed the rung below the answer's. A tie with the best counts as the best. In brackets: the mean size
of the set, of so many trials compared. `by chance` is how often a set of that size would have the best if its trials
were drawn among those compared. `whole study` is the share of studies in which the set has the best of all
configurations that were tried, which nobody promises.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

import rungwise as rw
from rungwise.bench.board import part_of
from rungwise.bench.budget import finals, ladder_of
from rungwise.bench.contests import contest
from rungwise.bench.suites import load_suite, there_is
from rungwise.bench.task import Task
from rungwise.contenders import contenders

SUITES = ("digits-mlp", "fashion-cells", "boosted-trees", "fashion-cnn", "lcbench", "taskset", "nmtlc", "lcdb")
METHODS = ("pasha", "asha", "asha-half-patient", "async-hyperband")
TRIALS = 256
ENOUGH = 0.9  # of the studies

Margin = Callable[[rw.Contenders, list[float], int], float | None]
"""How far behind a contender may be, from the changes of gaps and the rungs to come; None: the rule has no answer."""


def _swing(share: float, times: float, power: float, found: rw.Contenders, changes: list[float], rungs: int) -> float:
    return max(times * float(np.quantile(changes, share)) * rungs**power, found.epsilon or 0.0)


TRIED: dict[str, Margin] = {
    "PASHA's ε alone": lambda found, changes, rungs: found.epsilon,
    "the median change, once": partial(_swing, 0.5, 1, 0),
    "twice the median change, for each rung": partial(_swing, 0.5, 2, 1),
    "80 % of changes, for each rung": partial(_swing, 0.8, 1, 1),
    "90 % of changes, once": partial(_swing, 0.9, 1, 0),
    "90 % of changes, for the root of the rungs": partial(_swing, 0.9, 1, 0.5),
    "90 % of changes, for each rung": partial(_swing, 0.9, 1, 1),
    "1.5 times 90 % of changes, for each rung": partial(_swing, 0.9, 1.5, 1),
}
CHOSEN = "90 % of changes, for each rung"  # `rungwise.contenders`


class Held(NamedTuple):
    """One study under one rule; all but the first three are None if there is nothing to measure by."""

    suite: str
    method: str
    rule: str
    holds: bool | None = None
    of_all: bool | None = None
    size: int | None = None
    field: int | None = None


def changes_of(study: rw.Study, found: rw.Contenders) -> list[float]:
    """By how much gaps to the answer changed from rung to rung, between the rungs that `found` looked at."""
    state, answer = study.state, study.best.number
    levels = [level for level in sorted(state.rated) if found.since <= level <= found.level]
    losses = np.full((len(study.trials), len(levels)), math.nan)
    for record in study.trials:
        if record.number == answer or (record.failure is None and record.paused_at >= found.below):
            reached = [level for level in levels if level <= record.paused_at]
            losses[record.number, : len(reached)] = [each[0] for each in record.losses_at(reached, state.metrics)]
    losses[np.isinf(losses)] = math.nan
    gaps = losses - losses[answer]
    changes = np.abs(np.diff(np.delete(gaps, answer, axis=0), axis=1)).ravel()
    return [float(change) for change in changes if math.isfinite(change)]


def measured(task: Task, method: str, seed: int) -> list[Held]:
    """One study under every rule; under the chosen one the set is that of `contenders` itself."""
    table = task.table
    scheduler = contest(method, ladder_of(table)).scheduler
    study = rw.simulate(scheduler, table, trials=min(TRIALS, len(table)), seed=seed).study
    found = study.contenders()
    if found is None:
        return [Held(task.suite, method, rule) for rule in TRIED]
    losses = finals(table)[[record.config["row"] for record in study.trials]]
    everybody = contenders(study.state, math.inf)
    assert everybody is not None
    changes, compared = changes_of(study, found), everybody.trials
    best, best_of_all = min(losses[one.trial] for one in compared), min(losses)
    rows = []
    for rule, margin in TRIED.items():
        chosen = found.numbers
        if rule != CHOSEN:
            margins = {
                level: margin(found, changes, found.steps + (level == found.below))
                for level in (found.below, found.level)
            }
            if None in margins.values():
                continue
            chosen = [one.trial for one in compared if one.behind <= margins[one.level]]
        got = min(losses[chosen])
        rows.append(
            Held(
                task.suite, method, rule, bool(got <= best), bool(got <= best_of_all), len(chosen), len(compared)
            )
        )  # fmt: skip
    return rows


def cell(rows: list[Held]) -> str:
    there = [row for row in rows if row.holds is not None]
    if not there:
        return "–"
    share, size, field = (np.mean([getattr(row, name) for row in there]) for name in ("holds", "size", "field"))
    missed = "" if share >= ENOUGH else " ✗"
    without = "" if len(there) == len(rows) else f", {len(rows) - len(there)} without"
    return f"{100 * share:.0f} %{missed} ({size:.1f} of {field:.0f}{without})"


def judged(rows: list[Held], suites: list[str]) -> Iterator[list[str]]:
    """A row a suite: the chosen rule under each method."""
    yield ["suite", "studies", *METHODS, "all", "by chance", "whole study"]
    rows = [row for row in rows if row.rule == CHOSEN]
    for suite in [*suites, "all"]:
        here = [row for row in rows if suite in (row.suite, "all")]
        of_all = np.mean([row.of_all for row in here if row.of_all is not None])
        chance = np.mean([row.size / row.field for row in here if row.size is not None and row.field is not None])
        by_method = [cell([row for row in here if row.method == method]) for method in METHODS]
        yield [suite, str(len(here)), *by_method, cell(here), f"{100 * chance:.0f} %", f"{100 * of_all:.0f} %"]


def tried(rows: list[Held], suites: list[str]) -> Iterator[list[str]]:
    """A row a rule: all methods together."""
    yield ["a contender is behind by no more than", *suites]
    for rule in TRIED:
        name = f"**{rule}**" if rule == CHOSEN else rule
        yield [name, *(cell([row for row in rows if (row.suite, row.rule) == (suite, rule)]) for suite in suites)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["select", "judge"], default="judge")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--suite", action="append", choices=SUITES)
    given = parser.parse_args()
    wanted = [suite for suite in given.suite or SUITES if there_is(suite)]
    tasks = [task for suite in wanted for task in part_of(load_suite(suite), given.part)]
    seeds = range(given.first_seed, given.first_seed + given.repeats)
    units = [(task, method, seed) for task in tasks for method in METHODS for seed in seeds]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        rows = [row for found in pool.map(measured, *zip(*units, strict=True), chunksize=8) for row in found]
    suites = list(dict.fromkeys(task.suite for task in tasks))
    table = judged if given.part == "judge" else tried
    for place, cells in enumerate(table(rows, suites)):
        print(f"| {' | '.join(cells)} |")
        if place == 0:
            print("|---" * len(cells) + "|")
    print(f"\n✗: in less than {100 * ENOUGH:.0f} % of the studies.")


if __name__ == "__main__":
    main()
