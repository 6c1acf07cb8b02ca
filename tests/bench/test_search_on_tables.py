"""Searchers among the rows of a table, and the ablation: the parts, and the commands."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

import rungwise as rw
from rungwise.bench.command import bench
from rungwise.bench.experiment import ABLATION, Searched, experiment
from rungwise.bench.options import ExperimentOptions
from rungwise.bench.rows import RowSearch, RowsOf, space_of
from rungwise.bench.suites import load_suite
from rungwise.bench.task import Task
from rungwise.core.criteria import RANKINGS
from rungwise.events import Result, Started

CONFIGS = tuple(
    {"lr": float(10.0**-power), "width": 16 * width, "act": act}
    for power in range(1, 5)
    for width in range(1, 6)
    for act in ("relu", "gelu")
)


def test_the_space_of_rows() -> None:
    space = space_of(CONFIGS)
    assert space["lr"] == rw.Float(1e-4, 0.1, log=True)
    assert space["width"] == rw.Integer(16, 80)
    assert space["act"] == rw.Categorical(["relu", "gelu"])
    assert space_of([{"layers": 1.0}, {"layers": 3.0}, {"layers": 2.0}])["layers"] == rw.Integer(1, 3)
    rows = RowsOf(CONFIGS)
    assert all(rows.decode(rows.encode(config)) == config for config in CONFIGS)
    assert rows.sample(np.random.default_rng(0)) in CONFIGS


def test_rows_of_cells_are_as_near_as_their_edges() -> None:
    cells = [
        "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|",
        "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|nor_conv_3x3~2|",
        "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|nor_conv_3x3~0|none~1|nor_conv_1x1~2|",
        "|none~0|+|avg_pool_3x3~0|none~1|+|none~0|none~1|skip_connect~2|",  # not in canonical form
    ]
    configs = [{"cell": cell, "lr": lr} for cell in cells for lr in (0.1, 0.3)]
    assert space_of(configs)["cell"] == rw.Cell()
    rows = RowsOf(configs)
    assert rows.configs[:6] == configs[:6]
    assert rows.configs[6]["cell"] == "|none~0|+|none~0|none~1|+|avg_pool_3x3~0|none~1|none~2|"
    near = rows.distances(rows.encode(configs[0]))
    assert near[[0, 1, 2, 4]].tolist() == pytest.approx([0, 1, 1 / 6, 3 / 6])
    other = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
    assert rows.decode(rows.encode({"cell": other, "lr": 0.3})) == configs[3]
    mine = [{"cell": "|a~0|+|b~0|none~1|"}, {"cell": "|a~0|+|a~0|a~1|"}]
    assert space_of(mine)["cell"] == rw.Cell(3, ["none", "skip_connect", "a", "b"])
    for texts in (["|a~0|", "|a~0|+|a~0|a~1|"], ["|a~1|", "|a~0|"], ["|a b~0|", "|a~0|"], ["|", "|a~0|"]):
        assert space_of([{"cell": text} for text in texts])["cell"] == rw.Categorical(texts)


@pytest.mark.needs("botorch")
@pytest.mark.parametrize("searcher", ["evolution", {"name": "gp", "initial": 4}])
def test_every_row_of_cells_is_tried_once(searcher) -> None:
    configs = load_suite("fashion-cells")[0].configs[:20]
    search = RowSearch(configs, searcher)
    rows = []
    while (found := search.propose([0, len(rows)])) is not None:
        for fact in (Started(len(rows), found, 1), Result(len(rows), 1, (float(found["row"]),))):
            search.tell(fact)
        rows.append(found["row"])
    assert sorted(rows) == list(range(20))


@pytest.mark.needs("botorch", "optuna", "scipy")
@pytest.mark.parametrize("searcher", ["random", "sobol", "tpe", "density", "evolution", {"name": "gp", "initial": 4}])
def test_every_row_is_tried_once(searcher) -> None:
    search = RowSearch(CONFIGS[:12], searcher)
    rows = []
    while (found := search.propose([0, len(rows)])) is not None:
        assert search.propose([0, len(rows)]) == found, "a query"
        search.tell(Started(len(rows), found, 1))
        rows.append(found["row"])
    assert sorted(rows) == list(range(12))


@pytest.mark.needs("botorch", "optuna")
def test_a_searcher_that_learns_finds_better_rows() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((300, 2))
    scores = -((x - 0.3) ** 2).sum(axis=1, keepdims=True) - 0.5 / np.arange(1, 10)
    task = Task("mine", "bowl", rw.CurveTable(scores, mode="max"), tuple({"a": a, "b": b} for a, b in x.tolist()))

    def methods(ladder):
        pasha = rw.PASHA(max_resource=ladder.max_resource)
        return {"pasha": pasha, "gp": Searched(pasha, "gp"), "tpe": Searched(pasha, "tpe")}

    runs = experiment([task], ExperimentOptions(repeats=3, trials=30), methods=methods)
    assert runs == experiment([task], ExperimentOptions(repeats=3, trials=30), methods=methods), (
        "no chance but the seed's"
    )
    mean = {name: np.mean([run.score for run in runs if run.method == name]) for name in ("pasha", "gp", "tpe")}
    assert mean["gp"] > mean["pasha"]
    assert mean["tpe"] > mean["pasha"]


@pytest.mark.needs("optuna")
def test_the_commands(tmp_path) -> None:
    shared = ["--suite", "digits-mlp", "--repeats", "1", "--trials", "24", "--markdown", "--processes", "1"]
    told = CliRunner().invoke(
        bench,
        [
            "search",
            *shared,
            "--searcher",
            "tpe",
            "--scheduler",
            "asha",
            "--scheduler",
            "pasha",
            "--csv",
            str(tmp_path / "runs.csv"),
        ],
    )
    assert told.exit_code == 0, told.output
    assert "pasha-tpe" in told.output
    assert "− ASHA's" in told.output
    lines = (tmp_path / "runs.csv").read_text().splitlines()[1:]
    methods = ["asha", "asha-tpe", "pasha", "pasha-tpe", "1-epoch", "2-epoch", "3-epoch", "5-epoch", "random"]
    assert [line.split(",")[2] for line in lines] == methods * len(load_suite("digits-mlp"))
    told = CliRunner().invoke(bench, ["ablation", *shared])
    assert told.exit_code == 0, told.output
    rows = [line for line in told.output.splitlines() if "×," in line]
    assert [row.split("|")[1].strip() for row in rows] == list(ABLATION)


def test_the_ablation_has_every_criterion() -> None:
    assert {settings["name"] for settings in ABLATION.values()} == set(RANKINGS)
