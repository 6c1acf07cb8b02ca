"""Parameters and multiply-adds of the network of a cell, against what NAS-Bench-201's authors publish."""

from __future__ import annotations

import pytest

import rungwise as rw
from rungwise.nas.counts import size

LARGEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
SMALLEST = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
FIRST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"
SKIPPING = "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|avg_pool_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
CIFAR100 = {"classes": 100}
IMAGENET = {"classes": 120, "shape": (3, 16, 16)}


@pytest.mark.parametrize(
    ("cell", "options", "parameters", "multiply_adds", "decimals"),
    [
        # What the authors' interface says, as told in github.com/D-X-Y/NATS-Bench/issues/18 and issues/36.
        (FIRST, {}, 0.802, 113.95, (3, 2)),
        (FIRST, CIFAR100, 0.808, 113.96, (3, 2)),
        (FIRST, IMAGENET, 0.810, 28.50, (3, 2)),
        (SKIPPING, {}, 0.802426, 113.95137, (6, 5)),
        # The least and the most of all cells, as multi-objective benchmarks over NAS-Bench-201 use them for bounds.
        (SMALLEST, {}, 0.073306, 7.78305, (6, 5)),
        (LARGEST, {}, 1.531546, 220.11969, (6, 5)),
        (SMALLEST, CIFAR100, 0.079156, 7.7889, (6, 5)),
        (LARGEST, CIFAR100, 1.537396, 220.12554, (6, 5)),
        (SMALLEST, IMAGENET, 0.080456, 1.9534, (6, 5)),
        (LARGEST, IMAGENET, 1.538696, 55.03756, (6, 5)),
    ],
)
def test_published_sizes(cell: str, options: dict, parameters: float, multiply_adds: float, decimals: tuple) -> None:
    own = size(cell, **options)
    assert round(own.parameters / 1e6, decimals[0]) == parameters
    assert round(own.multiply_adds / 1e6, decimals[1]) == multiply_adds


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (32, 32)}, "(channels, height, width)"),
        ({"channels": 0}, "channels must be 1 or more"),
        ({"cells": 1.5}, "cells must be a whole number"),
        ({"classes": -1}, "classes must be 1 or more"),
    ],
)
def test_what_is_no_network_is_refused(options: dict, message: str) -> None:
    with pytest.raises(rw.InputError, match=message):
        size(LARGEST, **options)
