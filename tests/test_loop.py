"""The loop, on workers that say several things at once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count, cycle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rungwise as rw
from rungwise.events import Completed, Job, Reported
from rungwise.executors import Broke, Message, Paused, Said
from rungwise.loop import Inbox, drive


class Bursts:
    """Workers whose news come in bursts; checks that no more jobs run than there are places."""

    def __init__(self, size: int, breaks: float = 0.0) -> None:
        self.capacity, self.breaks = size, breaks
        self.running: list[Job] = []
        self.chance = random.Random(0)
        self.most = 0

    def submit(self, job: Job) -> None:
        self.running.append(job)
        self.most = max(self.most, len(self.running))
        assert len(self.running) <= self.capacity
        assert len({job.trial for job in self.running}) == len(self.running), "no job is given out twice"

    def poll(self, timeout: float) -> list[Said]:
        ended = self.chance.sample(self.running, self.chance.randint(1, len(self.running)))
        said: list[Said] = []
        for job in ended:
            self.running.remove(job)
            if self.chance.random() < self.breaks:
                said.append(Said(job.lease, None, Broke(job.trial, "broke")))
                continue
            resources = range(job.start + 1, job.until + 1)
            reports = [Reported(job.trial, resource, job.config["x"] + 1 / resource) for resource in resources]
            said += [Said(job.lease, place, what) for place, what in enumerate([*reports, Completed(job.trial)])]
        return said


@pytest.mark.parametrize("size", [1, 2, 5, 16])
@pytest.mark.parametrize("breaks", [0.0, 0.3])
def test_no_more_jobs_than_places_and_all_are_used(size: int, breaks: float) -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.PASHA(max_resource=27))
    study.extend(trials=40)
    workers = Bursts(size, breaks)
    drive(study, Inbox(workers), retries=1)
    assert study.finished
    assert len(study.trials) == 40
    assert workers.most == size
    assert any(record.failure == "broke" for record in study.trials) == (breaks > 0)


class Comes(Bursts):
    """Workers that come and go: how many there are is another number at each turn."""

    def __init__(self, *capacities: int) -> None:
        super().__init__(capacities[0])
        self.capacities, self.turns = cycle(capacities), 0

    def submit(self, job: Job) -> None:
        assert len(self.running) < self.capacity
        self.running.append(job)

    def poll(self, timeout: float) -> list[Said]:
        self.turns += 1
        said = super().poll(timeout) if self.running else []
        self.capacity = next(self.capacities)
        return said


@pytest.mark.parametrize("capacities", [(0, 0, 3), (3, 0, 0), (1, 5), (4, 3, 2, 1, 0), (0, 0, 0, 0, 1)])
@pytest.mark.parametrize("breaks", [0.0, 0.3])
@pytest.mark.parametrize("scheduler", [rw.PASHA(max_resource=9), rw.FullTraining(max_resource=3)])
def test_workers_may_come_and_go(capacities: tuple[int, ...], breaks: float, scheduler: rw.Scheduler) -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, scheduler)
    study.extend(trials=20)
    workers = Comes(*capacities)
    workers.breaks = breaks
    drive(study, Inbox(workers), retries=1)
    assert study.finished
    assert len(study.trials) == 20


def test_without_workers_it_waits_only_while_there_is_work() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(max_resource=3))
    study.extend(trials=3)
    none = Comes(0)
    asked = iter([True] * 5)
    drive(study, Inbox(none), may_give_out=lambda: next(asked, False))
    assert none.turns == 5
    drive(study, Inbox(none), only=lambda job: job.refit)
    assert none.turns == 5, "there is nothing of that"
    drive(study, Inbox(Bursts(2)))
    drive(study, Inbox(none))
    assert none.turns == 5, "all is done"


def test_more_workers_get_work_when_they_come() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(max_resource=3))
    study.extend(trials=8)

    class Grows(Bursts):
        def poll(self, timeout: float) -> list[Said]:
            if self.capacity == 4:
                return super().poll(timeout)
            self.capacity += 1
            return []

    workers = Grows(1)
    drive(study, Inbox(workers), may_give_out=lambda: workers.most < 4)
    assert workers.most == 4


def test_workers_that_are_taken_away_are_not_held_against_their_jobs() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(max_resource=3))
    study.extend(trials=8)

    class Preempted(Bursts):
        times = 0

        def poll(self, timeout: float) -> list[Said]:
            self.times += 1
            if self.times > 10:
                return super().poll(timeout)
            gone, self.running = self.running, []
            return [Said(job.lease, None, Paused(job.trial)) for job in gone]

    drive(study, Inbox(Preempted(2)), retries=0)
    assert study.finished
    assert [record.failure for record in study.trials] == [None] * 8


def test_a_job_is_begun_only_when_it_is_durable(tmp_path) -> None:
    path = tmp_path / "study.db"
    study = rw.Study({"x": rw.Float(0, 1)}, rw.PASHA(max_resource=9), path=path)
    study.extend(trials=12)

    class Looks(Bursts):
        def submit(self, job: Job) -> None:
            super().submit(job)
            known = rw.Study.open(path)
            assert known.trials[job.trial].job == msgspec.structs.replace(job, lease=0)
            known.close()

    drive(study, Inbox(Looks(3)))
    study.close()


def jobs(*trials: int) -> list[Job]:
    return [Job(trial, {}, 0, 3) for trial in trials]


class Line:
    """An executor whose jobs and messages pass through a test's hands."""

    capacity = 9

    def __init__(self, leases: Iterator[int]) -> None:
        self.inbox = Inbox(self, leases)
        self.jobs: list[Job] = []
        self.said: list[Said] = []

    def begin(self, job: Job) -> Job:
        self.inbox.submit(job)
        return self.jobs[-1]

    def take(self, *said: Said) -> list[Message]:
        self.said = list(said)
        return self.inbox.poll(0)

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def poll(self, timeout: float) -> list[Said]:
        return self.said


def messages_of(job: Job) -> list[Message]:
    return [*(Reported(job.trial, resource, 0.5) for resource in (1, 2, 3)), Completed(job.trial)]


@given(st.randoms(use_true_random=False), st.integers(0, 5))
def test_each_message_is_taken_once_and_in_order_however_they_come(chance: random.Random, twice: int) -> None:
    line = Line(count(100))
    out = [line.begin(job) for job in jobs(0, 1, 2)]
    said = [Said(job.lease, place, message) for job in out for place, message in enumerate(messages_of(job))]
    said += chance.sample(said, twice)
    chance.shuffle(said)
    taken = line.take(*said)
    for job in out:
        assert [message for message in taken if message.trial == job.trial] == messages_of(job)
    assert line.inbox.repeated + line.inbox.refused == twice


def test_what_comes_of_a_job_that_was_given_up_is_refused() -> None:
    line = Line(count())
    (job,) = jobs(0)
    first = line.begin(job)
    assert line.take(Said(first.lease, 0, Reported(0, 1, 0.5))) == [Reported(0, 1, 0.5)]
    assert line.take(Said(first.lease, None, Broke(0, "overdue"))) == [Broke(0, "overdue")]
    again = line.begin(job)
    assert again.lease != first.lease
    for place, message in ((1, Reported(0, 2, 9.0)), (2, Completed(0)), (None, Broke(0, "again"))):
        assert line.take(Said(first.lease, place, message)) == []
    assert line.inbox.refused == 3
    assert line.take(Said(again.lease, 0, Paused(0))) == [Paused(0)]
    assert line.take(Said(again.lease, 1, Completed(0))) == []  # nothing comes after the end


def test_what_a_signals_handler_says_in_the_midst_of_the_last_message_is_of_a_job_that_has_ended() -> None:
    line = Line(count())
    job = line.begin(jobs(0)[0])
    assert line.take(Said(job.lease, 1, Reported(0, 2, 0.5))) == []
    assert line.take(Said(job.lease, 0, Completed(0))) == [Completed(0)]


def test_two_drivers_give_no_lease_twice() -> None:
    line = Line(count(7))
    assert [line.begin(job).lease for job in jobs(0, 1, 0)] == [7, 8, 9]
