"""The study's file is deleted, replaced or overwritten while it is driven: it is said, and all facts are kept elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import rungwise as rw
from rungwise import integrity
from rungwise.events import Extended, Fact
from rungwise.sqlite import SQLiteLog

SPACE = {"x": rw.Float(0, 1)}


def trial(study: rw.Study, score: float = 0.5) -> None:
    job = study.ask()
    assert job is not None
    study.report(job.trial, job.until, score)


def deleted(path: Path) -> None:
    path.unlink()


def deleted_with_all_that_belongs_to_it(path: Path) -> None:
    for file in path.parent.glob("study.db*"):
        if file.is_file():
            file.unlink()


def moved(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


def replaced(path: Path) -> None:
    other = rw.Study(SPACE, seed=9, path=path.with_name("other.db"))
    other.close()
    path.with_name("other.db").replace(path)


def folder_deleted(path: Path) -> None:
    shutil.rmtree(path.parent)


def folder_moved(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))


def cut_off(path: Path) -> None:
    os.truncate(path, 0)


def overwritten_with_text(path: Path) -> None:
    path.write_text("notes")


def overwritten_with_another_study(path: Path) -> None:
    other = path.with_name("other.db")
    study = rw.Study(SPACE, rw.ASHA(max_resource=1), seed=9, path=other)
    for _ in range(5):
        trial(study)
    study.close()
    assert other.stat().st_size >= path.stat().st_size
    path.write_bytes(other.read_bytes())


def wal_cut_off(path: Path) -> None:
    os.truncate(f"{path}-wal", 0)


def without_wal(path: Path) -> None:
    Path(f"{path}-wal").unlink()
    Path(f"{path}-shm").unlink()


def without_shm_and_overwritten(path: Path) -> None:
    Path(f"{path}-shm").unlink()
    overwritten_with_another_study(path)


def another_wal(path: Path) -> None:
    Path(f"{path}-wal").rename(path.with_name("away-wal"))
    Path(f"{path}-wal").touch()


IN_PLACE = {
    "cut off": (cut_off, "was overwritten"),
    "overwritten with text": (overwritten_with_text, "was overwritten"),
    "overwritten with another study": (overwritten_with_another_study, "was overwritten"),
    "overwritten, its -shm deleted": (without_shm_and_overwritten, "was overwritten"),
    "-wal cut off": (wal_cut_off, "was overwritten"),
    "-wal deleted": (without_wal, "lost the -wal beside it"),
    "-wal replaced": (another_wal, "lost the -wal beside it"),
}
WAYS = IN_PLACE | {
    "deleted": (deleted, "was deleted or moved"),
    "deleted with all that belongs to it": (deleted_with_all_that_belongs_to_it, "was deleted or moved"),
    "moved": (moved, "was deleted or moved"),
    "replaced": (replaced, "was replaced by another file"),
    "folder deleted": (folder_deleted, "was deleted or moved"),
    "folder moved": (folder_moved, "was deleted or moved"),
}


def facts_of(path: Path) -> list[Fact]:
    return [fact for _, fact in rw.Study.open(path).facts()]


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(integrity, "OFTEN", 0)  # else a trial here may be over before -wal is looked at again


@pytest.mark.parametrize("when", ["while it runs", "before it is closed"])
@pytest.mark.parametrize("way", WAYS)
def test_all_facts_are_kept_and_it_is_said_where(way: str, when: str, tmp_path: Path) -> None:
    strike, what = WAYS[way]
    path = tmp_path / "here" / "study.db"
    study = rw.Study(SPACE, rw.ASHA(max_resource=1), path=path)
    for _ in range(5):
        trial(study)
    study.sync()
    known = [fact for _, fact in study.facts()]
    strike(path)
    after = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file() and file.suffix != ".db-shm"}
    with pytest.raises(rw.StudyError) as error:
        study.close() if when == "before it is closed" else trial(study)
    said = str(error.value)
    assert "\n" not in said
    found = re.fullmatch(
        rf"{re.escape(str(path))} {what} while it was driven: all (\d+) of its facts are now in (\S+); "
        r"continue with: rungwise resume \2",
        said,
    )
    assert found
    kept = Path(found[2])
    assert kept.parent == (tmp_path / "tmp" if "folder" in way else path.parent)
    facts = facts_of(kept)
    assert facts[: len(known)] == known
    assert len(facts) == int(found[1]) == len(known) + (when == "while it runs")
    if when == "while it runs":
        with pytest.raises(rw.StudyError, match=re.escape(what)):
            study.ask()
        study.close()
    for file, content in after.items():
        assert file.suffix == ".holder" or file.read_bytes() == content, f"{file} is as it was"
    again = rw.Study(SPACE, rw.ASHA(max_resource=1), path=kept)
    trial(again)
    again.close()


def test_nothing_is_overwritten_and_the_checkpoints_are_thought_of(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    (tmp_path / "study.db.rescued").write_text("mine")
    (tmp_path / "study.db.rescued-1-wal").write_text("mine too")
    study = rw.Study(SPACE, path=path)
    (tmp_path / "study.db.trials" / "000000").mkdir(parents=True)
    path.unlink()
    with pytest.raises(rw.StudyError) as error:
        study.ask()
    kept = f"{path}.rescued-2"
    assert str(error.value).endswith(
        f"are now in {kept}; continue with: mv {path}.trials {kept}.trials && rungwise resume {kept}"
    )
    assert (tmp_path / "study.db.rescued").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_not_the_end(tmp_path: Path) -> None:
    path = tmp_path / "here" / "study.db"
    study = rw.Study(SPACE, path=path)
    path.unlink()
    path.parent.rename(tmp_path / "there")
    path.parent.write_text("a file")  # which even root cannot put a file into
    with pytest.raises(rw.StudyError, match=rf"are now in {re.escape(str(tmp_path / 'tmp'))}/study\.db\.rescued"):
        study.ask()


TUNED = """
import os
import rungwise as rw
def train(trial):
    if trial.number == 3:
        os.rename(os.environ["STUDY"], os.environ["STUDY"] + ".away")
    trial.report(trial.config["x"])
rw.tune(train, {"x": rw.Float(0, 1)}, scheduler=rw.ASHA(max_resource=1), mode="min", trials=9, study=os.environ["STUDY"])
"""


def test_tune_ends_with_one_error_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    script = tmp_path / "tuned.py"
    script.write_text(TUNED)
    done = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | {"STUDY": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "study.db was deleted or moved while it was driven" in last
    assert f"mv {path}.trials {path}.rescued.trials && rungwise resume {path}.rescued" in last
    assert len(rw.Study.open(f"{path}.rescued").trials) >= 4


def test_a_study_that_is_driven_from_another_folder_is_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = rw.Study(SPACE, path="study.db")
    os.chdir("/")
    trial(study)
    study.close()
    assert len(rw.Study.open(tmp_path / "study.db").trials) == 1


def tuned(path: Path, strike: str, trials: int = 60) -> subprocess.CompletedProcess[str]:
    """`tune` in a process of its own; its trial 30 does `strike` to the file."""
    code = (
        "import os\nimport rungwise as rw\npath = os.environ['STUDY']\n"
        f"def train(trial):\n    if trial.number == 30:\n        {strike}\n    trial.report(trial.config['x'])\n"
        "rw.tune(train, {'x': rw.Float(0, 1)}, scheduler=rw.ASHA(max_resource=1), mode='min', study=path, "
        f"trials={trials}, quiet=True)\n"
    )
    path.with_name("tuned.py").write_text(code)
    return subprocess.run(
        [sys.executable, str(path.with_name("tuned.py"))],
        env=os.environ | {"STUDY": str(path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


STRIKES = {
    "cut off": "open(path, 'w').close()",
    "overwritten": "open(path, 'r+').write('notes')",
    "without -wal": "[os.unlink(path + end) for end in ('-wal', '-shm')]",
}


@pytest.mark.parametrize("strike", STRIKES)
def test_a_run_whose_file_is_overwritten_does_not_end_as_if_all_were_well(strike: str, tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    done = tuned(path, STRIKES[strike])
    assert done.returncode == 1
    assert re.search(r"study\.db (was overwritten|lost the -wal beside it) while it was driven: all \d+ of its facts are now in",
                     done.stderr.splitlines()[-1])  # fmt: skip
    assert 30 <= len(rw.Study.open(f"{path}.rescued").trials) < 60


def test_what_cannot_be_read_any_more_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    study = rw.Study(SPACE, rw.ASHA(max_resource=1), path=path)
    for _ in range(80):
        trial(study)
    study.close()
    study = rw.Study(SPACE, rw.ASHA(max_resource=1), path=path)
    known = [fact for _, fact in study.facts()]
    connection = study.decider.log._connection  # type: ignore[attr-defined]
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("PRAGMA shrink_memory")
    content = path.read_bytes()
    path.write_bytes(content[: 5 * 4096] + bytes(4096) + content[6 * 4096 :])
    with pytest.raises(rw.StudyError) as error:
        trial(study)
    found = re.search(r"was overwritten while it was driven: the first (\d+) of its (\d+) facts are now in (\S+);",
                      str(error.value))  # fmt: skip
    assert found, str(error.value)
    facts = facts_of(Path(found[3]))
    assert 0 < len(facts) == int(found[1]) < int(found[2]) == len(known) + 1
    assert facts == known[: len(facts)]


UNREADABLE = """
import os, sys
from pathlib import Path
import rungwise as rw
path = Path(sys.argv[1])
study = rw.Study({"x": rw.Float(0, 1)}, "asha", path=path)
study.decider.log._connection.execute("PRAGMA cache_size = 1")
study.decider.log._connection.execute("PRAGMA shrink_memory")
path.write_text("notes")
study.close()
"""


def test_where_nothing_can_be_read_any_more_that_is_said(tmp_path: Path) -> None:
    """And at the end of the process SQLite does not write what it still has over what stands there now."""
    path = tmp_path / "study.db"
    study = rw.Study(SPACE, "asha", path=path)
    trial(study)
    study.close()
    done = subprocess.run(
        [sys.executable, "-c", UNREADABLE, str(path)], env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "study.db was overwritten while it was driven; its facts could not be kept in " in last
    assert last.endswith(": none of them can be read anymore")
    assert path.read_text() == "notes"
    assert not Path(f"{path}.rescued").exists()


def test_the_checkpoint_of_another_program_is_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    study = rw.Study(SPACE, rw.ASHA(max_resource=1), path=path)
    for mode in ("PASSIVE", "TRUNCATE", "RESTART"):
        trial(study)
        other = sqlite3.connect(path)
        before = path.read_bytes()
        assert other.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0] == 0
        other.close()
        assert path.read_bytes() != before
        trial(study)
    study.close()
    assert len(rw.Study.open(path).trials) == 6


def test_a_file_that_is_overwritten_before_it_is_looked_at_again_is_noticed_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity, "OFTEN", 3600)
    path = tmp_path / "study.db"
    study = rw.Study(SPACE, rw.ASHA(max_resource=1), path=path)
    trial(study)
    without_wal(path)
    for _ in range(3):
        trial(study)
    with pytest.raises(rw.StudyError, match=r"lost the -wal beside it while it was driven: all \d+ of its facts "):
        study.close()
    assert len(rw.Study.open(f"{path}.rescued").trials) == 4


def test_what_was_committed_gets_into_the_file_also_while_it_is_driven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a checkpoint of our own is no cause to read all of it anew."""
    monkeypatch.setattr(integrity, "check", None)
    path = tmp_path / "study.db"
    log = SQLiteLog(path, writable=True)
    list(log.read())
    for number in range(3000):
        log.append(Extended(trials=number))
        log.flush()
    assert path.stat().st_size > 50_000
    assert Path(f"{path}-wal").stat().st_size < 8_000_000
    log.close()
    assert len(list(SQLiteLog(path, writable=False).read())) == 3000
