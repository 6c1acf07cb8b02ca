"""Random studies for the laws: tables of curves with everything in them that has ever gone wrong."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import rungwise as rw
from rungwise.core.criteria import RANKINGS
from rungwise.events import Completed, Created, Event, Fact, Failed, Promoted, Raised, Report, Reported, Result, Started


@dataclass(frozen=True)
class Instance:
    """One study over a table. `arguments` are those of the scheduler, `ranking` is for PASHA."""

    table: rw.CurveTable
    scores: np.ndarray
    seconds: np.ndarray
    resources: list[int]
    mode: str
    rows: list[int]
    workers: int
    drain: bool
    arguments: dict[str, Any]
    ranking: str
    epsilon: float | str
    numbers: dict[str, float]
    small: int
    """A number that schedulers take as they need it: bracket_size, interval, …"""
    score: str
    """Which of a trial's reports counts, "last" or "best"."""
    patience: tuple[float, int] | None
    """How many may be promoted, and when a rung opens; None is eager. This and `breadth` are for ASHA and PASHA."""
    breadth: bool

    @property
    def promoting(self) -> dict[str, Any]:
        """`patience` and `breadth` as arguments."""
        promotion: Any = "eager"
        if self.patience is not None:
            promotion = rw.PatientPromotion(deviations=self.patience[0], opens_at=self.patience[1])
        return {"promotion": promotion, "breadth_first": self.breadth}

    def scheduler(self, algorithm: str) -> rw.Scheduler:
        most = self.arguments["max_resource"] or self.resources[-1]
        within = self.arguments | {"max_resource": most}
        if algorithm == "asha":
            return rw.ASHA(**self.arguments, **self.promoting)
        if algorithm == "asha-stopping":
            return rw.StoppingASHA(**within)
        if algorithm == "halving":
            return rw.SuccessiveHalving(**within, bracket_size=self.small)
        if algorithm == "hyperband":
            return rw.Hyperband(**within)
        if algorithm == "median":
            return rw.MedianStoppingRule(
                max_resource=most, min_resource=within["min_resource"], interval=self.small, min_trials=self.workers
            )
        if algorithm == "full":
            return rw.FullTraining(max_resource=most)
        if algorithm == "async-hyperband":
            ladder = rw.ASHA(**within, **self.promoting) if self.small == 1 else self.scheduler("pasha")
            return rw.AsyncHyperband(ladder=ladder, brackets=1 if self.small == 5 else None, max_resource=most)
        assert algorithm == "pasha"
        numbers = {"epsilon": self.epsilon} if self.ranking == "soft" else self.numbers
        return rw.PASHA(**self.arguments, **self.promoting, ranking=rw.ranking(self.ranking, **numbers))

    def run(self, algorithm: str, table: rw.CurveTable | None = None) -> rw.Simulation:
        return rw.simulate(
            self.scheduler(algorithm),
            table or self.table,
            workers=self.workers,
            trials=len(self.rows),
            rows=self.rows,
            score=self.score,
            drain=self.drain,
        )

    def told(self, facts: Iterable[Fact]) -> Iterator[Event]:
        """`facts` as a scheduler is told them."""
        return events(facts, self.mode, self.score)


def events(facts: Iterable[Fact], mode: str, score: str = "last") -> Iterator[Event]:
    """What follows from `facts`: losses in place of scores, and a result where a job has ended."""
    losses: dict[int, list[float]] = defaultdict(list)
    until: dict[int, int] = {}
    known: dict[int, int] = {}  # trial -> how many reports it had when its job began
    counted = min if score == "best" else lambda curve: curve[-1]
    for fact in facts:
        match fact:
            case Reported(trial, resource, given):
                losses[trial].append(math.inf if given is None else given * (-1 if mode == "max" else 1))
                yield Report(trial, resource, (counted(losses[trial]),))
            case Completed(trial) | Failed(trial):
                failed = isinstance(fact, Failed) or len(losses[trial]) == known[trial]
                yield Result(trial, until[trial], (math.inf if failed else counted(losses[trial]),))
            case Started(trial, _, level) | Promoted(trial, level):
                until[trial], known[trial] = level, len(losses[trial])
                yield fact
            case Created() | Raised():
                yield fact


@st.composite
def instances(draw: st.DrawFn, fixed_epsilon: bool = True) -> Instance:
    """Ladders of one rung and up, η whole or not, R on or off the ladder or absent, ties, divergence, gaps."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed"))
    columns = draw(st.sampled_from([1, 2, 3, 4, 5, 9, 10, 27, 30, 50]))
    every = draw(st.sampled_from([1, 1, 1, 2, 4]))
    resources = [every * (column + 1) for column in range(columns)]
    last = resources[-1]
    rows = draw(st.integers(1, 60))
    noise = draw(st.sampled_from([0.0, 0.01, 0.05, 0.3]))
    at = np.arange(1, columns + 1)
    curves = rng.uniform(0.3, 1, (rows, 1)) - rng.uniform(0.1, 0.8, (rows, 1)) / np.sqrt(at)
    curves = curves + rng.normal(0, 1, (rows, columns)) * noise
    if draw(st.booleans(), label="ties"):
        curves = np.round(curves, 1)
    if draw(st.booleans(), label="divergence"):
        bad = rng.random((rows, columns)) < draw(st.sampled_from([0.02, 0.2]))
        curves[bad] = rng.choice([np.nan, np.inf, -np.inf], bad.sum())
    if draw(st.booleans(), label="equal times"):
        seconds = np.tile(np.arange(1.0, columns + 1), (rows, 1))
    else:
        seconds = np.cumsum(rng.exponential(1, (rows, columns)), axis=1)
    smallest = draw(st.integers(1, min(3 * every, last)))
    arguments = {
        "min_resource": smallest,
        "reduction_factor": draw(st.sampled_from([2, 2.5, 3, 3, 4, 1.5])),
        "max_resource": draw(st.sampled_from([None, last, max(smallest, last - 1), max(smallest, last // 2)])),
    }
    mode = draw(st.sampled_from(["min", "max"]))
    ranking = draw(st.sampled_from(["soft"] * 5 + sorted(RANKINGS)))
    numbers = {}
    if ranking in ("rbo", "rrr", "arrr"):
        numbers = {
            "p": draw(st.sampled_from([0.5, 0.9, 1.0])),
            "threshold": draw(st.sampled_from([0.02, 0.05, 0.5, 0.9])),
        }
    elif ranking.startswith("soft_"):
        numbers = {"scale": draw(st.sampled_from([0.3, 1.0, 2.0]))}
    epsilon = draw(st.sampled_from(["auto", "auto", "auto", 0.0, 0.05])) if fixed_epsilon else "auto"
    return Instance(
        rw.CurveTable(curves, seconds, mode=mode, resources=resources),
        curves,
        seconds,
        resources,
        mode,
        rng.permutation(rows).tolist(),
        draw(st.integers(1, 7)),
        draw(st.sampled_from([True, True, False])),
        arguments,
        ranking,
        epsilon,
        numbers,
        draw(st.sampled_from([1, 2, 3, 5, 9])),
        draw(st.sampled_from(["last", "best"])),
        draw(st.sampled_from([None, None, (1.0, 2), (1.0, 2), (0.5, 1), (0.0, 3)])),
        draw(st.sampled_from([False, False, True])),
    )
