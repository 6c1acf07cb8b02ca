"""benchmarks/peers/board.py and traces.py, with peers written by hand: no other library is needed."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from rungwise.bench.rows import RowSearch
from rungwise.bench.suites import load_suite

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "peers"


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import traces

    return traces


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import board

    return board


class Scripted:
    """Gives out jobs from a list, `None` for no job now; names the row `named`, if any."""

    def __init__(self, traces: ModuleType, jobs, resumes=True, named=None):
        self.jobs = [None if job is None else traces.Job(*job) for job in jobs]
        self.resumes, self.named, self.told = resumes, named, []

    def ask(self):
        return self.jobs.pop(0) if self.jobs else None

    def report(self, job, resource, loss):
        self.told.append((job.row, resource, loss))
        return True

    def answer(self):
        return self.named


LOSSES = np.array([[5.0, 4.0, 3.0], [6.0, 2.0, 1.0], [4.0, 4.0, 4.0]])
SECONDS = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 2.0, 3.0]])


def test_reports_come_in_the_order_of_simulated_time_and_equal_times_in_that_of_jobs(traces: ModuleType) -> None:
    played = traces.play(Scripted(traces, [(0, 2), (1, 2), (2, 1)]), LOSSES, SECONDS, 100, workers=2)
    assert played.rows == [0, 0, 1, 2, 1]
    assert played.resources == [1, 2, 1, 1, 2]
    assert played.seconds == [1.0, 2.0, 2.0, 3.0, 4.0]


def test_who_resumes_pays_for_the_rest_only(traces: ModuleType) -> None:
    peer = Scripted(traces, [(1, 1), (1, 3)])
    played = traces.play(peer, LOSSES, SECONDS, 100, workers=1)
    assert (played.resources, played.seconds) == ([1, 2, 3], [2.0, 4.0, 6.0])


def test_who_begins_again_pays_again(traces: ModuleType) -> None:
    peer = Scripted(traces, [(1, 1), (1, 3)], resumes=False)
    played = traces.play(peer, LOSSES, SECONDS, 100, workers=1)
    assert (played.resources, played.seconds) == ([1, 1, 2, 3], [2.0, 4.0, 6.0, 8.0])


def test_a_resumed_row_must_go_further(traces: ModuleType) -> None:
    with pytest.raises(AssertionError, match="was trained to 2 of 3"):
        traces.play(Scripted(traces, [(1, 2), (1, 2)]), LOSSES, SECONDS, 100, workers=1)


def test_a_run_ends_when_the_units_are_spent(traces: ModuleType) -> None:
    played = traces.play(Scripted(traces, [(0, 3), (1, 3), (2, 3)]), LOSSES, SECONDS, 4, workers=2)
    assert len(played.rows) == 4


def test_a_worker_without_a_job_asks_again_after_the_next_report(traces: ModuleType) -> None:
    played = traces.play(Scripted(traces, [(0, 2), None, (1, 1)]), LOSSES, SECONDS, 100, workers=2)
    assert list(zip(played.rows, played.resources, played.seconds, strict=True)) == [(0, 1, 1), (0, 2, 2), (1, 1, 3)]


def test_the_best_at_the_highest_resource_is_recommended_while_the_peer_names_none(traces: ModuleType) -> None:
    played = traces.play(Scripted(traces, [(2, 1), (0, 1), (1, 2), (0, 2)]), LOSSES, SECONDS, 100, workers=1)
    assert played.answers == [(1, 2), (4, 1)]  # after 1 and 4 reports; a tie or a worse one changes nothing


def test_the_peers_own_answer_goes_first(traces: ModuleType) -> None:
    played = traces.play(Scripted(traces, [(2, 1), (1, 2)], named=0), LOSSES, SECONDS, 100, workers=1)
    assert played.answers == [(1, 0)]


def test_proposals_become_rows_as_those_of_our_own_searchers_do(traces: ModuleType) -> None:
    configs = load_suite("digits-mlp")[0].configs[:50]
    ours, rows = RowSearch(configs, "random"), traces.Rows(configs)
    for seed in range(30):
        proposal = ours._searcher.propose(np.random.default_rng(seed))
        ours_row = ours.propose(np.random.default_rng(seed))["row"]
        ours._tried[ours_row] = True
        assert rows.take(proposal) == ours_row
    assert rows.tried.sum() == 30


def test_a_parameter_with_one_value_is_none(traces: ModuleType) -> None:
    rows = traces.Rows([{"a": 1.0, "b": 7, "c": 2.0}, {"a": 2.0, "b": 7, "c": 4.0}, {"a": 2.5, "b": 7, "c": 9.0}])
    assert list(rows.parameters) == ["a", "c"]
    assert rows.values(1) == {"a": 2.0, "c": 4}
    assert type(rows.values(1)["c"]) is int
    assert [rows.take({"a": 2.4, "c": 9}) for _ in range(4)] == [2, 1, 0, None]


def test_the_best_ever_is_the_first_of_equals(traces: ModuleType) -> None:
    best = traces.BestEver()
    assert best.row is None
    for row, loss in [(3, 2.0), (4, 1.0), (5, 1.0)]:
        best.tell(row, loss)
    assert best.row == 4


def test_a_trace_is_one_line_of_json(
    traces: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "scripted.jsonl"
    order = {"method": "scripted", "units": [["digits-mlp", "digits-mlp-0", 3]], "budget": 2, "workers": 4}
    (tmp_path / "order").write_text(json.dumps(order | {"file": str(file)}))
    monkeypatch.setattr("sys.argv", ["board_scripted.py", str(tmp_path / "order")])
    traces.main({"scripted": lambda setting: Scripted(traces, [(8, 1), (9, 3)])}, packages=["numpy"])
    (line,) = file.read_text().splitlines()
    trace = json.loads(line)
    assert (trace["suite"], trace["task"], trace["seed"]) == ("digits-mlp", "digits-mlp-0", 3)
    assert (trace["method"], trace["resumes"], trace["version"].split()[0]) == ("scripted", True, "numpy")
    assert sorted(zip(trace["rows"], trace["resources"], strict=True)) == [(8, 1), (9, 1), (9, 2), (9, 3)]
    assert len(trace["seconds"]) == 4
    assert trace["answers"][-1][1] == 9
    assert "scripted, digits-mlp/digits-mlp-0, seed 3: 2 rows" in capsys.readouterr().out


def test_diverged_runs_get_the_worst_finite_loss(traces: ModuleType) -> None:
    task = load_suite("digits-mlp")[0]
    task.table.scores[4, 7] = np.nan
    losses = traces.losses_of(task)
    assert losses[4, 7] == losses.max() == -np.nanmin(task.table.scores)


# -- the command -------------------------------------------------------------------------------------------------


def test_the_units_go_seed_by_seed_through_one_part(board: ModuleType) -> None:
    split = {"a": {"select": ["x", "y"], "judge": ["z"]}, "b": {"select": ["w"], "judge": []}}
    units = board.units_of(split, "select", ["a", "b"], range(2))
    assert units == [("a", "x", 0), ("a", "y", 0), ("b", "w", 0), ("a", "x", 1), ("a", "y", 1), ("b", "w", 1)]
    assert board.affordable(board.Method("peer"), units) == units
    assert board.affordable(board.Method("peer", seeds=1, tasks=1), units) == [("a", "x", 0), ("b", "w", 0)]
    fresh = board.units_of(split, "select", ["b"], range(100, 102))
    assert board.affordable(board.Method("peer", seeds=1), fresh) == [("b", "w", 100)]


def test_a_line_that_was_not_written_to_its_end_is_cut_off(board: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "m.jsonl"
    assert board.read(file) == {}
    whole = json.dumps({"suite": "a", "task": "x", "seed": 0, "processor": 1.5}) + "\n"
    file.write_text(whole + whole[:20])
    assert board.read(file) == {("a", "x", 0): 1.5}
    assert file.read_text() == whole


def test_what_a_method_costs_is_told_with_what_it_is_spared(board: ModuleType) -> None:
    assert board.cost("dehb", 90, {}) == "dehb: 0 of 90 runs"
    assert board.cost("dehb", 90, {("a", "x", 0): 2.0}) == "dehb: 1 of 90 runs, 2.0 s each, 3.0 min for all"
    assert "only 1 seeds, 2 tasks a suite" in board.cost("syne-tune-mobster", 5, {})


def test_every_method_has_its_adapter_and_its_requirements(board: ModuleType) -> None:
    for name, method in board.METHODS.items():
        assert f'"{name}"' in (SCRIPTS / f"board_{method.peer.replace('-', '_')}.py").read_text()
        assert (SCRIPTS / "requirements" / f"{method.peer}.txt").exists()
