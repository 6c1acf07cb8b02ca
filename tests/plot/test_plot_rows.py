"""What figures show, as rows of numbers: each is checked against the study itself. Needs no plotly."""

from __future__ import annotations

import itertools
import math

import pytest

import rungwise as rw
from plotted import EMPTY, simulated
from rungwise.events import Completed, Created, Failed, Opened, Promoted, Reported, Retried, Started, TakenBack
from rungwise.plot import bests, curves, places, rises, seats, usage
from rungwise.plot.stretches import Stretch, slots, stretches
from rungwise.plot.studied import Studied


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("trials", [1, 10, 60])
def test_curves_hold_each_finite_report_once_and_the_best_come_first(trials: int, mode: str) -> None:
    study = simulated(trials, mode=mode)
    found = curves.curves(Studied(study), top=7)
    drawn = [*found.shown, *found.grey]
    told = {(p.trial, p.resource, p.score) for points in drawn for p in points}
    assert told == {(t.number, at, score) for t in study.trials for at, score in t.reports.items()}
    assert [points[0].trial for points in found.shown] == [record.number for record in study.top(7)]
    assert found.others == max(0, trials - 7)
    assert found.unseen == 0


def test_curves_are_cut_where_jobs_ended_and_go_on_from_there() -> None:
    study = simulated()
    found = curves.curves(Studied(study), top=100)
    pieces = curves.by_rung(found.shown)
    assert list(pieces) == sorted(study.state.completed)
    for level, points in pieces.items():
        for one, other in itertools.pairwise(points):
            if one is not None and other is not None:
                assert one.trial == other.trial
                assert one.resource < other.resource <= level
                assert other.until == level
    stops = {(stop.trial, stop.resource): stop.fate for stop in found.stops}
    for record in study.trials:
        at = [level for level in sorted(study.state.completed) if level <= record.paused_at]
        assert [stops[record.number, level] for level in at] == ["went on"] * (len(at) - 1) + ["waits"]


def test_thousands_of_curves_are_few_and_the_caption_says_how_many() -> None:
    study = simulated(1000)
    studied = Studied(study)
    found = curves.curves(studied, top=20)
    assert (len(found.shown), len(found.grey), found.others) == (20, 200, 980)
    assert len({points[0].trial for points in found.grey}) == 200
    best = study.best
    assert curves.caption(studied, found) == (
        "The 20 best of 1000 trials, colored by the rung they train to; 200 of the 980 others in gray. "
        f"Trial {best.number} is the best: {best.score:.4g} at {best.resource}."
    )


def test_scores_that_are_not_finite_are_counted_not_drawn() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(max_resource=9))
    for score in (math.nan, 0.5, math.inf):
        study.tell(study.ask(), score)
    found = curves.curves(Studied(study), top=9)
    assert [[p.score for p in points] for points in found.shown] == [[0.5]]
    assert "2 trials have no finite score and cannot be drawn." in curves.caption(Studied(study), found)


def test_the_ladder_seats_everybody_by_rank() -> None:
    study = simulated()
    found = seats.ladder(Studied(study), top=1000)
    assert found.sizes == study.state.completed
    for level, size in found.sizes.items():
        there = [seat for seat in found.seats if seat.level == level]
        assert [seat.rank for seat in there] == list(range(1, size + 1))
        assert [seat.score for seat in there] == sorted((seat.score for seat in there), reverse=True)
        for seat in there:
            record = study.trials[seat.trial]
            assert seat.score == record.reports[level]
            assert seat.fate == ("waits" if record.paused_at == level else "went up")
    assert list(found.went_up.values()) == [*list(found.sizes.values())[1:], 0]
    ups = seats.climbs(found.seats)
    assert len(ups) == sum(found.went_up.values())
    assert all(one.trial == other.trial and one.time < other.time and one.level < other.level for one, other in ups)


def test_the_ladder_leaves_out_those_that_stayed_behind_and_says_so() -> None:
    studied = Studied(simulated())
    found = seats.ladder(studied, top=2)
    stayed = [seat for seat in found.seats if seat.fate == "waits"]
    assert all(sum(seat.level == level for seat in stayed) <= 2 for level in found.sizes)
    hidden = sum(found.sizes.values()) - len(found.seats)
    assert hidden > 0
    assert f"{hidden} of those that did not go on are not drawn." in seats.caption(studied, found)


def test_those_that_failed_and_those_on_their_way_sit_on_the_ladder_too() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(max_resource=9), mode="max")
    for score in (0.1, 0.2, 0.3):
        study.tell(study.ask(), score)
    promoted = study.ask()
    study.fail(study.ask().trial, "it broke")
    fates = {seat.trial: seat.fate for seat in seats.ladder(Studied(study), top=9).seats}
    assert fates == {0: "waits", 1: "waits", promoted.trial: "trains", 3: "failed"}


@pytest.mark.parametrize("mode", ["min", "max"])
def test_cost_ends_with_the_best_report_and_the_answer(mode: str) -> None:
    study = simulated(mode=mode)
    studied = Studied(study)
    found = bests.cost(studied)
    pick = max if mode == "max" else min
    assert found.used == study.resource_used
    assert found.reports[-1].score == pick(score for record in study.trials for score in record.reports.values())
    scores = [row.score for row in found.reports]
    assert scores == sorted(scores, reverse=mode == "min")
    answer, best = found.answers[-1], study.best
    assert (answer.trial, answer.score, answer.resource) == (best.number, best.score, best.resource)
    assert f"trial {best.number}" in bests.caption(studied, found)
    assert f"{answer.used}; it had changed {len(found.answers) - 1} times before." in bests.caption(studied, found)


def test_the_ceiling_steps_where_the_facts_say_and_the_noise_is_the_schedulers() -> None:
    study = simulated()
    studied = Studied(study)
    found = rises.ceiling(studied)
    assert study.rises
    assert [(step.level, step.gap, step.epsilon) for step in found.steps[1:]] == [
        (fact.until, fact.gap, fact.epsilon) for fact in study.rises
    ]
    assert found.noise[-1][1] == study.scheduler.epsilon
    at_rise = {step.used: step.epsilon for step in found.steps[1:]}
    assert {used for used, _ in found.noise} >= set(at_rise)
    words = rises.caption(studied, found)
    assert f"after {len(study.rises)} rise" in words
    assert "took the place of trial" in words


def test_a_study_without_a_ceiling_says_so() -> None:
    studied = Studied(simulated(9, rw.ASHA(max_resource=27)))
    found = rises.ceiling(studied)
    assert (found.steps, found.noise) == ([], [])
    assert rises.caption(studied, found) == "asha has no ceiling that rises: any trial may train to 27."
    assert "asha does not estimate the noise." in places.caption(studied, places.ranks(studied, 5))


def test_each_bracket_has_its_ceiling() -> None:
    found = rises.ceiling(Studied(simulated(60, rw.AsyncHyperband(ladder=rw.PASHA(), max_resource=27))))
    assert len({step.bracket for step in found.steps}) > 1


def test_ranks_are_places_among_all_that_completed_the_top_rung() -> None:
    study = simulated(200)
    found = places.ranks(Studied(study), top=5)
    top = found.levels[-1]
    there = [record for record in study.trials if record.paused_at >= top]
    assert found.compared == len(there) > 5
    assert found.shown == [record.number for record in sorted(there, key=lambda r: -r.reports[top])[:5]]
    assert found.epsilon == study.scheduler.epsilon > 0
    for place in found.places:
        scores = [record.reports[place.level] for record in there]
        assert place.rank == 1 + sum(score > place.score for score in scores)
        equal = [score for score in scores if abs(score - place.score) <= found.epsilon]
        assert place.last - place.first + 1 == len(equal)
        assert place.first <= place.rank <= place.last


FACTS = [
    (100.0, Created({"x": {"type": "float", "low": 0, "high": 1}}, {"name": "asha"}, {}, "min", 0, "1")),
    (100.0, Started(0, {"x": 0.5}, 1)),
    (101.0, Started(1, {"x": 0.6}, 1)),
    (103.0, Reported(0, 1, 0.5, 2.0)),
    (103.0, Completed(0)),
    (104.0, Promoted(0, 3)),
    (105.0, Retried(1, "gone")),
    (108.0, Reported(0, 2, 0.4, 4.0)),
    (110.0, Reported(1, 1, 0.6, 3.0)),
    (110.0, Completed(1)),
    (1000.0, Opened("1")),
    (1005.0, Reported(0, 3, 0.3, 4.0)),
    (1005.0, Completed(0)),
]


def test_jobs_on_the_clock_of_the_running_time() -> None:
    found = stretches(FACTS)
    assert found.rows == [
        Stretch(0, 0, 1, 0, 3, "completed", 3),
        Stretch(1, 0, 1, 1, 5, "broke off", 1),
        Stretch(1, 0, 1, 7, 10, "completed", 10),
        Stretch(0, 1, 3, 4, 10, "broke off", 8),
        Stretch(0, 1, 3, 11, 15, "completed", 15),
    ]
    assert (found.sessions, found.end, found.clock) == ([10.0], 15.0, True)
    assert slots(found.rows) == [0, 1, 1, 0, 0]


def test_a_failure_that_is_taken_back_is_done_again() -> None:
    facts = [*FACTS[:2], (102.0, Failed(0, "x")), (104.0, TakenBack(0)), (107.0, Reported(0, 1, 0.1, 2.0))]
    found = stretches([*facts, (107.0, Completed(0))])
    assert found.rows == [Stretch(0, 0, 1, 0, 2, "failed", 0), Stretch(0, 0, 1, 5, 7, "completed", 7)]


def test_slots_count_what_waited_and_what_was_lost() -> None:
    class Told:
        state, path = EMPTY.state, None

        def facts(self, after: int = 0):
            return iter(FACTS[after:])

    studied = Studied(Told())
    found = usage.use(studied)
    assert (found.slots, found.lost, found.trained, found.waited) == (2, 4 + 2, 3 + 3 + 4 + 4, 30 - 20)
    assert usage.caption(studied, found) == (
        "5 jobs on 2 slots in 15 s: 47% training, 33% waiting, 20% lost to failures and interruptions. "
        "A dotted line is where it was resumed (1×)."
    )


def test_slots_never_overlap() -> None:
    found = stretches(list(simulated(workers=5).facts()))
    of = list(zip(slots(found.rows), found.rows, strict=True))
    assert max(line for line, _ in of) == 4
    for one, other in itertools.combinations(of, 2):
        if one[0] == other[0]:
            assert one[1].end <= other[1].begin or other[1].end <= one[1].begin


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (lambda s: curves.caption(s, curves.curves(s, 9)), "No trial has been started yet."),
        (lambda s: seats.caption(s, seats.ladder(s, 9)), "No trial has come to a rung yet."),
        (lambda s: bests.caption(s, bests.cost(s)), "No trial has reported a finite score yet."),
        (lambda s: rises.caption(s, rises.ceiling(s)), "The ceiling is 3: it has never risen."),
        (lambda s: places.caption(s, places.ranks(s, 9)), "Fewer than two trials have completed a rung"),
        (lambda s: usage.caption(s, usage.use(s)), "No job has been given out yet."),
    ],
)
def test_an_empty_study_says_why_there_is_nothing(rows, told: str) -> None:
    assert told in rows(Studied(EMPTY))


def test_several_metrics_are_shown_one_at_a_time() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(max_resource=9), mode={"error": "min", "speed": "max"})
    for k in range(4):
        study.tell(study.ask(), {"error": k, "speed": k})
    for rows in (
        lambda s: curves.curves(s, 9),
        lambda s: seats.ladder(s, 9),
        lambda s: places.ranks(s, 9),
        bests.cost,
    ):
        with pytest.raises(rw.InputError, match="the study has error, speed: metric='error'"):
            rows(Studied(study))
        rows(Studied(study, "speed"))
    assert [row.score for row in bests.cost(Studied(study, "speed")).reports] == [0, 1, 2, 3]
    assert [row.score for row in bests.cost(Studied(study, "error")).reports] == [0]
    with pytest.raises(rw.InputError, match="no metric 'sped'; did you mean 'speed'"):
        Studied(study, "sped")
    with pytest.raises(rw.InputError, match="the study has one metric: leave metric='speed' out"):
        Studied(EMPTY, "speed")
