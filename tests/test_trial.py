from __future__ import annotations

import itertools
from pathlib import Path

import pytest

import rungwise as rw
from in_folder import find, hold, newest, save, states
from rungwise.checkpoints import Superseded
from rungwise.events import Job, Reported
from rungwise.executors import Noticed
from rungwise.heads import Found, Head
from rungwise.pieces import name_of
from rungwise.trial import PauseRequested, Trial, wrong_end


def a_trial(folder: Path, start: int = 0, until: int = 9, pause: bool = False) -> tuple[Trial, list[Reported]]:
    sent: list[Reported] = []
    clock = itertools.count().__next__
    return Trial(Job(3, {"x": 1}, start, until), folder, sent.append, lambda: pause, clock), sent


def test_the_loop_goes_to_until_and_reports_where_it_is(tmp_path: Path) -> None:
    trial, sent = a_trial(tmp_path, until=3)
    for epoch in trial:
        trial.report(epoch / 10)
    assert [(fact.trial, fact.resource, fact.score) for fact in sent] == [(3, 1, 0.1), (3, 2, 0.2), (3, 3, 0.3)]
    assert wrong_end(trial) is None


def test_it_goes_on_from_the_state_that_it_loads(tmp_path: Path) -> None:
    trial, _ = a_trial(tmp_path, until=3)
    assert trial.load() is None
    for epoch in trial:
        trial.report(epoch)
        trial.save({"epoch": epoch})
    trial, sent = a_trial(tmp_path, start=3, until=9)
    assert trial.load() == {"epoch": 3}
    assert sent == [], "reports of the rung where it paused are known"
    assert list(trial) == [4, 5, 6, 7, 8, 9]


def test_after_a_crash_it_goes_on_from_the_newest_state_and_says_again_what_led_to_it(tmp_path: Path) -> None:
    trial, _ = a_trial(tmp_path, start=3, until=9)
    for epoch in trial:
        trial.report(epoch)
        if epoch == 5:
            trial.save("state at 5")
        if epoch == 7:
            break
    trial, sent = a_trial(tmp_path, start=3, until=9)
    assert trial.load() == "state at 5"
    assert [fact.resource for fact in sent] == [4, 5]
    assert list(trial) == [6, 7, 8, 9]


def test_a_checkpoint_that_is_not_loaded_means_from_the_start(tmp_path: Path) -> None:
    trial, _ = a_trial(tmp_path, until=3)
    for epoch in trial:
        trial.report(epoch)
    trial.save(1)
    trial, _ = a_trial(tmp_path, start=3, until=9)
    assert next(iter(trial)) == 1


def test_a_checkpoint_beyond_the_job_leaves_nothing_to_train(tmp_path: Path) -> None:
    """The winner was refitted to 27, the study extended, and it is promoted from 3 to 9."""
    trial, _ = a_trial(tmp_path, start=3, until=27)
    for epoch in trial:
        trial.report(epoch)
    trial.save("at 27")
    trial, sent = a_trial(tmp_path, start=3, until=9)
    assert trial.load() == "at 27"
    assert list(trial) == []
    assert [fact.resource for fact in sent] == [4, 5, 6, 7, 8, 9]
    assert wrong_end(trial) is None


def test_a_save_before_the_report_is_the_state_after_this_epoch(tmp_path: Path) -> None:
    trial, _ = a_trial(tmp_path, until=9)
    for epoch in trial:
        trial.save(epoch)
        if epoch == 4:
            break
        trial.report(epoch)
    trial, _ = a_trial(tmp_path, until=9)
    assert trial.load() == 4
    assert next(iter(trial)) == 5


def test_a_state_at_the_end_whose_report_is_lost_is_trained_again(tmp_path: Path) -> None:
    trial, _ = a_trial(tmp_path, until=1)
    for _ in trial:
        trial.save("trained, and not reported")
        break
    trial, sent = a_trial(tmp_path, until=1)
    assert trial.load() is None
    for epoch in trial:
        trial.report(epoch)
    assert [fact.resource for fact in sent] == [1]
    assert wrong_end(trial) is None


def test_a_function_that_reports_nothing_by_the_rung_is_told_what_to_do(tmp_path: Path) -> None:
    trial, _ = a_trial(tmp_path, until=3)
    assert list(trial) == [1, 2, 3]
    assert wrong_end(trial) == (
        "the function reported nothing between 0 and 3; report at least once by then, "
        "or set min_resource to how often it reports"
    )


def test_pausing_happens_at_a_save_and_not_at_the_end(tmp_path: Path) -> None:
    trial, _ = a_trial(tmp_path, until=2, pause=True)
    loop = iter(trial)
    next(loop)
    trial.report(0.5)
    with pytest.raises(PauseRequested):
        trial.save("half way")
    assert state_in(tmp_path) == "half way"
    next(loop)
    trial.report(0.5)
    trial.save("done")


@pytest.mark.parametrize(
    ("reports", "start", "until", "fine"),
    [
        ([4, 8], 3, 9, True),  # every 4: the next would be beyond
        ([8], 3, 9, True),
        ([5], 3, 9, False),  # every 2: 7 and 9 are missing
        ([4, 5, 6], 3, 9, False),
        ([9], 3, 9, True),
        ([], 3, 9, False),
    ],
)
def test_a_function_with_its_own_loop_must_come_to_the_end(tmp_path, reports, start, until, fine) -> None:
    trial, _ = a_trial(tmp_path, start=start, until=until)
    for resource in reports:
        trial.report(0.5, resource=resource)
    assert (wrong_end(trial) is None) == fine


def test_leaving_the_loop_early_is_a_failure(tmp_path: Path) -> None:
    trial, _ = a_trial(tmp_path, until=9)
    for epoch in trial:
        trial.report(epoch)
        if epoch == 4:
            break
    assert "returned at resource 4, before trial.until = 9" in wrong_end(trial)


def test_a_loop_that_reports_every_other_epoch_is_fine(tmp_path: Path) -> None:
    trial, sent = a_trial(tmp_path, until=9)
    for epoch in trial:
        if epoch % 5 == 0:
            trial.report(epoch)
    assert wrong_end(trial) is None
    assert [fact.resource for fact in sent] == [5]


def test_reports_that_cannot_be(tmp_path: Path) -> None:
    trial, sent = a_trial(tmp_path, until=3)
    for resource, message in (
        (4, "goes to trial.until = 3"),
        (0, "each report must go further"),
        (1.5, "whole number"),
        (True, "whole number"),
    ):
        with pytest.raises(rw.InputError, match=message):
            trial.report(0.5, resource=resource)
    for score in (None, "0.5", [0.5]):
        with pytest.raises(rw.InputError, match="a score must be one number"):
            trial.report(score)
    trial.report(float("nan"))
    assert [fact.score for fact in sent] == [None]
    with pytest.raises(rw.InputError, match="at resource 1 after 1; each report must go further"):
        trial.report(0.5, resource=1)


def test_seconds_are_those_since_the_last_report(tmp_path: Path) -> None:
    trial, sent = a_trial(tmp_path, until=3)  # the clock ticks at each look
    for _ in trial:
        trial.report(0.5)
    assert [fact.seconds for fact in sent] == [1, 1, 1]


def state_in(folder: Path) -> object:
    return find(folder).state


def test_a_checkpoint_that_is_not_whole_gives_way_to_the_one_before(tmp_path: Path) -> None:
    for resource, state in ((2, "old"), (3, {"weights": [1.0] * 100})):
        save(tmp_path, Head(resource, []), state, 0)
    found = find(tmp_path)
    assert (found.head, found.damaged) == (Head(3, []), ())
    assert found.state == {"weights": [1.0] * 100}
    before, file = states(tmp_path)
    data = file.read_bytes()
    for damaged in (data[:-1], data[:10], b"", data[:50] + b"?" + data[51:]):
        file.write_bytes(damaged)
        found = find(tmp_path)
        assert (found.head, found.damaged, found.state) == (Head(2, []), (file.name,), "old")
    before.write_bytes(b"gone as well")
    assert find(tmp_path) == Found(None, b"", (file.name, before.name))


@pytest.mark.parametrize(("both", "where"), [(False, "from the one before, at 1"), (True, "from the start")])
def test_a_trial_says_that_its_checkpoint_is_damaged(both: bool, where: str, tmp_path: Path) -> None:
    for resource in (1, 2):
        save(tmp_path, Head(resource, []), f"state {resource}", 0)
    for file in states(tmp_path)[0 if both else 1 :]:
        file.write_bytes(b"rot")
    trial, sent = a_trial(tmp_path, until=3)
    assert trial.load() == (None if both else "state 1")
    assert sent == [Noticed(3, f"its newest checkpoint is damaged; training resumes {where}")]
    assert next(iter(trial)) == (1 if both else 2)
    again, sent = a_trial(tmp_path, until=3)  # another try, before anything was saved
    assert again.load() == (None if both else "state 1")
    assert sent == [], "it has been said"
    assert len(list(tmp_path.glob("*.damaged"))) == 1, "the newest is kept for whoever asks, no other"


def test_a_damaged_checkpoint_never_takes_the_place_of_a_whole_one(tmp_path: Path) -> None:
    for resource in (1, 2):
        save(tmp_path, Head(resource, []), f"state {resource}", 0)
    newest(tmp_path).write_bytes(b"rot")
    trial, _ = a_trial(tmp_path, until=9)
    assert trial.load() == "state 1"
    next(iter(trial))
    trial.save("state 2 again")
    newest(tmp_path).write_bytes(b"rot once more")
    assert state_in(tmp_path) == "state 1"


def test_a_checkpoint_that_cannot_be_read_is_damaged(tmp_path: Path) -> None:
    for resource in (1, 2):
        save(tmp_path, Head(resource, []), f"state {resource}", 0)
    file = newest(tmp_path)
    file.unlink()
    file.mkdir()
    found = find(tmp_path)
    assert (found.damaged, found.state) == ((file.name,), "state 1")


def test_a_file_system_without_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr("os.link", refuse)
    for resource in (1, 2, 3):
        save(tmp_path, Head(resource, []), f"state {resource}", 0)
    newest(tmp_path).write_bytes(b"rot")
    assert state_in(tmp_path) == "state 2"


def test_who_reads_a_checkpoint_that_is_superseded_reads_it_to_its_end(tmp_path: Path) -> None:
    save(tmp_path, Head(1, []), "first", 0)
    before = newest(tmp_path).read_bytes()
    with newest(tmp_path).open("rb") as reader:
        save(tmp_path, Head(2, []), "second", 0)
        save(tmp_path, Head(3, []), "third", 0)
        assert reader.read() == before
    assert set(tmp_path.iterdir()) == set(states(tmp_path))
    assert len(states(tmp_path)) == 2


def test_a_save_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    save(tmp_path, Head(1, []), "good", 0)
    with pytest.raises(TypeError):
        save(tmp_path, Head(2, []), (x for x in range(3)), 0)
    assert state_in(tmp_path) == "good"


def test_a_worker_that_was_given_up_cannot_write_any_more(tmp_path: Path) -> None:
    hold(tmp_path, 7)
    save(tmp_path, Head(1, []), "of the old one", 7)
    half = tmp_path / f"{name_of((7, 2))}.part"
    half.write_bytes(b"half")  # as if it had been stopped in the middle of a save
    hold(tmp_path, 8)
    assert not half.exists()
    with pytest.raises(Superseded):
        save(tmp_path, Head(2, []), "too late", 7)
    assert state_in(tmp_path) == "of the old one"
    save(tmp_path, Head(2, []), "of the new one", 8)
    assert state_in(tmp_path) == "of the new one"
    assert {file.name for file in tmp_path.iterdir()} == {name_of((7, 1)), name_of((8, 1)), "job.0000000000000008"}
