"""torchrun as the program of a `Command`: its ranks leave its session, and must not outlive the job all the same."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rungwise as rw

pytestmark = pytest.mark.needs("torch")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]

PAGE = (Path(__file__).parents[2] / "docs" / "distributed.md").read_text()

KILLED_ONCE = """\
    with open(f"epochs of rank {rank}", "a") as file:
        file.write(f"{epoch} ")
    if rank == 1 and epoch == 3 and not os.path.exists("killed"):
        open("killed", "w").close()
        os.kill(os.getpid(), 9)
"""

HANGS = """
import os, pathlib, sys, time
from torch import distributed
distributed.init_process_group("gloo")
pathlib.Path(sys.argv[1], f"{distributed.get_rank()}.pid").write_text(str(os.getpid()))
distributed.barrier()
time.sleep(600)
"""

DRIVER = """
import sys
import rungwise as rw
rw.tune(rw.Command(sys.argv[1:]), {"x": rw.Float(0, 1)}, mode="min", trials=1, quiet=True)
"""


def pids(folder: Path) -> list[int]:
    """The process ids of the two ranks, when both have written them."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = [file.read_text() for file in folder.glob("*.pid")]
        if len(found) == 2 and all(found):
            return [int(text) for text in found]
        time.sleep(0.05)
    raise AssertionError("the ranks have not begun")


def are_gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def alone(lr: float, epochs: int) -> dict[int, float]:
    """What one process scores that does the same as the program on the page."""
    import torch

    torch.manual_seed(0)
    model = torch.nn.Linear(8, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    scores = {}
    for epoch in range(1, epochs + 1):
        inputs = torch.randn(256, 8, generator=torch.Generator().manual_seed(epoch))
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(inputs), inputs.sum(1, keepdim=True))
        loss.backward()
        optimizer.step()
        scores[epoch] = loss.item()
    return scores


def test_a_killed_rank_breaks_the_job_which_goes_on_from_the_checkpoint(tmp_path: Path, monkeypatch) -> None:
    """With the command and the program of docs/distributed.md, in which rank 1 is killed once in epoch 3."""
    _, command, program = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    before, step, after = program.partition("    optimizer.step()\n")
    (tmp_path / "train.py").write_text(before + KILLED_ONCE + step + after)
    (tmp_path / "page_of_torchrun.py").write_text(f"import rungwise as rw\n{command}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    import page_of_torchrun

    study = rw.tune(
        page_of_torchrun.command,
        {"lr": rw.Float(1e-3, 1, log=True)},
        mode="min",
        scheduler=rw.FullTraining(max_resource=5),
        trials=1,
        path="s.db",
        quiet=True,
    )
    (record,) = study.trials
    assert record.failure is None
    assert record.reports == pytest.approx(alone(record.config["lr"], 5), rel=1e-4)
    for rank in (0, 1):
        trained = (tmp_path / f"epochs of rank {rank}").read_text()
        assert trained == "1 2 3 3 4 5 ", "none from scratch"
    assert (tmp_path / "killed").exists()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="environments cannot be looked into")
def test_the_ranks_are_gone_when_what_is_above_them_is_killed(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(HANGS)
    command = [*TORCHRUN, str(tmp_path / "train.py"), str(tmp_path)]
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, *command], cwd=tmp_path, stdout=subprocess.DEVNULL)
    first = pids(tmp_path)
    assert all(os.getsid(rank) == rank for rank in first), "they have left the session, which makes it hard"
    torchrun = int(Path(f"/proc/{first[0]}/stat").read_text().rpartition(")")[2].split()[1])
    for file in tmp_path.glob("*.pid"):
        file.unlink()
    os.kill(torchrun, signal.SIGKILL)
    assert are_gone(first)
    second = pids(tmp_path)  # the job has been given out again
    driver.kill()
    assert are_gone(second)
    driver.wait()
