"""Neural architecture search: cells as a parameter of a space, and networks built of them."""

from rungwise.nas.cells import NAS_BENCH_201, Cell

__all__ = ["NAS_BENCH_201", "Cell"]
