"""The scoreboard: every method on every task under every seed, for every budget, and what that says.

`play` runs them, `standings` compares them with one of them, suite by suite and over all. May import what `bench` has.
"""

from __future__ import annotations

import math
import tomllib
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, final

import msgspec
import numpy as np
from msgspec import Meta

from rungwise.bench.budget import Contest, Outcome, Trace, ladder_of, oracle, outcomes, run_method
from rungwise.bench.contests import HINDSIGHT, in_hindsight
from rungwise.bench.statistics import LEVEL, Interval
from rungwise.bench.task import Array, Task
from rungwise.bench.units import run_units
from rungwise.core.rungs import Ladder
from rungwise.errors import InputError
from rungwise.validation import real, whole
from rungwise.version import __version__

ALL = "all suites"
GRID = (2.0, 2.5, 3.0, 4.0, 5.0, 6.5, 8.0, 10.0, 13.0, 16.0, 20.0, 25.0, 32.0, 40.0, 50.0, 64.0)
"""The budgets between which a curve is drawn, and read, on a logarithmic scale."""
FURTHER = 3
"""The method that others are compared with is run so many times further than the largest budget."""
RESAMPLES = 2_000
SPLIT = Path(__file__).parent / "split.toml"


@final
class BoardOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the board is played: for `budgets` in full trainings, under `repeats` seeds from `first_seed` on.

    There are `workers` simulated workers.

    >>> BoardOptions(budgets=(5, 10)).workers
    4

    Raises `InputError` for a budget of 1 or less, for the same one twice, and for counts below 1.
    """

    budgets: tuple[float, ...] = (5.0, 10.0, 20.0)
    repeats: Annotated[int, Meta(description="Seeds per task.")] = 5
    first_seed: Annotated[int, Meta(description="The first of them.")] = 0
    workers: Annotated[int, Meta(description="Simulated workers.")] = 4
    processes: Annotated[int, Meta(description="Processes to use on this machine.")] = 1
    bounds: Annotated[bool, Meta(description="Also play what nobody can: the oracle, and hindsight.")] = False

    def __post_init__(self) -> None:
        for name in ("repeats", "workers", "processes"):
            if whole(value := getattr(self, name), name) < 1:
                raise InputError(f"{name} must be 1 or more, not {value!r}")
        if whole(self.first_seed, "first_seed") < 0:
            raise InputError(f"first_seed must be 0 or more, not {self.first_seed!r}")
        for budget in self.budgets:
            if real(budget, "budget") <= 1:
                raise InputError(f"a budget must be above 1 full training, which the winner takes, not {budget!r}")
        if not self.budgets or len(set(self.budgets)) < len(self.budgets):
            raise InputError(f"give each budget once, not {self.budgets!r}")

    @property
    def seeds(self) -> range:
        """Those under which each task is played."""
        return range(self.first_seed, self.first_seed + self.repeats)

    def asked(self, furthest: float) -> list[float]:
        """The budgets of `GRID` up to `furthest`, and those that are asked for."""
        return sorted({*(budget for budget in GRID if budget <= furthest), *self.budgets})


Contests = Callable[[str, Ladder], Contest]
ByBudget = dict[float, dict[str, dict[int, Outcome]]]  # budget -> task -> seed -> what came of it


@final
class _Unit(msgspec.Struct, frozen=True):
    """All methods on one task under one seed."""

    task: Task
    seed: int
    contests: Mapping[str, Contest]
    options: BoardOptions
    base: str

    def run(self) -> list[Outcome]:
        found: list[Outcome] = []
        table, workers, furthest = self.task.table, self.options.workers, max(self.options.budgets)
        if self.options.bounds:
            found += outcomes(
                oracle(self.task, self.seed, furthest, workers=workers), table, self.options.asked(furthest)
            )
        for name, contest in self.contests.items():
            if contest.informed:
                for budget in self.options.budgets:
                    trace = run_method(self.task, contest, name, self.seed, budget, workers=workers)
                    found += outcomes(trace, table, [budget])
                continue
            most = furthest * (FURTHER if name == self.base else 1)
            trace = run_method(self.task, contest, name, self.seed, most, workers=workers)
            found += outcomes(trace, table, self.options.asked(most))
        return found

    def identity(self) -> Any:
        contests = {
            name: [contest.scheduler.name, contest.scheduler.settings(), contest.searcher, contest.told, contest.share]
            for name, contest in self.contests.items()
        }
        settings = [list(self.options.budgets), self.options.workers, self.options.bounds, self.base, __version__]
        return [*self.task.identity(), self.seed, contests, settings]


def play(
    tasks: Sequence[Task],
    names: Sequence[str],
    make: Contests,
    options: BoardOptions,
    *,
    base: str,
    journal: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Outcome]:
    """The outcomes of the methods `names`, each of which `make` makes for a ladder, on all `tasks`.

    There are some between the budgets that are asked for, for the curves; `base` is run further. With `journal`, a
    file, what is done is kept there, and the same call goes on where it was broken off; a method's code is not
    compared.
    """
    units = []
    for task in tasks:
        ladder = ladder_of(task.table)
        contests = {name: make(name, ladder) for name in names} | (in_hindsight(ladder) if options.bounds else {})
        units += [_Unit(task, seed, contests, options, base) for seed in options.seeds]
    return _chosen(run_units(units, Outcome, processes=options.processes, journal=journal, progress=progress))


def _chosen(found: Sequence[Outcome]) -> list[Outcome]:
    """`found`, but of the methods in hindsight only, on each task and for each budget, the one of the least regret."""
    kept: list[Outcome] = []
    tried: dict[tuple[str, str, float], dict[str, list[Outcome]]] = {}
    for one in found:
        if one.method.startswith(HINDSIGHT):
            tried.setdefault((one.suite, one.task, one.budget), {}).setdefault(one.method, []).append(one)
        else:
            kept.append(one)
    for methods in tried.values():
        best = min(methods.values(), key=lambda runs: math.fsum(run.regret for run in runs))
        kept += [msgspec.structs.replace(run, method=HINDSIGHT) for run in best]
    return kept


def of_traces(folder: Path, tasks: Sequence[Task], options: BoardOptions) -> list[Outcome]:
    """The outcomes of what others' methods did: the traces, one in JSON a line, in the files `*.jsonl` of `folder`."""
    tables = {(task.suite, task.name): task.table for task in tasks}
    found: list[Outcome] = []
    for path in sorted(folder.rglob("*.jsonl")):
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            try:
                trace = msgspec.json.decode(line, type=Trace)
                if (table := tables.get((trace.suite, trace.task))) is None or trace.seed not in options.seeds:
                    continue
                trace.check(table)
            except (msgspec.DecodeError, InputError) as error:
                raise InputError(f"{path}, line {number}, is no trace: {error}") from None
            found += outcomes(trace, table, options.asked(max(options.budgets)))
    if not found:
        raise InputError(f"no trace in {folder} is of these tasks and seeds (files named *.jsonl are read)")
    return found


def part_of(tasks: Sequence[Task], part: str) -> list[Task]:
    """Those of `tasks` that `split.toml` has in `part`, "select" or "judge"."""
    split = tomllib.loads(SPLIT.read_text(encoding="utf-8"))
    return [task for task in tasks if task.name in split.get(task.suite, {}).get(part, ())]


@final
class Standing(msgspec.Struct, frozen=True):
    """A method at one budget, over the tasks of a suite, or over all suites, each of which counts the same.

    `regret` and `points` are means. `gain` is the mean of the base's regret minus the method's, `factor` how many times
    the budget the base needs for the same mean regret; each with an interval, a bootstrap over tasks. `at_least` says
    that the base never has so little: then the factor is that of the largest budget that it was run for. `at_most` says
    that it has so little at the smallest. `wins` and
    `losses` count tasks on which the mean regret is lower, or higher, by 1 per cent of the span or more.
    """

    suite: str
    method: str
    budget: float
    tasks: int
    seeds: int
    regret: float
    points: float
    gain: float
    gain_interval: Interval
    factor: float
    factor_interval: Interval
    at_least: bool
    at_most: bool
    wins: int
    losses: int


def standings(found: Sequence[Outcome], options: BoardOptions, base: str) -> list[Standing]:
    """A standing for each suite, method and budget; and for `ALL`, if there are several suites.

    A method is compared on the tasks and seeds that it was run on. Raises `InputError` if `base` was not run there.
    """
    grouped: dict[str, dict[str, ByBudget]] = {}
    for one in found:
        by_budget = grouped.setdefault(one.method, {}).setdefault(one.suite, {})
        by_budget.setdefault(one.budget, {}).setdefault(one.task, {})[one.seed] = one
    if base not in grouped:
        raise InputError(f"there is nothing of {base!r} to compare with")
    lines = []
    for method, suites in grouped.items():
        compared = {suite: _Compared(suite, budgets, grouped[base][suite]) for suite, budgets in suites.items()}
        for budget in options.budgets:
            lines += [_standing(suite, method, budget, [each]) for suite, each in compared.items()]
            if len(grouped[base]) > 1 and compared.keys() == grouped[base].keys():
                lines.append(_standing(ALL, method, budget, list(compared.values())))
    return lines


class _Compared:
    """A method beside the base on one suite: mean regrets over the seeds, arrays (tasks,) by budget."""

    def __init__(self, suite: str, own: ByBudget, base: ByBudget) -> None:
        some = next(iter(own.values()))
        self.pairs = [(task, sorted(seeds)) for task, seeds in some.items()]
        self.seeds = max(len(seeds) for _, seeds in self.pairs)
        self.regrets = {budget: self._means(by_task, "regret") for budget, by_task in own.items()}
        self.points = {budget: self._means(by_task, "points") for budget, by_task in own.items()}
        self.base = {budget: self._means(by_task, "regret") for budget, by_task in base.items()}
        rng = np.random.default_rng(zlib.crc32(suite.encode()))  # the same for all methods, another for each suite
        self.samples = rng.integers(0, len(self.pairs), (RESAMPLES, len(self.pairs)))

    def _means(self, by_task: dict[str, dict[int, Outcome]], what: str) -> Array:
        try:
            return np.array(
                [np.mean([getattr(by_task[task][seed], what) for seed in seeds]) for task, seeds in self.pairs]
            )
        except KeyError:
            raise InputError(f"the base was not run on all of {', '.join(task for task, _ in self.pairs)}") from None


def _standing(suite: str, method: str, budget: float, compared: Sequence[_Compared]) -> Standing:
    """One line; suites count the same, tasks the same within a suite."""
    own = [each.regrets[budget] for each in compared]
    gains = [each.base[budget] - each.regrets[budget] for each in compared]
    grid = sorted(compared[0].base)
    mean = np.mean([values.mean() for values in own])
    curve = np.mean([[each.base[place].mean() for place in grid] for each in compared], axis=0)
    drawn = np.mean([values[each.samples].mean(axis=1) for values, each in zip(own, compared, strict=True)], axis=0)
    curves = np.mean(
        [[each.base[place][each.samples].mean(axis=1) for place in grid] for each in compared], axis=0
    )  # (budgets, resamples)
    factors = [_factor(grid, curves[:, place], drawn[place], budget) for place in range(RESAMPLES)]
    differences = np.mean(
        [values[each.samples].mean(axis=1) for values, each in zip(gains, compared, strict=True)], axis=0
    )
    return Standing(
        suite,
        method,
        budget,
        sum(len(each.pairs) for each in compared),
        max(each.seeds for each in compared),
        float(mean),
        float(np.mean([each.points[budget].mean() for each in compared])),
        float(np.mean([values.mean() for values in gains])),
        _interval(differences),
        _factor(grid, curve, float(mean), budget),
        _interval(np.array(factors)),
        bool(mean < curve.min()),
        bool(mean >= curve[0]),
        sum(int((values >= 1).sum()) for values in gains),
        sum(int((values <= -1).sum()) for values in gains),
    )


def _factor(grid: Sequence[float], curve: Array, regret: float, budget: float) -> float:
    """How many times `budget` the base needs, whose mean regrets at the budgets `grid` are `curve`, for `regret`.

    Between two budgets its curve is a line over the logarithm of the budget; the first place counts where it is so low.
    If it never is, it is as if it were at the largest, and if it always is, as at the smallest.
    """
    reached = np.flatnonzero(curve <= regret)
    if not len(reached):
        return grid[-1] / budget
    first = reached[0]
    if first == 0:
        return grid[0] / budget
    share = (curve[first - 1] - regret) / (curve[first - 1] - curve[first])
    return math.exp(math.log(grid[first - 1]) + share * math.log(grid[first] / grid[first - 1])) / budget


def _interval(values: Array) -> Interval:
    low, high = np.percentile(values, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return float(low), float(high)


def curve(found: Sequence[Outcome], suite: str, method: str) -> list[tuple[float, float]]:
    """(budget, mean regret over the tasks of a suite and the seeds) of a method: its anytime curve."""
    here = [one for one in found if (one.suite, one.method) == (suite, method)]
    budgets = sorted({one.budget for one in here})
    return [
        (budget, math.fsum(r) / len(r)) for budget in budgets if (r := [o.regret for o in here if o.budget == budget])
    ]
