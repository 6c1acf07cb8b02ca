"""Rungs of several metrics, operation by operation, against the definitions worked out anew each time."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rungwise as rw
import rungwise.dominance
import rungwise.ordered
from rungwise.core.noise import Noise
from rungwise.core.pareto import ParetoRung, TwoParetoRungs
from rungwise.core.promotion import EAGER, PatientPromotion
from rungwise.dominance import ParetoFront
from rungwise.events import Created, Promote, Promoted, Result, Start, Started
from rungwise.fronts import Fronts

Losses = tuple[float, ...]


def dominates(a: Losses, b: Losses) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def slow_order(losses: list[Losses]) -> list[int]:
    """Rows, in the order of completion, from the best to the worst: fronts, then room, then the earlier completion."""
    left, order = list(range(len(losses))), []
    while left:
        front = [a for a in left if not any(dominates(losses[b], losses[a]) for b in left)]
        room = dict.fromkeys(front, 0.0)
        for metric in range(len(losses[0])):
            line = sorted(front, key=lambda a: losses[a][metric])
            span = losses[line[-1]][metric] - losses[line[0]][metric]
            room[line[0]] = room[line[-1]] = math.inf
            for before, here, after in zip(line, line[1:], line[2:], strict=False):
                if span:
                    room[here] += (losses[after][metric] - losses[before][metric]) / span
        order += sorted(front, key=lambda a: -room[a])
        left = [a for a in left if a not in front]
    return order


def slow_rung(done: list[tuple[int, Losses]]) -> list[int]:
    """Trials from the best to the worst; those that failed, in the order of completion, are last."""
    whole = [(trial, losses) for trial, losses in done if losses]
    order = [whole[row][0] for row in slow_order([losses for _, losses in whole])]
    return order + [trial for trial, losses in done if not losses]


@st.composite
def points(draw: st.DrawFn, most: int = 40) -> list[Losses]:
    """Losses of two or three metrics: on a coarse grid with many ties, anywhere, along a front, along a line."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed"))
    metrics, count = draw(st.sampled_from([2, 3])), draw(st.integers(0, most))
    kind = draw(st.sampled_from(["grid", "coarse", "anywhere", "front", "line"]))
    table = rng.random((count, metrics))
    if kind in ("grid", "coarse"):
        table = np.round(table * (5 if kind == "grid" else 1))
    elif kind == "front":
        table /= np.linalg.norm(table, axis=1, keepdims=True)
    elif kind == "line":
        table = np.repeat(table[:, :1], metrics, axis=1)
    if draw(st.booleans(), label="repeats") and count:
        table = table[rng.integers(count, size=count)]
    return [tuple(row) for row in table.tolist()]


@settings(max_examples=200)
@given(points())
def test_fronts_are_kept_as_they_would_be_sorted_anew(losses: list[Losses]) -> None:
    fronts, best = Fronts(len(losses[0]) if losses else 2), ParetoFront()
    for place, each in enumerate(losses):
        fronts.add(each, place)
        best.add(10 + place, each)
        so_far = losses[: place + 1]
        if place % 5 not in (1, 2):
            assert fronts.order().tolist() == fronts.order().tolist() == slow_order(so_far)
        assert best.trials == [10 + a for a, x in enumerate(so_far) if not any(dominates(y, x) for y in so_far)]


@settings(max_examples=25)
@given(points(40))
def test_large_fronts_are_sorted_as_small_ones_are(losses: list[Losses]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rungwise.dominance, "SMALL", 3)
        patch.setattr(rungwise.ordered, "SMALL", 3)
        test_fronts_are_kept_as_they_would_be_sorted_anew.hypothesis.inner_test(losses)


@settings(max_examples=100)
@given(points(), st.randoms(use_true_random=False))
def test_ties_go_by_place_whatever_the_order_of_adding(losses: list[Losses], random) -> None:
    fronts = Fronts(len(losses[0]) if losses else 2)
    places = list(range(len(losses)))
    random.shuffle(places)
    for place in places:
        fronts.add(losses[place], place)
    assert fronts.order().tolist() == slow_order(losses)


@settings(max_examples=200)
@given(points(), st.sampled_from([1.5, 2, 3, 4]), st.sampled_from([0, 0.2]), st.integers(0, 2**32 - 1))
def test_a_rung_with_failures_and_promotions_in_between(losses, eta: float, failing: float, seed: int) -> None:
    rule = PatientPromotion() if seed % 2 else EAGER
    rng = np.random.default_rng(seed)
    rung, promoted, done = ParetoRung(), set(), []
    for trial, each in enumerate(losses):
        done.append((trial, () if rng.random() < failing else each))
        rung.add(*done[-1])
        order = slow_rung(done)
        assert len(rung) == len(order)
        assert [rung.trials[place] for place in rung.ordered()] == [t for t in order if dict(done)[t]]
        for _ in range(rng.integers(3)):
            top = [t for t in order[: rule.quota(len(order), eta)] if dict(done)[t]]
            wanted = next(((t, order.index(t), len(order)) for t in top if t not in promoted), None)
            assert rung.candidate(rule, eta) == wanted
            if wanted is None:
                break
            rung.promote(wanted[0])
            promoted.add(wanted[0])
        unsure = [t for t, x in done if x and t not in promoted]  # promoted without being asked for, as on replay
        if unsure and rng.random() < 0.2:
            rung.promote(unsure[0])
            promoted.add(unsure[0])
        first = int(rng.integers(6))
        assert set(rung.paused(first)) == {
            t for t, x in done if x and t not in promoted and sum(bool(y) and dominates(y, x) for _, y in done) < first
        }


@settings(max_examples=150)
@given(points(25), st.sampled_from([0.0, 0.05, 0.3, 1.0]), st.sampled_from([0, 0.2]), st.integers(0, 2**32 - 1))
def test_whether_two_rungs_agree(losses, epsilon: float, failing: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    metrics = len(losses[0]) if losses else 2
    below, top, done, up = ParetoRung(), ParetoRung(), list(enumerate(losses)), []
    for trial, each in done:
        below.add(trial, each)
    rungs, there = None, dict(done)
    for trial in rng.permutation(len(losses)).tolist():
        changed = tuple(x + rng.choice([0, 0.05]) * rng.normal() for x in there[trial])
        up.append((trial, () if rng.random() < failing else changed))
        top.add(*up[-1])
        if rungs is None:
            rungs = TwoParetoRungs(below, top)
        else:
            rungs.add(trial)
        now = slow_rung(up)
        before = slow_rung([end for end in done if end[0] in now])
        pairs = [(there[a], there[b]) for a, b in zip(now, before, strict=True)]
        over = [max(abs(x - y) - epsilon for x, y in zip(a, b, strict=True)) for a, b in pairs]
        found = rungs.disagreement(rw.SoftRanking(epsilon), [Noise(0, 1)] * metrics)
        assert (0 if found is None else found.positions) == sum(each > 0 for each in over)
        if found is not None:
            assert found.gap == pytest.approx(max(over) + epsilon)
            assert found.epsilon == epsilon
        direct = rungs.disagreement(rw.DirectRanking(), [Noise(0, 1)] * metrics)
        wrong = sum(a != b for a, b in zip(now, before, strict=True))
        assert (0 if direct is None else direct.positions) == wrong


@settings(max_examples=150)
@given(points(60), st.integers(0, 60), st.sampled_from([2, 3]), st.sampled_from([0, 0.1]), st.integers(0, 2**32 - 1))
def test_whoever_may_not_be_promoted_never_is(losses, when: int, eta: int, failing: float, seed: int) -> None:
    """With several metrics a rank may get better: all promotions still to come are among `may_promote` all the same."""
    rng = np.random.default_rng(seed)
    promotion, breadth = ("eager", "patient")[seed % 2], seed % 3 == 0
    asha = rw.ASHA(reduction_factor=eta, max_resource=eta**3, promotion=promotion, breadth_first=breadth)
    started, ended = 0, 0
    asha.tell(Created({}, {}, {}, dict.fromkeys("abc"[: len(losses[0]) if losses else 2], "min"), 0, ""))
    may: set[int] = set()
    known: set[int] = set()
    while True:
        answer = asha.ask(more=started < len(losses))
        if isinstance(answer, Promote):
            assert answer.trial in may or answer.trial not in known
            known.discard(answer.trial)
            trial = answer.trial
            asha.tell(Promoted(trial, answer.until))
        elif isinstance(answer, Start):
            trial, started = started, started + 1
            asha.tell(Started(trial, {}, answer.until))
        else:
            break
        noisy = tuple(x + 0.05 * rng.normal() for x in losses[trial])
        at = (math.inf,) * len(noisy) if rng.random() < failing else losses[trial] if answer.until == 1 else noisy
        asha.tell(Result(trial, answer.until, at))
        ended += 1
        if ended == when:
            may, known = asha.may_promote(len(losses)), set(range(started))


@settings(max_examples=60)
@given(losses=points(90), first=st.integers(0, 60), seed=st.integers(0, 99))
def test_who_may_be_among_the_first_is_who_few_dominate(losses, first: int, seed: int) -> None:
    """All of those that wait, and nobody else, are compared with all."""
    rng, rung = np.random.default_rng(seed), ParetoRung()
    for trial, each in enumerate(losses):
        rung.add(trial, each if rng.random() < 0.9 else ())
    gone = {trial for trial in rung.losses if rng.random() < 0.3}
    for trial in gone:
        rung.promote(trial)
    there = {trial: each for trial, each in rung.losses.items() if each}
    wanted = [
        trial
        for trial, own in there.items()
        if trial not in gone and sum(dominates(other, own) for other in there.values()) < first
    ]
    assert sorted(rung.paused(first)) == wanted


@pytest.mark.parametrize("metrics", [2, 3])
def test_losses_too_far_apart_for_a_number(metrics: int) -> None:
    losses = [(*xs[:-1], -sum(xs[:-1]) / 2) for xs in itertools.permutations([1e308, -1e308, 0.0], metrics)]
    fronts = Fronts(metrics)
    for place, each in enumerate(losses):
        fronts.add(each, place)
    assert sorted(fronts.order().tolist()) == list(range(len(losses)))
    assert not any(np.isnan(front.room).any() for front in fronts.fronts)
