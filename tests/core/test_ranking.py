import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rungwise as rw
from rungwise.core.noise import Noise
from rungwise.core.ranking import TwoRungs, as_ranking
from rungwise.core.rungs import Rung

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
