"""What came of it, where is it kept, and what can be done next? The last lines of a run."""

from __future__ import annotations

import shlex

from rich.cells import cell_len, set_cell_size

from rungwise.events import Config
from rungwise.explain import number, numbers, standing
from rungwise.records import TrialRecord
from rungwise.study import Study
from rungwise.words import counted, shown, shown_json

NAME, VALUE = 28, 24  # columns for a parameter's name and its value while a study runs


def result(study: Study) -> list[str]:
    """The answer of a study in lines: its best trial and its configuration, or the Pareto front.

    With what is wrong if there is no answer.
    """
    if study.metrics.names:
        lines = [f"{counted(len(study.state.winners), 'trial')} on the Pareto front"] if study.has_best else []
        for one in study.front:
            lines.append(f"trial {one.number} at {one.resource}: {numbers(one.scores)}")
            lines.append(shown_json(one.config))
        return lines
    if not study.has_best:
        return []
    best = study.best
    lines = [f"best: trial {best.number}, {standing(best.score, best.resource, best.peak)}"]
    if best.refit_resource not in (None, best.resource):
        lines.append(f"refit: {number(best.refit_score)} at {best.refit_resource}")
    if (failed := refit_failure(study.trials[best.number])) is not None:
        lines.append(failed)
    return [*lines, shown_json(best.config)]


def refit_failure(record: TrialRecord) -> str | None:
    """That the last refit of a trial failed, and why; None if it did not."""
    reason = record.refit_failure
    return None if reason is None else f"the refit of trial {record.number} failed: {shown(reason)}"


def no_result(study: Study) -> str:
    """Why there is no answer."""
    failed = [record for record in study.trials if record.failure is not None]
    why = f"; the last failure (trial {failed[-1].number}): {shown(failed[-1].failure)}" if failed else ""
    return f"no trial has completed a rung with a finite score{why}"


def next_step(study: Study) -> tuple[str, str]:
    """Where the study is, and the command that comes next, "" if there is none."""
    if study.path is None:
        again = "stopped; " if study.interrupted else ""
        return f'{again}the study was kept only in memory; to keep it in a file, set path="study.db"', ""
    at = "" if study.address is None else f" and at {shown(study.address)}"
    if not study.interrupted:
        return (
            f"the study is in {shown(study.path.as_posix())}{at}; to see why it came out this way",
            f"rungwise explain {_named(study)}",
        )
    if "function" in study.state.how or "command" in study.state.how:
        return "stopped; to resume the study", to_go_on(study)
    return "stopped; to resume the study, run this program again, or", to_go_on(study)


def to_go_on(study: Study) -> str:
    """The command that goes on with `study`, which is in a file; one begun from Python must be told the function."""
    known = "function" in study.state.how or "command" in study.state.how
    return f"rungwise resume {_named(study)}{'' if known else ' --function FILE.py:NAME'}"


def queued(study: Study) -> str:
    """When a configuration that was enqueued will be tried."""
    total = study.budget.trials
    if total is not None and len(study.trials) + len(study.state.queue) > total:
        return f"it will be tried once the total of {counted(total, 'trial')} is raised"
    return "it will be tried next"


def _named(study: Study) -> str:
    """The study's file, or its address, as a shell takes it."""
    assert study.path is not None
    name = study.address or study.path.as_posix()
    return shown(shlex.quote(f"./{name}" if name.startswith("-") else name))


def in_columns(config: Config, width: int, most: int) -> list[str]:
    """A configuration for people: `name value, …` on at most `most` lines of at most `width` columns.

    Long names and values end with …, as does what does not fit.
    """
    parts = [f"{_cut(name, NAME)} {_cut(_value(value), VALUE)}" for name, value in config.items()]
    lines = [""]
    for place, part in enumerate(parts):
        part += "," if place < len(parts) - 1 else ""
        if not lines[-1] or cell_len(lines[-1]) + 1 + cell_len(part) <= width:
            lines[-1] += f" {part}" if lines[-1] else part
        else:
            lines.append(part)
    return lines if len(lines) <= most else [*lines[: most - 1], f"{lines[most - 1]} …"]


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else shown(value) if isinstance(value, str) else shown_json(value)


def _cut(text: str, columns: int) -> str:
    return text if cell_len(text) <= columns else f"{set_cell_size(text, columns - 1).rstrip()}…"
