"""Which cells are there? Directed acyclic graphs with an operation on every edge, as one parameter of a space.

The space of NAS-Bench-201 (Dong and Yang, ICLR 2020, section 2) is `NAS_BENCH_201`; any number of nodes and any
operations make another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from rungwise.names import InputError
from rungwise.space import Parameter

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


@final
class Cell(Parameter, frozen=True):
    """A cell of `nodes` nodes, with one of `operations` on the edge from each node to each later one.

    Its values are texts as NAS-Bench-201 writes them: for each node but the first, the operations on the edges into it.

    >>> Cell().parse("|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|none~1|skip_connect~2|")
    ('avg_pool_3x3', 'nor_conv_1x1', 'skip_connect', 'none', 'none', 'skip_connect')
    """

    nodes: int = 4
    operations: Sequence[str] = OPERATIONS
    when: dict[str, Any] | None = None

    @property
    def edges(self) -> list[tuple[int, int]]:
        """(from, to) of each edge, in the order of the text: (0, 1), (0, 2), (1, 2), (0, 3) and so on."""
        return [(start, end) for end in range(1, self.nodes) for start in range(end)]

    def text(self, operations: Sequence[str]) -> str:
        """The cell with these operations, one an edge, in the order of `edges`."""
        given = list(zip(operations, self.edges, strict=True))
        nodes = [[f"{op}~{start}" for op, (start, end) in given if end == node] for node in range(1, self.nodes)]
        return "+".join(f"|{'|'.join(node)}|" for node in nodes)

    def parse(self, text: str) -> tuple[str, ...]:
        """The operation on each edge of the cell `text`, in the order of `edges`."""
        operations = tuple(part.partition("~")[0] for node in text.split("+") for part in node.strip("|").split("|"))
        if len(operations) != len(self.edges) or self.text(operations) != text:
            raise InputError(f"{text!r} is no cell of {self.nodes} nodes")
        return operations


NAS_BENCH_201 = Cell()
