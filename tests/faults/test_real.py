"""Every fault for real, once; `make faults` tries each of them ten times."""

from __future__ import annotations

import os

import pytest

from faults.real import FAULTS, INSIDE, tries

TRIES = int(os.environ.get("RUNGWISE_TRIES", "1"))


@pytest.mark.timeout(60 + 60 * TRIES)
@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost(fault: str) -> None:
    outcome = tries(fault, TRIES)
    assert (outcome.lost, outcome.stuck, outcome.from_zero) == (0, 0, 0)
    assert outcome.finished == outcome.studies == TRIES
    assert outcome.slowest < 30, "it was noticed; how soon, the printed table tells"
    assert outcome.repeated <= 2 * outcome.struck
    if fault in INSIDE:
        assert outcome.struck > 0 or TRIES == 1
