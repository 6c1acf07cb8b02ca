"""Drawings of cells: every edge is there, from where it begins to where it ends."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from rungwise.nas import Cell
from rungwise.nas.draw import as_svg, as_text

SPACES = [Cell(), Cell(nodes=2), Cell(nodes=7, operations=("none", "a_b", "c&d"))]


def random_cell(rng: np.random.Generator, space: Cell) -> str:
    return space.text([space.operations[place] for place in rng.integers(len(space.operations), size=len(space.edges))])


@pytest.mark.parametrize("space", SPACES, ids=["4 nodes", "2 nodes", "7 nodes"])
def test_the_edges_can_be_read_off_the_text(space: Cell) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        cell = random_cell(rng, space)
        wanted = [(*edge, name) for edge, name in zip(space.edges, space.parse(cell), strict=True) if name != "none"]
        head, *rows = as_text(cell, space).split("\n")
        assert head.split() == [str(node) for node in range(space.nodes)]
        read = [(row.index("●") // 4, row.index("▶") // 4 + 1, row.split()[-1]) for row in rows]
        assert read == wanted
        assert all(row[head.index(str(end))] == "│" for row, (_, end, _) in zip(rows, read, strict=True))


@pytest.mark.parametrize("space", SPACES, ids=["4 nodes", "2 nodes", "7 nodes"])
def test_the_image_has_every_node_and_edge(space: Cell) -> None:
    cell = random_cell(np.random.default_rng(1), space)
    names = [name for name in space.parse(cell) if name != "none"]
    root = ElementTree.fromstring(as_svg(cell, space))
    shapes = [element.tag.rpartition("}")[2] for element in root]
    assert (shapes.count("path"), shapes.count("circle")) == (len(names), space.nodes)
    texts = [element.text for element in root if element.tag.endswith("text")]
    assert texts[: len(names)] == names
    assert (texts[len(names)], texts[-1]) == ("in", "out")
    width, height = (float(number) for number in root.get("viewBox").split()[2:])
    for circle in (element for element in root if element.tag.endswith("circle")):
        assert 0 < float(circle.get("cx")) < width
        assert 0 < float(circle.get("cy")) < height
