"""What docs/algorithms.md shows is what the code prints, and nothing is missing from it."""

from __future__ import annotations

import functools
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import rungwise as rw
from rungwise.core import SCHEDULERS
from rungwise.core.criteria import RANKINGS
from rungwise.core.promotion import PROMOTIONS
from rungwise.search import SEARCHERS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "algorithms.md").read_text()
CHOOSE = (ROOT / "docs" / "how-to-choose.md").read_text()


@functools.cache
def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def printed(table: str) -> str:
    command = [sys.executable, ROOT / "benchmarks" / "options.py", table]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.needs("botorch", "optuna", "scipy")
@pytest.mark.parametrize("table", ["algorithms", "schedulers", "promotions", "rankings", "searchers"])
def test_the_page_shows_what_is_printed(table: str) -> None:
    (block,) = (found for found in script("evidence").BLOCK.finditer(PAGE) if found[1].endswith(f"options.py {table}"))
    shown = block[0].split("\n\n", 1)[1].removesuffix("\n<!-- end -->")
    assert shown == printed(table), "run: python benchmarks/evidence.py options"


def test_every_scheduler_and_most_searchers_are_part_of_an_algorithm() -> None:
    options = script("options")
    assert {options.scheduler_of(each.scheduler).name for each in options.ALGORITHMS} == set(SCHEDULERS)
    assert {eval(each.searcher) for each in options.ALGORITHMS} == set(SEARCHERS) - {"first", "optuna", "screened"}


@pytest.mark.parametrize("page", [PAGE, CHOOSE], ids=["algorithms", "how-to-choose"])
def test_every_name_is_on_both_pages(page: str) -> None:
    said = set(re.findall(r"[\w-]+", page))
    assert said >= {*SCHEDULERS, *SEARCHERS, *RANKINGS, *PROMOTIONS, "breadth_first"}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_who_pauses(name: str) -> None:
    options = script("options")
    ended: dict[int, float] = {}
    waited = []
    for time, trial, start, until in rw.simulate(
        options.scheduler_of(f"{name!r}"), options.unsettled(), trials=600
    ).jobs:
        waited.append(time - ended.get(trial, time))
        ended[trial] = time + until - start
    assert (max(waited) > 0) == (not options.JUDGED[name].endswith(options.NO_PAUSE))
