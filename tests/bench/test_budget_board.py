"""The scoreboard: what a run gives for a budget, against a slow reading of the definition; standings; the command."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

import rungwise as rw
from rungwise.bench.board import ALL, BoardOptions, Standing, part_of, play, standings
from rungwise.bench.budget import Contest, Outcome, Trace, ladder_of, oracle, outcomes, regret, run_method
from rungwise.bench.contests import contest, in_hindsight, methods, schedulers
from rungwise.bench.suites import load_suite
from rungwise.bench.task import Task
from rungwise.core.asha import ASHA

CODE = "from rungwise.cli import main; main()"


def a_task(seed: int = 0, rows: int = 40, last: int = 27, name: str = "one", mode: str = "min") -> Task:
    rng = np.random.default_rng(seed)
    losses = rng.random((rows, 1)) + np.arange(1, last + 1) ** -0.5 + rng.normal(0, 0.02, (rows, last))
    losses[rng.random(losses.shape) < 0.01] = np.nan
    seconds = np.cumsum(rng.random(losses.shape), axis=1)
    table = rw.CurveTable(losses, seconds, mode=mode)
    return Task("mine", name, table, tuple({"x": float(rng.random())} for _ in range(rows)))


def as_defined(trace: Trace, table: rw.CurveTable, budget: float) -> tuple[int | None, float, int]:
    """The definition read literally, for every moment anew: row, resource with the row's way to R, configurations."""
    last = int(table.resources[-1])
    answer: tuple[int | None, float, int] = (None, 0, 0)
    for moment in range(1, len(trace.rows) + 1):
        row = next((row for place, row in reversed(trace.answers) if place <= moment), None)
        reached: dict[int, int] = {}
        spent = 0
        for each, resource in zip(trace.rows[:moment], trace.resources[:moment], strict=True):
            spent += 1
            reached[each] = max(resource, reached.get(each, 0))
        whole = spent + (0 if row is None else last - reached[row])
        if whole > budget * last:
            break
        answer = row, whole, len(reached)
    return answer


@pytest.mark.parametrize("name", schedulers(ladder_of(a_task().table)))
@pytest.mark.parametrize("seed", range(3))
def test_an_outcome_is_what_the_definition_says(name: str, seed: int) -> None:
    task = a_task(seed)
    trace = run_method(task, contest(name, ladder_of(task.table)), name, seed, 8)
    for one in outcomes(trace, task.table, [1.5, 2, 3, 5, 8]):
        assert (one.row, one.resource, one.configurations) == as_defined(trace, task.table, one.budget)
        assert one.resource <= one.budget * 27
        assert (one.regret, one.points) == regret(task.table, one.row)


def test_whoever_trains_again_from_the_beginning_pays_again() -> None:
    table = rw.CurveTable(np.array([[3.0, 2.0], [2.0, 1.0]]), mode="min")
    again = Trace("mine", "one", 0, "restarts", [0, 1, 1, 1], [1, 1, 1, 2], [1.0, 2.0, 3.0, 4.0], [(1, 0), (2, 1)])
    assert [(one.row, one.resource, one.seconds) for one in outcomes(again, table, [1.5, 2])] == [
        (1, 3, 2 + 1),
        (1, 4, 4),
    ]


def test_the_seconds_are_those_of_the_run_and_of_the_rows_way_to_the_end() -> None:
    table = rw.CurveTable(np.array([[3.0, 2.0, 1.0]]), np.array([[1.0, 3.0, 7.0]]), mode="min")
    task = Task("mine", "one", table, ({"x": 0.0},))
    trace = run_method(task, Contest(ASHA(max_resource=1)), "asha", 0, 5)
    assert trace.seconds == [1.0]
    assert [one.seconds for one in outcomes(trace, table, [5])] == [7.0]


def test_who_is_told_the_budget_starts_as_many_as_its_share_says() -> None:
    task = a_task(rows=1000)
    few = Contest(ASHA(max_resource=27), share=1 / 9)
    assert len(set(run_method(task, few, "asha", 0, 10).rows)) == 27
    assert few.trials(ladder_of(task.table), 2, 1000) == 3
    assert few.trials(ladder_of(task.table), 1.01, 1000) == 1


def of(method: str, task: str, budget: float, regret: float, suite: str = "mine", seed: int = 0) -> Outcome:
    return Outcome(suite, task, seed, method, budget, 0, 0.0, regret, regret, 1, 1.0, 1)


def test_a_factor_is_how_many_times_the_budget_the_base_needs() -> None:
    base = [of("base", "one", budget, 60 - 10 * np.log2(budget)) for budget in (2, 4, 8, 16, 32)]
    options = BoardOptions(budgets=(4.0, 8.0))
    own = [of("own", "one", 4, 40 - 5), of("own", "one", 8, 30 + 10)]
    lines = {(line.method, line.budget): line for line in standings([*base, *own], options, "base")}
    assert lines["own", 4].factor == pytest.approx(2**0.5)
    assert lines["own", 8].factor == pytest.approx(1 / 2)
    assert lines["base", 4].factor == pytest.approx(1)
    assert (lines["own", 4].gain, lines["own", 8].gain) == (5, -10)
    assert (lines["own", 4].wins, lines["own", 4].losses) == (1, 0)
    assert lines["own", 4].gain_interval == (5, 5)


def test_a_factor_that_the_base_never_reaches_is_at_least_that_of_its_largest_budget() -> None:
    base = [of("base", "one", budget, regret) for budget, regret in ((2, 50), (4, 40), (8, 40), (16, 40))]
    found = [*base, of("own", "one", 4, 30), of("same", "one", 4, 40)]
    lines = {line.method: line for line in standings(found, BoardOptions(budgets=(4.0,)), "base")}
    assert (lines["own"].factor, lines["own"].at_least) == (4, True)
    assert (lines["same"].factor, lines["same"].at_least) == (pytest.approx(1), False)


def test_a_factor_is_read_where_the_curve_first_is_so_low() -> None:
    base = [of("base", "one", budget, regret) for budget, regret in ((2, 10), (4, 10), (8, 5))]
    found = [*base, of("own", "one", 4, 7.5), of("bad", "one", 4, 20)]
    lines = {line.method: line for line in standings(found, BoardOptions(budgets=(4.0,)), "base")}
    assert lines["own"].factor == pytest.approx(2**0.5)
    assert (lines["bad"].factor, lines["bad"].at_most) == (0.5, True)


def test_suites_are_resampled_apart() -> None:
    """With the same draws for all, the interval over six suites would be that of one: [0, 10]."""
    found = [
        one
        for suite in "abcdef"
        for task in range(4)
        for one in (
            of("base", f"{task}", 5, 50, suite), of("own", f"{task}", 5, 50 - 10 * (task % 2), suite)
        )
    ]  # fmt: skip
    lines = standings(found, BoardOptions(budgets=(5.0,)), "base")
    (line,) = [line for line in lines if (line.suite, line.method) == (ALL, "own")]
    low, high = line.gain_interval
    assert 2 < low < 4
    assert 6 < high < 8


WRONG = [
    ({"rows": [0, 0]}, "it has 2 rows, 1 resources"),
    ({"resources": [9999]}, "the table has no resource 9999"),
    ({"rows": [-1]}, "the table has no row -1"),
    ({"answers": [(1, 5)]}, "row 5 is its answer after report 1, but has not been trained by then"),
    ({"answers": [(7, 0)]}, "row 0 is its answer after report 7"),
]


@pytest.mark.parametrize(("changed", "said"), WRONG)
def test_a_trace_that_cannot_be_is_refused_in_one_line(changed: dict[str, object], said: str, tmp_path: Path) -> None:
    trace = Trace("digits-mlp", "digits-mlp-0", 0, "theirs", [0], [1], [1.0], [(1, 0)])
    wrong = msgspec.structs.replace(trace, **changed)
    (tmp_path / "some.jsonl").write_bytes(msgspec.json.encode(wrong) + b"\n")
    done = command("--suite", "digits-mlp", "--repeats", 1, "--traces", tmp_path)
    assert done.returncode == 2
    assert f"some.jsonl, line 1, is no trace: {said}" in done.stderr


def test_who_knows_the_truth_names_the_best_of_those_that_it_began() -> None:
    task = a_task(3)
    order = np.random.default_rng(7).permutation(40).tolist()
    losses = np.where(np.isfinite(task.table.scores[:, -1]), task.table.scores[:, -1], np.inf)
    for one in outcomes(oracle(task, 7, 5), task.table, [1.5, 2, 3]):
        begun = order[: int((one.budget - 1) * 27) + 1]
        assert one.row == min(begun, key=lambda row: losses[row])
        assert one.configurations == min(len(begun), 40)


def test_hindsight_takes_the_best_share_on_each_task_and_budget() -> None:
    options = BoardOptions(budgets=(3.0, 6.0), repeats=2, bounds=True)
    found = play([a_task()], ["pasha"], contest, options, base="pasha")
    assert {one.method for one in found} == {"pasha", "oracle", "hindsight"}
    alone = {
        share: [
            one.regret
            for seed in range(2)
            for one in outcomes(run_method(a_task(), each, share, seed, 6), a_task().table, [6])
        ]
        for share, each in in_hindsight(ladder_of(a_task().table)).items()
    }
    chosen = [one.regret for one in found if (one.method, one.budget) == ("hindsight", 6.0)]
    assert sum(chosen) == min(map(sum, alone.values()))


def test_who_is_told_the_budget_spends_what_is_left_of_it() -> None:
    task = a_task(rows=8)
    ladder = ladder_of(task.table)
    (told,), (untold,) = (
        outcomes(run_method(task, contest(name, ladder), name, 0, 6), task.table, [6])
        for name in ("asha@budget", "asha")
    )
    assert untold.resource < told.resource <= 6 * 27


def test_all_suites_count_the_same() -> None:
    found = [
        one
        for suite, tasks, gain in (("small", 1, 8.0), ("large", 3, 4.0))
        for task in range(tasks)
        for one in (of("base", f"{task}", 5, 50, suite), of("own", f"{task}", 5, 50 - gain, suite))
    ]
    (line,) = [
        line
        for line in standings(found, BoardOptions(budgets=(5.0,)), "base")
        if (line.suite, line.method) == (ALL, "own")
    ]
    assert isinstance(line, Standing)
    assert (line.gain, line.tasks, line.wins) == (6.0, 4, 4)


def test_more_processes_and_an_interruption_change_nothing(tmp_path: Path) -> None:
    tasks = [a_task(name="one"), a_task(1, name="two")]
    names = methods(("asha", "hyperband+evolution"))
    options = BoardOptions(budgets=(3.0, 5.0), repeats=2)
    whole = play(tasks, names, contest, options, base="pasha")
    broken = tmp_path / "journal"

    def interrupted(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play(tasks, names, contest, options, base="pasha", journal=broken, progress=interrupted)
    two = msgspec.structs.replace(options, processes=2)
    assert play(tasks, names, contest, two, base="pasha", journal=broken) == whole
    assert {one.budget for one in whole if one.method == "asha"} == {2.0, 2.5, 3.0, 4.0, 5.0}
    assert max(one.budget for one in whole if one.method == "pasha") > 5


def test_the_seeds_begin_where_it_is_said() -> None:
    found = play([a_task()], methods(("asha",)), contest, BoardOptions(repeats=2, first_seed=100), base="pasha")
    assert {one.seed for one in found} == {100, 101}


def test_no_task_is_both_for_choosing_and_for_judging() -> None:
    tasks = load_suite("digits-mlp") + load_suite("fashion-cells")
    select, judge = ({task.name for task in part_of(tasks, part)} for part in ("select", "judge"))
    assert select == {"digits-mlp-0", "digits-mlp-1", "digits-mlp-2"}
    assert judge == {"fashion-cells-0", "fashion-cells-1"}


@pytest.mark.parametrize("method", ["ashah", "asha+evolutoin"])
def test_a_method_that_there_is_not_is_named(method: str) -> None:
    with pytest.raises(rw.InputError, match="did you mean"):
        contest(method, ladder_of(a_task().table))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"budgets": (1.0,)}, "above 1 full training"),
        ({"budgets": (5.0, 5.0)}, "each budget once"),
        ({"budgets": ()}, "each budget once"),
        ({"repeats": 0}, "repeats must be 1 or more"),
        ({"first_seed": -1}, "first_seed must be 0 or more"),
    ],
)
def test_options_that_make_no_sense_are_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(rw.InputError, match=message):
        BoardOptions(**changed)  # type: ignore[arg-type]


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CODE, "bench", "budget", *map(str, arguments)],
        capture_output=True, text=True, env=os.environ | {"COLUMNS": "300"}, check=False,
    )  # fmt: skip


def test_the_command_prints_a_table_and_writes_the_file(tmp_path: Path) -> None:
    file, traces = tmp_path / "board.csv", tmp_path / "traces"
    traces.mkdir()
    task = load_suite("fashion-cells")[0]
    made = run_method(task, contest("full", ladder_of(task.table)), "theirs", 0, 5)
    (traces / "some.jsonl").write_bytes(msgspec.json.encode(made) + b"\n")
    arguments = ["--suite", "fashion-cells", "--repeats", 1, "--budget", 5, "--budget", 2.2, "--method", "asha"]
    done = command(*arguments, "--csv", file, "--figures", tmp_path, "--part", "judge")
    assert done.returncode == 0, done.stderr
    assert "B = 5" in done.stdout
    assert "asha: worst on fashion-cells at B = " in done.stdout
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == [
        "task", "seed", "method", "budget", "score", "regret", "resource", "seconds", "configurations"
    ]  # fmt: skip
    assert {(row["task"], row["method"], row["budget"]) for row in rows} == {
        (f"fashion-cells-{number}", method, budget)
        for number in (0, 1)
        for method in ("pasha", "asha")
        for budget in ("2.2", "5.0")
    }
    assert (tmp_path / "budget-fashion-cells.svg").exists()
    assert not file.with_name("board.csv.part").exists()
    done = command(*arguments, "--traces", traces)
    assert "theirs: worst on fashion-cells at B = " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--suite", "digits-mlp", "--part", "judge"], "no task of digits-mlp is in the part 'judge'"),
        (["--suite", "digits-mlp", "--traces", "/nowhere"], "--traces /nowhere must be a folder"),
        (["--suite", "digits-mlp", "--traces", "/usr/share/doc"], "no trace in /usr/share/doc is of these tasks"),
        (["--suite", "digits-mlp", "--method", "bohb"], "there is no scheduler 'bohb' on the board"),
        (["--suite", "digits-mlp", "--budget", "1"], "above 1 full training"),
    ],
)
def test_the_command_says_in_one_line_what_is_wrong(arguments: list[str], said: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
