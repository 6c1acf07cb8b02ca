import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rungwise as rw
from rungwise.core.criteria import as_ranking
from rungwise.core.noise import Noise
from rungwise.core.ranking import TwoRungs
from rungwise.core.rungs import Rung
from rungwise.events import Report

LOSSES = st.sampled_from([0.1, 0.2, 0.25, 0.3, 0.5, math.inf])


def two_rungs(below: list[float], top: list[float]) -> TwoRungs:
    lower, upper = Rung(), Rung()
    for trial, loss in enumerate(below):
        lower.add(trial, loss)
    rungs = TwoRungs(lower, upper)
    for trial in reversed(range(len(top))):  # complete the top rung in another order than the one below
        upper.add(trial, top[trial])
        rungs.add(trial)
    return rungs


@given(st.lists(st.tuples(LOSSES, LOSSES), max_size=12), st.sampled_from([0.0, 0.05, 0.1, 0.2]))
def test_soft_and_direct_by_their_definitions(pairs, epsilon: float) -> None:
    below, top = [p for p, _ in pairs], [t for _, t in pairs]
    n = len(pairs)
    order_top = sorted(range(n), key=lambda t: (top[t], n - t))
    order_below = sorted(range(n), key=lambda t: (below[t], t))
    rungs = two_rungs(below, top)
    assert rungs.now == order_top
    assert rungs.before == order_below

    def equivalent(a: float, b: float) -> bool:
        return a == b or abs(a - b) <= epsilon

    consistent = all(equivalent(below[t], below[p]) for t, p in zip(order_top, order_below, strict=True))
    soft = rw.SoftRanking(epsilon).disagreement(rungs, Noise(0, 1))
    assert (soft is None) == consistent
    if soft is not None:
        wrong = [i for i in range(n) if not equivalent(below[order_top[i]], below[order_below[i]])]
        assert soft.positions == len(wrong)
        assert {b.position for b in soft.broken} <= set(wrong)
        assert all((b.trial, b.expected) == (order_top[b.position], order_below[b.position]) for b in soft.broken)
    assert (rw.DirectRanking().disagreement(rungs, Noise(0, 1)) is None) == (order_top == order_below)


def test_a_disagreement_names_the_worst_and_counts_all() -> None:
    n = 40
    rungs = two_rungs(np.linspace(0, 1, n).tolist(), np.linspace(1, 0, n).tolist())
    found = rw.SoftRanking(0.0).disagreement(rungs, Noise(0, 1))
    assert found.positions == n
    assert len(found.broken) == 10
    assert found.broken[0].position in (0, n - 1)
    assert found.gap == pytest.approx(1.0)


@pytest.mark.parametrize("epsilon", [-0.1, math.nan, "soft", True])
def test_epsilon_must_be_a_number_or_auto(epsilon) -> None:
    with pytest.raises(rw.InputError, match=r"epsilon|finite"):
        rw.SoftRanking(epsilon)


def test_rankings_by_name() -> None:
    assert as_ranking("direct") == rw.DirectRanking()
    assert as_ranking({"name": "soft", "epsilon": 0.1}) == rw.SoftRanking(0.1)
    with pytest.raises(rw.InputError, match="did you mean 'soft'"):
        as_ranking("sofft")


def test_the_other_criteria_by_hand() -> None:
    """Three trials: below they stand 0, 1, 2, at the top 1, 0, 2."""
    rungs = two_rungs([0.1, 0.2, 0.6], [0.4, 0.2, 0.5])
    assert (rungs.now, rungs.before) == ([1, 0, 2], [0, 1, 2])
    agree = {
        rw.ranking("rbo", threshold=2 / 3): True,  # tops share 0 of 1, 2 of 2, 3 of 3
        rw.ranking("rbo", threshold=0.67): False,
        rw.ranking("rbo", p=0.5, threshold=0.42): True,  # (0 + 1/2 + 1/4) / (7/4) = 0.4286
        rw.ranking("rbo", p=0.5, threshold=0.43): False,
        rw.ranking("rrr", threshold=1 / 6): True,  # (0.4 - 0.2)/0.2, (0.2 - 0.4)/0.4 and 0: a sum of 1/2
        rw.ranking("rrr", threshold=0.16): False,
        rw.ranking("arrr", threshold=0.5): True,  # 1, 1/2 and 0
        rw.ranking("arrr", threshold=0.49): False,
        rw.ranking("soft_std", scale=0.47): True,  # gaps are 0.1; the deviation is 0.216
        rw.ranking("soft_std", scale=0.46): False,
        rw.ranking("soft_mean_distance", scale=0.3): True,  # 0.1, 0.4, 0.5
        rw.ranking("soft_mean_distance", scale=0.29): False,
        rw.ranking("soft_median_distance", scale=0.25): True,
        rw.ranking("soft_median_distance", scale=0.24): False,
    }
    for ranking, answer in agree.items():
        assert (ranking.disagreement(rungs, Noise(0, 1)) is None) == answer, ranking


def test_a_function_of_ones_own(tmp_path) -> None:
    seen = []

    def best_stays(below: np.ndarray, top: np.ndarray) -> bool:
        seen.append((below.tolist(), top.tolist()))
        return below[0] == below.min()

    rungs = two_rungs([0.1, 0.2, math.inf], [0.4, 0.2, math.inf])
    found = as_ranking(best_stays).disagreement(rungs, Noise(0, 1))
    assert seen == [([0.2, 0.1, math.inf], [0.2, 0.4, math.inf])]
    assert "best_stays says so" in found.why
    path = tmp_path / "study.db"
    study = rw.Study({"x": rw.Float(0, 1)}, rw.PASHA(ranking=best_stays), path=path)
    while not study.rises:
        job = study.ask()
        study.report(job.trial, job.until, job.trial if job.until == 1 else -job.trial)
    assert "best_stays says so" in study.explain()
    study.close()
    assert len(rw.Study.open(path).rises) == 1, "looking needs no function"
    again = rw.Study({"x": rw.Float(0, 1)}, rw.PASHA(ranking=best_stays), path=path)
    assert again.ask() is not None
    again.close()
    without = rw.Study.open(path, writable=True)

    def go_on() -> None:
        for _ in range(20):
            job = without.ask()
            without.report(job.trial, job.until, job.trial)

    with pytest.raises(rw.InputError, match="best_stays: pass it again to resume"):
        go_on()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: rw.ranking("rbo", p=0), "p must be above 0"),
        (lambda: rw.ranking("rbo", threshold=2), "threshold must be from 0 to 1"),
        (lambda: rw.ranking("soft_std", scale=-1), "scale must be 0 or more"),
        (lambda: rw.ranking("soft_std", factor=1), "no argument 'factor'"),
        (lambda: rw.ranking("kendall"), "there is no ranking 'kendall'"),
        (lambda: rw.PASHA(ranking=3), "ranking must be a name"),
        (lambda: rw.PASHA(ranking=rw.SoftRanking), "ranking must be a name"),
    ],
)
def test_wrong_rankings(wrong, said: str) -> None:
    with pytest.raises(rw.InputError, match=said):
        wrong()


SCALED = ("soft_std", "soft_mean_distance", "soft_median_distance")
ANY = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.1, 1 / 3, 0.0, 1e308, -1e308, 5e-324])


@pytest.mark.parametrize("name", SCALED)
@given(value=ANY, count=st.integers(2, 40))
def test_no_epsilon_is_below_zero_where_scores_are_equal(name: str, value: float, count: int) -> None:
    assert rw.ranking(name).epsilon(np.full(count, value)) == 0
    rungs = two_rungs([value] * count, list(range(count)))
    assert rw.ranking(name).disagreement(rungs, Noise(0, 1)) is None


@pytest.mark.parametrize("name", SCALED)
@given(losses=st.lists(ANY, max_size=12), scale=st.sampled_from([0.0, 0.3, 1.0]))
def test_every_epsilon_is_a_number_from_zero_up(name: str, losses: list[float], scale: float) -> None:
    assert rw.ranking(name, scale=scale).epsilon(np.array(losses)) >= 0


@pytest.mark.parametrize("name", SCALED)
@given(losses=st.lists(st.floats(-1, 1), min_size=2, max_size=12), power=st.sampled_from([-500, 0, 1000]))
def test_epsilon_by_its_definition_at_any_size(name: str, losses: list[float], power: int) -> None:
    losses, size = np.round(losses, 6), 2.0**power
    distances = [abs(a - b) for i, a in enumerate(losses) for b in losses[:i]]
    wanted = {SCALED[0]: np.std(losses), SCALED[1]: np.mean(distances), SCALED[2]: np.median(distances)}[name]
    assert rw.ranking(name).epsilon(losses * size) == pytest.approx(wanted * size, rel=1e-6, abs=1e-15 * size)


def test_the_noise_of_curves_too_far_apart_for_a_number_is_the_largest_number() -> None:
    noise = Noise(0, 3)
    for resource, sign in enumerate((1, -1, 1), start=1):
        for trial in (0, 1):
            noise.report(Report(trial, resource, (sign * 1e308 * (2 * trial - 1),)))
    assert noise.epsilon == np.finfo(float).max
