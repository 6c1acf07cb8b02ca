"""The table `digits-mlp`: learning curves of small networks on scikit-learn's digits, trained for real.

python benchmarks/tables/digits_mlp.py [--small] [--workers 2] [--work runs/digits-mlp] [--out FOLDER]

Digits are made hard enough to matter: 300 training images, a fifth of their labels replaced at random, pixel
noise on all images; 600 images with clean labels are for validation and the other 897 for the test. Every network is a
perceptron in plain numpy, trained by SGD with Nesterov momentum for 243 epochs and looked at after each. The images
are the same for every network; a seed sets the initial weights, the order of the batches and the dropout.

Configuration n is drawn with `numpy.random.default_rng([0, n])` and training n under seed s with
`default_rng([n, s])`, so the scores are the same whatever the number of processes (up to the rounding of the
machine's BLAS). A configuration that is finished is a file in the work folder, so the run can be broken off and
goes on where it was; when all are there, they are packed into one file a seed.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")  # before numpy: one core each

import functools
import itertools
import time
from typing import Any

import numpy as np
import packing
from sklearn.datasets import load_digits

import rungwise as rw

SPACE = rw.Space({
    "learning_rate": rw.Float(3e-3, 1.0, log=True),
    "final_rate": rw.Float(1e-2, 1.0, log=True),  # the learning rate of epoch 243, as a share of the first
    "momentum": rw.Float(0.0, 0.99),
    "weight_decay": rw.Float(1e-6, 1e-1, log=True),
    "batch_size": rw.Integer(8, 128, log=True),
    "width": rw.Integer(4, 128, log=True),
    "depth": rw.Integer(1, 3),  # hidden layers
    "dropout": rw.Float(0.0, 0.6),
    "label_smoothing": rw.Float(0.0, 0.4),
    "activation": rw.Categorical(["relu", "tanh"]),
})  # fmt: skip
SIZES = {"configurations": 1000, "epochs": 243, "seeds": 3}
SMALL = {"configurations": 8, "epochs": 9, "seeds": 2}
TRAINING, VALIDATION = 300, 600
LABEL_NOISE, PIXEL_NOISE = 0.2, 0.3


@functools.cache
def data() -> tuple[np.ndarray, ...]:
    """Images and labels for training, then for validation and test together."""
    rng = np.random.default_rng(0)
    images, labels = load_digits(return_X_y=True)
    order = rng.permutation(len(images))
    images = (images[order] / 16 - 0.5 + rng.normal(0, PIXEL_NOISE, images.shape)).astype(np.float32)
    labels = labels[order].astype(np.int64)
    wrong = rng.random(TRAINING) < LABEL_NOISE
    noisy = np.where(wrong, rng.integers(0, 10, TRAINING), labels[:TRAINING])
    return images[:TRAINING], noisy, images[TRAINING:], labels[TRAINING:]


class Network:
    """A perceptron whose weights lie in one vector, so that a step of SGD is three operations."""

    def __init__(self, config: dict[str, Any], rng: np.random.Generator) -> None:
        widths = [64, *[config["width"]] * config["depth"], 10]
        self.rng, self.keep = rng, np.float32(1 - config["dropout"])
        self.relu = config["activation"] == "relu"
        shapes = [(before + 1, after) for before, after in itertools.pairwise(widths)]
        size = sum(rows * columns for rows, columns in shapes)
        self.weights, self.slope, self.speed = (np.zeros(size, np.float32) for _ in range(3))
        self.layers, self.slopes = ([*self._views(vector, shapes)] for vector in (self.weights, self.slope))
        for layer in self.layers:
            layer[:-1] = rng.normal(0, np.sqrt((2 if self.relu else 1) / (len(layer) - 1)), layer[:-1].shape)

    @staticmethod
    def _views(vector: np.ndarray, shapes: list[tuple[int, int]]) -> Any:
        begin = 0
        for rows, columns in shapes:
            yield vector[begin : (begin := begin + rows * columns)].reshape(rows, columns)

    def logits(self, images: np.ndarray, hidden: list[np.ndarray] | None = None) -> np.ndarray:
        """With `hidden`, as in training: dropout, and the outputs of the hidden layers are left there."""
        for layer in self.layers[:-1]:
            images = images @ layer[:-1] + layer[-1]
            images = np.maximum(images, 0) if self.relu else np.tanh(images)
            if hidden is not None:
                images *= (self.rng.random(images.shape, np.float32) < self.keep) / self.keep
                hidden.append(images)
        return images @ self.layers[-1][:-1] + self.layers[-1][-1]

    def step(self, images: np.ndarray, targets: np.ndarray, rate: float, config: dict[str, Any]) -> None:
        inputs = [images]
        logits = self.logits(images, inputs)
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        slope = (logits / logits.sum(axis=1, keepdims=True) - targets) / len(images)
        for layer, slopes, below in zip(self.layers[::-1], self.slopes[::-1], inputs[::-1], strict=True):
            np.matmul(below.T, slope, out=slopes[:-1])
            slope.sum(axis=0, out=slopes[-1])
            slope = slope @ layer[:-1].T
            if below is images:
                break
            # a dropped unit has the output 0; the others carry the factor 1 / keep
            slope *= (below > 0) / self.keep if self.relu else (below != 0) * (1 - (below * self.keep) ** 2) / self.keep
        momentum = np.float32(config["momentum"])
        self.slope += np.float32(config["weight_decay"]) * self.weights
        self.speed *= momentum
        self.speed += self.slope
        self.weights -= np.float32(rate) * (self.slope + momentum * self.speed)


def train(config: dict[str, Any], epochs: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Right answers on the validation and on the test images, and seconds of training, epoch by epoch."""
    images, labels, others, truth = data()
    share = config["label_smoothing"]
    targets = ((1 - share) * np.eye(10)[labels] + share / 10).astype(np.float32)
    network = Network(config, rng)
    validation, test, seconds = (np.zeros(epochs, dtype) for dtype in (int, int, float))
    for epoch in range(epochs):
        began = time.perf_counter()
        rate = config["learning_rate"] * config["final_rate"] ** (epoch / (SIZES["epochs"] - 1))
        order = rng.permutation(TRAINING)
        for batch in (
            order[begin : begin + config["batch_size"]] for begin in range(0, TRAINING, config["batch_size"])
        ):
            network.step(images[batch], targets[batch], rate, config)
        seconds[epoch] = time.perf_counter() - began
        right = network.logits(others).argmax(axis=1) == truth  # a network that diverged says 0 to everything
        validation[epoch], test[epoch] = right[:VALIDATION].sum(), right[VALIDATION:].sum()
    return {"validation": validation, "test": test, "seconds": seconds}


def configuration(number: int) -> dict[str, Any]:
    """Configuration `number`, as random search draws it."""
    return dict(SPACE.sample(np.random.default_rng([0, number])))


def curves(task: tuple[int, int, int]) -> tuple[int, dict[str, np.ndarray]]:
    """Configuration `number` under all seeds; arrays are seeds × epochs."""
    number, epochs, seeds = task
    with np.errstate(all="ignore"):  # networks do diverge
        runs = [train(configuration(number), epochs, np.random.default_rng([number, seed])) for seed in range(seeds)]
    return number, {name: np.stack([run[name] for run in runs]) for name in runs[0]}


def main() -> None:
    options = packing.options(__doc__, "digits-mlp")
    sizes = SMALL if options.small else SIZES
    tasks = [(number, sizes["epochs"], sizes["seeds"]) for number in range(sizes["configurations"])]
    finished = packing.collect(curves, tasks, options)
    configs = [configuration(number) for number in range(sizes["configurations"])]
    packing.pack(
        options.out, "digits-mlp", finished, configs,
        counts={"validation": VALIDATION, "test": len(data()[2]) - VALIDATION},
        about={
            "what": "perceptrons on scikit-learn's digits: 300 noisy training images, a fifth of their labels random",
            "script": "benchmarks/tables/digits_mlp.py" + (" --small" if options.small else ""),
            "licence": "Apache-2.0; the digits are those of the UCI repository (CC BY 4.0), through scikit-learn",
            "seconds": "training alone, on one core of the machine below, shared with other work",
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
