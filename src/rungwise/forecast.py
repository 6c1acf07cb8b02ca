"""What will a study still cost? Its own rest, simulated again and again over curves like those it has seen.

Pure. May import what stands below `run`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, final

import msgspec
import numpy as np

from rungwise import afford
from rungwise.clock import Clock
from rungwise.continuation import Curves, Imagined
from rungwise.core import Scheduler
from rungwise.core.asha import ASHA
from rungwise.core.pasha import PASHA
from rungwise.core.rungs import Ladder
from rungwise.curves import CurveTable
from rungwise.errors import InputError, our_names
from rungwise.events import Completed, Fact, Failed, Job, Promoted, Raised, Ran, Refitted, Reported, Started
from rungwise.executors import Message
from rungwise.log import undone
from rungwise.loop import drive
from rungwise.parameters import Integer
from rungwise.records import Budget
from rungwise.replay import scheduler_looked_at
from rungwise.simulate import in_order
from rungwise.space import Space
from rungwise.study import Study
from rungwise.validation import real, whole
from rungwise.words import counted, duration

TAIL = 0.05
"""An interval leaves out so much of the simulations at each end: 90 % of them are in it, and 80 % of real costs.

What the curves will be is known less well than simulations among those that were seen suggest. The number was chosen on
the tasks for choosing of `rungwise bench forecast`.
"""
DRAWS, FEWEST = 64, 16
WORK = 4000
"""Where a simulation has more reports than this, there are fewer of them."""
LARGE, SAMPLE = 512, 256
"""Of more trials than LARGE about so many are simulated."""
ALIKE = ("asha", "pasha", "asha-stopping", "median", "full")  # some of the trials fare as all of them do
TOLD = (Started, Promoted, Raised, Reported, Completed, Failed, Ran, Refitted)
ROWS, CELLS = 20_000, 20_000_000  # at most, of the curves of a simulation
UNSEEN = 27  # without max_resource: so many times as far as anybody has come


class Interval(msgspec.Struct, frozen=True):
    """From `low` to `high` in 80 of 100 cases; `middle` is the median."""

    low: float
    middle: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Interval:
        """That of simulated `values`."""
        return Interval(*np.quantile(values, [TAIL, 0.5, 1 - TAIL]).tolist())

    def less(self, spent: float) -> Interval:
        """What of it is to come when so much is `spent`."""
        return Interval(*(max(0.0, end - spent) for end in (self.low, self.middle, self.high)))

    def times(self, factor: float) -> Interval:
        """The same `factor` times."""
        return Interval(self.low * factor, self.middle * factor, self.high * factor)


@final
class Forecast(msgspec.Struct, frozen=True):
    """What a study will cost: 80 % intervals, by `draws` simulations of its rest.

    `resource` is still to come, after the `spent`; `total` is both. `seconds` are those of the clock that the rest
    takes with so many `workers`, None where no report says how long it took; `money` is what the workers cost in that
    time, None without a price. `asha` is the total resource of ASHA with the same trials and rungs, None unless PASHA
    is the scheduler and the number of trials the only total. `trials` is how many there will be (None: as many as the
    budget pays for), of which `begun` were. `curves` were seen; `every` is 1 if all trials were simulated, else every
    so manieth was.
    """

    spent: int
    resource: Interval
    total: Interval
    seconds: Interval | None
    money: Interval | None
    asha: Interval | None
    begun: int
    trials: int | None
    workers: int
    curves: int
    draws: int
    every: int = 1

    def __str__(self) -> str:
        """In words, a line each."""
        of = "" if self.trials is None else f" of {self.trials}"
        lines = [
            f"still to come: {_range(self.resource)} of resource, after {self.spent:,} so far ({self.begun}{of} trials "
            f"begun); {_range(self.total)} together"
        ]
        if self.seconds is not None:
            ends = " to ".join(duration(end) for end in (self.seconds.low, self.seconds.high))
            lines.append(f"that takes {ends} with {counted(self.workers, 'worker')}, at the pace so far")
        else:
            lines.append("time and money are not known: no report says how long its training took")
        if self.money is not None:
            lines.append(f"and costs {self.money.low:,.2f} to {self.money.high:,.2f}")
        if self.asha is not None:
            lines.append(f"ASHA with the same trials: {_range(self.asha)} in all")
        sample = "" if self.every == 1 else f"; 1 trial in {self.every} was simulated"
        lines.append(
            f"80 % intervals, from {self.draws} simulations with the curves of {counted(self.curves, 'trial')}{sample}"
        )
        return "\n".join(lines)


def _range(interval: Interval) -> str:
    low, high = round(interval.low), round(interval.high)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


@our_names()
def forecast(
    study: Study,
    *,
    trials: int | None = None,
    workers: int | None = None,
    price_per_hour: float | None = None,
    seed: int = 0,
) -> Forecast:
    """What `study` will still cost, as 80 % intervals: resource, time, and money.

    Its rest is simulated again and again, from where it stands. Trials go on as others did that had a similar score at
    the same resource; new trials begin like those so far. `trials` (default: the study's total) is how many there will
    be. `workers` (default: those of its last run) train at the same time, and each costs `price_per_hour` until the
    end. The same `seed` gives the same forecast.

    >>> import rungwise as rw
    >>> study = rw.Study({"x": rw.Float(0, 1)}, "asha", mode="max")
    >>> study.extend(trials=30)
    >>> for _ in range(12):
    ...     job = study.ask()
    ...     told = study.report(job.trial, job.until, job.config["x"])
    >>> ahead = forecast(study)
    >>> ahead.resource.low > 0, ahead.trials
    (True, 30)

    Raises `InputError` if no trial has reported, without a total, for several metrics, and for numbers that cannot be.
    """
    state = study.state
    if state.metrics.names:
        raise InputError(f"a forecast is of one metric; this study has {', '.join(state.metrics.names)}")
    if trials is not None and whole(trials, "trials") < 1:
        raise InputError(f"trials must be 1 or more, not {trials!r}")
    if workers is None:
        before = state.how.get("workers")
        workers = before if isinstance(before, int) and before > 0 else max(1, state.under_way)
    if whole(workers, "workers") < 1:
        raise InputError(f"workers must be 1 or more, not {workers!r}")
    if price_per_hour is not None and real(price_per_hour, "price_per_hour") < 0:
        raise InputError(f"price_per_hour must be 0 or more, not {price_per_hour!r}")
    budget = state.budget if trials is None else msgspec.structs.replace(state.budget, trials=trials)
    if budget == Budget(target=budget.target):
        raise InputError("the study has no total, so it never ends: say how many trials there will be, as trials=64")
    name = state.created.scheduler.get("name")
    only_trials = budget == Budget(trials=budget.trials)
    size = max(budget.trials or 0, len(state.trials))
    every = math.ceil(size / SAMPLE) if size > LARGE and only_trials and name in ALIKE else 1
    rest = ahead(study, budget, workers, every)
    ends = [rest.draw(seed, 0)]
    draws = int(np.clip(DRAWS * WORK // max(rest.reports(ends[0][0]), 1), FEWEST, DRAWS))
    ends += [rest.draw(seed, number) for number in range(1, draws)]
    total = Interval.of([float(resource * every) for resource, _ in ends])
    timed = any(seconds > 0 for _, seconds in ends)
    slower = every * max(1, round(workers / every)) / workers  # where there are fewer workers than one in `every`
    seconds = Interval.of([seconds * slower for _, seconds in ends]) if timed else None
    price = None if price_per_hour is None else price_per_hour * workers / 3600
    asha = None
    if name == PASHA.name and only_trials:
        others = rest.anew(ASHA(**{k: v for k, v in rest.scheduler.settings().items() if k != "ranking"}))
        asha = Interval.of([float(others.draw(seed, number)[0] * every) for number in range(draws // 2)])
    return Forecast(
        state.trained, total.less(state.trained), total, seconds,
        None if price is None or seconds is None else seconds.times(price), asha,
        len(state.trials), budget.trials, workers, rest.seen, draws, every,
    )  # fmt: skip


@final
class Ahead:
    """A study from some point on, to be simulated: `facts` say what came before.

    `curves` are those that were seen; the first of them are those of the trials so far, of which there are `begun`.
    """

    def __init__(
        self,
        curves: Curves,
        scheduler: Scheduler,
        mode: Any,
        score: Any,
        budget: Budget,
        workers: int,
        *,
        facts: Sequence[Fact] = (),
        begun: Sequence[int] = (),
        refits: int | None = None,
    ) -> None:
        self._curves, self.scheduler, self._mode, self._score = curves, scheduler, mode, score
        self._budget, self._workers, self._refits = budget, workers, refits
        self._facts, self._begun = facts, begun
        self._rows = self._most()

    @property
    def seen(self) -> int:
        """How many curves there are to learn from."""
        return len(self._curves)

    def reports(self, resource: int) -> int:
        """About how many reports a study has that trains so much."""
        resources = self._curves.resources
        return round(resource * len(resources) / int(resources[-1]))

    def anew(self, scheduler: Scheduler) -> Ahead:
        """The same trials under another scheduler, from the beginning."""
        return Ahead(self._curves, scheduler, self._mode, self._score, self._budget, self._workers, begun=self._begun)

    def _most(self) -> int:
        if self._budget.trials is not None:
            return max(self._budget.trials, len(self._begun))
        return min(ROWS, max(len(self._begun) + 4096, CELLS // len(self._curves.resources)))

    def draw(self, seed: int, number: int) -> tuple[int, float]:
        """One way that it may go on: the resource in the end, and the seconds until then."""
        imagined = Imagined(self._curves, self._begun, self._rows, np.random.default_rng([seed, number]))
        table = CurveTable(imagined.scores, imagined.seconds, mode=self._mode, resources=self._curves.resources)
        imagined.scores, imagined.seconds = table.scores, table.seconds
        space = Space({"row": Integer(0, max(1, self._rows - 1))})
        study = Study(
            space, self.scheduler, in_order(range(self._rows), None, self._rows), mode=self._mode, score=self._score
        )
        decider, state = study.decider, study.state
        for fact in self._facts:
            decider.note(fact)
        decider.opened({} if self._refits is None else {"refit": self._refits})
        study.set_budget(msgspec.structs.replace(self._budget, trials=self._rows))
        workers = _Workers(Clock(table, self._workers), imagined, self._curves.resources)
        ran = state.time.seconds
        decider.elapsed = lambda: ran + workers.now
        limit = math.inf if self._budget.seconds is None else self._budget.seconds - ran
        drive(study, workers, may_give_out=lambda: workers.now < limit)
        wanted = state.refit_wanted if state.has_best else None
        until = None if wanted is None else afford.refit_until(state, wanted, ran + workers.now)
        if until is not None and study.refit(until):
            drive(study, workers, only=lambda job: job.refit)
        return state.trained, workers.now


@final
class _Workers:
    """Those of a clock; a job that was under way goes on from its last report."""

    def __init__(self, clock: Clock, imagined: Imagined, resources: Any) -> None:
        self._clock, self._imagined, self._resources = clock, imagined, resources
        self.capacity = clock.capacity

    @property
    def now(self) -> float:
        return self._clock.now

    def submit(self, job: Job) -> None:
        """Begin a job, whose curve is made up as far as that is needed."""
        self._imagined.reach(job.trial, int(np.searchsorted(self._resources, job.until, side="right")) - 1)
        start = max(job.start, job.reported)
        self._clock.submit(msgspec.structs.replace(job, start=start, config={"row": job.trial}))

    def poll(self, timeout: float) -> list[Message]:
        """What is said up to the next end of a job."""
        return self._clock.poll(timeout)


def ahead(study: Study, budget: Budget, workers: int, every: int = 1) -> Ahead:
    """The rest of `study` under `budget` with so many workers, of one trial in `every`."""
    state = study.state
    curves, begun, most = seen(study, every)
    scheduler = scheduler_looked_at(state.created).up_to(most)
    if every > 1 and budget.trials is not None:
        budget = msgspec.structs.replace(budget, trials=max(1, budget.trials // every))
    return Ahead(
        curves, scheduler, study.mode, study.score, budget, max(1, round(workers / every)),
        facts=list(known(study, every)), begun=begun, refits=state.refit_wanted,
    )  # fmt: skip


def known(study: Study, every: int) -> Iterator[Fact]:
    """The facts of `study` as a simulation is told them: trial i is row i; failures taken back have never been."""
    never = undone(fact for _, fact in study.facts())
    for place, (_, fact) in enumerate(study.facts()):
        if place in never or not isinstance(fact, TOLD):
            continue
        if isinstance(fact, Raised | Ran):
            yield fact
        elif fact.trial % every == 0:
            trial = fact.trial // every
            if isinstance(fact, Started):
                yield Started(trial, {"row": trial}, fact.until)
            else:
                yield msgspec.structs.replace(fact, trial=trial)


def seen(study: Study, every: int) -> tuple[Curves, list[int], int]:
    """The curves of one in `every` trials; which of them is each trial's, -1 for none yet; their last resource.

    Without a `max_resource` they end so far beyond what was trained that nobody comes there.
    """
    state, records = study.state, study.trials[::every]
    reports = [record.reports for record in records]
    which = [number for number, each in enumerate(reports) if each]
    if not which:
        raise InputError("no trial has reported yet, so there is nothing to forecast from")
    if (most := state.max_resource) is None:
        ladder, furthest = _ladder(state.created.scheduler, None), max(record.resource for record in records)
        most = next(level for rung in range(10**6) if (level := ladder.level(rung)) >= UNSEEN * furthest)
    resources = columns(state.created.scheduler, {r for each in reports for r in each}, most)
    scores = np.full((len(which), len(resources)), np.nan)
    seconds = np.zeros(scores.shape)
    ends = np.zeros(len(which), dtype=np.int64)
    for row, number in enumerate(which):
        at = np.searchsorted(resources, [*reports[number]])
        ends[row] = at[-1]
        held = np.diff([*at, at[-1] + 1])  # where it did not report, its last score is held
        scores[row, at[0] : at[-1] + 1] = np.repeat([*reports[number].values()], held)
        seconds[row, at[0] : at[-1] + 1] = np.repeat([*records[number].seconds.values()], held)
        seconds[row, at[-1] :] = seconds[row, at[-1]]
    begun = np.full(len(reports), -1)
    begun[which] = np.arange(len(which))
    return Curves(resources, scores, seconds, ends), begun.tolist(), most


def columns(scheduler: dict[str, Any], reported: set[int], most: int) -> Any:
    """The resources of a simulation's reports: those reported, the rungs, and beyond them steps as long as before."""
    furthest = max(reported)
    last = sorted(reported)[-2:]
    step = max(last[-1] - last[0], 1, (most - furthest) // 256)
    levels = [level for level in _ladder(scheduler, most).levels(99) if level <= most]
    return np.array(sorted({*reported, *levels, *range(furthest, most, step), most}))


def _ladder(scheduler: dict[str, Any], most: int | None) -> Ladder:
    return Ladder(scheduler.get("min_resource", 1), scheduler.get("reduction_factor", 3), most)
