"""What a forecast says holds: of simulated studies, from where they stand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import rungwise as rw
from rungwise.bench.coverage import Coverage, Held, at_a_quarter, forecasts
from rungwise.bench.suites import load_suite
from rungwise.bench.task import Task
from rungwise.cli import commands
from rungwise.continuation import Curves, Imagined
from rungwise.core import as_scheduler
from rungwise.events import Completed
from rungwise.forecast import LARGE, forecast

DIGITS = load_suite("digits-mlp")[0]


def quarter(name: str, trials: int = 64, most: int = 81) -> tuple[rw.Study, int]:
    """A study at a quarter, and the resource that it uses in the end."""
    end = rw.simulate(as_scheduler({"name": name, "max_resource": most}), DIGITS.table, trials=trials)
    return at_a_quarter(end, trials), end.resource_used


@pytest.mark.parametrize(
    "name", ["pasha", "asha", "asha-stopping", "halving", "hyperband", "async-hyperband", "median"]
)
def test_every_scheduler_has_a_forecast(name: str) -> None:
    study, _ = quarter(name, 32, 27)
    found = forecast(study, trials=32, workers=4)
    assert found.spent == study.resource_used
    assert found.total.low <= found.total.middle <= found.total.high
    assert found.resource.low == pytest.approx(max(0, found.total.low - found.spent))
    assert (found.asha is not None) == (name == "pasha")
    assert found.trials == 32
    assert found.begun == len(study.trials)


def test_full_training_is_known_exactly() -> None:
    study, used = quarter("full", 32, 9)
    assert forecast(study, trials=32, workers=4).total == rw.forecast(study, trials=32).total
    assert forecast(study, trials=32, workers=4).total.low == forecast(study, trials=32).total.high == used == 32 * 9


def test_the_same_seed_gives_the_same_forecast_and_changes_nothing() -> None:
    study, _ = quarter("pasha")
    before = list(study.facts())
    first, second = (forecast(study, trials=64, seed=3) for _ in range(2))
    assert first == second != forecast(study, trials=64, seed=4)
    assert list(study.facts()) == before


def test_a_study_that_has_ended_costs_nothing_more() -> None:
    end = rw.simulate("asha", rw.CurveTable(np.random.default_rng(0).random((30, 9)), mode="max"), trials=30)
    found = forecast(end.study)
    assert found.resource == rw.forecast(end.study).resource
    assert (found.resource.high, found.total.low, found.total.high) == (0, end.resource_used, end.resource_used)


def test_money_is_what_the_workers_cost_until_the_end() -> None:
    study, _ = quarter("asha")
    found = forecast(study, trials=64, workers=8, price_per_hour=3.0)
    assert found.seconds is not None
    assert found.money is not None
    assert found.money.high == pytest.approx(found.seconds.high * 8 * 3 / 3600)
    assert forecast(study, trials=64, workers=8).money is None


def test_a_total_of_resource_is_the_end_of_it() -> None:
    study, used = quarter("asha")
    study.extend(total_resource=study.resource_used + 20)
    found = forecast(study)
    assert 20 <= found.resource.low <= found.resource.high < used  # running jobs go on to their ends


def test_a_large_study_is_sampled() -> None:
    curves = np.cumsum(np.random.default_rng(0).random((LARGE * 4, 27)), axis=1)
    end = rw.simulate(rw.ASHA(max_resource=27), rw.CurveTable(curves, mode="max"), trials=LARGE * 4, workers=64)
    study = at_a_quarter(end, LARGE * 4)
    found = forecast(study, trials=LARGE * 4, workers=64)
    assert found.every > 1
    assert found.total.low / 1.1 <= end.resource_used <= found.total.high * 1.1
    assert f"1 trial in {found.every} was simulated" in str(found)


def test_a_study_without_a_maximum_and_with_failures() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "pasha", mode="min")
    for number in range(20):
        job = study.ask()
        assert job is not None
        if number % 7 == 3:
            study.fail(job.trial)
        else:
            study.report(job.trial, job.until, job.config["x"] / job.until)
    found = forecast(study, trials=60)
    assert found.resource.low > 0
    assert found.seconds is None
    assert "time and money are not known" in str(found)


def test_what_cannot_be_forecast_is_said() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "asha", mode="min")
    with pytest.raises(rw.InputError, match="no total"):
        forecast(study)
    with pytest.raises(rw.InputError, match="no trial has reported yet"):
        forecast(study, trials=8)
    with pytest.raises(rw.InputError, match="trials must be 1 or more, not 0"):
        forecast(study, trials=0)
    with pytest.raises(rw.InputError, match="workers must be 1 or more"):
        forecast(study, trials=8, workers=0)
    with pytest.raises(rw.InputError, match="price_per_hour must be 0 or more"):
        forecast(study, trials=8, price_per_hour=-1)
    several = rw.Study({"x": rw.Float(0, 1)}, "asha", mode={"a": "min", "b": "max"})
    with pytest.raises(rw.InputError, match="one metric"):
        forecast(several, trials=8)


def test_curves_are_continued_by_those_that_were_near() -> None:
    resources = np.array([1, 2, 3])
    scores = np.array([[0.1, 0.2, 0.3], [0.9, 1.0, 1.5], [0.11, np.nan, np.nan]])
    curves = Curves(resources, scores, np.cumsum(np.ones((3, 3)), axis=1), np.array([2, 2, 0]))
    rng = np.random.default_rng(0)
    assert {curves.donor(0, 0.11, rng) for _ in range(50)} == {0, 1}
    imagined = Imagined(curves, [0, 1, 2], 50, rng)
    for row in range(50):
        imagined.reach(row, 2)
    np.testing.assert_array_equal(imagined.scores[:2], scores[:2])  # what was seen stays
    assert imagined.scores[2, 0] == 0.11
    assert np.isfinite(imagined.scores).all()


def test_another_curve_comes_anywhere_between_those_seen_with_the_same_chance() -> None:
    scores = np.array([[0.0], [1.0], [10.0]])
    curves = Curves(np.array([1]), scores, np.ones((3, 1)), np.zeros(3, dtype=int))
    places = np.zeros(4)
    for seed in range(2000):
        like, aside = curves.others(1, np.random.default_rng(seed))
        places[np.searchsorted(scores[:, 0], scores[like, 0] + aside)[0]] += 1
    assert (np.abs(places / 2000 - 0.25) < 0.04).all()


def test_the_command(tmp_path: Path) -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "asha", mode="max", path=tmp_path / "study.db")
    study.extend(trials=30)
    for _ in range(10):
        job = study.ask()
        assert job is not None
        study.report(job.trial, job.until, job.config["x"])
    study.close()
    said = CliRunner().invoke(commands, ["forecast", str(tmp_path / "study.db")])
    assert said.exit_code == 0, said.output
    assert said.output.startswith("still to come: ")
    told = CliRunner().invoke(commands, ["forecast", str(tmp_path / "study.db"), "--json"])
    assert json.loads(told.output)["trials"] == 30


def test_a_quarter_is_when_so_many_have_ended_their_first_job() -> None:
    study, _ = quarter("asha", 64)
    ended = [fact.trial for _, fact in study.facts() if isinstance(fact, Completed)]
    assert len({*ended}) == 16
    assert ended.count(ended[-1]) == 1


def test_coverage_counts_what_held() -> None:
    rows = [Held("s", "t", "asha", seed, 8, total, 10.0, 20.0, 30.0) for seed, total in enumerate((5, 20, 25, 40))]
    found = Coverage.of(rows)
    assert (found.studies, found.held, found.below, found.above) == (4, 0.5, 0.25, 0.25)
    assert [row.holds for row in rows] == [False, True, True, False]


def test_most_forecasts_on_digits_hold() -> None:
    """As docs/evidence.md shows of all suites; here of one table, in a few seconds."""
    task = Task("digits-mlp", "some", DIGITS.table, DIGITS.configs)
    rows = forecasts([task], ["asha", "pasha"], repeats=4)
    assert len(rows) == 8
    assert sum(row.holds for row in rows) >= 5
