"""What is no name of a study's file, or leads nowhere, is answered in one line from every door."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import messages
import rungwise as rw
from rungwise.cli import commands

SPACE = {"x": rw.Float(0, 1)}


def link_loop(folder: Path) -> str:
    (folder / "a.db").symlink_to("b.db")
    (folder / "b.db").symlink_to("a.db")
    return str(folder / "a.db")


def below_a_file(folder: Path) -> str:
    (folder / "file").touch()
    return str(folder / "file" / "study.db")


def a_device(folder: Path) -> str:
    return "/dev/zero"


PATHS: dict[str, tuple[str | Callable[[Path], str], str]] = {
    "no name": ("", "'' is not a file name; leave path= out to keep a study in memory"),
    "in memory": (":memory:", "':memory:' is not a file name; leave path= out to keep a study in memory"),
    "a URI": ("file:study.db?mode=memory", "a study is kept in a file, not at 'file:study.db?mode=memory'; give the file name, such as 'study.db'"),
    "Optuna's": ("sqlite:///study.db", "not at 'sqlite:///study.db'; give the file name, such as 'study.db'"),
    "a zero byte": ("a\0b.db", "the study's file 'a\\x00b.db' has a zero byte in its name"),
    "a lone surrogate": ("a\ud800.db", "the name of the study's file 'a\\ud800.db' is not valid UTF-8"),
    "a byte that is no text": ("a\udce9.db", "the name of the study's file 'a\\udce9.db' is not valid UTF-8"),
    "a link loop": (link_loop, "cannot be read: it is a circular link"),
    "an over-long name": ("x" * 300, "File name too long"),
    "an over-long path": ("x/" * 3000 + "study.db", "File name too long"),
    "a name that leaves no room for those beside it": (lambda folder: str(folder / ("x" * 252)), "File name too long"),
    "below a file": (below_a_file, "file is a file, not a folder"),
    "a device": (a_device, "is a device, a pipe, or a socket; name a file"),
    "a directory": (str, "is a directory; name a file in it"),
}  # fmt: skip


@pytest.mark.parametrize("door", ["Study", "open", "open to go on", "warm_start", "tune"])
@pytest.mark.parametrize("case", PATHS)
def test_a_path_that_cannot_be_is_refused_in_one_line(
    case: str, door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, message = PATHS[case]
    path = make(tmp_path) if callable(make) else make
    before = sorted(tmp_path.rglob("*"))
    doors: dict[str, Callable[[], object]] = {
        "Study": lambda: rw.Study(SPACE, path=path),
        "open": lambda: rw.Study.open(path),
        "open to go on": lambda: rw.Study.open(path, writable=True),
        "warm_start": lambda: rw.Study(SPACE, warm_start=path),
        "tune": lambda: rw.tune(print, SPACE, mode="min", trials=1, study=path, quiet=True),
    }
    with pytest.raises((rw.InputError, rw.StudyError)) as error:
        doors[door]()
    said = str(error.value)
    only_looks = door in ("open", "open to go on", "warm_start")
    assert message in said or (only_looks and "there is no study" in said)
    assert "\n" not in said
    assert len(said) < 7000
    said.encode("ascii" if "surrogate" in case or "no text" in case else "utf-8")
    if door == "Study" and "long" not in case:
        messages.check("paths", case, said, tmp_path)
    assert sorted(tmp_path.rglob("*")) == before or "room" in case


@pytest.mark.parametrize("case", PATHS)
def test_the_commands_say_it_too(case: str, tmp_path: Path) -> None:
    make, _ = PATHS[case]
    path = make(tmp_path) if callable(make) else make
    if {"\0", "\ud800"} & {*path}:  # no argument of a program can hold it
        return
    for command in ("status", "best", "explain", "resume"):
        done = CliRunner().invoke(commands, [command, path])
        assert isinstance(done.exception, (rw.InputError, rw.StudyError, SystemExit))
        assert "Traceback" not in done.output


@pytest.mark.parametrize("given", ["sqlite:///a.db", "sqlite:////tmp/a.db", "postgresql://me@host/a.db"])
def test_a_url_is_no_studys_name_for_the_commands_either(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Path` leaves one slash of the three."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("train = print\n")
    space = '{"x": {"type": "float", "low": 0, "high": 1}}'
    tune = ["tune", "train.py:train", "--space", space, "--mode", "min", "--trials", "1", "--study"]
    for command in (tune, ["status"], ["explain"], ["resume"], ["salvage", "old.db"]):
        done = CliRunner().invoke(commands, [*command, given])
        assert isinstance(done.exception, rw.InputError)
        assert "; give the file name, such as '" in str(done.exception)
        assert "a.db'" in str(done.exception)
    with pytest.raises(rw.InputError, match=r"give the file name, such as '.*a\.db'"):
        rw.Study(SPACE, path=Path(given))
    assert [file.name for file in tmp_path.iterdir() if file.suffix] == ["train.py"]


def test_a_folder_may_be_called_like_the_beginning_of_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs:").mkdir()
    rw.Study(SPACE, path="runs:/a.db").close()
    assert (tmp_path / "runs:" / "a.db").exists()


FEW = """
import os, resource, sys
import rungwise as rw
space = {"x": rw.Float(0, 1)}
study = rw.Study(space, path=sys.argv[1])
study.ask()
study.close()
rw.Study.open(sys.argv[1])
first = os.dup(0)
os.close(first)
for more in range(0, 12):
    resource.setrlimit(resource.RLIMIT_NOFILE, (first + more, 1000))
    for door in (lambda: rw.Study(space, path=sys.argv[1]), lambda: rw.Study.open(sys.argv[1])):
        try:
            opened = door()
        except rw.StudyError as error:
            assert "cannot be" in str(error) and "\\n" not in str(error), error
            print(more, "refused")
        else:
            opened.close()
            print(more, "opened")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))
    again = os.dup(0)
    os.close(again)
    assert again == first, "no file stays open"
"""


def test_too_few_descriptors_are_one_line_and_none_is_lost(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FEW, str(tmp_path / "study.db")], capture_output=True, text=True, check=False,
        env=os.environ,
    )  # fmt: skip
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "0 refused"
    assert lines[-2:] == ["11 opened", "11 opened"]
    assert len(list(rw.Study.open(tmp_path / "study.db").facts())) > 2
