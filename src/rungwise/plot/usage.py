"""Who trained when, and what of it was waiting or lost? Rows of numbers for the slots over time."""

from __future__ import annotations

from typing import NamedTuple

from rungwise.plot.stretches import Stretch, slots
from rungwise.plot.studied import Studied
from rungwise.words import counted, duration

TOO_MANY = 4_000
"""So many jobs are drawn, the last ones: more would be narrower than a pixel."""


class Use(NamedTuple):
    """The jobs to be drawn, each with the number of its slot from 0, and what all time of the slots was used for.

    `trained`, `lost` and `waited` are seconds, or facts where there is no clock; `earlier` jobs are left out.
    """

    jobs: list[tuple[int, Stretch]]
    slots: int
    trained: float
    lost: float
    waited: float
    earlier: int


def use(studied: Studied) -> Use:
    """Jobs that overlapped have a slot each. What was trained after the last report of a job that broke is lost.

    Slots are as many as were ever busy at once, or the workers of the last run if these are more.
    """
    found = studied.stretches
    lines = slots(found.rows)
    workers = studied.state.how.get("workers")
    busy = max(lines, default=-1) + 1
    number = max(busy, workers if isinstance(workers, int) and found.rows else 0)
    lost = sum(row.end - row.kept for row in found.rows if row.how in ("failed", "broke off"))
    trained = sum(row.end - row.begin for row in found.rows) - lost
    jobs = sorted(zip(lines, found.rows, strict=True), key=lambda job: job[1].begin)
    drawn = jobs[-TOO_MANY:]
    return Use(drawn, number, trained, lost, max(0.0, number * found.end - trained - lost), len(jobs) - len(drawn))


def caption(studied: Studied, found: Use) -> str:
    """What the figure shows, in words."""
    if not found.jobs:
        return "No job has been given out yet."
    ended = studied.stretches
    jobs = counted(len(found.jobs) + found.earlier, "job")
    if ended.clock and ended.end:
        total = found.slots * ended.end
        shares = [
            f"{part / total:.0%} {what}" for part, what in ((found.trained, "training"), (found.waited, "waiting"))
        ]
        shares += [f"{found.lost / total:.0%} lost to failures and interruptions"] if found.lost else []
        text = f"{jobs} on {counted(found.slots, 'slot')} in {duration(ended.end)}: {', '.join(shares)}."
    else:
        text = f"{jobs} on {counted(found.slots, 'slot')}. This study has no clock, so the axis counts facts."
    text += f" A dotted line is where it was resumed ({len(ended.sessions)}×)." if ended.sessions else ""
    return text + (f" The first {found.earlier} jobs are not drawn." if found.earlier else "")
