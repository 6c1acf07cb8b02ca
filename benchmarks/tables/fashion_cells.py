"""The table `fashion-cells`: learning curves of NAS-Bench-201 cells on Fashion-MNIST, trained for real.

python benchmarks/tables/fashion_cells.py [--small] [--workers 2] [--images FOLDER] [--work …] [--out …]

A cell is a directed acyclic graph of four nodes with one of five operations on each of its six edges (Dong & Yang,
NAS-Bench-201, ICLR 2020, section 2). Each of 512 cells, no two of which compute the same after edges on no path from
input to output are dropped, is built into the network of that paper made small (8, 16 and 32 channels, one cell a
stage, a stem of stride 2) and trained on 512 images, brought to 14 × 14 pixels, for 54 epochs: SGD with Nesterov
momentum 0.9, weight decay 5e-4, batches of 64, random flips, learning rate 0.1 falling to 0 as a cosine. Another 400
images of the training set are for validation, the first 600 of the test set for the test.

Where the images come from: `fashion_mnist.py`. Needs torch (CPU). A run can be broken off and goes on where it was.
Scores are the same whatever the number of processes (up to the machine's own arithmetic).
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # before torch: one core a process

import functools
import itertools
import time
from pathlib import Path

import fashion_mnist
import numpy as np
import packing
import torch
from torch import nn

from rungwise.nas import NAS_BENCH_201
from rungwise.nas.torch import flips, train_epoch
from rungwise.nas.torch import network as cells_network

EDGES = NAS_BENCH_201.edges
SIZES = {"configurations": 512, "epochs": 54, "seeds": 2}
SMALL = {"configurations": 3, "epochs": 3, "seeds": 2}
TRAINING, VALIDATION, TEST, BATCH = 512, 400, 600, 64

Cell = tuple[str, ...]  # the operation of each of EDGES


def used(cell: Cell) -> Cell:
    """The cell without the edges that lie on no path from input to output."""
    given = [edge for op, edge in zip(cell, EDGES, strict=True) if op != "none"]
    reached, leading = {0}, {3}
    for start, end in given:  # edges come in the order of their ends
        reached |= {end} if start in reached else set()
    for start, end in reversed(given):
        leading |= {start} if end in leading else set()
    live = [start in reached and end in leading for start, end in EDGES]
    return tuple(op if alive else "none" for op, alive in zip(cell, live, strict=True))


@functools.cache
def cells() -> list[Cell]:
    """All cells that compute something, each once, in an order drawn from seed 0."""
    every = list(itertools.product(NAS_BENCH_201.operations, repeat=len(EDGES)))
    order = np.random.default_rng(0).permutation(len(every))
    return [cell for cell in dict.fromkeys(used(every[place]) for place in order) if set(cell) != {"none"}]


def network(cell: Cell) -> nn.Sequential:
    """Stem of stride 2, three stages of one cell with reductions between them, head."""
    return cells_network(
        NAS_BENCH_201.text(cell), shape=(1, 14, 14), classes=10, channels=8, cells=1, stages=3, stride=2
    )


def train(cell: Cell, epochs: int, seed: int, folder: Path) -> packing.Curves:
    """Right answers on the validation and on the test images, and seconds of training, epoch by epoch."""
    images, labels, others, truth = fashion_mnist.data(folder, TRAINING, VALIDATION, TEST)
    torch.manual_seed(seed)
    model = network(cell)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, SIZES["epochs"])
    validation, test, seconds = (np.zeros(epochs, dtype) for dtype in (int, int, float))
    for epoch in range(epochs):
        began = time.perf_counter()
        train_epoch(model, optimizer, images, labels, batch=BATCH, augment=flips)
        schedule.step()
        seconds[epoch] = time.perf_counter() - began
        model.eval()
        with torch.inference_mode():
            right = (model(others).argmax(1) == truth).numpy()
        validation[epoch], test[epoch] = right[:VALIDATION].sum(), right[VALIDATION:].sum()
    return {"validation": validation, "test": test, "seconds": seconds}


def curves(task: tuple[int, int, int, Path]) -> tuple[int, packing.Curves]:
    """Cell `number` under all seeds; arrays are seeds × epochs."""
    number, epochs, seeds, folder = task
    torch.set_num_threads(1)
    runs = [train(cells()[number], epochs, seed, folder) for seed in range(seeds)]
    return number, {name: np.stack([run[name] for run in runs]) for name in runs[0]}


def main() -> None:
    options = packing.options(__doc__, "fashion-cells", images=fashion_mnist.IMAGES)
    fashion_mnist.check(options.images)
    sizes = SMALL if options.small else SIZES
    tasks = [(number, sizes["epochs"], sizes["seeds"], options.images) for number in range(sizes["configurations"])]
    packing.pack(
        options.out, "fashion-cells", packing.collect(curves, tasks, options),
        [{"cell": NAS_BENCH_201.text(cell)} for cell in cells()[: sizes["configurations"]]],
        counts={"validation": VALIDATION, "test": TEST},
        about={
            "what": f"NAS-Bench-201 cells in small networks on {TRAINING} images of Fashion-MNIST at 14 × 14 pixels",
            "script": "benchmarks/tables/fashion_cells.py" + (" --small" if options.small else ""),
            "licence": "Apache-2.0; Fashion-MNIST is MIT (Zalando SE, 2017)",
            "seconds": "training alone, on one core of the machine below, shared with other work",
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
