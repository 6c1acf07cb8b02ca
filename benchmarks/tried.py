"""What was tried for the best answer for a budget, on the tasks for choosing only: variants, and rules of recommending.

python benchmarks/tried.py variants|rules [--repeats 4]      (tables in Markdown; the suites that are there)

`variants` are schedulers and searchers that are told the budget; their regret beside that of PASHA with random search,
which is not told it. `rules` replays runs that are not told it and asks several rules for the answer.
"""

from __future__ import annotations

import argparse
import math
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np

from rungwise.bench.board import GRID, BoardOptions, part_of, play, standings
from rungwise.bench.budget import Contest, Outcome, Recorder, Trace, ladder_of, outcomes, run_method
from rungwise.bench.contests import BASE, contest, schedulers
from rungwise.bench.suites import load_suite, there_is
from rungwise.bench.task import Task
from rungwise.core import as_scheduler
from rungwise.core.rungs import Ladder
from rungwise.events import Completed, Job, Result
from rungwise.executors import Message
from rungwise.recommendation import recommended

SUITES = ("lcbench", "taskset", "nmtlc", "digits-mlp", "lcdb", "boosted-trees")
BUDGETS = (2.0, 5.0, 10.0, 20.0)
RANDOM = {"name": "random"}
HALF = {"name": "patient", "deviations": 0.5}
DENSITY = {"name": "density"}
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # what differs from ASHA, and the searcher
    "eager": ({}, RANDOM),
    "patient": ({"promotion": "patient"}, RANDOM),
    "half as patient": ({"promotion": HALF}, RANDOM),
    "half as patient, opens at 1": ({"promotion": HALF | {"opens_at": 1}}, RANDOM),
    "a third as patient": ({"promotion": HALF | {"deviations": 0.33}}, RANDOM),
    "a quarter as patient": ({"promotion": HALF | {"deviations": 0.25}}, RANDOM),
    "not patient, opens at 2": ({"promotion": HALF | {"deviations": 0.0}}, RANDOM),
    "patient, opens at 1": ({"promotion": {"name": "patient", "opens_at": 1}}, RANDOM),
    "patient, one in 4": ({"promotion": "patient", "reduction_factor": 4}, RANDOM),
    "patient, first rung 3 times as high": ({"promotion": "patient", "first": 3}, RANDOM),
    "PASHA": ({"name": "pasha"}, RANDOM),
    "PASHA, half as patient": ({"name": "pasha", "promotion": HALF}, RANDOM),
    "half as patient, density": ({"promotion": HALF}, DENSITY),
    "half as patient, density, 3 in 4 random": ({"promotion": HALF}, DENSITY | {"random_share": 0.75}),
    "patient, density": ({"promotion": "patient"}, DENSITY),
    "patient, density, 3 in 4 random": ({"promotion": "patient"}, DENSITY | {"random_share": 0.75}),
    "patient, density, adaptive": ({"promotion": "patient"}, DENSITY | {"random_share": "auto"}),
}


def made(name: str, ladder: Ladder) -> Contest:
    """The variant of that name, or a method of the board."""
    if name not in VARIANTS:
        return contest(name, ladder)
    settings, searcher = VARIANTS[name]
    given = schedulers(ladder)["asha"] | settings
    given["min_resource"] *= given.pop("first", 1)
    return Contest(as_scheduler(given), "random" if searcher == RANDOM else searcher, told=True)


def variants(tasks: list[Task], repeats: int) -> Iterator[tuple[str, list[str]]]:
    """A row a variant."""
    options = BoardOptions(budgets=BUDGETS, repeats=repeats, processes=os.cpu_count() or 1)
    found = play(tasks, [BASE, *VARIANTS], made, options, base=BASE)
    lines = {(line.suite, line.method, line.budget): line.regret for line in standings(found, options, BASE)}
    suites = list(dict.fromkeys(suite for suite, *_ in lines))
    yield "told the budget", suites
    for name in (BASE, *VARIANTS):
        yield name, [" / ".join(f"{lines[suite, name, each]:.1f}" for each in BUDGETS) for suite in suites]


Rule = Callable[[Mapping[int, Result], Mapping[int, int], Callable[[Result], bool]], Result | None]
RULES: dict[str, Rule] = {  # of the best result of each level, how many each has, and who stands where that was
    "best at the highest rung": lambda best, rated, stands: best[max(best)],
    "best at the highest rung that 3 completed": lambda best, rated, stands: best[
        max((level for level in best if rated[level] >= 3), default=max(best))
    ],
    "best score at any rung": lambda best, rated, stands: min(
        best.values(), key=lambda one: (one.losses[0], -one.level)
    ),
    "the package's": lambda best, rated, stands: recommended(best, rated, tested=False, stands=stands),
}


class Watched(Recorder):
    """Also records which row completed which level, after how many reports."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.completed: list[tuple[int, int, int]] = []
        self._until: dict[int, int] = {}

    def submit(self, job: Job) -> None:
        super().submit(job)
        self._until[job.trial] = job.until

    def poll(self, timeout: float) -> list[Message]:
        messages = super().poll(timeout)
        for message in messages:
            if type(message) is Completed:
                row, _ = self._begun[message.trial]
                self.completed.append((len(self.rows), row, self._until[message.trial]))
        return messages


def answers(rule: Rule, completed: list[tuple[int, int, int]], losses: Callable[[int, int], float]) -> Any:
    """(number of reports, row): what `rule` answers, when that changes."""
    best: dict[int, Result] = {}
    rated: dict[int, int] = {}
    reached: dict[int, int] = {}  # row -> the last level that it completed
    found: list[tuple[int, int]] = []
    for place, row, level in completed:
        loss, reached[row] = losses(row, level), level
        if loss < math.inf:
            rated[level] = rated.get(level, 0) + 1
            if level not in best or loss < best[level].losses[0]:
                best[level] = Result(row, level, (loss,))
        answer = rule(best, rated, lambda result: reached[result.trial] <= result.level) if best else None
        if answer is not None and (not found or found[-1][1] != answer.trial):
            found.append((place, answer.trial))
    return found


def replayed(task: Task, seed: int) -> list[Outcome]:
    """The outcomes of every scheduler under every rule."""
    table, sign = task.table, 1 if task.table.mode == "min" else -1
    resources = table.resources.tolist()

    def loss(row: int, level: int) -> float:
        value = sign * table.scores[row, bisect_right(resources, level) - 1]
        return float(value) if math.isfinite(value) else math.inf

    found: list[Outcome] = []
    made: list[Watched] = []

    def watched(*arguments: Any) -> Watched:
        made.append(Watched(*arguments))
        return made[-1]

    for name, settings in schedulers(ladder_of(table)).items():
        if name in ("full", "one-rung"):
            continue  # there is one rung: all rules agree
        run = run_method(task, Contest(as_scheduler(settings)), name, seed, GRID[-2], record=watched)
        for rule in RULES:
            fields = {"method": f"{name}: {rule}", "answers": answers(RULES[rule], made[-1].completed, loss)}
            trace = Trace(**{each: getattr(run, each) for each in Trace.__struct_fields__} | fields)
            found += outcomes(trace, table, BUDGETS)
    return found


def rules(tasks: list[Task], repeats: int) -> Iterator[tuple[str, list[str]]]:
    """A row a scheduler and rule."""
    pairs = [(task, seed) for task in tasks for seed in range(repeats)]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        found = [one for each in pool.map(replayed, *zip(*pairs, strict=True)) for one in each]
    suites = list(dict.fromkeys(one.suite for one in found))
    yield "answer", suites
    for method in dict.fromkeys(one.method for one in found):
        cells = []
        for suite in suites:
            here = [one for one in found if (one.suite, one.method) == (suite, method)]
            means = [np.mean([one.regret for one in here if one.budget == each]) for each in BUDGETS]
            cells.append(" / ".join(f"{mean:.0f}" for mean in means))
        yield method, cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["variants", "rules"])
    parser.add_argument("--repeats", type=int, default=4)
    arguments = parser.parse_args()
    tasks = [task for suite in SUITES if there_is(suite) for task in part_of(load_suite(suite), "select")]
    table = {"variants": variants, "rules": rules}[arguments.what](tasks, arguments.repeats)
    for number, (name, cells) in enumerate(table):
        print(f"| {name} | {' | '.join(cells)} |")
        if number == 0:
            print("|---" * (len(cells) + 1) + "|")


if __name__ == "__main__":
    main()
