"""An export is written into no study, and one that fails leaves the older file as it was."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import rungwise as rw
from rungwise.cli import commands
from rungwise.report import export as module
from rungwise.report.export import export
from rungwise.sqlite import salvage


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "s.json"
    study = rw.Study({"x": rw.Float(0, 1)}, path=path)
    study.report(study.ask().trial, 1, 0.5)
    study.close()
    (tmp_path / "s.json.trials" / "000000").mkdir(parents=True)
    return path


def link(path: Path) -> Path:
    path.with_name("link.json").symlink_to(path)
    return path.with_name("link.json")


def hard_link(path: Path) -> Path:
    os.link(path, path.with_name("hard.json"))
    return path.with_name("hard.json")


def folder_link(path: Path) -> Path:
    path.with_name("here").symlink_to(path.parent)
    return path.with_name("here") / path.name


PARTS: dict[str, Callable[[Path], Path]] = {
    "the study": lambda path: path,
    "a link to it": link,
    "a hard link to it": hard_link,
    "through a linked folder": folder_link,
    "another way to write it": lambda path: path.parent / "s.json.trials" / ".." / path.name,
    "a checkpoint": lambda path: path.parent / "s.json.trials" / "000000" / "x.json",
    **{
        ending: (lambda path, ending=ending: Path(f"{path}{ending}")) for ending in ("-wal", "-shm", ".lock", ".holder")
    },
}


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("part", PARTS)
def test_no_target_is_a_part_of_the_study(part: str, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = PARTS[part](study)
    before = contents(study.parent)
    monkeypatch.setattr(module, "FORMATS", (*module.FORMATS, target.suffix))  # it may end as it likes
    with pytest.raises(rw.InputError, match=r"is the study .*s\.json itself or a part of it; name another file"):
        export(rw.Study.open(study), target, reports=False)
    with pytest.raises(rw.InputError, match=r"is a part of the study .*s\.json itself; name a new file"):
        salvage(study, target)
    assert contents(study.parent) == before


def test_the_command_refuses_it_too(study: Path) -> None:
    before = contents(study.parent)
    done = CliRunner().invoke(commands, ["export", str(study), str(study)])
    assert isinstance(done.exception, rw.InputError)
    assert contents(study.parent) == before


@pytest.mark.parametrize("way", ["itself", "a link", "while this process drives it"])
def test_no_target_is_another_study(way: str, study: Path, tmp_path: Path) -> None:
    other = tmp_path / "t.json"
    driven = rw.Study({"x": rw.Float(0, 1)}, seed=5, path=other)
    if way != "while this process drives it":
        driven.close()
    target = link(other) if way == "a link" else other
    before = contents(tmp_path)
    with pytest.raises(rw.InputError, match=rf"{target.name} is a study; name another file, or delete it first"):
        export(rw.Study.open(study), target, reports=False)
    done = CliRunner().invoke(commands, ["export", str(study), str(target)])
    assert isinstance(done.exception, rw.InputError)
    assert contents(tmp_path) == before
    if way == "while this process drives it":
        driven.extend(trials=3)
    driven.close()
    rw.Study.open(other)


@pytest.mark.parametrize("ending", [".json", ".csv"])
def test_an_export_that_fails_leaves_the_older_file(
    ending: str, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / f"trials{ending}"
    opened = rw.Study.open(study)
    export(opened, target, reports=False)
    before = contents(tmp_path)
    write = module._write

    def fail(*arguments: object, **options: object) -> None:
        write(*arguments, **options)  # type: ignore[arg-type]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write", fail)
    with pytest.raises(OSError, match="No space"):
        export(opened, target, reports=True)
    assert contents(tmp_path) == before, "and no part of the new one is there"


def test_the_new_file_takes_the_place_of_the_old_one(study: Path, tmp_path: Path) -> None:
    opened, target = rw.Study.open(study), tmp_path / "trials.json"
    export(opened, target, reports=False)
    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode), "as any file that one makes"
    target.write_text("old")
    target.chmod(0o640)
    (tmp_path / "link.json").symlink_to("trials.json")
    export(opened, tmp_path / "link.json", reports=False)
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads(target.read_text())[0]["score"] == 0.5
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    with pytest.raises(OSError, match=r"nowhere/trials\.json"):
        export(opened, tmp_path / "nowhere" / "trials.json", reports=False)
