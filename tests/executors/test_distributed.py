"""Several processes for one trial: the ranks of torch.distributed, with gloo on the CPU."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import rungwise as rw
from rungwise import distributed
from rungwise.events import Job, Reported
from rungwise.executors import Noticed
from rungwise.executors.reasons import ProgramError
from rungwise.source import digest
from rungwise.trial import PauseRequested, Trial

pytestmark = pytest.mark.needs("torch")
ROOT = Path(__file__).parents[2]


def do(
    function: Callable[[Trial], object],
    folder: Path,
    start: int = 0,
    until: int = 1,
    *,
    config: dict | None = None,
    pause: bool = False,
    worker: int = 0,
    lease: int = 0,
) -> dict[int, float]:
    """What `function` reports in one job; what it is noticed for is under the key 0."""
    (folder / "000004").mkdir(exist_ok=True)
    sent: list[Reported | Noticed] = []
    job = Job(4, config or {"lr": 0.1}, start, until, study="5f1d", horizon=9, lease=lease)
    trial = Trial(job, folder / "000004", sent.append, lambda: pause, worker=worker)
    trial._kept.begin()
    try:
        function(trial)
    except PauseRequested:
        assert pause
    else:
        assert not pause
    return {said.resource if isinstance(said, Reported) else 0: getattr(said, "score", said) for said in sent}


def are_gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_two_processes_do_what_one_does_and_a_pause_changes_nothing(tmp_path: Path) -> None:
    import torch

    import ranks

    folders = [tmp_path / name for name in ("one", "two", "paused")]
    for folder in folders:
        folder.mkdir()
    one, two, paused = folders
    alone = do(ranks.alone, one, until=4)
    job = distributed.Distributed(ranks.ddp, 2, backend="gloo")
    whole = do(job, two, until=4)
    assert whole == pytest.approx(alone, rel=1e-5)
    assert sorted(whole) == [1, 2, 3, 4]

    first = do(job, paused, until=4, pause=True)
    assert list(first) == [1]
    assert {file.name for file in (paused / "000004").glob("rank*")} == {"rank 0 ended", "rank 1 ended"}
    rest = do(job, paused, until=4, lease=1)
    assert first | rest == whole, "bit for bit"

    def state(folder: Path) -> dict:
        trial = Trial(Job(4, {"lr": 0.1}, 0, 4, study="5f1d"), folder / "000004", lambda said: None)
        return trial.load()

    for name, value in state(two)["model"].items():
        assert torch.equal(value, state(paused)["model"][name])
        assert torch.allclose(value, state(one)["model"][name], rtol=1e-4)


@pytest.mark.parametrize(
    ("rank", "how", "wanted"),
    [
        (1, "raise", r"rank 1: ValueError: no \(ranks.py:\d+\)"),
        (1, "kill", "rank 1 was killed by SIGKILL; out of memory?"),
        (0, "kill", "rank 0 was killed by SIGKILL; out of memory?"),
    ],
)
def test_a_rank_that_is_lost_ends_the_others(rank: int, how: str, wanted: str, tmp_path: Path) -> None:
    """They wait for it in a collective, and would wait there for half an hour."""
    import ranks

    with pytest.raises(ProgramError, match=wanted):
        do(distributed.Distributed(ranks.ends, 2), tmp_path, config={"rank": rank, "how": how})
    assert len(ranks.pids(tmp_path / "000004")) == 2
    assert are_gone(ranks.pids(tmp_path / "000004"))


def test_a_function_that_does_not_do_its_job_is_told_what_to_do(tmp_path: Path) -> None:
    import ranks

    wanted = r"rank 0: the function returned 0.5 but reported nothing; loop `for epoch in trial:` and call trial.report"
    with pytest.raises(ProgramError, match=wanted):
        do(distributed.Distributed(ranks.only_returns, 1), tmp_path)


def test_a_study_loses_nothing_when_a_rank_is_killed(tmp_path: Path) -> None:
    import ranks

    study = rw.tune(
        distributed.Distributed(ranks.adds, processes=2),
        {"x": rw.Float(0, 1)},
        mode="max",
        scheduler=rw.ASHA(min_resource=4, max_resource=8, reduction_factor=2),
        trials=2,
        workers=2,
        study=tmp_path / "s.db",
        quiet=True,
    )
    assert sorted(record.resource for record in study.trials) == [4, 8]
    assert not study.decider.restarted
    trials = tmp_path / "s.db.trials"
    for record in study.trials:
        assert record.failure is None
        assert record.reports == {epoch: ranks.after(record.config, epoch) for epoch in range(1, record.resource + 1)}
        again = [3] if record.number == 1 else []
        for rank in (0, 1):
            trained = [int(line) for line in (trials / f"epochs of rank {rank} in {record.number}").read_text().split()]
            assert sorted(trained) == sorted([*range(1, record.resource + 1), *again]), "none from scratch"
    assert (trials / "killed").exists()
    assert len(ranks.pids(trials)) >= 8, "two for each of at least four jobs"
    assert are_gone(ranks.pids(trials))


def test_all_ranks_have_the_same_trial_and_a_device_each(tmp_path: Path, monkeypatch) -> None:
    import ranks

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    job = distributed.Distributed(ranks.looks, 2, backend="gloo")
    assert do(job, tmp_path, until=2, worker=3) == {2: 10.0}
    assert do(job, tmp_path, 2, 4, worker=3, lease=1) == {4: 10.0}
    zero, one = (json.loads((tmp_path / "000004" / f"{rank}.json").read_text()) for rank in (0, 1))
    assert zero == {
        "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "CUDA_VISIBLE_DEVICES": "2,5",
        "OMP_NUM_THREADS": "1", "port": "127.0.0.1:", "backend": "gloo", "config": {"lr": 0.1}, "horizon": 9, "worker": 3,
        "seed": Trial(Job(4, {}, 0, 1, study="5f1d"), tmp_path, print).seed(1), "state": "of rank 0", "epochs": [3, 4],
    }  # fmt: skip
    assert one == zero | {"RANK": "1", "LOCAL_RANK": "1"}


def test_ranks_that_do_not_loop_over_the_trial_are_ended_when_it_pauses(tmp_path: Path, monkeypatch) -> None:
    import ranks

    monkeypatch.setattr(distributed, "ENDING", 0.5)
    assert do(distributed.Distributed(ranks.no_loop, 2), tmp_path, until=3, pause=True) == {1: 2.0}
    assert are_gone(ranks.pids(tmp_path / "000004"))


def test_a_rank_that_goes_on_from_elsewhere_is_refused(tmp_path: Path) -> None:
    import ranks

    do(ranks.alone, tmp_path, until=2)
    wanted = r"rank 1: InputError: rank 1 comes to epoch 1, but rank 0 to epoch 3; call trial.load\(\) on every rank"
    with pytest.raises(ProgramError, match=wanted):
        do(distributed.Distributed(ranks.forgets_to_load, 2), tmp_path, 2, 4, lease=1)


def test_what_goes_wrong_after_rank_0_has_returned_is_noticed(tmp_path: Path) -> None:
    import ranks

    said = do(distributed.Distributed(ranks.late, 2), tmp_path)
    assert said[1] == 1.0
    assert "after rank 0 had returned: rank 1: ValueError: too late" in said[0].text


def test_a_study_knows_its_function_through_it() -> None:
    assert digest(distributed.Distributed(do, 2)) == digest(do) != digest(distributed.Distributed(are_gone, 2))


def test_what_cannot_be_is_refused(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(rw.InputError, match="processes must be 1 or more, not 0"):
        distributed.Distributed(print, 0)
    with pytest.raises(rw.InputError, match='like "gloo" or "nccl", or None, not 3'):
        distributed.Distributed(print, 2, backend=3)
    with pytest.raises(rw.InputError, match="must be callable, not 3"):
        distributed.Distributed(3, 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(rw.InputError, match=r"2 ranks under NCCL need a device each, but the worker sees 1 \(CUDA_V"):
        do(distributed.Distributed(print, 2, backend="nccl"), tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"needs torch: pip install 'rungwise\[torch\]'"):
        distributed.Distributed(print, 2)


def test_what_the_page_shows_runs(tmp_path: Path, monkeypatch) -> None:
    """Its program is run in test_torchrun.py."""
    text = (ROOT / "docs" / "distributed.md").read_text()
    function, _, _ = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (tmp_path / "page.py").write_text(function)
    monkeypatch.syspath_prepend(tmp_path)
    import page

    assert list(do(distributed.Distributed(page.train, processes=2), tmp_path)) == [1]


@pytest.mark.needs("sklearn")
def test_the_example(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "examples" / "ddp.py", "--trials", "1", "--epochs", "1", "--study", "s.db"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "validation accuracy after 1 epochs: 0." in done.stdout
    assert rw.Study.open(tmp_path / "s.db").trials[0].failure is None
