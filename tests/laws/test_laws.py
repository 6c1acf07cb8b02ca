"""What holds for every scheduler, whatever the curves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import rungwise as rw
from instances import Instance, instances
from rungwise.core import SCHEDULERS
from rungwise.events import (
    Completed,
    Created,
    Event,
    Extended,
    Fact,
    Promote,
    Promoted,
    Raise,
    Raised,
    Report,
    Result,
    Start,
    Started,
    Wait,
)

every_scheduler = pytest.mark.parametrize("algorithm", sorted(SCHEDULERS))


def decisions(simulation: rw.Simulation) -> list[Fact]:
    """The log of a simulation without its first fact, which holds the settings."""
    return [fact for _, fact in simulation.study.facts() if not isinstance(fact, Created | Extended)]


class Watched:
    """A scheduler between us and a study, which is asked twice and never trusted."""

    def __init__(self, scheduler: rw.Scheduler) -> None:
        self.inner = scheduler
        self.running: dict[int, int] = {}
        self.completed: dict[int, set[int]] = defaultdict(set)  # level -> trials
        self.ceiling = scheduler.open_level
        self.name = scheduler.name
        self.settings = scheduler.settings
        self.max_resource = scheduler.max_resource
        self.may_promote = scheduler.may_promote

    @property
    def open_level(self) -> int | None:
        return self.inner.open_level

    def up_to(self, max_resource: int) -> rw.Scheduler:
        raise AssertionError

    def ask(self, *, more=True):
        first = self.inner.ask(more=more)
        assert self.inner.ask(more=more) == first, "asking twice changes nothing"
        if not more:
            assert not isinstance(first, Start), "no new trial where there may be none"
        elif isinstance(first, Promote | Raise) and not isinstance(
            self.inner,
            rw.SuccessiveHalving | rw.Hyperband | rw.AsyncHyperband,  # of which a bracket may come to its end
        ):
            assert self.inner.ask(more=False) == first
        assert isinstance(first, Start | Promote | Raise | Wait)
        if isinstance(first, Promote):
            assert first.trial not in self.running, "a running trial is never promoted"
            assert self.open_level is None or first.until <= self.open_level, "nobody is above the ceiling"
        return first

    def tell(self, fact: Event) -> None:
        self.inner.tell(fact)
        if isinstance(fact, Started):
            self.running[fact.trial] = fact.until
        elif isinstance(fact, Promoted):
            below = max(level for level, trials in self.completed.items() if fact.trial in trials)
            levels = [level for level in sorted(self.completed) if level < fact.until]
            alike = isinstance(self.inner, rw.Hyperband | rw.AsyncHyperband)  # not every bracket has every level
            assert below < fact.until if alike else below == levels[-1], "the members of a rung come from the one below"
            self.running[fact.trial] = fact.until
        elif isinstance(fact, Result):
            assert fact.level == self.running.pop(fact.trial)
            self.completed[fact.level].add(fact.trial)
        elif isinstance(fact, Report):
            assert fact.resource <= self.running[fact.trial]
        now = self.open_level
        if self.ceiling is not None:
            assert now is not None
            assert now >= self.ceiling, "the ceiling never falls"
            assert now == self.ceiling or isinstance(fact, Raised), "only a rise moves the ceiling"
        self.ceiling = now


@every_scheduler
@settings(max_examples=80)
@given(instance=instances())
def test_invariants_after_every_fact(algorithm: str, instance: Instance) -> None:
    simulation = instance.run(algorithm)
    scheduler = instance.scheduler(algorithm)
    if scheduler.max_resource is None:
        scheduler = scheduler.up_to(instance.resources[-1])
    watched = Watched(scheduler)
    started = 0
    for fact in instance.told(decisions(simulation)):
        more = started < len(instance.rows)
        started += isinstance(fact, Started)
        if isinstance(fact, Promoted):
            answer = watched.ask(more=more)
            assert isinstance(answer, Promote)
            assert answer.fact == fact
        elif isinstance(fact, Started):
            assert watched.ask() == Start(fact.until)
        elif isinstance(fact, Raised):
            assert isinstance(watched.ask(more=more), Raise)
        watched.tell(fact)


@settings(max_examples=150)
@given(instances())
def test_pasha_under_a_fixed_top_ceiling_is_asha(instance: Instance) -> None:
    asha = instance.run("asha")
    most = asha.study.scheduler.max_resource
    pasha = rw.PASHA(**instance.arguments | instance.promoting | {"max_resource": most})
    top = pasha.asha.ladder.rung_at(pasha.max_resource)
    pasha.asha.ceiling = top
    started = 0
    for fact in instance.told(fact for _, fact in asha.study.facts()):
        answer = pasha.ask(more=started < len(instance.rows))
        if isinstance(fact, Promoted):
            assert isinstance(answer, Promote)
            assert answer.fact == fact
        elif isinstance(fact, Started):
            assert answer == Start(fact.until)
            started += 1
        pasha.tell(fact)


def alike(one: rw.Simulation, other: rw.Simulation) -> None:
    assert other.jobs == one.jobs
    assert other.ceilings == one.ceilings
    assert other.best_trial == one.best_trial
    assert other.study.rung_results() == one.study.rung_results()


@every_scheduler
@settings(max_examples=40)
@given(instance=instances())
def test_the_best_score_is_the_last_of_curves_that_only_improve(algorithm: str, instance: Instance) -> None:
    """On such curves "best" and "last" decide alike; on any curves "best" is "last" on those of the best so far."""
    best, last = replace(instance, score="best"), replace(instance, score="last")
    finite = np.where(np.isfinite(instance.scores), instance.scores, np.nan)
    better = np.fmax if instance.mode == "max" else np.fmin
    so_far = better.accumulate(finite, axis=1)
    improving = rw.CurveTable(so_far, instance.seconds, mode=instance.mode, resources=instance.resources)
    plain = last.run(algorithm, improving)
    alike(plain, best.run(algorithm, improving))
    alike(plain, best.run(algorithm))


@every_scheduler
@settings(max_examples=40)
@given(instance=instances(fixed_epsilon=False))
def test_exact_changes_of_scale_change_nothing(algorithm: str, instance: Instance) -> None:
    """Powers of two and the sign are exact in binary; other affine changes round."""
    here = instance.run(algorithm)
    scaled = rw.CurveTable(instance.scores * 4.0, instance.seconds, mode=instance.mode, resources=instance.resources)
    other = "min" if instance.mode == "max" else "max"
    turned = rw.CurveTable(instance.scores * -0.5, instance.seconds, mode=other, resources=instance.resources)
    for table in (scaled, turned):
        there = instance.run(algorithm, table)
        assert there.jobs == here.jobs
        assert there.ceilings == here.ceilings
        assert there.best_trial == here.best_trial


@every_scheduler
def test_a_shift_of_whole_numbers_changes_nothing(algorithm: str) -> None:
    rng = np.random.default_rng(5)
    scores = rng.integers(0, 1000, (80, 27)).astype(float)  # whole numbers: shifts are exact too
    runs = [
        rw.simulate(algorithm, rw.CurveTable(scores * a + b, mode="max"), trials=80) for a, b in ((1, 0), (8, 12345))
    ]
    assert runs[0].jobs == runs[1].jobs
    assert runs[0].ceilings == runs[1].ceilings


@every_scheduler
@settings(max_examples=25)
@given(instance=instances())
def test_replaying_a_log_gives_an_equal_study(algorithm: str, instance: Instance, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("log") / "study.db"
    scheduler = instance.scheduler(algorithm)
    space = {"x": rw.Float(0, 1)}
    study = rw.Study(space, scheduler, mode=instance.mode, path=path)
    study.extend(trials=min(12, len(instance.rows)))
    cut = len(instance.rows) // 2
    step = 0
    while (job := study.ask()) is not None:
        step += 1
        row = instance.scores[job.trial % len(instance.scores)]
        resource = min(job.until, len(row))
        if resource > job.start:
            study.report(job.trial, resource, row[resource - 1])
        if study.trials[job.trial].job is not None:
            study.complete(job.trial)
        if step == cut:
            study.ask()  # a job is under way when the driver goes
            break
    study.close()
    again = rw.Study(space, scheduler, mode=instance.mode, path=path)
    assert repr(again.trials) == repr(study.trials), "nan is not equal to itself"
    assert again.resource_used == study.resource_used
    assert again.rises == study.rises
    assert again.rungs() == study.rungs()
    assert again.scheduler.open_level == study.scheduler.open_level
    assert again.scheduler.ask() == study.scheduler.ask()
    assert again.running == study.running
    if study.has_best:
        assert again.best == study.best
    again.close()


HASHED = """
import numpy as np, rungwise as rw
rng = np.random.default_rng(3)
scores = 1 - 1 / np.sqrt(np.arange(1, 82)) * rng.uniform(.1, 1, (150, 1)) + rng.normal(0, .05, (150, 81))
run = rw.simulate(rw.PASHA(), rw.CurveTable(scores, mode="max"), trials=150)
study = rw.Study({"a": rw.Categorical(["x", "y", "z"]), "b": rw.Float(0, 1, when={"a": ["x", "y"]})}, "pasha")
print(run.jobs, run.ceilings, run.best_trial, [study.ask().config for _ in range(20)])
"""


def test_the_hash_seed_changes_nothing() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", HASHED],
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in (0, 1, 2, 3)
    }
    assert len(outputs) == 1


GOLDEN = Path(__file__).parent.parent / "golden" / "worked_study.json"


def test_golden_decision_log() -> None:
    """The worked study of the documentation, fact by fact. Change it only in a commit that says why."""
    golden = json.loads(GOLDEN.read_text())
    scores = np.array(golden["scores"])
    seconds = (1 + np.arange(len(scores)) / 1000)[:, None] * np.arange(1, scores.shape[1] + 1)
    run = rw.simulate(
        rw.PASHA(max_resource=9),
        rw.CurveTable(scores, seconds, mode="max"),
        workers=2,
        trials=len(scores),
        rows=range(len(scores)),
    )
    assert golden_log(run) == golden["log"]
    assert (run.best_trial, run.resource_used) == (9, 36)


def golden_log(run: rw.Simulation) -> list[str]:
    """The decisions as lines that a reviewer can read and a diff can show."""
    lines = []
    for fact in decisions(run):
        match fact:
            case Started(trial, _, until):
                lines.append(f"start {trial} to {until}")
            case Promoted(trial, until, rank, size):
                lines.append(f"promote {trial} to {until}: rank {rank} of {size}")
            case Completed(trial):
                lines.append(f"completed {trial}")
            case Raised():
                broken = "; ".join(f"{b.trial} {b.top[0]} for {b.expected} {b.top[1]}" for b in fact.broken)
                lines.append(f"ceiling {fact.until}: gap {fact.gap:.6g} > epsilon {fact.epsilon:.6g} ({broken})")
    return lines
