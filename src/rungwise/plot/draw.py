"""How are the rows drawn? One function a figure; lines that belong together are one trace with gaps.

Plotly takes seconds for thousands of traces, and a moment for one of thousands of points.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rungwise.explain import number
from rungwise.plot.bests import Best, Cost
from rungwise.plot.curves import Curves, Point, by_rung
from rungwise.plot.images import Drawn
from rungwise.plot.paper import GOOD, GREY, LOST, REFIT, RUNGS, color_of, figure, level_axis, plotly, text, used_axis
from rungwise.plot.places import Ranks
from rungwise.plot.rises import Ceiling
from rungwise.plot.seats import Ladder, Seat, climbs
from rungwise.plot.stretches import Stretch, Stretches
from rungwise.plot.studied import Studied
from rungwise.plot.usage import Use
from rungwise.words import duration

STOPS = {
    "went on": ("circle", "paused, went on"),
    "waits": ("circle-open", "paused, waits"),
    "failed": ("x", "failed"),
    "trains": ("triangle-right", "in training"),
}
FATES = {"went up": GOOD, "trains": RUNGS[4], "waits": RUNGS[0], "failed": LOST}
ACROSS = 3  # cells in a row


def _trace(drawn: Any, name: str, x: Iterable[Any], y: Iterable[Any], told: Iterable[str] | None, **style: Any) -> None:
    """One trace, with a gap at each None; `told` is what is said of each point to a pointer that rests on it."""
    said = {"hoverinfo": "skip"} if told is None else {"text": list(told), "hovertemplate": "%{text}<extra></extra>"}
    drawn.add_trace(plotly().Scatter(name=name, x=list(x), y=list(y), **said, **style))


def _star(drawn: Any, x: float, y: float, told: str) -> None:
    """The best trial."""
    marker = {"symbol": "star", "size": 14, "color": REFIT, "line": {"width": 1, "color": "#555555"}}
    _trace(drawn, told, [x], [y], [f"{told}, {number(y)}"], mode="markers", marker=marker)


def learning_curves(studied: Studied, found: Curves, caption: str, dark: bool) -> Any:
    """Score over resource; a mark where a trial paused."""
    axes = {"x": "resource", "y": studied.score_name}
    drawn = figure("Learning curves", caption, dark=dark, empty=not found.shown, **axes)

    def lines(name: str, points: Sequence[Point | None], color: str, width: int) -> None:
        told = [
            "" if each is None else f"trial {each.trial}: {number(each.score)} at {each.resource}" for each in points
        ]
        x, y = ([None if each is None else each[place] for each in points] for place in (1, 2))
        look = {"line": {"color": color, "width": width}, "marker": {"size": 3, "color": color}}
        _trace(drawn, name, x, y, told, mode="lines+markers", **look)

    if found.grey:
        lines("others", [point for curve in found.grey for point in (*curve, None)], GREY, 1)
    pieces = by_rung(found.shown)
    drawn.update_xaxes(**level_axis(list(pieces)))
    colors = color_of(list(pieces))
    for level, points in pieces.items():
        lines(f"to {level}", points, colors[level], 2)
    for fate, (symbol, name) in STOPS.items():
        if stops := [stop for stop in found.stops if stop.fate == fate]:
            told = [
                f"trial {stop.trial}: {number(stop.score)} at {stop.resource}, {name}"
                + (f" after {duration(stop.waited)}" if stop.waited else "")
                for stop in stops
            ]
            marker = {"symbol": symbol, "size": 7, "color": "#888888", "line": {"width": 1}}
            x, y = [stop.resource for stop in stops], [stop.score for stop in stops]
            _trace(drawn, name, x, y, told, mode="markers", marker=marker)
    if studied.best is not None and found.shown:
        best = studied.state.best
        _star(drawn, best.resource, best.score, f"best: trial {best.number}")
    return drawn


def ladder(studied: Studied, found: Ladder, caption: str, dark: bool) -> Any:
    """Rungs over time: a dot for each trial that came to a rung, the best highest, a line where it went up."""
    drawn = figure("Ladder", caption, dark=dark, x=_time(studied.stretches), y="rung", empty=not found.seats)
    levels = list(found.sizes)
    if not levels:
        return drawn

    def height(seat: Seat) -> float:
        return levels.index(seat.level) + 0.35 - 0.7 * (seat.rank - 0.5) / seat.size

    up = climbs(found.seats)
    x = [x for one, other in up for x in (one.time, other.time, None)]
    y = [y for one, other in up for y in (height(one), height(other), None)]
    _trace(drawn, "the way up", x, y, None, mode="lines", line={"color": GREY, "width": 1})
    for fate, color in FATES.items():
        if seats := [seat for seat in found.seats if seat.fate == fate]:
            told = [
                f"trial {seat.trial}: number {seat.rank} of {seat.size} at {seat.level}, {number(seat.score)}, {fate}"
                for seat in seats
            ]
            marker = {"color": color, "size": 6, "symbol": "x" if fate == "failed" else "circle"}
            _trace(drawn, fate, [s.time for s in seats], map(height, seats), told, mode="markers", marker=marker)
    ticks = {"tickvals": list(range(len(levels))), "ticktext": [str(level) for level in levels]}
    drawn.update_yaxes(zeroline=False, showgrid=False, **ticks)
    for place in range(len(levels)):
        drawn.add_hrect(place - 0.4, place + 0.4, fillcolor="#888888", opacity=0.1, line_width=0, layer="below")
    return _sessions(drawn, studied.stretches)


def ceiling(studied: Studied, found: Ceiling, caption: str, dark: bool) -> Any:
    """The ceiling in steps, and under it ε with the differences that were too large for it."""
    drawn = figure("Ceiling and noise", caption, dark=dark, x="resource used", y="ceiling", empty=not found.steps)
    if not found.steps:
        return drawn
    brackets = sorted({step.bracket for step in found.steps})
    for bracket in brackets:
        steps = [step for step in found.steps if step.bracket == bracket]
        name = "ceiling" if len(brackets) == 1 else f"ceiling of bracket {bracket + 1}"
        told = [
            f"{name}: {step.level} from {step.used} used on<br>" + "<br>".join(map(text, step.why.splitlines()))
            for step in (*steps, steps[-1])
        ]
        x, y = (
            [*(max(1, step.used) for step in steps), max(1, found.used)],
            [*(step.level for step in steps), steps[-1].level],
        )
        look = {"line": {"shape": "hv", "color": RUNGS[bracket % len(RUNGS)]}, "mode": "lines+markers"}
        _trace(drawn, name, x, y, told, **look)
    levels = level_axis(sorted({step.level for step in found.steps})) | {"type": "log"}
    noisy = [step for step in found.steps if step.gap is not None and step.epsilon is not None]
    below = bool(found.noise or noisy)
    drawn.update_layout(xaxis=used_axis(found.used), yaxis={"domain": [0.45 if below else 0, 1], **levels})
    if not below:
        return drawn
    drawn.update_layout(yaxis2={"domain": [0, 0.35], "title": text(studied.score_name), "rangemode": "tozero"})
    drawn.update_xaxes(anchor="y2")
    used, noise = [used for used, _ in found.noise], [epsilon for _, epsilon in found.noise]
    told = [f"ε = {number(epsilon)}" for epsilon in noise]
    _trace(drawn, "ε", used, noise, told, yaxis="y2", mode="lines", line={"color": RUNGS[3], "shape": "hv"})
    told = [f"a difference of {number(step.gap)} with ε = {number(step.epsilon)}: {step.level} opens" for step in noisy]
    marker = {"symbol": "triangle-up", "size": 10, "color": LOST}
    rises = [step.used for step in noisy], [step.gap for step in noisy]
    _trace(drawn, "difference that decided", *rises, told, yaxis="y2", mode="markers", marker=marker)
    return drawn


def ranks(studied: Studied, found: Ranks, caption: str, dark: bool) -> Any:
    """A line a trial over the rungs, the best on top, with a bar over the places that the noise could exchange."""
    drawn = figure("Ranks", caption, dark=dark, x="rung", y="place", empty=not found.shown)
    if not found.shown:
        return drawn
    for place, trial in enumerate(found.shown):
        mine = [row for row in found.places if row.trial == trial]
        color = RUNGS[place % len(RUNGS)]
        x = [found.levels.index(row.level) + 0.02 * (place - len(found.shown) / 2) for row in mine]
        told = [f"trial {trial}: number {row.rank} at {row.level}, {number(row.score)}" for row in mine]
        look: dict[str, Any] = {"line": {"color": color, "width": 2}, "marker": {"size": 8}}
        if found.epsilon is not None:
            over, under = [row.last - row.rank for row in mine], [row.rank - row.first for row in mine]
            bar = {"type": "data", "symmetric": False, "thickness": 1, "width": 3, "color": color}
            look["error_y"] = bar | {"array": over, "arrayminus": under}
        _trace(drawn, f"trial {trial}", x, [row.rank for row in mine], told, mode="lines+markers", **look)
    drawn.update_xaxes(tickvals=list(range(len(found.levels))), ticktext=[str(level) for level in found.levels])
    lowest = max(row.last for row in found.places)
    drawn.update_yaxes(range=[lowest + 0.9, 0.4], zeroline=False, tick0=1, dtick=max(1, lowest // 10))
    return drawn


def cost(studied: Studied, found: Cost, caption: str, dark: bool) -> Any:
    """The best report and the answer, in steps over the resource used."""
    axes = {"x": "resource used", "y": studied.score_name}
    drawn = figure("Resource against best", caption, dark=dark, empty=not found.reports, **axes)

    def steps(name: str, rows: Sequence[Best], color: str) -> None:
        if rows:
            x, y = [*(row.used for row in rows), found.used], [*(row.score for row in rows), rows[-1].score]
            told = [f"{name}: trial {row.trial}, {number(row.score)} at {row.resource}" for row in (*rows, rows[-1])]
            _trace(drawn, name, x, y, told, mode="lines+markers", line={"shape": "hv", "color": color})

    drawn.update_xaxes(**used_axis(found.used))
    steps("best report", found.reports, RUNGS[0])
    steps("answer", found.answers, RUNGS[4])
    if found.answers:
        _star(drawn, found.used, found.answers[-1].score, f"best: trial {found.answers[-1].trial}")
    return drawn


def slots(studied: Studied, found: Use, caption: str, dark: bool) -> Any:
    """A line a slot over time, colored by rung, red where work was lost, and empty where it waited."""
    drawn = figure("Slots", caption, dark=dark, x=_time(studied.stretches), y="slot", empty=not found.jobs)
    if not found.jobs:
        return drawn
    width = max(1.5, min(18.0, 380 / found.slots))

    def bars(
        name: str, color: str, wanted: Callable[[Stretch], bool], part: Callable[[Stretch], tuple[float, float]]
    ) -> None:
        if rows := [(slot, row) for slot, row in found.jobs if wanted(row)]:
            x = [x for _, row in rows for x in (*part(row), None)]
            y = [y for slot, _ in rows for y in (slot, slot, None)]
            told = [f"trial {row.trial}, {row.start} to {row.until}, {row.how}" for _, row in rows for _ in "123"]
            _trace(drawn, name, x, y, told, mode="lines", line={"color": color, "width": width})

    for level, color in color_of(sorted({row.until for _, row in found.jobs if not row.refit})).items():
        bars(f"to {level}", color, lambda row, level=level: row.until == level and not row.refit, _kept)  # type: ignore[misc]
    bars("refit", REFIT, lambda row: row.refit, _kept)
    bars("lost", LOST, lambda row: row.how in ("failed", "broke off"), lambda row: (row.kept, row.end))
    drawn.update_yaxes(range=[found.slots - 0.4, -0.6], zeroline=False, showgrid=False)
    if found.slots <= 20:
        drawn.update_yaxes(tickvals=list(range(found.slots)))
    return _sessions(drawn, studied.stretches)


def _kept(row: Stretch) -> tuple[float, float]:
    return row.begin, row.kept if row.how in ("failed", "broke off") else row.end


def cells(studied: Studied, found: Sequence[Drawn], caption: str, dark: bool) -> Any:
    """The images side by side, best first."""
    drawn = figure("Cells", caption, dark=dark, empty=not found)
    down = math.ceil(len(found) / ACROSS)
    paper: dict[str, Any] = {"xref": "paper", "yref": "paper"}
    for place, one in enumerate(found):
        left, above = (place % ACROSS) / ACROSS, 1 - (place // ACROSS) / down
        source = f"data:image/svg+xml;base64,{base64.b64encode(one.svg.encode()).decode()}"
        size = {"sizex": 0.96 / ACROSS, "sizey": 0.86 / down, "sizing": "contain"}
        drawn.add_layout_image(source=source, x=left, y=above - 0.12 / down, **size, **paper)
        middle = left + 0.48 / ACROSS
        drawn.add_annotation(text=text(one.standing), x=middle, y=above, yanchor="top", showarrow=False, **paper)
    drawn.update_layout(xaxis={"visible": False}, yaxis={"visible": False})
    return drawn


def _time(found: Stretches) -> str:
    return "seconds of running" if found.clock else "facts noted (there is no clock)"


def _sessions(drawn: Any, found: Stretches) -> Any:
    """A line where each session after the first began."""
    for began in found.sessions:
        drawn.add_vline(began, line={"dash": "dot", "width": 1, "color": "#888888"})
    return drawn
