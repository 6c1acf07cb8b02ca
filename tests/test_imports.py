"""Imports point one way, `core` and `search` know nothing of each other, `core` does no I/O."""

from __future__ import annotations

import ast
import graphlib
import re
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "rungwise"

# The house, from the ground up: a module may import those of its own floor and of the floors below.
FLOORS = [
    ["deletions", "ordered", "pieces"],
    ["dominance", "fronts"],
    ["version", "kinds", "tail", "errors", "words", "reports"],
    ["validation", "parts"],
    ["events", "store", "local_store", "cloud_store", "cluster"],
    ["metrics", "blame", "continuation"],
    ["parameters", "nas/__init__", "nas/cells", "nas/counts", "nas/draw"],
    ["space", "recommendation"],
    ["conversion"],
    ["core", "search", "explain", "heads", "checkpoints", "log", "hold"],
    ["turns", "paths", "database", "folders"],
    ["chain", "view", "storage"],
    ["integrity", "answers"],
    ["sqlite", "records", "trust", "frames", "best_state"],
    ["history", "peaks", "same_study", "answer_check", "contenders", "nearness", "report/__init__", "report/target"],
    ["summary"],
    ["state"],
    ["observers", "mirror", "afford"],
    ["replay"],
    ["snapshot"],
    ["decider"],
    ["refit", "looking", "waiting", "whatif"],
    ["watched", "optuna_trials"],
    ["optuna_storage"],
    ["plot", "page"],
    ["known"],
    ["steered"],
    ["study"],
    ["curves", "trial", "executors/__init__"],
    ["loop", "executors"],
    ["options", "control", "clock"],
    ["simulate", "loading"],
    ["report", "disk", "kept", "source", "forecast"],
    ["run", "bench", "nas", "testing", "distributed", "page/command"],
    ["cli", "__init__"],
    ["__main__"],
]
STRANGERS = [("core", "search"), ("search", "core")]
PURE = {"core", "search", "events", "parameters", "space", "conversion", "explain", "ordered", "dominance", "fronts"}
FORBIDDEN_IN_PURE = {
    "time",
    "datetime",
    "random",
    "logging",
    "os",
    "pathlib",
    "sqlite3",
    "subprocess",
    "threading",
    "io",
}
MODULES = sorted(path.relative_to(SOURCE).with_suffix("").as_posix() for path in SOURCE.rglob("*.py"))


def floor(module: str) -> int:
    for name in (module, module.split("/")[0]):
        for number, names in enumerate(FLOORS):
            if name in names:
                return number
    raise AssertionError(f"{module} has no floor in the house")


def imported(module: str) -> set[str]:
    """All imports of `module`, those inside functions too, but not those for the type checker alone."""
    tree = ast.parse((SOURCE / f"{module}.py").read_text())
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for node in ast.walk(block)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def ours(names: set[str]) -> set[str]:
    paths = {name.removeprefix("rungwise.").replace(".", "/") for name in names if name.startswith("rungwise.")}
    return {path for path in paths if path in MODULES} | {
        f"{path}/__init__" for path in paths if f"{path}/__init__" in MODULES
    }


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    for other in ours(imported(module)):
        assert floor(other) <= floor(module), f"{module} imports {other}, which stands above it"
        assert (module.split("/")[0], other.split("/")[0]) not in STRANGERS


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: ours(imported(module)) - {module} for module in MODULES}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


@pytest.mark.parametrize("module", [m for m in MODULES if m.split("/")[0] in PURE])
def test_decisions_do_no_io_and_use_no_chance(module: str) -> None:
    tops = {name.split(".")[0] for name in imported(module)}
    assert not tops & FORBIDDEN_IN_PURE
    if module.startswith("core"):
        assert tops <= set(sys.stdlib_module_names) | {"numpy", "msgspec", "rungwise"}


def test_only_run_and_what_it_is_made_of_read_the_clock() -> None:
    readers = {
        m
        for m in MODULES
        if re.search(r"\b(time|clock)\.(time|monotonic|perf_counter|sleep)\b", (SOURCE / f"{m}.py").read_text())
    }
    assert readers == {
        "run",
        "cli",
        "control",
        "distributed",
        "cloud_store",
        "trial",
        "executors/files",
        "executors/limited",
        "executors/local",
        "executors/pilot",
        "executors/pilots",
        "executors/whereabouts",
        "report/live",
        "sqlite",
        "testing/executor",
        "view",
        "integrity",
        "optuna_storage",
    }  # view waits a moment, whole looks now and then


def test_the_reading_path_stays_short() -> None:
    """What CONTRIBUTING promises: the whole of the deciding and the loop in some 1,650 lines of code."""
    path = ["events", "core/rungs", "core/asha", "core/pasha", "core/ranking", "core/noise", "state", "decider", "loop"]
    assert sum(code_lines(module) for module in path) < 1_700


def code_lines(module: str) -> int:
    """Lines that are neither blank, comment nor docstring."""
    source = (SOURCE / f"{module}.py").read_text()
    told: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            told |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(source.splitlines(), start=1)
    return sum(bool(text.strip()) and not text.strip().startswith("#") and n not in told for n, text in lines)
