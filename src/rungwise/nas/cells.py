"""Which cells are there? Directed acyclic graphs with an operation on every edge, as one parameter of a space.

The space of NAS-Bench-201 (Dong and Yang, ICLR 2020, section 2) is `NAS_BENCH_201`; any number of nodes and any
operations make another. Many texts compute the same function; `Cell.canonical` is one text for all of them. Imports
`errors`, `parameters` and `validation`.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, final

import msgspec
import numpy as np

from rungwise.errors import InputError, suggestion
from rungwise.parameters import Axis, Parameter
from rungwise.validation import LARGEST_INTEGER, plain, whole

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NONE, SKIP = OPERATIONS[:2]
"""The two operations whose meaning is known here: zero, and the input itself."""
MOST_LISTED = 100_000  # cells of a grid
KEPT = 2**15  # results of each of the functions below that take time


@final
class Cell(Parameter, frozen=True):
    """A cell with `nodes` nodes, and one of `operations` on the edge from each node to each later one.

    Node 0 is the input, the last node the output. A node is the sum of its incoming edges; each edge applies its
    operation to the node from which it comes. "none" is zero and "skip_connect" the identity; any other operation may
    be any function with weights of its own. Values are strings in the notation of NAS-Bench-201: for each node but the
    first, the operations on its incoming edges. Cells that compute the same function are one value (see `canonical`):
    you may give any of them, and a configuration holds the canonical one. `when` works as for `Float`.

    >>> cell = Cell()
    >>> cell.canonical("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|avg_pool_3x3~1|nor_conv_1x1~2|")
    '|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|nor_conv_1x1~1|avg_pool_3x3~2|'
    >>> cell.parse("|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|none~1|skip_connect~2|")
    ('avg_pool_3x3', 'nor_conv_1x1', 'skip_connect', 'none', 'none', 'skip_connect')

    Raises `InputError` for fewer than 2 nodes or operations, for an operation's name that is not one word or contains
    one of `~|+`, and for more than 2**53 cells.
    """

    has_synonyms: ClassVar[bool] = True

    nodes: int = 4
    operations: tuple[str, ...] = OPERATIONS
    when: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self._set(nodes=whole(self.nodes, "nodes"))
        if self.nodes < 2:
            raise InputError(f"nodes must be 2 or more, the input and the output, not {self.nodes}")
        if not isinstance(self.operations, (list, tuple)):
            raise InputError(f"operations must be a list of names, not {self.operations!r}")
        operations = tuple(plain(list(self.operations), "operations"))
        for name in operations:
            if not isinstance(name, str) or not name.isprintable() or not name or set(name) & set("~|+ "):
                raise InputError(f"an operation must be a word without ~, | and +, not {name!r}")
        if len(set(operations)) < len(operations):
            raise InputError(f"operations holds {Counter(operations).most_common(1)[0][0]!r} twice")
        if len(operations) < 2:
            raise InputError(f"operations must be 2 names or more, not {list(operations)}")
        self._set(operations=OPERATIONS if operations == OPERATIONS else operations)  # msgspec omits a default by `is`
        if self.nodes > 11 or self.size > LARGEST_INTEGER:  # 11 nodes have 55 edges
            raise InputError(
                f"{self.nodes} nodes with {len(operations)} operations make more than 2**53 cells; take fewer"
            )
        self._check_when(self.when)

    @property
    def size(self) -> int:
        """How many texts there are, those of equal cells counted apart."""
        return int(len(self.operations) ** (self.nodes * (self.nodes - 1) // 2))

    @property
    def edges(self) -> list[tuple[int, int]]:
        """(from, to) of each edge, in the order of the text: (0, 1), (0, 2), (1, 2), (0, 3) and so on."""
        return [(start, end) for end in range(1, self.nodes) for start in range(end)]

    def text(self, operations: Sequence[str]) -> str:
        """The cell with these operations, one an edge, in the order of `edges`.

        Raises `InputError` if there are more or fewer of them than edges.
        """
        if len(operations) != len(self.edges):
            raise InputError(f"{self.nodes} nodes have {len(self.edges)} edges, not {len(operations)}")
        given = list(zip(operations, self.edges, strict=True))
        nodes = [[f"{op}~{start}" for op, (start, end) in given if end == node] for node in range(1, self.nodes)]
        return "+".join(f"|{'|'.join(node)}|" for node in nodes)

    def parse(self, text: str) -> tuple[str, ...]:
        """The operation on each edge of the cell `text`, in the order of `edges`.

        Raises `InputError` for a text that is no cell of this space, and says what was probably meant.
        """
        return _parsed(self.nodes, self.operations, text)

    def wrong(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        if not isinstance(value, str) or not (value.startswith("|") and value.endswith("|")):
            return f"wants a text like {self.text([self.operations[0]] * len(self.edges))!r}"
        if (count := value.count("+") + 2) != self.nodes:
            return f"wants a cell of {self.nodes} nodes, this has {count}"
        operations = _operations(value)
        for name in operations:
            if name not in self.operations:
                return f"has no operation {name!r}{suggestion(name, self.operations)}"
        if len(operations) != len(self.edges) or self.text(operations) != value:
            sources = "+".join(f"|{'|'.join(f'…~{start}' for start in range(end))}|" for end in range(1, self.nodes))
            return f"wants one operation on each edge, in this order: {sources}"
        return None

    def canonical(self, text: str) -> str:
        """The first of all texts that compute the same function as `text`.

        First is what has the first operation on the first edge where two differ; "none" stands before "skip_connect",
        and that before the others.

        Two cells compute the same if for every setting of the weights of one there is one of the other, in which the
        same weights stand elsewhere, with equal outputs. So an edge on no path from input to output counts as "none" (a
        node without input is zero, and every operation on it), a node whose only input is a skip is the node it comes
        from, and nodes and sums may be written in another order; but two convolutions of one input are two, even when
        both are added to the same node, and a sum of the same node twice is not the node. An operation of which no
        more is known than its name shares nothing: two poolings count as two operations, though they have no weights.
        It takes about 0.2 ms for 4 nodes and is kept; some cells of 7 nodes take a second.

        Of the 15,625 cells of NAS-Bench-201, 5,425 are distinct under these rules, and 6,466 under those of its paper,
        which compare each node's formula written out (`to_unique_str`). There zeros stay in a sum, and a sum within a
        sum keeps its place, so one cell may count as several. Without that 4,930 formulas would be left, fewer than
        cells, since a formula does not tell one convolution that is used twice from two convolutions.
        """
        return _canonical(self.nodes, self.operations, text)

    def normal(self, value: Any) -> Any:
        """The canonical text of the cell."""
        return self.canonical(value)

    def decode(self, u: float) -> str:
        """The cell at `u` in [0, 1]: each text has the same share of it, in the order of `operations`."""
        place = min(int(u * self.size), self.size - 1)
        return self.canonical(self._at(place))

    def _at(self, place: int) -> str:
        operations = []
        for _ in self.edges:
            place, digit = divmod(place, len(self.operations))
            operations.append(self.operations[digit])
        return self.text(operations[::-1])

    def _place(self, text: str) -> int:
        place = 0
        for name in self.parse(text):
            place = place * len(self.operations) + self.operations.index(name)
        return place

    def encode(self, value: str) -> float:
        """The middle of what the text `value` has of [0, 1]."""
        return (self._place(value) + 0.5) / self.size

    def interval(self, value: str) -> tuple[float, float]:
        """What the text `value` has of [0, 1]; other texts of the same cell have parts elsewhere."""
        place = self._place(value)
        return place / self.size, (place + 1) / self.size

    def features(self, value: str) -> list[float]:
        """What a model sees of the cell, whatever its text: three numbers an operation with weights, and one a node.

        How many there are of each operation; how many paths from input to output have 0, 1, … operations, on a
        logarithmic scale; the most of each operation on one path; the share of the paths that have it. It is a summary
        of BANANAS's path encoding (White, Neiswanger and Savani, AAAI 2021, section 4), which has a number for every
        path that there may be: too many to learn from some dozen results. What it is worth: benchmarks/nas201.py.

        >>> Cell(nodes=3, operations=["none", "skip_connect", "conv"]).features("|conv~0|+|skip_connect~0|conv~1|")
        [0.666..., 0.630..., 0.0, 0.630..., 1.0, 0.5]
        """
        return list(_features(self.nodes, self.operations, value))

    def listed(self, points: int) -> list[float]:
        """All distinct cells."""
        if self.size > MOST_LISTED:
            raise InputError(f"there are {self.size:,} cells, more than a grid may have: {MOST_LISTED:,}")
        return [self.encode(cell) for cell in self.distinct()]

    def axes(self) -> dict[str, Axis]:
        """One an edge, of the operations, so that a searcher can learn of edges."""
        return {f"{start}-{end}": Axis(choices=len(self.operations)) for start, end in self.edges}

    def to_axes(self, value: Any) -> list[Any]:
        """The place of the operation on each edge."""
        return [self.operations.index(operation) for operation in self.parse(value)]

    def from_axes(self, numbers: Sequence[Any]) -> Any:
        """The text with those operations."""
        return self.text([self.operations[number] for number in numbers])

    def neighbors(self, text: str) -> list[str]:
        """The distinct cells, canonical, that differ from the canonical form of `text` by the operation on one edge.

        None has more nodes on paths from input to output: to bring in another one, two edges must change.
        """
        return list(_neighbors(self.nodes, self.operations, text))

    def neighbor(self, value: str, rng: np.random.Generator) -> str:
        """One of the `neighbors` of `value`, each as likely."""
        others = _neighbors(self.nodes, self.operations, value)
        return others[int(rng.integers(len(others)))]

    def distinct(self) -> list[str]:
        """All cells, each once, canonical, in the order of their texts; a space of 10,000 texts takes a second or so.

        >>> len(Cell(nodes=3).distinct())
        60
        """
        every = itertools.product(self.operations, repeat=len(self.edges))
        texts = (self.text(operations) for operations in every)
        return list(dict.fromkeys(self.canonical(text) for text in texts))


def _operations(text: str) -> tuple[str, ...]:
    return tuple(part.partition("~")[0] for node in text.split("+") for part in node.strip("|").split("|"))


@lru_cache(maxsize=KEPT)
def _parsed(nodes: int, operations: tuple[str, ...], text: str) -> tuple[str, ...]:
    if (wrong := Cell(nodes, operations).wrong(text)) is not None:
        raise InputError(f"a cell {wrong}, not {text!r}")
    return _operations(text)


@lru_cache(maxsize=KEPT)
def _canonical(nodes: int, operations: tuple[str, ...], text: str) -> str:
    names = sorted(operations, key=lambda name: (name != NONE, name != SKIP))
    kinds = tuple(name if name in (NONE, SKIP) else None for name in names)
    places = tuple(names.index(name) for name in _parsed(nodes, operations, text))
    return Cell(nodes, operations).text([names[place] for place in _first(nodes, kinds, places)])


@lru_cache(maxsize=KEPT)
def _neighbors(nodes: int, operations: tuple[str, ...], text: str) -> tuple[str, ...]:
    cell = Cell(nodes, operations)
    own = cell.canonical(text)
    names = list(cell.parse(own))
    changed = {
        cell.canonical(cell.text([*names[:edge], name, *names[edge + 1 :]])): None
        for edge in range(len(names))
        for name in operations
        if name != names[edge]
    }
    return tuple(other for other in changed if other != own)


@lru_cache(maxsize=KEPT)
def _features(nodes: int, operations: tuple[str, ...], text: str) -> tuple[float, ...]:
    kinds = tuple(name if name in (NONE, SKIP) else None for name in operations)
    places = tuple(operations.index(name) for name in _parsed(nodes, operations, text))
    weighted = [place for place, kind in enumerate(kinds) if kind is None]
    terms = _terms(nodes, kinds, places)
    paths = terms.paths(weighted)
    number = paths.total()
    lengths = [sum(times for path, times in paths.items() if sum(path) == length) for length in range(nodes)]
    return (
        *(terms.operations.count(place) / len(places) for place in weighted),
        *(math.log1p(length) / math.log1p(2 ** (nodes - 2)) for length in lengths),
        *(max((path[i] for path in paths), default=0) / (nodes - 1) for i in range(len(weighted))),
        *(sum(n for path, n in paths.items() if path[i]) / max(number, 1) for i in range(len(weighted))),
    )


class _Terms(msgspec.Struct):
    """What a cell computes, without its nodes: a term is the input, or an operation on a sum of terms.

    A sum is a whole number that holds how often each term is in it, `width` bits for each, the input in the lowest;
    so sums are added as numbers are.
    """

    width: int
    operations: list[int]  # of each term but the input
    sources: list[int]  # the sum that each of them is applied to
    output: int

    def count(self, term: int, total: int) -> int:
        """How often `term`, -1 for the input, is in the sum `total`."""
        return total >> (self.width * (term + 1)) & ((1 << self.width) - 1)

    def uses(self, term: int) -> tuple[int, ...]:
        """How often `term` is in each source and in the output."""
        return tuple(self.count(term, total) for total in (*self.sources, self.output))

    def paths(self, operations: Sequence[int]) -> Counter[tuple[int, ...]]:
        """How often each of `operations` is on a path from input to output -> the number of such paths."""
        to: list[Counter[tuple[int, ...]]] = [Counter({(0,) * len(operations): 1})]  # the input, then each term
        for own, total in zip([*self.operations, None], [*self.sources, self.output], strict=True):
            here: Counter[tuple[int, ...]] = Counter()
            for term in range(-1, len(to) - 1):
                for path, number in to[term + 1].items():
                    longer = tuple(n + (operation == own) for n, operation in zip(path, operations, strict=True))
                    here[longer] += number * self.count(term, total)
            to.append(+here)
        return to[-1]

    @property
    def guards(self) -> int:
        """The highest bit of each term's place, which no count reaches."""
        return sum(1 << (self.width * (term + 1) - 1) for term in range(len(self.operations) + 1))


def _terms(nodes: int, kinds: tuple[str | None, ...], places: Sequence[int]) -> _Terms:
    """The terms that the output of a cell is made of. `places` are those of its operations."""
    width = 2 * nodes  # the input comes at most 2**(nodes - 2) times, and that often a sum is taken at most
    sums = [1] + [0] * (nodes - 1)
    operations: list[int] = []
    sources: list[int] = []
    edge = 0
    for end in range(1, nodes):
        for start in range(end):
            place, source = places[edge], sums[start]
            edge += 1
            if source == 0 or kinds[place] == NONE:
                continue
            if kinds[place] != SKIP:
                operations.append(place)
                sources.append(source)
                source = 1 << (width * len(operations))
            sums[end] += source
    live: set[int] = set()
    waiting = [sums[-1]]
    while waiting:
        total = waiting.pop()
        for term in range(len(operations)):
            if term not in live and total >> (width * (term + 1)) & ((1 << width) - 1):
                live.add(term)
                waiting.append(sources[term])
    if len(live) == len(operations):
        return _Terms(width, operations, sources, sums[-1])
    kept = sorted(live)

    def without(total: int) -> int:
        counts = [0, *(term + 1 for term in kept)]
        return sum((total >> (width * old) & ((1 << width) - 1)) << (width * new) for new, old in enumerate(counts))

    return _Terms(width, [operations[t] for t in kept], [without(sources[t]) for t in kept], without(sums[-1]))


class _State(NamedTuple):
    """A text written up to some edge."""

    sums: tuple[int, ...]  # of its nodes, the last perhaps not complete
    entered: int  # a term that was written on an edge into that one, -1 if none was
    left: tuple[int, ...]  # the terms that are not written yet


def _first(nodes: int, kinds: tuple[str | None, ...], places: tuple[int, ...]) -> tuple[int, ...]:
    """The first operations, in the order of their places edge by edge, with the same terms.

    Edge by edge the first operation is taken with which the cell can still be completed. A term may be written on an
    edge whose start has its source for a sum; where several of one operation may, all are kept in mind. What can be
    completed is found by a search in depth, which leaves out only what cannot be: fewer edges than terms, fewer nodes
    than sums that terms are applied to, a node that fits into no sum still wanted, and an output that no skips
    complete. Terms written on edges into one node are from there on always together, so the node must
    fit into each sum as often as they are in it, and terms that are not always together need nodes of their own.
    """
    terms = _terms(nodes, kinds, places)
    guards, wanted = terms.guards, (*terms.sources, terms.output)
    uses = [terms.uses(term) for term in range(len(terms.sources))]
    edges = [(start, end) for end in range(1, nodes) for start in range(end)]
    alone = (*[0] * len(terms.sources), 1)  # the uses of a term that may be written on an edge into the output
    known: dict[tuple[object, ...], bool] = {}  # whether a state can be completed; the order of nodes does not matter

    def within(part: int, whole: int) -> bool:
        return (whole | guards) - part & guards == guards

    def fits(total: int, entered: int, left: tuple[int, ...]) -> bool:
        if entered < 0:
            return within(total, terms.output) or any(within(total, terms.sources[term]) for term in left)
        return all(within(times * total, whole) for times, whole in zip(uses[entered], wanted, strict=True))

    def following(state: _State, edge: int, place: int) -> Iterator[_State]:
        """The states after `place` is written on `edge`."""
        (start, end), kind = edges[edge], kinds[place]
        sums, entered, left = state if start else _State((*state.sums, 0), -1, state.left)
        source = sums[start]
        if kind == NONE:
            yield _State(sums, entered, left)
        elif source and kind == SKIP:
            if fits(total := sums[end] + source, entered, left):
                yield _State((*sums[:end], total), entered, left)
        elif source:
            twins = set()  # of terms that are interchangeable one is enough
            for term in left:
                if terms.operations[term] == place and terms.sources[term] == source and uses[term] not in twins:
                    twins.add(uses[term])
                    total = sums[end] + (1 << (terms.width * (term + 1)))
                    if (entered < 0 or uses[term] == uses[entered]) and fits(total, term, left):
                        yield _State((*sums[:end], total), term, tuple(other for other in left if other != term))

    def possible(state: _State, edge: int) -> bool:
        if edge == len(edges):
            return not state.left and state.sums[-1] == terms.output
        start, end = edges[edge]
        if end == nodes - 1 and not reaches(state, start):
            return False
        if start:
            key: tuple[object, ...] = (edge, state)
        elif not enough(state, nodes - end):
            return False
        else:
            key = (edge, tuple(sorted(state.sums)), state.left)
        if key not in known:
            known[key] = any(
                possible(after, edge + 1) for place in range(len(kinds)) for after in following(state, edge, place)
            )
        return known[key]

    def reaches(state: _State, start: int) -> bool:
        """Whether the edges from `start` on into the output can add what it lacks: what is left, and some skips."""
        total, free = sum(state.sums[nodes - 1 :]), list(state.sums[start : nodes - 1])
        for term in state.left:
            if terms.sources[term] not in free:
                return False
            free.remove(terms.sources[term])
            total += 1 << (terms.width * (term + 1))
        totals = {total}
        for source in free:
            totals |= {total + source for total in totals}
        return terms.output in totals

    def enough(state: _State, more: int) -> bool:
        """Whether `more` nodes and the edges into them are enough for what is left."""
        full = sum(map(bool, state.sums))  # from a node without input goes nothing
        missing = {terms.sources[term] for term in state.left}.difference(state.sums)
        apart = {uses[term] for term in state.left}.difference([alone])
        return len(state.left) <= full * more + more * (more - 1) // 2 and max(len(missing), len(apart)) < more

    chosen: list[int] = []
    states = [_State((1,), -1, tuple(range(len(terms.sources))))]
    for edge in range(len(edges)):
        for place in range(len(kinds)):
            afters = dict.fromkeys(after for state in states for after in following(state, edge, place))
            if completed := [after for after in afters if possible(after, edge + 1)]:
                chosen.append(place)
                states = completed
                break
    return tuple(chosen)


NAS_BENCH_201 = Cell()
