"""Curves as their authors publish them: NATS-Bench, PD1 and LCBench, each file turned into tasks.

The files are large and not part of the package. Get them from their authors and keep them in the data folder
(`rungwise.bench.suites`), or anywhere: every function takes the path.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import pickle
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rungwise.bench.suites import Array, Task, curve_table
from rungwise.events import Config
from rungwise.names import InputError, suggestion

NATS_DATASETS = {"cifar10": "cifar10-valid", "cifar100": "cifar100", "ImageNet16-120": "ImageNet16-120"}
PD1_PARAMETERS = {
    "lr_initial_value": "hps.lr_hparams.initial_value",
    "lr_power": "hps.lr_hparams.power",
    "lr_decay_steps_factor": "hps.lr_hparams.decay_steps_factor",
    "momentum": "hps.opt_hparams.momentum",
}


def nats_bench(path: str | Path, dataset: str = "cifar10", *, seed: int | None = None) -> Task:
    """Validation accuracy of the cells of NAS-Bench-201 over 200 epochs, from NATS-Bench (Dong et al., TPAMI 2021).

    `path` is the folder `NATS-tss-v1_0-3ffb9-simple` or the file `NATS-tss-v1_0-3ffb9.pickle.pbz2` of
    github.com/D-X-Y/NATS-Bench (the format is that of `nats_bench/api_utils.py` there). `dataset` is "cifar10",
    "cifar100" or "ImageNet16-120". `seed` is one of 777, 888 and 999, and cells that were not trained under it are
    left out; without it a score is the mean over the seeds that the cell has. Seconds are those of training and of
    validating after every epoch. Test accuracies are there for the epochs that have any, mostly the last.

    The files are pickles: only what such a file needs is loaded, anything else is refused.

    Raises `InputError` for a file that is missing or broken, and for a dataset or seed that is not there.
    """
    path = Path(path)
    if dataset not in NATS_DATASETS:
        raise InputError(f"NATS-Bench has no dataset {dataset!r}{suggestion(dataset, NATS_DATASETS)}")
    _there(path, "NATS-tss-v1_0-3ffb9-simple from github.com/D-X-Y/NATS-Bench", "nats-bench")
    cells: list[str] = []
    scores: list[Array] = []
    tests: list[Array] = []
    seconds: list[Array] = []
    for place, name, record in _nats_records(path):
        with _Expected(place):
            runs = [
                record["200"]["all_results"].get((NATS_DATASETS[dataset], s)) for s in _seeds(record, dataset, seed)
            ]
            if not runs:
                continue
            curves = [_nats_curves(run, dataset) for run in runs]
        cells.append(name)
        for column, values in zip((scores, tests, seconds), zip(*curves, strict=True), strict=True):
            column.append(np.mean(values, axis=0))
    if not cells:
        raise InputError(
            f"{path} has no cell that was trained on {dataset}" + ("" if seed is None else f", seed {seed}")
        )
    name = dataset if seed is None else f"{dataset}-{seed}"
    table = curve_table(path, np.stack(scores), np.cumsum(np.stack(seconds), axis=1), mode="max")
    return Task("nats-bench", name, table, tuple({"cell": cell} for cell in cells), np.stack(tests), tolerance=0.1)


def _nats_records(path: Path) -> Iterator[tuple[Path, str, Any]]:
    """(file, text form, record) of each cell."""
    if path.is_dir():
        meta = path / "meta.pickle.pbz2"
        with _Expected(meta):
            names = _unpickled(meta)["meta_archs"]
        for number, name in enumerate(names):
            file = path / f"{number:06d}.pickle.pbz2"
            if file.exists():
                yield file, name, _unpickled(file)
        return
    with _Expected(path):
        content = _unpickled(path)
        found = [(name, content["arch2infos"].get(number)) for number, name in enumerate(content["meta_archs"])]
    yield from ((path, name, record) for name, record in found if record is not None)


def _seeds(record: Any, dataset: str, seed: int | None) -> list[int]:
    there = record["200"]["dataset_seed"].get(NATS_DATASETS[dataset], [])
    return [s for s in there if seed in (None, s)]


def _nats_curves(run: Any, dataset: str) -> tuple[Array, Array, Array]:
    """Validation accuracy, test accuracy (NaN where there is none) and seconds of each epoch."""
    test_set = "ori-test" if dataset == "cifar10" else "x-test"
    epochs = range(run["epochs"])
    accuracy = [run["eval_acc1es"][f"x-valid@{epoch}"] for epoch in epochs]
    test = [run["eval_acc1es"].get(f"{test_set}@{epoch}", np.nan) for epoch in epochs]
    seconds = [run["train_times"][epoch] + run["eval_times"].get(f"x-valid@{epoch}", 0.0) for epoch in epochs]
    return np.array(accuracy, float), np.array(test, float), np.array(seconds, float)


class _Unpickler(pickle.Unpickler):
    """Loads dicts, lists, numbers, text and numpy numbers, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return dict  # in the order of insertion too
        if module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") and name in (
            "dtype",
            "ndarray",
            "scalar",
            "_reconstruct",
        ):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which such a file does not need")


def _unpickled(path: Path) -> Any:
    try:
        return _Unpickler(io.BytesIO(bz2.decompress(path.read_bytes()))).load()
    except Exception as error:  # a broken pickle can raise anything
        raise _broken(path, error) from None


def pd1(path: str | Path, task: str | None = None) -> list[Task]:
    """Validation accuracy of PD1 (Wang et al., JMLR 2024, arXiv:2109.08215) over the evaluations of each run.

    `path` is the folder of storage.googleapis.com/gresearch/pint/pd1.tar.gz with its `pd1_*_phase1_results.jsonl`
    (or `.jsonl.gz`) files, or one such file. A task is dataset, model, activation (if any) and batch size, such as
    "imagenet_resnet_batch_size_512"; `task` picks one of them. Resource r is the r-th evaluation, as in the PASHA
    paper; seconds are the sums of `eval_time`, as Syne Tune reads them. A run that diverged ends early: from there on
    it has no score, and no more time passes.

    Raises `InputError` for a file that is missing or broken, and for a task that is not there.
    """
    path = Path(path)
    _there(path, "pd1.tar.gz from storage.googleapis.com/gresearch/pint", "pd1")
    files = sorted(path.glob("pd1_*_phase1_results.jsonl*")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path} has no file pd1_*_phase1_results.jsonl or .jsonl.gz: unpack pd1.tar.gz there")
    rows: dict[str, list[Any]] = {}
    for file in files:
        for number, line in enumerate(_lines(file), 1):
            with _Expected(file, f"line {number}"):
                row = json.loads(line)
                name = "_".join(str(row[key]) for key in ("dataset", "model", "hps.activation_fn") if row.get(key))
                rows.setdefault(f"{name}_batch_size_{int(row['hps.batch_size'])}", []).append((file, row))
    if task is not None and task not in rows:
        raise InputError(f"{path} has no task {task!r}{suggestion(task, rows)}")
    return [_pd1_task(name, rows[name]) for name in sorted(rows) if task in (None, name)]


def _pd1_task(name: str, rows: Sequence[tuple[Path, Any]]) -> Task:
    file = rows[0][0]
    with _Expected(file):
        errors = [_numbers(row["valid/error_rate"]) for _, row in rows]
        times = [_numbers(row["eval_time"]) for _, row in rows]
        configs = tuple({ours: row[theirs] for ours, theirs in PD1_PARAMETERS.items()} for _, row in rows)
    length = max(map(len, errors))
    if length == 0:
        raise InputError(f"{file}: no run of {name} has a valid/error_rate")
    scores = 100 * (1 - _padded(errors, length, np.nan))
    seconds = np.cumsum(np.nan_to_num(_padded(times, length, 0.0)), axis=1)
    return Task("pd1", name, curve_table(file, scores, seconds, mode="max"), configs, tolerance=0.1)


def _numbers(values: Iterable[float | None] | None) -> list[float]:
    return [np.nan if value is None else float(value) for value in values or ()]


def _padded(rows: Sequence[Sequence[float]], length: int, filling: float) -> Array:
    return np.array([[*row[:length], *[filling] * (length - len(row))] for row in rows], dtype=float)


def _lines(path: Path) -> Iterator[str]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            yield from file
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise _broken(path, error) from None


def lcbench(path: str | Path, dataset: str | None = None) -> list[Task]:
    """Validation accuracy of LCBench (Zimmer, Lindauer & Hutter, TPAMI 2021) over the epochs of each run.

    `path` is a file of github.com/automl/LCBench such as `data_2k_lw.json` or `six_datasets_lw.json` (the format is
    that of `api.py` there), or the .zip in which it comes. `dataset` picks one. What was noted before training (epoch
    0) is left out; `time` is cumulative.

    Raises `InputError` for a file that is missing or broken, and for a dataset that is not there.
    """
    path = Path(path)
    _there(path, "data_2k_lw.zip from github.com/automl/LCBench", "lcbench-original")
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                (name,) = [name for name in archive.namelist() if name.endswith(".json") and "/." not in name]
                content = json.loads(archive.read(name))
        else:
            content = json.loads(path.read_bytes())
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _broken(path, error) from None
    if dataset is not None and dataset not in content:
        raise InputError(f"{path} has no dataset {dataset!r}{suggestion(dataset, content)}")
    return [_lcbench_task(path, name, content[name]) for name in sorted(content) if dataset in (None, name)]


def _lcbench_task(path: Path, name: str, runs: dict[str, Any]) -> Task:
    with _Expected(path, name):
        logs = [run["log"] for run in runs.values()]
        epochs = np.array(logs[0]["epoch"], dtype=int)
        scores = np.array([log["Train/val_accuracy"] for log in logs], dtype=float)
        tests = np.array([log["Train/test_result"] for log in logs], dtype=float)
        seconds = np.array([log["time"] for log in logs], dtype=float)
        configs: tuple[Config, ...] = tuple(run["config"] for run in runs.values())
        trained = epochs > 0
        kept = scores[:, trained], tests[:, trained], seconds[:, trained]
    table = curve_table(path, kept[0], kept[2], mode="max", resources=epochs[trained])
    return Task("lcbench-original", name, table, configs, kept[1], tolerance=0.1)


class _Expected:
    """Within it, whatever is not as such a file should be becomes one line that names the file."""

    def __init__(self, path: Path, place: str = "") -> None:
        self.path, self.place = path, place

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (KeyError, IndexError, TypeError, ValueError, AttributeError)) and not isinstance(
            error, InputError
        ):
            what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise _broken(self.path, f"{self.place}: {what}" if self.place else what) from None


def _there(path: Path, source: str, folder: str) -> None:
    if not path.exists():
        raise InputError(f"there is no {path}: get {source}, and put it into $RUNGWISE_DATA/{folder} or name its path")


def _broken(path: Path, error: object) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{path} is not as it was published ({reason:.200}): it is broken or truncated, fetch it again")
