"""Who goes on from a rung, and when: the patient rule, its end, and breadth first."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rungwise as rw
from objectives import train
from rungwise.core.promotion import EAGER, PatientPromotion, as_promotion
from rungwise.events import Completed, Lengthened, Promote, Promoted, Raised, Result, Start, Started, Wait
from rungwise.explain import in_words
from rungwise.log import MemoryLog

SPACE = {"x": rw.Float(0, 1)}
GOLDEN = Path(__file__).parent.parent / "golden" / "promotions.json"


@pytest.mark.parametrize(
    ("n", "eta", "quota"),
    [(0, 3, 0), (1, 3, 0), (9, 3, 0), (10, 3, 2), (31, 3, 7), (100, 3, 28), (256, 3, 76), (6, 2, 0), (7, 2, 2), (64, 4, 12)],
)  # fmt: skip
def test_the_patient_rule(n: int, eta: float, quota: int) -> None:
    assert PatientPromotion().quota(n, eta) == quota


def test_a_half_is_rounded_up() -> None:
    rule = PatientPromotion(deviations=0, opens_at=1)
    assert [rule.quota(n, 2) for n in range(8)] == [0, 1, 1, 2, 2, 3, 3, 4]


@given(
    st.sampled_from([1.01, 1.5, 2, 2.5, 3, 4, 100]),
    st.one_of(st.none(), st.tuples(st.floats(0, 20), st.integers(1, 9))),
    st.integers(0, 5000),
)
def test_more_results_never_let_fewer_go_and_never_all_the_more(eta: float, patience: Any, n: int) -> None:
    """On the first hang the checkpoints that are deleted."""
    rule = EAGER if patience is None else PatientPromotion(*patience)
    assert 0 <= rule.quota(n, eta) <= rule.quota(n + 1, eta) <= n + 1
    assert rule.quota(n, eta) <= math.floor(n / eta + 0.5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("patent", "there is no promotion 'patent'; did you mean 'patient'?"),
        (3, r"promotion must be 'eager', 'patient', or rw.PatientPromotion\(deviations=0.5\), not 3"),
        (PatientPromotion, "promotion must be 'eager'"),
        ({"deviations": 1}, "there is no promotion None; choose from 'eager', 'patient'"),
        ({"name": "patient", "deviation": 1}, "the promotion 'patient' has no argument 'deviation'; did you mean 'deviations'"),
        ({"name": "eager", "deviations": 1}, "the promotion 'eager' has no argument 'deviations'"),
        ({"name": "patient", "deviations": -1}, r"deviations must be from 0 to a million \(1 is usual\), not -1"),
        ({"name": "patient", "opens_at": 0}, "opens_at must be 1 or more, not 0"),
        ({"name": "patient", "opens_at": 1.5}, "opens_at must be a whole number"),
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused(given: Any, said: str) -> None:
    with pytest.raises(rw.InputError, match=said):
        rw.PASHA(promotion=given)


def test_what_is_no_flag_is_refused() -> None:
    with pytest.raises(rw.InputError, match="breadth_first must be true or false, not 'yes'"):
        rw.ASHA(breadth_first="yes")
    with pytest.raises(rw.InputError, match=r"tune has no argument 'breadth_first'; it is the scheduler's"):
        rw.tune(print, SPACE, mode="min", trials=3, breadth_first=True)


@pytest.mark.parametrize("kind", [rw.ASHA, rw.PASHA])
def test_settings_make_an_equal_one(kind: Any) -> None:
    rule = PatientPromotion(deviations=0.5)
    scheduler = kind(promotion=rule, breadth_first=True)
    assert scheduler.settings()["promotion"] == {"name": "patient", "deviations": 0.5, "opens_at": 2}
    for other in (
        kind(**json.loads(json.dumps(scheduler.settings()))),
        scheduler.up_to(None),
        scheduler.beginning_at(1),
        rw.AsyncHyperband(ladder=scheduler, brackets=1).ladders[0],
    ):
        assert other.settings() == scheduler.settings()
        assert other.breadth_first
    assert as_promotion("patient") == PatientPromotion() == as_promotion({"name": "patient"})
    assert kind().settings()["promotion"] == {"name": "eager"}


def play(scheduler: rw.Scheduler, trials: int, lag: int = 1) -> list[Any]:
    """Decisions in a study of so many trials: trial i has the loss i, and a job ends once `lag` are running."""
    events: list[Any] = []
    running: list[Started | Promoted] = []
    started = 0
    while True:
        answer = scheduler.ask(more=started < trials)
        if len(running) == lag or (isinstance(answer, Wait) and running):
            job = running.pop(0)
            scheduler.tell(Result(job.trial, job.until, (float(job.trial),)))
            continue
        if isinstance(answer, Wait):
            return events
        fact = Started(started, {}, answer.until) if isinstance(answer, Start) else answer.fact
        started += isinstance(answer, Start)
        events.append(fact)
        scheduler.tell(fact)
        if not isinstance(fact, Raised):
            running.append(fact)


def test_nobody_goes_on_until_two_may_and_the_log_says_by_what_rule() -> None:
    events = play(rw.ASHA(max_resource=3, promotion="patient"), 13)
    first = next(place for place, event in enumerate(events) if isinstance(event, Promoted))
    assert [type(event) for event in events[:first]] == [Started] * 10
    assert events[first : first + 2] == [Promoted(0, 3, 1, 10, 2, "patient"), Promoted(1, 3, 2, 10, 2, "patient")]
    assert in_words(events[first + 1])[1] == (
        "trial 1 was promoted to 3, number 2 of 10 in its rung, where the patient rule lets 2 go"
    )
    assert play(rw.ASHA(max_resource=3), 3)[-1] == Promoted(0, 3, 1, 3)


def test_a_study_too_small_for_patience_ends_by_the_eager_rule_once_its_first_rung_is_complete() -> None:
    asha = rw.ASHA(max_resource=9, promotion="patient")
    for trial in range(9):
        asha.tell(Started(trial, {}, 1))
    for trial in range(8):
        asha.tell(Result(trial, 1, (float(trial),)))
        assert (asha.ask(), asha.ask(more=False)) == (Start(1), Wait())
    assert asha.may_promote(9) >= {0, 1, 2}
    asha.tell(Result(8, 1, (8.0,)))
    assert asha.ask() == Start(1)  # patience still pays where more may come
    assert asha.ask(more=False) == Promote(0, 3, 1, 9, 3, "eager")
    events = play(rw.ASHA(max_resource=9, promotion="patient"), 9)
    assert [(event.trial, event.until) for event in events if isinstance(event, Promoted)] == [
        (0, 3),
        (1, 3),
        (2, 3),
        (0, 9),
    ]
    assert events[9:] == [msgspec.structs.replace(e, quota=max(1, e.size // 3), rule="eager") for e in eager(9)]


def eager(trials: int) -> list[Promoted]:
    """ASHA's promotions where nobody comes any more."""
    return [event for event in play(rw.ASHA(max_resource=9, breadth_first=True), trials) if isinstance(event, Promoted)]


def test_a_study_that_was_large_enough_for_patience_ends_with_it() -> None:
    """The highest rungs may stay empty: that is what it saves."""
    events = play(rw.ASHA(max_resource=9, promotion="patient"), 27)
    ups = [(event.trial, event.until) for event in events if isinstance(event, Promoted)]
    assert ups == [(trial, 3) for trial in range(6)]  # of 27: 9 − 3
    assert all(event.rule == "patient" for event in events if isinstance(event, Promoted))


def test_more_trials_after_the_end_are_met_with_patience_again(tmp_path: Path) -> None:
    path = tmp_path / "s.db"

    def open_and_run(trials: int) -> list[Any]:
        study = rw.Study(SPACE, rw.ASHA(max_resource=9, promotion="patient"), mode="min", path=path)
        study.extend(trials=trials)
        while (job := study.ask()) is not None:
            for resource in range(job.start + 1, job.until + 1):
                study.report(job.trial, resource, job.config["x"])
        facts = [fact for _, fact in study.facts() if isinstance(fact, Promoted)]
        assert study.finished
        study.close()
        return facts

    small = open_and_run(9)
    assert [fact.rule for fact in small] == ["eager"] * 4
    large = open_and_run(60)
    assert large[:4] == small
    assert {fact.rule for fact in large[4:]} == {"patient"}
    assert open_and_run(60) == large


@pytest.mark.parametrize("kind", [rw.ASHA, rw.PASHA])
@pytest.mark.parametrize("promotion", ["eager", "patient"])
@pytest.mark.parametrize("lag", [1, 4])
def test_breadth_first_begins_all_trials_then_promotes_without_waiting(kind: Any, promotion: str, lag: int) -> None:
    events = play(kind(max_resource=9, promotion=promotion, breadth_first=True), 30, lag)
    assert [event.trial for event in events[:30]] == list(range(30))
    assert all(isinstance(event, Started) for event in events[:30])
    ups = [event for event in events[30:] if isinstance(event, Promoted)]
    assert ups[0].size == 30 - lag + 1  # the others are still running
    best = [event.trial for event in ups if event.until == 3]
    assert best == list(range(10 if promotion == "eager" else 7))


def test_breadth_first_begins_again_when_there_are_more_trials() -> None:
    asha = rw.ASHA(max_resource=3, breadth_first=True)
    for trial in range(6):
        asha.tell(Started(trial, {}, 1))
        asha.tell(Result(trial, 1, (float(trial),)))
        assert asha.ask() == Start(1)
    assert asha.ask(more=False) == Promote(0, 3, 1, 6)


@pytest.mark.parametrize("how", [{"promotion": "patient"}, {"breadth_first": True}])
def test_a_higher_maximum_finds_both_as_they_were(how: dict[str, Any]) -> None:
    short, long = rw.ASHA(max_resource=3, **how), rw.ASHA(max_resource=9, **how)
    for event in play(rw.ASHA(max_resource=3, **how), 40):
        for scheduler in (short, long):
            scheduler.tell(event)
            scheduler.tell(Result(event.trial, event.until, (float(event.trial),)))
    short.tell(Lengthened(9))
    assert short.ask(more=False) == long.ask(more=False)
    assert isinstance(short.ask(more=False), Promote)
    assert short.may_promote(50) == long.may_promote(50)
    assert short.settings() == long.settings()


def test_breadth_first_needs_a_total_of_trials(tmp_path: Path) -> None:
    for scheduler in (
        rw.ASHA(breadth_first=True),
        rw.PASHA(breadth_first=True),
        rw.AsyncHyperband(ladder=rw.PASHA(breadth_first=True)),
    ):
        wanted = "breadth_first=True promotes nobody as long as more trials may be started, so say how many there are"
        with pytest.raises(rw.InputError, match=wanted):
            rw.tune(print, SPACE, mode="min", scheduler=scheduler, total_resource=9, path=tmp_path / "s.db")
        assert not list(tmp_path.iterdir())
        study = rw.Study(SPACE, scheduler, mode="min")
        with pytest.raises(rw.InputError, match=wanted):
            study.extend(seconds=9)
        study.extend(trials=9, total_resource=30)
        assert study.budget.trials == 9


@pytest.mark.parametrize("initial", [(), ({"x": 0.1},)])
def test_a_budget_needs_no_total_of_trials_where_the_searcher_ends(initial: tuple[Any, ...]) -> None:
    space = rw.Space({"x": rw.Float(0, 1, step=0.1)})
    asha = rw.ASHA(max_resource=9, breadth_first=True)
    study = rw.tune(train, space, mode="min", scheduler=asha, searcher="grid", budget=4, initial=initial, quiet=True)
    assert len(study.trials) == 5 + len(initial)
    assert study.best.resource == 9
    for searcher in ("random", rw.RandomSearch(rw.Space(space)), {"name": "evolution"}):
        with pytest.raises(rw.InputError, match='trials=64; or take a searcher that comes to an end, such as "grid"'):
            rw.tune(train, space, mode="min", scheduler=asha, searcher=searcher, budget=4, quiet=True)
    table = rw.CurveTable([[n + 1 / e for e in range(1, 10)] for n in range(12)], mode="min")
    assert len(rw.simulate(asha, table, budget=4).study.trials) == 12


def test_without_a_total_breadth_first_ends_with_the_searcher() -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=3, breadth_first=True), "grid", mode="min")
    events = []
    while (job := study.ask()) is not None:
        events.append(job.until)
        for resource in range(job.start + 1, job.until + 1):
            study.report(job.trial, resource, job.config["x"])
    assert events == [1] * 5 + [3]


@pytest.mark.parametrize("kind", [rw.ASHA, rw.PASHA, rw.AsyncHyperband])
def test_a_log_from_before_is_of_an_eager_study(kind: Any) -> None:
    _, created = next(rw.Study(SPACE, kind(), mode="min").facts())
    settings = json.loads(json.dumps(created.scheduler))
    within = settings.get("ladder", settings)
    del within["promotion"], within["breadth_first"]
    log = MemoryLog()
    log.append(msgspec.structs.replace(created, scheduler=settings))
    assert rw.Study(SPACE, kind(), mode="min", log=log).scheduler.settings() == kind().settings()
    other: dict[str, Any] = {"promotion": "patient"}
    other = other if kind is not rw.AsyncHyperband else {"ladder": rw.ASHA(**other)}
    with pytest.raises(rw.InputError, match=r"a study with another scheduler, '(promotion|ladder)': .*'eager'.* there"):
        rw.Study(SPACE, kind(**other), mode="min", log=log)


def golden_lines(run: rw.Simulation) -> list[str]:
    lines = []
    for _, fact in run.study.facts():
        match fact:
            case Started(trial, _, until):
                lines.append(f"start {trial} to {until}")
            case Promoted() | Completed() | Raised():
                lines.append(in_words(fact)[1])
    return lines


CASES = {
    "asha, patient": (rw.ASHA(max_resource=9, promotion="patient"), 16),
    "pasha, patient, deviations=0.5": (rw.PASHA(max_resource=27, promotion={"name": "patient", "deviations": 0.5}), 20),
    "asha, patient, too small": (rw.ASHA(max_resource=9, promotion="patient"), 8),
    "pasha, breadth first": (rw.PASHA(max_resource=27, breadth_first=True), 12),
}


@pytest.mark.parametrize("case", CASES)
def test_golden_decision_logs(case: str) -> None:
    """RUNGWISE_GOLDEN=write writes what comes now. Change it only in a commit that says why."""
    scheduler, trials = CASES[case]
    rng = np.random.default_rng(5)
    scores = rng.uniform(0.3, 1, (20, 1)) - rng.uniform(0.1, 0.8, (20, 1)) / np.sqrt(np.arange(1, 28))
    seconds = (1 + np.arange(20) / 1000)[:, None] * np.arange(1, 28)
    table = rw.CurveTable(np.round(scores, 3), seconds, mode="max")
    lines = golden_lines(rw.simulate(scheduler, table, workers=3, trials=trials, rows=range(trials)))
    known = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    if os.environ.get("RUNGWISE_GOLDEN") == "write":
        known[case] = lines
        GOLDEN.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert known.get(case) == lines
