"""Tune a network that trains with DistributedDataParallel: 2 processes for each trial, on GPUs or on the CPU.

Run it with `make ddp`. The images are scikit-learn's digits. Kill it, or one of its ranks, at any moment and run it
again: it goes on from the checkpoints. On GPUs, give each worker as many as a trial has processes: `--devices 0+1,2+3`.
"""

import argparse
import os
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import rungwise as rw
from rungwise.distributed import Distributed
from rungwise.executors.devices import from_text

BATCH = 64  # over all processes
SPACE = {"lr": rw.Float(1e-4, 1e-1, log=True), "width": rw.Ordinal([16, 32, 64]), "dropout": rw.Float(0, 0.5)}


def train(trial: rw.Trial) -> None:
    """What each rank does; the process group is there already."""
    rank, size = dist.get_rank(), dist.get_world_size()
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    known, held_out = TensorDataset(x[:1200], y[:1200]), (x[1200:].to(device), y[1200:].to(device))
    sampler = DistributedSampler(known, seed=trial.seed())  # each rank has its share of the images
    loader = DataLoader(known, batch_size=BATCH // size, sampler=sampler)

    torch.manual_seed(trial.seed())
    width = trial.config["width"]
    network = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Dropout(trial.config["dropout"]), nn.Linear(width, 10))
    model = DistributedDataParallel(network.to(device))
    optimizer = torch.optim.AdamW(model.parameters(), lr=trial.config["lr"])
    if (state := trial.load()) is not None:
        model.module.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    for epoch in trial:
        sampler.set_epoch(epoch)
        torch.manual_seed(trial.seed(epoch) + rank)  # dropout differs from rank to rank
        model.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs.to(device)), targets.to(device)).backward()
            optimizer.step()
        model.eval()
        with torch.inference_mode():
            accuracy = (model.module(held_out[0]).argmax(1) == held_out[1]).float().mean()
        trial.report(accuracy)  # that of rank 0 counts
        trial.save({"model": model.module.state_dict(), "optimizer": optimizer.state_dict()})  # rank 0 saves


def main() -> None:
    """Tune, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2, help="for each trial (default 2)")
    parser.add_argument("--trials", type=int, default=8, help="configurations to try (default 8)")
    parser.add_argument("--epochs", type=int, default=9, help="the most epochs for any (default 9)")
    parser.add_argument("--workers", type=int, default=1, help="trials at a time (default 1)")
    parser.add_argument("--devices", type=from_text, default="auto", help='of each worker, like "0+1,2+3"')
    parser.add_argument("--study", type=Path, default=Path("runs/ddp.db"), help="its file (default runs/ddp.db)")
    given = parser.parse_args()
    study = rw.tune(
        Distributed(train, given.processes),
        SPACE,
        mode="max",
        scheduler=rw.PASHA(max_resource=given.epochs),
        trials=given.trials,
        workers=given.workers,
        devices=given.devices,
        path=given.study,
    )
    if study.interrupted:
        raise SystemExit(130)
    print(f"\nbest configuration: trial {study.best.number}, {study.best.config}")
    print(f"validation accuracy after {study.best.resource} epochs: {study.best.score:.4f}")


if __name__ == "__main__":
    main()
