"""The loop, on workers that say several things at once."""

from __future__ import annotations

import random

import pytest

import rungwise as rw
from rungwise.events import Completed, Job, Reported
from rungwise.executors import Broke, Message
from rungwise.loop import drive


class Bursts:
    """Workers whose news come in bursts; checks that no more jobs run than there are places."""

    def __init__(self, size: int, breaks: float = 0.0) -> None:
        self.size, self.breaks = size, breaks
        self.running: list[Job] = []
        self.chance = random.Random(0)
        self.most = 0

    def submit(self, job: Job) -> None:
        self.running.append(job)
        self.most = max(self.most, len(self.running))
        assert len(self.running) <= self.size
        assert len({job.trial for job in self.running}) == len(self.running), "no job is given out twice"

    def poll(self) -> list[Message]:
        ended = self.chance.sample(self.running, self.chance.randint(1, len(self.running)))
        messages: list[Message] = []
        for job in ended:
            self.running.remove(job)
            if self.chance.random() < self.breaks:
                messages.append(Broke(job.trial, "broke"))
                continue
            messages += [Reported(job.trial, r, job.config["x"] + 1 / r) for r in range(job.start + 1, job.until + 1)]
            messages.append(Completed(job.trial))
        return messages


@pytest.mark.parametrize("size", [1, 2, 5, 16])
@pytest.mark.parametrize("breaks", [0.0, 0.3])
def test_no_more_jobs_than_places_and_all_are_used(size: int, breaks: float) -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.PASHA(max_resource=27))
    study.extend(trials=40)
    workers = Bursts(size, breaks)
    drive(study, workers, retries=1)
    assert study.finished
    assert len(study.trials) == 40
    assert workers.most == size
    assert any(record.failure == "broke" for record in study.trials) == (breaks > 0)


def test_a_job_is_begun_only_when_it_is_durable(tmp_path) -> None:
    path = tmp_path / "study.db"
    study = rw.Study({"x": rw.Float(0, 1)}, rw.PASHA(max_resource=9), path=path)
    study.extend(trials=12)

    class Looks(Bursts):
        def submit(self, job: Job) -> None:
            super().submit(job)
            known = rw.Study.open(path)
            assert known.trials[job.trial].job == job
            known.close()

    drive(study, Looks(3))
    study.close()
