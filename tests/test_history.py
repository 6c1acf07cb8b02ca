"""The reports that led to a state: in heads and in the file beside them; linear in bytes, and safe from a kill."""

from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from msgspec.structs import astuple

from in_folder import hold, newest, save, there
from rungwise import heads
from rungwise.checkpoints import Superseded
from rungwise.events import Job, Reported
from rungwise.heads import Identity
from rungwise.history import IN_HEAD
from rungwise.local_store import LocalStore
from rungwise.pieces import name_of, reports_of
from rungwise.trial import Trial


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests save thousands of times; a killed process loses nothing that it wrote, synced or not."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)


def a_trial(folder: Path, until: int = 10_000, start: int = 0, lease: int = 0) -> tuple[Trial, list[Reported]]:
    sent: list[Reported] = []
    return Trial(Job(3, {"x": 1}, start, until, lease=lease, study="s"), folder, sent.append), sent


def go_on(trial: Trial, to: int) -> None:
    for epoch in trial:
        trial.report(epoch / 7)
        trial.save(epoch)
        if epoch == to:
            return


def resources(sent: list[Reported]) -> list[int]:
    return [fact.resource for fact in sent]


def test_bytes_grow_with_the_reports_and_not_with_their_square(tmp_path: Path, monkeypatch) -> None:
    written = 0
    save_piece = LocalStore.save

    def counted(self: LocalStore, name: str, pieces: list[bytes]) -> None:
        nonlocal written
        written += sum(map(len, pieces))
        save_piece(self, name, pieces)

    monkeypatch.setattr(LocalStore, "save", counted)
    totals = []
    for number, reports in enumerate((1_000, 2_000)):
        folder = tmp_path / str(number)
        trial, _ = a_trial(folder)
        go_on(trial, reports)
        totals.append(written)
        written = 0
    assert totals[1] < 2.2 * totals[0], "the square would be four times as many"
    assert totals[1] / 2_000 < 60 * IN_HEAD
    assert sum(path.stat().st_size for path in folder.glob("reports.*")) < 2.1 * 2_000 * 30, (
        "what is kept is linear too"
    )
    assert len(list(folder.glob("reports.*"))) < 12


def test_all_reports_are_known_again_wherever_it_stopped(tmp_path: Path) -> None:
    for stop in (1, IN_HEAD, IN_HEAD + 1, 2 * IN_HEAD + 3):
        folder = tmp_path / str(stop)
        trial, sent = a_trial(folder)
        go_on(trial, stop)
        again, told = a_trial(folder)
        assert again.load() == stop
        assert told == sent
        go_on(again, 2 * stop)
        last, told = a_trial(folder)
        assert last.load() == 2 * stop
        assert resources(told) == list(range(1, 2 * stop + 1))


def test_reports_of_earlier_jobs_that_a_log_lost_are_there_still(tmp_path: Path) -> None:
    trial, _ = a_trial(tmp_path, until=900)
    go_on(trial, 900)
    first, told = a_trial(tmp_path, until=300)  # the log begins anew: the job from 0 to 300 is given out again
    assert first.load() == 900
    assert resources(told) == list(range(1, 301))
    assert list(first) == []
    then, told = a_trial(tmp_path, start=300, until=900)
    assert then.load() == 900
    assert resources(told) == list(range(301, 901))


def test_reports_of_a_save_that_broke_off_are_not_read_and_go(tmp_path: Path) -> None:
    trial, _ = a_trial(tmp_path)
    go_on(trial, 600)
    (tmp_path / reports_of((0, 601))).write_bytes(b"[601,0.1,0.0]\n")
    again, told = a_trial(tmp_path)
    assert again.load() == 600
    assert resources(told) == list(range(1, 601))
    go_on(again, 1200)
    last, told = a_trial(tmp_path)
    assert last.load() == 1200
    assert resources(told) == list(range(1, 1201))
    assert reports_of((0, 601)) not in there(tmp_path).reports


def test_the_checkpoint_before_has_its_own_part_of_the_file(tmp_path: Path) -> None:
    trial, _ = a_trial(tmp_path)
    go_on(trial, 2 * (IN_HEAD + 1))  # saved after the file grew; the one before it was saved before that
    newest(tmp_path).write_bytes(b"rot")
    again, told = a_trial(tmp_path)
    at = 2 * (IN_HEAD + 1) - 1
    assert again.load() == at
    assert [fact.resource for fact in told if isinstance(fact, Reported)] == list(range(1, at + 1))
    go_on(again, 1000)
    last, told = a_trial(tmp_path)
    assert last.load() == 1000
    assert resources(told) == list(range(1, 1001))


@pytest.mark.parametrize("damage", ["gone", "shorter", "a bit"])
def test_damaged_reports_cost_no_training(damage: str, tmp_path: Path) -> None:
    trial, _ = a_trial(tmp_path)
    go_on(trial, 600)
    file = tmp_path / there(tmp_path).reports[0]  # the largest, with the first reports
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-1] if damage == "shorter" else content[:50] + b"?" + content[51:])
    again, told = a_trial(tmp_path)
    assert again.load() == 600
    assert resources(told) == list(range(600 - len(told) + 1, 601)), "those behind it"
    go_on(again, 1200)
    last, told = a_trial(tmp_path)
    assert last.load() == 1200
    assert resources(told)[-600:] == list(range(601, 1201))


def test_training_from_the_start_begins_a_file_of_its_own(tmp_path: Path) -> None:
    trial, _ = a_trial(tmp_path)
    go_on(trial, 600)
    anew, _ = a_trial(tmp_path)
    go_on(anew, 300)  # which never loads
    again, told = a_trial(tmp_path)
    assert again.load() == 300
    assert resources(told) == list(range(1, 301))


def test_a_worker_that_was_given_up_puts_no_reports_away(tmp_path: Path) -> None:
    hold(tmp_path, 7, heads.identity("s", {"x": 1}))
    trial, _ = a_trial(tmp_path, lease=7)
    go_on(trial, 600)
    for resource in range(601, 602 + IN_HEAD):
        trial.report(0.5, resource)
    hold(tmp_path, 8, heads.identity("s", {"x": 1}))
    content = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(Superseded):
        trial.save("too late")
    assert sorted(path.name for path in tmp_path.iterdir()) == content


def test_a_checkpoint_with_all_reports_in_its_head_is_read(tmp_path: Path) -> None:
    """As it was written in the first days."""
    reports = [(resource, 0.5, 0.1) for resource in range(1, 1001)]
    save(tmp_path, heads.Head(1000, reports, study="s"), "state", 0)
    trial, told = a_trial(tmp_path)
    trial._kept.owner = Identity("s")
    assert trial.load() == "state"
    assert resources(told) == list(range(1, 1001))


@pytest.mark.parametrize("whole", [True, False])
def test_a_checkpoint_with_its_reports_in_the_file_of_older_versions_is_read_and_superseded(
    whole: bool, tmp_path: Path
) -> None:
    lines = b"".join(b"[%d,0.5,0.1]\n" % resource for resource in range(1, 201))
    (tmp_path / "checkpoint.reports").write_bytes(lines + b"[201," if whole else lines[:-1])
    owner, journal = heads.identity("s", {"x": 1}), (len(lines), zlib.crc32(lines))
    (tmp_path / "holder").write_text(f'{{"lease":7,"study":"s","configuration":"{owner.configuration}"}}')
    for name, at in (("checkpoint.before", 200), ("checkpoint", 201), ("checkpoint.best", 150)):
        reports = [(resource, 0.5, 0.1) for resource in range(201, at + 1)]
        head = heads.Head(at, reports, *journal, *astuple(owner), score=0.5)
        (tmp_path / name).write_bytes(b"".join(heads.written(head, pickle.dumps(at))))
    with pytest.raises(Superseded):
        hold(tmp_path, 6, owner)
    hold(tmp_path, 8, owner)
    trial, told = a_trial(tmp_path, lease=8)
    assert trial.load() == 201
    assert resources(told) == (list(range(1, 202)) if whole else [201])
    trial.save(202)
    trial.save(203)
    left = {path.name for path in tmp_path.iterdir()} - {reports_of((8, 1))}
    assert left == {name_of((8, number)) for number in ((1, 2) if not whole else (2, 3))} | {
        "job.0000000000000008", "checkpoint.best",
    }  # fmt: skip
    again, told = a_trial(tmp_path, lease=9)
    assert again.load() == 203
    assert resources(told) == (list(range(1, 202)) if whole else [201])


SAVER = """
import os, sys
from pathlib import Path
from rungwise.events import Job
from rungwise.trial import Trial
from rungwise import folders, heads

os.fsync = lambda fd: None
folder, lease, diary = Path(sys.argv[1]), int(sys.argv[2]), open(sys.argv[3], "ab", buffering=0)
folders.claim(folder, lease, heads.identity("s", {"x": 1}))
said = []
trial = Trial(Job(3, {"x": 1}, 0, 10**6, lease=lease, study="s"), folder, said.append)
at = trial.load() or 0
assert [fact.resource for fact in said] == list(range(1, at + 1)), (at, len(said))
diary.write(b"from %d\\n" % at)
for epoch in trial:
    trial.report(epoch / 7)
    trial.save(epoch)
    diary.write(b"%d\\n" % epoch)
"""


def reached(diary: Path) -> int:
    return int(diary.read_text().split()[-1]) if diary.exists() and diary.stat().st_size else 0


def test_kills_at_any_moment_lose_no_saved_report(tmp_path: Path) -> None:
    """SIGKILL while it saves at every step: each start finds all that was saved."""
    chance, diary = random.Random(0), tmp_path / "diary"
    known = 0
    for lease in range(1, 7):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVER, str(tmp_path / "000003"), str(lease), str(diary)], stderr=subprocess.PIPE
        )
        wanted = known + chance.randrange(20, 200)
        while process.poll() is None and reached(diary) < wanted:
            time.sleep(0.001 * chance.random())
        process.send_signal(signal.SIGKILL)
        _, error = process.communicate()
        assert process.returncode == -signal.SIGKILL, error.decode()
        known = reached(diary)
    began = [int(line.removeprefix("from ")) for line in diary.read_text().splitlines() if line.startswith("from ")]
    assert len(began) == 6
    assert began == sorted(began)
    assert known > IN_HEAD, "or the file beside the checkpoint has had no part in it"
