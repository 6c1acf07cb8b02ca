"""What does a cell look like? As text for a terminal, and as an SVG image. Edges without an operation are left out."""

from __future__ import annotations

from html import escape

from rungwise.nas.cells import NAS_BENCH_201, Cell

COLOURS = "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377"  # Paul Tol's "bright"
STEP, RISE, RADIUS = 180, 56, 16  # pixels: between nodes, of an arc over each node that it passes, of a node


def as_text(cell: str, space: Cell = NAS_BENCH_201) -> str:
    """A column a node, from the input on the left to the output on the right, and a row an edge.

    >>> print(as_text("|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"))
    0   1   2   3
    ●──▶│   │   │  nor_conv_3x3
    │   ●──▶│   │  avg_pool_3x3
    ●──────────▶│  skip_connect
    │   │   ●──▶│  nor_conv_1x1
    """
    lines = ["".join(f"{node:<4}" for node in range(space.nodes)).rstrip()]
    for start, end, name in _drawn(cell, space):
        before, arrow, after = "│   " * start, f"●{'─' * (4 * (end - start) - 2)}▶│", "   │" * (space.nodes - 1 - end)
        lines.append(f"{before}{arrow}{after}  {name}")
    return "\n".join(lines)


def as_svg(cell: str, space: Cell = NAS_BENCH_201) -> str:
    """The nodes on a line and an arc for each edge, from left to right, colored by its operation: an SVG document.

    >>> as_svg("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|").count("<path")
    2
    """
    names = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(space.operations) if name != "none"}
    width, line = STEP * space.nodes, RISE * space.nodes + 30

    def x(node: int) -> int:
        return STEP // 2 + STEP * node

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {line + 40}" font-family="sans-serif" '
        f'font-size="12" text-anchor="middle">',
    ]
    for start, end, name in _drawn(cell, space):
        top, middle = line - RISE * (end - start), (x(start) + x(end)) / 2
        ends = (x(start) + RADIUS * 0.7, x(end) - RADIUS * 0.7)
        bottom = line - RADIUS * 0.8
        control = 2 * top - bottom  # a quadratic curve goes half way to its control point
        parts.append(
            f'<path d="M{ends[0]} {bottom} Q{middle} {control} {ends[1]} {bottom}" fill="none" '
            f'stroke="{names[name]}" stroke-width="2"/>'
            f'<text x="{middle}" y="{top - 5}" fill="{names[name]}">{escape(name)}</text>'
        )
    for node in range(space.nodes):
        label = {0: "in", space.nodes - 1: "out"}.get(node, str(node))
        parts.append(
            f'<circle cx="{x(node)}" cy="{line}" r="{RADIUS}" fill="#eeeeee" stroke="#333333"/>'
            f'<text x="{x(node)}" y="{line + 4}">{label}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])


def _drawn(cell: str, space: Cell) -> list[tuple[int, int, str]]:
    edges = zip(space.edges, space.parse(cell), strict=True)
    return [(start, end, name) for (start, end), name in edges if name != "none"]
