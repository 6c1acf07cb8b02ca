"""What would another scheduler have decided? The recorded curves, decided anew in the order of the log.

What nobody trained is not guessed: a job that needs it ends where the record ends, and is counted as unknown.
May import what stands below `known`.
"""

from __future__ import annotations

import heapq
import inspect
import math
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, final

import msgspec

from rungwise.core import SCHEDULERS, Scheduler
from rungwise.decider import Decider
from rungwise.errors import InputError
from rungwise.events import (
    Completed,
    Config,
    Event,
    Extended,
    Fact,
    Failed,
    Job,
    Promoted,
    Raised,
    Refitted,
    Reported,
    Started,
)
from rungwise.log import MemoryLog, StudyError, undone
from rungwise.records import BestTrial, as_config
from rungwise.space import Rng
from rungwise.state import StudyState
from rungwise.words import counted

Decision = Started | Promoted | Raised


@final
class Replay(msgspec.Struct, frozen=True):
    """What `scheduler` would have decided in a study.

    `decisions` are its own, `recorded` those of the study, in their order; `state` is how the replay ended.
    `unknown` holds (trial, the last resource known, until) of the jobs that nobody trained as far; they would have
    needed `missing` more resource. So many of the decisions `hang` on them: promotions from, and rises at, a rung that
    lacks a result.
    """

    scheduler: Scheduler
    decisions: list[Decision]
    recorded: list[Decision]
    state: StudyState
    unknown: list[tuple[int, int, int]]
    missing: int
    hang: int

    @property
    def resource(self) -> int:
        """The resource trained, as far as it is known."""
        return self.state.resource_used

    @property
    def ceiling(self) -> int:
        """The highest rung that anybody completed, as far as it is known."""
        return max(self.state.completed, default=0)

    @property
    def best(self) -> BestTrial | None:
        """Its answer; None if it has none, or if there are several metrics."""
        return self.state.best if self.state.has_best and not self.state.metrics.names else None

    @property
    def promotions(self) -> tuple[int, int, int]:
        """How many promotions are in both; in the replay alone; in the study alone."""
        mine, theirs = (
            {(one.trial, one.until) for one in decisions if isinstance(one, Promoted)}
            for decisions in (self.decisions, self.recorded)
        )
        return len(mine & theirs), len(mine - theirs), len(theirs - mine)

    @property
    def same(self) -> bool:
        """Whether each decision is the study's own."""
        return self.decisions == self.recorded

    def __str__(self) -> str:
        """In words, a line each."""
        more = f", and {self.missing:,} more that nobody trained" if self.missing else ""
        both, here, there = self.promotions
        lines = [
            f"{self.scheduler.name}: {self.resource:,} of resource{more}; the highest rung completed is {self.ceiling}",
            f"promotions: {both} as in the study, {here} others, {there} of the study's not",
        ]
        if (best := self.best) is not None:
            lines.append(f"answer: trial {best.number}, {best.score:.6g} at {best.resource}")
        if self.unknown:
            lines.append(
                f"not known: {counted(len(self.unknown), 'job')} went further than anybody trained; "
                f"{counted(self.hang, 'decision')} of {len(self.decisions)} hang on them"
            )
        return "\n".join(lines)


def changed(scheduler: dict[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a `scheduler` with those `chosen` over them; of another one, those that it has too.

    Raises `StudyError` for a scheduler that is not one of ours: looking at a file must not import what it names.

    >>> changed({"name": "pasha", "max_resource": 81, "ranking": {"name": "soft"}}, {"name": "asha"})
    {'name': 'asha', 'max_resource': 81}
    """
    settings = {**scheduler, **chosen}
    if SCHEDULERS.is_elsewhere(name := settings.get("name")):
        raise StudyError(f"looking at a study does not import its scheduler {name}: name another, --scheduler asha")
    has = inspect.signature(SCHEDULERS.named(name)).parameters
    if wrong := [name for name in chosen if name != "name" and name not in has]:
        raise InputError(f"{name} has no {wrong[0]}; it has {', '.join(has)}")
    return {name: value for name, value in settings.items() if name == "name" or name in has}


def replayed(facts: Sequence[Fact], state: StudyState, scheduler: Scheduler) -> Replay:
    """Decide the study that `facts` tell, from `Created` on, with `scheduler`, which is told nothing yet.

    `state` is how the study stands after them. A report is heard when the log heard it, or at once if that was before
    its job began; at each point as many jobs are under way as were then. After the end of the log, if nothing was under
    way and no trials were left to start, it goes on until nothing is left to decide. Where a failure was taken back,
    it has never been. Totals are those of the study, save seconds and hours.

    Raises `InputError` where the study has several metrics and `scheduler` takes one.
    """
    if state.metrics.names and not getattr(scheduler, "several_metrics", False):
        raise InputError(f"{scheduler.name} takes one metric; this study has {', '.join(state.metrics.names)}")
    return _Again(facts, state, scheduler).run()


@final
class _Again:
    def __init__(self, facts: Sequence[Fact], recorded: StudyState, scheduler: Scheduler) -> None:
        never = undone(facts)
        self._facts = [(place, fact) for place, fact in enumerate(facts) if place not in never]
        self._recorded, self._last = recorded, len(facts)
        self._scheduler = scheduler
        settings = {"name": scheduler.name, **scheduler.settings()}
        self._state = StudyState(msgspec.structs.replace(recorded.created, scheduler=settings), recorded.space)
        self._log = MemoryLog()
        searcher = _Recorded([record.json for record in recorded.trials])
        self._decider = Decider(self._state, self._log, scheduler, searcher)
        self._said: dict[int, list[tuple[int, Fact]]] = {}  # trial -> its reports and failures, with their places
        self._ends: dict[int, dict[int, int]] = {}  # trial -> the levels that it completed, and where the log says so
        self._heap: list[tuple[int, int, int, list[tuple[int, Fact | None]]]] = []
        self._number = count()
        self._running = 0
        self._unknown: list[tuple[int, int, int]] = []
        self._hang = self._seen = 0
        self._read()

    def _read(self) -> None:
        until: dict[int, int] = {}
        for place, fact in self._facts:
            if isinstance(fact, Started | Promoted | Refitted):
                until[fact.trial] = fact.until
            elif isinstance(fact, Reported | Failed):
                self._said.setdefault(fact.trial, []).append((place, fact))
            elif isinstance(fact, Completed):
                self._ends.setdefault(fact.trial, {})[until[fact.trial]] = place

    def run(self) -> Replay:
        """Decide it all."""
        most = 0
        open_jobs: set[int] = set()
        for place, fact in self._facts:
            if isinstance(fact, Extended):
                self._decider.note(msgspec.structs.replace(fact, seconds=None, hours=None))
            if isinstance(fact, Started | Promoted):
                open_jobs.add(fact.trial)
            elif isinstance(fact, Completed | Failed):
                open_jobs.discard(fact.trial)
            most = max(most, len(open_jobs))
            self._go(place, len(open_jobs))
        total = self._state.budget.trials
        if not open_jobs and (total is None or len(self._recorded.trials) >= total):
            self._go(math.inf, most)
        told = [fact for _, fact in self._log.read()]
        missing = sum(until - known for _, known, until in self._unknown)
        recorded = [fact for _, fact in self._facts if isinstance(fact, Decision)]
        decisions = [fact for fact in told if isinstance(fact, Decision)]
        return Replay(self._scheduler, decisions, recorded, self._state, self._unknown, missing, self._hang)

    def _go(self, now: float, busy: int) -> None:
        """Hear what the log has said up to `now`, and give out jobs until `busy` are under way."""
        while True:
            if self._heap and self._heap[0][0] <= now:
                self._hear()
            elif self._running >= busy or (job := self._decider.hand_out(again=False)) is None:
                break
            else:
                self._running += 1
                self._begin(job)
            self._count()

    def _begin(self, job: Job) -> None:
        """What the record says of `job`, in its order; at the end None if that is not enough."""
        trial, known = job.trial, job.start
        said: list[tuple[int, Fact | None]] = []
        end = self._ends.get(trial, {}).get(job.until)
        for place, fact in self._said.get(trial, []):
            if isinstance(fact, Failed):
                if end is None and known < job.until:
                    said.append((place, fact))
                    break
            elif isinstance(fact, Reported) and job.start < fact.resource <= job.until:
                said.append((place, fact))
                known = fact.resource
        if not said or not isinstance(said[-1][1], Failed):
            last = said[-1][0] if said else 0
            if end is not None or known == job.until:
                said.append((last if end is None else end, Completed(trial)))
            else:
                under_way = trial in self._recorded.running  # at the end of the log, to which it keeps its place
                said.append((self._last + 1 if under_way else last, None))
                self._unknown.append((trial, known, job.until))
        heapq.heappush(self._heap, (said[0][0], next(self._number), job.until, said))

    def _hear(self) -> None:
        _, number, until, said = heapq.heappop(self._heap)
        _, fact = said.pop(0)
        if isinstance(fact, Reported):
            self._decider.report(fact)
        elif isinstance(fact, Completed | Failed):
            self._decider.take(fact)
        if said:
            heapq.heappush(self._heap, (said[0][0], number, until, said))
        else:
            self._running -= 1

    def _count(self) -> None:
        """Count the decisions since then that hang on a result that is not known."""
        lacking = min((until for _, _, until in self._unknown), default=math.inf)
        new = [fact for _, fact in self._log.read(self._seen)]
        self._seen += len(new)
        for fact in new:
            if isinstance(fact, Promoted):
                self._hang += self._state.trials[fact.trial].paused_at >= lacking
            elif isinstance(fact, Raised):
                self._hang += fact.level >= lacking


@final
class _Recorded:
    """A searcher that proposes the recorded configurations, in their order."""

    name = "recorded"

    def __init__(self, configs: Sequence[bytes]) -> None:
        self._configs, self._started = configs, 0

    def propose(self, rng: Rng) -> Config | None:
        return as_config(self._configs[self._started]) if self._started < len(self._configs) else None

    def tell(self, event: Event) -> None:
        self._started += type(event) is Started

    def settings(self) -> dict[str, object]:
        return {}
