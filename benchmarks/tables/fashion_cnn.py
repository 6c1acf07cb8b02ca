"""The table `fashion-cnn`: learning curves of small convolutional networks on Fashion-MNIST, trained for real.

python benchmarks/tables/fashion_cnn.py [--small] [--workers 2] [--images FOLDER] [--work …] [--out …]

What is varied is what people tune: the optimizer and its rates, regularization, augmentation, and the size of the
network. A network has two stages of 3 × 3 convolutions, the first of each with stride 2, the second stage with twice
the channels, then a linear layer. Each of 512 is trained on 1,000 images, brought to 14 × 14 pixels, for 81 epochs;
the learning rate falls, batch by batch, as a cosine from `learning_rate` to `final_rate` times that. Another 2,000
images of the training set are for validation, the first 1,000 of the test set for the test.

Configuration n is drawn with `numpy.random.default_rng([0, n])`. All chance in training n under seed s (the initial
weights, the order of the batches, augmentation, dropout) comes from torch's generator, seeded with n and s. So scores
are the same whatever the number of processes (up to the machine's own arithmetic). A network that diverged trains on
and says 0 to everything.

Where the images come from: `fashion_mnist.py`. Needs torch (CPU). A run can be broken off and goes on where it was.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # before torch: one core a process

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import fashion_mnist
import numpy as np
import packing
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

import rungwise as rw
from rungwise.nas.torch import LAYOUT, cosine, flips

SPACE = rw.Space({
    "optimizer": rw.Categorical(["sgd", "adamw"]),
    "learning_rate": rw.Float(1e-3, 0.3, log=True),
    "final_rate": rw.Float(1e-3, 1.0, log=True),  # the learning rate at the end of epoch 81, as a share of the first
    "momentum": rw.Float(0.0, 0.98),  # AdamW: of the mean of the gradients (beta 1)
    "weight_decay": rw.Float(1e-5, 0.1, log=True),  # SGD: added to the gradient; AdamW: apart from it
    "batch_size": rw.Integer(32, 256, log=True),
    "width": rw.Integer(4, 16, log=True),  # channels of the first stage
    "depth": rw.Integer(2, 4),  # convolutions
    "batch_norm": rw.Categorical([False, True]),
    "dropout": rw.Float(0.0, 0.6),  # before the linear layer
    "label_smoothing": rw.Float(0.0, 0.4),
    "shift": rw.Integer(0, 3),  # pixels at most, in either direction
    "flip": rw.Categorical([False, True]),
})  # fmt: skip
SIZES = {"configurations": 512, "epochs": 81, "seeds": 2}
SMALL = {"configurations": 3, "epochs": 3, "seeds": 2}
TRAINING, VALIDATION, TEST = 1000, 2000, 1000
EVALUATED = 500  # images at a time


def network(config: dict[str, Any]) -> nn.Sequential:
    """Logits of images of 14 × 14 pixels."""
    width, depth = config["width"], config["depth"]
    first = (depth + 1) // 2  # convolutions of the first stage
    widths = [1, *[width] * first, *[2 * width] * (depth - first)]
    parts: list[nn.Module] = []
    for layer, (before, after) in enumerate(pairwise(widths)):
        stride = 2 if layer in (0, first) else 1
        convolution = nn.Conv2d(before, after, 3, stride, padding=1, bias=not config["batch_norm"])
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        parts.append(convolution)
        parts += [nn.BatchNorm2d(after)] if config["batch_norm"] else []
        parts.append(nn.ReLU(inplace=True))
    head = [nn.Flatten(), nn.Dropout(config["dropout"]), nn.Linear(2 * width * 16, 10)]
    return nn.Sequential(*parts, *head).to(memory_format=LAYOUT)  # type: ignore[call-overload, no-any-return]


def stepper(config: dict[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer; the learning rate is set at each step."""
    decay, momentum = config["weight_decay"], config["momentum"]
    if config["optimizer"] == "adamw":
        return torch.optim.AdamW(model.parameters(), betas=(momentum, 0.999), weight_decay=decay, fused=True)
    return torch.optim.SGD(model.parameters(), momentum=momentum, nesterov=momentum > 0, weight_decay=decay, fused=True)


def shifted(images: Tensor, most: int) -> Tensor:
    """Each image moved by up to `most` pixels along either axis; what comes in is black."""
    count, size, wide = len(images), images.shape[-1], images.shape[-1] + 2 * most
    rows, columns = (torch.randint(2 * most + 1, (count, 1)) + torch.arange(size) for _ in range(2))
    places = (rows[:, :, None] * wide + columns[:, None, :]).flatten(1)
    padded = pad(images, [most] * 4, value=float(images.min())).flatten(1)
    return padded.gather(1, places).view_as(images)


def batches(config: dict[str, Any], images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of images, augmented, in an order that torch draws, and their labels."""
    order = torch.randperm(len(images))
    images = shifted(images[order], config["shift"]) if config["shift"] else images[order]
    images = flips(images) if config["flip"] else images
    size = config["batch_size"]
    yield from zip(images.split(size), labels[order].split(size), strict=True)


def train(config: dict[str, Any], epochs: int, seeds: tuple[int, int], folder: Path) -> packing.Curves:
    """Right answers on the validation and on the test images, and seconds of training, epoch by epoch."""
    images, labels, others, truth = fashion_mnist.data(folder, TRAINING, VALIDATION, TEST)
    torch.manual_seed(int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0] >> 1))
    model = network(config)
    optimizer = stepper(config, model)
    validation, test, seconds = (np.zeros(epochs, dtype) for dtype in (int, int, float))
    for epoch in range(epochs):
        began = time.process_time()
        model.train()
        for place, (given, wanted) in enumerate(batches(config, images, labels)):
            fallen = cosine(epoch + place * config["batch_size"] / TRAINING, SIZES["epochs"])
            share = config["final_rate"] + (1 - config["final_rate"]) * fallen
            optimizer.param_groups[0]["lr"] = config["learning_rate"] * share
            optimizer.zero_grad()
            loss = cross_entropy(model(given), wanted, label_smoothing=config["label_smoothing"])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        seconds[epoch] = time.process_time() - began
        model.eval()
        with torch.inference_mode():
            answers = torch.cat([model(part).argmax(1) for part in others.split(EVALUATED)])
        right = (answers == truth).numpy()
        validation[epoch], test[epoch] = right[:VALIDATION].sum(), right[VALIDATION:].sum()
    return {"validation": validation, "test": test, "seconds": seconds}


def configuration(number: int) -> dict[str, Any]:
    """Configuration `number`, as random search draws it."""
    return dict(SPACE.sample(np.random.default_rng([0, number])))


def curves(task: tuple[int, int, int, Path]) -> tuple[int, packing.Curves]:
    """Configuration `number` under all seeds; arrays are seeds × epochs."""
    number, epochs, seeds, folder = task
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # weights that decay to nothing would make training slow
    runs = [train(configuration(number), epochs, (number, seed), folder) for seed in range(seeds)]
    return number, {name: np.stack([run[name] for run in runs]) for name in runs[0]}


def evened(found: packing.Curves) -> packing.Curves:
    """The same with the mean seconds of a training for each of its epochs: they do the same work, the rest is load."""
    seconds = found["seconds"]
    return found | {"seconds": np.repeat(seconds.mean(axis=1, keepdims=True), seconds.shape[1], axis=1)}


def main() -> None:
    options = packing.options(__doc__, "fashion-cnn", images=fashion_mnist.IMAGES)
    fashion_mnist.check(options.images)
    sizes = SMALL if options.small else SIZES
    tasks = [(number, sizes["epochs"], sizes["seeds"], options.images) for number in range(sizes["configurations"])]
    packing.pack(
        options.out, "fashion-cnn", [evened(found) for found in packing.collect(curves, tasks, options)],
        [configuration(number) for number in range(sizes["configurations"])],
        counts={"validation": VALIDATION, "test": TEST},
        about={
            "what": f"small convolutional networks on {TRAINING:,} images of Fashion-MNIST at 14 × 14 pixels",
            "script": "benchmarks/tables/fashion_cnn.py" + (" --small" if options.small else ""),
            "licence": "Apache-2.0; Fashion-MNIST is MIT (Zalando SE, 2017)",
            "seconds": "processor time of training alone, the mean of a run, on one core of the machine below, shared",
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
