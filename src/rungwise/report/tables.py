"""A study as rich tables, and in one line."""

from __future__ import annotations

import io
import itertools

from rich.console import Console, RenderableType
from rich.table import Table

from rungwise import afford
from rungwise.explain import number
from rungwise.report.progress import of_total
from rungwise.study import Study
from rungwise.words import counted, duration, shown_json

QUEUE_SHOWN = 10


def rungs_table(study: Study, *, held: bool = True, most: int | None = None) -> Table:
    """The rungs from the top: how many trials completed each, are on their way to it, and the best there.

    Where no process holds the study (not `held`), what is on its way waits for one. At most `most` rungs are shown.
    """
    table = Table(box=None, pad_edge=False)
    under_way = "running" if held or not study.running else "waiting"
    for name in ("rung", "completed", under_way, "best score"):
        table.add_column(name, justify="right", no_wrap=True)
    rungs = study.rungs()
    for level, completed, running, best in rungs[:most]:
        mark = " ▲" if level == study.state.open_level else ""
        table.add_row(f"{level}{mark}", str(completed), str(running or ""), "" if best is None else number(best))
    if most is not None and len(rungs) > most:
        table.add_row("…", "", "", "")
    return table


def summary(study: Study, *, held: bool = True, ran: float | None = None) -> str:
    """One line: trials, resource, the seconds that it `ran`, ceiling, best; and what failed, is enqueued, or waits.

    It waits where nobody holds the study.
    """
    ceiling, budget = study.state.open_level, study.budget
    parts = [
        of_total(len(study.trials), budget.trials),
        f"resource used {study.resource_used}" + ("" if budget.resource is None else f" of {budget.resource}"),
    ]
    if (account := afford.account(study.state)) is not None:
        kept = f" ({account.kept} kept for the winner)" if account.kept else ""
        parts.append(f"budget {account.spent} of {account.total}{kept}")
    if ran is not None:
        parts.append(f"ran {duration(ran)}" + ("" if budget.seconds is None else f" of {duration(budget.seconds)}"))
    parts.append(f"ceiling {'none' if ceiling is None else ceiling}")
    if failed := failures(study):
        parts.append(f"{failed} failed")
    if not held and study.running:
        parts.append(f"{counted(len(study.running), 'job')} waiting to be resumed (no process holds the study)")
    if study.state.queue:
        parts.append(f"{len(study.state.queue)} enqueued")
    if study.metrics.names:
        parts.append(f"{counted(len(study.state.winners), 'trial')} on the Pareto front")
    elif study.has_best:
        best = study.best
        parts.append(f"best {number(best.score)} at {best.resource} (trial {best.number})")
    return ", ".join(parts)


def enqueued(study: Study) -> list[str]:
    """A line a configuration that is to be tried next, in their order; the first ten."""
    queue = study.state.queue
    lines = [f"enqueued: {shown_json(config)}" for config in itertools.islice(queue, QUEUE_SHOWN)]
    return [*lines, f"and {len(queue) - QUEUE_SHOWN} more"] if len(queue) > QUEUE_SHOWN else lines


def failures(study: Study) -> int:
    """How many trials have failed."""
    return sum(record.failure is not None for record in study.trials)


def drawn(picture: RenderableType, width: int) -> str:
    """`picture` as text of at most `width` columns, without colors."""
    file = io.StringIO()
    Console(file=file, width=width, force_jupyter=False, force_terminal=False, color_system=None).print(picture)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())
