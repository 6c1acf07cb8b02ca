"""Which learning curves are there? Suites of tasks, each task one `CurveTable` with what its rows stand for.

Four suites are part of the package: `digits-mlp`, `fashion-cells`, `fashion-cnn`, and `boosted-trees`, made by the
scripts in `benchmarks/tables`. The others are read from the data folder, which the environment variable `RUNGWISE_DATA`
names; four of them as their authors publish them (`rungwise.bench.published`).
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, final

import msgspec
import numpy as np
from numpy.typing import NDArray

from rungwise.bench import published
from rungwise.bench.task import Task, curve_table
from rungwise.errors import InputError, suggestion
from rungwise.events import Config
from rungwise.metrics import Mode

TABLES = Path(__file__).parent / "tables"
TICK = 1e-4  # seconds: the unit of time in those of the package's own tables that name none
LEARNERS = 10  # as many as a data set of LCDB must have


@final
class Suite(msgspec.Struct, frozen=True):
    """A suite: what it is and under which licence, where its files come from, and how they are read.

    `source` says where to get what belongs into the folder of the suite's name; it is empty for a suite of the
    package. `files` is what at least one of its files is called.
    """

    about: str
    source: str
    read: Callable[[Path], Iterator[Task]]
    files: str = "*.npz"


def load_suite(name: str) -> list[Task]:
    """The tasks of suite `name`.

    >>> [task.name for task in load_suite("digits-mlp")]
    ['digits-mlp-0', 'digits-mlp-1', 'digits-mlp-2']

    Raises `InputError` for a suite that there is not, and for files that are missing or broken; the message says
    where to get them and where to put them.
    """
    folder = suite_folder(name)
    if folder is None:
        raise InputError(
            f"the suite {name} is read from the folder that RUNGWISE_DATA names, which is not set: put "
            f"{SUITES[name].source} into {name}/ in a folder of yours, and set the environment variable to that"
        )
    if not there_is(name):
        raise InputError(
            f"there is no suite {name} in {folder}: put {SUITES[name].source} there, or name the folder that has "
            f"{name}/ in RUNGWISE_DATA"
        )
    return list(SUITES[name].read(folder))


def there_is(name: str) -> bool:
    """Whether the files of suite `name` are there."""
    folder = suite_folder(name)
    return folder is not None and any(folder.glob(SUITES[name].files))


def suite_folder(name: str) -> Path | None:
    """Where the files of suite `name` are, or should be; None if that is not said."""
    if name not in SUITES:
        raise InputError(f"there is no suite {name!r}{suggestion(name, SUITES)}")
    if not SUITES[name].source:
        return TABLES
    return Path(data) / name if (data := os.environ.get("RUNGWISE_DATA")) else None


def read_arrays(path: Path, **dimensions: int) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file that are named, each with so many dimensions; one clear line if there is none such."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in dimensions}
    except KeyError:
        wanted = ", ".join(dimensions)
        raise InputError(f"{path} should have the arrays {wanted}; it is not a table of this suite") from None
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}): it is broken or truncated, fetch it again") from None
    for name, array in found.items():
        if array.ndim != dimensions[name]:
            raise InputError(f"{path}: {name} should have {dimensions[name]} dimensions, not the shape {array.shape}")
    return found


def _named(path: Path, rows: NDArray[Any], names: NDArray[Any]) -> tuple[Config, ...]:
    if len(names) != rows.shape[1]:
        raise InputError(f"{path}: {len(names)} names for configurations of {rows.shape[1]} values")
    return tuple(dict(zip(names.tolist(), row, strict=True)) for row in rows.tolist())


def _packed(name: str, folder: Path, mode: Mode = "max", tolerance: float = 0.1) -> Iterator[Task]:
    """A suite of the package: one file a seed, as `benchmarks/tables/packing.py` writes it."""
    for path in sorted(folder.glob(f"{name}-*.npz")):
        arrays = read_arrays(path, validation=2, test=2, seconds=2, configs=0, about=0)
        about = json.loads(str(arrays["about"]))
        units = about.get("units") or {key: 100 / count for key, count in about["questions"].items()}
        validation, test = (np.cumsum(arrays[key], axis=1) * units[key] for key in ("validation", "test"))
        steps = np.repeat(arrays["seconds"], validation.shape[1] // arrays["seconds"].shape[1], axis=1)
        seconds = np.cumsum(steps, axis=1, dtype=np.int64) * about.get("tick", TICK)
        configs = tuple(json.loads(str(arrays["configs"])))
        yield Task(name, path.stem, curve_table(path, validation, seconds, mode=mode), configs, test, tolerance)


def _lcbench(folder: Path) -> Iterator[Task]:
    known = folder / "configs.npz"
    configs = _named(known, *read_arrays(known, X=2, names=1).values())
    for path in sorted(set(folder.glob("*.npz")) - {known}):
        arrays = read_arrays(path, val_accuracy=2, elapsed_seconds=2)
        table = curve_table(path, arrays["val_accuracy"], arrays["elapsed_seconds"], mode="max")
        yield Task("lcbench", path.stem, table, configs, tolerance=0.1)


def _taskset(folder: Path) -> Iterator[Task]:
    for path in sorted(folder.glob("*.npz")):
        rows, names, valid, test = read_arrays(path, configs=2, names=1, valid_loss=2, test_loss=2).values()
        table = curve_table(path, valid[:, 1:], mode="min")  # column 0 is before training
        yield Task("taskset", path.stem, table, _named(path, rows, names), test[:, 1:], tolerance=0.002)


def _nmtlc(folder: Path) -> Iterator[Task]:
    """Curves end at their `length`: from there on the score is held and no more time passes."""
    for path in sorted(folder.glob("*.npz")):
        rows, names, perplexity, length = read_arrays(path, configs=2, names=1, perplexity=2, length=1).values()
        if len(length) != len(perplexity) or (length < 1).any():
            raise InputError(
                f"{path}: each of {len(perplexity)} curves should have a length of 1 or more, not {length}"
            )
        reached = np.minimum(np.arange(1, perplexity.shape[1] + 1), length[:, None])
        table = curve_table(path, np.take_along_axis(perplexity, reached - 1, axis=1), reached, mode="min")
        yield Task("nmtlc", path.stem, table, _named(path, rows, names), tolerance=0.02)


def _lcdb(folder: Path) -> Iterator[Task]:
    """Every size is trained from scratch, so the time to a size is that of all sizes up to it.

    Data sets on which only a few of the 20 learners were run are left out: there is nothing to choose from.
    """
    path = folder / "lcdb10_accuracy_mean.parquet"
    try:
        import pandas
        import pyarrow
    except ImportError:
        raise InputError("reading lcdb needs pandas and pyarrow: pip install 'rungwise[frames]'") from None
    try:
        columns = ["openmlid", "learner", "size_train", "score_valid", "score_test", "traintime"]
        frame = pandas.read_parquet(path, columns=columns)
    except (OSError, pyarrow.ArrowException, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} cannot be read ({reason}): it is broken or truncated, fetch it again") from None
    frame["learner"] = frame["learner"].astype(str)
    for number, group in frame.groupby("openmlid"):
        by_size = group.pivot_table(index="learner", columns="size_train")  # learners and sizes in order
        if len(by_size) < LEARNERS:
            continue
        valid, test = (by_size[key].to_numpy(float) * 100 for key in ("score_valid", "score_test"))
        seconds = np.cumsum(np.nan_to_num(by_size["traintime"].to_numpy(float)), axis=1)
        table = curve_table(path, valid, seconds, mode="max", resources=by_size["score_valid"].columns.to_numpy())
        configs = tuple({"learner": learner} for learner in by_size.index)
        yield Task("lcdb", str(number), table, configs, test, tolerance=0.1)


def _nats_bench(folder: Path) -> Iterator[Task]:
    (path,) = sorted(folder.glob("NATS-tss-*"))[:1] or [folder / "NATS-tss-v1_0-3ffb9-simple"]
    yield from (published.nats_bench(path, dataset) for dataset in published.NATS_DATASETS)


def _pd1(folder: Path) -> Iterator[Task]:
    archive = folder / "pd1.tar.gz"
    yield from published.pd1(archive if archive.exists() else folder)


def _lcbench_original(folder: Path) -> Iterator[Task]:
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.zip")])[:1]:
        yield from published.lcbench(path)


SUITES = {
    "digits-mlp": Suite(
        "perceptrons on scikit-learn's digits, trained for this project (Apache-2.0)",
        "",
        partial(_packed, "digits-mlp"),
        "digits-mlp-*.npz",
    ),
    "fashion-cells": Suite(
        "NAS-Bench-201 cells on part of Fashion-MNIST, trained for this project (Apache-2.0)",
        "",
        partial(_packed, "fashion-cells"),
        "fashion-cells-*.npz",
    ),
    "boosted-trees": Suite(
        "LightGBM on six small data sets of scikit-learn, trained for this project (Apache-2.0)",
        "",
        partial(_packed, "boosted-trees", mode="min", tolerance=0.002),
        "boosted-trees-*.npz",
    ),
    "fashion-cnn": Suite(
        "convolutional networks on part of Fashion-MNIST, trained for this project (Apache-2.0)",
        "",
        partial(_packed, "fashion-cnn"),
        "fashion-cnn-*.npz",
    ),
    "lcbench": Suite(
        "surrogate of LCBench by YAHPO Gym: smooth predictions, not real curves (Apache-2.0)",
        "the predictions of YAHPO Gym's surrogate (github.com/slds-lmu/yahpo_data), one <OpenML task>.npz each with "
        "val_accuracy and elapsed_seconds, and configs.npz with X and names,",
        _lcbench,
    ),
    "taskset": Suite(
        "recurrent text classifiers of TaskSet, real curves (Apache-2.0)",
        "the curves of TaskSet as the DyHPO repository has them (github.com/releaunifreiburg/DyHPO), one <task>.npz "
        "each with configs, names, valid_loss and test_loss,",
        _taskset,
    ),
    "nmtlc": Suite(
        "machine translation, real curves of unequal length (MIT)",
        "the curves of hpo_nmt (github.com/Este1le/hpo_nmt), one <task>.npz each with configs, names, perplexity "
        "and length,",
        _nmtlc,
    ),
    "lcdb": Suite(
        "20 learners of scikit-learn on OpenML data sets over training-set size, real curves (MIT)",
        "lcdb10_accuracy_mean.parquet of LCDB 1.0 (github.com/fmohr/lcdb)",
        _lcdb,
        "*.parquet",
    ),
    "nats-bench": Suite(
        "NAS-Bench-201 over 200 epochs, mean over the seeds, real curves (MIT); takes minutes to read",
        "NATS-tss-v1_0-3ffb9-simple (github.com/D-X-Y/NATS-Bench)",
        _nats_bench,
        "NATS-tss-*",
    ),
    "pd1": Suite(
        "optimizers of large networks, real curves (CC BY 4.0)",
        "pd1.tar.gz (storage.googleapis.com/gresearch/pint/pd1.tar.gz)",
        _pd1,
        "*pd1*",
    ),
    "lcbench-original": Suite(
        "LCBench itself, real curves (Apache-2.0)",
        "data_2k_lw.zip (figshare.com/projects/LCBench/74151)",
        _lcbench_original,
        "*.[jz]*",
    ),
}
