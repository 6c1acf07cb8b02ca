"""Which failures are one and the same? Those whose reasons differ only in numbers, addresses and places.

Imports nothing of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

_PLACE = re.compile(r" \([^()]*:\d+\)$")  # where it was raised, as `executors.reasons` has it
_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+(\.\d+)?([eE][+-]?\d+)?")


class Kind(msgspec.Struct):
    """So many trials failed like `trial` did, for this `reason`."""

    trial: int
    reason: str
    count: int = 0


def kind(reason: str) -> str:
    """What is the same in all reasons of this kind.

    >>> kind("ValueError: 3 layers, not 4 (train.py:12)") == kind("ValueError: 5 layers, not 2 (train.py:14)")
    True
    """
    return _NUMBER.sub("#", _PLACE.sub("", reason))


def by_kind(failures: Iterable[tuple[int, str]]) -> list[Kind]:
    """The kinds among (trial, reason), the most frequent first, each with its first example; ties: the earlier one."""
    kinds: dict[str, Kind] = {}
    for trial, reason in failures:
        kinds.setdefault(kind(reason), Kind(trial, reason)).count += 1
    return sorted(kinds.values(), key=lambda one: -one.count)
