"""When a job has run for too long, and what is said then."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import rungwise as rw
from rungwise.events import Completed, Job, Reported, Retried
from rungwise.executors import Begun, Broke, Said
from rungwise.executors.limited import Limited
from rungwise.executors.limits import Clock, Limits


def trained(limits: Limits, start: int, until: int, each: float, *, reports: int, began: float = 0.0) -> Clock:
    """The clock of a job that has trained `reports` epochs from `start`, `each` so many seconds."""
    clock = limits.begin(Job(0, {}, start, until), began)
    clock.training = began
    for number in range(1, reports + 1):
        clock.heard = began + number * each
        limits.reported(clock, Reported(0, start + number, 0.5, each))
    return clock


def test_a_limit_for_an_epoch_gives_a_job_time_for_all_of_its_epochs() -> None:
    limits = Limits(epoch_seconds=2)
    clock = trained(limits, 27, 81, 1.0, reports=3)
    assert limits.overrun(clock, 107.9) is None
    assert limits.overrun(clock, 108.1) == (
        "the job took longer than epoch_seconds=2 for each of its 54 epochs (27 to 81), 108 s in all"
    )


def test_a_job_that_trains_from_the_start_again_has_time_for_that() -> None:
    limits = Limits(epoch_seconds=2)
    clock = limits.begin(Job(0, {}, 27, 81), 0.0)
    clock.training = 0.0
    limits.reported(clock, Reported(0, 1, 0.5, 1.0))
    assert limits.overrun(clock, 161) is None
    assert "81 epochs (0 to 81), 162 s" in str(limits.overrun(clock, 163))


def test_a_limit_for_an_epoch_does_not_count_the_start_of_the_process() -> None:
    limits = Limits(epoch_seconds=2)
    clock = limits.begin(Job(0, {}, 0, 1), 0.0)
    assert limits.overrun(clock, 60) is None
    clock.training = 60.0
    assert limits.overrun(clock, 61) is None
    assert "epoch_seconds=2 for each of its 1 epochs" not in str(limits.overrun(clock, 63))
    assert limits.overrun(clock, 63) == "the job took longer than epoch_seconds=2 for its epoch (0 to 1)"


def test_both_limits_hold() -> None:
    limits = Limits(epoch_seconds=2, job_seconds=10)
    assert "job_seconds=10" in str(limits.overrun(trained(limits, 0, 81, 1.0, reports=3), 10.5))
    assert "epoch_seconds=2" in str(limits.overrun(trained(limits, 0, 3, 1.0, reports=2), 6.5))


def test_a_long_promotion_that_job_seconds_ends_is_told_what_to_limit_instead() -> None:
    limits = Limits(job_seconds=10)
    trained(limits, 0, 9, 1.0, reports=9)
    long = trained(limits, 27, 81, 1.1, reports=9, began=100)
    assert limits.overrun(long, 110.1) == (
        "the job took longer than job_seconds=10, though its epochs took no longer than those before (1.1 s each): "
        "27 to 81 is more than that allows; epoch_seconds limits an epoch, silence_seconds finds what hangs"
    )
    for clock, now in (
        (trained(limits, 27, 81, 3.0, reports=3, began=200), 210.1),  # slower
        (trained(limits, 27, 81, 1.0, reports=3, began=300), 310.1),  # hangs since the third
        (trained(limits, 27, 81, 1.0, reports=0, began=400), 410.1),  # hangs
    ):
        assert limits.overrun(clock, now) == "the job took longer than job_seconds=10"


def test_of_the_first_job_nobody_knows_what_is_long() -> None:
    limits = Limits(job_seconds=10)
    assert limits.overrun(trained(limits, 0, 81, 1.0, reports=10), 10.1) == "the job took longer than job_seconds=10"


def test_silence_is_counted_since_the_last_word() -> None:
    limits = Limits(silence_seconds=5)
    clock = trained(limits, 0, 81, 1.0, reports=10)
    assert limits.overrun(clock, 14.9) is None
    assert limits.overrun(clock, 15.1) == "the job said nothing for silence_seconds=5"


class Line:
    """An executor that says at each poll what stands next in `to_say`."""

    capacity = 1

    def __init__(self, to_say: list[list[Said]]) -> None:
        self.to_say, self.canceled, self.waited = to_say, [], []

    def submit(self, job: Job) -> None: ...

    def poll(self, timeout: float) -> list[Said]:
        self.waited.append(timeout)
        return self.to_say.pop(0) if self.to_say else []

    def pause(self) -> None: ...

    def cancel(self, lease: int) -> None:
        self.canceled.append(lease)

    def close(self) -> None: ...


@pytest.mark.parametrize("ends", [True, False])
def test_what_was_said_last_comes_before_the_end_of_a_job_that_overran(ends: bool) -> None:
    report, now = Said(7, 1, Reported(3, 1, 0.5)), 0.0
    last = [Said(7, 2, Completed(3))] if ends else []
    line = Line([[Said(7, 0, Begun(3))], [], [report], last])
    limited = Limited(line, Limits(job_seconds=5), lambda: now)
    limited.submit(Job(3, {}, 0, 1, lease=7))
    assert limited.poll(0.2) == [Said(7, 0, Begun(3))]
    now = 6.0  # this process has slept
    broke = Said(7, None, Broke(3, "the job took longer than job_seconds=5"))
    assert limited.poll(0.2) == [report, *(last or [broke])]
    assert line.canceled == ([] if ends else [7])
    assert line.waited[:4] == [0.2, 0.2, 0, 0]
    assert limited.poll(0.2) == [], "it is said once"


def test_epochs_are_counted_from_the_beginning_and_silence_from_the_last_word() -> None:
    now = [0.0]
    line = Line([[], [Said(7, 0, Begun(3))], [], [Said(7, 1, Reported(3, 1, 0.5, 1.0))], []])
    limited = Limited(line, Limits(epoch_seconds=2, silence_seconds=60), lambda: now[0])
    limited.submit(Job(3, {}, 0, 2, lease=7))
    for now[0], said in ((50.0, 0), (51.0, 1), (54.0, 0), (54.9, 1)):
        assert len(limited.poll(0.2)) == said
    now[0] = 55.1
    (overrun,) = limited.poll(0.2)
    assert "epoch_seconds=2 for each of its 2 epochs" in overrun.message.reason


def slow_once(trial: rw.Trial) -> None:
    first = not (mark := trial.folder / "mark").exists()
    mark.touch()
    for epoch in trial:
        if trial.number == 1 and first:
            time.sleep(600)
        trial.report(1 / epoch)


def test_an_epoch_that_takes_too_long_ends_its_job(tmp_path: Path) -> None:
    study = rw.tune(
        slow_once, {"x": rw.Float(0, 1)}, mode="min", trials=3, quiet=True, epoch_seconds=3, study=tmp_path / "s.db",
        scheduler=rw.ASHA(max_resource=1),
    )  # fmt: skip
    assert study.state.how["epoch_seconds"] == 3
    facts = [fact for _, fact in rw.Study.open(tmp_path / "s.db").facts()]
    assert [fact.reason for fact in facts if isinstance(fact, Retried)] == [
        "the job took longer than epoch_seconds=3 for its epoch (0 to 1)"
    ]
    assert [record.failure for record in study.trials] == [None] * 3


def test_a_limit_must_be_above_0() -> None:
    with pytest.raises(rw.InputError, match="epoch_seconds must be above 0, not 0"):
        rw.tune(slow_once, {"x": rw.Float(0, 1)}, mode="min", trials=3, epoch_seconds=0)
