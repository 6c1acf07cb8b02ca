"""ASHA and PASHA once more, as slowly and plainly as possible, to compare decisions with.

Written from the papers (ASHA: Li et al., MLSys 2020; PASHA: Bohdal et al., ICLR 2023) and from nothing else:
it shares no line with the library, keeps nothing up to date, and works everything out anew from the list of
what has happened, each time it is asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

Job = tuple[float, int, int, int]  # (time, trial, start, until)


@dataclass
class Outcome:
    """How a simulated study went."""

    jobs: list[Job] = field(default_factory=list)
    ceilings: list[tuple[float, int]] = field(default_factory=list)
    epsilons: list[float] = field(default_factory=list)  # at each check below the last rung
    best_trial: int | None = None
    seconds: float = 0.0
    resource_used: int = 0
    max_resource: int = 0


def ladder(r: int, eta: float, top: int) -> list[int]:
    """r, r·η, r·η², … rounded (a half goes up), repeats dropped, those at or above R dropped, then R."""
    levels: list[int] = []
    exact = float(r)
    for power in range(10_000):
        exact = r * eta**power
        if math.floor(exact + 0.5) >= top:
            break
        levels.append(math.floor(exact + 0.5))
    return [*dict.fromkeys(levels), top]


@dataclass
class World:
    """All that has happened so far."""

    levels: list[int]
    eta: float
    reports: list[tuple[int, int, float]] = field(default_factory=list)  # (trial, resource, loss), as they came
    completions: list[tuple[int, int, float]] = field(default_factory=list)  # (trial, rung, loss), as they came
    promoted: list[tuple[int, int]] = field(default_factory=list)  # (trial, from rung)
    started: int = 0

    def ranked(self, rung: int, among: list[int] | None = None) -> list[int]:
        """The trials that completed `rung`: better first, the earlier completion first among equals."""
        done = [(trial, loss) for trial, k, loss in self.completions if k == rung]
        if among is not None:
            done = [(trial, loss) for trial, loss in done if trial in among]
        return [trial for trial, _ in sorted(done, key=lambda entry: entry[1])]  # sorted() is stable

    def loss(self, trial: int, rung: int) -> float:
        """The loss of `trial` at `rung`."""
        return next(loss for t, k, loss in self.completions if (t, k) == (trial, rung))

    def promotion(self, top: int) -> tuple[int, int] | None:
        """Which trial goes on, from which rung: the highest rung first, then the best that has not gone on."""
        for k in range(top - 1, -1, -1):
            order = self.ranked(k)
            for trial in order[: math.floor(len(order) / self.eta)]:
                if (trial, k) not in self.promoted and self.loss(trial, k) < math.inf:
                    return trial, k
        return None

    def curve(self, trial: int) -> dict[int, float]:
        """Finite losses of `trial` by resource."""
        return {r: loss for t, r, loss in self.reports if t == trial and math.isfinite(loss)}

    def epsilon(self, top: int, last: float) -> float:
        """The 90th percentile of the distances between curves that criss-cross; `last` if none do."""
        low, high = self.levels[top - 1], self.levels[top]
        curves = {trial: self.curve(trial) for trial in range(self.started)}
        distances = []
        for c in range(self.started):
            for other in range(c + 1, self.started):
                common = sorted(set(curves[c]) & set(curves[other]))
                window = [r for r in common if low < r <= high]
                if not window:
                    continue
                e = window[-1]
                above = {r: curves[c][r] > curves[other][r] for r in common if r <= e}
                opposite = [r for r in above if above[r] != above[e]]
                if any(above[r] == above[e] and r < later for later in opposite for r in above):
                    distances.append(abs(curves[c][e] - curves[other][e]))
        return float(np.percentile(distances, 90)) if distances else last

    def consistent(self, top: int, ranking: str, epsilon: float) -> bool:
        """Do rungs `top` and `top` - 1 agree on the trials that completed `top`?"""
        now = self.ranked(top)
        before = self.ranked(top - 1, among=now)
        if ranking == "direct":
            return now == before
        for here, there in zip(now, before, strict=True):
            a, b = self.loss(here, top - 1), self.loss(there, top - 1)
            if not (a == b or abs(a - b) <= epsilon):
                return False
        return True

    def best(self) -> int | None:
        """The best finite score at the highest rung that has one."""
        for k in range(len(self.levels) - 1, -1, -1):
            finite = [trial for trial in self.ranked(k) if self.loss(trial, k) < math.inf]
            if finite:
                return finite[0]
        return None


def simulate(
    scores: np.ndarray,
    seconds: np.ndarray | None = None,
    *,
    algorithm: str,
    mode: str,
    eta: float = 3,
    min_resource: int = 1,
    max_resource: int | None = None,
    workers: int = 4,
    trials: int,
    rows: list[int],
    resources: list[int] | None = None,
    drain: bool = True,
    epsilon: float | str = "auto",
    ranking: str = "soft",
) -> Outcome:
    """Run `algorithm` over the curves; arguments as those of `rungwise.simulate`."""
    columns = resources or list(range(1, len(scores[0]) + 1))
    times = [[float(column) for column in columns] for _ in scores] if seconds is None else seconds
    levels = ladder(min_resource, eta, columns[-1] if max_resource is None else max_resource)
    world = World(levels, eta)
    last_rung = len(levels) - 1
    top = last_rung if algorithm == "asha" else min(1, last_rung)
    noise = 0.0
    out = Outcome(ceilings=[(0.0, levels[top])])
    now = 0.0
    running: list[dict] = []  # in the order given out

    def loss_of(score: float) -> float:
        return (-score if mode == "max" else score) if math.isfinite(score) else math.inf

    def give_out() -> bool:
        """Give one job to a free worker, if there are both; whether it did."""
        if len(running) == workers or (not drain and world.started == trials):
            return False
        if (found := world.promotion(top)) is not None:
            trial, rung = found
            world.promoted.append(found)
            start, target = levels[rung], rung + 1
        elif world.started < trials:
            trial, start, target = world.started, 0, 0
            world.started += 1
        else:
            return False
        until = levels[target]
        out.jobs.append((now, trial, start, until))
        row = rows[trial]
        known = [j for j, r in enumerate(columns) if r <= start]
        base = times[row][known[-1]] if start and known else 0.0
        ahead = [
            (now + (times[row][j] - base), r, loss_of(float(scores[row][j])))
            for j, r in enumerate(columns)
            if start < r <= until
        ]
        running.append({"trial": trial, "rung": target, "ahead": ahead, "time": ahead[0][0] if ahead else now})
        return True

    while give_out():
        pass
    while running and not (not drain and world.started == trials):
        job = min(running, key=lambda job: job["time"])  # the first of them: jobs stand in the order given out
        now = job["time"]
        loss = math.inf
        if job["ahead"]:
            _, resource, loss = job["ahead"].pop(0)
            world.reports.append((job["trial"], resource, loss))
        if job["ahead"]:
            job["time"] = job["ahead"][0][0]
            continue
        running.remove(job)
        world.completions.append((job["trial"], job["rung"], loss))
        if algorithm == "pasha" and job["rung"] == top and 0 < top < last_rung:
            if epsilon == "auto":
                noise = world.epsilon(top, noise)
            out.epsilons.append(noise if epsilon == "auto" else float(epsilon))
            if not world.consistent(top, ranking, out.epsilons[-1]):
                top += 1
                out.ceilings.append((now, levels[top]))
        while give_out():
            pass
    out.seconds = now
    out.best_trial = world.best()
    highest = {trial: max(r for t, r, _ in world.reports if t == trial) for trial, _, _ in world.reports}
    out.resource_used = sum(highest.values())
    out.max_resource = max(highest.values(), default=0)
    return out
