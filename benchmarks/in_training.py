"""What does a search give in real training, beside Optuna's? Trains two examples again and again and compares.

python benchmarks/in_training.py [--seeds 10] [--budget 5] [--budget 10] [--markdown] [--csv FILE]

`contenders.py` has the problems, the methods, and what a budget pays for. All are compared with HyperbandPruner, which
Optuna's tutorial recommends with TPE ("Which Sampler and Pruner Should be Used?"); MedianPruner is Optuna's default.
Each method trains in one process. ± is the standard error over the seeds; differences are paired by seed. With `--csv`,
a row a run, the same command goes on where it was broken off.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")  # before numpy: one core each

import csv
from collections.abc import Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

import click
import msgspec
import numpy as np
from contenders import BASE, METHODS, PROBLEMS, Found, Unit
from rich import box
from rich.table import Table

from rungwise.bench.shown import SEVERAL, console_of, in_brackets, resumable
from rungwise.bench.statistics import LEVEL, interval_of_mean
from rungwise.bench.units import run_units


def table(found: Sequence[Found], markdown: bool) -> Table:
    """A row a method, over the seeds of one problem and budget."""
    first = found[0]
    problem, runs = PROBLEMS[first.problem], [one for one in found if one.method == BASE]
    title = f"{first.problem}, B = {first.budget:g} ({first.budget * problem.full:g} {problem.unit}), {len(runs)} seeds"
    shown = Table(title=title, box=box.MARKDOWN if markdown else box.SIMPLE_HEAD, title_justify="left")
    shown.add_column("method")
    for part in ("test", "validation"):
        shown.add_column(f"{part} {problem.loss}", justify="right")
        shown.add_column(f"− Optuna's [{LEVEL} %]", justify="right")
    for heading in (problem.unit, "configurations", "seconds", "outside training"):
        shown.add_column(heading, justify="right")
    digits = 2 if problem.mode == "max" else 4
    for method in dict.fromkeys(one.method for one in found):
        here = [one for one in found if one.method == method]
        assert [one.seed for one in here] == [one.seed for one in runs]
        cells = []
        for part in ("test", "valid"):
            losses, base = (np.array([getattr(one, part) for one in those]) for those in (here, runs))
            form, difference = f"+.{digits}f", losses - base
            error = f" ± {losses.std(ddof=1) / len(losses) ** 0.5:.{digits}f}" if len(losses) > 1 else ""
            cells.append(f"{losses.mean():.{digits}f}{error}")
            compared = f"{difference.mean():{form}} {in_brackets(interval_of_mean(difference), form)}"
            cells.append("" if method == BASE else compared)
        for values, form in (
            ([one.units for one in here], ".0f"),
            ([one.configurations for one in here], ".0f"),
            ([one.seconds for one in here], ".1f"),
            ([one.seconds - one.training for one in here], ".1f"),
        ):
            cells.append(f"{np.mean(values):{form}}")
        shown.add_row(method, *cells)
    return shown


def write_csv(file: Path, found: Sequence[Found]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, Found.__struct_fields__)
        writer.writeheader()
        writer.writerows(map(msgspec.structs.asdict, found))


@click.command(help=__doc__)
@click.option("--seeds", type=click.IntRange(1), default=10, show_default=True)
@click.option(
    "--budget", "budgets", type=click.FloatRange(1), multiple=True, help=f"In full trainings (5, 10); {SEVERAL}."
)
@click.option(
    "--problem", "problems", type=click.Choice(list(PROBLEMS)), multiple=True, help=f"All, or these; {SEVERAL}."
)
@click.option("--processes", type=click.IntRange(1), default=2, show_default=True, help="Runs at a time.")
@click.option("--csv", "file", type=click.Path(path_type=Path), help="Write one row per run to this file.")
@click.option("--markdown", is_flag=True, help="Print the tables in Markdown.")
def main(
    seeds: int,
    budgets: tuple[float, ...],
    problems: tuple[str, ...],
    processes: int,
    file: Path | None,
    markdown: bool,
) -> None:
    units = [
        Unit(problem, method, budget, seed)
        for seed in range(seeds)
        for problem in problems or PROBLEMS
        for budget in budgets or (5.0, 10.0)
        for method in METHODS
    ]
    found = resumable(partial(run_units, units, Found, processes=processes), file, write_csv)
    console = console_of(markdown)
    for problem in dict.fromkeys(one.problem for one in found):
        for budget in dict.fromkeys(one.budget for one in found):
            console.print(table([one for one in found if (one.problem, one.budget) == (problem, budget)], markdown))
            console.print()
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("optuna", "scikit-learn"))
    console.print(f"{versions}; {processes} runs at a time", highlight=False)


if __name__ == "__main__":
    main()
