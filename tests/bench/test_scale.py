"""benchmarks/scale.py can be broken off, and docs/scale.md shows what it prints."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


@pytest.fixture
def scale() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scale", ROOT / "benchmarks" / "scale.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_what_is_measured(scale: ModuleType, tmp_path: Path) -> None:
    kept = scale.Kept(tmp_path / "runs.jsonl")
    for suite in scale.SUITES:
        scale.SUITES[suite] = (16,)
        for line in scale.by_machines(kept, suite):
            assert f"| {' | '.join(line)} |" in PAGE, "run: python benchmarks/evidence.py scale.py"


def test_it_goes_on_where_it_was(scale: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs.jsonl"
    scale.SUITES["fashion-cells"], scale.SEEDS[16] = (16,), 1
    whole = list(scale.by_machines(scale.Kept(path), "fashion-cells"))
    noted = path.read_bytes()
    assert noted.count(b"\n") == 2 * 2 * len(scale.SCHEDULERS)
    path.write_bytes(noted[: len(noted) * 2 // 3])  # in the middle of a line
    done: list[str] = []
    run = scale.run
    monkeypatch.setattr(scale, "run", lambda case, *how: done.append(case.scheduler) or run(case, *how))
    assert list(scale.by_machines(scale.Kept(path), "fashion-cells")) == whole
    assert 0 < len(done) < 2 * 2 * len(scale.SCHEDULERS)
    done.clear()
    assert list(scale.by_machines(scale.Kept(path), "fashion-cells")) == whole
    assert not done
    path.write_bytes(path.read_bytes().replace(scale.Kept(path).digest.encode(), b"of another one"))
    assert list(scale.by_machines(scale.Kept(path), "fashion-cells")) == whole
    assert len(done) == 2 * 2 * len(scale.SCHEDULERS), "the package has changed"
