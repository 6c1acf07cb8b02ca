"""A study file made by somebody who means harm, or by a newer version: one line, soon, and nothing runs or is written."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import rungwise as rw
from hostile import ENDLESS, SCHEMAS, schema
from rungwise import chain, database
from rungwise.version import __version__

SPACE = {"x": rw.Float(0, 1)}
CREATED = json.dumps({
    "fact": "created", "space": rw.Space(SPACE).to_dict(), "scheduler": {"name": "asha"}, "searcher": {"name": "random"},
    "mode": "min", "seed": 0, "version": __version__,
})  # fmt: skip


def forged(path: Path, *facts: str, version: int = 3, times: tuple[float, ...] = ()) -> Path:
    """A study with these facts, and the digests that they would have."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(database.SCHEMA)
        connection.execute(f"PRAGMA user_version = {version}")
        digest = 0
        for number, fact in enumerate(facts, 1):
            time = times[number - 1] if times else float(number)
            digest = database.digest_of(version)(digest, time, fact.encode())
            connection.execute(database.INSERT, (number, time, fact, digest))
    connection.close()
    return path


def names_twice(path: Path) -> Path:
    started = '{"fact":"started","trial":0,"config":{"x":0.5,"x":0.25},"until":1}'
    return forged(path, CREATED, started)


def names_twice_in_disguise(path: Path) -> Path:
    reported = r'{"fact":"reported","trial":0,"resource":1,"score":0.5,"\u0073core":0.25,"seconds":0.0}'
    return forged(path, CREATED, '{"fact":"started","trial":0,"config":{"x":0.5},"until":1}', reported)


def another_time(path: Path) -> Path:
    forged(path, CREATED, '{"fact":"extended","trials":3}')
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE facts SET time = time + 31536000 WHERE id = 2")
    connection.close()
    return path


def a_time_that_is_text(path: Path) -> Path:
    forged(path, CREATED)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE facts SET time = 'noon'")
    connection.close()
    return path


def an_infinite_time(path: Path) -> Path:
    return forged(path, CREATED, times=(float("inf"),))


def a_pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    **{name: (make, "its table of facts is different") for name, make in SCHEMAS.items()},
    "names twice": (names_twice, "is damaged at fact 2: it says 'x' twice"),
    "names twice in disguise": (names_twice_in_disguise, "is damaged at fact 3: it says 'score' twice"),
    "another time": (another_time, "is damaged at fact 2: it is not what was written"),
    "a time that is text": (a_time_that_is_text, "is damaged at fact 1 ("),
    "an infinite time": (an_infinite_time, "is damaged at fact 1: it is not what was written"),
    "a pipe": (a_pipe, "is a device, a pipe, or a socket; name a file"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("going_on", [False, True], ids=["looked at", "gone on with"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(kind: str, going_on: bool, tmp_path: Path) -> None:
    make, message = HOSTILE[kind]
    path = make(tmp_path / "study.db")
    before = None if kind == "a pipe" else path.read_bytes()
    with pytest.raises(rw.StudyError) as error:
        rw.Study.open(path, writable=going_on)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert before is None or path.read_bytes() == before, "nothing was written"


def test_other_things_in_the_file_do_not_matter(tmp_path: Path) -> None:
    path = schema(forged(tmp_path / "study.db", CREATED), f"CREATE VIEW v AS {ENDLESS} SELECT n FROM r")
    assert rw.Study.open(path).trials == []


@pytest.mark.timeout(20)
def test_a_statement_that_does_not_end_is_ended(tmp_path: Path) -> None:
    connection = database.connect(str(tmp_path / "any.db"))
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        connection.execute(f"{ENDLESS} SELECT count(*) FROM r").fetchone()
    with pytest.raises(sqlite3.DataError, match="too big"):
        connection.execute(f"SELECT hex(zeroblob({database.LARGEST_FACT}))").fetchone()
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("CREATE TABLE t (x)")
    connection.close()


def test_rows_that_share_one_place_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a file can be made by hand: a little file that says a lot."""
    path = forged(tmp_path / "study.db", CREATED, '{"fact":"extended","trials":3}')
    monkeypatch.setattr(database, "size", lambda connection: 100)
    with pytest.raises(rw.StudyError, match="is damaged at fact 2: it says more than it can hold"):
        rw.Study.open(path)


@pytest.mark.timeout(60)
def test_a_fact_of_many_names_takes_no_time_out_of_proportion(tmp_path: Path) -> None:
    """It is read name by name since it has blanks; a hundred thousand names took minutes."""
    many = json.loads(CREATED) | {"run": {f"k{number}": 1 for number in range(200_000)}}
    path = forged(tmp_path / "study.db", json.dumps(many))
    began = time.process_time()
    assert rw.Study.open(path).trials == []
    assert time.process_time() - began < 10


# -- written by a newer version ------------------------------------------------------------------------

NEWER = CREATED.replace(f'"{__version__}"', '"7.12"')
KINDS = {
    "a kind of fact": '{"fact":"dreamt","trial":0}',
    "a field": '{"fact":"extended","trials":3,"moons":1}',
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("who", ["created", "opened", "unknown"])
def test_a_fact_of_a_newer_version_says_so(kind: str, who: str, tmp_path: Path) -> None:
    opened = '{"fact":"opened","version":"7.12","run":{}}' if who == "opened" else '{"fact":"extended","trials":2}'
    path = forged(tmp_path / "study.db", NEWER if who == "created" else CREATED, opened, KINDS[kind])
    with pytest.raises(rw.StudyError) as error:
        rw.Study.open(path)
    version = "" if who == "unknown" else " (7.12)"
    assert f"{path} was written by a newer rungwise{version}: this one, {__version__}, does not know fact 3 (" in str(
        error.value
    )
    assert str(error.value).endswith("; upgrade with: pip install -U rungwise")
    assert "damaged" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_field_that_is_new_in_a_rise_or_in_how_a_study_began(tmp_path: Path) -> None:
    for fact in (NEWER.replace('"seed"', '"moons": 3, "seed"'), CREATED.replace('"seed"', '"moons": 3, "seed"')):
        path = forged(tmp_path / "study.db", fact)
        with pytest.raises(rw.StudyError, match=r"newer rungwise.*does not know fact 1 .*unknown field `moons`"):
            rw.Study.open(path)
        path.unlink()


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ('"asha"', '"warp"', "there is no scheduler 'warp'"),
        ('"asha"', '"asha", "warp": 1', "has no argument 'warp'"),
        ('"type": "float"', '"type": "quaternion"', "the unknown type 'quaternion'"),
        ('"type": "float"', '"type": "float", "shape": "round"', "the unknown field 'shape'"),
        ('"mode": "min"', '"mode": "median"', "mode must be 'min' or 'max', not 'median'"),
    ],
)
def test_what_a_newer_version_began_a_study_with_is_said_to_be_newer(old, new, wrong: str, tmp_path: Path) -> None:
    for created, newer in ((NEWER, True), (CREATED, False)):
        assert old in created
        path = forged(tmp_path / "study.db", created.replace(old, new, 1))
        if old == '"asha"':
            assert rw.Study.open(path).rungs() == [], "who looks needs no scheduler"
        with pytest.raises(rw.StudyError) as error:
            rw.Study.open(path, writable=True)
        assert wrong in str(error.value)
        said = f"; it was begun by a newer rungwise (7.12), this is {__version__}: upgrade with pip install -U rungwise"
        assert str(error.value).endswith(said) == newer
        path.unlink()


def test_a_known_fact_that_is_wrong_is_damage(tmp_path: Path) -> None:
    path = forged(tmp_path / "study.db", NEWER, '{"fact":"extended","trials":"three"}')
    with pytest.raises(rw.StudyError, match="is damaged at fact 2"):
        rw.Study.open(path)


def test_every_kind_of_fact_is_known() -> None:
    assert {"created", "reported", "raised", "refitted"} <= chain._KINDS


# -- of the version before ------------------------------------------------------------------------------


def test_a_file_whose_digests_have_no_time_goes_on_as_it_is(tmp_path: Path) -> None:
    path = forged(tmp_path / "study.db", CREATED, '{"fact":"extended","trials":3}', version=2)
    study = rw.Study.open(path, writable=True)
    job = study.ask()
    assert job is not None
    study.report(job.trial, 1, 0.5)
    study.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.execute("UPDATE facts SET time = time + 5 WHERE id = 2")
    connection.commit()
    connection.close()
    assert rw.Study.open(path).trials[0].reports == {1: 0.5}


# -- what was put beside it ------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".holder", ".lock"])
def test_planted_links_are_not_followed(ending: str, tmp_path: Path) -> None:
    path, victim = tmp_path / "study.db", tmp_path / "victim"
    victim.write_text("mine")
    Path(f"{path}{ending}").symlink_to(victim)
    if ending == ".lock":
        with pytest.raises(rw.StudyError, match=r"study\.db cannot be written: .*study\.db\.lock"):
            rw.Study(SPACE, path=path)
    else:
        study = rw.Study(SPACE, path=path)
        assert not Path(f"{path}.holder").is_symlink()
        study.close()
    assert victim.read_text() == "mine"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("going_on", [False, True], ids=["looked at", "gone on with"])
@pytest.mark.parametrize("what", ["a pipe", "a folder", "a link"])
@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
def test_what_is_no_file_beside_it_is_one_line(ending: str, what: str, going_on: bool, tmp_path: Path) -> None:
    """SQLite would wait for ever at a pipe; and Ctrl-C would not end that."""
    path = forged(tmp_path / "study.db", CREATED)
    planted = Path(f"{path}{ending}")
    if what == "a pipe":
        os.mkfifo(planted)
    elif what == "a folder":
        planted.mkdir()
    else:
        planted.symlink_to(tmp_path / "victim")
    if ending == "-shm":
        Path(f"{path}-wal").write_bytes(b"junk" * 2000)
    with pytest.raises(rw.StudyError) as error:
        rw.Study.open(path, writable=going_on)
    assert str(error.value) == f"{path} was not opened, because {planted} beside it is not a file; move that away"


def test_what_a_holder_says_is_bounded_and_harmless(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    study = rw.Study(SPACE, path=path)
    holder = Path(f"{path}.holder")
    holder.write_text("\x1b[2Jprocess 1\nand a line" + "x" * 100_000)
    with pytest.raises(rw.StudyError) as error:
        rw.Study(SPACE, path=path)
    assert "is held by ?[2Jprocess 1?and a linexxx" in str(error.value)
    assert len(str(error.value)) < 500
    holder.unlink()
    os.mkfifo(holder)
    with pytest.raises(rw.StudyError, match="is held by another process: wait for it"):
        rw.Study(SPACE, path=path)
    holder.unlink()
    secret = tmp_path / "secret"
    secret.write_text("password")
    holder.symlink_to(secret)
    with pytest.raises(rw.StudyError, match="is held by another process: wait for it"):
        rw.Study(SPACE, path=path)
    study.close()
    assert secret.read_text() == "password"
    shutil.rmtree(tmp_path / "nothing", ignore_errors=True)
