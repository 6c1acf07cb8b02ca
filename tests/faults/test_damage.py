"""A damaged log: a clear error with the file's name and the remedy, or a state that was once true."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import rungwise as rw
from rungwise.cli import commands
from rungwise.events import Fact
from rungwise.sqlite import SQLiteLog, salvage


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "study.db"
    study = rw.Study({"x": rw.Float(0, 1)}, rw.PASHA(max_resource=27), path=path)
    study.extend(trials=40)
    while (job := study.ask()) is not None:
        for epoch in range(job.start + 1, job.until + 1):
            study.report(job.trial, epoch, job.config["x"] + 1 / epoch)
    study.close()
    return path


def facts_of(path: Path) -> list[Fact]:
    study = rw.Study.open(path)
    facts = [fact for _, fact in study.facts()]
    study.close()
    return facts


def check(path: Path, wanted: list[Fact]) -> bool:
    """Whether the file was refused; if not, it must say what was once true."""
    facts, said = None, ""
    try:
        facts = facts_of(path)
    except rw.StudyError as error:
        said = str(error)
    if facts is not None:
        assert facts == wanted[: len(facts)]
        return False
    assert str(path) in said
    assert "\n" not in said
    return True


def test_a_flipped_bit_is_found_or_changes_nothing(whole: Path, tmp_path: Path) -> None:
    wanted, content = facts_of(whole), whole.read_bytes()
    chance, refused = random.Random(0), 0
    path = tmp_path / "study.db"
    for _ in range(600):
        damaged = bytearray(content)
        damaged[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        refused += check(path, wanted)
    assert refused > 300, "most of the file is facts"


def test_a_file_that_is_cut_off_is_refused_or_a_prefix(whole: Path, tmp_path: Path) -> None:
    wanted, content = facts_of(whole), whole.read_bytes()
    path = tmp_path / "study.db"
    cuts = [*range(0, len(content), 512), *random.Random(0).sample(range(len(content)), 50)]
    for cut in cuts:
        path.write_bytes(content[:cut])
        assert check(path, wanted), f"cut at {cut}"


def test_a_missing_fact_is_found(whole: Path, tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "study.db"
    shutil.copy(whole, path)
    database = sqlite3.connect(path)
    database.execute("DELETE FROM facts WHERE id = 30")
    database.commit()
    database.close()
    with pytest.raises(rw.StudyError, match=r"study\.db is damaged at fact 30: it is not what was written; .*salvage"):
        rw.Study.open(path)


def test_what_is_whole_can_be_saved_and_gone_on_with(whole: Path, tmp_path: Path) -> None:
    wanted, content = facts_of(whole), bytearray(whole.read_bytes())
    place = content.find(b'"fact":"reported"', len(content) // 2)
    content[place + 2] ^= 1
    path, saved = tmp_path / "study.db", tmp_path / "saved.db"
    path.write_bytes(content)
    done = CliRunner().invoke(commands, ["salvage", str(path), str(saved)])
    assert done.exit_code == 0
    facts = facts_of(saved)
    assert 1 < len(facts) < len(wanted)
    assert facts == wanted[: len(facts)]
    assert f"{len(facts)} facts saved to {saved}: {path} is damaged at fact {len(facts) + 1}" in done.output
    times = [time for time, _ in rw.Study.open(whole).facts()]
    assert [time for time, _ in rw.Study.open(saved).facts()] == times[: len(facts)]
    rw.Study.open(saved, writable=True).close()
    assert len(facts_of(saved)) == len(facts) + 1  # opened
    with pytest.raises(rw.StudyError, match="already exists"):
        salvage(path, saved)


@pytest.mark.parametrize("left", ["an empty file", "no file", "a table without facts"])
def test_checkpoints_without_facts_are_no_new_study(left: str, tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    if left == "an empty file":
        path.touch()
    elif left == "a table without facts":
        log = SQLiteLog(path, writable=True)
        log.close()
    (tmp_path / "study.db.trials" / "000000").mkdir(parents=True)
    with pytest.raises(rw.StudyError, match=r"study\.db holds no facts, but .*study\.db\.trials holds the checkpoints"):
        rw.Study({"x": rw.Float(0, 1)}, path=path)


def test_a_copy_without_its_wal_is_still_that_study(tmp_path: Path) -> None:
    begun = rw.Study({"x": rw.Float(0, 1)}, seed=7, path=tmp_path / "study.db")
    begun.extend(trials=3)
    begun.ask()
    (tmp_path / "copy.db").write_bytes((tmp_path / "study.db").read_bytes())  # as after a kill, and -wal forgotten
    begun.close()
    assert [type(fact).__name__ for fact in facts_of(tmp_path / "copy.db")] == ["Created"]


def test_a_link_is_the_study_that_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to("study.db")
    first = rw.Study({"x": rw.Float(0, 1)}, path=tmp_path / "study.db")
    with pytest.raises(rw.StudyError, match=r"link\.db is held by process"):
        rw.Study({"x": rw.Float(0, 1)}, path=tmp_path / "link.db")
    first.close()
    second = rw.Study({"x": rw.Float(0, 1)}, path=tmp_path / "link.db")
    assert second.folder == tmp_path / "study.db.trials"
    second.close()


def test_what_is_lost_at_the_end_of_the_write_ahead_log_is_a_moment_before(whole: Path, tmp_path: Path) -> None:
    """SQLite drops what stands behind damage in its write-ahead log; the study is then what it was before."""
    path, other = tmp_path / "study.db", tmp_path / "killed.db"
    study = rw.Study({"x": rw.Float(0, 1)}, rw.PASHA(max_resource=27), path=path)
    study.extend(trials=40)
    for _ in range(20):
        job = study.ask()
        assert job is not None
        for epoch in range(job.start + 1, job.until + 1):
            study.report(job.trial, epoch, job.config["x"] + 1 / epoch)
    wanted = [fact for _, fact in study.facts()]
    for suffix in ("", "-wal"):
        Path(f"{other}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
    wal = Path(f"{other}-wal")
    content = bytearray(wal.read_bytes())
    content[len(content) // 2] ^= 1
    wal.write_bytes(content)
    facts = facts_of(other)
    assert 1 <= len(facts) < len(wanted)
    assert facts == wanted[: len(facts)]
    study.close()


def test_what_stands_before_a_broken_page_is_saved(whole: Path, tmp_path: Path) -> None:
    wanted, content = facts_of(whole), whole.read_bytes()
    path = tmp_path / "study.db"
    path.write_bytes(content[: 5 * 4096] + bytes(4096) + content[6 * 4096 :])
    number, wrong = salvage(path, tmp_path / "new.db")
    assert 20 < number < len(wanted)
    assert f"is damaged after fact {number} (" in str(wrong)
    assert facts_of(tmp_path / "new.db") == wanted[:number]
