"""`tune` without a scheduler: what a new study begins with, and that one that is there goes on with its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rungwise as rw
from rungwise.records import Budget

SPACE = {"x": rw.Float(0, 1)}
PATIENT = {"name": "patient", "deviations": 0.5, "opens_at": 2}


def train(trial: rw.Trial) -> None:
    state = trial.load() or 0
    for epoch in trial:
        trial.report((trial.config["x"] - 0.3) ** 2 + 1 / epoch)
        trial.save(state)


def tuned(**options: Any) -> dict[str, Any]:
    """The settings of the scheduler of a study that is run with these options."""
    study = rw.tune(train, SPACE, mode="min", quiet=True, **options)
    found = {"name": study.scheduler.name, **study.scheduler.settings()}
    study.close()
    return found


def test_it_is_pasha_as_in_the_paper_where_the_cost_is_not_given() -> None:
    found = tuned(trials=3, max_resource=9)
    assert (found["name"], found["max_resource"], found["promotion"]) == ("pasha", 9, {"name": "eager"})
    assert found["ranking"]["name"] == "soft"


@pytest.mark.parametrize("spent", [{"budget": 3}, {"hours": 0.001}])
def test_with_a_budget_it_is_asha_that_is_half_as_patient(spent: dict[str, float]) -> None:
    found = tuned(max_resource=9, **spent)
    assert (found["name"], found["max_resource"], found["promotion"]) == ("asha", 9, PATIENT)


def test_settings_without_a_name_come_over_the_default() -> None:
    found = tuned(budget=3, scheduler={"reduction_factor": 2, "max_resource": 8})
    assert (found["name"], found["reduction_factor"], found["promotion"]) == ("asha", 2, PATIENT)
    found = tuned(budget=3, max_resource=9, scheduler={"ranking": "rbo"})  # which only PASHA has
    assert (found["name"], found["ranking"]["name"]) == ("pasha", "rbo")


@pytest.mark.parametrize("scheduler", ["hyperband", {"name": "hyperband"}, rw.Hyperband(max_resource=9)])
def test_max_resource_is_that_of_a_named_scheduler_too(scheduler: Any) -> None:
    found = tuned(trials=3, max_resource=9, scheduler=scheduler)
    assert (found["name"], found["max_resource"]) == ("hyperband", 9)


def test_a_study_that_is_there_goes_on_with_its_own(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    began = tuned(path=path, scheduler="hyperband", max_resource=9, trials=3)
    assert tuned(path=path, budget=4, max_resource=9) == began
    assert tuned(path=path, budget=5) == began
    with pytest.raises(rw.InputError, match=r"another scheduler, .reduction_factor.: 3\.0 there, 2"):
        tuned(path=path, budget=6, scheduler={"reduction_factor": 2})
    with pytest.raises(rw.InputError, match="another scheduler, 'name': 'hyperband' there, 'asha' now"):
        tuned(path=path, budget=6, scheduler="asha", max_resource=9)


def test_and_may_be_trained_further(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    assert tuned(path=path, max_resource=3, trials=3)["name"] == "pasha"
    found = tuned(path=path, max_resource=9, budget=4)
    assert (found["name"], found["max_resource"]) == ("pasha", 9)
    assert tuned(path=path, budget=5) == found, "it was raised, and nothing else is said now"
    with rw.Study.open(path, writable=True) as study:
        study.set_budget(Budget(trials=3))
        study.raise_max_resource(None)
    assert tuned(path=path, trials=3)["max_resource"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_resource": 0}, "max_resource must be 1 or more, not 0"),
        ({"max_resource": "9"}, "max_resource must be a whole number, not '9'"),
        (
            {"max_resource": 9, "scheduler": rw.ASHA(max_resource=3)},
            "max_resource=9, but .* scheduler is 3; say it once",
        ),
        ({"max_resource": 9, "scheduler": {"max_resource": 3}}, "max_resource=9, but .* scheduler is 3; say it once"),
        ({"scheduler": {"max_resources": 3}}, "max_resource"),
        ({}, "say how long one is: max_resource=81"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(rw.InputError, match=message):
        tuned(budget=5, **options)
