"""What does the table of trials hold? A row a trial, the best first; at most `ROWS`. Pure."""

from __future__ import annotations

import math
from typing import Any

from rungwise import summary
from rungwise.page.figures import rounded
from rungwise.records import TrialRecord
from rungwise.state import StudyState
from rungwise.words import shown

ROWS = 5_000
LONGEST = 300  # characters of a cell
EXACT = 2**53  # beyond it JavaScript has no whole numbers


def table(state: StudyState, *, held: bool) -> dict[str, Any]:
    """The `columns`, each a name and how many there are of its kind; the `rows`; and of how many trials they are.

    First the best, then the others by number. A cell is a number, a text, or None (nothing to say). Where no process
    holds the study, what is out waits for one.
    """
    best = [state.trials[trial] for trial in state.winners] if state.metrics.names else summary.top(state, ROWS)
    first = {record.number for record in best}
    records = best[:ROWS]
    for record in state.trials:
        if len(records) >= ROWS:
            break
        if record.number not in first:
            records.append(record)
    names = [shown(name) for name in state.metrics.names] or ["score"]
    failures = any(record.has_failed for record in records)
    columns = ["trial", "state", "rung", "resource", *names, "seconds", *(["failure"] if failures else [])]
    return {
        "columns": [*columns, *map(shown, state.space)],
        "parameters": len(columns),
        "rows": [_row(state, record, held=held, failures=failures) for record in records],
        "trials": len(state.trials),
    }


def _row(state: StudyState, record: TrialRecord, *, held: bool, failures: bool) -> list[Any]:
    score = record.score
    scores = [score] if not record.metrics else [None if score is None else score[name] for name in record.metrics]
    now = record.state if record.job is None or held else "waiting"
    config = record.config
    reason = record.failure or record.refit_failure
    return [
        record.number,
        now,
        record.paused_at or None,
        record.resource or None,
        *("not finite" if each is not None and not math.isfinite(each) else rounded(each) for each in scores),
        round(record.seconds_used, 3) if record.seconds_used else None,
        *([None if reason is None else cut(shown(reason))] if failures else []),
        *(cell(config[name]) if name in config else None for name in state.space),
    ]


def cell(value: Any) -> Any:
    """A value of a configuration: a number as it is, all else as text."""
    if isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < EXACT):
        return value
    return cut(shown(value if isinstance(value, str) else repr(value)))


def cut(text: str) -> str:
    """`text`, or its beginning.

    >>> len(cut("a" * 1000))
    301
    """
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
