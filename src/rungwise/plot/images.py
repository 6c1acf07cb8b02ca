"""What do the best cells look like? The configurations of the best trials that hold a cell, each as an image."""

from __future__ import annotations

from typing import NamedTuple

from rungwise.errors import InputError
from rungwise.explain import number
from rungwise.nas.cells import Cell
from rungwise.nas.draw import as_svg
from rungwise.plot.studied import Studied
from rungwise.words import counted


class Drawn(NamedTuple):
    """The cell of `trial`, as `svg`, and how it stands in words."""

    trial: int
    svg: str
    standing: str


def cells(studied: Studied, top: int) -> list[Drawn]:
    """The cells of the `top` best trials, best first; `InputError` if the space has none.

    Where it has several, each is an image. Trials without a finite score are left out, and so are those without a cell.
    """
    studied.one_metric("cells")
    space = studied.state.space
    names = [name for name in space if isinstance(space[name], Cell)]
    if not names:
        raise InputError("cells draws parameters of the kind rw.Cell, and this study's space has none")
    found = []
    for record in studied.order:
        level = record.paused_at or record.resource
        score = studied.score_at(record, level)
        for name in names:
            cell, kind = record.config.get(name), space[name]
            if cell is not None and isinstance(kind, Cell) and studied.loss(score) < float("inf"):
                which = f", {name}" if len(names) > 1 else ""
                standing = f"trial {record.number}{which}: {number(score)} at {level}"
                found.append(Drawn(record.number, as_svg(cell, kind), standing))
        if len(found) >= top:
            break
    return found[:top]


def caption(studied: Studied, found: list[Drawn]) -> str:
    """What the figure shows, in words."""
    if not found:
        return "No trial has reported a finite score yet."
    trials = counted(len(studied.state.trials), "trial")
    return f"The cells of the best of {trials}; edges without an operation are left out."
