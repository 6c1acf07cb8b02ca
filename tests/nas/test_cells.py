"""Cells as a parameter: texts, canonical forms against slow references, neighbors, and cells in spaces and searchers."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections import Counter, defaultdict
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rungwise as rw
from rungwise.events import Result, Started
from rungwise.nas import NAS_BENCH_201, Cell
from rungwise.search.evolution import mutated

RESNET = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
EMPTY = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
TEXTS = [NAS_BENCH_201.text(operations) for operations in itertools.product(NAS_BENCH_201.operations, repeat=6)]


# -- slow references -------------------------------------------------------------------------------------


def graph(cell: Cell, text: str) -> tuple[list[str], list[Counter], Counter]:
    """Operations, their inputs and the output, where a sum counts the input (-1) and operations by their number."""
    values: list[Counter] = [Counter({-1: 1})] + [Counter() for _ in range(cell.nodes - 1)]
    names, inputs = [], []
    for name, (start, end) in zip(cell.parse(text), cell.edges, strict=True):
        if not values[start] or name == "none":
            continue
        if name == "skip_connect":
            values[end] += values[start]
        else:
            values[end][len(names)] += 1
            names.append(name)
            inputs.append(values[start])
    used: set[int] = set()
    todo = list(values[-1])
    while todo:
        if (number := todo.pop()) >= 0 and number not in used:
            used.add(number)
            todo += list(inputs[number])
    order = sorted(used)
    new = {-1: -1, **{old: place for place, old in enumerate(order)}}

    def renamed(value: Counter) -> Counter:
        return Counter({new[key]: count for key, count in value.items()})

    return [names[old] for old in order], [renamed(inputs[old]) for old in order], renamed(values[-1])


def isomorphism_key(cell: Cell, text: str) -> tuple:
    """Equal for two cells exactly if some renaming of their operations makes one graph of the two: all are tried."""
    names, inputs, output = graph(cell, text)

    def written(order: tuple[int, ...]) -> tuple:
        new = {-1: -1, **{old: place for place, old in enumerate(order)}}

        def total(value: Counter) -> tuple:
            return tuple(sorted((new[key], count) for key, count in value.items()))

        return tuple(names[old] for old in order), tuple(total(inputs[old]) for old in order), total(output)

    orders = itertools.permutations(range(len(names)))
    return min(written(order) for order in orders if [names[i] for i in order] == sorted(names))


def computed(cell: Cell, text: str, weights: list[float], x: float = 0.7) -> float:
    """The output for one number as input, where edge e applies tanh(w_e x + a number of its operation)."""
    values: list[float | None] = [x] + [None] * (cell.nodes - 1)  # None: without input, which is zero and stays zero
    for name, (start, end), weight in zip(cell.parse(text), cell.edges, weights, strict=True):
        if values[start] is None or name == "none":
            continue
        shift = 0.3 * cell.operations.index(name)
        values[end] = (values[end] or 0.0) + (
            values[start] if name == "skip_connect" else math.tanh(weight * values[start] + shift)
        )
    return values[-1] or 0.0


def papers_text(text: str) -> str:
    """A cell as NAS-Bench-201's `to_unique_str(consider_zero=True)` tells it: each node's formula, zeros written #."""
    formulas = ["0"]
    for node in text.split("+"):
        parts = []
        for edge in node.strip("|").split("|"):
            name, start = edge.split("~")
            source = formulas[int(start)]
            if name == "none" or source == "#":
                parts.append("#")
            else:
                parts.append(source if name == "skip_connect" else f"({source})@{name}")
        formulas.append("+".join(sorted(parts)))
    return formulas[-1]


def formula(text: str) -> tuple[str, ...]:
    """The same without zeros, and with sums within sums written as one."""
    formulas: list[tuple[str, ...]] = [("0",)]
    for node in text.split("+"):
        parts: list[str] = []
        for edge in node.strip("|").split("|"):
            name, start = edge.split("~")
            if source := name != "none" and formulas[int(start)]:
                parts += source if name == "skip_connect" else [f"({'+'.join(source)})@{name}"]
        formulas.append(tuple(sorted(parts)))
    return formulas[-1]


@cache
def classes() -> dict[str, list[str]]:
    found = defaultdict(list)
    for text in TEXTS:
        found[NAS_BENCH_201.canonical(text)].append(text)
    return dict(found)


# -- canonical forms -------------------------------------------------------------------------------------


def test_cells_are_one_exactly_if_their_graphs_are_isomorphic() -> None:
    keys = {text: isomorphism_key(NAS_BENCH_201, text) for text in TEXTS}
    of_key = defaultdict(set)
    for canonical, texts in classes().items():
        assert canonical in texts
        assert canonical == min(texts, key=lambda text: NAS_BENCH_201.encode(text))
        assert len({keys[text] for text in texts}) == 1
        of_key[keys[canonical]].add(canonical)
    assert all(len(canonicals) == 1 for canonicals in of_key.values())


def test_how_many_cells_are_distinct_here_and_in_the_paper() -> None:
    assert len(classes()) == len(NAS_BENCH_201.distinct()) == 5_425
    assert len({papers_text(text) for text in TEXTS}) == 6_466  # section 2.1 of the paper
    assert len({formula(text) for text in TEXTS}) == 4_930


def test_the_papers_rules_join_what_is_two_and_part_what_is_one() -> None:
    shared = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|"  # 2 conv(x)
    twice = "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|skip_connect~2|"  # conv(x) + conv'(x)
    assert NAS_BENCH_201.canonical(shared) != NAS_BENCH_201.canonical(twice)
    late = "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|"
    early = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|"
    through = "|none~0|+|none~0|skip_connect~1|+|nor_conv_3x3~0|none~1|none~2|"
    assert NAS_BENCH_201.canonical(early) == NAS_BENCH_201.canonical(through) == late
    assert papers_text(through) == papers_text(late)
    dead = "|nor_conv_1x1~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|nor_conv_1x1~2|"
    assert NAS_BENCH_201.canonical(dead) == late
    assert papers_text(dead) != papers_text(late)


def test_seven_nodes_take_no_minute() -> None:
    """A hard one; without a close look at the output's edges it takes twenty times as long."""
    cell = Cell(nodes=7, operations=["none", "skip_connect", "c"])
    text = cell.text([cell.operations[int(place)] for place in "212211122022201012101"])
    began = time.process_time()
    assert cell.parse(cell.canonical(text)) == tuple(cell.operations[int(place)] for place in "212011112022200222111")
    assert time.process_time() - began < 6


def same_function(text: str, other: str) -> bool:
    """Whether weights of `other` are found among those of `text` with which it computes the same number."""
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.5, 2, 6).tolist()
    target = computed(NAS_BENCH_201, text, weights)
    names, others = NAS_BENCH_201.parse(text), NAS_BENCH_201.parse(other)
    places = [edge for edge in range(6) if others[edge] not in ("none", "skip_connect")]
    sources = [[edge for edge in range(6) if names[edge] == others[place]] for place in places]
    for chosen in itertools.product(*sources):
        if len(set(chosen)) < len(chosen):
            continue
        moved = [0.0] * 6
        for place, source in zip(places, chosen, strict=True):
            moved[place] = weights[source]
        if abs(computed(NAS_BENCH_201, other, moved) - target) < 1e-12:
            return True
    return False


def test_what_is_merged_computes_the_same_and_what_is_not_does_not() -> None:
    rng = np.random.default_rng(0)
    for text in rng.choice(TEXTS, 600):
        assert same_function(text, NAS_BENCH_201.canonical(text))
    groups = defaultdict(list)
    for canonical in classes():
        groups[tuple(sorted(NAS_BENCH_201.parse(canonical)))].append(canonical)
    pairs = [pair for group in groups.values() for pair in itertools.combinations(group, 2)]
    for number in rng.choice(len(pairs), 600, replace=False):
        assert not same_function(*pairs[number])


@st.composite
def some_cells(draw: st.DrawFn) -> tuple[Cell, str]:
    names = draw(
        st.lists(st.sampled_from(["none", "skip_connect", "a", "b", "c"]), min_size=2, max_size=5, unique=True)
    )
    cell = Cell(nodes=draw(st.integers(2, 5)), operations=names)
    return cell, cell.text(draw(st.lists(st.sampled_from(names), min_size=len(cell.edges), max_size=len(cell.edges))))


@settings(deadline=None, max_examples=150)
@given(some_cells(), st.data())
def test_laws_of_canonical_forms(drawn: tuple[Cell, str], data: st.DataObject) -> None:
    cell, text = drawn
    canonical = cell.canonical(text)
    assert cell.wrong(canonical) is None
    assert cell.canonical(canonical) == canonical
    names = graph(cell, canonical)[0]
    assert Counter(names) == Counter(graph(cell, text)[0])
    if len(names) <= 6:
        assert isomorphism_key(cell, canonical) == isomorphism_key(cell, text)
    ranks = {
        name: rank
        for rank, name in enumerate(sorted(cell.operations, key=lambda name: (name != "none", name != "skip_connect")))
    }
    assert [ranks[name] for name in cell.parse(canonical)] <= [ranks[name] for name in cell.parse(text)]
    inner = data.draw(st.permutations(range(1, cell.nodes - 1)))
    new = [0, *inner, cell.nodes - 1]
    edges = dict(zip(cell.edges, cell.parse(text), strict=True))
    moved = {(new[start], new[end]): name for (start, end), name in edges.items()}
    if "none" in cell.operations and all(start < end or name == "none" for (start, end), name in moved.items()):
        renumbered = cell.text([moved.get(edge, "none") for edge in cell.edges])
        assert cell.canonical(renumbered) == canonical


@settings(deadline=None, max_examples=100)
@given(some_cells(), st.floats(0, 1))
def test_laws_of_the_unit_interval_and_of_neighbors(drawn: tuple[Cell, str], u: float) -> None:
    cell, text = drawn
    left, right = cell.interval(text)
    assert left < cell.encode(text) < right
    assert cell.decode(cell.encode(text)) == cell.decode(left + (right - left) / 3) == cell.canonical(text)
    assert cell.canonical(cell.decode(u)) == cell.decode(u)
    own, others = cell.canonical(text), cell.neighbors(text)
    assert len(set(others)) == len(others)
    assert own not in others
    for other in others:
        assert cell.canonical(other) == other
    if others:
        assert cell.neighbor(text, np.random.default_rng(0)) in others


@settings(deadline=None, max_examples=100)
@given(some_cells())
def test_features_are_those_of_the_function(drawn: tuple[Cell, str]) -> None:
    cell, text = drawn
    features = cell.features(text)
    assert features == pytest.approx(cell.features(cell.canonical(text)))
    assert len(features) == 3 * len({*cell.operations} - {"none", "skip_connect"}) + cell.nodes
    assert all(0 <= number <= 1 for number in features)
    assert all(type(number) is float for number in features)


def test_features_of_a_known_cell() -> None:
    assert len({tuple(NAS_BENCH_201.features(cell)) for cell in classes()}) == 2_132
    features = NAS_BENCH_201.features(RESNET)
    assert features[:3] == pytest.approx([0, 5 / 6, 0])  # five 3×3 convolutions
    assert features[3:7] == pytest.approx([math.log(1 + n) / math.log(5) for n in (1, 0, 2, 1)])  # paths by length
    assert features[7:10] == pytest.approx([0, 1, 0])  # three of them on the longest path
    assert features[10:] == pytest.approx([0, 3 / 4, 0])


def test_neighbors_are_all_that_one_edge_makes() -> None:
    own = NAS_BENCH_201.parse(RESNET)
    changed = {
        NAS_BENCH_201.canonical(text)
        for text in TEXTS
        if sum(a != b for a, b in zip(own, NAS_BENCH_201.parse(text), strict=True)) == 1
    }
    assert NAS_BENCH_201.canonical(RESNET) == RESNET
    assert set(NAS_BENCH_201.neighbors(RESNET)) == changed - {RESNET}


def test_decode_spreads_the_texts_evenly() -> None:
    drawn = Counter(NAS_BENCH_201.decode((place + 0.5) / 15_625) for place in range(15_625))
    assert drawn == {canonical: len(texts) for canonical, texts in classes().items()}


# -- what a user gets wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"nodes": 1}, "nodes must be 2 or more"),
        ({"nodes": 2.5}, "nodes must be a whole number"),
        ({"nodes": 20}, "more than 2\\*\\*53 cells"),
        ({"nodes": 9}, "more than 2\\*\\*53 cells"),
        ({"operations": "none"}, "must be a list of names"),
        ({"operations": ["none"]}, "2 names or more"),
        ({"operations": ["a", "a"]}, "holds 'a' twice"),
        ({"operations": ["a", "b~"]}, "word without ~, | and \\+, not 'b~'"),
        ({"operations": ["a", "b c"]}, "not 'b c'"),
        ({"operations": ["a", ""]}, "not ''"),
        ({"operations": ["a", 3]}, "not 3"),
        ({"when": "sgd"}, "when= must be a dict"),
    ],
)  # fmt: skip
def test_what_is_no_space_of_cells_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(rw.InputError, match=message):
        Cell(**arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RESNET.replace("3x3~2", "3x4~2"), "has no operation 'nor_conv_3x4'; did you mean 'nor_conv_3x3'"),
        ("|none~0|+|none~0|none~1|", "wants a cell of 4 nodes, this has 3"),
        ("|none~0|+|none~1|none~0|+|none~0|none~1|none~2|", r"in this order: \|…~0\|\+\|…~0\|…~1\|"),
        ("|none~0|+|none~0|+|none~0|none~1|none~2|", "one operation on each edge"),
        ("none~0", "wants a text like"),
        (7, "wants a text like"),
    ],
)
def test_what_is_no_cell_is_refused(text: object, message: str) -> None:
    with pytest.raises(rw.InputError, match=message):
        rw.Space({"cell": NAS_BENCH_201}).check({"cell": text})


def test_a_text_has_an_operation_on_each_edge() -> None:
    with pytest.raises(rw.InputError, match="4 nodes have 6 edges, not 1"):
        NAS_BENCH_201.text(["none"])


# -- in spaces and searchers -----------------------------------------------------------------------------

JOINT = rw.Space(
    {
        "cell": NAS_BENCH_201,
        "lr": rw.Float(1e-4, 1, log=True),
        "norm": rw.Categorical(["a", "b"], when={"cell": [EMPTY, RESNET]}),
        "inner": Cell(nodes=3, operations=["none", "conv"], when={"norm": "b"}),
    }
)
OTHER = "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|none~2|"  # another text for EMPTY


def test_a_configuration_holds_the_canonical_cell() -> None:
    checked = JOINT.check({"cell": OTHER, "lr": 0.1, "norm": "b", "inner": "|conv~0|+|none~0|none~1|"})
    assert checked == {"cell": EMPTY, "lr": 0.1, "norm": "b", "inner": "|none~0|+|none~0|none~1|"}
    swapped = rw.Space({"cell": NAS_BENCH_201, "x": rw.Float(0, 1, when={"cell": OTHER})}, [{"cell": OTHER, "x": 1}])
    assert swapped.check({"cell": EMPTY, "x": 0.5}) == {"cell": EMPTY, "x": 0.5}
    assert not swapped.allows({"cell": EMPTY, "x": 1.0})
    with pytest.raises(rw.InputError, match="is inactive here"):
        swapped.check({"cell": RESNET, "x": 0.5})


def test_a_space_with_cells_is_written_and_read() -> None:
    assert rw.Space.from_json(JOINT.to_json()) == JOINT
    assert json.loads(JOINT.to_json())["cell"] == {"type": "cell"}
    assert repr(rw.Space.from_json(JOINT.to_json())["cell"]) == "Cell()"
    with pytest.raises(rw.InputError, match="unknown field 'node'; did you mean 'nodes'"):
        rw.Space.from_dict({"cell": {"type": "cell", "node": 5}})
    with pytest.raises(rw.InputError, match="must be a Float, Integer, Categorical, Ordinal, or Cell"):
        rw.Space({"cell": "cell"})


def told(search: rw.Searcher, configs: list[dict], loss) -> None:
    for trial, config in enumerate(configs):
        for fact in (Started(trial, config, 1), Result(trial, 1, (loss(config),))):
            search.tell(fact)


def test_evolution_changes_one_edge_of_a_cell() -> None:
    rng = np.random.default_rng(0)
    children = {mutated(rw.Space({"cell": NAS_BENCH_201}), {"cell": RESNET}, rng)["cell"] for _ in range(400)}
    assert children == set(NAS_BENCH_201.neighbors(RESNET))
    parent = {"cell": RESNET, "lr": 0.1, "norm": "b", "inner": "|conv~0|+|none~0|conv~1|"}
    parent = JOINT.check(parent)
    for _ in range(100):
        child = mutated(JOINT, parent, rng)
        assert JOINT.check(child) == child
        assert sum(child.get(name) != value for name, value in parent.items()) >= 1
        assert child["cell"] in (RESNET, *NAS_BENCH_201.neighbors(RESNET))


def convolutions(config: dict) -> float:
    return -float(config["cell"].count("nor_conv_3x3"))


@pytest.mark.parametrize(
    "name",
    ["random", "density", "evolution"]
    + [
        pytest.param(name, marks=pytest.mark.needs(*needs))
        for name, needs in [("sobol", ["scipy"]), ("tpe", ["optuna"]), ("gp", ["botorch"])]
    ],
)  # fmt: skip
def test_every_searcher_searches_a_joint_space(name: str) -> None:
    study = rw.Study(
        JOINT,
        rw.ASHA(max_resource=3),
        name,
        mode="min",
        initial=[{"cell": OTHER, "lr": 0.1, "norm": "b", "inner": "|conv~0|+|none~0|none~1|"}],
    )
    while len(study.trials) < 24 and (job := study.ask()) is not None:
        assert JOINT.check(job.config) == job.config
        for resource in range(job.start + 1, job.until + 1):
            study.report(job.trial, resource, convolutions(job.config))
    assert study.trials[0].config["cell"] == EMPTY


@pytest.mark.needs("botorch")
def test_candidates_of_the_gaussian_process_change_one_edge() -> None:
    from rungwise.search.gp import neighbors

    space = rw.Space({"cell": NAS_BENCH_201, "lr": rw.Float(0, 1)})
    near = list(neighbors(space, {"cell": RESNET, "lr": 0.5}, 400, np.random.default_rng(0)))
    assert {config["cell"] for config in near} == {RESNET, *NAS_BENCH_201.neighbors(RESNET)}
    assert any(config["lr"] != 0.5 and config["cell"] != RESNET for config in near)


@pytest.mark.needs("botorch")
def test_the_gaussian_process_learns_what_is_good_in_cells() -> None:
    """Few trials are enough to find the cell with most 3×3 convolutions on its paths."""
    space = rw.Space({"cell": NAS_BENCH_201})
    search = rw.GPSearch(space, initial=6)

    def loss(cell: str) -> float:
        names = graph(NAS_BENCH_201, cell)[0]
        return -float(names.count("nor_conv_3x3")) + names.count("avg_pool_3x3")

    seen = []
    for trial in range(20):
        config = search.propose([0, trial])
        seen.append(loss(config["cell"]))
        for fact in (Started(trial, config, 1), Result(trial, 1, (seen[-1],))):
            search.tell(fact)
    assert min(seen) == -6
    assert min(loss(space.sample(np.random.default_rng([0, n]))["cell"]) for n in range(20)) > -6


@pytest.mark.needs("optuna")
def test_optuna_is_asked_edge_by_edge() -> None:
    from optuna.samplers import TPESampler

    from rungwise.search.optuna import OptunaSearch

    space = rw.Space({"cell": NAS_BENCH_201})
    search = OptunaSearch(space, TPESampler(n_startup_trials=10, seed=0))
    rng = np.random.default_rng(0)
    configs = [space.sample(rng) for _ in range(60)]
    told(search, configs, convolutions)
    proposed = [search.propose([0, 60 + number]) for number in range(20)]
    random = np.mean([convolutions(config) for config in configs])
    assert np.mean([convolutions(config) for config in proposed]) < random - 0.5
    assert set(search._board._distributions["cell"]) == {f"cell\n{start}-{end}" for start, end in NAS_BENCH_201.edges}


def test_a_grid_has_every_distinct_cell_once() -> None:
    small = Cell(nodes=3)
    grid = rw.GridSearch(rw.Space({"cell": small, "x": rw.Categorical([1, 2])}))
    assert len(grid) == 2 * len(small.distinct())
    with pytest.raises(rw.InputError, match="9,765,625 cells, more than a grid may have"):
        rw.GridSearch(rw.Space({"cell": Cell(nodes=5)}))
