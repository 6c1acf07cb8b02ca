import copy
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rungwise as rw
from rungwise.core.promotion import EAGER, PatientPromotion
from rungwise.core.rungs import Ladder, Rung
from rungwise.events import Completed, Created, Promote, Promoted, Report, Reported, Result, Started
from rungwise.state import StudyState


@pytest.mark.parametrize(
    ("r", "eta", "top", "levels"),
    [
        (1, 3, 81, [1, 3, 9, 27, 81]),
        (1, 3, 80, [1, 3, 9, 27, 80]),
        (1, 3, 82, [1, 3, 9, 27, 81, 82]),
        (1, 3, 1, [1]),
        (1, 3, 2, [1, 2]),
        (1, 3, 3, [1, 3]),
        (5, 2, 50, [5, 10, 20, 40, 50]),
        (1, 2.5, 40, [1, 3, 6, 16, 39, 40]),
        (1, 1.3, 6, [1, 2, 3, 4, 5, 6]),
        (7, 4, 7, [7]),
    ],
)
def test_ladder(r: int, eta: float, top: int, levels: list[int]) -> None:
    ladder = Ladder(r, eta, top)
    assert ladder.levels(99) == levels
    assert [ladder.rung_at(level) for level in levels] == list(range(len(levels)))
    assert ladder.last == len(levels) - 1
    with pytest.raises(IndexError):
        ladder.level(len(levels))


def test_endless_ladder() -> None:
    ladder = Ladder(2, 3, None)
    assert ladder.levels(5) == [2, 6, 18, 54, 162]
    assert ladder.last is None
    with pytest.raises(rw.InputError, match="no rung"):
        ladder.rung_at(7)


@given(
    st.lists(st.sampled_from([0.1, 0.2, 0.3, math.inf]), max_size=40), st.sampled_from([2, 2.5, 3, 4]), st.booleans()
)
def test_candidate_is_the_first_paused_one_of_the_best(losses: list[float], eta: float, patient: bool) -> None:
    rule = PatientPromotion() if patient else EAGER
    rung, promoted = Rung(), set()
    for trial, loss in enumerate(losses):
        rung.add(trial, loss)
        order = sorted(range(trial + 1), key=lambda t: (losses[t], t))
        best = [t for t in order[: rule.quota(len(order), eta)] if losses[t] < math.inf]
        wanted = next((t for t in best if t not in promoted), None)
        found = rung.candidate(rule, eta)
        assert found == (None if wanted is None else (wanted, order.index(wanted), len(order)))
        if wanted is not None and trial % 2:
            rung.promote(wanted)
            promoted.add(wanted)


def test_a_job_without_a_report_does_not_take_the_score_of_the_one_before() -> None:
    """As in a log that somebody else has written."""
    state = StudyState(Created({"x": {"type": "float", "low": 0, "high": 1}}, {"name": "asha"}, {}, "min", 0, ""))
    told = []
    for fact in (Started(0, {"x": 0.5}, 1), Reported(0, 1, 0.3), Completed(0), Promoted(0, 2, 1, 2), Completed(0)):
        told.append(state.apply(fact))
    assert told[2:] == [Result(0, 1, (0.3,)), Promoted(0, 2, 1, 2), Result(0, 2, (math.inf,))]
    assert state.best.resource == 1


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=60),
    st.integers(0, 30),
    st.sampled_from([2, 3]),
    st.sampled_from(["eager", "patient", {"name": "patient", "deviations": 0, "opens_at": 3}]),
    st.booleans(),
    st.integers(0, 20),
)
def test_whoever_may_not_be_promoted_never_is(losses, when: int, eta: int, promotion, breadth: bool, left: int) -> None:
    """At any moment: all promotions that are still to come are among `may_promote`, though fewer trials may come."""
    asha = rw.ASHA(reduction_factor=eta, max_resource=eta**3, promotion=promotion, breadth_first=breadth)
    started, facts = 0, 0
    may: set[int] | None = None
    known: set[int] = set()
    while True:
        answer = asha.ask(more=started < len(losses))
        if isinstance(answer, Promote):
            if may is not None and answer.trial in known:
                assert answer.trial in may
                known.discard(answer.trial)
            asha.tell(Promoted(answer.trial, answer.until, answer.rank, answer.size))
            trial = answer.trial
        elif started < len(losses):
            trial, started = started, started + 1
            asha.tell(Started(trial, {}, 1))
        else:
            break
        asha.tell(Result(trial, answer.until, (losses[trial],)))
        facts += 1
        if facts == when:
            may = asha.may_promote(len(losses) + left)
            known = set(range(started))


def test_swapping_is_proposed_only_where_it_makes_sense() -> None:
    for wrong in (0, -3):
        with pytest.raises(rw.InputError, match=f"^max_resource must be 1 or more, not {wrong}$"):
            rw.ASHA(max_resource=wrong)
    with pytest.raises(rw.InputError, match="swap them"):
        rw.ASHA(min_resource=9, max_resource=3)
    with pytest.raises(rw.InputError, match=r"^low=1.0 is above high=0.0$"):
        rw.Float(1, 0, log=True)
    with pytest.raises(rw.InputError, match="swap them"):
        rw.Float(1, 0)


@pytest.mark.parametrize("kind", [rw.ASHA, rw.PASHA, rw.SuccessiveHalving, rw.Hyperband, rw.MedianStoppingRule])
def test_a_scheduler_can_be_sent_to_another_process(kind: type) -> None:
    scheduler = kind(max_resource=9)
    for trial in range(20):
        scheduler.tell(Started(trial, {}, 1))
        scheduler.tell(Report(trial, 1, (trial / 7,)))
        scheduler.tell(Result(trial, 1, (trial / 7,)))
    for other in (pickle.loads(pickle.dumps(scheduler)), copy.deepcopy(scheduler)):
        assert other.ask() == scheduler.ask()
        before = scheduler.ask()
        other.tell(Started(20, {}, 1))
        other.tell(Report(20, 1, (-1.0,)))
        other.tell(Result(20, 1, (-1.0,)))
        assert other.may_promote(30) != scheduler.may_promote(30)
        assert scheduler.ask() == before
