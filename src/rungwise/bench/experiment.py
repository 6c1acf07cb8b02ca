"""Does it save what it promises? The experiment of the PASHA paper (Bohdal et al., ICLR 2023, section 5) on tables.

Each seed draws, for each task, the configurations that are tried and their order; every method sees the same ones.
A method is a scheduler; `paper_methods` gives those of the paper, with fixed ceilings beside them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import msgspec
import numpy as np

from rungwise.bench.options import ExperimentOptions
from rungwise.bench.rows import RowSearch
from rungwise.bench.task import Task
from rungwise.bench.units import run_units
from rungwise.core import Scheduler
from rungwise.core.asha import ASHA
from rungwise.core.pasha import PASHA
from rungwise.core.rungs import Ladder
from rungwise.errors import our_names
from rungwise.simulate import simulate
from rungwise.version import __version__

DEFAULT = ExperimentOptions()
BASELINES = (1, 2, 3, 5)  # epochs that every configuration is trained for by the heuristic of the paper


@final
class Searched(msgspec.Struct, frozen=True):
    """A scheduler whose configurations a searcher chooses among all rows of the table."""

    scheduler: Scheduler
    searcher: str | dict[str, Any]


Method = Scheduler | Searched | None
Methods = Callable[[Ladder], Mapping[str, Method]]


@final
class Run(msgspec.Struct, frozen=True):
    """One method on one task under one seed.

    `row` is the configuration that it chose, `score` the best validation score on the whole curve of that row (the
    paper trains the choice to the end), None if it chose none or the curve has none; `test` is the test score at the
    same place, None if the task has none. `seconds` are simulated, `resource` is what was used, `max_resource` the
    most that any trial had. `ceilings` holds (second, level).
    """

    suite: str
    task: str
    seed: int
    method: str
    row: int | None
    score: float | None
    test: float | None
    seconds: float
    resource: int
    max_resource: int
    ceilings: tuple[tuple[float, int], ...] = ()


def paper_methods(ladder: Ladder, rankings: Sequence[str] = ("soft",)) -> dict[str, Method]:
    """ASHA; PASHA under each of `rankings`; the k-epoch baselines; a random choice (None); fixed ceilings.

    A k-epoch baseline trains every configuration for k times the smallest resource. `ceiling-L` is ASHA that
    stops at level L, for every level of the ladder between the first (which is the 1-epoch baseline) and the last
    (which is ASHA).

    >>> list(paper_methods(Ladder(1, 3, 27)))
    ['asha', 'pasha', '1-epoch', '2-epoch', '3-epoch', '5-epoch', 'random', 'ceiling-3', 'ceiling-9']
    """
    first, eta, last = ladder.min_resource, ladder.reduction_factor, ladder.max_resource
    assert last is not None
    methods: dict[str, Method] = {"asha": ASHA(min_resource=first, reduction_factor=eta, max_resource=last)}
    for ranking in rankings:
        name = "pasha" if ranking == "soft" else f"pasha-{ranking}"
        methods[name] = PASHA(min_resource=first, reduction_factor=eta, max_resource=last, ranking=ranking)
    for k in BASELINES:
        if k * first < last:
            methods[f"{k}-epoch"] = ASHA(min_resource=k * first, reduction_factor=eta, max_resource=k * first)
    methods["random"] = None
    for level in ladder.levels(10**6)[1:-1]:
        methods[f"ceiling-{level}"] = ASHA(min_resource=first, reduction_factor=eta, max_resource=level)
    return methods


ABLATION: dict[str, dict[str, Any]] = {
    "direct": {"name": "direct"},
    "soft, ε = noise": {"name": "soft"},
    "soft, ε = 0.01": {"name": "soft", "epsilon": 0.01},
    "soft, ε = 0.025": {"name": "soft", "epsilon": 0.025},
    "soft, ε = 0.05": {"name": "soft", "epsilon": 0.05},
    "soft, 1 σ": {"name": "soft_std", "scale": 1},
    "soft, 2 σ": {"name": "soft_std", "scale": 2},
    "soft, 3 σ": {"name": "soft_std", "scale": 3},
    "soft, mean distance": {"name": "soft_mean_distance"},
    "soft, median distance": {"name": "soft_median_distance"},
    "RBO, p = 1, t = 0.5": {"name": "rbo", "p": 1, "threshold": 0.5},
    "RBO, p = 0.5, t = 0.5": {"name": "rbo", "p": 0.5, "threshold": 0.5},
    "RRR, p = 1, t = 0.05": {"name": "rrr", "p": 1, "threshold": 0.05},
    "RRR, p = 0.5, t = 0.05": {"name": "rrr", "p": 0.5, "threshold": 0.05},
    "ARRR, p = 1, t = 0.05": {"name": "arrr", "p": 1, "threshold": 0.05},
    "ARRR, p = 0.5, t = 0.05": {"name": "arrr", "p": 0.5, "threshold": 0.05},
}
"""The criteria of the paper's ablation (appendix), by their names there. A fixed ε is in units of the score."""


def ablation_methods(ladder: Ladder, unit: float = 1.0) -> dict[str, Method]:
    """ASHA, and PASHA under each criterion of the paper's ablation; a fixed ε counts in `unit`s of the score.

    >>> list(ablation_methods(Ladder(1, 3, 27)))[:3]
    ['asha', 'direct', 'soft, ε = noise']
    """
    first, eta, last = ladder.min_resource, ladder.reduction_factor, ladder.max_resource
    methods: dict[str, Method] = {"asha": ASHA(min_resource=first, reduction_factor=eta, max_resource=last)}
    for name, given in ABLATION.items():
        ranking = given | ({"epsilon": given["epsilon"] * unit} if "epsilon" in given else {})
        methods[name] = PASHA(min_resource=first, reduction_factor=eta, max_resource=last, ranking=ranking)
    return methods


def search_methods(
    ladder: Ladder, searchers: Sequence[str], schedulers: Sequence[str] = ("pasha",)
) -> dict[str, Method]:
    """Each of `schedulers` with random search and with each of `searchers` among all rows; the paper's baselines.

    `schedulers` are "asha" and "pasha".

    >>> list(search_methods(Ladder(1, 3, 27), ["gp"]))
    ['pasha', 'pasha-gp', '1-epoch', '2-epoch', '3-epoch', '5-epoch', 'random']
    """
    known = paper_methods(ladder)
    methods: dict[str, Method] = {}
    for name in schedulers:
        scheduler = known[name]
        assert isinstance(scheduler, ASHA | PASHA)
        methods |= {name: scheduler, **{f"{name}-{each}": Searched(scheduler, each) for each in searchers}}
    return methods | {name: known[name] for name in known if name.endswith("-epoch") or name == "random"}


@our_names()
def experiment(
    tasks: Sequence[Task],
    options: ExperimentOptions = DEFAULT,
    *,
    methods: Methods = paper_methods,
    journal: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Run]:
    """Run every method on every task under every seed, as `options` say; the runs in this order.

    `methods` maps the ladder to named schedulers, with searchers if they are `Searched`, None meaning the first
    configuration untrained; give your own to compare it:

    >>> from rungwise.curves import CurveTable
    >>> curves = np.random.default_rng(0).random((20, 9))
    >>> task = Task("mine", "noise", CurveTable(curves, mode="max"), tuple({"row": row} for row in range(20)))
    >>> def mine(ladder):
    ...     return paper_methods(ladder) | {"mine": PASHA(max_resource=ladder.max_resource, ranking="direct")}
    >>> runs = experiment([task], ExperimentOptions(repeats=1), methods=mine)
    >>> [run.method for run in runs][-1], runs[0].max_resource
    ('mine', 9)

    For more than one of the `processes`, guard the calling script with `if __name__ == "__main__":`. With `journal`, a
    file, what is done is kept there, and the same call goes on where it was broken off; a method's code is not
    compared, so delete the journal after changing it. `progress` is called with what is done of how many.

    Raises `InputError` for a `max_resource` that a table does not have, and for a journal that belongs to another
    experiment.
    """
    units: list[_Unit] = []
    for task in tasks:
        made = methods(options.ladder(int(task.table.resources[0]), int(task.table.resources[-1])))
        units += [
            _Unit(task, seed, made, options.trials, options.workers, options.drain) for seed in range(options.repeats)
        ]
    return run_units(units, Run, processes=options.processes, journal=journal, progress=progress)


@final
class _Unit(msgspec.Struct, frozen=True):
    """All methods on one task under one seed."""

    task: Task
    seed: int
    methods: Mapping[str, Method]
    trials: int
    workers: int
    drain: bool

    def run(self) -> list[Run]:
        task, table = self.task, self.task.table
        rows = np.random.default_rng(self.seed).permutation(len(table))[: self.trials].tolist()
        runs = []
        for name, method in self.methods.items():
            row, spent = rows[0], (0.0, 0, 0)
            ceilings: list[tuple[float, int]] = []
            if method is not None:
                scheduler: Scheduler = method.scheduler if isinstance(method, Searched) else method
                tried = RowSearch(task.configs, method.searcher) if isinstance(method, Searched) else rows
                end = simulate(
                    scheduler,
                    table,
                    workers=self.workers,
                    trials=len(rows),
                    rows=tried,
                    seed=self.seed,
                    drain=self.drain,
                )
                row = None if end.best_trial is None else end.study.trials[end.best_trial].config["row"]
                spent, ceilings = (end.seconds, end.resource_used, end.max_resource), end.ceilings
            score, test = _at_best(task, row)
            runs.append(Run(task.suite, task.name, self.seed, name, row, score, test, *spent, tuple(ceilings)))
        return runs

    def identity(self) -> Any:
        """All that its runs depend on, as plain JSON."""
        methods = {name: _identity(method) for name, method in self.methods.items()}
        settings = [self.trials, self.workers, self.drain, __version__]
        return [*self.task.identity(), self.seed, methods, settings]


def _identity(method: Method) -> Any:
    if isinstance(method, Searched):
        return [_identity(method.scheduler), method.searcher]
    return method and [type(method).__qualname__, method.settings()]


def _at_best(task: Task, row: int | None) -> tuple[float | None, float | None]:
    """The best score on the curve of `row`, and the test score at the same place."""
    sign = 1 if task.table.mode == "min" else -1
    if row is None or not np.isfinite(task.table.scores[row]).any():
        return None, None
    losses = sign * task.table.scores[row]
    best = int(np.argmin(np.where(np.isfinite(losses), losses, math.inf)))
    test = None if task.test is None or not np.isfinite(task.test[row, best]) else float(task.test[row, best])
    return float(sign * losses[best]), test
