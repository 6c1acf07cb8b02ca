"""What does a page say of a study? Plain values, which JSON can hold: the answer, what it cost, why, figures, trials.

All text in them has passed `shown`; whoever writes it into HTML or Markdown still escapes it. Pure.
"""

from __future__ import annotations

import pprint
from collections.abc import Sequence
from datetime import UTC, datetime
from textwrap import indent
from typing import Any

import msgspec

from rungwise import explain
from rungwise.core import SCHEDULERS
from rungwise.page import figures
from rungwise.page.figures import counted_large
from rungwise.page.history import History
from rungwise.page.table import cell, table
from rungwise.search import SEARCHERS
from rungwise.state import StudyState
from rungwise.version import __version__
from rungwise.words import counted, duration, shown, shown_json, shown_lines

PRIVATE = ("checkpoints", "executor", "devices")
"""Of how a study was run: where, which is no business of whoever reads the page."""
TOTALS = {"resource": "total_resource", "trainings": "budget"}
FRONT = 20  # trials of a Pareto front
LONGEST_PROGRAM = 10_000  # characters


def page(history: History, why: Sequence[str], *, held: bool = True) -> dict[str, Any]:
    """What a page says of the study with this `history`; `why` are the lines of its `explain`.

    >>> import rungwise as rw
    >>> study = rw.Study({"x": rw.Float(0, 1)}, "asha", mode="min")
    >>> page(History.of(study.facts()), [])["answer"]
    {'text': 'No trial has completed a rung with a finite score yet.', 'trials': []}
    """
    state = history.state
    return {
        "title": shown(history.path.name) if history.path else "study in memory",
        "stands": _stands(state, held=held),
        "until": when(history.last),
        "answer": _answer(state),
        "cost": _cost(state),
        "why": [shown(line) for line in why],
        "curves": figures.curves(history),
        "ladder": figures.ladder(history),
        "answers": figures.answers(history),
        "ceilings": figures.ceilings(history),
        "table": table(state, held=held),
        "settings": _settings(state),
        "again": _again(state),
        "decisions": [[when(time), shown(text)] for time, text in history.decisions],
    }


def when(time: float) -> str:
    """A time of the log for people, in UTC; "" in memory, where there is none.

    >>> when(0.0), when(1.8e9)
    ('', '2027-01-15 08:00:00 UTC')
    """
    try:
        return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if time > 0 else ""
    except (ValueError, OverflowError, OSError):  # a forged one
        return ""


def _stands(state: StudyState, *, held: bool) -> str:
    if state.running:
        jobs = counted(len(state.running), "job")
        return f"{jobs} under way" if held else f"{jobs} waiting to be resumed"
    return "nothing is running"


def _answer(state: StudyState) -> dict[str, Any]:
    """A sentence, and each trial of the answer: its number, resource, scores, and configuration."""
    if not state.has_best:
        return {"text": "No trial has completed a rung with a finite score yet.", "trials": []}
    if state.metrics.names:
        told = [
            {"trial": one.number, "resource": one.resource, "config": _config(one.config),
             "scores": [[shown(name), explain.number(score)] for name, score in one.scores.items()]}
            for one in state.front[:FRONT]
        ]  # fmt: skip
        front = len(state.winners)
        text = f"The Pareto front has {counted(front, 'trial')} of {len(state.trials):,}."
        text += f" The first {FRONT} are here." if front > FRONT else ""
        return {"text": text, "trials": told}
    best = state.best
    better = "higher" if state.created.mode == "max" else "lower"
    text = f"Trial {best.number} is the best of {len(state.trials):,}: score {explain.number(best.score)} at resource "
    text += f"{best.resource:,} ({better} is better)."
    scores = [["score", explain.number(best.score)]]
    if best.refit_resource is not None and best.refit_resource > best.resource:
        text += f" Trained on to {best.refit_resource:,}, it scored {explain.number(best.refit_score)}."
        scores.append([f"score at {best.refit_resource}", explain.number(best.refit_score)])
    one = {"trial": best.number, "resource": best.resource, "config": _config(best.config), "scores": scores}
    return {"text": text, "trials": [one]}


def _config(config: dict[str, Any]) -> list[list[Any]]:
    return [[shown(name), cell(value)] for name, value in config.items()]


def _cost(state: StudyState) -> list[list[str]]:
    """Rows of name, value and a remark."""
    budget, trials = state.budget, len(state.trials)
    rows = [
        ["trials", f"{trials:,}", _of(trials, budget.trials)],
        ["resource trained", f"{state.trained:,}", _trained(state)],
    ]
    ran, total = state.time.seconds, budget.seconds or (budget.hours or 0) * 3600
    if ran:
        rows.append(["running time", duration(ran), _of(ran, total or None, duration(total))])
    if state.training_seconds:
        rows.append(["training time", duration(state.training_seconds), "of all workers together, as they reported it"])
    failed = len(state.failures)
    jobs = state.ended_well + failed
    rows.append(["jobs done", f"{jobs:,}", f"{failed:,} of them failed" if failed else "none of them failed"])
    full = state.max_resource
    if trials and full is not None:
        units = trials * full
        told = f"{counted_large(trials, 'trial')} × {full:,} units: calculated, not measured"
        if state.trained < units:
            told += f". This study trained {state.trained / units:.1%} of that"
        rows.append(["full training instead", f"{units:,}", told])
    return rows


def _trained(state: StudyState) -> str:
    share = _of(state.trained, state.total_units or state.budget.resource)
    refit = f"{state.refit_used:,} of it to train the winner on" if state.refit_used else ""
    return "; ".join(part for part in (share, refit) if part)


def _of(spent: float, total: float | None, shown_total: str = "") -> str:
    return "" if not total else f"{spent / total:.0%} of {shown_total or f'{total:,}'}"


def _settings(state: StudyState) -> list[list[str]]:
    created, how = state.created, state.how
    totals = {name: value for name, value in msgspec.structs.asdict(state.budget).items() if value is not None}
    rows: list[tuple[str, Any]] = [
        ("scheduler", created.scheduler),
        ("searcher", created.searcher),
        ("mode", created.mode),
        ("score", created.score),
        ("seed", created.seed),
        ("totals", totals or "none"),
        (
            "run with",
            {name: how[name] for name in how if name not in PRIVATE and how[name] is not None} or "your own loop",
        ),
        ("study", created.id or "from before studies had ids"),
        ("begun by", f"rungwise {created.version}"),
        ("this page by", f"rungwise {__version__}"),
    ]
    return [[name, shown(value) if isinstance(value, str) else shown_json(value)] for name, value in rows]


def _again(state: StudyState) -> str:
    """Python that does it again; "" where a part is not ours, or the settings are long, as those of a warm start."""
    created, budget = state.created, msgspec.structs.asdict(state.budget)
    if created.scheduler.get("name") not in SCHEDULERS or created.searcher.get("name") not in SEARCHERS:
        return ""
    totals = {TOTALS.get(name, name): value for name, value in budget.items() if value is not None}
    how = {name: state.how[name] for name in ("workers", "refit", "horizon") if state.how.get(name) is not None}
    given = {
        "scheduler": created.scheduler, "searcher": created.searcher, "mode": created.mode, "score": created.score,
        "seed": created.seed, **totals, **how, "path": "again.db",
    }  # fmt: skip
    lines = [f"{name}={_literal(value)}," for name, value in given.items()]
    text = (
        f"import rungwise as rw\n\nspace = rw.Space.from_dict({_literal(created.space)})\n"
        f"rw.tune(\n    train,\n    space,\n{indent(chr(10).join(lines), '    ')}\n)"
    )
    return shown_lines(text) if len(text) <= LONGEST_PROGRAM else ""


def _literal(value: Any) -> str:
    """`value` as Python: on a line, or a dict that is long with a line for each key."""
    text = pprint.pformat(value, width=100, sort_dicts=False)
    if not isinstance(value, dict) or "\n" not in text:
        return text
    return (
        "{\n"
        + "".join(f"    {key!r}: {indent(_literal(each), '    ').lstrip()},\n" for key, each in value.items())
        + "}"
    )
