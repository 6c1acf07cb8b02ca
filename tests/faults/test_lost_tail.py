"""After the end of a log was lost, a searcher that learns draws other configurations: whose are the checkpoints?"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import in_folder
import rungwise as rw
from faults.learner import TRIALS, WORSE_BY, truth

LEARNER = Path(__file__).with_name("learner.py")


def run(folder: Path, searcher: str, seed: int, die_after: int | None = None) -> str:
    """Run it; what it said. It must end well, or by its own hand where it is to die."""
    environment = {name: value for name, value in os.environ.items() if name != "DIE_AFTER"}
    environment["WORSE"] = "1"
    if die_after is not None:
        environment |= {"DIE_AFTER": str(die_after), "WORSE": "0"}
    command = [sys.executable, str(LEARNER), str(folder), searcher, str(seed)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == (0 if die_after is None else -signal.SIGKILL), done.stderr
    return done.stderr


def check(path: Path) -> None:
    """No score in the study at `path` is another configuration's."""
    study = rw.Study.open(path)
    assert len(study.trials) == TRIALS
    for record in study.trials:
        for resource, score in record.reports.items():
            own = truth(record.config, resource)
            assert score in {own, own + WORSE_BY}, f"trial {record.number} at {resource}"
    state = study.best.load()
    assert state == {"of": study.best.config}
    study.close()


@pytest.mark.parametrize("searcher", ["evolution", "tpe"])
def test_no_score_is_anothers_after_the_wal_was_lost(searcher: str, tmp_path: Path) -> None:
    aside = 0
    for seed in range(3):
        folder = tmp_path / str(seed)
        folder.mkdir()
        run(folder, searcher, seed, die_after=50)
        (folder / "study.db-wal").unlink()
        said = run(folder, searcher, seed)
        check(folder / "study.db")
        there = [path for path in (folder / "study.db.trials").iterdir() if ".of-another-" in path.name]
        aside += len(there)
        for path in there:
            if path.is_dir():
                assert f"files of another configuration or study; they were moved to {path}" in said.replace("\n", "")
                assert in_folder.states(path), "set aside, not deleted"
    assert aside, "no trial was drawn anew: the test shows nothing"


def test_no_score_is_anothers_after_a_salvage(tmp_path: Path) -> None:
    run(tmp_path, "evolution", 0, die_after=50)
    rw.Study.open(tmp_path / "study.db", writable=True).close()
    with sqlite3.connect(tmp_path / "study.db") as database:
        database.execute("UPDATE facts SET fact = replace(fact, '0.', '1.') WHERE id = 12")
    database.close()
    saved = tmp_path / "saved"
    saved.mkdir()
    code = "from rungwise.cli import main; main()"
    command = [sys.executable, "-c", code, "salvage", str(tmp_path / "study.db"), str(saved / "study.db")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"move that folder to {saved / 'study.db'}.trials" in told
    shutil.move(tmp_path / "study.db.trials", saved / "study.db.trials")
    run(saved, "evolution", 0)
    check(saved / "study.db")
    assert list((saved / "study.db.trials").glob("*.of-another-1")), "no trial was drawn anew: the test shows nothing"


def test_what_the_log_lost_of_the_same_configuration_is_taken_over(tmp_path: Path) -> None:
    run(tmp_path, "random", 0, die_after=50)
    (tmp_path / "study.db-wal").unlink()
    run(tmp_path, "random", 0)
    check(tmp_path / "study.db")
    logs = "".join(path.read_text() for path in (tmp_path / "study.db.trials").glob("*.log"))
    assert "Traceback" not in logs
    assert not list((tmp_path / "study.db.trials").glob("*.of-another-*"))
