"""Going on with a study runs what its file names: only if this user began it here, hands it over, or says so."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import rungwise as rw
from rungwise.events import Created, Fact, Opened
from rungwise.search import settings_of
from rungwise.sqlite import SQLiteLog

TRAIN = """
import pathlib

def train(trial):
    pathlib.Path(__file__).with_name("ran").touch()
    for epoch in trial:
        trial.report(trial.config["x"] + 1 / epoch)
"""
EVIL = """
import pathlib
import optuna

pathlib.Path(__file__).with_name("imported").touch()

class S(optuna.samplers.RandomSampler):
    pass

def proxy(config):
    return config["x"]
"""
SPACE = '{"x": {"type": "float", "low": 0, "high": 1}}'
TUNE = ["tune", "train.py:train", "--space", SPACE, "--mode", "min", "--quiet"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "evilmod.py").write_text(EVIL)
    return tmp_path


def rungwise(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("rungwise")), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)


def begun(folder: Path) -> Path:
    done = rungwise(folder, *TUNE, "--trials", "2", "--study", "s.db")
    assert done.returncode == 0, done.stderr
    (folder / "ran").unlink()
    return folder / "s.db"


def rewritten(path: Path, change: Callable[[Fact], Fact | list[Fact]]) -> None:
    """Each fact of the study `path` changed, with digests that are right."""
    log = SQLiteLog(path, writable=False)
    facts = list(log.read())
    log.close()
    path.unlink()
    trials, aside = Path(f"{path}.trials"), Path(f"{path}.aside")
    if trials.exists():  # no study is begun beside another's checkpoints
        trials.rename(aside)
    new = SQLiteLog(path, writable=True)
    if aside.exists():
        aside.rename(trials)
    list(new.read())
    for time, fact in facts:
        changed = change(fact)
        for each in changed if isinstance(changed, list) else [changed]:
            new.append(each, time)
    new.flush()
    new.close()


def replaced(kind: type[Fact], **fields: Any) -> Callable[[Fact], Fact]:
    return lambda fact: msgspec.structs.replace(fact, **fields) if isinstance(fact, kind) else fact


# -- what this user began ------------------------------------------------------------------------------


def test_a_study_begun_here_goes_on_without_asking(folder: Path) -> None:
    begun(folder)
    for command in (["resume", "s.db", "--trials", "4"], ["refit", "s.db", "--to", "9"]):
        done = rungwise(folder, *command)
        assert done.returncode == 0, done.stderr
        assert (folder / "ran").exists()
    notes = folder / "state" / "rungwise" / "begun"
    assert [note.suffix for note in notes.iterdir()] == [".json"]
    assert notes.stat().st_mode & 0o777 == 0o700


def test_so_does_one_begun_from_python_whose_searcher_is_named(folder: Path) -> None:
    script = """
import rungwise as rw, train
rw.tune(train.train, {"x": rw.Float(0, 1)}, mode="min", trials=2, study="s.db", quiet=True,
        searcher={"name": "screened", "proxy": "evilmod:proxy"})
"""
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True, timeout=120)
    done = rungwise(folder, "resume", "s.db", "--function", "train.py:train", "--trials", "4")
    assert done.returncode == 0, done.stderr


# -- what somebody else did ----------------------------------------------------------------------------


def moved(folder: Path) -> None:
    (folder / "s.db").rename(folder / "t.db")
    (folder / "t.db").rename(folder / "s.db")
    for note in (folder / "state" / "rungwise" / "begun").iterdir():
        note.unlink()


CHANGES: dict[str, Callable[[Path], object]] = {
    "no note": moved,
    "another function": lambda f: rewritten(f / "s.db", replaced(Opened | Created, run={"function": "evilmod.py:S"})),  # type: ignore[arg-type]
    "a command instead": lambda f: rewritten(f / "s.db", replaced(Created, run={"command": ["touch", "ran"]})),
    "a later session's": lambda f: rewritten(
        f / "s.db",
        lambda fact: [fact, Opened("1", {"command": ["touch", "ran"]})] if isinstance(fact, Created) else fact,
    ),
    "another study at its path": lambda f: rewritten(f / "s.db", replaced(Created, id="other")),
    "a note that others can write": lambda f: (f / "state" / "rungwise" / "begun").chmod(0o777),
    "another space": lambda f: rewritten(
        f / "s.db", replaced(Created, space={"x": {"type": "float", "low": 0.0, "high": 1.0, "prior": 0.5}})
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_that_is_not_as_this_user_left_it_is_not_run(name: str, folder: Path) -> None:
    command = ["refit", "s.db", "--to", "9"] if name == "no note" else ["resume", "s.db", "--trials", "4"]
    path = begun(folder)
    CHANGES[name](folder)
    before = path.read_bytes()
    refused = rungwise(folder, *command)
    assert refused.returncode == 2, refused.stderr
    assert refused.stderr.count("\n") == 1
    assert "resuming would run the " in refused.stderr
    assert "use --trust" in refused.stderr
    assert not (folder / "ran").exists()
    assert path.read_bytes() == before
    if name in ("no note", "a note that others can write"):
        assert "the function train.py:train" in refused.stderr
        trusted = rungwise(folder, *command, "--trust")
        assert trusted.returncode == 0, trusted.stderr
        assert (folder / "ran").exists()
        (folder / "ran").unlink()
        last = rungwise(folder, "resume", "s.db", "--trials", "6")
        assert (last.returncode == 0) == (name != "a note that others can write"), "it is noted, if it can be"


def test_from_another_folder_names_mean_something_else(folder: Path) -> None:
    begun(folder)
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "train.py").write_text(EVIL)
    refused = rungwise(folder / "elsewhere", "resume", "../s.db", "--trials", "4")
    assert refused.returncode == 2
    assert f"you began it in {folder}" in refused.stderr
    assert not (folder / "elsewhere" / "imported").exists()


def test_the_function_may_be_handed_over(folder: Path) -> None:
    begun(folder)
    moved(folder)
    rewritten(folder / "s.db", replaced(Created, run={"command": ["touch", "evil"]}))
    done = rungwise(folder, "resume", "s.db", "--function", "train.py:train", "--trials", "4")
    assert done.returncode == 0, done.stderr
    assert (folder / "ran").exists()
    assert not (folder / "evil").exists()
    assert rungwise(folder, "resume", "s.db", "--trials", "6").returncode == 2, "that was no word on the command"


@pytest.mark.parametrize("where", [{"name": "evilmod:S", "path": "x"}, "elsewhere"])
def test_where_checkpoints_are_is_not_taken_from_a_file_unasked(where: object, folder: Path) -> None:
    """They are pickles, and a store may be code: handing the function over is no word on them."""
    begun(folder)
    rewritten(folder / "s.db", replaced(Created, run={"function": "train.py:train", "checkpoints": where}))
    for more in ([], ["--function", "train.py:train"]):
        done = rungwise(folder, "resume", "s.db", "--trials", "4", *more)
        assert done.returncode == 2, done.stderr
        named = where if isinstance(where, str) else where["name"]
        assert f"with {named} as the store of the checkpoints" in " ".join(done.stderr.split())
    assert not (folder / "imported").exists()
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("settings", [False, True])
def test_a_folder_for_checkpoints_that_this_user_named_is_gone_on_with_without_asking(
    settings: bool, folder: Path
) -> None:
    (folder / "train.py").write_text(TRAIN.replace("trial.report", "trial.save(epoch); trial.report"))
    if settings:
        (folder / "rungwise.toml").write_text('checkpoints = "big"\n')
    done = rungwise(folder, *TUNE, "--trials", "4", "--study", "s.db", *([] if settings else ["--checkpoints", "big"]))
    assert done.returncode == 0, done.stderr
    done = rungwise(folder, "resume", "s.db", "--trials", "8")
    assert done.returncode == 0, done.stderr
    assert len(list((folder / "big").iterdir())) == 1
    assert not list((folder / "s.db.trials").rglob("checkpoint*"))
    done = rungwise(folder, "resume", "s.db", "--checkpoints", "other")
    assert "leave checkpoints= out to use them" in " ".join(done.stderr.split())
    assert rungwise(folder, "status", "s.db").returncode == 0


def test_no_state_folder_asks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "state").write_text("in the way")
    begun(folder)
    assert rungwise(folder, "resume", "s.db", "--trials", "4").returncode == 2
    assert rungwise(folder, "resume", "s.db", "--trials", "4", "--trust").returncode == 0


SEARCHERS = {
    "sampler": {"name": "optuna", "sampler": "evilmod:S", "arguments": {}},
    "proxy": {"name": "screened", "proxy": "evilmod:proxy", "searcher": {"name": "random"}, "best_of": 4, "control": 5},
    "within": {
        "name": "first",
        "searcher": {"name": "screened", "proxy": "evilmod:proxy", "searcher": {"name": "random"}},
        "points": [],
        "earlier": [],
        "left_out": 0,
    },
}


@pytest.mark.needs("optuna")
@pytest.mark.parametrize("name", SEARCHERS)
def test_nothing_that_a_searcher_names_is_imported_without_trust(name: str, folder: Path) -> None:
    begun(folder)
    rewritten(folder / "s.db", replaced(Created, searcher=SEARCHERS[name]))
    for extra in ([], ["--function", "train.py:train"]):
        refused = rungwise(folder, "resume", "s.db", "--trials", "12", *extra)
        assert refused.returncode == 2, refused.stderr
        assert "resuming would import the " in refused.stderr
        assert "evilmod:" in refused.stderr
    assert not (folder / "imported").exists()
    trusted = rungwise(folder, "resume", "s.db", "--trials", "12", "--trust")
    assert trusted.returncode == 0, trusted.stderr
    assert (folder / "imported").exists()


@pytest.mark.needs("optuna")
@pytest.mark.parametrize("name", SEARCHERS)
def test_nor_from_python(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = begun(folder)
    rewritten(path, replaced(Created, searcher=SEARCHERS[name]))
    monkeypatch.syspath_prepend(folder)
    before = path.read_bytes()
    with pytest.raises(rw.InputError, match=r"would import the (sampler|proxy) evilmod:\w+.*trust=True"):
        rw.Study.open(path, writable=True)
    assert path.read_bytes() == before
    looked = rw.Study.open(path)
    assert settings_of(looked.searcher) == SEARCHERS[name]
    assert looked.best.number >= 0
    with pytest.raises(rw.InputError, match="another searcher"):
        rw.Study(looked.space, searcher="random", path=path)
    assert not (folder / "imported").exists()
    assert "evilmod" not in sys.modules
    study = rw.Study.open(path, writable=True, trust=True)
    study.extend(trials=20)
    assert study.ask() is not None
    study.close()
    sys.modules.pop("evilmod", None)


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 2), ("\n", 2)])
def test_on_a_terminal_it_is_asked_and_shown_what_would_run(answer: str, code: int, folder: Path) -> None:
    begun(folder)
    rewritten(folder / "s.db", replaced(Created, run={"command": ["touch", str(folder / "ran"), "\x1b[2Jgone"]}))
    mine, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("rungwise")), "resume", "s.db", "--trials", "3", "--quiet"],
        cwd=folder, stdin=theirs, stderr=theirs, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(mine, 1000)
    assert not (folder / "ran").exists()
    os.write(mine, answer.encode())
    try:
        while more := os.read(mine, 1000):
            said += more
    except OSError:  # the other end is closed
        pass
    text = said.decode()
    assert f"resuming would run the command touch {folder / 'ran'}" in text.replace("\r\n", "").replace("\n", "")
    assert "\x1b[2J" not in text
    assert process.wait(60) == code
    assert ("was left unchanged" in text) == (code != 0)
    assert (folder / "ran").exists() == (not code)
    os.close(mine)


def test_notes_of_studies_that_are_gone_are_dropped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rungwise import trust

    monkeypatch.setattr(trust, "KEPT", 3)
    created = Created({}, {}, {}, "min", 0, "1", id="a")
    (folder / "there.db").touch()
    for name in ("there.db", *(f"{number}.db" for number in range(5))):
        trust.note(folder / name, created, {})
    left = {msgspec.json.decode(note.read_bytes())["path"] for note in trust._folder().iterdir()}
    assert str(folder / "there.db") in left
    assert str(folder / "4.db") in left
    assert str(folder / "0.db") not in left
