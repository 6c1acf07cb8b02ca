"""The first images of Fashion-MNIST, as the scripts of the tables use them: 14 × 14 pixels, mean 0, deviation 1.

They are read from Debian's package `dataset-fashion-mnist`, or from the four files `*-ubyte.gz` of the authors'
repository (github.com/zalandoresearch/fashion-mnist).
"""

from __future__ import annotations

import functools
import gzip
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rungwise.nas.torch import LAYOUT

IMAGES = Path("/usr/share/datasets/fashion-mnist")


def check(folder: Path) -> None:
    """Leave, and say where the images come from, if they are not in `folder`."""
    if not (folder / "train-images-idx3-ubyte.gz").exists():
        sys.exit(
            f"there is no Fashion-MNIST in {folder}: install Debian's dataset-fashion-mnist, or put the four "
            "files *-ubyte.gz of github.com/zalandoresearch/fashion-mnist into a folder and name it with --images"
        )


def _read(path: Path, header: int) -> np.ndarray:
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


@functools.cache
def data(folder: Path, training: int, validation: int, test: int) -> tuple[Tensor, ...]:
    """Images and labels for training, then for validation and test together.

    Those for training and validation are the first of the training set, those for the test the first of the test set.
    """
    parts = []
    for name, count in (("train", training + validation), ("t10k", test)):
        images = _read(folder / f"{name}-images-idx3-ubyte.gz", 16)[: count * 784].reshape(count, 1, 14, 2, 14, 2)
        labels = _read(folder / f"{name}-labels-idx1-ubyte.gz", 8)[:count]
        halved = torch.tensor(images.mean(axis=(3, 5)) / 255, dtype=torch.float32)
        parts += [(halved - 0.286) / 0.33, torch.tensor(labels.astype(np.int64))]
    images, labels = torch.cat(parts[::2]).to(memory_format=LAYOUT), torch.cat(parts[1::2])
    return images[:training], labels[:training], images[training:], labels[training:]
