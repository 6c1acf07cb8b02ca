"""A virtual cluster: where nothing fails it is `workers=n`; its seconds add up; a seed gives one history."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rungwise as rw
from instances import Instance, instances
from rungwise.cluster import machines
from rungwise.events import Failed

ALL = ["pasha", "asha", "asha-stopping", "halving", "hyperband", "async-hyperband", "median", "full"]
SEVEN = np.random.default_rng(7)
TABLE = rw.CurveTable(
    np.log(np.arange(1, 28)) * SEVEN.random((40, 1)), SEVEN.uniform(0.2, 1, (40, 1)) * np.arange(1, 28), mode="max"
)


def seconds() -> st.SearchStrategy[float]:
    return st.sampled_from([0.0, 0.5, 1.0, 3.0, 20.0])


@st.composite
def clusters(draw: st.DrawFn) -> rw.Cluster:
    start_up = draw(seconds())
    times = sorted(draw(st.sets(st.sampled_from([0.5, 1.0, 7.0, 30.0, 31.0]), max_size=3)))
    counts = [draw(st.integers(0 if time != times[-1] else 1, 9)) for time in times]
    lasts = st.none() | st.sampled_from([10.0, 50.0, 500.0]).map(lambda mean: mean + start_up)
    return rw.Cluster(
        draw(st.integers(1, 9)),
        start_up=start_up,
        job_start_up=draw(seconds()) / 4,
        failures=draw(lasts),
        spot=draw(lasts),
        spot_gap=draw(seconds()),
        stragglers=draw(st.sampled_from([0.0, 0.3])),
        job_stragglers=draw(st.sampled_from([0.0, 0.3])),
        capacity=list(zip(times, counts, strict=True)),
        resume=draw(st.sampled_from(["report", "job"])),
        retries=draw(st.integers(0, 3)),
        price=0.5,
        seed=draw(st.integers(0, 3)),
    )


@settings(max_examples=300)
@given(instance=instances(), algorithm=st.sampled_from(ALL))
def test_machines_that_are_always_there_are_workers(instance: Instance, algorithm: str) -> None:
    how: dict[str, Any] = {
        "trials": len(instance.rows),
        "rows": instance.rows,
        "score": instance.score,
        "drain": instance.drain,
    }
    plain = rw.simulate(instance.scheduler(algorithm), instance.table, workers=instance.workers, **how)
    ideal = rw.simulate(instance.scheduler(algorithm), instance.table, workers=rw.Cluster(instance.workers), **how)
    assert plain.cluster is None
    assert facts(ideal) == facts(plain)
    for name in ("seconds", "resource_used", "max_resource", "best_trial", "jobs", "ceilings"):
        assert getattr(ideal, name) == getattr(plain, name), name
    use = ideal.cluster
    assert use is not None
    assert (use.machines, use.broken, use.preempted) == (instance.workers if ideal.seconds else 0, 0, 0)
    assert (use.lost_seconds, use.starting_seconds) == (0, 0)
    assert use.machine_seconds == pytest.approx(instance.workers * ideal.seconds)
    assert (use.answers[-1][1] if use.answers else None) == ideal.best_trial


def facts(run: rw.Simulation) -> list[Any]:
    return [fact for _, fact in run.study.decider.log.read()][1:]


@settings(max_examples=300, deadline=None)
@given(
    cluster=clusters(),
    algorithm=st.sampled_from(["pasha", "asha", "hyperband", "async-hyperband"]),
    drain=st.booleans(),
)
def test_a_seed_gives_one_history_and_its_seconds_add_up(cluster: rw.Cluster, algorithm: str, drain: bool) -> None:
    first, second = (rw.simulate(algorithm, TABLE, workers=cluster, trials=25, drain=drain) for _ in range(2))
    use = first.cluster
    assert use is not None
    assert (use, first.jobs, first.ceilings) == (second.cluster, second.jobs, second.ceilings)
    parts = (use.used_seconds, use.lost_seconds, use.starting_seconds, use.idle_seconds)
    assert min(parts) >= 0
    assert sum(parts) == pytest.approx(use.machine_seconds)
    assert use.price == pytest.approx(use.machine_seconds / 2)
    assert use.machine_seconds <= cluster.most * first.seconds * (1 + 1e-9)
    assert (use.answers[-1][1] if use.answers else None) == first.best_trial
    if drain:
        assert len(first.study.trials) == 25
        assert first.study.finished
        begun_again = len(first.jobs) - len({(trial, until) for _, trial, _, until in first.jobs})
        assert begun_again == use.broken + use.preempted - len(first.study.failures)
        if cluster.resume == "report" and not cluster.stragglers and not cluster.job_stragglers:
            known = sum(record.seconds_used for record in first.study.trials)
            assert use.used_seconds == pytest.approx(known), "each report was trained once"
    if cluster.failures is cluster.spot is None and not cluster.capacity:
        assert use.lost_seconds == use.broken == use.preempted == 0


@given(cluster=clusters(), slot=st.integers(0, 8))
def test_the_machines_of_a_place_follow_each_other(cluster: rw.Cluster, slot: int) -> None:
    before = 0.0
    for _, machine in zip(range(20), machines(cluster, slot), strict=False):
        assert before <= machine.came <= machine.gone
        assert machine.ready == machine.came + cluster.start_up
        assert any(begins <= machine.came < machine.gone <= ends for begins, ends in cluster.periods(slot))
        before = machine.gone


def test_a_job_goes_on_from_its_last_report_or_from_its_start() -> None:
    """One machine until 2.5, one from 10 on; an epoch takes a second."""
    table = rw.CurveTable([[0.1, 0.2, 0.3, 0.4]], mode="max")
    for resume, start, end, used, lost in (("report", 2, 12.0, 4.0, 0.5), ("job", 0, 14.0, 4.0, 2.5)):
        cluster = rw.Cluster(1, capacity=[(2.5, 0), (10, 1)], resume=resume, price=2)
        run = rw.simulate(rw.FullTraining(max_resource=4), table, workers=cluster, trials=1)
        assert run.jobs == [(0.0, 0, 0, 4), (10.0, 0, start, 4)]
        assert run.seconds == end
        assert run.resource_used == 4
        assert run.cluster == rw.ClusterUse(2, used + lost, used, lost, 0.0, 0.0, 2 * (used + lost), 0, 1, [(end, 0)])


def test_starting_takes_time_and_money() -> None:
    """Two machines start for 5 seconds; each job for 1; the second trial takes three seconds longer than the first."""
    table = rw.CurveTable([[0.1], [0.2]], [[1], [4]], mode="max")
    cluster = rw.Cluster(2, start_up=5, job_start_up=1, price=1)
    run = rw.simulate(rw.FullTraining(max_resource=1), table, workers=cluster, trials=2, rows=[0, 1])
    assert run.seconds == 10
    assert run.cluster == rw.ClusterUse(2, 20.0, 5.0, 0.0, 12.0, 3.0, 20.0, 0, 0, [(7.0, 0), (10.0, 1)])
    assert run.cluster.utilization == 0.25


def test_a_trial_whose_machines_fail_too_often_has_failed() -> None:
    table = rw.CurveTable([[0.5]], [[100.0]], mode="max")
    run = rw.simulate("full", table, workers=rw.Cluster(1, failures=1, retries=2), trials=1)
    assert run.cluster is not None
    assert run.cluster.broken == 3
    assert isinstance(facts(run)[-1], Failed)
    assert run.best_trial is None
    assert run.cluster.used_seconds == 0
    assert run.cluster.lost_seconds == pytest.approx(run.seconds)


def test_slow_machines_take_longer_and_say_so() -> None:
    runs = [rw.simulate("asha", TABLE, workers=rw.Cluster(8, stragglers=s), trials=40) for s in (0.0, 0.5)]
    used = [sum(record.seconds_used for record in run.study.trials) for run in runs]
    assert used[0] != used[1]
    for run, seconds_used in zip(runs, used, strict=True):
        assert run.cluster is not None
        assert run.cluster.used_seconds == pytest.approx(seconds_used)


def test_two_schedulers_get_the_same_machines() -> None:
    cluster = rw.Cluster(3, spot=50, spot_gap=5, failures=70, stragglers=0.4)
    assert [msgspec.structs.astuple(m) for m, _ in zip(machines(cluster, 1), range(9), strict=False)] == [
        msgspec.structs.astuple(m) for m, _ in zip(machines(cluster, 1), range(9), strict=False)
    ]
    assert next(machines(cluster, 1)).slowness != next(machines(cluster, 2)).slowness


def test_lives_have_the_means_that_were_given() -> None:
    cluster = rw.Cluster(1, spot=50, failures=200, spot_gap=10, stragglers=0.5)
    many = [machine for machine, _ in zip(machines(cluster, 0), range(4000), strict=False)]
    assert np.mean([m.gone - m.came for m in many]) == pytest.approx(1 / (1 / 50 + 1 / 200), rel=0.1)
    assert np.mean([m.fails for m in many]) == pytest.approx(0.2, abs=0.03)
    assert np.median([m.slowness for m in many]) == pytest.approx(1, rel=0.05)
    assert np.std([math.log(m.slowness) for m in many]) == pytest.approx(0.5, rel=0.05)
    gaps = [later.came - m.gone for m, later in pairwise(many) if not m.fails]
    assert np.mean(gaps) == pytest.approx(10, rel=0.1)
    assert all(later.came == m.gone for m, later in pairwise(many) if m.fails)


def test_machines_that_never_last_are_an_error_and_no_endless_loop() -> None:
    table = rw.CurveTable([[0.5]], [[1e6]], mode="max")
    with pytest.raises(rw.InputError, match=r"trial 0 was taken away 1,000 times .* longer spot="):
        rw.simulate("full", table, workers=rw.Cluster(1, spot=1), trials=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"machines": 0}, "machines must be 1 or more, not 0"),
        ({"machines": 2.5}, "machines must be a whole number"),
        ({"start_up": -1}, "start_up must be 0 or more, not -1"),
        ({"price": float("nan")}, "price must be finite"),
        ({"spot": 0}, "spot must be seconds above 0, or None for never, not 0"),
        ({"failures": 10, "start_up": 10}, "failures=10 must be more than start_up=10"),
        ({"resume": "epoch"}, "resume must be 'report' or 'job', not 'epoch'"),
        ({"retries": -1}, "retries must be 0 or more"),
        ({"capacity": 3}, r"capacity must be \[\(time, machines\), …\]"),
        ({"capacity": [(0, 3)]}, "increasing times above 0"),
        ({"capacity": [(5, 3), (5, 2)]}, "increasing times above 0"),
        ({"capacity": [(5, 0)]}, "1 or more at the end"),
        ({"capacity": [(5, -1), (6, 1)]}, "0 machines or more"),
        ({"seed": -1}, "seed must be 0 or more"),
    ],
)
def test_clusters_that_cannot_be(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(rw.InputError, match=message):
        rw.Cluster(**{"machines": 4} | arguments)
