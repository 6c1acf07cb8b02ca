"""The example of boosted trees: it keeps to its budget, and pausing does not change what it trains."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import rungwise as rw
from rungwise.testing import check_training

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.needs("sklearn")
def test_it_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "boosting.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    study = rw.Study.open(tmp_path / "runs" / "boosting.db")
    assert study.resource_used <= 10 * 81
    assert f"trial {study.best.number} of {len(study.trials)}, {study.best.config}" in done.stdout
    said = re.search(r"test loss after 81 rounds: ([\d.]+) \(validation ([\d.]+)\)", done.stdout)
    assert 0 < float(said[1]) < 0.3
    assert float(said[2]) < min(record.reports[1] for record in study.trials)  # more rounds are worth something


@pytest.mark.needs("sklearn")
def test_pausing_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    import boosting

    check_training(boosting.train, boosting.SPACE).check()
