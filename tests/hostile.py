"""Studies that somebody means ill with: files of the right form, with digests that are right, and contents that are not.

`python tests/hostile.py FOLDER` writes them all.
"""

from __future__ import annotations

import json
import os
import pickle
import sqlite3
import sys
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import rungwise as rw
from rungwise.database import APPLICATION_ID, INSERT, SCHEMA, SCHEMA_VERSION, SNAPSHOT, digest_at, digest_of
from rungwise.snapshot import Snapshots

HUGE = 2**53
ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r)"
SPACE: dict[str, Any] = {"x": {"type": "float", "low": 0.0, "high": 1.0}}
PASHA = {
    "name": "pasha", "min_resource": 1, "reduction_factor": 3.0, "max_resource": 9,
    "ranking": {"name": "soft", "epsilon": "auto"},
}  # fmt: skip
CREATED: dict[str, Any] = {
    "fact": "created", "space": SPACE, "scheduler": PASHA, "searcher": {"name": "random"}, "mode": "min", "seed": 0,
    "version": "1.0.0", "run": {"function": "train.py:train"}, "id": "ab", "score": "last",
}  # fmt: skip
STARTED = {"fact": "started", "trial": 0, "config": {"x": 0.5}, "until": 1}
REPORTED = {"fact": "reported", "trial": 0, "resource": 1, "score": 0.25, "seconds": 0.1}
COMPLETED = {"fact": "completed", "trial": 0}
TRIAL = [STARTED, REPORTED, COMPLETED]
CODE = ("evilmod:S", "subprocess:Popen", "os:system", "evilmod.py:S", "../evilmod:S", "builtins:eval", "evilmod")
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\r\n"
FORMATS = "{0.__class__.__mro__} %s %n {x!r:>99999999}"
PATHS = ("../../../../etc/passwd", "/etc/passwd", "~/.ssh/id_rsa", "nul\0byte")


def write(path: Path, facts: list[dict[str, Any] | str]) -> None:
    """The study `path` with these facts, dicts or JSON text, whatever they say."""
    database = sqlite3.connect(path)
    database.executescript(SCHEMA)
    following, digest, rows = digest_of(SCHEMA_VERSION), 0, []
    for number, fact in enumerate(facts, start=1):
        text = fact if isinstance(fact, str) else json.dumps(fact, separators=(",", ":"))
        digest = following(digest, 1e9 + number, text.encode("utf-8", "surrogatepass"))
        rows.append((number, 1e9 + number, text, digest))
    database.executemany(INSERT, rows)
    database.commit()
    database.close()


def schema(path: Path, text: str) -> Path:
    """A database that says it is a study, with `text` in its schema."""
    connection = sqlite3.connect(path)
    connection.executescript(f"{text}; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 3")
    connection.close()
    return path


def an_endless_view(path: Path) -> Path:
    return schema(
        path, f"CREATE VIEW facts AS {ENDLESS} SELECT 1 AS id, 1.0 AS time, '' AS fact, 1 AS digest FROM r WHERE n < 0"
    )


def columns_that_compute(path: Path) -> Path:
    return schema(
        path,
        "CREATE TABLE facts (id INTEGER PRIMARY KEY, time REAL, fact TEXT AS (hex(zeroblob(100000000))), digest INTEGER)",
    )


def a_trigger(path: Path) -> Path:
    write(path, [CREATED])
    return schema(path, f"CREATE TRIGGER t BEFORE INSERT ON facts BEGIN {ENDLESS} SELECT n FROM r WHERE n < 0; END")


def a_virtual_table(path: Path) -> Path:
    return schema(path, "CREATE VIRTUAL TABLE facts USING fts5(id, time, fact, digest)")


def no_table(path: Path) -> Path:
    return schema(path, "CREATE TABLE other (x)")


SCHEMAS = {
    "an endless view": an_endless_view,
    "columns that compute": columns_that_compute,
    "a trigger": a_trigger,
    "a virtual table": a_virtual_table,
    "no table": no_table,
}
"""What may stand in a database instead of our table."""


def a_pipe_beside(path: Path, ending: str) -> None:
    write(path, [CREATED, *TRIAL])
    os.mkfifo(f"{path}{ending}")
    if ending == "-shm":
        Path(f"{path}-wal").write_bytes(b"junk" * 2000)


def a_snapshot(
    path: Path, schema: str = SNAPSHOT, content: bytes | None = None, piece: Any = None, **told: Any
) -> None:
    """A study in order, whose snapshot says something else, with digests that fit; or is something else altogether."""
    write(path, [CREATED, *TRIAL])
    given = Snapshots(rw.Study.open(path).state).pieces()
    assert given is not None
    stand, pieces = json.loads(given[1]), [given[2][0] if piece is None else piece]
    stand["pieces"][0][2] = zlib.crc32(pieces[0]) if isinstance(pieces[0], bytes) else 0
    if content is None:
        content = json.dumps(stand | told).encode("utf-8", "surrogatepass")
    database = sqlite3.connect(path)
    database.executescript(schema)
    if "TABLE" in schema:
        count = len(TRIAL) + 1
        digest = zlib.crc32(content, digest_at(database, count) or 0)
        rows = [(0, count, digest, content), *((place, count, 0, each) for place, each in enumerate(pieces, 1))]
        database.executemany("INSERT INTO snapshot (piece, facts, digest, content) VALUES (?, ?, ?, ?)", rows)
    database.commit()
    database.close()


SNAPSHOTS: dict[str, dict[str, Any]] = {
    "in order": {},
    "junk": {"content": b"junk"},
    "a pickle": {"content": pickle.dumps(print)},
    "a pickle as a piece": {"piece": pickle.dumps(print)},
    "an endless view": {
        "schema": f"CREATE VIEW snapshot AS {ENDLESS} SELECT n AS piece, 1 AS facts, 1 AS digest, x'00' AS content FROM r"
    },
    "columns that compute": {
        "schema": SNAPSHOT.replace("content BLOB NOT NULL", "content BLOB, more AS (hex(content))")
    },
    "a trigger": {"schema": f"{SNAPSHOT}; CREATE TRIGGER t BEFORE INSERT ON snapshot BEGIN SELECT 1; END"},
    "a piece of zeros": {"piece": bytes(2**26)},
    "a piece that is text": {"piece": "text"},
    "a piece that is a number": {"piece": HUGE},
    "code in how": {"how": {"function": "evilmod:S", "command": ["touch", "owned"]}},
    "deep": {"content": b'{"how":' + b'{"a":' * 100_000},
    "a deep configuration": {"queue": [json.loads('{"a":' * 400 + "1" + "}" * 400)]},
    "escapes": {"failures": [[0, ESCAPES]], "rare": [[0, 1, None, ESCAPES, ESCAPES, ESCAPES, []]]},
    "escapes as a name": {ESCAPES: 1},
    "huge numbers": {"resource_used": HUGE, "paused_at": [HUGE], "completed": {str(HUGE): HUGE}, "horizon": HUGE},
    "numbers beyond": {"resource_used": 10**400},
    "a job without end": {"running": [[0, 0, HUGE, False, HUGE]], "again": [0]},
    "seconds without end": {"time": [1e308, 1e308, True], "noted": 1e308},
    "no time": {"time": [-1e308, 0, True], "noted": -1e308},
    "the best of another": {"best": {"9": [1e308, 0]}, "rated": {"9": 1}},
    "a best where nobody is": {"best": {"9": [1e308, 0]}},
    "results without a best": {"best": {}},
    "a best of no results": {"best": {"9": [1e308, 0]}, "rated": {"9": 0}},
    "a best that has no number": {"best": {"9": ["nan", 0]}},
    "nobody is best": {"best": {}, "rated": {}, "completed": {}},
    "a refit": {"rare": [[0, 0, None, None, None, None, [[HUGE, None]]]], "refit_to": HUGE},
    "a report of itself": {"last": [0, 0]},
    "other types": {name: [ESCAPES] for name in ("running", "rises", "queue", "budget", "how", "sessions")},
}

FILES: dict[str, Callable[[Path], object]] = {
    **{f"schema: {name}": make for name, make in SCHEMAS.items()},
    **{f"snapshot: {name}": partial(a_snapshot, **how) for name, how in SNAPSHOTS.items()},
    **{f"beside: a pipe {end[1:]}": partial(a_pipe_beside, ending=end) for end in ("-wal", "-shm", "-journal")},
}


def created(**fields: Any) -> dict[str, Any]:
    """The beginning of a study with other `fields`."""
    return CREATED | fields


def studies() -> dict[str, list[Any]]:
    """The facts of each by its name; the first is in order."""
    made: dict[str, list[Any]] = {"good": [CREATED, *TRIAL]}

    def begins(name: str, **fields: Any) -> None:
        made[name] = [created(**fields), *TRIAL]

    for number, code in enumerate(CODE):
        begins(f"sampler {number}", searcher={"name": "optuna", "sampler": code, "arguments": {}})
        begins(f"sampler object {number}", searcher={"name": "optuna", "sampler": {"object": code}})
        screened = {"name": "screened", "proxy": code, "searcher": {"name": "random"}, "best_of": 4, "control": 5}
        begins(f"proxy {number}", searcher=screened)
        begins(f"proxy within {number}", searcher={"name": "first", "searcher": screened, "points": [], "earlier": []})
        begins(f"ranking {number}", scheduler=PASHA | {"ranking": {"name": "function", "function": code}})
        begins(f"scheduler {number}", scheduler={"name": code})
        begins(f"searcher {number}", searcher={"name": code})
        begins(f"function {number}", run={"function": code})
        begins(f"store {number}", run={"function": "train.py:train", "checkpoints": {"name": code, "path": "owned"}})
        begins(f"kind {number}", space={"x": {"type": code, "low": 0, "high": 1}})
    begins("command", run={"command": ["touch", "owned"]})
    begins("needs torch", searcher={"name": "gp"})
    begins("needs optuna", searcher={"name": "tpe", "gamma": "evilmod:S"})
    made["function of a later session"] = [
        CREATED, {"fact": "opened", "version": "1", "run": {"command": ["touch", "owned"]}}, *TRIAL,
    ]  # fmt: skip

    for number, text in enumerate((ESCAPES, FORMATS, *PATHS)):
        begins(f"text as name {number}", space={text: SPACE["x"]})
        begins(f"text as version {number}", version=text, id=text)
        begins(f"text as store {number}", id=text, run={"function": "train.py:train", "checkpoints": text})
        begins(f"text in run {number}", run={"function": text, "command": [text], "workers": text})
        choice = {"c": {"type": "categorical", "choices": [text, "b"]}}
        made[f"text as value {number}"] = [created(space=choice), STARTED | {"config": {"c": text}}, *TRIAL[1:]]
        made[f"text as reason {number}"] = [CREATED, STARTED, {"fact": "failed", "trial": 0, "reason": text}]
        made[f"text as rule {number}"] = [
            CREATED, *TRIAL,
            {"fact": "promoted", "trial": 0, "until": 3, "rank": 1, "size": 1, "quota": 10**30, "rule": text},
        ]  # fmt: skip
        made[f"text as why {number}"] = [
            CREATED, *TRIAL,
            {"fact": "raised", "until": 9, "level": 3, "compared": 1, "gap": None, "epsilon": None, "positions": 1,
             "broken": [], "why": text},
        ]  # fmt: skip

    for name, scheduler in {
        "a ladder of many rungs": PASHA | {"reduction_factor": 1.01, "max_resource": HUGE},
        "a ladder with no end": PASHA | {"reduction_factor": 1.01, "max_resource": None, "min_resource": HUGE},
        "many brackets": {"name": "async-hyperband", "ladder": "pasha", "brackets": 10**9, "max_resource": None},
        "brackets without number": {"name": "async-hyperband", "ladder": "asha", "brackets": -1, "max_resource": HUGE},
        "a ladder within": {"name": "async-hyperband", "ladder": {"name": "async-hyperband"}},
        "hyperband of many": {"name": "hyperband", "min_resource": 1, "reduction_factor": 1.01, "max_resource": HUGE},
        "halving of many": {"name": "halving", "reduction_factor": 1.01, "max_resource": HUGE, "bracket_size": 10**18},
        "median at every step": {"name": "median", "max_resource": HUGE, "interval": 1},
        "asha-stopping without end": {"name": "asha-stopping"},
        "ranking with more": PASHA | {"ranking": {"name": "function", "function": "f", "more": 1}},
        "ranking without name": PASHA | {"ranking": {"name": "function"}},
        "ranking of a number": PASHA | {"ranking": 7},
        "promotion of a number": PASHA | {"promotion": 7},
        "promotion without name": PASHA | {"promotion": {"deviations": 1}},
        "promotion of a function": PASHA | {"promotion": {"name": "function", "function": "f"}},
        "patience without end": PASHA | {"promotion": {"name": "patient", "deviations": 1e308, "opens_at": 2}},
        "patience of nobody": PASHA | {"promotion": {"name": "patient", "deviations": None, "opens_at": HUGE}},
        "breadth of text": PASHA | {"breadth_first": "yes"},
        "an argument that is none": PASHA | {"__class__": 1},
    }.items():
        begins(f"scheduler: {name}", scheduler=scheduler)

    parameter = {"type": "float", "low": 0.0, "high": 1.0}
    for name, space in {
        "many parameters": {f"p{number}": parameter for number in range(100_000)},
        "many choices": {"c": {"type": "categorical", "choices": list(range(50_000))}},
        "a cell of many nodes": {"c": {"type": "cell", "nodes": 1000}},
        "many operations": {"c": {"type": "cell", "nodes": 2, "operations": [f"o{n}" for n in range(50_000)]}},
        "an integer of all": {"x": {"type": "integer", "low": -HUGE, "high": HUGE}},
        "an integer beyond": {"x": {"type": "integer", "low": 0, "high": 10**400}},
        "a float of steps": {"x": {"type": "float", "low": 0.0, "high": 1e300, "step": 1e-300}},
        "all forbidden": {"parameters": {"x": {"type": "integer", "low": 0, "high": 1}}, "forbidden": [{"x": [0, 1]}]},
        "much forbidden": {"parameters": SPACE, "forbidden": [{"x": [n / 9e4]} for n in range(90_000)]},
        "a condition on a hard cell": {
            "c": {"type": "cell", "nodes": 9, "operations": ["none", "skip_connect", "conv"]},
            "x": parameter
            | {"when": {"c": ["+".join(f"|{'|'.join(f'conv~{s}' for s in range(e))}|" for e in range(1, 9))]}},
        },
        "conditions in a circle": {
            "a": {"type": "integer", "low": 0, "high": 1, "when": {"b": [1]}},
            "b": {"type": "integer", "low": 0, "high": 1, "when": {"a": [1]}},
        },
        "many conditions": {
            "c": {"type": "categorical", "choices": list(range(20_000))},
            "x": parameter | {"when": {"c": list(range(20_000))}},
        },
        "a parameter that is a list": {"x": [1, 2]},
        "a field that is none": {"x": parameter | {"__init__": 1}},
        "no parameters": {},
        "a name without end": {"x" * 100_000: parameter},
    }.items():
        begins(f"space: {name}", space=space)

    deep = "[" * 100_000 + "]" * 100_000
    made["deep JSON"] = [json.dumps(CREATED).replace('"random"', deep)]
    made["deep JSON that is read"] = [json.dumps(CREATED).replace('"random"', "[" * 900 + "]" * 900)]
    made["deep choice"] = [
        json.dumps(created(space={"c": {"type": "categorical", "choices": ["HERE", 1]}})).replace(
            '"HERE"', "[" * 900 + "]" * 900
        )
    ]
    searcher: dict[str, Any] = {"name": "random"}
    for _ in range(100):
        searcher = {"name": "first", "searcher": searcher}
    begins("searchers within searchers", searcher=searcher)
    begins("earlier that is none", searcher={"name": "first", "searcher": "random", "points": 5, "earlier": [7]})
    made["duplicate names"] = [json.dumps(CREATED)[:-1] + ', "mode": "max", "searcher": {"name": "evilmod:S"}}', *TRIAL]

    for field, value in CREATED.items():
        for number, other in enumerate((None, 7, -1.5, "text", [1], {"a": {"b": []}}, True)):
            if field != "fact" and type(other) is not type(value):
                begins(f"{field} of another type {number}", **{field: other})
    for fact in (STARTED, REPORTED, COMPLETED):
        for field in fact:
            for number, other in enumerate((None, -1, 10**18, 1.5, "text", [1], {"x": {}})):
                facts: list[Any] = [one | {field: other} if one is fact else one for one in TRIAL]
                made[f"{fact['fact']}, {field} of another value {number}"] = [CREATED, *facts]

    def goes_on(name: str, *facts: Any) -> None:
        made[f"out of order: {name}"] = [CREATED, *TRIAL, *facts]

    raised = {"fact": "raised", "level": 3, "compared": 1, "gap": 1e308, "epsilon": -1.0, "positions": -5, "broken": []}
    goes_on("completed again", COMPLETED)
    goes_on("completed, never started", {"fact": "completed", "trial": 5})
    goes_on("failed, never started", {"fact": "failed", "trial": -1, "reason": ""})
    goes_on("retried, not running", {"fact": "retried", "trial": 0, "reason": ""})
    goes_on("excused, not running", {"fact": "excused", "trial": 0, "attempts": -5})
    goes_on("reported, not running", REPORTED | {"resource": 2})
    goes_on("started twice", STARTED)
    goes_on("started, number left out", STARTED | {"trial": 2})
    goes_on("started outside the space", STARTED | {"trial": 1, "config": {"x": 5.6}})
    goes_on("started, another name", STARTED | {"trial": 1, "config": {"y": 0.5}})
    goes_on("reported twice", STARTED | {"trial": 1, "until": 3}, *[REPORTED | {"trial": 1, "resource": 2}] * 2)
    goes_on("reported beyond", STARTED | {"trial": 1}, REPORTED | {"trial": 1, "resource": 2})
    goes_on("several metrics", STARTED | {"trial": 1}, REPORTED | {"trial": 1, "score": {"a": 1.0}})
    goes_on("promoted to no rung", {"fact": "promoted", "trial": 0, "until": 4})
    goes_on("promoted downwards", {"fact": "promoted", "trial": 0, "until": 1})
    goes_on("promoted, repeats what never was", {"fact": "promoted", "trial": 0, "until": 3, "repeats": 2})
    goes_on("promoted, repeats less than nothing", {"fact": "promoted", "trial": 0, "until": 3, "repeats": -(10**30)})
    goes_on(
        "promoted, running", {"fact": "promoted", "trial": 0, "until": 3}, {"fact": "promoted", "trial": 0, "until": 9}
    )
    goes_on("promoted, never started", {"fact": "promoted", "trial": 9, "until": 3})
    goes_on("promoted far", {"fact": "promoted", "trial": 0, "until": 10**18})
    goes_on("raised beyond the ladder", raised | {"until": 27})
    goes_on("raised in no bracket", raised | {"until": 9, "bracket": -1})
    goes_on("raised to nowhere", raised | {"until": 10**18})
    goes_on("raised and broken", raised | {"until": 9, "broken": [
        {"position": -1, "trial": 10**18, "expected": -1, "below": [None, 1.0], "top": [1e308, None]},
    ]})  # fmt: skip
    goes_on("refitted backwards", {"fact": "refitted", "trial": 0, "start": 9, "until": 1})
    goes_on("refitted far", {"fact": "refitted", "trial": 0, "start": 1, "until": HUGE})
    goes_on("refitted, never started", {"fact": "refitted", "trial": 7, "start": 1, "until": 9})
    goes_on("taken back, not failed", {"fact": "takenback", "trial": 0})
    goes_on("taken back, never started", {"fact": "takenback", "trial": 77})
    goes_on("ran backwards", {"fact": "ran", "seconds": -1e300})
    goes_on("a budget below 0", {"fact": "extended", "trials": -1, "resource": None, "seconds": None, "target": None})
    goes_on("a target of text", {"fact": "extended", "trials": 1, "target": "x"})
    goes_on("begun again", created(mode="max"))
    goes_on("opened by nobody", {"fact": "opened", "version": ESCAPES, "run": {"function": 7, "workers": "many"}})
    goes_on("opened with checkpoints of a number", {"fact": "opened", "version": "1", "run": {"checkpoints": 7}})
    goes_on("a fact that is none", {"fact": "__class__"})
    goes_on("no fact", "null")
    goes_on("not a number", '{"fact":"reported","trial":0,"resource":1,"score":NaN}')
    goes_on("an infinity", '{"fact":"reported","trial":0,"resource":1,"score":1e999}')
    goes_on("no JSON", "\x00\x01")
    goes_on("no text at all", "")
    goes_on("wrong, then no JSON", '{"fact":"started","trial":"x",garbage')
    goes_on("newer than all", {"fact": "new", "version": "9" * 5_000})
    goes_on("a list", '["version", {"version": []}]')
    made["does not begin"] = TRIAL[:]
    made["nothing"] = []
    return made


def make(folder: Path) -> list[Path]:
    """Write all studies into `folder`, and the module that some of them name."""
    (folder / "evilmod.py").write_text("import pathlib\npathlib.Path('owned').touch()\nS = print\n")
    (folder / "train.py").write_text("import evilmod\ntrain = print\n")
    paths = []
    for number, (name, facts) in enumerate(studies().items()):
        paths.append(folder / f"{number:03} {name}.db")
        write(paths[-1], facts)
    for number, (name, write_file) in enumerate(FILES.items(), len(paths)):
        paths.append(folder / f"{number:03} {name}.db")
        write_file(paths[-1])
    return paths


if __name__ == "__main__":
    print(len(make(Path(sys.argv[1]))), "studies")
