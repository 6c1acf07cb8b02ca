"""What an installation asks of a user's environment, and what ours is held at."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WANTED = [*PROJECT["dependencies"], *(each for extra in PROJECT["optional-dependencies"].values() for each in extra)]


def test_an_installation_replaces_nobodys_build_of_a_library() -> None:
    """A pinned torch would take the place of a CUDA build that is there."""
    assert [
        each for each in WANTED if "rungwise[" not in each and not re.fullmatch(r"[\w-]+(\[\w+\])?>=[\d.]+", each)
    ] == []


def test_the_makefile_installs_what_the_tests_use() -> None:
    held = (ROOT / "tests" / "constraints.txt").read_text(encoding="utf-8")
    assert re.search(r"^torch==[\d.]+", held, re.MULTILINE)
    for line in re.findall(r"pip install(?:.|\\\n)*", (ROOT / "Makefile").read_text(encoding="utf-8")):
        assert "--constraint tests/constraints.txt" in line or ".[core-test]" in line
