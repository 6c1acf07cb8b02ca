"""Which files are still needed: by bytes, by jobs, what is noted of them, and what becomes of the logs."""

from __future__ import annotations

from pathlib import Path

import pytest

import objectives
import rungwise as rw
from in_folder import find, hold, newest, save, states
from rungwise import deletions, disk
from rungwise.checkpoints import LARGE
from rungwise.disk import Disk
from rungwise.events import Reported
from rungwise.folders import inside, trial_folder
from rungwise.heads import Head, identity
from rungwise.local_store import LocalStore
from rungwise.storage import JOBS, Storage, leases

SPACE = {"x": rw.Float(0, 1)}


def train(study: rw.Study, watched: Disk, size: int, until: int, printed: bytes = b"") -> None:
    """Do as the loop and its workers do, one job after the other, with states of `size` bytes."""
    while len(study.trials) < until and (job := study.ask()) is not None:
        folder = trial_folder(study.folder, job.trial)
        owner = identity(study.id, job.config)
        hold(folder, job.trial, owner)
        with folder.with_suffix(".log").open("ab") as log:
            log.write(printed)
        if size:
            save(
                folder,
                Head(job.until, [], study=owner.study, configuration=owner.configuration),
                b"0" * size,
                job.trial,
            )
        study.report(job.trial, job.until, (job.config["x"] - 0.3) ** 2 + 1 / job.until)
        watched.ended(job.trial)
        if watched.due:
            watched.clean()


def begun(tmp_path: Path, trials: int = 60, *, keep: bool = False) -> tuple[rw.Study, Disk]:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), path=tmp_path / "s.db")
    study.extend(trials=trials)
    study.folder.mkdir()
    return study, Disk(study, Storage(study.folder), keep=keep)


def folders(study: rw.Study) -> set[int]:
    return {int(path.name) for path in study.folder.iterdir() if path.is_dir()}


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda fd: None)


def test_what_is_large_goes_as_soon_as_nobody_needs_it(tmp_path: Path) -> None:
    study, watched = begun(tmp_path)
    train(study, watched, LARGE + 1, until=30)
    needed = study.scheduler.may_promote(60) | set(study.state.winners)
    assert folders(study) <= needed
    assert set(range(30)) - folders(study), "or nothing was deleted"
    study.close()


def test_what_is_small_goes_many_at_once(tmp_path: Path, monkeypatch) -> None:
    cleaned: list[int] = []
    clean = Disk.clean
    monkeypatch.setattr(Disk, "clean", lambda self: (cleaned.append(len(self._study.trials)), clean(self)))
    study, watched = begun(tmp_path)
    train(study, watched, 100, until=60)
    assert 1 <= len(cleaned) < 4
    study.close()


def test_nothing_is_deleted_that_may_be_needed(tmp_path: Path) -> None:
    """Every promotion finds its checkpoint, large or small."""
    for size in (100, LARGE + 1):
        study, watched = begun(tmp_path / str(size))
        while (job := study.ask()) is not None:
            folder, owner = trial_folder(study.folder, job.trial), identity(study.id, job.config)
            hold(folder, job.trial, owner)
            folder.with_suffix(".log").touch()
            found = find(folder, owner)
            assert (found.head.resource if found.head else 0) == job.start
            save(
                folder,
                Head(job.until, [], study=owner.study, configuration=owner.configuration),
                b"0" * size,
                job.trial,
            )
            study.report(job.trial, job.until, (job.config["x"] - 0.3) ** 2 + 1 / job.until)
            watched.ended(job.trial)
            watched.clean()
        assert study.finished
        assert study.best.load() == b"0" * size
        study.close()


@pytest.mark.parametrize(
    "scheduler",
    [rw.FullTraining, rw.StoppingASHA, rw.MedianStoppingRule, rw.ASHA],
    ids=lambda scheduler: scheduler.__name__,
)
def test_without_a_total_of_trials_goes_what_no_number_of_trials_can_promote(scheduler, tmp_path: Path) -> None:
    study = rw.Study(SPACE, scheduler(max_resource=9), path=tmp_path / "s.db")
    study.extend(resource=10_000)
    study.folder.mkdir()
    watched = Disk(study, Storage(study.folder), keep=False)
    train(study, watched, 100, until=60)
    watched.clean()
    needed = {job.trial for job in study.running} | set(study.state.winners) | study.scheduler.may_promote(10**12)
    assert folders(study) == needed
    gone = set(range(60)) - needed
    assert gone
    assert {watched.why_gone(trial) for trial in gone} == {"as out of reach however many trials come"}
    study.close()


def test_folders_beyond_the_log_are_let_be(tmp_path: Path) -> None:
    """What the log lost will be given out again, and go on from there."""
    study, watched = begun(tmp_path)
    train(study, watched, 100, until=20)
    hold(trial_folder(study.folder, 25), 1, identity(study.id, {"x": 0.5}))
    (trial_folder(study.folder, 25) / "state").touch()
    again = Disk(study, Storage(study.folder), keep=False)
    again.clean()
    assert 25 in folders(study)
    study.close()


def test_what_is_anothers_is_put_aside_where_ours_would_be_deleted(tmp_path: Path) -> None:
    study, watched = begun(tmp_path)
    train(study, watched, 100, until=20)
    gone = min(set(range(20)) - study.scheduler.may_promote(60) - set(study.state.winners))
    watched.clean()
    assert gone not in folders(study)
    hold(trial_folder(study.folder, gone), 1, identity(study.id, {"x": "another"}))
    (trial_folder(study.folder, gone) / "state").touch()
    Disk(study, Storage(study.folder), keep=False).clean()
    assert (study.folder / f"{gone:06d}.of-another-1" / "state").exists()
    study.close()


def test_empty_folders_and_empty_logs_go(tmp_path: Path) -> None:
    study, watched = begun(tmp_path, keep=True)
    train(study, watched, 0, until=60)
    watched.clean()
    left = {path.name for path in study.folder.iterdir()}
    assert left == {f"{study.best.number:06d}", f"{study.best.number:06d}.log"}
    study.close()


def test_with_keep_nothing_with_a_checkpoint_is_deleted(tmp_path: Path) -> None:
    study, watched = begun(tmp_path, keep=True)
    train(study, watched, 100, until=60)
    watched.clean()
    assert folders(study) == set(range(60))
    study.close()


def test_logs_of_trials_that_are_over_are_folded_into_one_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(disk, "LOGS", 5)
    study, watched = begun(tmp_path)
    train(study, watched, 100, until=60, printed=b"said this\n")
    job = study.ask()
    assert job is None or study.trials[job.trial].job is not None
    watched.clean()
    needed = study.scheduler.may_promote(60) | set(study.state.winners) | {job.trial for job in study.running}
    logs = {int(path.stem) for path in study.folder.glob("0*.log")}
    assert needed & set(range(60)) <= logs | {job.trial for job in study.running}
    assert len(logs - needed) <= 5
    told = (study.folder / disk.FINISHED).read_text()
    for trial in set(range(60)) - logs - {job.trial for job in study.running}:
        assert told.count(f"==> trial {trial} <==\nsaid this\n") == 1
    study.close()


def test_logs_of_failed_trials_stay(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(disk, "LOGS", 0)
    study, watched = begun(tmp_path)
    while len(study.trials) < 20 and (job := study.ask()) is not None:
        folder = trial_folder(study.folder, job.trial)
        hold(folder, 0, identity(study.id, job.config))
        folder.with_suffix(".log").write_text("Traceback")
        study.fail(job.trial, "it broke")
        watched.ended(job.trial)
    watched.clean()
    assert len(list(study.folder.glob("0*.log"))) == 20
    assert not (study.folder / disk.FINISHED).exists()
    study.close()


def test_checkpoints_of_failed_trials_stay_unless_they_are_large(tmp_path: Path) -> None:
    """A failure can be taken back: then training goes on from there."""
    study, watched = begun(tmp_path)
    for size in (100, LARGE):
        job = study.ask()
        folder, owner = trial_folder(study.folder, job.trial), identity(study.id, job.config)
        hold(folder, 0, owner)
        folder.with_suffix(".log").write_text("Traceback")
        save(folder, Head(1, [], study=owner.study, configuration=owner.configuration), b"0" * size, 0)
        study.fail(job.trial, "it broke")
        watched.ended(job.trial)
    watched.clean()
    assert folders(study) == {0}
    assert watched.why_gone(1) == "after it had failed"
    study.close()


@pytest.mark.parametrize("died", ["before the log was deleted", "in the middle of the file"])
def test_a_kill_while_logs_are_folded_loses_none(died: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(disk, "LOGS", 0)
    study, watched = begun(tmp_path)
    train(study, watched, 100, until=30, printed=b"said this\n")
    finished = study.folder / disk.FINISHED
    over = set(range(30)) - study.scheduler.may_promote(60) - set(study.state.winners)
    assert over
    if died == "before the log was deleted":
        monkeypatch.setattr(Disk, "_remove_log", lambda self, trial: None)
        watched.clean()
        monkeypatch.undo()
        monkeypatch.setattr(disk, "LOGS", 0)
    else:
        finished.write_bytes(b"==> trial 0 <==\nsaid")
    Disk(study, Storage(study.folder), keep=False).clean()
    lines = finished.read_text().splitlines()
    for trial in over:
        at = max(number for number, line in enumerate(lines) if line == f"==> trial {trial} <==")
        assert lines[at + 1] == "said this"
    study.close()


def test_what_was_deleted_is_noted_and_why(tmp_path: Path) -> None:
    study, watched = begun(tmp_path)
    train(study, watched, 100, until=60)
    watched.clean()
    gone = set(range(60)) - folders(study)
    assert gone
    again = Disk(study, Storage(study.folder), keep=False)  # the notes outlive the driver
    for one in (watched, again):
        assert {trial for trial in range(60) if one.why_gone(trial) is not None} == gone
        assert {one.why_gone(trial) for trial in gone} == {"as out of reach with trials=60"}
    with (study.folder / deletions.FILE).open("ab") as file:
        file.write(b'{"trial": 1, "conf')  # a driver died in the middle
    deletions.note(study.folder, [deletions.Deleted(7, "of another", 60)])
    assert deletions.notes(study.folder)[7].configuration == "of another"
    assert Disk(study, Storage(study.folder), keep=False).why_gone(7) is None, (
        "drawn anew, it has had no checkpoint yet"
    )
    study.close()


def test_a_link_in_the_place_of_our_files_is_not_followed(tmp_path: Path, caplog) -> None:
    study, watched = begun(tmp_path)
    (tmp_path / "mine").write_text("precious\n")
    (study.folder / deletions.FILE).symlink_to(tmp_path / "mine")
    train(study, watched, LARGE, until=30)
    watched.clean()
    assert (tmp_path / "mine").read_text() == "precious\n"
    assert folders(study) == set(range(30)), "what cannot be noted is not deleted"
    assert caplog.text.count("checkpoints no longer needed cannot be deleted") == 1
    study.close()


def test_a_trial_whose_checkpoint_we_deleted_is_told_so(tmp_path: Path, capsys) -> None:
    """30 trials, then 300: who was out of reach comes within reach, and its checkpoint is gone."""
    options = {"mode": "min", "scheduler": rw.ASHA(max_resource=9), "study": tmp_path / "s.db"}
    rw.tune(objectives.train, SPACE, trials=30, **options)
    assert "from the start" not in capsys.readouterr().err
    rw.tune(objectives.train, SPACE, trials=90, **options)
    said = capsys.readouterr().err
    assert "trains from the start again: its checkpoints were deleted as out of reach with trials=30" in said
    assert "keep_checkpoints=True keeps them all" in said
    assert "call trial.save" not in said


def test_a_trial_that_never_had_a_checkpoint_is_not_told_of_one_that_was_deleted_later(tmp_path: Path, capsys) -> None:
    rw.tune(
        objectives.saves_much_at_the_last_rung, SPACE, mode="min", scheduler=rw.ASHA(max_resource=9), trials=40,
        study=tmp_path / "s.db",
    )  # fmt: skip
    said = capsys.readouterr().err
    assert "trains from the start again" in said
    assert "checkpoints were deleted" not in said
    assert deletions.notes(tmp_path / "s.db.trials"), "or there was nothing to be said wrongly"


def test_a_large_checkpoint_needs_no_second_copy_once_it_was_read_back(tmp_path: Path) -> None:
    for size, second in ((LARGE, False), (LARGE // 2, True)):
        folder = tmp_path / str(size)
        for resource in (1, 2, 3):
            save(folder, Head(resource, []), b"0" * size, 0)
            assert set(folder.iterdir()) - set(states(folder)) == set()
            assert len(states(folder)) == min(resource, 2)
        inside(folder).settle()
        assert len(states(folder)) == 1 + second
        assert find(folder).head == Head(3, [])


def test_a_large_checkpoint_that_is_damaged_keeps_its_second_copy(tmp_path: Path) -> None:
    for resource in (1, 2):
        save(tmp_path, Head(resource, []), b"0" * LARGE, 0)
    content = bytearray(newest(tmp_path).read_bytes())
    content[LARGE // 2] ^= 1
    newest(tmp_path).write_bytes(content)
    inside(tmp_path).settle()
    assert find(tmp_path).head == Head(1, [])


def test_there_are_never_three_copies_of_a_large_state(tmp_path: Path, monkeypatch) -> None:
    copies = []

    def counted(fd: int) -> None:
        copies.append(len(list(tmp_path.glob("checkpoint*"))))

    monkeypatch.setattr("os.fsync", counted)
    for resource in range(1, 5):
        save(tmp_path, Head(resource, []), b"0" * LARGE, 0)
    assert max(copies) == 2


def test_a_driver_that_another_has_followed_deletes_no_checkpoint(tmp_path: Path) -> None:
    """It may not know yet that it was followed, as one that was suspended; what the later one needs, it cannot know."""
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), path=tmp_path / "s.db")
    study.extend(trials=2)
    study.folder.mkdir()
    storage = Storage(study.folder, LocalStore(tmp_path / "apart"))
    watched = Disk(study, storage, keep=False)
    ours = leases(storage, study.id)
    while (job := study.ask()) is not None:
        lease = next(ours)
        watched.session = lease // JOBS
        kept = storage.checkpoints(job.trial, identity(study.id, job.config), lease)
        kept.begin()
        kept.save(Head(job.until, [], study=study.id, configuration=kept.owner.configuration), 0)
        study.report(job.trial, job.until, job.config["x"])
        watched.ended(job.trial)
    before = set(storage.kept_apart(study.id))
    later = leases(Storage(tmp_path / "elsewhere", storage.apart), study.id)
    assert next(later) // JOBS == watched.session + 1
    watched.clean()
    assert set(storage.kept_apart(study.id)) == before
    watched.session += 1  # as the later one may
    watched.clean()
    assert set(storage.kept_apart(study.id)) < before


@pytest.mark.parametrize("followed", [False, True])
def test_a_run_that_is_followed_by_another_leaves_the_checkpoints(tmp_path: Path, followed: bool) -> None:
    store = LocalStore(tmp_path / "apart")

    def follow(state: object, fact: object) -> None:
        if followed and isinstance(fact, Reported) and not (tmp_path / "elsewhere").exists():
            (study,) = (tmp_path / "apart").iterdir()
            next(leases(Storage(tmp_path / "elsewhere", store), study.name))

    study = rw.tune(
        saves, SPACE, mode="min", scheduler=rw.ASHA(max_resource=9), trials=9, path=tmp_path / "s.db",
        checkpoints=store, observers=[follow], quiet=True,
    )  # fmt: skip
    kept = Storage(study.folder, store).kept_apart(study.id)
    assert (len(kept) == 9) == followed


def saves(trial: rw.Trial) -> None:
    for epoch in trial:
        trial.report((trial.config["x"] - 0.3) ** 2 + 1 / epoch)
        trial.save(epoch)
