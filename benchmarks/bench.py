"""What Rungwise itself costs. `make bench` prints every figure with the machine and the versions.

python benchmarks/bench.py [deciding] [study] [experiment] [jobs] [load] [crowd] [large]
    [memory] [suggest] [import] [size]  (all)
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import rungwise as rw
from rungwise.blame import InARow
from rungwise.events import Completed, Created, Promote, Promoted, Raise, Report, Reported, Result, Start, Started
from rungwise.executors import Message, Said
from rungwise.loop import Inbox, drive
from rungwise.report.tables import summary
from rungwise.search import as_searcher

LADDER = {"min_resource": 1, "reduction_factor": 3, "max_resource": 81}
WORKERS = 4
SIZES = (1_000, 3_000, 10_000, 30_000)

SCHEDULERS: dict[str, Callable[[], Any]] = {
    "ASHA": lambda: rw.ASHA(**LADDER),
    "PASHA": lambda: rw.PASHA(**LADDER),
    "ASHA, patient": lambda: rw.ASHA(**LADDER, promotion="patient"),
    "ASHA, half as patient": lambda: rw.ASHA(**LADDER, promotion=rw.PatientPromotion(deviations=0.5)),
    "PASHA, patient": lambda: rw.PASHA(**LADDER, promotion="patient"),
    "PASHA, breadth first": lambda: rw.PASHA(**LADDER, breadth_first=True),
    "StoppingASHA": lambda: rw.StoppingASHA(**LADDER),
    "SuccessiveHalving": lambda: rw.SuccessiveHalving(**LADDER),
    "Hyperband": lambda: rw.Hyperband(**LADDER),
    "AsyncHyperband, ASHA": lambda: rw.AsyncHyperband(max_resource=81),
    "AsyncHyperband, PASHA": lambda: rw.AsyncHyperband(ladder="pasha", max_resource=81),
    "MedianStoppingRule": lambda: rw.MedianStoppingRule(max_resource=81),
    "FullTraining": lambda: rw.FullTraining(max_resource=81),
}
"""Every scheduler that ships."""

SEVERAL = ("never", "constant", "front", "worse")
CURVES: dict[tuple[str, int], tuple[str, ...]] = {
    ("PASHA", 1): ("early", "late", "never"),
    ("ASHA", 2): SEVERAL,
    ("PASHA", 2): SEVERAL,
    ("ASHA", 3): SEVERAL,
    ("PASHA", 3): SEVERAL,
}
"""The curves that a scheduler is timed on with so many metrics; "never" if it is not here."""


def curves(n: int, stable: str, resources: int = 81) -> np.ndarray:
    """Scores (higher is better), shape (n, resources), whose ranking is stable "early", "late" or "never".

    "never": final quality and slope are independent, noise 0.005. Otherwise all have one slope, so that the
    ranking is that of their quality, with noise of 0.0002 at the rungs and 0.02 between them (which is what ε
    is estimated from); "late" adds noise of 0.05 to rungs 1 and 3, so that they agree with nothing.
    """
    rng = np.random.default_rng(0)
    quality = rng.uniform(0.5, 1.0, (n, 1))
    decay = np.arange(1, resources + 1) ** -0.5
    if stable == "never":
        return quality - rng.uniform(0.1, 0.5, (n, 1)) * decay + rng.normal(0, 0.005, (n, resources))
    noise = rng.uniform(-0.02, 0.02, (n, resources))
    rungs = [level - 1 for level in (1, 3, 9, 27, 81) if level <= resources]
    noise[:, rungs] = rng.uniform(-0.0002, 0.0002, (n, len(rungs)))
    if stable == "late":
        noise[:, [0, 2]] = rng.uniform(-0.05, 0.05, (n, 2))
    return quality - 0.3 * decay + noise


def several(n: int, metrics: int, stable: str) -> np.ndarray:
    """Scores of several metrics, shape (n, 81, metrics): `curves` of quality of their own for each.

    "constant": no curve at all, each trial says the same at each resource, so that no ranking ever changes. "front" is
    that with no trial better than another in all metrics, "worse" with each one worse than all before it.
    """
    rng = np.random.default_rng(1)
    if stable in ("constant", "front", "worse"):
        scores = rng.random((n, 1, metrics))
        if stable == "front":
            scores /= scores.sum(axis=2, keepdims=True)
        elif stable == "worse":
            scores = np.broadcast_to(np.linspace(1, 0, n)[:, None, None], scores.shape)
        return np.broadcast_to(scores, (n, 81, metrics))
    return np.stack([curves(n, stable)[rng.permutation(n)] for _ in range(metrics)], axis=2)


class Deciding:
    """A scheduler that is driven round robin by `WORKERS` slots as a study drives it.

    `spent` are the seconds of the processor inside its calls: `tell` of each fact, `ask` after each end of a job and
    before each beginning, `may_promote` as often as the local executor looks what it may delete.
    """

    def __init__(self, scheduler: Any, table: np.ndarray) -> None:
        self.scheduler, self.table = scheduler, table
        self.spent, self.reports, self.started, self.ended = 0.0, 0, 0, 0
        self.stands: dict[int, int] = {}  # trial -> the resource that it has
        self.answer: Any = None  # as in `Study`: what was answered since the last fact
        if table.ndim == 3:
            scheduler.tell(Created({}, {}, {}, {str(metric): "max" for metric in range(table.shape[2])}, 0, ""))

    def run(self) -> Deciding:
        """To the end."""
        clock, tell = time.thread_time, self.scheduler.tell
        slots: list[tuple[int, int, list[Any]] | None] = [None] * WORKERS
        while True:
            busy = False
            for slot in range(WORKERS):
                job = slots[slot]
                if job is None and (job := self.begin()) is None:
                    continue
                busy = True
                trial, until, losses = job
                self.stands[trial] = resource = self.stands.get(trial, 0) + 1
                report = Report(trial, resource, losses[resource - 1])
                began = clock()
                tell(report)
                self.answer = None
                if resource == until:
                    tell(Result(trial, until, losses[resource - 1]))
                    self.look()
                    if isinstance(self.answer, Raise):
                        self.rise()
                    self.clean()
                self.spent += clock() - began
                self.reports += 1
                slots[slot] = None if resource == until else job
            if not busy:
                return self

    def look(self) -> None:
        if self.answer is None:
            self.answer = self.scheduler.ask()

    def rise(self) -> None:
        answer, self.answer = self.answer, None
        self.scheduler.tell(answer.fact)

    def clean(self) -> None:
        self.ended += 1
        if self.ended > 20 + self.started // 4:
            self.ended = 0
            self.scheduler.may_promote(len(self.table))

    def begin(self) -> tuple[int, int, list[Any]] | None:
        """The next job as (trial, until, losses)."""
        began = time.thread_time()
        self.look()
        while isinstance(self.answer, Raise):
            self.rise()
            self.look()
        answer = self.answer
        if isinstance(answer, Start) and self.started == len(self.table):
            answer = self.scheduler.ask(more=False)
        if isinstance(answer, Promote):
            trial = answer.trial
            self.scheduler.tell(Promoted(trial, answer.until, answer.rank, answer.size))
        elif isinstance(answer, Start):
            trial, self.started = self.started, self.started + 1
            self.scheduler.tell(Started(trial, {}, answer.until))
        else:
            self.spent += time.thread_time() - began
            return None
        self.answer = None
        self.spent += time.thread_time() - began
        losses = (-self.table[trial]).tolist()
        return trial, answer.until, [tuple(row) if self.table.ndim == 3 else (row,) for row in losses]


def deciding() -> None:
    print(f"\nprocessor µs of deciding for each report (all calls; R = 81, η = 3, {WORKERS} slots; medians)\n")
    print("| scheduler | metrics | curves | " + " | ".join(f"{n:,} trials" for n in SIZES) + " |")
    print("|---|---|---|" + "---|" * len(SIZES), flush=True)
    for metrics in (1, 2, 3):
        for name, make in SCHEDULERS.items():
            if metrics > 1 and not getattr(make(), "several_metrics", False):
                continue
            for stable in CURVES.get((name, metrics), ("never",)):
                cells = [f"{_deciding(make, n, metrics, stable):.3g}" for n in SIZES]
                print(f"| {name} | {metrics} | {stable} | {' | '.join(cells)} |", flush=True)


def _deciding(make: Callable[[], Any], n: int, metrics: int, stable: str) -> float:
    """Microseconds a report."""
    table = curves(n, stable) if metrics == 1 else several(n, metrics, stable)
    costs = []
    for _ in range(3 if n <= 3_000 else 1):
        run = Deciding(make(), table).run()
        costs.append(1e6 * run.spent / run.reports)
    return statistics.median(costs)


def whole_study() -> None:
    table = curves(10_000, "never")
    space = {"lr": rw.Float(1e-5, 1e-1, log=True), "wd": rw.Float(1e-6, 1e-2, log=True), "units": rw.Integer(16, 512)}
    half = rw.ASHA(**LADDER, promotion=rw.PatientPromotion(deviations=0.5))
    for name, scheduler, totals in (
        ("ASHA", rw.ASHA(**LADDER), {"trials": 10_000}),
        ("PASHA", rw.PASHA(**LADDER), {"trials": 10_000}),
        ("ASHA, half as patient", half, {"budget": 400}),
    ):
        study = rw.Study(space, scheduler, mode="max")
        study.extend(**totals)
        began, reports = time.process_time(), 0
        slots: list[list] = []
        while True:
            while len(slots) < WORKERS and (job := study.ask()) is not None:
                slots.append([job, job.start, table[job.trial].tolist()])
            if not slots:
                break
            for slot in list(slots):
                slot[1] += 1
                study.report(slot[0].trial, slot[1], slot[2][slot[1] - 1])
                reports += 1
                if slot[1] == slot[0].until:
                    slots.remove(slot)
        cost = 1e6 * (time.process_time() - began) / reports
        total = ", ".join(f"{name}={value:,}" for name, value in totals.items())
        print(
            f"{name} with a whole Study in memory (checks, log, random search, this loop), {total}, "
            f"{len(study.trials):,} trials: {cost:.1f}"
        )


def experiment() -> None:
    rng = np.random.default_rng(0)
    quality, slope = rng.uniform(0.5, 1, (256, 1)), rng.uniform(0.1, 0.5, (256, 1))
    scores = quality - slope * np.arange(1, 201) ** -0.5 + rng.normal(0, 0.03, (256, 200))
    table = rw.CurveTable(scores, mode="max")
    times = []
    for _ in range(15):
        began = time.perf_counter()
        run = rw.simulate("pasha", table, workers=4, trials=256)
        times.append(time.perf_counter() - began)
    reports = sum(len(trial.reports) for trial in run.study.trials)
    print(
        "\none simulated PASHA experiment (256 trials, R = 200, 4 workers, noise 0.03): "
        f"{statistics.median(times):.4f} s (of 15: {min(times):.4f} to {max(times):.4f}); "
        f"{reports} reports, ceiling {run.ceilings[-1][1]}"
    )


def nothing(trial: rw.Trial) -> None:
    for _ in trial:
        trial.report(0.0)


def jobs() -> None:
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            study = rw.tune(
                nothing,
                {"x": rw.Float(0, 1)},
                mode="min",
                scheduler=rw.ASHA(max_resource=1),
                trials=3_000,
                workers=workers,
                study=Path(folder) / "study.db",
                quiet=True,
            )
            spent = time.perf_counter() - began
        print(
            f"local executor, {workers} worker(s), study in a file, an objective that does nothing: "
            f"{len(study.trials) / spent:.0f} jobs/s "
            f"({spent:.1f} s for {len(study.trials)}, starting the workers included)"
        )


class Flood:
    """Workers in the same process that report as fast as they are listened to, `BURST` reports at a time.

    With `pace` no more than so many reports a second.
    """

    capacity, BURST = 20, 20

    def __init__(self, pace: int | None = None) -> None:
        self.pace, self.began = pace, time.perf_counter()
        self.jobs: list[tuple[rw.Job, int]] = []
        self.sent = 0
        self.waits: list[float] = []  # seconds from a burst's being handed over to its being durable
        self.since: float | None = None

    def submit(self, job: rw.Job) -> None:
        self.jobs.append((job, 0))

    def poll(self, timeout: float) -> list[Said]:
        now = time.perf_counter()
        if self.since is not None:
            self.waits.append(now - self.since)
        if self.pace is not None:
            time.sleep(max(0.0, self.began + self.sent / self.pace - now))
        said = []
        for _ in range(min(self.BURST, len(self.jobs))):
            job, place = self.jobs.pop(0)
            resource = job.start + place + 1
            if resource > job.until:
                said.append(Said(job.lease, place, Completed(job.trial)))
                continue
            said.append(Said(job.lease, place, Reported(job.trial, resource, job.config["x"] + 1 / resource, 0.1)))
            self.jobs.append((job, place + 1))
            self.sent += 1
        self.since = time.perf_counter()
        return said


def memory() -> float:
    """Resident memory of this process in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024


def load(seconds: float = 60) -> None:
    """The driver and its durable log under a flood of reports: of long training, and of one report a trial."""
    print()
    for what, least, pace in (
        ("5,000 reports/s of long training (1,000 reports to the first rung)", 1_000, 5_000),
        ("as many of them as it takes", 1_000, None),
        ("as many as it takes, mostly new trials", 1, None),
    ):
        _load(what, rw.PASHA(min_resource=least, max_resource=least * 2_000), Flood(pace), seconds if pace else 20)


def _load(what: str, scheduler: rw.PASHA, flood: Flood, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        study = rw.Study({"x": rw.Float(0, 1)}, scheduler, path=Path(folder) / "study.db")
        study.extend(trials=10**9)
        began, sizes = time.perf_counter(), [memory()]

        def go_on() -> bool:
            return time.perf_counter() - began < seconds

        def watch(messages: list[Message]) -> None:
            if time.perf_counter() - began > len(sizes) * seconds / 6:
                sizes.append(memory())
            if not go_on():
                raise KeyboardInterrupt

        with contextlib.suppress(KeyboardInterrupt):
            drive(study, Inbox(flood), may_give_out=go_on, watch=watch)
        spent = time.perf_counter() - began
        study.close()
        size = (Path(folder) / "study.db").stat().st_size
    p50, p99 = (1e3 * float(np.percentile(flood.waits, q)) for q in (50, 99))
    grown = ", ".join(f"{mb:.0f}" for mb in sizes)
    trials = len(study.trials)
    each = f"{(sizes[-1] - sizes[0]) * 2**20 / flood.sent:.0f} bytes a report, "
    each += f"{(sizes[-1] - sizes[0]) * 2**20 / trials:.0f} a trial"
    print(
        f"driver with a durable log, {what}, {spent:.0f} s: {flood.sent / spent:,.0f} reports/s "
        f"({flood.sent:,}, {trials:,} trials, {size / 2**20:.0f} MB); a burst of {flood.BURST} is durable "
        f"after {p50:.2f} ms (median), {p99:.2f} ms (p99); memory in MB, from beginning to end: {grown} ({each})"
    )


class Crowd:
    """Workers in the same process, each of which reports once a second, on the clock of this machine."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.due: list[tuple[float, int, rw.Job, int]] = []  # when the next report of a job is due
        self.late: list[float] = []  # seconds by which a report was listened to after it was due
        self.most = 0  # reports that waited at once
        self.jobs = 0

    def submit(self, job: rw.Job) -> None:
        self.jobs += 1
        spread = (self.jobs * 0.618) % 1 if self.jobs <= self.capacity else 0.0  # they do not all begin at once
        heapq.heappush(self.due, (time.perf_counter() + 1 + spread, self.jobs, job, 0))

    def poll(self, timeout: float) -> list[Said]:
        now = time.perf_counter()
        if self.due and self.due[0][0] > now:
            time.sleep(min(timeout, self.due[0][0] - now))
            now = time.perf_counter()
        said: list[Said] = []
        while self.due and self.due[0][0] <= now:
            due, number, job, place = heapq.heappop(self.due)
            self.late.append(now - due)
            resource = job.start + place + 1
            said.append(Said(job.lease, place, Reported(job.trial, resource, job.config["x"] + 1 / resource, 1.0)))
            if resource == job.until:
                said.append(Said(job.lease, place + 1, Completed(job.trial)))
            else:
                heapq.heappush(self.due, (due + 1, number, job, place + 1))
        self.most = max(self.most, len(said))
        return said


def crowd(workers: int = 1_000, seconds: float = 300) -> None:
    """A driver with a durable log and so many workers that report once a second each."""
    with tempfile.TemporaryDirectory() as folder:
        study = rw.Study({"x": rw.Float(0, 1)}, rw.PASHA(max_resource=81), path=Path(folder) / "study.db")
        study.extend(trials=10**9)
        everyone, began, used = Crowd(workers), time.perf_counter(), time.process_time()
        sizes: list[tuple[int, float]] = []  # trials, MB

        def go_on() -> bool:
            return time.perf_counter() - began < seconds

        def watch(messages: list[Message]) -> None:
            if time.perf_counter() - began > (len(sizes) + 1) * seconds / 5:
                sizes.append((len(study.trials), memory()))
            if not go_on():
                raise KeyboardInterrupt

        judge = InARow(2, 120.0, worked=False, clock=time.monotonic)
        with contextlib.suppress(KeyboardInterrupt):
            drive(study, Inbox(everyone), may_give_out=go_on, watch=watch, judge=judge)
        spent, share = time.perf_counter() - began, time.process_time() - used
        study.close()
    p50, p99 = (1e3 * float(np.percentile(everyone.late, q)) for q in (50, 99))
    grown = ", ".join(f"{mb:.0f} at {trials:,}" for trials, mb in sizes)
    print(
        f"\n{workers:,} workers that report once a second, durable log, {spent:.0f} s: "
        f"{len(everyone.late) / spent:,.0f} reports/s, {100 * share / spent:.0f} % of one core; a report is taken "
        f"{p50:.1f} ms (median), {p99:.1f} ms (p99), {1e3 * max(everyone.late):.0f} ms (most) after it was due, "
        f"{everyone.most} at once at most; memory in MB by trials: {grown}"
    )


def large(trials: int = 100_000) -> None:
    """A study of 100,000 trials and a million facts: writing, opening, looking at it, going on."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.db"
        study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(min_resource=5, max_resource=81), path=path)
        study.extend(trials=trials)
        began = time.perf_counter()
        drive(study, Inbox(Flood()))
        study.close()
        written, before = time.perf_counter() - began, memory()
        with sqlite3.connect(path) as database:
            (facts,) = database.execute("SELECT count(*) FROM facts").fetchone()
        del study
        began = time.perf_counter()
        looked = rw.Study.open(path)
        opening_to_look = time.perf_counter() - began
        began = time.perf_counter()
        opened = rw.Study.open(path, writable=True)
        opening = time.perf_counter() - began
        began = time.perf_counter()
        looks = [opened.rungs(), opened.best, opened.explain(), summary(opened)]
        looking = time.perf_counter() - began
        opened.extend(trials=trials + 1_000)
        began = time.perf_counter()
        drive(opened, Inbox(Flood()))
        going_on = time.perf_counter() - began
        began = time.perf_counter()
        new = looked.refresh()
        shown = [looked.rungs(), looked.best, summary(looked)]
        refreshing = time.perf_counter() - began
        opened.close()
        size = path.stat().st_size
    print(
        f"a study of {trials:,} trials, {facts:,} facts, {size / 2**20:.0f} MB: written in {written:.0f} s, opened to "
        f"look at it in {opening_to_look:.2f} s and to go on in {opening:.1f} s, looked at ({len(looks)} ways) in "
        f"{looking:.2f} s, 1,000 more trials in {going_on:.1f} s; these {new:,} facts are read, and what is new shown "
        f"({len(shown)} ways), by whoever looked before in {refreshing:.3f} s; {memory():.0f} MB of memory "
        f"({before:.0f} before it was opened)"
    )


def memory_of_trials(trials: int = 100_000) -> None:
    """What a study in memory takes, all of it: state, log, scheduler, searcher."""
    space = {
        "lr": rw.Float(1e-5, 1e-1, log=True),
        "decay": rw.Float(1e-6, 1e-2, log=True),
        "units": rw.Integer(16, 512),
        "optimizer": rw.Categorical(["sgd", "adam"]),
    }
    quality, slope = np.random.default_rng(0).uniform((0.5, 0.1), (1.0, 0.5), (trials, 2)).T
    noise = np.random.default_rng(1).normal(0, 0.005, trials + 81)
    print()
    for name in ("ASHA", "PASHA"):
        for least in (1, 5):
            study = rw.Study(space, getattr(rw, name)(min_resource=least, max_resource=81), mode="max")
            study.extend(trials=trials)
            gc.collect()
            before, reports = memory(), 0
            while (job := study.ask()) is not None:
                for resource in range(job.start + 1, job.until + 1):
                    score = quality[job.trial] - slope[job.trial] * resource**-0.5 + noise[job.trial + resource - 1]
                    reports += study.report(job.trial, resource, float(score))
            gc.collect()
            each = (memory() - before) * 2**20 / trials
            print(
                f"{name} with a whole Study in memory, {trials:,} trials of {len(space)} parameters, "
                f"{reports / trials:.1f} reports each: {each:.0f} bytes a trial"
            )
            del study


def suggest() -> None:
    """A proposal of each searcher: the first since it was told results (a model is fitted), and the next one.

    Under seeds whose first draw is above 3/4, with which "density" never draws at random.
    """
    space = rw.Space(
        {
            "lr": rw.Float(1e-5, 1e-1, log=True),
            "decay": rw.Float(0, 0.1),
            "width": rw.Integer(16, 512, log=True),
            "layers": rw.Integer(1, 8),
            "optimizer": rw.Categorical(["sgd", "adam", "adamw"]),
            "momentum": rw.Float(0, 1, when={"optimizer": "sgd"}),
            "batch": rw.Ordinal([16, 32, 64, 128]),
        }
    )
    sizes = (50, 250, 1_000, 10_000)
    seeds = [seed for seed in range(100) if np.random.default_rng([0, seed]).random() > 0.75][:7]
    print("\nprocessor milliseconds for a proposal, 7 mixed parameters, 4 trials under way, 1 thread: the first since")
    print("results were told, for which a model is fitted, and the next; density: where it is not random\n")
    print(f"| searcher | {' | '.join(f'{size:,} trials' for size in sizes)} |\n|---|{'---|' * len(sizes)}")
    for name in ("random", "sobol", "evolution", "density", "tpe", "gp"):
        cells = []
        for trials in sizes:
            rng, facts = np.random.default_rng(0), []
            for trial in range(trials):
                config, until = space.sample(rng), int(rng.choice([1, 3, 9], p=[0.7, 0.2, 0.1]))
                loss = (np.log10(config["lr"]) + 3) ** 2 + (config["layers"] - 4) ** 2 / 9
                for level in (1, 3, 9)[: (1, 3, 9).index(until) + 1]:
                    facts.append(Started(trial, config, 1) if level == 1 else Promoted(trial, level))
                    facts.append(Result(trial, level, (float(loss + 1 / level + rng.normal(0, 0.05)),)))
            facts += [Started(trials + extra, space.sample(rng), 1) for extra in range(4)]
            first, following = [], []
            for seed in seeds:
                searcher = as_searcher(name, space)
                for fact in facts:
                    searcher.tell(fact)
                for times in (first, following):
                    began = time.process_time()
                    searcher.propose([0, seed])
                    times.append(time.process_time() - began)
            cells.append(" / ".join(f"{1e3 * statistics.median(times[1:]):.3g}" for times in (first, following)))
        print(f"| {name} | {' | '.join(cells)} |")


def imports() -> None:
    def measured(code: str) -> tuple[float, float]:
        peak = "print(next(int(line.split()[1]) for line in open('/proc/self/status') if 'VmRSS' in line) / 1024)"
        times = []
        for _ in range(8):
            began = time.perf_counter()
            out = subprocess.run([sys.executable, "-c", f"{code}\n{peak}"], capture_output=True, check=True, text=True)
            times.append(time.perf_counter() - began)
        return statistics.median(times[1:]), float(out.stdout)

    bare, numpy, ours = (measured(code) for code in ("pass", "import numpy", "import rungwise"))
    print(
        f"\nimport rungwise: {ours[0] - bare[0]:.3f} s and {ours[1] - bare[1]:.0f} MB over bare Python "
        f"({bare[0]:.3f} s, {bare[1]:.0f} MB); of which numpy {numpy[0] - bare[0]:.3f} s, {numpy[1] - bare[1]:.0f} MB"
    )


def size() -> None:
    project = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "venv"
        venv.create(place, with_pip=True)
        site = next(place.glob("lib/python*/site-packages"))
        before = {entry.name for entry in site.iterdir()}
        pip = [place / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", project]
        subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
        added = [entry for entry in site.iterdir() if entry.name not in before]
        total = sum(file.stat().st_size for entry in added for file in _files(entry))
        packages = sorted(entry.stem.rsplit("-", 1)[0] for entry in added if entry.suffix == ".dist-info")
    print(f"core install: {total / 2**20:.0f} MB, {len(packages)} packages: {', '.join(packages)}")


def _files(entry: Path) -> list[Path]:
    return [entry] if entry.is_file() else [file for file in entry.rglob("*") if file.is_file()]


def main() -> None:
    """Run the benchmarks that are named, or all."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print((__doc__ or "").strip().splitlines()[-1])
        return
    parts: dict[str, Callable[[], None]] = {
        "deciding": deciding, "study": whole_study, "experiment": experiment, "jobs": jobs, "load": load,
        "crowd": crowd,
        "large": large, "memory": memory_of_trials, "suggest": suggest, "import": imports, "size": size,
    }  # fmt: skip
    unknown = [name for name in sys.argv[1:] if name not in parts]
    if unknown:
        sys.exit(f"there is no benchmark {unknown[0]!r}; there are {', '.join(parts)}")
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    print(
        f"rungwise {rw.__version__}, Python {platform.python_version()}, numpy {np.__version__}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {cpu}, {time.strftime('%Y-%m-%d')}"
    )
    for name in sys.argv[1:] or parts:
        parts[name]()


if __name__ == "__main__":
    main()
