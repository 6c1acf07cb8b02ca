"""Rungwise beside its peers' own schedulers, on the same learning curves, by one command.

python benchmarks/peers/run.py [--quick] [--tasks …] [--seeds 3] [--peers …] [--folder runs/peers] [--markdown]

It makes one environment for each peer under the folder, from `requirements/<peer>.txt` (one that is there already with
the same requirements is used again), writes the curves once, runs `adapter_<peer>.py` of one peer after the other
in its environment, and prints one table. Needs nothing but what rungwise needs. See README.md for what is measured.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from curves import ROOT, TASKS, UNITS, Curves, load
from rich import box
from rich.console import Console
from rich.table import Table
from simulator import WARM_UP, WORKERS

HERE = Path(__file__).resolve().parent
PEERS = ["none", "rungwise", "syne-tune", "optuna", "ray", "neps"]
BASE = ("rungwise", "ASHA")  # what the ratios are to
NOTES = """\
Deciding: µs/report and decisions/s (a decision is a report or a request for a job) are medians over the runs, s/run is
the mean. Resource in epochs, mean. Ratios are to Rungwise's ASHA on the same task and seed, mean over the runs: of the
resource at the end, of the resource at the moment when the last configuration was started, and of the simulated time.
Regret ({units}): the best score on the whole curve, the best of the configurations less the chosen one, mean; first
for the answer that the peer itself would give, in brackets for the best score at the highest resource reached."""


class Failed(Exception):
    """One peer could not be installed or run; the message says why in one line."""


# -- environments ------------------------------------------------------------------------------------------------


def environment(peer: str, folder: Path) -> str:
    """The Python of the peer's environment, which is made if it is not there as its requirements say."""
    requirements = HERE / "requirements" / f"{peer}.txt"
    if not requirements.exists():  # ours
        return sys.executable
    place = folder / peer
    stamp, python = place / "requirements.txt", place / "bin" / "python"
    wanted = requirements.read_text()
    if stamp.exists() and stamp.read_text() == wanted and python.exists():
        return str(python)
    if place.exists() and any(place.iterdir()):
        if not (place / "pyvenv.cfg").exists():
            raise Failed(f"{place} is in the way and is no environment")
        shutil.rmtree(place)
    say(f"{peer}: installing into {shown(place)}")
    venv.create(place, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)]
    call(pip, folder / f"{peer}-install.log", f"{peer} could not be installed", dict(os.environ))
    stamp.write_text(wanted)
    return str(python)


def call(command: list[str], log: Path, failure: str, env: dict[str, str]) -> None:
    """Run a command into a log file; `Failed` with the last line that it wrote if it does not succeed."""
    with log.open("w") as out:
        code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, env=env, check=False).returncode
    if code:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")]
        reason = (errors or lines or [f"exit code {code}"])[-1]
        raise Failed(f"{failure}: {reason} (more in {shown(log)})")


# -- curves ------------------------------------------------------------------------------------------------------


def write_curves(tables: dict[str, Curves], rows: dict[str, np.ndarray], folder: Path) -> None:
    """One .npz file for each task, as `simulator.read` takes them."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.npz"):
        old.unlink()
    for number, (task, table) in enumerate(tables.items()):
        np.savez(folder / f"{number:02}.npz", task=task, rows=rows[task], **table._asdict())


def order(table: Curves, seeds: int, trials: int) -> np.ndarray:
    """Which row trial i takes under each seed, (seeds × trials)."""
    size = len(table.scores)
    if trials > size:
        sys.exit(f"--trials {trials}: a table has {size} configurations")
    return np.stack([np.random.default_rng(seed).permutation(size)[:trials] for seed in range(seeds)])


# -- results -----------------------------------------------------------------------------------------------------


@dataclass
class Line:
    """One line of the table."""

    peer: str
    method: str
    micros: float
    decisions_per_second: float
    deciding: float
    resource: float
    resource_ratio: float
    early_ratio: float
    time_ratio: float
    regrets: dict[str, tuple[float, float]]  # suite -> of the peer's answer, of the best at the highest resource
    unanswered: int


def with_regrets(run: dict[str, Any], table: Curves, rows: np.ndarray) -> dict[str, Any]:
    """The run with how much worse than the best of its configurations the chosen ones are, on the whole curve."""
    sign = -1.0 if table.mode == "max" else 1.0
    best = (sign * table.scores[rows[run["seed"]]]).min(axis=1)

    def regret(trial: int | None) -> float:
        return float("nan") if trial is None else float(best[trial] - best.min())

    return run | {"regret": regret(run["answer"]), "regret_at_highest": regret(run["answer_at_highest"])}


def summary(runs: list[dict[str, Any]]) -> list[Line]:
    """One line for each peer and method, in the order of the runs."""
    base = {(run["task"], run["seed"]): run for run in runs if (run["peer"], run["method"]) == BASE}

    def ratio(group: list[dict[str, Any]], what: str) -> float:
        pairs = [(run[what], base.get((run["task"], run["seed"]))) for run in group]
        return statistics.fmean(value / other[what] if other else float("nan") for value, other in pairs)

    lines = []
    for peer, method in dict.fromkeys((run["peer"], run["method"]) for run in runs):
        group = [run for run in runs if (run["peer"], run["method"]) == (peer, method)]
        suites = dict.fromkeys(run["task"].partition("/")[0] for run in group)
        lines.append(
            Line(
                peer,
                method,
                statistics.median(1e6 * run["deciding_seconds"] / run["delivered"] for run in group),
                statistics.median((run["delivered"] + run["asks"]) / run["deciding_seconds"] for run in group),
                statistics.fmean(run["deciding_seconds"] for run in group),
                statistics.fmean(run["resource"] for run in group),
                ratio(group, "resource"),
                ratio(group, "resource_at_last_start"),
                ratio(group, "simulated_seconds"),
                {suite: regrets([run for run in group if run["task"].startswith(f"{suite}/")]) for suite in suites},
                sum(run["answer"] is None for run in group),
            )
        )
    return lines


def regrets(group: list[dict[str, Any]]) -> tuple[float, float]:
    """Mean regrets of some runs, those without an answer left out."""
    own = [run["regret"] for run in group if run["answer"] is not None]
    return statistics.fmean(own or [float("nan")]), statistics.fmean(run["regret_at_highest"] for run in group)


def cells(lines: list[Line]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the table, as text."""
    suites = list(lines[0].regrets)
    head = ["peer", "method", "µs/report", "decisions/s", "s/run", "epochs", "× ASHA", "at last start", "time × ASHA"]
    head += [f"regret {suite}" for suite in suites]
    rows = [
        [
            "–" if line.peer == "none" else line.peer,
            line.method + (f" ({line.unanswered} runs without an answer)" if line.unanswered else ""),
            f"{line.micros:,.1f}",
            f"{line.decisions_per_second:,.0f}",
            f"{line.deciding:.3f}",
            f"{line.resource:,.0f}",
            f"{line.resource_ratio:.2f}",
            f"{line.early_ratio:.2f}",
            f"{line.time_ratio:.2f}",
            *("{:.4f} ({:.4f})".format(*line.regrets[suite]) for suite in suites),
        ]
        for line in lines
    ]
    return head, rows


def processor() -> str:
    """The name of the processor, if the system tells."""
    try:
        found = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in found if line.startswith("model name")), "")


def shown(path: Path) -> str:
    """A path as short as it can be said from here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# -- the command -------------------------------------------------------------------------------------------------


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--tasks",
        nargs="+",
        metavar="TASK",
        help="as lcbench/7593 (default: one of digits-mlp, 4 of lcbench, 3 of taskset)",
    )
    parser.add_argument("--seeds", type=int, help="orders of the configurations (default 3)")
    parser.add_argument("--trials", type=int, help="configurations (default 256)")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS, help="some only; ratios need rungwise")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "peers", help="for environments and results")
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    parser.add_argument("--quick", action="store_true", help="1 task, 1 seed, 64 configurations, to see that it works")
    given = parser.parse_args()
    usual = (
        {"tasks": TASKS[:1], "seeds": 1, "trials": 64} if given.quick else {"tasks": TASKS, "seeds": 3, "trials": 256}
    )
    vars(given).update({name: value for name, value in usual.items() if getattr(given, name) is None})
    if given.seeds < 1 or given.trials < WARM_UP:
        parser.error(f"at least 1 seed and {WARM_UP} configurations")
    return given


def main() -> int:
    given = options()
    folder: Path = given.folder.resolve()
    tables = {task: load(task) for task in dict.fromkeys(given.tasks)}
    rows = {task: order(table, given.seeds, given.trials) for task, table in tables.items()}
    write_curves(tables, rows, folder / "curves")
    # Strings hash alike in every run: Syne Tune's PASHA depends on it. One thread each: nobody waits for a pool.
    env = os.environ | {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    runs: list[dict[str, Any]] = []
    versions: dict[str, str] = {}
    failures: list[str] = []
    load_before = os.getloadavg()[0]
    for peer in [peer for peer in PEERS if peer in given.peers]:
        out = folder / f"{peer}.json"
        out.unlink(missing_ok=True)
        try:
            python = environment(peer, folder)
            log = folder / f"{peer}.log"
            say(f"{peer}: running; its progress is in {shown(log)}")
            began = time.monotonic()
            script = HERE / f"adapter_{peer.replace('-', '_')}.py"
            call([python, str(script), str(folder / "curves"), str(out)], log, f"{peer} failed", env)
        except Failed as failure:
            failures.append(str(failure))
            say(failures[-1])
            continue
        found = json.loads(out.read_text())
        main_package, *others = found["versions"].items()
        versions[peer] = f"{' '.join(main_package)} ({', '.join(f'{name} {version}' for name, version in others)})"
        about_peer = {"peer": peer, "version": main_package[1], "date": time.strftime("%Y-%m-%d")}
        runs += [about_peer | with_regrets(r, tables[r["task"]], rows[r["task"]]) for r in found["runs"]]
        say(f"{peer}: {len(found['runs'])} runs in {time.monotonic() - began:.0f} s")
    if not runs:
        return 1
    with (folder / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, runs[0])
        writer.writeheader()
        writer.writerows(runs)
    about = [
        f"{len(tables)} task(s) × {given.seeds} seed(s), {given.trials} configurations, {WORKERS} simulated workers, "
        f"r = 1, η = 3, R = {' or '.join(map(str, sorted({t.scores.shape[1] for t in tables.values()})))}. "
        f"Tasks: {', '.join(tables)}.",
        f"{time.strftime('%Y-%m-%d')}; Python {platform.python_version()}; {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, {processor()}; "
        f"load {load_before:.1f} at the start, {os.getloadavg()[0]:.1f} at the end. "
        + "; ".join(version for peer, version in versions.items() if peer != "none")
        + ".",
        NOTES.replace("\n", " ").format(units="; ".join(f"{suite}: {unit}" for suite, unit in UNITS.items())),
        *(f"Not here: {failure}." for failure in failures),
    ]
    head, body = cells(summary(runs))
    table = Table(*head, box=box.MARKDOWN if given.markdown else box.SIMPLE_HEAD)
    for column in table.columns:
        column.overflow = "fold"
    for column in table.columns[2:]:
        column.justify = "right"
    for row in body:
        table.add_row(*row)
    console = Console() if sys.stdout.isatty() and not given.markdown else Console(width=200)
    console.print(table)
    console.print("\n\n".join(["", *about]), highlight=False, markup=False, soft_wrap=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
