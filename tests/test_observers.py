"""Observers see each fact once it is durable, in order, and can end nothing; a study can be told what to try, and to stop."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import objectives
import rungwise as rw
from rungwise.events import Completed, Fact, Promoted, Reported, Started
from rungwise.state import StudyState

SPACE = {"x": rw.Float(0, 1)}


def test_an_observer_sees_each_fact_once_it_is_durable_in_order(tmp_path: Path) -> None:
    seen: list[Fact] = []

    def observer(state: StudyState, fact: Fact) -> None:
        seen.append(fact)
        assert fact in [noted for _, noted in rw.Study.open(tmp_path / "s.db").facts()]
        if isinstance(fact, Reported):
            assert fact.resource in state.trials[fact.trial].reports

    study = rw.tune(
        objectives.train, SPACE, mode="min", trials=5, study=tmp_path / "s.db", quiet=True, observers=[observer]
    )
    assert seen == [fact for _, fact in study.facts()][-len(seen) :]
    assert {Started, Reported, Completed, Promoted} <= {type(fact) for fact in seen}


def test_an_observer_that_raises_is_told_of_once_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    calls, others = [], []

    def broken(state: StudyState, fact: Fact) -> None:
        calls.append(fact)
        raise KeyError("lost")

    study = rw.Study(SPACE, "asha")
    study.observe(broken)
    study.observe(lambda state, fact: others.append(fact))
    for _ in range(3):
        study.report(study.ask().trial, 1, 0.5)
    assert len(calls) == 1
    assert len(others) == 9
    assert [record.getMessage() for record in caplog.records] == [
        f"the observer {broken!r} raised KeyError: 'lost'; it is not called again"
    ]


def test_what_happens_is_heard_by_pythons_logging(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="rungwise")
    rw.tune(objectives.train, SPACE, mode="min", trials=4, quiet=True, scheduler=rw.ASHA(max_resource=3))
    words = [record.getMessage() for record in caplog.records if record.name == "rungwise"]
    assert any(text.startswith("trial 0 started, to 1: {") for text in words)
    assert any(text.startswith("trial 0 reported ") for text in words)
    assert "trial 0 completed its job" in words
    assert any("was promoted to 3, number 1 of 3 in its rung" in text for text in words)


def test_configurations_that_are_enqueued_are_tried_next_and_survive(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with rw.Study(SPACE, "asha", "grid", path=path) as study:
        study.extend(trials=4)
        study.enqueue({"x": 0.25})
        study.enqueue({"x": 0.125})
        assert study.ask().config == {"x": 0.25}
    with rw.Study(SPACE, "asha", "grid", path=path) as study:
        assert [study.ask().config for _ in range(2)] == [{"x": 0.25}, {"x": 0.125}]
        assert study.ask().config["x"] not in (0.25, 0.125)
        with pytest.raises(rw.InputError, match="'x' wants a number from"):
            study.enqueue({"x": 7})
        study.ask()
        assert study.ask() is None, "they count"


def test_a_study_that_is_stopped_gives_out_nothing_more_in_this_session(tmp_path: Path) -> None:
    def enough(state: StudyState, fact: Fact) -> None:
        if isinstance(fact, Completed) and fact.trial == 2:
            study_seen[0].stop()

    study_seen: list[rw.Study] = []
    study = rw.Study(SPACE, "asha", path=tmp_path / "s.db")
    study_seen.append(study)
    study.observe(enough)
    study.extend(trials=100)
    while (job := study.ask()) is not None:
        study.report(job.trial, job.until, job.config["x"])
    assert len(study.trials) == 3
    study.close()
    with rw.Study(SPACE, "asha", path=tmp_path / "s.db") as again:
        assert again.ask() is not None
