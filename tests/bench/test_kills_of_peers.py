"""What benchmarks/peers/kills.py counts, from diaries written by hand."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "peers"


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import kills

    return kills


def diary(*jobs: tuple[str, int, int, int]) -> list[str]:
    """A job is (trial, epoch of its checkpoint, last epoch trained, last epoch saved)."""
    lines = []
    for trial, start, trained, saved in jobs:
        lines.append(f"began {trial} {start}")
        for epoch in range(start + 1, trained + 1):
            lines.append(f"trained {trial} {epoch}")
            if epoch <= saved:
                lines.append(f"saved {trial} {epoch}")
    return lines


def test_nothing_is_counted_where_nothing_happened(kills: ModuleType) -> None:
    counts = kills.Counts()
    found = {"states": {"0": "ended", "1": "ended"}, "reports": {"0": [1, 2, 3], "1": [1]}, "enough": True}
    counts.read(diary(("0", 0, 3, 3), ("1", 0, 1, 1)), found, done=True)
    assert counts == kills.Counts(studies=1, acknowledged=4, trained=4, finished=1)


def test_each_kind_of_loss_is_counted(kills: ModuleType) -> None:
    counts = kills.Counts()
    lines = [
        *diary(("0", 0, 3, 2)),  # killed in epoch 3,
        *diary(("0", 2, 3, 3)),  # which is trained again: no loss but that
        *diary(("1", 0, 3, 3), ("1", 0, 1, 1)),  # from zero, and stuck there; 2 and 3 are lost
        *diary(("2", 9, 10, 10)),  # with what another trial had saved
        "struck 2 123.4",
    ]
    found = {"states": {"0": "ended", "1": "stuck"}, "reports": {"0": [1, 2, 3], "1": [1]}, "enough": True}
    counts.read(lines, found, done=True)
    assert counts == kills.Counts(
        studies=1, struck=1, acknowledged=7, lost=3, stuck=1, too_early=1, foreign=1, repeated=2, trained=9
    )


def test_a_report_that_was_saved_but_not_taken_is_not_acknowledged(kills: ModuleType) -> None:
    counts = kills.Counts()
    found = {"states": {"0": "ended"}, "reports": {"0": [3]}, "enough": False}
    counts.read([*diary(("0", 0, 3, 3)), "reported 0 3"], found, done=True, acknowledged="reported")
    assert (counts.acknowledged, counts.lost, counts.finished) == (1, 0, 0)
