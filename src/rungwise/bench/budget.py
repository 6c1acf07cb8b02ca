"""What does a method give for a budget? One run on a table, and what it would have answered for each budget.

A budget B is in full trainings, of R units each, and includes training the recommended configuration on to R: the run
goes on as long as what was spent and what the recommended one still lacks to R fit into B · R. So one run of a method
that is not told the budget answers for every budget; one that is told it has a run for each.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, final

import msgspec
import numpy as np

from rungwise.bench.rows import RowSearch
from rungwise.bench.task import Array, Task
from rungwise.clock import Clock
from rungwise.core import Scheduler
from rungwise.core.rungs import Ladder
from rungwise.curves import CurveTable
from rungwise.errors import InputError
from rungwise.events import Job, Reported
from rungwise.executors import Message
from rungwise.loop import drive
from rungwise.parameters import Integer
from rungwise.search import Searcher
from rungwise.simulate import in_order
from rungwise.space import Space
from rungwise.study import Study

ORACLE = "oracle"
"""The bound of who knows the truth after one step."""


@final
class Trace(msgspec.Struct, frozen=True):
    """A run of a method, report by report: which row of the table, up to which resource, at which simulated second.

    `answers` holds (number of reports before, row): from when on which row was recommended. A report is paid with
    the step from the table's resource before: whoever trains a row again from the beginning pays for it again.
    """

    suite: str
    task: str
    seed: int
    method: str
    rows: list[int]
    resources: list[int]
    seconds: list[float]
    answers: list[tuple[int, int]]

    def check(self, table: CurveTable) -> None:
        """Raise `InputError` if this cannot be a run on `table`."""
        sizes = len(self.rows), len(self.resources), len(self.seconds)
        if len(set(sizes)) > 1:
            raise InputError(f"it has {sizes[0]} rows, {sizes[1]} resources and {sizes[2]} seconds")
        if wrong := set(self.resources) - set(table.resources.tolist()):
            raise InputError(f"the table has no resource {min(wrong)}")
        begun = {row: place for place, row in reversed([*enumerate(self.rows, 1)])}  # row -> its first report
        if wrong := {row for row in begun if not 0 <= row < len(table)}:
            raise InputError(f"the table has no row {min(wrong)}; it has {len(table)}")
        for place, row in self.answers:
            if not begun.get(row, len(self.rows) + 1) <= place <= len(self.rows):
                raise InputError(f"row {row} is its answer after report {place}, but has not been trained by then")


@final
class Outcome(msgspec.Struct, frozen=True):
    """What a method gives for a budget.

    `row` is the recommended configuration, None if there is none yet. `score` is its score at R (None if it has none
    there), `regret` how far that is from the best score at R of the table, in per cent of the distance from the best to
    the median, at most 100; `points` is the same in units of the score. `resource` is all that was spent, the row's way
    to R included, and `seconds` the simulated time of it; `configurations` is how many were begun.
    """

    suite: str
    task: str
    seed: int
    method: str
    budget: float
    row: int | None
    score: float | None
    regret: float
    points: float
    resource: int
    seconds: float
    configurations: int


@final
class Contest(msgspec.Struct, frozen=True):
    """A method: a scheduler, and a searcher that chooses among all rows.

    If it is `told` the budget, it runs as `tune(budget=)` does, else on and on, as if there were none. With a `share`
    it starts so many configurations: that share of the (B - 1) · R units which are left when the winner's training is
    set aside. Both kinds have a run of their own for each budget.
    """

    scheduler: Scheduler
    searcher: str | dict[str, Any] = "random"
    told: bool = False
    share: float | None = None

    @property
    def informed(self) -> bool:
        """Whether what it does depends on the budget."""
        return self.told or self.share is not None

    def trials(self, ladder: Ladder, budget: float, rows: int) -> int:
        """How many of `rows` configurations it may start for a budget."""
        if self.share is None:
            return rows
        assert ladder.max_resource is not None
        return max(1, min(rows, round(self.share * (budget - 1) * ladder.max_resource / ladder.min_resource)))


def ladder_of(table: CurveTable) -> Ladder:
    """The ladder of all methods: from the table's first resource by threes to its last."""
    return Ladder(int(table.resources[0]), 3, int(table.resources[-1]))


def finals(table: CurveTable) -> Array:
    """The losses at R of all rows, shape (rows,); `inf` where there is none."""
    losses: Array = (1 if table.mode == "min" else -1) * table.scores[:, -1]
    return np.where(np.isfinite(losses), losses, math.inf)


def regret(table: CurveTable, row: int | None) -> tuple[float, float]:
    """(in per cent of the distance from the best to the median, in units of the score); of no row, that of the median.

    >>> table = CurveTable(np.array([[1.0], [2.0], [4.0]]), mode="min")
    >>> regret(table, 0), regret(table, 2), regret(table, None)
    ((0.0, 0.0), (100.0, 1.0), (100.0, 1.0))

    At most 100 per cent: whoever is worse than the median has answered nothing.
    """
    losses = finals(table)
    best = float(losses.min())
    span = float(np.median(losses[np.isfinite(losses)])) - best
    lost = math.inf if row is None else float(losses[row]) - best
    return (100.0 * min(lost / span, 1.0), min(lost, span)) if span > 0 else (0.0, 0.0)


def run_method(
    task: Task,
    contest: Contest,
    name: str,
    seed: int,
    most: float,
    *,
    workers: int = 4,
    record: Callable[[Study, CurveTable, int, float], Recorder] | None = None,
) -> Trace:
    """Run a method on `task` until the budget `most` is spent, or nothing is left to do.

    Random search takes the rows in the order that `seed` draws: every scheduler sees the same ones. `record` makes what
    simulates the workers, a `Recorder` unless said.
    """
    table = task.table
    ladder = ladder_of(table)
    rows = np.random.default_rng(seed).permutation(len(table)).tolist()
    trials = contest.trials(ladder, most, len(rows))
    searcher: Searcher = in_order(rows[:trials], trials, len(rows))
    if contest.searcher != "random":
        searcher = RowSearch(task.configs, contest.searcher)
    space = Space({"row": Integer(0, len(table) - 1)})
    study = Study(space, contest.scheduler, searcher, mode=table.mode, seed=seed)
    study.extend(**({"budget": most} if contest.told else {"trials": trials}))
    recorder = (record or Recorder)(study, table, workers, most * int(table.resources[-1]))
    drive(study, recorder, may_give_out=lambda: not recorder.over, watch=recorder.look)
    return Trace(
        task.suite, task.name, seed, name, recorder.rows, recorder.resources, recorder.seconds, recorder.answers
    )


def oracle(task: Task, seed: int, most: float, *, workers: int = 4) -> Trace:
    """Who knows the truth: trains every row for one step, in the order of random search, and names the best at R."""
    table, losses = task.table, finals(task.table)
    first, last = int(table.resources[0]), int(table.resources[-1])
    rows = np.random.default_rng(seed).permutation(len(table)).tolist()[: max(1, int(most * last / first))]
    answers: list[tuple[int, int]] = []
    free = [0.0] * workers
    seconds = []
    for number, row in enumerate(rows, 1):
        if not answers or losses[row] < losses[answers[-1][1]]:
            answers.append((number, row))
        heapq.heapreplace(free, free[0] + float(table.seconds[row, 0]))
        seconds.append(max(free))
    return Trace(task.suite, task.name, seed, ORACLE, rows, [first] * len(rows), seconds, answers)


class Recorder:
    """Simulated workers, and what they say: a `Trace` in the making. It is `over` when the budget is spent."""

    def __init__(self, study: Study, table: CurveTable, workers: int, units: float) -> None:
        self.rows: list[int] = []
        self.resources: list[int] = []
        self.seconds: list[float] = []
        self.answers: list[tuple[int, int]] = []
        self.over = False
        self.capacity = workers
        self._clock, self._state, self._units = Clock(table, workers), study.state, units
        self._last = int(table.resources[-1])
        self._begun: dict[int, tuple[int, float]] = {}  # trial -> its row, and when training it alone would have begun
        resources = table.resources.tolist()
        self._moments = [dict(zip(resources, row, strict=True)) for row in table.seconds.tolist()]

    def submit(self, job: Job) -> None:
        """Begin a job."""
        row = job.config["row"]
        self._begun[job.trial] = row, self._clock.now - self._moments[row].get(job.start, 0.0)
        self._clock.submit(job)

    def poll(self, timeout: float) -> list[Message]:
        """What is said up to the next end of a job."""
        messages = self._clock.poll(timeout)
        for message in messages:
            if type(message) is Reported:
                row, begun = self._begun[message.trial]
                self.rows.append(row)
                self.resources.append(message.resource)
                self.seconds.append(begun + self._moments[row][message.resource])
        return messages

    def look(self, messages: list[Message]) -> None:
        """Note who is recommended, now that the messages are known, and whether there is anything left to spend."""
        if not (best := self._state.winners):
            return
        row, _ = self._begun[best[0]]
        if not self.answers or self.answers[-1][1] != row:
            self.answers.append((len(self.rows), row))
        lacks = self._last - self._state.trials[best[0]].resource
        self.over = self._state.resource_used + lacks > self._units


def outcomes(trace: Trace, table: CurveTable, budgets: Sequence[float]) -> list[Outcome]:
    """What the method of `trace` gives for each of `budgets`, in full trainings."""
    last = int(table.resources[-1])
    costs = dict(zip(table.resources.tolist(), np.diff(table.resources, prepend=0).tolist(), strict=True))
    reached: dict[int, int] = {}
    changes = dict(trace.answers)
    answer = changes.get(0)
    now = _State(answer, 0, 0, 0.0, 0)
    open_budgets, found = sorted(budgets), {}
    for place, (row, resource, second) in enumerate(zip(trace.rows, trace.resources, trace.seconds, strict=True), 1):
        spent = now.spent + costs[resource]
        reached[row] = max(resource, reached.get(row, 0))
        answer = changes.get(place, answer)
        lacks = 0 if answer is None else last - reached[answer]
        while open_budgets and spent + lacks > open_budgets[0] * last:
            found[open_budgets.pop(0)] = now
        if not open_budgets:
            break
        now = _State(answer, spent, lacks, second, len(reached))
    return [_outcome(trace, table, budget, found.get(budget, now)) for budget in budgets]


class _State(NamedTuple):
    """Where a run stood: what it recommended, what was spent, and what the recommended row still lacked to R."""

    row: int | None
    spent: int
    lacks: int
    seconds: float
    configurations: int


def _outcome(trace: Trace, table: CurveTable, budget: float, state: _State) -> Outcome:
    row, seconds = state.row, state.seconds
    lost, points = regret(table, row)
    score = None if row is None or not math.isfinite(table.scores[row, -1]) else float(table.scores[row, -1])
    if row is not None:
        at = bisect_right(table.resources.tolist(), int(table.resources[-1]) - state.lacks) - 1
        seconds += float(table.seconds[row, -1] - table.seconds[row, at])
    return Outcome(
        trace.suite,
        trace.task,
        trace.seed,
        trace.method,
        budget,
        row,
        score,
        lost,
        points,
        state.spent + state.lacks,
        seconds,
        state.configurations,
    )
