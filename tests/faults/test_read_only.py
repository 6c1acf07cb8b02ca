"""A folder that must not be written: looking works, going on is refused in one line."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import rungwise as rw
from rungwise.cli import commands

NOBODY = 65534
LOOKS = ("status", "best", "explain")


def rungwise(*arguments: object) -> tuple[str, str]:
    """What a command prints, and the error that it ends with, for somebody who may not write."""
    receive, send = os.pipe()
    if (child := os.fork()) == 0:  # not a new Python: nobody else may be allowed to run it
        if os.geteuid() == 0:  # who may write everywhere
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        done = CliRunner().invoke(commands, list(map(str, arguments)))
        os.write(send, json.dumps([done.output, str(done.exception or "")]).encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    output, error = json.loads(text)
    return output, error


@pytest.fixture
def study() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rungwise-") as outer:  # pytest's own folder is closed to others
        Path(outer).chmod(0o755)
        folder = Path(outer) / "read only"
        folder.mkdir()
        yield begun(folder)
        folder.chmod(0o755)


def begun(folder: Path) -> Path:
    path = folder / "study.db"
    study = rw.Study({"x": rw.Float(0, 1)}, path=path)
    study.extend(trials=3)
    while (job := study.ask()) is not None:
        for epoch in range(job.start + 1, job.until + 1):
            study.report(job.trial, epoch, job.config["x"])
    study.close()
    for what in LOOKS:  # whatever is imported late is imported now
        assert CliRunner().invoke(commands, [what, str(path)]).exit_code == 0
    for left in ("-shm", "-wal", ".lock"):  # a file alone, as on a medium that cannot be written
        Path(f"{path}{left}").unlink(missing_ok=True)
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    return path


def test_looking_works_and_going_on_is_refused(study: Path) -> None:
    before = {file.name for file in study.parent.iterdir()}
    for what in LOOKS:
        output, error = rungwise(what, study)
        assert error == ""
        assert output
    assert "3 of 3 trials" in rungwise("status", study)[0]
    _, error = rungwise("resume", study, "--trials", 9)
    assert error.startswith(f"{study} cannot be written: ")
    assert "\n" not in error
    assert {file.name for file in study.parent.iterdir()} == before
