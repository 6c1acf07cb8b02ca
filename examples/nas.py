"""Search a cell of NAS-Bench-201 and how to train it with PASHA: 128 networks, 2 processes, no GPU.

Run it with `make nas`. The images are those of Debian's package `dataset-fashion-mnist`, or of a folder with its four
files (`--images`), brought to 14 × 14 pixels; where there are none, the digits of scikit-learn take their place. Kill
it at any moment and run it again: it goes on where it was, and each network is what it would have been.

At the end the winner is trained on to 27 epochs. Then its configuration is compared with the one that was best after
one epoch, which costs less to choose, and with the first that was drawn, which costs nothing: all are trained from the
start, three times each, since a single training is luck.
"""

import argparse
import gzip
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

import rungwise as rw
from rungwise.nas import NAS_BENCH_201
from rungwise.nas.draw import as_svg, as_text
from rungwise.nas.torch import evaluate, fit, flips, network

FASHION = Path("/usr/share/datasets/fashion-mnist")
SEEDS = 3
SPACE = {
    "cell": NAS_BENCH_201,
    "lr": rw.Float(1e-3, 1, log=True),
    "weight_decay": rw.Float(1e-5, 1e-1, log=True),
}
Examples = tuple[torch.Tensor, torch.Tensor]


@cache
def data(folder: Path | None, few: bool) -> tuple[Examples, Examples, Examples]:
    """Training, validation and test images with their labels; digits if there is no folder."""
    if folder is None:
        x, y = load_digits(return_X_y=True)
        images, labels, sizes = x.reshape(-1, 1, 8, 8) / 16, y, (300, 500, 997)
    else:
        read = {
            name: np.frombuffer(gzip.decompress((folder / f"{name}-ubyte.gz").read_bytes()), np.uint8, offset=header)
            for part in ("train", "t10k")
            for name, header in ((f"{part}-images-idx3", 16), (f"{part}-labels-idx1", 8))
        }
        pixels, labels = (np.concatenate([*read.values()][place::2]) for place in (0, 1))
        pixels = pixels.reshape(-1, 1, 14, 2, 14, 2)
        places = np.r_[:2512, 60_000:65_000]
        images, labels, sizes = pixels[places].mean(axis=(3, 5)) / 255, labels[places], (512, 2000, 5000)
    if few:
        sizes = (128, 64, 64)
    known = images[: sizes[0]]
    x = torch.tensor((images - known.mean()) / known.std(), dtype=torch.float32)
    y = torch.tensor(labels.astype(np.int64))
    first, second, third = np.cumsum(sizes)
    return (x[:first], y[:first]), (x[first:second], y[first:second]), (x[second:third], y[second:third])


def build(cell: str, images: torch.Tensor) -> torch.nn.Module:
    """The network of `cell` for such images: 8, 16 and 32 channels, one cell a stage."""
    return network(cell, shape=tuple(images.shape[1:]), classes=10, channels=8, cells=1)


def train(trial: rw.Trial, *, folder: Path | None, few: bool, epochs: int, on_test: bool = False) -> None:
    """Train the network of `trial.config` for the epochs that are asked for."""
    training, validation, test = data(folder, few)
    config = trial.config.get("of", trial.config)  # in the comparison it is that of another trial, with a seed
    fit(
        trial,
        partial(build, config["cell"], training[0]),
        training=training,
        validation=test if on_test else validation,
        epochs=epochs,
        augment=None if folder is None else flips,  # a mirrored 2 is none
        lr=config["lr"],
        weight_decay=config["weight_decay"],
        seed=trial.config.get("seed", 0),
    )


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=128, help="configurations to try (default 128)")
    parser.add_argument("--epochs", type=int, default=27, help="the most epochs for any (default 27)")
    parser.add_argument("--images", type=Path, help=f"folder of Fashion-MNIST (default {FASHION}, else digits)")
    parser.add_argument("--study", type=Path, default=Path("runs/nas.db"), help="its file (default runs/nas.db)")
    parser.add_argument("--seed", type=int, default=0, help="of the configurations drawn (default 0)")
    parser.add_argument("--few", action="store_true", help="few images: to see it run, not to find anything")
    given = parser.parse_args()
    if given.images is None and (FASHION / "train-images-idx3-ubyte.gz").exists():
        given.images = FASHION
    if given.images is not None and not (given.images / "train-images-idx3-ubyte.gz").exists():
        sys.exit(f"there is no Fashion-MNIST in {given.images}: four files *-ubyte.gz of zalandoresearch/fashion-mnist")
    return given


def main() -> None:
    """Search, refit, compare, and say what it cost."""
    given = options()
    training, _, test = data(given.images, given.few)
    what = "digits of scikit-learn" if given.images is None else "Fashion-MNIST at 14 × 14 pixels"
    print(f"{what}: {len(training[0])} training images, {len(test[0])} for the test")
    if given.study.exists():
        print(f"{given.study} is there: going on with it (delete it to begin anew)")
    job = partial(train, folder=given.images, few=given.few, epochs=given.epochs)
    clock = [time.monotonic()]

    def run(function: Callable, space: dict, study: Path, **arguments: object) -> rw.Study:
        done = rw.tune(function, space, mode="max", workers=2, seed=given.seed, study=study, **arguments)
        if done.interrupted:
            raise SystemExit(130)
        clock.append(time.monotonic())
        return done

    # the search, and its winner trained on to the end
    pasha = rw.PASHA(max_resource=given.epochs, reduction_factor=3)
    search = partial(run, job, SPACE, given.study, scheduler=pasha, trials=given.trials)
    search()
    study = search(refit=True)
    best = study.best
    score, epochs = (best.score, best.resource) if best.refit_score is None else (best.refit_score, best.refit_resource)

    # it, the best after one epoch, and any: all from the start to the end, from seeds of their own
    early = max(study.trials, key=lambda record: record.reports[1])  # among equals the first
    records = {"PASHA": study.trials[best.number], "one epoch": early, "chance": study.trials[0]}
    chosen = [record.config for _, record in sorted({record.number: record for record in records.values()}.items())]
    space = {"of": rw.Categorical(chosen), "seed": rw.Integer(1, SEEDS)}
    each = [{"of": config, "seed": seed} for config in chosen for seed in range(1, SEEDS + 1)]
    compared = run(
        partial(job, on_test=True),
        space,
        given.study.with_stem(f"{given.study.stem}-compared-{len(study.trials)}"),
        scheduler=rw.FullTraining(max_resource=given.epochs),
        trials=len(each),
        initial=each,
    )
    found = {
        by: [100 * trained.score for trained in compared.trials if trained.config["of"] == record.config]
        for by, record in records.items()
    }

    model = build(best.config["cell"], test[0])
    model.load_state_dict(best.load()["model"])
    drawing = given.study.with_suffix(".svg")
    drawing.write_text(as_svg(best.config["cell"]))
    print(f"\nbest configuration: trial {best.number}, {best.config}")
    print(f"its cell (as an image: {drawing}):\n\n{as_text(best.config['cell'])}\n")
    print(f"parameters: {sum(each.numel() for each in model.parameters()):,}")
    print(f"test accuracy after {epochs} epochs: {100 * evaluate(model, *test):.2f} % (validation {100 * score:.2f} %)")
    print(f"\nwhy the search stopped where it did:\n{study.explain()}")
    print(f"\ntest accuracy after {given.epochs} epochs from the start, {SEEDS} seeds each:")
    for by, values in found.items():
        print(f"  chosen by {by:9}  {np.mean(values):.2f} % ({', '.join(f'{value:.2f}' for value in values)})")
    gain, noise = (
        np.subtract(found["PASHA"], found["one epoch"]).mean(),
        np.sqrt(sum(np.var(found[by], ddof=1) / SEEDS for by in ("PASHA", "one epoch"))),
    )
    print(
        f"PASHA's choice against the best of {len(study.trials)} after one epoch: {gain:+.2f} points "
        f"(standard error of the seeds {noise:.2f})"
    )
    searched, refitted, last = np.diff(clock)
    print(
        f"\nspent: search {study.resource_used} epochs, {searched:.0f} s; refit {epochs - best.resource} epochs, "
        f"{refitted:.0f} s; comparison {compared.resource_used} epochs, {last:.0f} s\n"
        f"(one epoch for each: {len(study.trials)}; all of them to the end: {len(study.trials) * given.epochs})"
    )


if __name__ == "__main__":
    main()
