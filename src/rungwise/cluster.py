"""What is a virtual cluster like? Machines that start, straggle, fail, are taken away and cost money, from a seed.

Pure: no machine depends on what is decided, so that two schedulers with the same `Cluster` get the same machines.
Imports `errors` and `validation` only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal, final

import msgspec
import numpy as np

from rungwise.errors import InputError
from rungwise.validation import real, whole


@final
class Cluster(msgspec.Struct, frozen=True):
    """A virtual cluster for `simulate(…, workers=Cluster(…))`; times are simulated seconds.

    It has `machines`, each of which does one job at a time; `capacity` = [(time, machines), …] says how many there are
    later, in the order of time, at the end at least one. When there are fewer, those in the last places go, and their
    jobs pause. A new machine takes jobs `start_up` after it comes, and each job trains `job_start_up` after it is given
    out.

    A machine fails after `failures` seconds on average, and another comes at once in its place; it is taken away, as
    spot instances are, after `spot` seconds on average, and another comes after `spot_gap` on average (all drawn from
    exponential distributions; None is never). A job that is taken away is given out again as often as it takes, one
    whose machine fails `retries` times; the next time its trial has failed. It goes on from the last report of its
    trial (`resume="report"`: each report saves) or from where it began (`resume="job"`).

    Machines differ in speed by `stragglers`, jobs by `job_stragglers`: they take exp(stragglers · z) times as long as
    the table says, with z normally distributed, so half are slower than the table and half faster. Each second of a
    machine costs `price` from its coming to its going, or to the end of the study, also while it starts or is idle.
    `seed` is for all that is drawn.

    >>> Cluster(256, spot=3600, spot_gap=60, stragglers=0.2).capacity
    ()

    Raises `InputError` for numbers that cannot be, and where a machine would be gone, on average, before it is ready.
    """

    machines: int
    start_up: float = 0.0
    job_start_up: float = 0.0
    failures: float | None = None
    spot: float | None = None
    spot_gap: float = 0.0
    stragglers: float = 0.0
    job_stragglers: float = 0.0
    capacity: Sequence[tuple[float, int]] = ()
    resume: Literal["report", "job"] = "report"
    retries: int = 2
    price: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("machines", 1), ("retries", 0), ("seed", 0)):
            if whole(value := getattr(self, name), name) < least:
                raise InputError(f"{name} must be {least} or more, not {value!r}")
        for name in ("start_up", "job_start_up", "spot_gap", "stragglers", "job_stragglers", "price"):
            if real(value := getattr(self, name), name) < 0:
                raise InputError(f"{name} must be 0 or more, not {value!r}")
        for name in ("failures", "spot"):
            if (mean := getattr(self, name)) is None:
                continue
            if real(mean, name) <= 0:
                raise InputError(f"{name} must be seconds above 0, or None for never, not {mean!r}")
            if mean <= self.start_up:
                raise InputError(f"{name}={mean!r} must be more than start_up={self.start_up!r}; no machine gets ready")
        if self.resume not in ("report", "job"):
            raise InputError(f"resume must be 'report' or 'job', not {self.resume!r}")
        msgspec.structs.force_setattr(self, "capacity", _schedule(self.capacity))

    @property
    def most(self) -> int:
        """The most machines that there are at any time."""
        return max([self.machines, *(count for _, count in self.capacity)])

    def periods(self, slot: int) -> Iterator[tuple[float, float]]:
        """From when to when there are more than `slot` machines."""
        begins = 0.0 if slot < self.machines else None
        for time, count in self.capacity:
            if begins is None and slot < count:
                begins = time
            elif begins is not None and slot >= count:
                yield begins, time
                begins = None
        if begins is not None:
            yield begins, math.inf


def _schedule(capacity: Sequence[tuple[float, int]]) -> tuple[tuple[float, int], ...]:
    wanted = "capacity must be [(time, machines), …]"
    try:
        pairs = tuple((real(time, "a time"), whole(count, "machines")) for time, count in capacity)
    except (TypeError, ValueError) as error:
        raise InputError(f"{wanted}: {error}") from None
    times = [0.0, *(time for time, _ in pairs)]
    if any(later <= time for time, later in pairwise(times)):
        raise InputError(f"{wanted} with increasing times above 0, not {times[1:]}")
    if any(count < 0 for _, count in pairs) or (pairs and pairs[-1][1] < 1):
        raise InputError(f"{wanted} with 0 machines or more, and 1 or more at the end, not {[n for _, n in pairs]}")
    return pairs


@final
class ClusterUse(msgspec.Struct, frozen=True):
    """What became of the machines of a `Cluster`, and what they cost.

    `machine_seconds` are all seconds of all machines that came (`machines`), from their coming to their going or to the
    end of the study. They are the sum of four: `used_seconds` of training that counts; `lost_seconds` of training that
    had to be done again, since its job broke off or was taken away after its checkpoint; `starting_seconds` in which
    machines or jobs started; `idle_seconds` without a job. `price` is what the `machine_seconds` cost. `broken` and
    `preempted` count the jobs that ended because their machine failed or was taken away. `answers` holds (time, trial):
    from when on which trial was the best.
    """

    machines: int
    machine_seconds: float
    used_seconds: float
    lost_seconds: float
    starting_seconds: float
    idle_seconds: float
    price: float
    broken: int
    preempted: int
    answers: list[tuple[float, int]]

    @property
    def utilization(self) -> float:
        """The share of the machines' time that was training that counts."""
        return self.used_seconds / self.machine_seconds if self.machine_seconds else 0.0


class Machine(msgspec.Struct, frozen=True, eq=False):
    """One machine: when it comes, takes jobs, and goes, whether because it `fails`, and how much longer it takes."""

    came: float
    ready: float
    gone: float
    fails: bool
    slowness: float


def machines(cluster: Cluster, slot: int) -> Iterator[Machine]:
    """The machines of `cluster` that are in place `slot`, one after another."""
    rng = np.random.default_rng([cluster.seed, slot])
    for begins, ends in cluster.periods(slot):
        came = begins
        while came < ends:
            slowness = lognormal(rng, cluster.stragglers)
            failed = came + _exponential(rng, cluster.failures)
            gone = min(failed, came + _exponential(rng, cluster.spot), ends)
            fails = failed == gone < ends
            yield Machine(came, came + cluster.start_up, gone, fails, slowness)
            came = gone if fails else gone + _exponential(rng, cluster.spot_gap)


def lognormal(rng: np.random.Generator, sigma: float) -> float:
    """exp(sigma · z) for a normally distributed z; 1 for sigma 0, of which nothing is drawn."""
    return math.exp(sigma * rng.standard_normal()) if sigma else 1.0


def _exponential(rng: np.random.Generator, mean: float | None) -> float:
    return math.inf if mean is None else float(rng.exponential(mean))
