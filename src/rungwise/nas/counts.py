"""How large is the network of a cell? Parameters and multiply-adds, counted without building it.

The network of NAS-Bench-201 (Dong and Yang, ICLR 2020, section 2.1): a 3×3 convolution to `channels` channels; three
stages of cells, with a residual block between two stages that halves the image and doubles the channels (3×3 twice,
beside it a 2×2 average pooling and a 1×1 convolution); normalization, pooling over the whole image, a linear layer.
Convolutions have no bias; each but the 1×1 of a residual block has a batch normalization, of two parameters a channel.
May import `errors`, `validation` and `nas.cells`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rungwise.errors import InputError
from rungwise.nas.cells import NAS_BENCH_201
from rungwise.validation import whole

STAGES = 3
KERNELS = {"none": 0, "skip_connect": 0, "avg_pool_3x3": 0, "nor_conv_1x1": 1, "nor_conv_3x3": 9}
"""Weights of an operation for each pair of an input and an output channel."""


class Size(NamedTuple):
    """Trainable parameters, and multiply-adds for one image."""

    parameters: int
    multiply_adds: int


def size(
    cell: str, *, shape: Sequence[int] = (3, 32, 32), channels: int = 16, cells: int = 5, classes: int = 10
) -> Size:
    """The size of the network of `cell`, a text of `NAS_BENCH_201`.

    `shape` is that of an image: channels, height, width. The network has `channels` in its first stage and `cells` in
    each; the defaults are those of NAS-Bench-201 for CIFAR-10, and the numbers those of its data. As there, an edge
    counts whether or not it is of use; multiply-adds are those of convolutions and the linear layer with its bias.

    >>> size("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|")
    Size(parameters=1531546, multiply_adds=220119690)

    Raises `InputError` for a text that is no such cell, and for numbers below 1.
    """
    operations = NAS_BENCH_201.parse(cell)
    if len(shape) != 3:
        raise InputError(f"shape must be (channels, height, width), not {shape!r}")
    numbers = {
        "channels": channels,
        "cells": cells,
        "classes": classes,
        **{f"shape[{i}]": n for i, n in enumerate(shape)},
    }
    for name, number in numbers.items():
        if whole(number, name) < 1:
            raise InputError(f"{name} must be 1 or more, not {number!r}")
    depth, height, width = shape
    weights = 9 * depth * channels
    parameters, multiply_adds = weights + 2 * channels, weights * height * width
    for stage in range(STAGES):
        if stage:
            before, channels, height, width = channels, 2 * channels, -(-height // 2), -(-width // 2)
            weights = 9 * before * channels + 9 * channels**2 + before * channels
            parameters += weights + 4 * channels
            multiply_adds += weights * height * width
        weights = cells * channels**2 * sum(KERNELS[name] for name in operations)
        parameters += weights + 2 * cells * channels * sum(KERNELS[name] > 0 for name in operations)
        multiply_adds += weights * height * width
    head = channels * classes + classes
    return Size(parameters + 2 * channels + head, multiply_adds + head)
