"""What a decision costs hardly grows with the study: counted, not timed, so that the figures are the same each time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest

import rungwise as rw
from rungwise import dominance, fronts, ordered
from rungwise.core import pareto
from rungwise.events import Created, Promote, Promoted, Raise, Report, Result, Start, Started

FEW, MANY = 1_000, 8_000
ELEMENTS = 50
"""So many elements of an array cost numpy about what one line costs Python."""


class Loss(float):
    """A loss that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: float) -> bool:
        Loss.compared += 1
        return float(self) < float(other)

    def __gt__(self, other: float) -> bool:
        Loss.compared += 1
        return float(self) > float(other)

    def __eq__(self, other: object) -> bool:
        Loss.compared += 1
        return float(self) == other

    __hash__ = float.__hash__


class CountingNumpy:
    """numpy that counts the elements of all arrays that its functions give."""

    def __init__(self) -> None:
        self.elements = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        if not callable(found) or isinstance(found, type | np.ufunc):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            made = found(*args, **kwargs)
            self.elements += sum(map(np.size, made)) if isinstance(made, list | tuple) else np.size(made)
            return made

        return call


def cost(make: Callable[[], Any], trials: int, metrics: int, shape: str, monkeypatch: pytest.MonkeyPatch) -> float:
    """Lines run in `core`, comparisons of losses and elements of arrays, for each job of a study of so many `trials`."""
    rng = np.random.default_rng(0)
    table, noises = rng.random((trials, metrics)), 1e-3 * rng.random((trials, metrics))
    if shape == "all on one front":
        table[:, 1] = 1 - table[:, 0]
    scheduler, lines, counting = make(), 0, CountingNumpy()
    if metrics > 1:
        scheduler.tell(Created({}, {}, {}, {str(metric): "min" for metric in range(metrics)}, 0, ""))
        for module in (dominance, fronts, ordered, pareto):
            monkeypatch.setattr(module, "np", counting)

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return (
            trace
            if frame.f_globals.get("__name__", "").startswith(
                ("rungwise.core", "rungwise.dominance", "rungwise.ordered")
            )
            else None
        )

    def begun(answer: Start | Promote) -> int:
        if isinstance(answer, Promote):
            scheduler.tell(Promoted(answer.trial, answer.until))
            return answer.trial
        scheduler.tell(Started(started, {}, answer.until))
        return started

    started = jobs = looked = 0
    Loss.compared = 0
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        while True:
            answer = scheduler.ask(more=started < trials)
            if isinstance(answer, Raise):
                scheduler.tell(answer.fact)
                continue
            if not isinstance(answer, Start | Promote):
                break
            trial = begun(answer)
            started, jobs = max(started, trial + 1), jobs + 1
            losses = tuple(map(Loss, table[trial] + noises[trial] * answer.until))
            scheduler.tell(Report(trial, answer.until, losses))
            scheduler.tell(Result(trial, answer.until, losses))
            if jobs - looked > 20 + started // 4:  # as often as the local executor looks what it may delete
                looked = jobs
                scheduler.may_promote(trials)
    finally:
        sys.settrace(before)
        monkeypatch.undo()
    assert started == trials
    return (lines + Loss.compared + counting.elements / ELEMENTS) / jobs


SCHEDULERS: dict[str, Callable[[], Any]] = {
    "ASHA": lambda: rw.ASHA(max_resource=81),
    "PASHA": lambda: rw.PASHA(max_resource=81),
    "patient ASHA": lambda: rw.ASHA(max_resource=81, promotion="patient"),
    "patient PASHA, breadth first": lambda: rw.PASHA(max_resource=81, promotion="patient", breadth_first=True),
    "StoppingASHA": lambda: rw.StoppingASHA(max_resource=81),
    "SuccessiveHalving": lambda: rw.SuccessiveHalving(max_resource=81),
    "Hyperband": lambda: rw.Hyperband(max_resource=81),
    "AsyncHyperband": lambda: rw.AsyncHyperband(max_resource=81),
    "MedianStoppingRule": lambda: rw.MedianStoppingRule(max_resource=81),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_with_one_metric_eight_times_the_trials_cost_no_more_than_half_as_much_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = (cost(SCHEDULERS[name], trials, 1, "any", monkeypatch) for trials in (FEW, MANY))
    assert many < 1.5 * few


@pytest.mark.parametrize(("metrics", "shape"), [(2, "any"), (3, "any"), (2, "all on one front")])
@pytest.mark.parametrize("name", ["ASHA", "PASHA", "patient ASHA", "patient PASHA, breadth first"])
def test_with_several_metrics_eight_times_the_trials_cost_no_more_than_two_and_a_half_times_as_much(
    name: str, metrics: int, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = (cost(SCHEDULERS[name], trials, metrics, shape, monkeypatch) for trials in (FEW, MANY))
    assert many < 2.5 * few
