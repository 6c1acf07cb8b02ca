"""Who comes first, by a key? An order that is kept while a few keys change. May import numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALL = 64
"""Up to so many points are sorted anew each time."""


class Sorted:
    """Places in the order of their keys, the lower place among equals; after a few changes most of it still stands."""

    def __init__(self) -> None:
        self.order = np.empty(0, dtype=np.int64)
        self.keys = np.empty(0)

    def update(self, places: NDArray[np.int64], keys: NDArray[np.float64]) -> NDArray[np.int64]:
        """The order of `places` now that `keys` are theirs."""
        if len(places) <= SMALL or not self._resort(places, keys):
            rows = np.lexsort((places, keys))
            self.order, self.keys = places[rows], keys[rows]
        return self.order

    def _resort(self, places: NDArray[np.int64], keys: NDArray[np.float64]) -> bool:
        """Move those whose key is another one; False if these are too many."""
        if len(self.order) < len(places) // 2:
            return False
        now = np.full(max(int(places.max()), int(self.order.max())) + 1, np.nan)  # place -> key, nan if not here
        now[places] = keys
        stays = now[self.order] == self.keys
        order, kept = self.order[stays], self.keys[stays]
        if len(places) - len(order) > len(places) // 8:
            return False
        now[order] = np.nan
        moved = places[~np.isnan(now[places])]
        self.order, self.keys = order, kept
        self.insert(moved, now[moved])
        return True

    def insert(self, places: NDArray[np.int64], keys: NDArray[np.float64]) -> None:
        """Put in `places`, which are not there yet."""
        rows = np.lexsort((places, keys))
        places, keys = places[rows], keys[rows]
        at = []
        for place, key in zip(places.tolist(), keys.tolist(), strict=True):
            low, high = self.keys.searchsorted(key), self.keys.searchsorted(key, side="right")
            at.append(int(low + (self.order[low:high].searchsorted(place) if high > low else 0)))
        self.order, self.keys = _inserted(self.order, at, places), _inserted(self.keys, at, keys)


def _inserted(values: NDArray[Any], at: list[int], new: NDArray[Any]) -> NDArray[Any]:
    """As `numpy.insert`, which takes ten times as long for a few."""
    joined = np.empty(len(values) + len(at), dtype=values.dtype)
    before = 0
    for shift, place in enumerate(at):
        joined[before + shift : place + shift] = values[before:place]
        joined[place + shift] = new[shift]
        before = place
    joined[before + len(at) :] = values[before:]
    return joined
