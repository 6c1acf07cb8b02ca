"""Decision by decision, the library does what the slow reference does."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import reference
import rungwise as rw
from instances import Instance, instances
from rungwise.bench.experiment import experiment, paper_methods
from rungwise.bench.options import ExperimentOptions
from rungwise.bench.task import Task
from rungwise.core import Scheduler
from rungwise.core.rungs import Ladder


def same(instance: Instance, algorithm: str) -> None:
    ours = instance.run(algorithm)
    theirs = reference.simulate(
        instance.scores,
        instance.seconds,
        algorithm=algorithm,
        mode=instance.mode,
        eta=instance.arguments["reduction_factor"],
        min_resource=instance.arguments["min_resource"],
        max_resource=instance.arguments["max_resource"],
        workers=instance.workers,
        trials=len(instance.rows),
        rows=instance.rows,
        resources=instance.resources,
        drain=instance.drain,
        epsilon=instance.epsilon,
        ranking=instance.ranking,
        numbers=instance.numbers,
        score=instance.score,
        patience=instance.patience,
        breadth=instance.breadth,
    )
    assert ours.jobs == theirs.jobs
    assert ours.ceilings == theirs.ceilings
    assert ours.best_trial == theirs.best_trial
    assert ours.seconds == theirs.seconds
    assert ours.resource_used == theirs.resource_used
    assert ours.max_resource == theirs.max_resource
    rises = [rise.epsilon for rise in ours.study.rises]
    if instance.ranking == "soft":
        assert all(epsilon in theirs.epsilons for epsilon in rises)


@pytest.mark.timeout(300)
@settings(max_examples=1000)
@given(instance=instances())
def test_pasha_decides_as_the_reference(instance: Instance) -> None:
    same(instance, "pasha")


@settings(max_examples=500)
@given(instance=instances())
def test_asha_decides_as_the_reference(instance: Instance) -> None:
    same(instance, "asha")


def curve_files() -> list[Path]:
    """Real curves, where they are to be had: in the folder that RUNGWISE_DATA names."""
    root = os.environ.get("RUNGWISE_DATA")
    folders = [Path(root) / name for name in ("lcbench", "taskset")] if root else []
    return [path for folder in folders for path in sorted(folder.glob("[!c]*.npz"))]


def asha_and_pasha(ladder: Ladder) -> dict[str, Scheduler | None]:
    return {name: scheduler for name, scheduler in paper_methods(ladder).items() if name in ("asha", "pasha")}


@pytest.mark.parametrize("path", curve_files(), ids=lambda path: path.stem)
def test_on_real_curves(path: Path) -> None:
    """Decision by decision, and what the experiment of the paper makes of it: resource and final score."""
    data = np.load(path)
    if "val_accuracy" in data:
        scores, seconds, mode = data["val_accuracy"].astype(float), data["elapsed_seconds"].astype(float), "max"
    else:
        scores, seconds, mode = data["valid_loss"][:, 1:].astype(float), None, "min"
    rows = np.random.default_rng(0).permutation(len(scores))[:256].tolist()
    table = rw.CurveTable(scores, seconds, mode=mode)
    task = Task("any", path.stem, table, tuple({"row": row} for row in range(len(scores))))
    for drain in (True, False):
        runs = {
            run.method: run
            for run in experiment([task], ExperimentOptions(repeats=1, drain=drain), methods=asha_and_pasha)
        }
        for algorithm in ("asha", "pasha"):
            ours = rw.simulate(algorithm, table, rows=rows, drain=drain)
            theirs = reference.simulate(
                scores, seconds, algorithm=algorithm, mode=mode, trials=256, rows=rows, drain=drain
            )
            assert ours.jobs == theirs.jobs
            assert ours.ceilings == theirs.ceilings
            run = runs[algorithm]
            assert (run.resource, run.max_resource, run.seconds) == (
                theirs.resource_used, theirs.max_resource, theirs.seconds,
            )  # fmt: skip
            curve = scores[rows[theirs.best_trial]]
            assert run.score == (max if mode == "max" else min)(value for value in curve if np.isfinite(value))
