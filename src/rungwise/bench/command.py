"""`rungwise bench`: the suites there are, and the paper's experiment on them."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from rungwise.bench.experiment import (
    ABLATION,
    Method,
    Methods,
    Run,
    ablation_methods,
    experiment,
    paper_methods,
    search_methods,
)
from rungwise.bench.options import ExperimentOptions
from rungwise.bench.shown import SEVERAL, console_of, in_brackets, resumable, tasks_of
from rungwise.bench.statistics import LEVEL, Line, hindsight, summarize
from rungwise.bench.suites import SUITES, suite_folder, there_is
from rungwise.bench.task import Task
from rungwise.core.criteria import RANKINGS
from rungwise.core.rungs import Ladder
from rungwise.errors import InputError, suggestion
from rungwise.search import SEARCHERS

COLUMNS = ("task", "seed", "method", "score", "seconds", "resource", "max_resource")
F = TypeVar("F", bound=Callable[..., object])


@click.group()
def bench() -> None:
    """Measure what a scheduler saves, on learning curves."""


@bench.command()
def suites() -> None:
    """List the suites of learning curves, and which of them are installed."""
    table = Table("suite", "is", "what", box=box.SIMPLE)
    table.add_column("folder", overflow="fold")
    for name, suite in SUITES.items():
        folder = suite_folder(name)
        where = f"{name}/ in RUNGWISE_DATA, which is not set" if folder is None else str(folder)
        table.add_row(name, "there" if there_is(name) else "missing", suite.about, where)
    Console().print(table)


def shared_options(command: F) -> F:
    """The options of all experiments."""
    for option in reversed([
        click.option("--suite", "names", multiple=True, required=True, help=f"{', '.join(SUITES)}, all; {SEVERAL}."),
        click.option("--csv", "file", type=click.Path(path_type=Path), help="Write one row per run to this file."),
        click.option("--markdown", is_flag=True, help="Print the tables in Markdown."),
        *map(_option, msgspec.structs.fields(ExperimentOptions)),
    ]):  # fmt: skip
        command = option(command)
    return command


def _option(field: msgspec.structs.FieldInfo) -> Callable[[F], F]:
    """The option of the command for a field of `ExperimentOptions`."""
    kind, meta = get_args(field.type)
    flag, text = f"--{field.name.replace('_', '-')}", meta.description
    if kind is bool:
        return click.option(flag, is_flag=True, help=text)
    default = (os.cpu_count() or 1) if field.name == "processes" else field.default
    return click.option(flag, type=float if kind is float else int, default=default, show_default=True, help=text)


@bench.command()
@shared_options
@click.option("--figures", type=click.Path(path_type=Path), help="Draw figures into this folder (rungwise[bench]).")
@click.option("--ranking", "rankings", multiple=True, type=click.Choice(sorted(RANKINGS)), help=f"PASHA's; {SEVERAL}.")
@click.option("--method", "wanted", multiple=True, help=f"Run only this method and asha; {SEVERAL}.")
@click.option("--by-task", is_flag=True, help="Also print a table for each task.")
def paper(
    names: Sequence[str],
    file: Path | None,
    figures: Path | None,
    rankings: Sequence[str],
    wanted: Sequence[str],
    by_task: bool,
    markdown: bool,
    **options: Any,
) -> None:
    """Run the PASHA paper's experiment: ASHA, PASHA, k-epoch and random baselines, fixed ceilings.

    A run ends when the last configuration is started, as in the paper, or with --drain when no more work can be given
    out. The same seeds give the same numbers with any number of processes. With --csv the experiment can be
    interrupted: the same command resumes it.
    """
    if figures is not None:
        from rungwise.bench.figures import draw  # before the work, so that what is not installed is said at once
    if figures is not None and figures.exists() and not figures.is_dir():
        raise InputError(f"--figures {figures} must be a folder")
    methods: Methods = partial(paper_methods, rankings=rankings or ("soft",))
    tasks = tasks_of(names)
    runs = _runs(tasks, _only(methods, wanted) if wanted else methods, file, ExperimentOptions(**options))
    if not wanted:  # what was best in hindsight is known only where all ceilings were tried
        runs += hindsight(runs, tasks)
    _show(runs, tasks, by_task=by_task, markdown=markdown)
    if figures is not None:
        for path in draw(runs, tasks, figures):
            click.echo(path, err=True)


@bench.command()
@shared_options
@click.option(
    "--searcher", "searchers", multiple=True, required=True, type=click.Choice(sorted(SEARCHERS)), help=SEVERAL
)
@click.option(
    "--scheduler", "schedulers", multiple=True, type=click.Choice(["asha", "pasha"]), help=f"Default: pasha; {SEVERAL}."
)
def search(
    names: Sequence[str],
    file: Path | None,
    searchers: Sequence[str],
    schedulers: Sequence[str],
    markdown: bool,
    **options: Any,
) -> None:
    """Compare searchers with random search, under PASHA or ASHA.

    They choose among the rows of the tables: each proposal becomes the nearest row that was not tried. The paper's
    k-epoch and random baselines are included. Differences are to the first scheduler with random search. Otherwise as
    in `paper`.
    """
    schedulers = tuple(dict.fromkeys(schedulers)) or ("pasha",)
    tasks = tasks_of(names)
    methods = partial(search_methods, searchers=searchers, schedulers=schedulers)
    runs = _runs(tasks, methods, file, ExperimentOptions(**options))
    _show(runs, tasks, by_task=False, markdown=markdown, against=schedulers[0])


@bench.command()
@shared_options
def ablation(names: Sequence[str], file: Path | None, markdown: bool, **options: Any) -> None:
    """Run the PASHA paper's ablation: every ranking criterion on all suites, in one table.

    For each suite it shows the speed-up over ASHA and the score minus ASHA's. Accuracies are in percent, so the paper's
    fixed ε are a hundred times as large there.
    """
    tasks = tasks_of(names)
    by_suite = {name: [task for task in tasks if task.suite == name] for name in dict.fromkeys(t.suite for t in tasks)}
    lines: dict[str, dict[str, Line]] = {}
    for suite, here in by_suite.items():
        unit = 100.0 if here[0].table.mode == "max" else 1.0
        part = None if file is None else file.with_name(f"{file.stem}-{suite}{file.suffix}")
        runs = _runs(here, partial(ablation_methods, unit=unit), part, ExperimentOptions(**options))
        lines[suite] = {line.method: line for line in summarize(runs)}
    table = Table(box=box.MARKDOWN if markdown else box.SIMPLE_HEAD)
    table.add_column("criterion")
    for suite, here in by_suite.items():
        table.add_column(f"{suite} ({'more' if here[0].table.mode == 'max' else 'less'} is better)", justify="right")
    for method in ABLATION:
        cells = []
        for suite, here in by_suite.items():
            line, digits = lines[suite][method], 2 if here[0].table.mode == "max" else 4
            cells.append(f"{line.speed_up:.2f}×, {line.difference:+.{digits}f}")
        table.add_row(method, *cells)
    console_of(markdown).print(table)


def _runs(tasks: Sequence[Task], methods: Methods, file: Path | None, options: ExperimentOptions) -> list[Run]:
    """All runs, with a progress bar; written to `file` in the end, kept beside it until then."""
    return resumable(partial(experiment, tasks, options, methods=methods), file, write_csv)


def _only(methods: Methods, wanted: Sequence[str]) -> Methods:
    """Of `methods` ASHA and those that are wanted; a short ladder lacks some ceilings and baselines."""

    def chosen(ladder: Ladder) -> dict[str, Method]:
        found = methods(ladder)
        for name in wanted:
            if name not in found and not re.fullmatch(r"\d+-epoch|ceiling-\d+", name):
                raise InputError(f"there is no method {name!r}{suggestion(name, found)}")
        return {name: scheduler for name, scheduler in found.items() if name in ("asha", *wanted)}

    return chosen


def write_csv(file: Path, runs: Sequence[Run]) -> None:
    """A row a run; where there are several suites, a task is named suite/task. No score is an empty cell."""
    several = len({run.suite for run in runs}) > 1
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for run in runs:
            task = f"{run.suite}/{run.task}" if several else run.task
            writer.writerow((task, *(getattr(run, name) for name in COLUMNS[1:])))


def _show(runs: Sequence[Run], tasks: Sequence[Task], *, by_task: bool, markdown: bool, against: str = "asha") -> None:
    console = console_of(markdown)
    for suite in dict.fromkeys(task.suite for task in tasks):
        here = [task for task in tasks if task.suite == suite]
        for task in here if by_task and len(here) > 1 else ():
            found = [run for run in runs if (run.suite, run.task) == (suite, task.name)]
            console.print(_table(f"{suite}: {task.name}", found, task.table.mode, markdown, against))
        title = f"{suite}: {SUITES[suite].about}"
        found = [run for run in runs if run.suite == suite]
        console.print(_table(title, found, here[0].table.mode, markdown, against))


def _table(title: str, runs: Sequence[Run], mode: str, markdown: bool, against: str) -> Table:
    seeds = len({run.seed for run in runs})
    size = f"{len({run.task for run in runs})} tasks × {seeds} seeds; {'more' if mode == 'max' else 'less'} is better"
    table = Table(title=f"{title}\n{size}", box=box.MARKDOWN if markdown else box.SIMPLE_HEAD, title_justify="left")
    lines = summarize(runs, against)
    tested = not math.isnan(lines[0].test)
    score, test = ["score", f"− {against.upper()}'s ({LEVEL} %)"], ["test score"] if tested else []
    headings = ["method", *score, *test, "time", f"speed-up ({LEVEL} %)", "resource", "saving", "max resource"]
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left")
    for line in lines:
        table.add_row(*_cells(line, 2 if mode == "max" else 4, tested, against))
    return table


def _cells(line: Line, digits: int, tested: bool, against: str) -> list[str]:
    itself, free = line.method == against, line.seconds == 0
    return [
        line.method + (f" ({line.without} of {line.runs} without a score)" if line.without else ""),
        f"{line.score:.{digits}f} ± {line.deviation:.{digits}f}",
        "" if itself else f"{line.difference:+.{digits}f} {in_brackets(line.difference_interval, f'+.{digits}f')}",
        *([f"{line.test:.{digits}f}"] if tested else []),
        _time(line.seconds),
        "" if itself or free else f"{line.speed_up:.2f}× {in_brackets(line.speed_up_interval, '.2f')}",
        f"{line.resource:,.0f}",
        "" if itself or free else f"{line.saving:.2f}×",
        f"{line.max_resource:.1f}",
    ]


def _time(seconds: float) -> str:
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.1f} s"
