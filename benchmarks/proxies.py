"""What zero-cost proxies know of the table `fashion-cells`: rank correlations, and what screening by them gains.

python benchmarks/proxies.py [--images FOLDER] [--cells 512] [--inputs 64]

Each cell of the table is built into the network that was trained for it, once, from seed 0, and looked at untrained;
the images for `jacob_cov` are the first of the training set. The scores are validation accuracies after 54 epochs, the
mean of the table's two seeds. Beside the proxies stand the number of parameters, and what costs training: the accuracy
after 1 and after 3 epochs in the first seed, against that after 54 in both.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # before torch: what one core needs

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent / "tables"))

import fashion_cells
import fashion_mnist

from rungwise.bench import suites
from rungwise.nas import NAS_BENCH_201
from rungwise.nas.proxies import jacob_cov, synflow
from rungwise.search.screened import rank_correlation

DRAWS = 4, 16


def best_of(proxy: np.ndarray, scores: np.ndarray, count: int) -> float:
    """The mean score of the one with the highest proxy among `count` cells drawn without replacement."""
    order = np.argsort(proxy, kind="stable")
    ways = np.array([math.comb(below, count - 1) for below in range(len(proxy))], dtype=float)
    return float(scores[order] @ (ways / ways.sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=fashion_mnist.IMAGES, help="folder of Fashion-MNIST's files")
    parser.add_argument("--cells", type=int, default=512, help="the first so many of the table (default: all)")
    parser.add_argument("--inputs", type=int, default=64, help="images for jacob_cov (default 64)")
    given = parser.parse_args()
    first, second = suites.load_suite("fashion-cells")
    scores = (first.table.scores[: given.cells, -1] + second.table.scores[: given.cells, -1]) / 2
    images = fashion_mnist.data(given.images, given.inputs, 0, 0)[0]
    found: dict[str, list[float]] = {"synflow": [], "jacob_cov": [], "parameters": []}
    seconds = dict.fromkeys(found, 0.0)
    for config in first.configs[: given.cells]:
        torch.manual_seed(0)
        model = fashion_cells.network(NAS_BENCH_201.parse(config["cell"]))
        for name, proxy in (
            ("synflow", lambda model: synflow(model, (1, 14, 14))),
            ("jacob_cov", lambda model: jacob_cov(model, images)),
            ("parameters", lambda model: sum(parameter.numel() for parameter in model.parameters())),
        ):
            began = time.perf_counter()
            found[name].append(proxy(model))
            seconds[name] += time.perf_counter() - began
    columns = {name: np.array(values, dtype=float) for name, values in found.items()}
    for epochs in (1, 3):
        columns[f"{epochs} epoch{'s' * (epochs > 1)} of training"] = first.table.scores[: given.cells, epochs - 1]
        seconds[[*columns][-1]] = float(first.table.seconds[: given.cells, epochs - 1].sum())
    best = np.argsort(-scores, kind="stable")[: max(1, len(scores) // 10)]
    print(
        f"{len(scores)} cells, {len(images)} images for jacob_cov; a random cell has {scores.mean():.2f} % in the mean"
    )
    print()
    print(f"| | rank correlation | of the best tenth | {' | '.join(f'best of {k}, %' for k in DRAWS)} | ms a cell |")
    print("|---" * (4 + len(DRAWS)) + "|")
    for name, values in columns.items():
        gains = " | ".join(f"{best_of(values, scores, k):.2f}" for k in DRAWS)
        correlations = f"{rank_correlation(values, scores):.2f} | {rank_correlation(values[best], scores[best]):.2f}"
        print(f"| {name} | {correlations} | {gains} | {1000 * seconds[name] / len(scores):.1f} |")


if __name__ == "__main__":
    main()
