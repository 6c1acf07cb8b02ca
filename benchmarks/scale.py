"""How do schedulers fare with 16, 256 and 4,096 machines that start, straggle, fail and are taken away? Prints tables.

python benchmarks/scale.py [FILE]      (default: rungwise-scale.jsonl in the folder for temporary files)

Each run is noted in FILE as soon as it has ended, with a digest of the package's source: the command can be broken off
and goes on where it was, and a change of the package begins anew. Simulated, over the package's own learning curves,
whose clock is stretched until a mean training to the end takes `HOURS`.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

import rungwise as rw
from rungwise.bench.suites import load_suite
from rungwise.bench.task import Task

HOURS = 10  # of one machine, for a mean training to the end
NEAR = 2.0  # percentage points: an answer with no more regret is good
SUITES = {"digits-mlp": (16, 256, 4096), "fashion-cells": (16, 256)}  # 512 rows are too few for 4,096 machines
SCHEDULERS = ("pasha", "asha", "async-hyperband", "hyperband")
SEEDS = {16: 10, 256: 4, 4096: 1}  # of so many machines
TIMES = {1: 4, 4: 4, 16: 2, 64: 1}  # trials for each machine, and seeds
IDEAL = rw.Cluster(1)
ROUGH = rw.Cluster(
    1,
    start_up=180,
    job_start_up=20,
    failures=5 * 86400,
    spot=4 * 3600,
    spot_gap=600,
    stragglers=0.3,
    job_stragglers=0.1,
)
FAULTS = {
    "none": {},
    "each job takes 20 s to start": {"job_start_up": 20},
    "machines differ in speed (0.3)": {"stragglers": 0.3},
    "jobs differ in speed (0.3)": {"job_stragglers": 0.3},
    "taken away after 4 h": {"spot": 4 * 3600, "spot_gap": 600},
    "taken away after 1 h": {"spot": 3600, "spot_gap": 600},
    "fails after 10 h": {"failures": 36000},
    "… and jobs begin anew": {"failures": 36000, "resume": "job"},
    "none, but all but 16 are let go after 2 h": {"capacity": [(7200, 16)]},
}


class Case(msgspec.Struct, frozen=True):
    """One row of a table: run over all tasks of `suite`, with so many seeds."""

    suite: str
    scheduler: str
    cluster: rw.Cluster
    trials: int
    seeds: int


class Outcome(msgspec.Struct, frozen=True):
    """One run: times in hours; `good` is from when on its answer was within `NEAR`, None if it is not at the end."""

    hours: float
    good: float | None
    paid: float
    used: float
    lost: float
    starting: float
    idle: float
    regret: float
    failed: int


def run(case: Case, task: Task, seed: int) -> Outcome:
    table = task.table
    stretch = HOURS * 3600 / table.seconds[:, -1].mean()
    curves = rw.CurveTable(table.scores, table.seconds * stretch, mode=table.mode, resources=table.resources)
    rng = np.random.default_rng(seed)
    rounds = -(-case.trials // len(table))  # where the table has too few rows, each is taken equally often
    rows = np.concatenate([rng.permutation(len(table)) for _ in range(rounds)])[: case.trials].tolist()
    cluster = msgspec.structs.replace(case.cluster, seed=seed)
    end = rw.simulate(case.scheduler, curves, workers=cluster, trials=case.trials, rows=rows, seed=seed)
    use = end.cluster
    assert use is not None
    scores = np.nan_to_num(table.scores[rows], nan=-np.inf).max(axis=1)  # the best on the whole curve
    regrets = [(when, float(scores.max() - scores[trial])) for when, trial in use.answers]
    good: float | None = None
    for when, regret in regrets:
        good = None if regret > NEAR else when / 3600 if good is None else good
    hours = [s / 3600 for s in (use.machine_seconds, use.used_seconds, use.lost_seconds, use.starting_seconds)]
    return Outcome(end.seconds / 3600, good, *hours, use.idle_seconds / 3600, regrets[-1][1], len(end.study.failures))


class Kept:
    """The outcomes that are known, in a file."""

    def __init__(self, path: Path) -> None:
        source = Path(rw.__file__).parent
        files = [Path(__file__), *sorted(source.rglob("*.py")), *sorted(source.rglob("*.npz"))]
        self.digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
        self.path, self.known = path, dict[str, Outcome]()
        noted = path.read_bytes() if path.exists() else b""
        whole = noted.rfind(b"\n") + 1  # what comes after it was broken off in the middle of a line
        for line in noted[:whole].splitlines():
            digest, key, outcome = json.loads(line)
            if digest == self.digest:
                self.known[key] = msgspec.convert(outcome, Outcome)
        if whole < len(noted):
            path.write_bytes(noted[:whole])
        self.tasks = {suite: load_suite(suite) for suite in SUITES}

    def outcomes(self, case: Case) -> list[Outcome]:
        return [self._outcome(case, task, seed) for task in self.tasks[case.suite] for seed in range(case.seeds)]

    def _outcome(self, case: Case, task: Task, seed: int) -> Outcome:
        key = f"{msgspec.json.encode(case).decode()} {task.name} {seed}"
        if key not in self.known:
            began = time.process_time()
            self.known[key] = run(case, task, seed)
            took = time.process_time() - began
            where = f"{case.cluster.machines} machines, {case.trials} trials"
            print(f"{task.name} {seed} {case.scheduler}, {where}: {took:.1f} s", file=sys.stderr, flush=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([self.digest, key, msgspec.to_builtins(self.known[key])]) + "\n")
        return self.known[key]


def cells(runs: list[Outcome]) -> list[str]:
    """What `HEADS` says: means over the runs; of those whose answer is good, the median of when, and the share."""
    hours, paid, used, lost, regret = (
        float(np.mean([getattr(one, name) for one in runs])) for name in ("hours", "paid", "used", "lost", "regret")
    )
    good = [one.good for one in runs if one.good is not None]
    shown = f"{np.median(good):.1f} ({len(good) / len(runs):.0%})" if good else "never"
    return [
        f"{hours:.1f}",
        shown,
        f"{paid:,.0f}",
        f"{used:,.0f}",
        f"{lost:,.0f}",
        f"{used / paid:.0%}",
        f"{regret:.2f}",
    ]


HEADS = ["hours to the end", "to a good answer", "machine-hours paid", "used", "lost", "utilization", "regret"]


def table(heads: list[str], lines: Iterator[list[str]]) -> None:
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    for line in lines:
        print("| " + " | ".join(line) + " |", flush=True)
    print()


def by_machines(kept: Kept, suite: str) -> Iterator[list[str]]:
    for machines in SUITES[suite]:
        trials, seeds = max(256, 4 * machines), SEEDS[machines]
        for scheduler in SCHEDULERS:
            both = [
                cells(kept.outcomes(Case(suite, scheduler, on, trials, seeds)))
                for on in (msgspec.structs.replace(cluster, machines=machines) for cluster in (IDEAL, ROUGH))
            ]
            yield [f"{machines:,}", scheduler, *(" / ".join(pair) for pair in zip(*both, strict=True))]


def by_trials(kept: Kept) -> Iterator[list[str]]:
    cluster = msgspec.structs.replace(ROUGH, machines=256)
    for times, seeds in TIMES.items():
        for scheduler in ("pasha", "asha"):
            runs = kept.outcomes(Case("digits-mlp", scheduler, cluster, 256 * times, seeds))
            yield [f"{256 * times:,}", f"{times}", scheduler, *cells(runs)]


def by_fault(kept: Kept) -> Iterator[list[str]]:
    for name, fault in FAULTS.items():
        both = [
            cells(kept.outcomes(Case("digits-mlp", scheduler, rw.Cluster(256, **fault), 1024, 4)))
            for scheduler in ("pasha", "asha")
        ]
        yield [name, *(" / ".join(pair) for pair in zip(*both, strict=True))]


def main() -> None:
    path = Path(sys.argv[1]) if sys.argv[1:] else Path(tempfile.gettempdir()) / "rungwise-scale.jsonl"
    kept = Kept(path)
    rough = (
        "machines start in 180 s and jobs in 20 s, fail after 5 days, are taken away after 4 h (another comes after "
        "10 min), all on average; machines differ in speed with σ = 0.3, jobs with σ = 0.1"
    )
    print(f"Ideal machines / rough ones: {rough}. Trials: 4 for each machine, 256 or more.\n")
    for suite in SUITES:
        tasks, rows = len(kept.tasks[suite]), len(kept.tasks[suite][0].table)
        seeds = ", ".join(f"{SEEDS[machines]} for {machines:,}" for machines in SUITES[suite])
        print(f"**{suite}**: {tasks} tasks of {rows} rows, seeds: {seeds} machines\n")
        table(["machines", "scheduler", *HEADS], by_machines(kept, suite))
    print(f"How many trials? 256 rough machines, digits-mlp, seeds: {', '.join(map(str, TIMES.values()))}\n")
    table(["trials", "for each machine", "scheduler", *HEADS], by_trials(kept))
    print("What does each trouble cost? 256 machines, 1,024 trials, digits-mlp, 4 seeds; PASHA / ASHA\n")
    table(["trouble", *HEADS], by_fault(kept))


if __name__ == "__main__":
    main()
