"""What is drawn of a study? Its state and its facts, in one metric, and which trials come first.

Imports what stands below `known`, and no plotly.
"""

from __future__ import annotations

import functools
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import final

from rungwise import replay
from rungwise.core import SCHEDULERS
from rungwise.core.pasha import PASHA
from rungwise.core.ranking import SoftRanking
from rungwise.errors import InputError, suggestion
from rungwise.events import Event, Fact, Raised, Result
from rungwise.log import undone
from rungwise.plot.stretches import Stretches, stretches
from rungwise.records import TrialRecord
from rungwise.state import StudyState
from rungwise.watched import watched

SAMPLES = 300  # of ε over the life of a study: it takes a percentile of half a million distances at most


@final
class Studied:
    """The `study` as its figures see it, in one `metric`: None where there is only one.

    Everything is read once, when it is first wanted. `created` is the study's first fact. Raises `InputError` for a
    metric that the study has not.
    """

    def __init__(self, study: object, metric: str | None = None, *, what: str = "a figure") -> None:
        self.study = watched(study, what)
        self.created = self.study.state.created
        names = self.study.state.metrics.names
        if metric is not None and metric not in names:
            one = f"the study has one metric: leave metric={metric!r} out"
            raise InputError(f"the study has no metric {metric!r}{suggestion(metric, names)}" if names else one)
        self.metric = metric
        self._place = names.index(metric) if metric is not None else 0

    def one_metric(self, what: str) -> None:
        """Raise `InputError` if the study has several metrics and none was named."""
        names = self.study.state.metrics.names
        if names and self.metric is None:
            raise InputError(f"{what} shows one metric, and the study has {', '.join(names)}: metric={names[0]!r}?")

    @property
    def score_name(self) -> str:
        """What an axis of scores is called."""
        return self.metric or "score"

    @property
    def higher_is_better(self) -> bool:
        """Whether it is, in the metric that is shown."""
        mode = self.created.mode
        return (mode if isinstance(mode, str) else mode[self.metric or next(iter(mode))]) == "max"

    @functools.cached_property
    def facts(self) -> list[tuple[float, Fact]]:
        """All facts with their times."""
        return list(self.study.facts())

    @property
    def begun(self) -> StudyState:
        """The state at its beginning, a fresh one."""
        return StudyState(self.created, self.study.state.space)

    @functools.cached_property
    def state(self) -> StudyState:
        """The state that `facts` led to: that of a study that runs, or is looked at, may be of another moment."""
        state = self.begun
        for state, _ in self.folded():  # noqa: B007
            pass
        return state

    @functools.cached_property
    def stretches(self) -> Stretches:
        """When which trial was trained from where to where."""
        with replay.at(self.study.path):
            return stretches(self.facts)

    def folded(self, tell: Callable[[Event], None] | None = None) -> Iterator[tuple[StudyState, Fact]]:
        """Each fact after the first, with the state that it led to; `tell` is told what follows from it."""
        state = self.begun
        for number, (time, fact) in enumerate(self.facts[1:], start=2):
            replay.apply(self.study.path, state, number, fact, time, tell)
            yield state, fact

    @functools.cached_property
    def noise(self) -> list[tuple[int, float]]:
        """(resource used, ε) at most `SAMPLES` times over the life of the study; empty if its ranking has no ε.

        The facts are told to a fresh scheduler, without the failures that were taken back.
        """
        created = self.created
        if created.scheduler.get("name") != PASHA.name or SCHEDULERS.is_foreign(created.scheduler.get("name")):
            return []
        scheduler = replay.scheduler_looked_at(created)
        if not isinstance(scheduler, PASHA) or not isinstance(ranking := scheduler.ranking, SoftRanking):
            return []
        with replay.at(self.study.path):
            never = undone(fact for _, fact in self.facts)
        found: list[tuple[int, float]] = []
        scheduler.tell(created)
        news: list[Event] = []
        next_at = 0.0
        for place, (state, _) in enumerate(self.folded(news.append), start=1):
            while news:
                event = news.pop()
                if place in never:
                    continue
                scheduler.tell(event)
                at_top = isinstance(event, Result) and event.level == scheduler.open_level
                if isinstance(event, Raised) or (at_top and state.resource_used >= next_at):
                    found.append((state.resource_used, _epsilon(scheduler, ranking)))
                    next_at = state.resource_used + self.state.resource_used / SAMPLES
        return found

    @property
    def epsilon(self) -> float | None:
        """ε as of now; None if there is none."""
        return self.noise[-1][1] if self.noise else None

    def scores(self, record: TrialRecord) -> list[tuple[int, float]]:
        """(resource, score) at each report of a trial, in the metric that is shown; nan where it was not finite."""
        rows = record.all_reports.of(record.number)
        return [(int(row[0]), row[2 + self._place]) for row in rows]

    def score_at(self, record: TrialRecord, level: int) -> float:
        """The score of a trial that counts at a resource: its last by then, or its best; nan if it has none."""
        metrics, found = self.state.metrics, self.scores(record)
        found = found[: bisect_right(found, level, key=lambda row: row[0])]
        if not found:
            return math.nan
        return min(map(self._counts, found))[1] if metrics.best else found[-1][1]

    def _counts(self, row: tuple[int, float]) -> tuple[float, float]:
        return self.loss(row[1]), row[1]

    def loss(self, score: float) -> float:
        """What of a score is to be minimized; `inf` if it is not finite."""
        return math.inf if not math.isfinite(score) else -score if self.higher_is_better else score

    @functools.cached_property
    def order(self) -> list[TrialRecord]:
        """The trials, best first: the answer, then from the highest rung down, in a rung by score.

        Behind them those that have failed, or have no finite score there.
        """
        answer = set(self.state.winners)

        def key(record: TrialRecord) -> tuple[object, ...]:
            loss = self.loss(self.score_at(record, record.paused_at or record.resource))
            lost = record.failure is not None or loss == math.inf
            return record.number not in answer, lost, -record.paused_at, loss, record.number

        return sorted(self.state.trials, key=key)

    @property
    def best(self) -> int | None:
        """The number of the best trial; None while there is none, and of several metrics."""
        return self.state.best.number if self.state.has_best and not self.state.metrics.names else None


def _epsilon(scheduler: PASHA, ranking: SoftRanking) -> float:
    return scheduler.epsilon if isinstance(ranking.epsilon, str) else ranking.epsilon
