"""What do other libraries give for a budget? Their own code plays over tables of curves, and writes what it trained.

python benchmarks/peers/board.py --out DIR [--part select] [--suite …] [--seeds 5] [--method …] [--processes 2]

Each library runs in an environment of its own, which is made on first use as run.py makes them, from
`requirements/<peer>.txt`. Every run adds a line to DIR/<method>.jsonl as `rungwise bench budget` reads it; what is
there is not played again, so an interrupted command goes on. `--estimate` plays one task of each suite under one seed
and says what all would take. See README.md for how each is driven.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from run import HERE, ROOT, Failed, environment, say, shown

import rungwise.bench
from rungwise.bench.suites import SUITES, there_is

SPLIT = Path(rungwise.bench.__file__).parent / "split.toml"
BUDGET, WORKERS = 22.0, 4  # units of resource as a multiple of R, a little beyond the largest budget of 20
BATCH = 15  # runs of one process: its start takes some seconds, an interruption loses what is under way


class Method(NamedTuple):
    """A method of a peer, and how much of it can be paid for: seeds, and tasks of each suite."""

    peer: str
    seeds: int | None = None
    tasks: int | None = None


METHODS = {
    "optuna-tpe-halving": Method("optuna"),
    "optuna-tpe-hyperband": Method("optuna"),
    "syne-tune-asha": Method("syne-tune"),
    "syne-tune-bohb": Method("syne-tune"),
    "smac-multi-fidelity": Method("smac"),
    "dehb": Method("dehb"),
    "hpbandster-bohb": Method("hpbandster"),
    "neps-asha": Method("neps"),
    "neps-hyperband": Method("neps"),
    "neps-priorband": Method("neps"),
    "neps-priorband-bo": Method("neps", seeds=1, tasks=2),
    "syne-tune-mobster": Method("syne-tune", seeds=1, tasks=2),
    "syne-tune-dyhpo": Method("syne-tune", seeds=1, tasks=2),
}
NOT_FOR_PEERS = ("lcdb", "fashion-cells")
"""The learners of lcdb are a set, not a space, and its resources are not 1 … R; cells are a kind of ours."""
Unit = tuple[str, str, int]  # suite, task, seed


def units_of(split: dict[str, dict[str, list[str]]], part: str, suites: Sequence[str], seeds: range) -> list[Unit]:
    """Seed by seed, so that a run that is broken off has all tasks."""
    return [(suite, task, seed) for seed in seeds for suite in suites for task in split[suite][part]]


def affordable(method: Method, units: Sequence[Unit]) -> list[Unit]:
    """Those of `units` that the method is played on: its first seeds, and its first tasks of each suite."""
    seeds = sorted({seed for *_, seed in units})
    tasks: dict[str, list[str]] = {}
    for suite, task, _ in units:
        if task not in tasks.setdefault(suite, []):
            tasks[suite].append(task)
    return [
        (suite, task, seed)
        for suite, task, seed in units
        if seed in seeds[: method.seeds] and task in tasks[suite][: method.tasks]
    ]


def read(file: Path) -> dict[Unit, float]:
    """Which units the traces in `file` are of, and the seconds of processor of each; cuts off a line without end."""
    if not file.exists():
        return {}
    content = file.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        file.write_bytes(whole)
    traces = [json.loads(line) for line in whole.splitlines()]
    return {(trace["suite"], trace["task"], trace["seed"]): trace["processor"] for trace in traces}


def batches(units: Sequence[Unit], size: int = BATCH) -> Iterator[list[Unit]]:
    """The units in parts of at most `size`."""
    yield from (list(units[start : start + size]) for start in range(0, len(units), size))


def play(method: str, units: Sequence[Unit], out: Path, number: int, python: str) -> None:
    """One process over some units; its lines are shown as they come, the rest of its output is in a log."""
    order, log = out / f"{method}-{number}.order", out / f"{method}-{number}.log"
    order.write_text(
        json.dumps({
            "method": method, "units": units, "budget": BUDGET, "workers": WORKERS, "file": str(out / f"{method}.jsonl")
        })
    )  # fmt: skip
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "0"}
    env |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    script = HERE / f"board_{METHODS[method].peer.replace('-', '_')}.py"
    with log.open("w") as errors:
        code = subprocess.run([python, str(script), str(order)], stderr=errors, env=env, check=False).returncode
    order.unlink()
    if code:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        raise Failed(f"{method} failed: {(lines or [f'exit code {code}'])[-1]} (more in {shown(log)})")
    log.unlink()


def cost(method: str, wanted: int, done: dict[Unit, float]) -> str:
    """What a run takes, and what is left to do, in words."""
    less = [f"{n} {what}" for what, n in METHODS[method]._asdict().items() if what != "peer" and n is not None]
    only = f"; only {', '.join(less)} a suite, as it is expensive" if less else ""
    if not done:
        return f"{method}: 0 of {wanted} runs{only}"
    each = sum(done.values()) / len(done)
    return f"{method}: {len(done)} of {wanted} runs, {each:.1f} s each, {each * wanted / 60:.1f} min for all{only}"


def options(split: dict[str, dict[str, list[str]]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["select", "judge"], default="select", help="which tasks of split.toml")
    known = sorted({*split} & {*SUITES})
    parser.add_argument("--suite", nargs="+", choices=known, help="default: those whose curves are there")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="so many seeds")
    parser.add_argument("--first-seed", type=int, default=0, metavar="N", help="the first of them")
    parser.add_argument("--method", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--out", type=Path, required=True, help="the folder of the traces")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "peers", help="for environments")
    parser.add_argument("--processes", type=int, choices=[1, 2], default=1)
    parser.add_argument("--estimate", action="store_true", help="one task of each suite under one seed only")
    given = parser.parse_args()
    if given.suite is None:
        given.suite = [suite for suite in known if suite not in NOT_FOR_PEERS and there_is(suite)]
    if given.seeds < 1 or given.first_seed < 0:
        parser.error("at least 1 seed, from 0 on")
    return given


def main() -> int:
    split = tomllib.loads(SPLIT.read_text())
    given = options(split)
    out: Path = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    units = units_of(split, given.part, given.suite, range(given.first_seed, given.first_seed + given.seeds))
    failures: list[str] = []
    began = time.monotonic()
    with ThreadPoolExecutor(given.processes) as pool:
        for method in given.method:
            wanted = affordable(METHODS[method], units)
            todo = affordable(Method("", 1, 1), wanted) if given.estimate else wanted
            done = read(out / f"{method}.jsonl")
            say(cost(method, len(wanted), done))
            try:
                python = environment(METHODS[method].peer, given.folder.resolve())
                parts = batches([unit for unit in todo if unit not in done])
                running = [pool.submit(play, method, part, out, n, python) for n, part in enumerate(parts)]
                for future in running:
                    future.result()
            except Failed as failure:
                failures.append(str(failure))
                say(failures[-1])
    say(f"\nafter {(time.monotonic() - began) / 60:.1f} min, in seconds of processor:")
    for method in given.method:
        say(cost(method, len(affordable(METHODS[method], units)), read(out / f"{method}.jsonl")))
    for failure in failures:
        say(f"not here: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
