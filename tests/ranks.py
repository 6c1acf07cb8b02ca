"""Training functions for several processes."""

from __future__ import annotations

import atexit
import json
import os
import signal
import time
from pathlib import Path

import torch
from torch import distributed, nn

import rungwise as rw

BATCH = 12


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The global batch of an epoch."""
    inputs = torch.randn(BATCH, 4, generator=torch.Generator().manual_seed(seed))
    return inputs, inputs.sum(1, keepdim=True)


def made(trial: rw.Trial) -> nn.Module:
    torch.manual_seed(trial.seed())
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


def train(trial: rw.Trial, model: nn.Module, share: slice) -> None:
    """Train `model` on its share of each global batch; what it scores is the mean over all of it."""
    bare = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
    optimizer = torch.optim.SGD(model.parameters(), lr=trial.config["lr"], momentum=0.9)
    if (state := trial.load()) is not None:
        bare.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    for epoch in trial:
        inputs, targets = batch(trial.seed(epoch))
        optimizer.zero_grad()
        nn.functional.mse_loss(model(inputs[share]), targets[share]).backward()
        optimizer.step()
        with torch.no_grad():
            trial.report(nn.functional.mse_loss(bare(inputs), targets))
        trial.save({"model": bare.state_dict(), "optimizer": optimizer.state_dict()})


def alone(trial: rw.Trial) -> None:
    train(trial, made(trial), slice(None))


def ddp(trial: rw.Trial) -> None:
    rank, size = distributed.get_rank(), distributed.get_world_size()
    atexit.register((trial.folder / f"rank {rank} ended").touch)
    train(trial, nn.parallel.DistributedDataParallel(made(trial)), slice(rank, None, size))


# -- without a network, which takes seconds less -----------------------------------------------------------------


def summed(value: float) -> float:
    tensor = torch.tensor([value], dtype=torch.float64)
    distributed.all_reduce(tensor)
    return tensor.item()


def after(config: dict, epoch: int) -> float:
    """What `adds` scores there: the sum over two ranks, each of which adds its rank + x an epoch."""
    state = 0.0
    for _ in range(epoch):
        state += config["x"] + (1 + config["x"])
    return state


def adds(trial: rw.Trial) -> None:
    """Sums something up over ranks and epochs; in trial 1 rank 1 is killed once, while rank 0 waits for it."""
    rank = distributed.get_rank()
    (trial.folder.parent / f"{os.getpid()}.pid").write_text(str(os.getpid()))
    state = trial.load() or 0.0
    for epoch in trial:
        with (trial.folder.parent / f"epochs of rank {rank} in {trial.number}").open("a") as file:
            file.write(f"{epoch}\n")
        killed = trial.folder.parent / "killed"
        if trial.number == 1 and rank == 1 and epoch == 3 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        state += summed(rank + trial.config["x"])
        trial.report(state)
        trial.save(state)


def ends(trial: rw.Trial) -> None:
    """One rank ends in some way while the other waits for it."""
    (trial.folder / f"{distributed.get_rank()}.pid").write_text(str(os.getpid()))
    if distributed.get_rank() == trial.config["rank"]:
        while len(list(trial.folder.glob("*.pid"))) < 2:
            time.sleep(0.01)
        match trial.config["how"]:
            case "raise":
                raise ValueError("no")
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
    summed(1.0)


def only_returns(trial: rw.Trial) -> float:
    return 0.5


def no_loop(trial: rw.Trial) -> None:
    """Rank 0 pauses at its first checkpoint; rank 1, which saves nothing and does not loop, waits in a collective."""
    (trial.folder / f"{distributed.get_rank()}.pid").write_text(str(os.getpid()))
    for epoch in range(1, trial.until + 1):
        total = summed(epoch)
        if distributed.get_rank() == 0:
            trial.report(total)
            trial.save(total)


def forgets_to_load(trial: rw.Trial) -> None:
    """Only rank 0 loads."""
    if distributed.get_rank() == 0:
        trial.load()
    for epoch in trial:
        trial.report(summed(epoch))
        trial.save(epoch)


def looks(trial: rw.Trial) -> None:
    """Each rank writes down what it sees."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
    seen = {name: os.environ.get(name) for name in names} | {
        "port": os.environ["MASTER_ADDR"] + (":" if int(os.environ["MASTER_PORT"]) > 0 else ""),
        "backend": distributed.get_backend(),
        "seed": trial.seed(1),
        "config": trial.config,
        "state": trial.load(),
        "epochs": list(trial),
        "horizon": trial.horizon,
        "worker": trial.worker,
    }
    rank = distributed.get_rank()
    (trial.folder / f"{rank}.json").write_text(json.dumps(seen))
    trial.report(10 + rank, trial.until)
    trial.save(f"of rank {rank}")


def late(trial: rw.Trial) -> None:
    """Rank 1 raises when rank 0 has returned."""
    if distributed.get_rank() == 1:
        time.sleep(0.5)
        raise ValueError("too late")
    trial.report(1, trial.until)


def pids(folder: Path) -> list[int]:
    return [int(file.read_text()) for file in folder.glob("*.pid")]
