"""Every scheduler with every searcher: a study runs to its end; killed and resumed, it loses and changes nothing."""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import random
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import pytest

import rungwise as rw
from combinations import DIVERGES, FAILS, INITIAL, SCHEDULERS, SEARCHERS, TOP, TRIALS, run, tune
from rungwise.events import Completed, Created, Fact, Opened, Promoted, Ran, Reported, Started
from rungwise.sqlite import SQLiteLog

KILLS = 3  # of each combination

# A new process is a fork of a server that has imported these (the last is what torch does later), so that each takes hundredths of a second.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    [*(f"rungwise.search.{name}" for name in ("gp", "optuna", "sobol")), "torch.fx.experimental.symbolic_shapes"]
)
NEEDS = {"gp": ["botorch"], "sobol": ["scipy"], "tpe": ["optuna"]}


def each_of(combinations: Iterable[tuple[str, str]]) -> pytest.MarkDecorator:
    cases = [pytest.param(*pair, marks=pytest.mark.needs(*NEEDS.get(pair[1], []))) for pair in combinations]
    return pytest.mark.parametrize(("scheduler", "searcher"), cases)


every_combination = each_of(itertools.product(SCHEDULERS, SEARCHERS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


def end_of(target: Callable[..., None], *arguments: object) -> int:
    """The exit code of a process that does this."""
    process = processes.Process(target=target, args=arguments)
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


@functools.cache
def whole(folder: Path, scheduler: str, searcher: str) -> Path:
    """The file of a study that nobody killed."""
    path = folder / f"{scheduler}, {searcher}.db"
    assert end_of(run, path, scheduler, searcher) == 0
    return path


def facts_of(path: Path) -> list[Fact]:
    """What happened, other than that the study was opened again, and for how long it ran."""
    if not path.exists():  # killed before there was anything
        return []
    log = SQLiteLog(path, writable=False)
    facts = [_alike(fact) for _, fact in log.read() if not isinstance(fact, Opened | Ran)]
    log.close()
    return facts


def _alike(fact: Fact) -> Fact:
    """As in another study that was begun alike: each has an id of its own."""
    return msgspec.structs.replace(fact, id="") if isinstance(fact, Created) else fact


def check(study: rw.Study) -> None:
    assert study.finished
    assert study.running == []
    assert len(study.trials) == TRIALS
    assert {trial.state for trial in study.trials} <= {"paused", "failed"}, "no trial is stuck"
    assert all(study.space.check(trial.config) == trial.config for trial in study.trials)
    assert study.best.config == study.trials[study.best.number].config
    facts = [fact for _, fact in study.facts()]
    reports = [(fact.trial, fact.resource) for fact in facts if isinstance(fact, Reported)]
    assert len(reports) == len(set(reports))
    for trial in study.trials:
        jobs = [fact.until for fact in facts if isinstance(fact, Started | Promoted) and fact.trial == trial.number]
        assert jobs == sorted(set(jobs))
        assert jobs[-1] <= TOP
        ended = sum(isinstance(fact, Completed) and fact.trial == trial.number for fact in facts)
        assert ended == len(jobs) - (trial.state == "failed")
        if trial.state != "failed":
            assert list(trial.reports) == list(range(1, jobs[-1] + 1)), "every report of every job"


@every_combination
def test_a_study_runs_to_its_end(scheduler: str, searcher: str, folder: Path) -> None:
    study = rw.Study.open(whole(folder, scheduler, searcher))
    check(study)
    assert [trial.number for trial in study.trials if trial.failure is not None] == [FAILS]
    assert study.trials[DIVERGES].score != study.trials[DIVERGES].score, "not a number"
    if searcher == "first":
        assert [trial.config for trial in study.trials[: len(INITIAL)]] == INITIAL
    study.close()


@every_combination
def test_killed_and_resumed_it_is_the_study_that_nobody_killed(
    scheduler: str, searcher: str, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "study.db"
    facts = facts_of(whole(folder, scheduler, searcher))
    rng = random.Random(f"{scheduler}, {searcher}")
    for _ in range(KILLS):
        last = rng.randrange(len(facts) // (KILLS + 1))
        assert end_of(run, path, scheduler, searcher, last) == -signal.SIGKILL
        known = facts_of(path)
        assert known == facts[: len(known)]
    assert end_of(run, path, scheduler, searcher) == 0
    assert facts_of(path) == facts, "the same configurations, jobs, reports and rises"


@each_of(zip(SCHEDULERS, itertools.cycle(SEARCHERS), strict=False))
def test_the_same_with_real_workers(scheduler: str, searcher: str, tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    assert end_of(tune, path, scheduler, searcher, 25) == -signal.SIGKILL
    known = facts_of(path)
    assert known
    assert end_of(tune, path, scheduler, searcher) == 0
    assert facts_of(path)[: len(known)] == known
    study = rw.Study.open(path)
    check(study)
    study.close()
