"""The schedulers that PASHA is compared with: each move is that of a slow reference, and Hyperband's table."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings

import reference
import reference_schedulers as slow
import rungwise as rw
from instances import Instance, instances
from rungwise.core import as_scheduler
from rungwise.events import Event, Promote, Promoted, Raised, Report, Result, Start, Started, Wait


def follow(instance: Instance, algorithm: str, move: Callable[[slow.History, bool], slow.Move]) -> None:
    """At every fact of a simulated study the scheduler and the reference say the same."""
    run = instance.run(algorithm)
    scheduler = as_scheduler(instance.scheduler(algorithm))
    history = slow.History()
    if isinstance(scheduler, rw.AsyncHyperband):
        history.tops = [ladder.open_level for ladder in scheduler.ladders]

    def compare() -> None:
        more = len(history.starts) < len(instance.rows)
        answer = scheduler.ask(more=more)
        said = None
        if isinstance(answer, Start):
            said = "start", answer.until
        elif isinstance(answer, Promote):
            said = "promote", answer.trial, answer.until
        assert said == move(history, more)

    facts = list(instance.told(fact for _, fact in run.study.facts()))
    for fact, following in zip(facts, [*facts[1:], None], strict=True):
        if isinstance(fact, Report):
            history.reports.append((fact.trial, fact.resource, *fact.losses))
        elif isinstance(fact, Started):
            history.starts.append(fact.until)
        elif isinstance(fact, Promoted):
            history.promotions.append((fact.trial, fact.until))
        elif isinstance(fact, Raised):
            history.tops[fact.bracket] = fact.until
        elif isinstance(fact, Result):
            history.ends.append((fact.trial, fact.level, *fact.losses))
            history.seen.append(len(history.reports))
        scheduler.tell(fact)
        if not isinstance(following, Raised) and not isinstance(fact, Report):
            compare()


def levels_of(instance: Instance) -> tuple[list[int], float, int]:
    most = instance.arguments["max_resource"] or instance.resources[-1]
    eta = instance.arguments["reduction_factor"]
    return reference.ladder(instance.arguments["min_resource"], eta, most), eta, most


@settings(max_examples=40)
@given(instance=instances())
def test_stopping_asha(instance: Instance) -> None:
    levels, eta, most = levels_of(instance)
    arguments = dict(instance.arguments) | {"max_resource": most}
    instance = Instance(**vars(instance) | {"arguments": arguments})
    follow(instance, "asha-stopping", lambda history, more: slow.stopping(history, levels, eta, more))


@settings(max_examples=25)
@given(instance=instances())
def test_successive_halving(instance: Instance) -> None:
    levels, eta, _ = levels_of(instance)
    follow(instance, "halving", lambda history, more: slow.halving(history, [(instance.small, levels)], eta, more))


@settings(max_examples=40)
@given(instance=instances())
def test_hyperband(instance: Instance) -> None:
    _, eta, most = levels_of(instance)
    shapes = slow.hyperband_shapes(instance.arguments["min_resource"], eta, most)
    follow(instance, "hyperband", lambda history, more: slow.halving(history, shapes, eta, more))


@settings(max_examples=20)
@given(instance=instances())
def test_the_median_rule(instance: Instance) -> None:
    _, _, most = levels_of(instance)
    levels = [*range(instance.arguments["min_resource"], most, instance.small), most]
    instance = Instance(**vars(instance) | {"rows": instance.rows[:8]})  # the reference is very slow
    follow(instance, "median", lambda history, more: slow.median(history, levels, instance.workers, more))


@settings(max_examples=40)
@given(instance=instances())
def test_asynchronous_hyperband_over_asha_and_pasha(instance: Instance) -> None:
    _, eta, most = levels_of(instance)
    r = instance.arguments["min_resource"]
    count = 1 if instance.small == 5 else len(slow.hyperband_shapes(r, eta, most))
    ladders = [reference.ladder(min(most, math.floor(r * eta**i + 0.5)), eta, most) for i in range(count)]

    def move(history: slow.History, more: bool) -> slow.Move:
        return slow.async_hyperband(history, ladders, eta, more, instance.patience, instance.breadth)

    follow(instance, "async-hyperband", move)


@settings(max_examples=40)
@given(instance=instances())
def test_one_ladder_of_pasha_under_asynchronous_hyperband_is_pasha(instance: Instance) -> None:
    """With its ceiling, rise by rise."""
    pasha = instance.run("pasha")
    most = instance.arguments["max_resource"] or instance.resources[-1]
    hyperband = rw.AsyncHyperband(ladder=instance.scheduler("pasha"), brackets=1, max_resource=most)
    one = rw.simulate(
        hyperband, instance.table, workers=instance.workers, trials=len(instance.rows), rows=instance.rows,
        drain=instance.drain, score=instance.score,
    )  # fmt: skip
    assert (one.jobs, one.ceilings, one.study.rises) == (pasha.jobs, pasha.ceilings, pasha.study.rises)


def test_the_table_of_hyperband() -> None:
    """R = 81, η = 3 (Li et al., JMLR 2018): how many trials each bracket trains to which resource."""
    scores = np.random.default_rng(0).random((143, 81))
    run = rw.simulate(rw.Hyperband(max_resource=81), rw.CurveTable(scores, mode="max"), trials=143)
    first = [0, 81, 115, 130, 138, 143]
    brackets = [
        dict(Counter(until for _, trial, _, until in run.jobs if low <= trial < high))
        for low, high in itertools.pairwise(first)
    ]
    assert brackets == [
        {1: 81, 3: 27, 9: 9, 27: 3, 81: 1},
        {3: 34, 9: 11, 27: 3, 81: 1},
        {9: 15, 27: 5, 81: 1},
        {27: 8, 81: 2},
        {81: 5},
    ]


def test_a_bracket_that_gets_no_more_trials_is_halved_as_it_is() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.SuccessiveHalving(max_resource=9))
    study.extend(trials=5)
    jobs = []
    while (job := study.ask()) is not None:
        jobs.append((job.trial, job.until))
        study.report(job.trial, job.until, job.trial)
    assert jobs == [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (0, 3), (0, 9)]
    study.extend(trials=7)
    assert (study.ask().trial, study.ask().trial) == (5, 6), "in a bracket of their own"
    assert study.ask() is None
    assert not study.finished
    study.report(5, 1, 3)
    study.report(6, 1, 2)
    assert study.ask() == rw.Job(6, study.trials[6].config, 1, 3)


def test_full_training_trains_all_to_the_end() -> None:
    run = rw.simulate("full", rw.CurveTable(np.random.default_rng(0).random((7, 5)), mode="max"), trials=7)
    assert [(trial, start, until) for _, trial, start, until in run.jobs] == [(trial, 0, 5) for trial in range(7)]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: rw.Hyperband(), "Hyperband needs max_resource=…"),
        (lambda: rw.Hyperband(max_t=81), "Hyperband has no argument 'max_t'; did you mean 'max_resource'?"),
        (lambda: rw.ASHA(max_resource=0), "max_resource must be 1 or more, not 0"),
        (lambda: rw.SuccessiveHalving(max_resource=9, bracket_size=0), "bracket_size must be 1 or more, not 0"),
        (lambda: rw.SuccessiveHalving(max_resource=None), "max_resource must be a whole number, not None"),
        (lambda: rw.MedianStoppingRule(max_resource=9, interval=0), "interval must be 1 or more, not 0"),
        (lambda: rw.MedianStoppingRule(max_resource=9, min_resource=10), "min_resource=10 is above max_resource=9"),
        (lambda: rw.FullTraining(max_resource=0), "max_resource must be 1 or more, not 0"),
        (lambda: rw.AsyncHyperband(ladder="asah"), "there is no ladder 'asah'; did you mean 'asha'?"),
        (lambda: rw.AsyncHyperband(ladder=rw.Hyperband(max_resource=9)), "ladder must be 'asha', 'pasha', or an object like"),
        (lambda: rw.AsyncHyperband(brackets=6, max_resource=81), "brackets must be from 1 to 5, not 6"),
        (lambda: rw.Study({"x": rw.Float(0, 1)}, "median"), "MedianStoppingRule needs max_resource=…"),
    ],
)  # fmt: skip
def test_wrong_settings(wrong: Callable[[], object], said: str) -> None:
    with pytest.raises(rw.InputError) as error:
        wrong()
    assert said in str(error.value)


def test_stopping_asha_needs_its_end() -> None:
    """Without one it would train its best trial for ever: `asha-stopping` says so before it begins."""
    for begin in (rw.StoppingASHA, lambda: rw.Study({"x": rw.Float(0, 1)}, "asha-stopping")):
        with pytest.raises(rw.InputError, match=r"StoppingASHA needs max_resource=…"):
            begin()
    for without in (lambda: rw.StoppingASHA(max_resource=None), lambda: rw.StoppingASHA(max_resource=9).up_to(None)):
        with pytest.raises(rw.InputError, match="max_resource must be a whole number, not None"):
            without()


def told(scheduler: rw.Scheduler, trial: int, resource: int, loss: float) -> None:
    scheduler.tell(Report(trial, resource, (loss,)))
    scheduler.tell(Result(trial, resource, (loss,)))


@pytest.mark.parametrize("loss", [-1.0, 4.5, 20.0])
def test_a_trial_that_completes_a_rung_of_a_bracket_after_others_were_promoted_from_it(loss: float) -> None:
    """As when its failure is taken back: the best not yet promoted go on, up to the quota, and nobody twice."""
    halving = rw.SuccessiveHalving(max_resource=9, bracket_size=12)
    for trial in range(12):
        halving.tell(Started(trial, {}, 1))
    late = 3
    for trial in set(range(12)) - {late}:
        told(halving, trial, 1, trial)
    for trial in (0, 1, 2):  # of the four that may go on, while `late` had failed
        halving.tell(Promoted(trial, 3))
    assert isinstance(halving.ask(), Start), "the bracket waits for the trial that runs again"
    told(halving, 0, 3, 0)
    assert late not in halving.may_promote(12)
    told(halving, late, 1, loss)
    best = late if loss == -1.0 else 4
    assert halving.ask() == Promote(best, 3, {-1.0: 1, 4.5: 4, 20.0: 4}[loss], 12)
    assert halving.may_promote(12) >= {best, 0}
    halving.tell(Promoted(best, 3))
    assert isinstance(halving.ask(), Start), "four have gone on, and not all have come"
    for trial in (1, 2, best):
        told(halving, trial, 3, trial)
    assert halving.ask() == Promote(0, 9, 1, 4)
    halving.tell(Promoted(0, 9))
    assert isinstance(halving.ask(), Start), "one has gone on from there, and nobody goes on twice"


@pytest.mark.parametrize("scheduler", [rw.SuccessiveHalving(max_resource=27), rw.Hyperband(max_resource=27)])
def test_a_failure_that_was_taken_back_leaves_no_bracket_waiting(scheduler: rw.Scheduler) -> None:
    """The log once more without the failure, the trial then completes: every bracket still ends."""
    facts: list[Event] = []

    def drive(scheduler: rw.Scheduler, fails: int | None) -> list[int]:
        promoted, started = [], len({fact.trial for fact in facts if isinstance(fact, Started)})
        while True:
            answer = scheduler.ask(more=started < 60)
            if isinstance(answer, Promote):
                fact: Event = Promoted(answer.trial, answer.until)
                promoted.append(answer.trial)
            elif isinstance(answer, Start):
                fact = Started(started, {}, answer.until)
                started += 1
            else:
                return promoted
            loss = math.inf if fact.trial == fails else float(fact.trial % 7)
            for each in (fact, Result(fact.trial, answer.until, (loss,))):
                scheduler.tell(each)
                facts.append(each)

    drive(scheduler.up_to(27), fails=7)
    again = scheduler.up_to(27)
    for fact in facts:
        if fact != Result(7, 1, (math.inf,)):
            again.tell(fact)
    told(again, 7, 1, -1.0)
    promoted = drive(again, fails=None)
    assert again.ask(more=False) == Wait()
    assert len(promoted) <= 1, "all brackets were halved before; there is room for a first one at most"
