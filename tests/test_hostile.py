"""Looking at a study runs, imports and changes nothing that its file names, and ends soon, in words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hostile
import rungwise as rw

pytestmark = pytest.mark.timeout(900)
LOOKS_AT_ALL = ("good", "sampler", "proxy", "ranking", "needs", "command", "function")
"""How the names of studies begin that are in order, save that they name code: all that looks must show them."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What came of each look at each study."""
    folder = tmp_path_factory.mktemp("hostile")
    script = Path(__file__).with_name("look_at_hostile.py")
    environment = os.environ | {"XDG_STATE_HOME": str(folder / "state"), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, script, folder], capture_output=True, text=True, env=environment, timeout=900, errors="replace"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not (folder / "owned").exists()
    looks: list[dict[str, Any]] = json.loads(done.stdout)
    assert len(looks) > 2_000
    return looks


def told(looks: list[dict[str, Any]]) -> str:
    return "\n".join(
        f"{one['study']}, {one['look']}: {one['code']} {one['err'][-300:]} {one['done']}" for one in looks[:20]
    )


WATCHED = """
import importlib, importlib.util, runpy
from pathlib import Path
import look_at_hostile as look
look.watch()
def by_path():
    spec = importlib.util.spec_from_file_location("any", "plain.py")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
def missing():
    try:
        importlib.import_module("not_there")
    except ImportError:
        pass
for way in (lambda: __import__("one"), lambda: importlib.import_module("two"), by_path, missing,
            lambda: runpy.run_path("plain.py"), lambda: exec(compile("1", "plain.py", "exec"))):
    print(bool(look.look(way)["done"]))
print(bool(look.look(lambda: importlib.import_module("colorsys"))["done"]))
"""


def test_the_watch_hears_of_every_way_to_import(tmp_path: Path) -> None:
    for name in ("one", "two", "plain"):
        (tmp_path / f"{name}.py").write_text("x = 1\n")
    tests = f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [sys.executable, "-c", WATCHED], cwd=tmp_path, env=os.environ | {"PYTHONPATH": tests}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["True"] * 6 + ["False"]


def test_nothing_is_run_imported_or_written_elsewhere(found: list[dict[str, Any]]) -> None:
    wrong = [one for one in found if one["done"]]
    assert not wrong, told(wrong)


def test_each_look_ends_in_what_it_shows_or_in_one_line(found: list[dict[str, Any]]) -> None:
    def one_line(one: dict[str, Any]) -> bool:
        err = one["err"]
        return err.startswith("rungwise: ") and err.count("\n") == 1 and len(err) < 1_500

    wrong = [one for one in found if one["code"] not in (0, 1, 2) or (one["code"] and not one_line(one))]
    assert not wrong, told(wrong)


def test_soon(found: list[dict[str, Any]]) -> None:
    wrong = [one for one in found if one["seconds"] > 20]
    assert not wrong, told(wrong)


def test_and_sends_the_terminal_nothing_but_text(found: list[dict[str, Any]]) -> None:
    wrong = [one for one in found if not (one["out"] + one["err"]).replace("\n", "").isprintable()]
    assert not wrong, told(wrong)


def test_studies_that_only_name_code_can_be_looked_at(found: list[dict[str, Any]]) -> None:
    looks = [
        one for one in found if one["study"][4:].startswith(LOOKS_AT_ALL) and one["look"] not in ("resume", "refit")
    ]
    wrong = [one for one in looks if one["code"] != 0]
    assert len(looks) > 300
    assert not wrong, told(wrong)


def test_studies_whose_snapshot_is_none_are_folded_from_their_facts(found: list[dict[str, Any]]) -> None:
    looks = [one for one in found if "snapshot: " in one["study"] and one["look"] not in ("resume", "refit")]
    assert len(looks) > 200
    wrong = [one for one in looks if one["code"] != 0 and "nobody is best" not in one["study"]]
    assert not wrong, told(wrong)
    aside = {one["study"].partition(": ")[2] for one in looks if "snapshot that is ignored" in one["err"]}
    lies = {"code in how", "escapes", "huge numbers", "a job without end", "seconds without end", "nobody is best"}
    believed = lies | {"in order", "the best of another", "a refit"}  # facts could have led to that
    assert set(hostile.SNAPSHOTS) - aside == believed


def test_and_none_is_gone_on_with(found: list[dict[str, Any]]) -> None:
    wrong = [one for one in found if one["look"] in ("resume", "refit") and one["code"] == 0]
    assert not wrong, told(wrong)


def test_what_only_a_scheduler_knows_is_told_to_who_goes_on(tmp_path: Path) -> None:
    for name in ("promoted to no rung", "raised beyond the ladder"):
        hostile.write(tmp_path / f"{name}.db", hostile.studies()[f"out of order: {name}"])
        with pytest.raises(rw.StudyError, match="is not what a study says, at fact"):
            rw.Study.open(tmp_path / f"{name}.db", writable=True)


def test_a_fact_that_does_not_fit_is_told_with_its_number(found: list[dict[str, Any]]) -> None:
    looks = [one for one in found if "out of order: " in one["study"] and one["look"] == "status"]
    wrong = [one for one in looks if one["code"] == 0]
    fine = {"refitted far", "raised and broken", "opened by nobody", "opened with checkpoints of a number"}
    fine |= {"promoted to no rung", "raised beyond the ladder"}  # which only a scheduler knows, and none is made
    assert {one["study"].partition(": ")[2] for one in wrong} <= fine, told(wrong)
    assert all(" fact " in one["err"] for one in looks if one["code"])
