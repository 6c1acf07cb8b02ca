"""What would Optuna call our trials? Each as a `FrozenTrial`: its state, values, parameters, and curve.

* A trial that runs is RUNNING, and so is one that is paused as long as the study may go on: it may be promoted, and
  whoever watches an Optuna study does not look again at trials that have finished.
* When the study has ended, the trials at the rung of the answer are COMPLETE, so that Optuna's best is ours; the others
  are PRUNED, with their score where they stopped.
* At one rung, a trial is COMPLETE as soon as it has come to that rung, with its score there.
* A trial that has failed is FAIL; one without a finite score where it counts is PRUNED without values.
* Configurations that were enqueued are WAITING, with the numbers that they will have.

May import `events`, `parameters`, `nas.cells`, `records`, `metrics`, `space`, and optuna.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from datetime import datetime
from functools import reduce
from typing import Any, NamedTuple

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from rungwise.events import Config
from rungwise.metrics import Metrics
from rungwise.nas.cells import Cell
from rungwise.parameters import Categorical, Float, Integer, Ordinal, Parameter
from rungwise.records import TrialRecord
from rungwise.space import Space
from rungwise.words import shown_json

SCALARS = (str, int, float, bool, type(None))  # what Optuna takes as a choice


class Moments(NamedTuple):
    """When a trial was started, and when it last came to the end of a job (Unix seconds); None: not yet."""

    started: float
    ended: float | None = None


def trial_of(
    record: TrialRecord, space: Space, metrics: Metrics, moments: Moments, *, at: int | None, ended: int | None
) -> FrozenTrial:
    """`record` as Optuna has it: at the rung `at`, if that is not None.

    `ended` is the rung of the answer in a study that has ended, and None while it may go on.
    """
    level = record.paused_at if at is None else at
    values = _values(record, level, metrics) if record.paused_at >= level > 0 else None
    if at is not None and record.paused_at >= at:
        state = TrialState.PRUNED if values is None else TrialState.COMPLETE
    elif record.failure is not None:
        state, values = TrialState.FAIL, None
    elif record.job is not None or ended is None:
        state, values = TrialState.RUNNING, None
    elif at is None and values is not None and level == ended:
        state = TrialState.COMPLETE
    else:
        state = TrialState.PRUNED
    over = moments.ended if state.is_finished() else None
    params, distributions, others = described(record.config, space)
    told = {"state": record.state, "resource": record.resource, "rung": record.paused_at, "failure": record.failure}
    return FrozenTrial(
        number=record.number, trial_id=record.number, state=state, value=None, values=values,
        datetime_start=_moment(moments.started),
        datetime_complete=_moment(moments.started if over is None else over) if state.is_finished() else None,
        params=params, distributions=distributions, intermediate_values=_curve(record, at),
        user_attrs={name: value for name, value in (others | told).items() if value is not None}, system_attrs={},
    )  # fmt: skip


def waiting(number: int, config: Config, space: Space) -> FrozenTrial:
    """A configuration that was enqueued, as the trial that it will be."""
    params, distributions, others = described(config, space)
    return FrozenTrial(
        number=number, trial_id=number, state=TrialState.WAITING, value=None, datetime_start=None,
        datetime_complete=None, params=params, distributions=distributions, user_attrs=others,
        system_attrs={"fixed_params": params}, intermediate_values={},
    )  # fmt: skip


def _moment(time: float) -> datetime:
    return datetime.fromtimestamp(time)  # local and without a zone, as Optuna's own are


def _values(record: TrialRecord, level: int, metrics: Metrics) -> list[float] | None:
    """The scores that count at a rung, one a metric; None if one is not finite, or there is none."""
    reports = record.reports
    known = list(reports.values())[: bisect_right(list(reports), level)]
    if not known:
        return None
    losses = metrics.losses(reduce(metrics.counted, known))
    if not all(map(math.isfinite, losses)):
        return None
    score = metrics.score(losses)
    return list(score.values()) if metrics.names else [score]


def _curve(record: TrialRecord, at: int | None) -> dict[int, float]:
    """The reports up to the rung; none if there are several metrics, for which Optuna has no place."""
    if record.metrics:
        return {}
    return {step: score for step, score in (record.reports | record.refit).items() if at is None or step <= at}


def described(config: Config, space: Space) -> tuple[dict[str, Any], dict[str, BaseDistribution], dict[str, Any]]:
    """The parameters of `config`, with Optuna's distributions; and those that Optuna has no kind for.

    A cell is a parameter for each edge, named `cell[0-1]`. A choice that is a list or a table is its JSON text.
    """
    params: dict[str, Any] = {}
    distributions: dict[str, BaseDistribution] = {}
    others: dict[str, Any] = {}
    for name, value in config.items():
        parameter = space[name]
        if isinstance(parameter, Cell):
            for (start, end), operation in zip(parameter.edges, parameter.parse(value), strict=True):
                params[f"{name}[{start}-{end}]"] = operation
                distributions[f"{name}[{start}-{end}]"] = CategoricalDistribution(parameter.operations)
        elif (of := _distribution(parameter)) is None:
            others[name] = value
        else:
            params[name] = value if not isinstance(of, CategoricalDistribution) else _choice(value)
            distributions[name] = of
    return params, distributions, others


def _distribution(parameter: Parameter) -> BaseDistribution | None:
    if isinstance(parameter, Float | Integer):
        (axis,) = parameter.axes().values()
        if isinstance(parameter, Integer):
            return IntDistribution(int(axis.low), int(axis.high), log=axis.log, step=int(axis.step or 1))
        return FloatDistribution(axis.low, axis.high, log=axis.log, step=axis.step)
    if isinstance(parameter, Categorical | Ordinal):
        return CategoricalDistribution([_choice(choice) for choice in parameter.choices])
    return None


def _choice(value: Any) -> Any:
    return value if isinstance(value, SCALARS) else shown_json(value)


def study_attributes(scheduler: Mapping[str, Any], at: int | None) -> dict[str, Any]:
    """What is told of the study."""
    told = {"scheduler": scheduler.get("name"), "rung": at}
    return {name: value for name, value in told.items() if value is not None}
