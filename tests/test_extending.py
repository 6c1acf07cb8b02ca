"""A finished study goes on with more trials, more resource, or a higher maximum: as if all had been asked for at once.

Where that is well defined: with one worker, which does one job after another. More of the total resource is then the
same under every scheduler; more trials under those that look at no total. A higher maximum leaves all that was decided
below it as it is; who goes on above it is chosen when all have come, so by ASHA no trial that asking at once would not
have chosen too, and by PASHA the same as at once as long as its ceiling had not come to the maximum.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import rungwise as rw
from rungwise.cli import commands
from rungwise.events import Completed, Fact, Promoted, Raised, Reported, Started

SPACE = {"x": rw.Float(0, 1)}
SCHEDULERS: dict[str, Any] = {
    "asha": rw.ASHA(max_resource=81),
    "pasha": rw.PASHA(max_resource=81),
    "pasha without a maximum": rw.PASHA(),
    "patient": rw.ASHA(max_resource=81, promotion="patient"),
    "asha-stopping": rw.StoppingASHA(max_resource=81),
    "async-hyperband": rw.AsyncHyperband(max_resource=81),
    "async-hyperband of pasha": rw.AsyncHyperband(ladder="pasha", max_resource=81),
    "halving": rw.SuccessiveHalving(max_resource=27),
    "hyperband": rw.Hyperband(max_resource=27),
    "median": rw.MedianStoppingRule(max_resource=27),
    "full": rw.FullTraining(max_resource=9),
}
SEES_THE_END = {"halving", "hyperband"}
"""Of a bracket that is not full they promote as soon as no more may be started."""


def go_on(study: rw.Study, seed: int) -> rw.Study:
    """One worker, until nothing is left to do."""
    while (job := study.ask()) is not None:
        for at in range(job.start + 1, job.until + 1):
            noise = np.random.default_rng([seed, job.trial, at]).normal(0, 0.05)
            study.report(job.trial, at, job.config["x"] + 0.6 / at + float(noise))
    return study


def decided(study: rw.Study) -> list[Fact]:
    """All that was decided and done, in order."""
    return [fact for _, fact in study.facts() if isinstance(fact, Started | Promoted | Raised | Reported | Completed)]


def extended(scheduler: Any, seed: int, *totals: dict[str, int]) -> rw.Study:
    study = rw.Study(SPACE, scheduler, mode="min", seed=seed)
    for total in totals:
        study.extend(**total)
        go_on(study, seed)
        assert study.finished
    return study


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SCHEDULERS.keys() - SEES_THE_END)
def test_by_64_configurations(name: str, seed: int) -> None:
    scheduler = SCHEDULERS[name]
    later = extended(scheduler, seed, {"trials": 64}, {"trials": 128})
    assert decided(later) == decided(extended(scheduler, seed, {"trials": 128}))
    assert len(later.trials) == 128


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SCHEDULERS)
def test_by_resource(name: str, seed: int) -> None:
    scheduler = SCHEDULERS[name]
    later = extended(scheduler, seed, {"total_resource": 150}, {"total_resource": 400})
    assert decided(later) == decided(extended(scheduler, seed, {"total_resource": 400}))
    assert later.resource_used >= 400


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["asha", "pasha"])
def test_by_64_configurations_then_by_resource(name: str, seed: int) -> None:
    used = extended(SCHEDULERS[name], seed, {"trials": 64}).resource_used
    both = {"trials": 10_000, "total_resource": used + 200}
    later = extended(SCHEDULERS[name], seed, {"trials": 64}, {"trials": 128}, both)
    at_once = extended(SCHEDULERS[name], seed, both | {"total_resource": later.resource_used})
    assert decided(later) == decided(at_once)


def raised(kind: type, seed: int, most: int, then: int) -> rw.Study:
    study = extended(kind(max_resource=most), seed, {"trials": 64})
    study.raise_max_resource(then)
    return go_on(study, seed)


def up_to(study: rw.Study, level: int) -> list[Fact]:
    """What was decided of jobs up to `level`."""
    above: set[int] = set()
    found = []
    for fact in decided(study):
        if isinstance(fact, Started | Promoted):
            (above.add if fact.until > level else above.discard)(fact.trial)
        if not isinstance(fact, Raised) and fact.trial not in above:
            found.append(fact)
    return found


def above(study: rw.Study, level: int) -> set[tuple[int, int]]:
    return {(fact.trial, fact.until) for fact in decided(study) if isinstance(fact, Promoted) and fact.until > level}


@pytest.mark.parametrize("seed", range(20))
def test_a_higher_maximum_under_asha(seed: int) -> None:
    later, at_once = raised(rw.ASHA, seed, 9, 81), extended(rw.ASHA(max_resource=81), seed, {"trials": 64})
    assert up_to(later, 9) == up_to(at_once, 9)
    to_27 = above(later, 9) - above(later, 27)
    assert to_27
    assert to_27 <= above(at_once, 9), "whoever is among the best of all was among the best when it came"
    assert len(to_27) == len([one for one in later.trials if one.paused_at >= 9]) // 3


def test_a_higher_maximum_under_pasha() -> None:
    the_same = 0
    for seed in range(40):
        at_once = extended(rw.PASHA(max_resource=81), seed, {"trials": 64})
        later = raised(rw.PASHA, seed, 27, 81)
        if at_once.state.open_level < 27:  # it never came to the maximum
            assert decided(later) == decided(at_once)
            the_same += 1
        before = extended(rw.PASHA(max_resource=27), seed, {"trials": 64})
        assert decided(later)[: len(decided(before))] == decided(before), "what was decided stands"
        assert later.state.open_level >= before.state.open_level
    assert 0 < the_same < 40


def train(trial: rw.Trial) -> None:
    trained = trial.load() or 0
    assert trained == trial.start, "it goes on from its checkpoint"
    for epoch in trial:
        trial.report((trial.config["x"] - 0.3) ** 2 + 1 / epoch)
        trial.save(epoch)


@pytest.mark.parametrize("scheduler", [rw.ASHA, rw.PASHA])
def test_a_real_run_goes_on_from_its_checkpoints(scheduler: Any, tmp_path: Path) -> None:
    """`tune` again, `study.extend`, `rungwise extend`: nothing is trained twice, rungs and ceiling are kept."""
    path = tmp_path / "s.db"

    def tuned(most: int, trials: int) -> rw.Study:
        return rw.tune(
            train, SPACE, mode="min", scheduler=scheduler(max_resource=most), trials=trials, quiet=True, path=path,
            keep_checkpoints=True,
        )  # fmt: skip

    first = tuned(9, 12)
    rungs, level = dict(first.state.completed), first.state.open_level
    with rw.Study.open(path, writable=True) as study:
        study.extend(trials=20)
    done = CliRunner().invoke(commands, ["extend", str(path), "--trials", "30", "--max-resource", "27", "--trust"])
    assert done.exit_code == 0, done.output
    assert "max_resource is 27 now" in done.output
    assert "continue with: rungwise resume" in done.output
    last = tuned(27, 30)
    assert len(last.trials) == 30
    assert not last.failures
    assert last.state.open_level >= level
    assert all(last.state.completed[each] >= count for each, count in rungs.items())
    told = [fact for fact in decided(last) if isinstance(fact, Reported)]
    assert len({(fact.trial, fact.resource) for fact in told}) == len(told), "nothing was trained twice"
    assert all(fact.repeats == 0 for fact in decided(last) if isinstance(fact, Promoted))
    if scheduler is rw.ASHA:
        assert max(record.resource for record in last.trials) == 27
