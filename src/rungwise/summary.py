"""What does a study say of itself? A row a trial or report, a row a rung, and in words why it stands where it stands.

What `Study.rows`, `Study.rungs` and `Study.explain` give; nothing here decides anything. May import what `study` may.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rungwise import contenders, explain, peaks, recommendation
from rungwise.events import Job
from rungwise.frames import CONFIG
from rungwise.hold import held
from rungwise.kinds import by_kind
from rungwise.metrics import Metrics
from rungwise.paths import real_path
from rungwise.recommendation import Certainty
from rungwise.records import Budget
from rungwise.words import counted, duration, shown

if TYPE_CHECKING:
    from rungwise.records import TrialRecord
    from rungwise.state import StudyState

SHOWN = 10
"""So many trials are shown in a notebook: the best."""
KINDS_SHOWN = 10
"""So many kinds of failures are told one by one: the most frequent."""


def rungs(
    completed: Mapping[int, int], running: Iterable[Job], best: Mapping[int, float]
) -> list[tuple[int, int, int, float | None]]:
    """A row a level, from the top: level, how many `completed` it, are `running` to it, and the `best` score there.

    >>> rungs({1: 3, 3: 1}, [Job(0, {}, 3, 9)], {1: 0.5, 3: 0.2})
    [(9, 0, 1, None), (3, 1, 0, 0.2), (1, 3, 0, 0.5)]
    """
    towards = Counter(job.until for job in running if not job.refit)
    levels = sorted({*completed, *towards}, reverse=True)
    return [(level, completed.get(level, 0), towards[level], best.get(level)) for level in levels]


def rows(state: StudyState, path: Path | None, *, reports: bool) -> list[dict[str, Any]]:
    """A dict a trial of the study in the file `path`, or with `reports` one a report; see `Study.rows`."""
    rows = []
    under_way = "running" if is_held(state, path) else "waiting"
    for record in state.trials:
        values = record.config
        head = {"trial": record.number, "state": record.state if record.job is None else under_way}
        config = {f"{CONFIG}{name}": values[name] for name in state.space if name in values}
        if not reports:
            seconds = None if record.score is None else record.seconds_used
            told = {"resource": record.resource, **_scores(state.metrics, record.score), "seconds": seconds}
            rows.append({**head, **told, "failure": record.failure, "refit_failure": record.refit_failure, **config})
            continue
        times = record.seconds
        for refit, scores in ((False, record.reports), (True, record.refit)):
            for resource, score in scores.items():
                seconds = None if refit else times[resource]
                told = {"resource": resource, **_scores(state.metrics, score), "seconds": seconds, "refit": refit}
                rows.append({**head, **told, **config})
    return rows


def is_held(state: StudyState, path: Path | None) -> bool:
    """Whether a process does the jobs of a study that are out: one that was killed does not."""
    if path is None or not state.running:
        return True
    try:
        return held(real_path(path))
    except OSError:  # the file is gone
        return False


def _scores(metrics: Metrics, score: Any) -> dict[str, Any]:
    if not metrics.names:
        return {"score": score}
    return {f"score.{name}": None if score is None else score[name] for name in metrics.names}


def top(state: StudyState, k: int) -> list[TrialRecord]:
    """The `k` best trials: the answer, then those that completed the highest rung, in a rung the best scores first.

    Each stands at the highest rung that it completed, with its score there. Among equals the lower number comes first.
    Trials that failed, or whose score there is not finite, are left out.
    """
    ranked = []
    answer = state.winners[:1]
    for record in state.trials:
        if record.failure is not None:
            continue
        [losses] = record.losses_at([record.paused_at], state.metrics)
        if losses and math.isfinite(loss := losses[0]):
            ranked.append(([record.number] != answer, -record.paused_at, loss, record.number, record))
    return [record for *_, record in heapq.nsmallest(k, ranked, key=lambda row: row[:4])]


def certainty(state: StudyState) -> Certainty | None:
    """How sure the best trial is; None without another trial at its rung and at one below, or with several metrics."""
    if not state.has_best or state.metrics.names:
        return None
    best = state.best
    below = max((level for level in state.rated if level < best.resource), default=None)
    if below is None:
        return None
    there = [record for record in state.trials if record.failure is None and record.paused_at >= best.resource]
    metrics = state.metrics
    losses = {}
    for record in there:
        before, now = (each[0] if each else inf for each in record.losses_at((below, best.resource), metrics))
        losses[record.number] = before, now
    return recommendation.certainty(best.number, best.resource, below, losses)


def headline(state: StudyState, path: Path | None) -> str:
    """A study in one line: where it is, how many trials it has, its answer."""
    parts = [counted(len(state.trials), "trial")]
    if state.under_way:
        parts.append(f"{state.under_way} running")
    if state.metrics.names:
        parts.append(f"{len(state.winners)} on the Pareto front" if state.has_best else "no result yet")
    elif state.has_best:
        best = state.best
        parts.append(f"best {explain.standing(best.score, best.resource, best.peak)} (trial {best.number})")
    else:
        parts.append("no result yet")
    return f"Study {'in memory' if path is None else path}: {', '.join(parts)}"


def as_html(state: StudyState, path: Path | None) -> str:
    """The same for a notebook, with a table of the best trials."""
    if state.metrics.names:
        head = ["trial", "resource", *state.metrics.names, *state.space]
        found = [(one.number, one.resource, [*one.scores.values()], one.config) for one in state.front[:SHOWN]]
    else:
        head = ["trial", "resource", "score", *state.space]
        found = [(one.number, one.resource, [one.score], one.config) for one in top(state, SHOWN)]
    rows = [
        [str(number), str(resource), *map(explain.number, scores), *(_cell(config, name) for name in state.space)]
        for number, resource, scores, config in found
    ]
    table = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    shown_table = f"<table><thead><tr>{names}</tr></thead><tbody>{table}</tbody></table>" if rows else ""
    return f"<p>{escape(shown(headline(state, path)))}</p>{shown_table}"


def _cell(config: Mapping[str, Any], name: str) -> str:
    return shown(config[name] if isinstance(config[name], str) else repr(config[name])) if name in config else ""


def reached(state: StudyState, before: Budget) -> list[str]:
    """Of the totals that were changed since `before`, those that the study has reached already, in words."""
    now, used, ran = state.budget, state.resource_used, state.time.seconds
    said = {
        "trials": f"{counted(len(state.trials), 'trial')} started" if len(state.trials) >= (now.trials or inf) else "",
        "resource": f"{used} used" if used >= (now.resource or inf) else "",
        "seconds": f"it has run for {duration(ran)}" if ran >= (now.seconds or inf) else "",
        "target": "a score as good as this was reported" if state.target_reached else "",
        "trainings": f"{state.trained} units spent" if state.trained >= (state.total_units or inf) else "",
        "hours": f"it has run for {duration(ran)}" if ran >= (now.hours or inf) * 3600 else "",
    }
    names = {"trainings": "budget"}
    changed = [name for name in said if said[name] and getattr(now, name) != getattr(before, name)]
    return [f"{names.get(name, name)}={getattr(now, name)} has already been reached: {said[name]}" for name in changed]


def story(
    state: StudyState,
    brackets: Sequence[tuple[int, int]] | None = None,
    near: Sequence[Sequence[str]] = (),
    epsilon: float | None = None,
) -> str:
    """Each rise of the ceiling, the failures by kind, and the answer: what `Study.explain` gives.

    `near` has for each bracket lines that say how near its ceiling is to rising, `epsilon` is PASHA's ε.
    """
    if brackets is None:
        brackets = [(level, state.completed.get(level, 0)) for level in state.ceilings or ()]
    lines = explain.rises(state.rises, several=len(brackets) > 1)
    where = explain.ceilings(state.created.scheduler.get("name"), state.max_resource, brackets, state.rises)
    for place, line in enumerate(where):
        lines += [line, *(near[place] if near else ())]
    lines += [*_failures(state), *broken_off(state)]
    if state.metrics.names:
        front, why = state.front, explain.why_that_front(_above(state, state.answer_level))
        lines.append(f"{counted(len(front), 'trial')} on the Pareto front, {why}")
        lines += [f"  trial {one.number} at {one.resource}: {explain.numbers(one.scores)}" for one in front]
    elif state.has_best:
        best = state.best
        record = state.trials[best.number]
        lines.append(
            f"trial {best.number} is the best: {explain.standing(best.score, best.resource, best.peak)}, "
            f"{explain.why_there(_above(state, best.resource))}"
        )
        if (found := contenders.contenders(state, epsilon)) is not None:
            lines += contenders.in_words(found, state.max_resource)
        if record.refit_failure is not None:
            lines.append(f"its refit failed: {shown(record.refit_failure)}")
        lines += peaks.remarks(record, state.trials, state.metrics)
    return "\n".join(lines)


def _above(state: StudyState, level: int) -> dict[int, int]:
    """How many trials have a finite result at each rung above `level`, from the lowest."""
    return {other: state.rated[other] for other in sorted(state.rated) if other > level}


def _failures(state: StudyState) -> list[str]:
    """How many trials failed, the last reason, and where there are several kinds of them the most frequent."""
    failed = [(record.number, record.failure) for record in state.trials if record.failure is not None]
    if not failed:
        return []
    trial, reason = failed[-1]
    trials = counted(len(state.trials), "trial")
    return [f"{len(failed)} of {trials} failed, the last (trial {trial}): {shown(reason)}", *_kinds(failed)]


def broken_off(state: StudyState) -> list[str]:
    """Of the jobs that are not done yet how many have broken off, and why: all that is known where nothing worked."""
    broken = [(r.number, r.broke_off) for r in state.trials if r.job is not None and r.broke_off is not None]
    if not broken:
        return []
    trial, reason = broken[-1]
    jobs = counted(len(broken), "job")
    return [f"{jobs} broke off and will be retried; for example trial {trial}: {shown(reason)}", *_kinds(broken)]


def _kinds(failures: list[tuple[int, str]]) -> list[str]:
    kinds = by_kind(failures)
    if len(kinds) == 1:
        return []
    return [f"  {one.count} like trial {one.trial}: {shown(one.reason)}" for one in kinds[:KINDS_SHOWN]]
