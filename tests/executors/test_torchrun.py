"""torchrun as the program of a `Command`: its ranks leave its session, and must not outlive the job all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rungwise as rw

pytestmark = pytest.mark.needs("torch")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]

ADDS = """
import json, os, signal, sys
import torch
from torch import distributed
x, until, checkpoint, folder = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
distributed.init_process_group("gloo")
rank = distributed.get_rank()
done, state = json.load(open(checkpoint)) if os.path.exists(checkpoint) else (0, 0.0)
distributed.barrier()
for epoch in range(done + 1, until + 1):
    killed = os.path.join(folder, "killed")
    if rank == 1 and epoch == 3 and not os.path.exists(killed):
        open(killed, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    part = torch.tensor([rank + x], dtype=torch.float64)
    distributed.all_reduce(part)
    state += part.item()
    if rank == 0:
        with open(checkpoint + ".new", "w") as file:
            json.dump((epoch, state), file)
        os.replace(checkpoint + ".new", checkpoint)
        print("epoch", epoch)
        print(json.dumps({"resource": epoch, "score": state}), flush=True)
distributed.destroy_process_group()
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


def test_a_killed_rank_breaks_the_job_which_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(ADDS)
    command = [*TORCHRUN, str(tmp_path / "train.py"), "{x}", "{until}", "{checkpoint}", str(tmp_path)]
    study = rw.tune(
        rw.Command(command),
        {"x": rw.Float(0, 1)},
        mode="max",
        scheduler=rw.FullTraining(max_resource=5),
        trials=1,
        study=tmp_path / "s.db",
        quiet=True,
    )
    (record,) = study.trials
    state, expected = 0.0, {}
    for epoch in range(1, 6):
        state += record.config["x"] + (1 + record.config["x"])
        expected[epoch] = state
    assert record.failure is None
    assert record.reports == expected
    log = (tmp_path / "s.db.trials" / "000000.log").read_text()
    trained = [line for line in log.splitlines() if line.startswith("epoch ")]
    assert trained == [f"epoch {epoch}" for epoch in range(1, 6)], "none twice"
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
