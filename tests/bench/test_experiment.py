"""The paper's experiment: what it computes, whatever the number of processes and whenever it is broken off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference
from rungwise.bench.experiment import Run, experiment, paper_methods
from rungwise.bench.options import ExperimentOptions
from rungwise.bench.task import Task
from rungwise.core import ASHA, PASHA, Scheduler
from rungwise.core.rungs import Ladder
from rungwise.curves import CurveTable
from rungwise.errors import InputError


def task(name: str = "t", seed: int = 0, mode: str = "max", rows: int = 40, columns: int = 27) -> Task:
    rng = np.random.default_rng(seed)
    scores = rng.random((rows, 1)) * (1 - np.arange(1, columns + 1) ** -0.5) + rng.normal(0, 0.02, (rows, columns))
    seconds = rng.uniform(0.5, 2, (rows, 1)) * np.arange(1, columns + 1)
    return Task(
        "suite", name, CurveTable(scores, seconds, mode=mode), tuple({"row": row} for row in range(rows)), -scores
    )


def by_method(runs: list[Run]) -> dict[str, Run]:
    return {run.method: run for run in runs}


@pytest.mark.parametrize("drain", [False, True])
def test_asha_and_pasha_are_those_of_the_reference(drain: bool) -> None:
    one = task()
    runs = by_method(experiment([one], ExperimentOptions(repeats=1, drain=drain)))
    rows = np.random.default_rng(0).permutation(40).tolist()
    for algorithm in ("asha", "pasha"):
        other = reference.simulate(
            one.table.scores, one.table.seconds, algorithm=algorithm, mode="max", trials=40, rows=rows, drain=drain
        )
        run = runs[algorithm]
        assert (run.seconds, run.resource, run.max_resource) == (other.seconds, other.resource_used, other.max_resource)
        assert run.row == rows[other.best_trial]
        assert run.score == one.table.scores[run.row].max()
        assert run.test == -run.score
        assert list(run.ceilings) == other.ceilings


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_a_k_epoch_baseline_trains_all_for_k_epochs_and_keeps_the_best(k: int) -> None:
    one = task(mode="min")
    run = by_method(experiment([one], ExperimentOptions(repeats=1, drain=True)))[f"{k}-epoch"]
    assert (run.resource, run.max_resource) == (40 * k, k)
    assert run.row == one.table.scores[:, k - 1].argmin()
    assert run.score == one.table.scores[run.row].min()


def test_the_random_baseline_costs_nothing() -> None:
    one = task()
    run = by_method(experiment([one], ExperimentOptions(repeats=1)))["random"]
    assert (run.row, run.seconds, run.resource, run.max_resource) == (
        np.random.default_rng(0).permutation(40)[0],
        0,
        0,
        0,
    )


def test_a_fixed_ceiling_is_never_passed() -> None:
    runs = by_method(experiment([task()], ExperimentOptions(repeats=1, drain=True)))
    assert [runs[f"ceiling-{level}"].max_resource for level in (3, 9)] == [3, 9]
    assert runs["asha"].max_resource == 27


def test_the_ladder_begins_at_the_first_resource_of_the_table() -> None:
    table = CurveTable(np.random.default_rng(0).random((30, 4)), mode="max", resources=[16, 32, 64, 128])
    one = Task("suite", "sizes", table, tuple({"row": row} for row in range(30)))
    runs = by_method(experiment([one], ExperimentOptions(repeats=1, reduction_factor=2)))
    assert set(runs) == {
        "asha",
        "pasha",
        "1-epoch",
        "2-epoch",
        "3-epoch",
        "5-epoch",
        "random",
        "ceiling-32",
        "ceiling-64",
    }
    assert runs["1-epoch"].max_resource == 16
    assert runs["3-epoch"].max_resource == 32  # the last report at or below 48


def test_max_resource_shortens_the_ladder() -> None:
    runs = by_method(experiment([task()], ExperimentOptions(repeats=1, max_resource=9)))
    assert runs["asha"].max_resource == 9
    assert "ceiling-9" not in runs


def test_nothing_finite_is_no_score() -> None:
    one = Task("suite", "nan", CurveTable(np.full((5, 9), np.nan), mode="min"), tuple({"row": row} for row in range(5)))
    runs = by_method(experiment([one], ExperimentOptions(repeats=1)))
    assert (runs["asha"].row, runs["asha"].score) == (None, None)
    assert runs["random"].score is None
    assert runs["random"].row is not None


def test_rankings_have_a_name_each() -> None:
    methods = paper_methods(Ladder(1, 3, 27), ["soft", "direct"])
    assert list(methods)[1:3] == ["pasha", "pasha-direct"]


class Mine:
    """A scheduler of somebody's own, which `as_scheduler` does not know by name: PASHA under another ranking."""

    name = "mine"

    def __init__(self, **settings: Any) -> None:
        self._given, self._pasha = settings, PASHA(**settings, ranking="direct")

    def settings(self) -> dict[str, Any]:
        return self._given

    def up_to(self, max_resource: int | None) -> Mine:
        return Mine(**self._given | {"max_resource": max_resource})

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_pasha"], name)


def with_mine(ladder: Ladder) -> dict[str, Scheduler | None]:
    settings = ASHA(max_resource=ladder.max_resource).settings()
    return {**paper_methods(ladder, ["soft", "direct"]), "mine": Mine(**settings)}


def test_a_scheduler_of_ones_own_is_compared() -> None:
    runs = by_method(experiment([task()], ExperimentOptions(repeats=1), methods=with_mine))
    mine, direct = runs["mine"], runs["pasha-direct"]
    assert (mine.row, mine.seconds, mine.resource, mine.ceilings) == (
        direct.row,
        direct.seconds,
        direct.resource,
        direct.ceilings,
    )


class Patient(Mine):
    name = "patient"

    def __init__(self, patience: int = 0, **settings: Any) -> None:
        super().__init__(**settings)


def test_a_scheduler_whose_settings_are_not_all_is_refused() -> None:
    methods = {"asha": ASHA(max_resource=27), "patient": Patient(patience=7, max_resource=27)}
    with pytest.raises(
        InputError, match=r"settings\(\) of Patient must return every argument .*: 'patience' is missing"
    ):
        experiment([task()], ExperimentOptions(repeats=1), methods=lambda ladder: methods)


def test_no_more_trials_than_workers_end_before_they_begin() -> None:
    with pytest.raises(InputError, match="trials=4 must be more than workers=4"):
        experiment([task()], ExperimentOptions(trials=4))


def test_the_number_of_processes_changes_nothing() -> None:
    tasks = [task("a"), task("b", 1)]
    assert experiment(tasks, ExperimentOptions(repeats=2, processes=2)) == experiment(
        tasks, ExperimentOptions(repeats=2)
    )


def test_an_experiment_goes_on_where_it_was_broken_off(tmp_path: Path) -> None:
    tasks, journal = [task("a"), task("b", 1)], tmp_path / "runs.part"
    whole = experiment(tasks, ExperimentOptions(repeats=3))

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        experiment(tasks, ExperimentOptions(repeats=3), journal=journal, progress=stop)
    with journal.open("ab") as file:
        file.write(b'[5,[{"suite":"su')  # as a kill in the middle of a line would leave it
    seen: list[int] = []
    assert (
        experiment(tasks, ExperimentOptions(repeats=3), journal=journal, progress=lambda done, total: seen.append(done))
        == whole
    )
    assert seen == [4, 5, 6]
    seen.clear()
    assert (
        experiment(tasks, ExperimentOptions(repeats=3), journal=journal, progress=lambda done, total: seen.append(done))
        == whole
    )
    assert seen == [6]


@pytest.mark.parametrize(
    "change", [{"repeats": 2}, {"reduction_factor": 2}, {"drain": True}, {"trials": 30}, {"workers": 2}]
)
def test_a_journal_of_another_experiment_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    journal = tmp_path / "runs.part"
    experiment([task()], ExperimentOptions(repeats=1), journal=journal)
    with pytest.raises(InputError, match=r"runs\.part is of another experiment"):
        experiment([task()], ExperimentOptions(**{"repeats": 1} | change), journal=journal)
    with pytest.raises(InputError, match=r"runs\.part is of another experiment"):
        experiment([task(seed=1)], ExperimentOptions(repeats=1), journal=journal)  # other curves under the same name


def test_a_damaged_journal_is_one_clear_line(tmp_path: Path) -> None:
    journal = tmp_path / "runs.part"
    experiment([task()], ExperimentOptions(repeats=1), journal=journal)
    with journal.open("ab") as file:
        file.write(b"[0, what?]\n")
    with pytest.raises(InputError, match=r"runs\.part is damaged"):
        experiment([task()], ExperimentOptions(repeats=1), journal=journal)


@pytest.mark.parametrize("name", ["repeats", "trials", "workers", "processes"])
def test_counts_below_one_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} must be 1 or more, not 0"):
        experiment([task()], ExperimentOptions(**{name: 0}))


def test_a_resource_beyond_the_table_is_refused() -> None:
    with pytest.raises(InputError, match="max_resource=81 is beyond the table, which ends at 27"):
        experiment([task()], ExperimentOptions(repeats=1, max_resource=81))
