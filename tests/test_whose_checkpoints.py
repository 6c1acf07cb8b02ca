"""Whose is a checkpoint, and a trial's folder? Those of another configuration or study are set aside and said."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import rungwise as rw
from in_folder import begin, find, hold, newest, save, states
from rungwise import deletions, folders
from rungwise.checkpoints import Superseded
from rungwise.events import Job
from rungwise.executors import Noticed
from rungwise.folders import owner
from rungwise.heads import Head, Identity, identity
from rungwise.pieces import says_who_holds
from rungwise.storage import JOBS, leases
from rungwise.trial import Trial

MINE, HIS = identity("study", {"x": 1}), identity("study", {"x": 2})


def a_trial(folder: Path, config: dict, study: str = "study", lease: int = 0, until: int = 3) -> tuple[Trial, list]:
    sent: list = []
    return Trial(Job(3, config, 0, until, lease=lease, study=study), folder, sent.append), sent


def train(trial: Trial) -> None:
    for epoch in trial:
        trial.report(epoch)
        trial.save(dict(trial.config))


def test_a_configuration_is_its_parameters_and_values_in_any_order() -> None:
    assert identity("s", {"x": 1, "y": "a"}) == identity("s", {"y": "a", "x": 1})
    others = [{"x": 1.0, "y": "a"}, {"x": True, "y": "a"}, {"x": 1}, {"x": 1, "y": ["a"]}]
    assert len({identity("s", config) for config in [*others, {"x": 1, "y": "a"}]}) == 5
    assert identity("s", {"x": 1}) != identity("t", {"x": 1})


def test_a_checkpoint_of_another_configuration_is_set_aside_and_not_loaded(tmp_path: Path) -> None:
    train(a_trial(tmp_path, {"x": 1})[0])
    trial, sent = a_trial(tmp_path, {"x": 2})
    assert trial.load() is None
    assert sent == [Noticed(3, "set aside a checkpoint of another configuration or study")]
    assert list(trial) == [1, 2, 3]
    assert states(tmp_path) == []
    for mark in tmp_path.glob("*.foreign"):
        mark.unlink()  # what was set aside is whole still
    assert a_trial(tmp_path, {"x": 1})[0].load() == {"x": 1}


def test_a_checkpoint_of_another_study_is_not_loaded(tmp_path: Path) -> None:
    train(a_trial(tmp_path, {"x": 1}, study="one")[0])
    assert a_trial(tmp_path, {"x": 1}, study="two")[0].load() is None
    assert a_trial(tmp_path, {"x": 1}, study="")[0].load() is None, "nor by a study without an id"


def test_what_the_function_does_to_its_configuration_is_not_another_trial(tmp_path: Path) -> None:
    trial, _ = a_trial(tmp_path, {"x": 1})
    trial.config["x"] = 99
    train(trial)
    assert a_trial(tmp_path, {"x": 1})[0].load() == {"x": 99}


def test_a_folder_is_put_aside_with_all_that_is_in_it_and_its_log(tmp_path: Path, caplog) -> None:
    folder = tmp_path / "study.trials" / "000003"
    for number in range(3):
        whose, other = (identity("study", {"x": 2 * number + more}) for more in (0, 1))
        hold(folder, 10 * number, whose)
        (folder / "state").write_text("a program's own")
        (folder / "reports").write_text('{"resource": 1, "score": 0.5}\n')
        folder.with_suffix(".log").write_text(f"printed {number}")
        hold(folder, 10 * number + 1, whose)
        assert (folder / "state").exists(), "the same trial goes on with it"
        caplog.clear()
        hold(folder, 10 * number + 2, other)
        assert [path.name for path in folder.iterdir()] == [f"job.{10 * number + 2:016x}"]
        assert not folder.with_suffix(".log").exists()
        aside = folder.with_name(f"000003.of-another-{number + 1}")
        assert {path.name for path in aside.iterdir()} == {f"job.{10 * number + 1:016x}", "state", "reports"}
        assert aside.with_name(f"{aside.name}.log").read_text() == f"printed {number}"
        assert [record.getMessage() for record in caplog.records] == [
            f"trial 3: its folder held files of another configuration or study; they were moved to {aside}"
        ]
        assert folders.trial_of(aside.name) is None


def test_a_folder_in_which_nothing_is_needs_no_putting_aside(tmp_path: Path, caplog) -> None:
    folder = tmp_path / "000003"
    hold(folder, 1, HIS)
    folder.with_suffix(".log").touch()
    hold(folder, 2, MINE)
    assert owner(folder) == MINE
    assert not caplog.records
    assert len(list(tmp_path.iterdir())) == 2


def test_putting_aside_that_broke_off_is_completed_under_the_same_number(tmp_path: Path) -> None:
    folder = tmp_path / "000003"
    hold(folder, 1, HIS)
    (folder / "state").touch()
    (tmp_path / "000003.of-another-1.log").write_text("moved already")
    hold(folder, 2, MINE)
    names = {"000003", "000003.of-another-1", "000003.of-another-1.log"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_folders_from_before_there_were_ids_are_of_the_studies_that_have_none(tmp_path: Path) -> None:
    for study, kept in (("", True), ("an id", False)):
        folder = tmp_path / f"of {study}" / "000003"
        folder.mkdir(parents=True)
        (folder / "holder").write_text("17")
        save(folder, Head(2, [(1, 0.5, 1.0), (2, 0.4, 1.0)]), "state at 2", 17)
        hold(folder, 18, identity(study, {"x": 1}))
        trial, sent = a_trial(folder, {"x": 1}, study=study, lease=18)
        assert trial.load() == ("state at 2" if kept else None)
        assert [fact.resource for fact in sent] == ([1, 2] if kept else [])
        assert (tmp_path / f"of {study}" / "000003.of-another-1").exists() != kept


def test_a_power_cut_that_took_the_holder_leaves_the_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "000003"
    hold(folder, 1, MINE)
    train(a_trial(folder, {"x": 1}, lease=1)[0])
    next(filter(lambda path: says_who_holds(path.name), folder.iterdir())).write_bytes(b"")
    hold(folder, 2, MINE)
    assert a_trial(folder, {"x": 1}, lease=2)[0].load() == {"x": 1}


def test_a_function_that_empties_its_folder_keeps_its_checkpoints(tmp_path: Path) -> None:
    folder = tmp_path / "000003"
    hold(folder, 1, MINE)
    next(folder.iterdir()).unlink()
    train(a_trial(folder, {"x": 1}, lease=1)[0])
    assert owner(folder) == MINE


def test_the_log_of_a_folder_that_was_deleted_is_not_written_on_by_another(tmp_path: Path) -> None:
    for number, whose in ((3, MINE), (4, HIS)):
        (tmp_path / f"{number:06d}.log").write_text("printed")
        deletions.note(tmp_path, [deletions.Deleted(number, MINE.configuration, 30)])
        hold(tmp_path / f"{number:06d}", 1, whose)
    assert (tmp_path / "000003.log").exists()
    assert not (tmp_path / "000004.log").exists()
    assert (tmp_path / "000004.of-another-1.log").read_text() == "printed"


def test_the_answer_does_not_load_what_is_anothers(tmp_path: Path, caplog) -> None:
    space = {"x": rw.Float(0, 1)}
    for mode, answer in (("min", lambda study: study.best), ({"a": "min", "b": "min"}, lambda study: study.front[0])):
        study = rw.Study(space, rw.PASHA(max_resource=9), mode=mode, path=tmp_path / f"{len(mode)}.db")
        job = study.ask()
        study.report(0, 1, 0.5 if mode == "min" else {"a": 1, "b": 2})
        folder = answer(study).folder
        hold(folder, 1, identity(study.id, job.config))
        own = Trial(msgspec_job(job), folder, lambda said: None)
        own.report(0.5 if mode == "min" else {"a": 1, "b": 2}, 1)
        own.save("mine")
        assert answer(study).load() == "mine"
        newest(folder).unlink()
        save(folder, Head(1, [], study=study.id, configuration="another"), "his", 1)
        assert answer(study).load() is None
        assert "holds a checkpoint of another configuration or study; it was not loaded" in caplog.text
        caplog.clear()
        study.close()


def msgspec_job(job: Job) -> Job:
    return Job(job.trial, job.config, job.start, job.until, lease=1, study=job.study)


def test_identities_are_said_by_the_head(tmp_path: Path) -> None:
    hold(tmp_path, 0, MINE)
    train(a_trial(tmp_path, {"x": 1})[0])
    head = find(tmp_path).head
    assert head is not None
    assert Identity(head.study, head.configuration) == MINE


def test_leases_grow_from_driver_to_driver_whatever_the_log_has_lost(tmp_path: Path) -> None:
    drawn = []
    for sessions in (0, 0, 7, 3):
        of_one = leases(tmp_path / "trials", "", sessions)
        drawn += [next(of_one), next(of_one)]
    assert drawn == sorted(set(drawn))
    assert [lease // JOBS for lease in drawn[::2]] == [1, 2, 8, 9]
    assert msgspec.json.decode(msgspec.json.encode(Job(0, {}, 0, 1, lease=drawn[-1])), type=Job).lease == drawn[-1]


def test_an_older_lease_neither_holds_a_folder_nor_begins_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "000003"
    hold(folder, 8, MINE)
    hold(folder, 8, MINE)
    for refuses in (hold, begin):
        with pytest.raises(Superseded):
            refuses(folder, 7, MINE)
    begin(folder, 8, MINE)
    with pytest.raises(Superseded):
        begin(folder, 8, MINE)
    begin(folder, 9, MINE)
    assert sorted(path.name for path in folder.iterdir()) == ["job.0000000000000009", "job.0000000000000009.begun"]


def test_a_folder_of_another_study_is_put_aside_whatever_its_lease(tmp_path: Path) -> None:
    folder = tmp_path / "000003"
    hold(folder, 8, identity("another", {"x": 1}))
    (folder / "state").touch()
    hold(folder, 7, MINE)
    assert owner(folder) == MINE


@pytest.mark.parametrize("written", ["281474976710655", '{"lease":281474976710655,"study":"ab","configuration":"%s"}'])
def test_the_leases_of_drivers_that_did_not_count_their_sessions_are_older_than_all(
    written: str, tmp_path: Path
) -> None:
    folder, whose = tmp_path / "000003", identity("ab" if "ab" in written else "", {"x": 1})
    folder.mkdir()
    (folder / "holder").write_text(written.replace("%s", whose.configuration))
    (folder / "state").touch()
    begin(folder, next(leases(tmp_path)), whose)
    assert (folder / "state").exists()


@pytest.mark.parametrize("his", ["his saved", "his saved nothing"])
def test_what_was_put_aside_is_taken_back_when_the_configuration_is_drawn_again(his: str, tmp_path: Path) -> None:
    """The log lost its end twice: the trial was of one configuration, of another, and is of the first again."""
    folder = tmp_path / "000003"
    hold(folder, 1, MINE)
    train(a_trial(folder, {"x": 1}, lease=1)[0])
    hold(folder, 2, HIS)
    if his == "his saved":
        train(a_trial(folder, {"x": 2}, lease=2)[0])
    hold(folder, 3, MINE)
    assert a_trial(folder, {"x": 1}, lease=3, until=9)[0].load() == {"x": 1}
    hold(folder, 4, HIS)
    assert (a_trial(folder, {"x": 2}, lease=4, until=9)[0].load() == {"x": 2}) == (his == "his saved")
