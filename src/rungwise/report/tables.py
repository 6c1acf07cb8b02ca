"""A study as rich tables."""

from __future__ import annotations

from rich.table import Table

from rungwise.explain import number
from rungwise.study import Study


def rungs_table(study: Study) -> Table:
    """The rungs from the top: how many trials completed each, are on their way to it, and the best there."""
    table = Table(box=None, pad_edge=False)
    for name in ("rung", "completed", "running", "best score"):
        table.add_column(name, justify="right")
    for level, completed, running, best in study.rungs():
        mark = " ▲" if level == study.scheduler.open_level else ""
        table.add_row(f"{level}{mark}", str(completed), str(running or ""), "" if best is None else number(best))
    return table


def summary(study: Study) -> str:
    """One line: trials, resource, ceiling, best."""
    total = "" if study.budget.trials is None else f" of {study.budget.trials}"
    ceiling = study.scheduler.open_level
    parts = [
        f"{len(study.trials)}{total} trials",
        f"resource used {study.resource_used}",
        f"ceiling {'none' if ceiling is None else ceiling}",
    ]
    if study.metrics.names:
        parts.append(f"{len(study.winners)} trials on the Pareto front")
    elif study.has_best:
        best = study.best
        parts.append(f"best {number(best.score)} at {best.resource} (trial {best.number})")
    return ", ".join(parts)
