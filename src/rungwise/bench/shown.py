"""What the commands of `rungwise bench` share: which tasks, progress that can be interrupted, how tables look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rungwise.bench.statistics import Interval
from rungwise.bench.suites import SUITES, load_suite, there_is
from rungwise.bench.task import Task
from rungwise.errors import InputError

SEVERAL = "may be given several times"
Row = TypeVar("Row")


class Work(Protocol[Row]):
    """What takes long: see `run_units`."""

    def __call__(self, *, journal: Path | None, progress: Callable[[int, int], None]) -> list[Row]:
        """Do it; the rows."""
        ...


def tasks_of(names: Sequence[str]) -> list[Task]:
    """The tasks of the suites `names`, each once; "all" are those whose files are there."""
    everything = [name for name in SUITES if there_is(name)]
    chosen = list(dict.fromkeys(name for given in names for name in (everything if given == "all" else [given])))
    return [task for name in chosen for task in load_suite(name)]


def resumable(work: Work[Row], file: Path | None, write: Callable[[Path, Sequence[Row]], None]) -> list[Row]:
    """What `work` gives, with a progress bar; written to `file` in the end, kept beside it until then."""
    if file is not None and (file.is_dir() or not file.parent.is_dir()):
        raise InputError(f"--csv {file} must be a file in an existing folder")
    journal = None if file is None else file.with_name(f"{file.name}.part")
    console = Console(stderr=True)
    columns = TextColumn("tasks × seeds"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        shown = bar.add_task("")
        try:
            rows = work(journal=journal, progress=lambda done, total: bar.update(shown, completed=done, total=total))
        except KeyboardInterrupt:
            console.print("stopped" if file is None else "stopped; the same command resumes from here")
            raise click.exceptions.Exit(130) from None
    if file is not None and journal is not None:
        write(file, rows)
        journal.unlink()
    return rows


def console_of(markdown: bool) -> Console:
    """Where tables are printed."""
    console = Console()
    return Console(width=1000) if markdown or not console.is_terminal else console  # nobody wraps it


def in_brackets(interval: Interval, form: str) -> str:
    """An interval, its ends in the format `form`."""
    return f"[{interval[0]:{form}}, {interval[1]:{form}}]"
