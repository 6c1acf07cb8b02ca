"""What the scripts of the tables share: options, a run that can be broken off, and the packed file.

A packed file is one seed of a table: `<name>-<seed>.npz` with the arrays

* `validation`, `test` (configurations × epochs): what the score gained since the epoch before, as whole numbers: right
  answers out of `about["questions"]`, or losses in `about["units"]`;
* `seconds` (configurations × epochs, or × equal parts of a training): of one epoch, or of the mean epoch of that part,
  in whole numbers of `about["tick"]` seconds (of 0.1 ms where that is not said);
* `configs`: the configurations, as JSON, in one text;
* `about`: how it was made, as JSON.

The arrays are compressed by bzip2: a fifth less for losses than what `numpy.savez_compressed` writes; numpy reads both.

`rungwise.bench.suites` reads them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

Curves = dict[str, np.ndarray]
TICK = 1e-4  # seconds


def options(about: str | None, name: str, *, images: Path | None = None) -> argparse.Namespace:
    """What the command line of a table's script says."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    tables = Path(__file__).parents[2] / "src" / "rungwise" / "bench" / "tables"
    parser.add_argument("--small", action="store_true", help="a few configurations and epochs, in seconds")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--work", type=Path, help=f"where finished configurations are kept (default runs/{name})")
    parser.add_argument("--out", type=Path, help="where the packed files go (default: the package; small ones: --work)")
    if images is not None:
        parser.add_argument("--images", type=Path, default=images, help=f"folder of the images (default {images})")
    given = parser.parse_args()
    given.work = given.work or Path("runs") / (f"{name}-small" if given.small else name)
    given.out = given.out or (given.work if given.small else tables)  # what is small shall not replace what is shipped
    return given


def collect(
    curves: Callable[[Any], tuple[int, Curves]], tasks: Sequence[Any], given: argparse.Namespace
) -> list[Curves]:
    """`curves` of every task, each a tuple that begins with its number; those in the work folder are taken from it."""
    given.work.mkdir(parents=True, exist_ok=True)
    files = {task[0]: given.work / f"{task[0]:04}.npz" for task in tasks}
    missing = [task for task in tasks if not files[task[0]].exists()]
    began = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(given.workers) as pool:
        for done, (number, found) in enumerate(pool.imap_unordered(curves, missing), 1):
            whole = files[number].with_suffix(".part.npz")
            np.savez(whole, **found)  # type: ignore[arg-type]
            whole.rename(files[number])  # a file is there whole or not at all
            if done % 20 == 0 or done == len(missing):
                print(f"{done} of {len(missing)} configurations, {time.monotonic() - began:.0f} s", flush=True)
    found = []
    for path in files.values():
        with np.load(path) as arrays:
            found.append(dict(arrays))
    return found


def pack(
    folder: Path,
    name: str,
    found: Sequence[Curves],
    configs: Sequence[dict[str, Any]],
    *,
    counts: dict[str, int] | None = None,
    units: dict[str, float] | None = None,
    tick: float = TICK,
    about: dict[str, Any],
) -> None:
    """Write one file a seed, and say how large they are.

    Scores are right answers, of as many questions as `counts` says, or losses, which are rounded to `units`. Seconds
    are rounded to ticks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    about |= {"made": time.strftime("%Y-%m-%d"), "machine": machine(), "versions": versions()}
    about |= {"tick": tick, **({"questions": counts} if units is None else {"units": units})}
    for seed in range(len(found[0]["seconds"])):
        path = folder / f"{name}-{seed}.npz"
        arrays = {
            score: gains(np.stack([curves[score][seed] for curves in found]), unit)
            for score, unit in (units or dict.fromkeys(counts or (), 1)).items()
        }
        arrays["seconds"] = gains(np.cumsum([curves["seconds"][seed] for curves in found], axis=1), tick)
        arrays["configs"] = np.array(json.dumps(configs))
        arrays["about"] = np.array(json.dumps(about | {"seed": seed}))
        with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as file:
            for key, array in arrays.items():
                with file.open(f"{key}.npy", "w") as stream:
                    np.lib.format.write_array(stream, array, allow_pickle=False)
        rows, epochs = arrays["validation"].shape
        print(f"{path}: {rows} configurations × {epochs} epochs, {path.stat().st_size / 1e6:.2f} MB")


def gains(values: np.ndarray, unit: float) -> np.ndarray:
    """Steps along each row, in whole units: of the rounded values, so that errors do not add up."""
    steps = np.diff(np.rint(values / unit).astype(np.int64), axis=1, prepend=0)
    return steps.astype(np.min_scalar_type(~np.abs(steps).max()))  # ~n is -n - 1: the smallest type that holds all


def machine() -> str:
    """The processor, as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def versions() -> str:
    """Python and the libraries that did the work."""
    used = {"numpy": "numpy", "sklearn": "scikit-learn", "torch": "torch", "lightgbm": "lightgbm"}
    found = [f"{name} {metadata.version(name)}" for module, name in used.items() if module in sys.modules]
    return ", ".join([f"Python {platform.python_version()}", *found])
