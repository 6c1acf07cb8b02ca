"""`rungwise bench forecast`: how often forecasts hold, as a table."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
import msgspec
from rich import box
from rich.table import Table

from rungwise.bench.board import part_of
from rungwise.bench.coverage import Coverage, Held, forecasts
from rungwise.bench.shown import SEVERAL, console_of, resumable, tasks_of
from rungwise.bench.suites import SUITES
from rungwise.core import SCHEDULERS
from rungwise.errors import InputError


@click.command("forecast")
@click.option("--suite", "names", multiple=True, required=True, help=f"{', '.join(SUITES)}, all; {SEVERAL}.")
@click.option("--scheduler", "schedulers", multiple=True, help=f"{', '.join(SCHEDULERS)} (pasha, asha); {SEVERAL}.")
@click.option("--part", type=click.Choice(["select", "judge"]), help="Only the tasks for choosing, or for judging.")
@click.option("--repeats", type=int, default=5, show_default=True, help="Seeds per task.")
@click.option("--workers", type=int, default=4, show_default=True, help="Simulated workers.")
@click.option("--processes", type=int, default=os.cpu_count() or 1, show_default=True, help="Processes to use here.")
@click.option("--csv", "file", type=click.Path(path_type=Path), help="Write one row per study to this file.")
@click.option("--markdown", is_flag=True, help="Print the table in Markdown.")
def coverage(
    names: Sequence[str],
    schedulers: tuple[str, ...],
    part: str | None,
    repeats: int,
    workers: int,
    processes: int,
    file: Path | None,
    markdown: bool,
) -> None:
    """Compare forecasts made after a quarter of a study with what it cost in the end.

    256 trials, or all rows of a table that has fewer, are simulated to the end. The interval forecast when a quarter of
    them had ended their first job should hold in 80 % of studies. With --csv it can be interrupted: the same command
    resumes it.
    """
    tasks = tasks_of(names)
    if part is not None and not (tasks := part_of(tasks, part)):
        raise InputError(f"no task of {', '.join(names)} is in the part {part!r}; see rungwise/bench/split.toml")
    for name in schedulers:
        SCHEDULERS.named(name)  # which says what there is
    schedulers = schedulers or ("pasha", "asha")
    work = partial(forecasts, tasks, schedulers, repeats=repeats, workers=workers, processes=processes)
    rows = [row for row in resumable(work, file, _write) if row.total > 0]
    table = Table(box=box.MARKDOWN if markdown else box.SIMPLE_HEAD)
    table.add_column("suite")
    table.add_column("scheduler")
    for heading in ("studies", "cost in the interval", "below", "above", "width", "middle off by"):
        table.add_column(heading, justify="right")
    for scheduler in schedulers:
        mine = [row for row in rows if row.scheduler == scheduler]
        for suite in dict.fromkeys(row.suite for row in mine):
            _add(table, suite, scheduler, [row for row in mine if row.suite == suite])
        _add(table, "all", scheduler, mine)
    console_of(markdown).print(table)


def _add(table: Table, suite: str, scheduler: str, rows: Sequence[Held]) -> None:
    found = Coverage.of(rows)
    shares = (f"{share:.0%}" for share in (found.held, found.below, found.above, found.width))
    table.add_row(suite, scheduler, str(found.studies), *shares, f"{found.off:+.0%}")


def _write(file: Path, rows: Sequence[Held]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(Held.__struct_fields__)
        writer.writerows(msgspec.structs.astuple(row) for row in rows)
