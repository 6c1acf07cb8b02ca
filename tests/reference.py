"""ASHA and PASHA once more, as slowly and plainly as possible, to compare decisions with.

Written from the papers (ASHA: Li et al., MLSys 2020; PASHA: Bohdal et al., ICLR 2023) and from nothing else:
it shares no line with the library, keeps nothing up to date, and works everything out anew from the list of
what has happened, each time it is asked.

The § beside the lines number the rules: §1 the ladder, §2 ASHA of promotion type (Li et al., Algorithm 2),
§3 PASHA (Bohdal et al., Algorithm 1), §4 when two rankings are consistent and how ε is estimated (Bohdal et al.),
§8 what was settled where the papers leave it open (ties, events at the same time, jobs without a report).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

Job = tuple[float, int, int, int]  # (time, trial, start, until)
Table = Sequence[Sequence[float]] | np.ndarray  # configurations × resources


@dataclass
class Outcome:
    """How a simulated study went."""

    jobs: list[Job] = field(default_factory=list)  # in the order given out
    ceilings: list[tuple[float, int]] = field(default_factory=list)  # (time, level), the first at time 0
    epsilons: list[float] = field(default_factory=list)  # at each check below the last rung, whatever n
    best_trial: int | None = None
    seconds: float = 0.0  # the time of the last event handled
    resource_used: int = 0  # the highest resource that each trial reported, summed
    max_resource: int = 0


def ladder(r: int, eta: float, R: int) -> list[int]:
    """§1: r, r·η, r·η², … rounded (a half goes up), repeats dropped, those at or above R dropped, then R."""
    levels: list[int] = []
    while (level := math.floor(r * eta ** len(levels) + 0.5)) < R:
        levels.append(level)
    return [*dict.fromkeys(levels), R]


def weighted(p: float, terms: list[float]) -> float:
    """§4: Σ w_i · terms_i with w_i ∝ p^i, the weights summing to 1."""
    weights = [p**i for i in range(len(terms))]
    return sum(weight * term for weight, term in zip(weights, terms, strict=True)) / sum(weights)


@dataclass
class World:
    """All that has happened so far."""

    levels: list[int]
    eta: float
    reports: list[tuple[int, int, float]] = field(default_factory=list)  # (trial, resource, loss), as they came
    completions: list[tuple[int, int, float]] = field(default_factory=list)  # (trial, rung, loss), as they came
    promoted: list[tuple[int, int]] = field(default_factory=list)  # (trial, from rung)
    started: int = 0
    patience: tuple[float, int] | None = None  # deviations, and how many must be able to go on; None: the papers' rule
    breadth: bool = False

    def ranked(self, rung: int, among: list[int] | None = None) -> list[int]:
        """§2, §8: the trials that completed `rung`: better first, the earlier completion first among equals."""
        done = [(trial, loss) for trial, k, loss in self.completions if k == rung]
        if among is not None:
            done = [(trial, loss) for trial, loss in done if trial in among]
        return [trial for trial, _ in sorted(done, key=lambda entry: entry[1])]  # sorted() is stable

    def loss(self, trial: int, rung: int) -> float:
        """The loss of `trial` at `rung`."""
        return next(loss for t, k, loss in self.completions if (t, k) == (trial, rung))

    def let_go(self, n: int, patience: tuple[float, int] | None) -> int:
        """How many of a rung with n results may go on: ⌊n/η⌋ (§2), or patiently ⌊m − d·√m + 1/2⌋, m = n/η."""
        if patience is None:
            return math.floor(n / self.eta)
        deviations, least = patience
        going = [k for k in range(least, n + 1) if k <= n / self.eta - deviations * math.sqrt(n / self.eta) + 0.5]
        return max(going, default=0)

    def promotion(self, top: int, more: bool, begun: int) -> tuple[int, int] | None:
        """§2, step 1: which trial goes on, from which rung: highest rung first, then the best not yet gone on.

        `more` says whether trials may be started yet, `begun` how many were.
        """
        if self.breadth and more:
            return None
        patience, first = self.patience, len(self.ranked(0))
        if not more and first == begun and self.let_go(first, patience) == 0:  # too small for patience
            patience = None
        for k in range(top - 1, -1, -1):
            order = self.ranked(k)
            for trial in order[: self.let_go(len(order), patience)]:  # n_k: all that completed it, promoted or not
                if (trial, k) not in self.promoted and self.loss(trial, k) < math.inf:  # inf is never promoted
                    return trial, k
        return None

    def curve(self, trial: int) -> dict[int, float]:
        """Finite losses of `trial` by resource."""
        return {r: loss for t, r, loss in self.reports if t == trial and math.isfinite(loss)}

    def epsilon(self, top: int, last: float) -> float:
        """§4, auto: the 90th percentile of the distances between curves that criss-cross; `last` if none do."""
        low, high = self.levels[top - 1], self.levels[top]
        curves = {trial: self.curve(trial) for trial in range(self.started)}
        distances = []
        for c in range(self.started):
            for other in range(c + 1, self.started):
                common = sorted(set(curves[c]) & set(curves[other]))
                window = [r for r in common if low < r <= high]
                if not window:
                    continue
                e = window[-1]  # the largest resource above level K−1 that both have reported
                above = {r: curves[c][r] > curves[other][r] for r in common if r <= e}
                opposite = [r for r in above if above[r] != above[e]]
                # opposite at some earlier resource, and at a still earlier one as at e again
                if any(above[r] == above[e] and r < later for later in opposite for r in above):
                    distances.append(abs(curves[c][e] - curves[other][e]))
        return float(np.percentile(distances, 90)) if distances else last

    def consistent(self, top: int, ranking: str, epsilon: float, numbers: dict[str, float]) -> bool:
        """§3, step 1, and §4: do rungs `top` and `top` - 1 agree on the trials that completed `top`?"""
        now = self.ranked(top)  # T
        before = self.ranked(top - 1, among=now)  # P
        n = len(now)
        if n < 2:
            return True
        if ranking == "direct":
            return now == before
        if ranking == "rbo":
            shares = [len(set(now[:d]) & set(before[:d])) / d for d in range(1, n + 1)]
            return weighted(numbers["p"], shares) >= numbers["threshold"] - 1e-9
        if ranking in ("rrr", "arrr"):
            regrets = []
            for here, there in zip(now, before, strict=True):
                f, g = self.loss(here, top), self.loss(there, top)
                same, size = f == g, abs(f)
                regret = (
                    0.0 if same else -1.0 if math.isinf(f) else (g - f) / size if size else math.copysign(math.inf, g)
                )
                regrets.append(abs(regret) if ranking == "arrr" else regret)
            return weighted(numbers["p"], regrets) <= numbers["threshold"] + 1e-9
        if ranking != "soft":
            below = [p for trial in now if math.isfinite(p := self.loss(trial, top - 1))]
            distances = [abs(a - b) for i, a in enumerate(below) for j, b in enumerate(below) if i != j]
            spread = {
                "soft_std": lambda: statistics.pstdev(below),
                "soft_mean_distance": lambda: statistics.mean(distances),
                "soft_median_distance": lambda: statistics.median(distances),
            }[ranking]
            epsilon = numbers["scale"] * spread() * (1 + 1e-9) if distances else 0.0
        for here, there in zip(now, before, strict=True):
            a, b = self.loss(here, top - 1), self.loss(there, top - 1)
            if math.isinf(a) and math.isinf(b):
                continue  # two infinite losses are equivalent
            if math.isinf(a) or math.isinf(b) or abs(a - b) > epsilon:  # a finite and an infinite one never are
                return False
        return True

    def best(self) -> int | None:
        """§3, selection: the best finite score at the highest rung that has one."""
        for k in range(len(self.levels) - 1, -1, -1):
            finite = [trial for trial in self.ranked(k) if self.loss(trial, k) < math.inf]
            if finite:
                return finite[0]
        return None


@dataclass
class Running:
    """A job under way."""

    trial: int
    rung: int  # the one it is to complete
    time: float  # when its next event is due
    ahead: list[tuple[float, int, float]]  # the reports to come: (time, resource, loss)


def simulate(
    scores: Table,
    seconds: Table | None = None,
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
    score: str = "last",
    drain: bool = True,
    epsilon: float | str = "auto",
    ranking: str = "soft",
    numbers: dict[str, float] | None = None,
    patience: tuple[float, int] | None = None,
    breadth: bool = False,
) -> Outcome:
    """Run `algorithm`, "asha" or "pasha", over curves; `seconds` are cumulative, trial i takes row `rows[i]`.

    With `score` "best" a trial's loss at a resource is its best so far, with "last" (the papers') the one there.
    """
    columns = list(range(1, len(scores[0]) + 1)) if resources is None else resources
    times = [[float(column) for column in columns] for _ in scores] if seconds is None else seconds
    levels = ladder(min_resource, eta, columns[-1] if max_resource is None else max_resource)  # §8: the table's last
    world = World(levels, eta, patience=patience, breadth=breadth)
    last_rung = len(levels) - 1
    top = last_rung if algorithm == "asha" else min(1, last_rung)  # §3: K starts at 1, 0 if there is one rung
    noise = 0.0  # §4: ε starts at 0
    out = Outcome(ceilings=[(0.0, levels[top])])
    now = 0.0
    running: list[Running] = []  # in the order given out

    def loss_of(score: float) -> float:
        return (-score if mode == "max" else score) if math.isfinite(score) else math.inf

    def give_out() -> bool:
        """§2: give one job to a free worker, if there are both; whether it did."""
        if len(running) == workers or (not drain and world.started == trials):
            return False
        if (found := world.promotion(top, world.started < trials, world.started)) is not None:  # step 1
            trial, rung = found
            world.promoted.append(found)
            start, target = levels[rung], rung + 1
        elif world.started < trials:  # step 2
            trial, start, target = world.started, 0, 0
            world.started += 1
        else:  # step 3
            return False
        until = levels[target]
        out.jobs.append((now, trial, start, until))
        row = rows[trial]
        known = [j for j, r in enumerate(columns) if r <= start]
        base = float(times[row][known[-1]]) if known else 0.0
        ahead = [
            (now + (float(times[row][j]) - base), r, loss_of(float(scores[row][j])))
            for j, r in enumerate(columns)
            if start < r <= until
        ]
        running.append(Running(trial, target, ahead[0][0] if ahead else now, ahead))  # §8: no report, failed at once
        return True

    while give_out():
        pass
    while running and not (not drain and world.started == trials):
        job = min(running, key=lambda job: job.time)  # §8: the first of them; jobs stand in the order given out
        now = job.time
        loss = math.inf  # of a job that fails
        if job.ahead:
            _, resource, loss = job.ahead.pop(0)
            if score == "best":  # what a trial reported counts for nothing where an earlier report of it was better
                loss = min([loss] + [earlier for trial, _, earlier in world.reports if trial == job.trial])
            world.reports.append((job.trial, resource, loss))
        if job.ahead:
            job.time = job.ahead[0][0]
            continue
        running.remove(job)
        world.completions.append((job.trial, job.rung, loss))  # §8: the rung's score is the last report
        if algorithm == "pasha" and job.rung == top and 0 < top < last_rung:  # §3
            if epsilon == "auto":
                noise = world.epsilon(top, noise)
            out.epsilons.append(noise if epsilon == "auto" else float(epsilon))
            if not world.consistent(top, ranking, out.epsilons[-1], numbers or {}):
                top += 1
                out.ceilings.append((now, levels[top]))
        while give_out():  # §8: after each job that ends, not once the instant is over
            pass
    out.seconds = now
    out.best_trial = world.best()
    highest = {trial: max(r for t, r, _ in world.reports if t == trial) for trial, _, _ in world.reports}
    out.resource_used = sum(highest.values())
    out.max_resource = max(highest.values(), default=0)
    return out
