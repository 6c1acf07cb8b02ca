"""A study of ours as Optuna sees it: what stands in the study and nothing else, live, at one rung, and read-only."""

from __future__ import annotations

import inspect
import math
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

import rungwise as rw
from plotted import simulated
from rungwise import optuna_storage, plot

SPACE = {
    "lr": rw.Float(1e-4, 1e-1, log=True),
    "width": rw.Integer(16, 64, step=16),
    "act": rw.Categorical(["relu", None, [1, 2]]),
    "size": rw.Ordinal([16, 32], when={"act": "relu"}),
    "cell": rw.Cell(),
}


def seen(study: rw.Study, **options) -> optuna.Study:
    storage = rw.OptunaStorage(study, **options)
    return optuna.load_study(study_name=storage.name, storage=storage)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optuna_storage, "EVERY", 0.0)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("scheduler", [rw.PASHA(max_resource=27), rw.Hyperband(max_resource=27)])
def test_a_study_that_has_ended(mode: str, scheduler: rw.Scheduler) -> None:
    study = simulated(60, scheduler, mode)
    theirs = seen(study)
    assert theirs.direction == (StudyDirection.MAXIMIZE if mode == "max" else StudyDirection.MINIMIZE)
    best = study.best
    assert (theirs.best_trial.number, theirs.best_value) == (best.number, best.score)
    for ours, trial in zip(study.trials, theirs.trials, strict=True):
        assert trial.number == ours.number
        assert trial.params == ours.config
        assert trial.intermediate_values == ours.reports
        assert trial.value == ours.reports[ours.paused_at]
        assert trial.state == (TrialState.COMPLETE if ours.paused_at == best.resource else TrialState.PRUNED)


def test_at_a_rung_only_the_scores_there_count() -> None:
    study = simulated(60)
    theirs = seen(study, at=3)
    for ours, trial in zip(study.trials, theirs.trials, strict=True):
        if ours.paused_at >= 3:
            assert (trial.state, trial.value) == (TrialState.COMPLETE, ours.reports[3])
        else:
            assert (trial.state, trial.value) == (TrialState.PRUNED, None)
        assert max(trial.intermediate_values) <= 3
    assert theirs.metric_names == ["score at 3"]
    with pytest.raises(rw.InputError, match="no trial has completed the rung at=4; the rungs are 1, 3, 9, 27"):
        rw.OptunaStorage(study, at=4)


def test_a_study_that_runs_is_followed(tmp_path: Path, impatient: None) -> None:
    driven = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(max_resource=3), mode="min", path=tmp_path / "mine.db")
    driven.extend(trials=4)
    theirs = seen(rw.Study.open(tmp_path / "mine.db"))
    assert (theirs.study_name, theirs.trials) == ("mine", [])
    states = lambda: [trial.state for trial in theirs.trials]  # noqa: E731
    running = TrialState.RUNNING
    for score in (0.1, math.nan, 0.3):
        driven.tell(driven.ask(), score)
    assert states() == [running] * 3, "paused: they may go on"
    assert theirs.trials[0].intermediate_values == {1: 0.1}
    assert theirs.trials[0].user_attrs == {"state": "paused", "resource": 1, "rung": 1}
    driven.enqueue({"x": 0.5})
    assert states() == [running] * 3 + [TrialState.WAITING]
    assert theirs.trials[3].params == {"x": 0.5}
    promoted, last = driven.ask(), driven.ask()
    assert (promoted.trial, last.trial, states()) == (0, 3, [running] * 4)
    driven.fail(last.trial, "it broke")
    assert states() == [running] * 3 + [TrialState.FAIL]
    assert theirs.trials[3].user_attrs["failure"] == "it broke"
    driven.tell(promoted, 0.05)
    assert driven.finished
    assert states() == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.PRUNED, TrialState.FAIL]
    assert [trial.value for trial in theirs.trials] == [0.05, None, 0.3, None]
    assert theirs.best_trial.number == driven.best.number
    started = [trial.datetime_start for trial in theirs.trials]
    assert started == sorted(started)
    assert all(trial.datetime_start <= trial.datetime_complete for trial in theirs.trials)
    driven.close()


def test_only_what_is_new_is_read_and_once_a_second() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(max_resource=9))
    asked = []

    class Told:
        state, path, finished, refresh = study.state, None, False, study.refresh

        def facts(self, after: int = 0):
            asked.append(after)
            return study.facts(after)

    storage = rw.OptunaStorage(Told())
    study.tell(study.ask(), 0.5)
    assert (storage.get_all_trials(0), asked) == ([], [1])
    storage._looked -= 1
    assert len(storage.get_all_trials(0)) == 1
    storage._looked -= 1
    assert len(storage.get_all_trials(0)) == 1
    assert asked == [1, 1, 4]


def test_parameters_are_what_optuna_has_for_them() -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), seed=5)
    for _ in range(12):
        study.tell(study.ask(), 0.5)
    for ours, trial in zip(study.trials, seen(study).trials, strict=True):
        cell = {name: value for name, value in trial.params.items() if name.startswith("cell[")}
        assert SPACE["cell"].text(list(cell.values())) == ours.config["cell"]
        kept = {name: value for name, value in trial.params.items() if name not in cell}
        wanted = {name: value for name, value in ours.config.items() if name != "cell"}
        assert kept == {name: "[1, 2]" if value == [1, 2] else value for name, value in wanted.items()}
        assert trial.distributions["lr"] == FloatDistribution(1e-4, 1e-1, log=True)
        assert trial.distributions["width"] == IntDistribution(16, 64, step=16)
        assert trial.distributions["act"] == CategoricalDistribution(["relu", None, "[1, 2]"])
        for name, value in trial.params.items():
            assert trial.distributions[name]._contains(trial.distributions[name].to_internal_repr(value))


def test_several_metrics() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(max_resource=9), mode={"error": "min", "speed": "max"})
    study.extend(trials=6)
    while (job := study.ask()) is not None:
        study.tell(job, {"error": job.trial, "speed": job.trial})
    theirs = seen(study, at=1)
    assert theirs.directions == [StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE]
    assert theirs.metric_names == ["error at 1", "speed at 1"]
    assert [trial.values for trial in theirs.trials] == [[k, k] for k in range(6)]
    assert {trial.number for trial in theirs.best_trials} == set(range(6))
    assert plot.optuna(study, "pareto_front", at=1).layout.meta["caption"] == "6 of 6 trials have a score at 1."


def test_the_best_report_counts_if_the_study_says_so() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(min_resource=2, max_resource=4), mode="max", score="best")
    job = study.ask()
    study.report(job.trial, 1, 0.9)
    study.report(job.trial, 2, 0.4)
    assert seen(study, at=2).trials[0].value == 0.9


def test_whatever_would_change_the_study_is_refused() -> None:
    storage = rw.OptunaStorage(study := simulated(9))
    writers = [name for name in BaseStorage.__abstractmethods__ if name.startswith(("set_", "create_", "delete_"))]
    assert len(writers) == 10
    for name in writers:
        given = [None] * (len(inspect.signature(getattr(BaseStorage, name)).parameters) - 1)
        with pytest.raises(rw.StudyError, match="Optuna can only look at rungwise"):
            getattr(storage, name)(*given)
    with pytest.raises(rw.StudyError, match=r"study\.enqueue"):
        seen(study).ask()
    for wrong in (lambda: storage.get_trial(9), lambda: storage.get_all_trials(1)):
        with pytest.raises(KeyError, match="there is no"):
            wrong()
    with pytest.raises(rw.InputError, match="OptunaStorage wants a study"):
        rw.OptunaStorage("runs/study.db")


@pytest.mark.parametrize("name", [name for name in plot.OPTUNA if name != "pareto_front"])
def test_optunas_figures_are_drawn_at_a_rung(name: str) -> None:
    study = rw.Study({"x": rw.Float(0, 1), "y": rw.Float(0, 1)}, rw.ASHA(max_resource=9), mode="max")
    study.extend(trials=30)
    while (job := study.ask()) is not None:
        study.tell(job, job.config["x"] - job.config["y"] ** 2)
    drawn = plot.optuna(study, name, at=3, dark=True)
    there = sum(record.paused_at >= 3 for record in study.trials)
    assert drawn.layout.meta["caption"] == f"{there} of 30 trials have a score at 3."
    assert drawn.data


def test_what_cannot_be_drawn_is_said() -> None:
    study = simulated(30)
    with pytest.raises(rw.InputError, match="there is no figure 'importances'; did you mean 'param_importances'"):
        plot.optuna(study, "importances", at=3)
    with pytest.raises(rw.InputError, match="rank is a figure of Optuna's, of the scores at one rung: say which"):
        study.plot("rank")
    with pytest.raises(rw.InputError, match="Optuna cannot draw pareto_front at 3: "):
        plot.optuna(study, "pareto_front", at=3)
    assert list(study.plot("rank", "ladder", at=3)) == ["rank", "ladder"]
