"""`rungwise bench budget`: what each method gives for a budget, as tables, a CSV file and figures."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
from rich import box
from rich.table import Table

from rungwise.bench.board import ALL, BoardOptions, Standing, of_traces, part_of, play, standings
from rungwise.bench.budget import Outcome
from rungwise.bench.contests import BASE, contest, methods
from rungwise.bench.shown import SEVERAL, console_of, in_brackets, resumable, tasks_of
from rungwise.bench.statistics import LEVEL
from rungwise.bench.suites import SUITES
from rungwise.errors import InputError

COLUMNS = ("task", "seed", "method", "budget", "score", "regret", "resource", "seconds", "configurations")


@click.command()
@click.option("--suite", "names", multiple=True, required=True, help=f"{', '.join(SUITES)}, all; {SEVERAL}.")
@click.option("--budget", "budgets", multiple=True, type=float, help=f"In full trainings (5, 10, 20); {SEVERAL}.")
@click.option(
    "--method", "wanted", multiple=True, help=f"SCHEDULER[+SEARCHER][@budget], @budget: it is told; {SEVERAL}."
)
@click.option("--against", default=BASE, show_default=True, help="The method to compare with.")
@click.option("--part", type=click.Choice(["select", "judge"]), help="Only the tasks for choosing, or for judging.")
@click.option(
    "--traces", type=click.Path(path_type=Path), help="Also what other libraries' methods did, from this folder."
)
@click.option("--repeats", type=int, default=5, show_default=True, help="Seeds per task.")
@click.option("--first-seed", type=int, default=0, show_default=True, help="The first of them.")
@click.option("--workers", type=int, default=4, show_default=True, help="Simulated workers.")
@click.option("--processes", type=int, default=os.cpu_count() or 1, show_default=True, help="Processes to use here.")
@click.option("--csv", "file", type=click.Path(path_type=Path), help="Write one row per run and budget to this file.")
@click.option("--figures", type=click.Path(path_type=Path), help="Draw figures into this folder (rungwise[bench]).")
@click.option("--bounds", is_flag=True, help="Also play what nobody can: the oracle, and hindsight.")
@click.option("--markdown", is_flag=True, help="Print the tables in Markdown.")
def budget(
    names: Sequence[str],
    budgets: tuple[float, ...],
    wanted: tuple[str, ...],
    against: str,
    part: str | None,
    traces: Path | None,
    repeats: int,
    first_seed: int,
    workers: int,
    processes: int,
    file: Path | None,
    figures: Path | None,
    bounds: bool,
    markdown: bool,
) -> None:
    """Compare what methods give for a budget of training.

    A budget is in full trainings, and includes training the recommended configuration to the end. The regret is how far
    its score there is from the best of the table, in per cent of the distance from the best to the median. All our
    schedulers with random search are run, told the budget and not, or those that --method names. With --csv it can be
    interrupted: the same command resumes it.
    """
    if figures is not None:
        from rungwise.bench.figures import draw_curves  # before the work, so that what is missing is said at once
    if traces is not None and not traces.is_dir():
        raise InputError(f"--traces {traces} must be a folder")
    options = BoardOptions(
        budgets=budgets or BoardOptions().budgets,
        repeats=repeats,
        first_seed=first_seed,
        workers=workers,
        processes=processes,
        bounds=bounds,
    )
    tasks = tasks_of(names)
    if part is not None and not (tasks := part_of(tasks, part)):
        raise InputError(f"no task of {', '.join(names)} is in the part {part!r}; see rungwise/bench/split.toml")
    ours, theirs = methods(wanted, against), [] if traces is None else of_traces(traces, tasks, options)
    if both := {one.method for one in theirs} & {*ours}:
        raise InputError(f"--traces {traces} has traces of {min(both)!r}, which is the name of a method of ours")
    work = partial(play, tasks, ours, contest, options, base=against)
    found = resumable(work, file, partial(write_csv, budgets=options.budgets)) + theirs
    lines = standings(found, options, against)
    console = console_of(markdown)
    for suite in dict.fromkeys(line.suite for line in lines):
        here = [line for line in lines if line.suite == suite]
        console.print(_table(suite, here, options, markdown, against))
    for line in _worst(lines, against):
        console.print(line, markup=False, highlight=False)
    if figures is not None:
        for path in draw_curves(found, figures):
            click.echo(path, err=True)


def write_csv(file: Path, found: Sequence[Outcome], budgets: Sequence[float]) -> None:
    """A row a run and budget; where there are several suites, a task is named suite/task. No score is an empty cell."""
    several = len({one.suite for one in found}) > 1
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for one in found:
            if one.budget in budgets:
                task = f"{one.suite}/{one.task}" if several else one.task
                writer.writerow((task, *(getattr(one, name) for name in COLUMNS[1:])))


def _table(suite: str, lines: Sequence[Standing], options: BoardOptions, markdown: bool, against: str) -> Table:
    about = "each suite counts the same" if suite == ALL else SUITES[suite].about
    first = lines[0]
    title = f"{suite}: {about}\n{first.tasks} tasks × {first.seeds} seeds; regret in per cent ({LEVEL} % intervals)"
    table = Table(title=title, box=box.MARKDOWN if markdown else box.SIMPLE_HEAD, title_justify="left")
    table.add_column("method")
    for each in options.budgets:
        for heading in (f"B = {each:g}", f"− {against}'s", "× its budget", "won, lost"):
            table.add_column(heading, justify="right")
    for method in dict.fromkeys(line.method for line in lines):
        cells = []
        for line in (line for line in lines if line.method == method):
            itself = method == against
            cells += [f"{line.regret:.1f}", *([""] * 3 if itself else _compared(line))]
        table.add_row(method, *cells)
    return table


def _compared(line: Standing) -> list[str]:
    return [
        f"{-line.gain:+.1f} {in_brackets((-line.gain_interval[1], -line.gain_interval[0]), '+.1f')}",
        f"{'≥ ' if line.at_least else '≤ ' if line.at_most else ''}{line.factor:.2f} "
        f"{in_brackets(line.factor_interval, '.2f')}",
        f"{line.wins}, {line.losses}",
    ]


def _worst(lines: Sequence[Standing], against: str) -> list[str]:
    """For each other method the suite and budget on which it stands worst beside the one it is compared with."""
    said = []
    for method in dict.fromkeys(line.method for line in lines if line.method != against):
        here = [line for line in lines if line.method == method and line.suite != ALL]
        worst = min(here, key=lambda line: line.gain)
        said.append(f"{method}: worst on {worst.suite} at B = {worst.budget:g}, {-worst.gain:+.1f}")
    return said
