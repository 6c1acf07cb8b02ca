"""Whose fault is a row of failures? Histories on a clock of their own."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

import rungwise as rw
from rungwise.blame import InARow
from rungwise.events import Completed, Excused, Failed, Job, Reported, Retried, Started
from rungwise.executors import Broke, Message, Said
from rungwise.loop import Inbox, drive


class Machine:
    """Workers on a clock of their own: a unit of resource takes a second, a job that breaks off a tenth of one.

    `breaks(job, attempt, now)` says why a job breaks off, or not; with `late` it reports first.
    """

    def __init__(
        self,
        size: int,
        breaks: Callable[[Job, int, float], str | None],
        late: Callable[[Job], bool] = lambda job: False,
    ) -> None:
        self.capacity, self.breaks, self.late = size, breaks, late
        self.now = 0.0
        self.begun: list[tuple[float, int]] = []
        self.attempts: Counter[int] = Counter()
        self.due: list[tuple[float, int, list[Said]]] = []

    def submit(self, job: Job) -> None:
        self.begun.append((self.now, job.trial))
        self.attempts[job.trial] += 1
        reason = self.breaks(job, self.attempts[job.trial], self.now)
        if reason is not None and not self.late(job):
            self.due.append((self.now + 0.1, len(self.begun), [Said(job.lease, None, Broke(job.trial, reason))]))
            return
        resources = range(job.start + 1, job.until + 1)
        end: Message = Completed(job.trial) if reason is None else Broke(job.trial, reason)
        for place, resource in enumerate(resources):
            said = [Said(job.lease, place, Reported(job.trial, resource, job.config["x"] + 1 / resource))]
            if resource == job.until:
                said.append(Said(job.lease, place + 1, end))
            self.due.append((self.now + place + 1, len(self.begun), said))

    def poll(self, timeout: float) -> list[Said]:
        if not self.due:
            self.now += 0.2
            return []
        self.due.sort(key=lambda one: one[:2])
        time, _, said = self.due.pop(0)
        if time > self.now + 0.2:
            self.now += 0.2
            self.due.insert(0, (time, _, said))
            return []
        self.now = max(self.now, time)
        return said


def study_of(trials: int, **arguments) -> rw.Study:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.PASHA(max_resource=9), **arguments)
    study.extend(trials=trials)
    return study


def run(study: rw.Study, machine: Machine, *, retries: int = 2, patience: float = 120.0) -> InARow:
    broke_at = {record.number: record.broke_at for record in study.trials if record.broke_at is not None}
    worked = any(record.resource for record in study.trials)
    judge = InARow(
        retries,
        patience,
        worked=worked,
        ended_well=study.state.ended_well,
        broke_at=broke_at,
        clock=lambda: machine.now,
    )
    drive(study, Inbox(machine), judge=judge)
    return judge


def kinds(study: rw.Study, *kind: type) -> list:
    return [fact for _, fact in study.facts() if isinstance(fact, kind)]


@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_mistake_in_the_function_ends_the_run_after_three_executions(size: int, retries: int) -> None:
    study = study_of(30)
    machine = Machine(size, lambda job, attempt, now: "NameError: modle")
    judge = run(study, machine, retries=retries)
    assert len(machine.begun) == max(3, size)
    assert judge.given_up is not None
    assert "NameError: modle" in judge.given_up
    assert kinds(study, Failed) == []
    assert [record.attempts for record in study.trials] == [0] * len(study.trials)
    mended = Machine(size, lambda job, attempt, now: None)
    assert run(study, mended).given_up is None
    assert study.finished
    assert [trial for _, trial in mended.begun][: len(study.trials)].count(0) >= 1
    assert all(record.failure is None for record in study.trials)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_one_bad_configuration_at_the_beginning_fails_and_stops_nothing(size: int) -> None:
    study = study_of(12)
    machine = Machine(size, lambda job, attempt, now: "too large" if job.trial == 0 else None)
    judge = run(study, machine)
    assert judge.given_up is None
    assert machine.attempts[0] == 3
    assert kinds(study, Failed) == [Failed(0, "too large")]
    assert study.finished


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("seconds", [5, 60])
def test_an_outage_fails_nothing(size: int, seconds: int, late: bool) -> None:
    """`late`: as with a full disk, each job reports, and breaks off when it saves."""
    study = study_of(60)

    def breaks(job: Job, attempt: int, now: float) -> str | None:
        return "OSError: [Errno 28]" if 10 <= now < 10 + seconds else None

    machine = Machine(size, breaks, lambda job: late)
    judge = run(study, machine)
    assert judge.given_up is None
    assert kinds(study, Failed) == []
    assert study.finished
    assert len(study.trials) == 60
    assert any("trials broke off in a row" in said for said in judge.news)
    assert any("the study continues" in said for said in judge.news)
    wasted = sum(machine.attempts.values()) - len(kinds(study, Completed))
    assert wasted < 3 * size * 9 + 20, "as many as it takes to see it, not all of them"


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_fault_that_stays_ends_the_run_within_its_patience(size: int) -> None:
    study = study_of(60)
    machine = Machine(size, lambda job, attempt, now: "gone" if now >= 10 else None)
    judge = run(study, machine, patience=20)
    assert judge.given_up is not None
    assert "gone" in judge.given_up
    assert machine.now < 10 + 3 + 20 + 9 * 0.1 + 10  # jobs that ran when it began, the waiting, what was tried
    assert kinds(study, Failed) == []
    assert all(record.attempts == 0 for record in study.trials if record.job is not None)
    assert run(study, Machine(size, lambda job, attempt, now: None)).given_up is None
    assert study.finished
    assert len(study.trials) == 60
    assert all(record.failure is None for record in study.trials)


def test_under_suspicion_one_job_is_tried_at_a_time_and_each_time_another_trial() -> None:
    study = study_of(60)
    machine = Machine(3, lambda job, attempt, now: "gone" if now >= 10 else None)
    run(study, machine)
    excused = kinds(study, Excused)
    assert excused
    times = [time for time, _ in machine.begun][-7:]
    assert [round(b - a) for a, b in pairwise(times)] == [2, 4, 8, 15, 30, 60]
    assert len({trial for _, trial in machine.begun[-7:]}) == 7


def test_no_new_trials_the_broken_ones_are_tried_in_turn() -> None:
    study = study_of(4)
    judge = run(study, Machine(4, lambda job, attempt, now: None if now < 1 else "gone"))
    assert kinds(study, Failed) == [] or judge.given_up is None


def test_the_last_trial_of_a_study_fails_though_no_other_is_left_to_compare() -> None:
    study = study_of(9)
    machine = Machine(2, lambda job, attempt, now: "bad" if job.trial == 8 else None)
    assert run(study, machine).given_up is None
    assert kinds(study, Failed) == [Failed(8, "bad")]
    assert machine.now < 100


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("share", [0.1, 0.3])
def test_bad_configurations_among_good_ones_all_fail_and_cost_little_time(size: int, share: float) -> None:
    lost = 0.0
    for seed in range(20):
        bad = {trial for trial in range(60) if random.Random(f"{seed} {trial}").random() < share}
        study = study_of(60)
        machine = Machine(size, lambda job, attempt, now, bad=bad: "bad" if job.trial in bad else None)
        judge = run(study, machine)
        if judge.given_up is not None:  # the last three, or so, were all bad: whoever goes on with it knows
            assert len(study.trials) == 60
            assert run(study, machine).given_up is None
        assert {fact.trial for fact in kinds(study, Failed)} == bad
        assert study.finished
        lost += sum(said.count("in a row") for said in judge.news)
    assert lost / 20 < 3


def test_the_attempts_of_a_job_that_breaks_off_alone_are_counted() -> None:
    study = study_of(9)
    machine = Machine(2, lambda job, attempt, now: "bad luck" if job.trial == 3 and attempt < 3 else None)
    run(study, machine)
    assert kinds(study, Failed) == []
    assert kinds(study, Retried) == [Retried(3, "bad luck")] * 2
    assert len(kinds(study, Started)) == 9


def test_a_score_that_is_refused_is_a_job_that_broke_off() -> None:
    study = study_of(30)

    class Wrong(Machine):
        def poll(self, timeout: float) -> list[Said]:
            return [
                Said(said.lease, said.place, Reported(said.message.trial, said.message.resource, {"accuracy": 0.5}))
                if isinstance(said.message, Reported)
                else said
                for said in super().poll(timeout)
            ]

    judge = run(study, Wrong(2, lambda job, attempt, now: None))
    assert judge.given_up is not None
    assert "this study has one metric" in judge.given_up
    assert kinds(study, Failed, Reported) == []


def test_a_row_of_three_is_tried_again_when_a_job_that_ran_through_it_ends_well() -> None:
    """A disk was full for all but the one that did not save meanwhile: its end says that it works again."""
    judge = InARow(0, 100, worked=True, clock=lambda: 0.0)
    judge.began(9)
    for trial in range(3):
        judge.began(trial)
        judge.reported(9)
        assert judge.broke(trial, 0, "disk full") == []
    verdicts = judge.ended(9)
    assert [type(one).__name__ for one in verdicts] == ["Retried", "Excused"] * 3
    judge.began(8)
    judge.began(0)
    assert judge.broke(0, 0, "disk full") == []
    assert [type(one).__name__ for one in judge.ended(8)] == ["Failed"], "it had its chance"


def test_a_job_that_is_taken_away_has_not_shown_that_the_machine_works_unless_it_has_come_further() -> None:
    judge = InARow(0, 30, worked=True, clock=lambda: 0.0)
    for trial in (0, 1):
        judge.began(trial)
    judge.reported(0)
    assert not judge.broke(0, 0, "disk full"), "it waits for its verdict"
    assert not judge.paused(1), "it had not reported"
    judge.began(1)
    judge.reported(1)
    assert not judge.paused(1), "the one that broke off had come as far"
    judge.began(1)
    judge.reported(1)
    judge.reported(1)
    assert judge.paused(1) == [Failed(0, "disk full")]


def test_under_suspicion_another_is_tried_when_the_one_that_is_tried_is_taken_away() -> None:
    now = [0.0]
    judge = InARow(0, 30, worked=True, clock=lambda: now[0])
    for trial in range(3):
        judge.began(trial)
        judge.broke(trial, 0, "disk full")
    now[0] = 1.0
    judge.began(0)
    assert not judge.may_give_out()
    assert not judge.paused(0)
    assert judge.waiting
    assert judge.may_give_out()
