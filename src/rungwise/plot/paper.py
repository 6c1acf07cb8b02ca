"""What is common to all figures: Plotly, its paper in light and dark, colors, the caption; and several on one page.

Plotly is imported when the first figure is drawn. Text that comes from a study is escaped: Plotly reads tags.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from rungwise.parts import library
from rungwise.words import shown

WIDTH = 130  # characters of a caption on one line
RUNGS = "#4c78a8", "#2a9d8f", "#5a9e3f", "#b08900", "#e07b39", "#d1495b", "#9b5de5", "#8c6d62"
"""The colors of rungs from the bottom, again from the first where there are more; seen on black and on white."""
GREY, LOST, GOOD, REFIT = "rgba(128,128,128,0.35)", "#d1495b", "#2a9d8f", "#e0a800"


def plotly() -> Any:
    """The module `plotly.graph_objects`; `InputError` if it is not installed."""
    return library("plotly.graph_objects", "a figure", "plot")


def text(value: object) -> str:
    """`value` as text in which Plotly finds no tags."""
    return html.escape(shown(value))


def color_of(levels: Sequence[int]) -> dict[int, str]:
    """A color for each of `levels`."""
    return {level: RUNGS[place % len(RUNGS)] for place, level in enumerate(sorted(levels))}


def titled(drawn: Any, title: str, caption: str, *, dark: bool) -> None:
    """Give a figure its paper, its title, and under that its caption, if there is one."""
    lines = textwrap.wrap(shown(caption), WIDTH, break_long_words=False)
    told = f"<br><span style='font-size:13px'>{'<br>'.join(map(text, lines))}</span>" if lines else ""
    drawn.update_layout(
        template="plotly_dark" if dark else "plotly_white",
        title={
            "text": f"<b>{text(title)}</b>{told}", "font": {"size": 17}, "pad": {"t": 14},
            "x": 0.02, "xanchor": "left", "y": 1, "yref": "container", "yanchor": "top",
        },
        margin={"t": 60 + 18 * len(lines), "l": 70, "r": 30, "b": 60},
    )  # fmt: skip


def figure(title: str, caption: str, *, dark: bool, x: str = "", y: str = "", empty: bool = False) -> Any:
    """A figure without data, with its caption under the title; an `empty` one shows the caption in the middle."""
    drawn = plotly().Figure()
    titled(drawn, title, "" if empty else caption, dark=dark)
    drawn.update_layout(
        hovermode="closest", xaxis={"title": text(x)}, yaxis={"title": text(y)}, meta={"caption": shown(caption)}
    )
    if empty:
        drawn.update_layout(xaxis={"visible": False}, yaxis={"visible": False})
        middle = {"x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper"}
        drawn.add_annotation(text=text(caption), showarrow=False, font={"size": 15}, **middle)
    return drawn


def level_axis(levels: Sequence[int]) -> dict[str, Any]:
    """An axis of resource with a tick at each of `levels`, logarithmic if these are three or more."""
    kind = "log" if len(levels) > 2 else "linear"
    return {"type": kind, "tickvals": list(levels), "ticktext": [str(level) for level in levels]}


def used_axis(used: int) -> dict[str, Any]:
    """An axis of resource used, logarithmic if much was: most happens early on."""
    return {"type": "log" if used >= 100 else "linear"}


@final
class Figures(Mapping[str, Any]):
    """Figures of a study by name, each a `plotly.graph_objects.Figure`; a notebook shows them below each other.

    >>> list(Figures({}))
    []
    """

    def __init__(self, figures: Mapping[str, Any]) -> None:
        self._figures = dict(figures)

    def __getitem__(self, name: str) -> Any:
        return self._figures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._figures)

    def __len__(self) -> int:
        return len(self._figures)

    def __repr__(self) -> str:
        """The names of the figures."""
        return f"<figures: {', '.join(self._figures)}>"

    def _repr_html_(self) -> str:
        return self._parts("cdn")

    def show(self) -> None:
        """Show each, as Plotly does: in the notebook, or in a browser."""
        for drawn in self._figures.values():
            drawn.show()

    def to_html(self, *, cdn: bool = False) -> str:
        """One page with all of them. It holds Plotly (5 MB) and needs no network, or with `cdn` loads it from there."""
        drawn = list(self._figures.values())
        paper = drawn[0].layout.template.layout.paper_bgcolor if drawn else "white"
        head = f'<meta charset="utf-8"><title>Rungwise</title><style>body {{ background: {paper} }}</style>'
        return f"<!DOCTYPE html><html><head>{head}</head><body>{self._parts('cdn' if cdn else True)}</body></html>\n"

    def write_html(self, path: str | Path, *, cdn: bool = False) -> None:
        """Write that page to the file `path`."""
        Path(path).write_text(self.to_html(cdn=cdn), encoding="utf-8")

    def _parts(self, script: bool | str) -> str:
        return "\n".join(
            drawn.to_html(full_html=False, include_plotlyjs=False if place else script, default_height="560px")
            for place, drawn in enumerate(self._figures.values())
        )
