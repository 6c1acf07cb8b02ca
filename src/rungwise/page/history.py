"""What has happened, and when? A study's facts folded once more, with what its state alone does not keep.

May import what stands below `snapshot`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, final

from rungwise import replay
from rungwise.events import (
    Completed,
    Created,
    Enqueued,
    Event,
    Extended,
    Fact,
    Failed,
    Lengthened,
    Promoted,
    Raised,
    Refitted,
    Result,
    Retried,
    Started,
    TakenBack,
)
from rungwise.explain import in_words
from rungwise.log import StudyError
from rungwise.space import Space
from rungwise.state import StudyState

DECISIONS = 200
"""So many of the last decisions are kept."""
DECIDED = (Started, Promoted, Raised, Failed, Retried, Refitted, TakenBack, Lengthened, Extended, Enqueued)


class Answer(NamedTuple):
    """From here on, `seconds` of running and `resource` of training, `trial` is the answer: `score` at `level`."""

    seconds: float
    resource: int
    trial: int
    level: int
    score: float


class Ceiling(NamedTuple):
    """From here on the ceiling of `bracket` is `level`."""

    seconds: float
    resource: int
    bracket: int
    level: int


@final
class History:
    """The `state` of a study after the facts that it was given, and how it came to that.

    `answers` has a row for each answer, where there is one metric; `ceilings` one for each rise, after the first of
    each bracket. `results` has, for each rung, the first loss and the number of each trial that completed it;
    `went_on` the trials that were promoted from it, `paused` by trial the rungs at which its jobs ended. `last` is when
    the last fact was noted (Unix seconds; 0 in memory).

    >>> from rungwise.events import Reported, Started
    >>> created = Created({"x": {"type": "float", "low": 0, "high": 1}}, {"name": "asha"}, {}, "max", 0, "1")
    >>> facts = [Started(0, {"x": 0.5}, 1), Reported(0, 1, 0.9), Completed(0)]
    >>> history = History.of([(0.0, fact) for fact in (created, *facts)])
    >>> history.answers, history.results
    ([Answer(seconds=0.0, resource=1, trial=0, level=1, score=0.9)], {1: [(-0.9, 0)]})
    """

    def __init__(
        self, created: Created, space: Space | None = None, folder: Path | None = None, path: Path | None = None
    ) -> None:
        self.state = StudyState(created, space, folder)
        self.path = path
        self.last = 0.0
        self.answers: list[Answer] = []
        self.ceilings = [Ceiling(0.0, 0, *each) for each in enumerate(self.state.ceilings or ())]
        self.results: dict[int, list[tuple[float, int]]] = {}
        self.went_on: dict[int, set[int]] = {}
        self.paused: dict[int, list[int]] = {}
        self._decisions: deque[tuple[float, Fact]] = deque(maxlen=DECISIONS)
        self._known = 1

    @staticmethod
    def of(
        facts: Iterable[tuple[float, Fact]],
        space: Space | None = None,
        folder: Path | None = None,
        path: Path | None = None,
    ) -> History:
        """The history of the study that `facts` tell of, from the first on."""
        history = None
        for time, fact in facts:
            if history is not None:
                history.take(time, fact)
            elif isinstance(fact, Created):
                history = History(fact, space, folder, path)
                history.last = time
            else:
                break
        if history is None:
            raise StudyError(f"{path} holds no study yet")
        return history

    def take(self, time: float, fact: Fact) -> None:
        """The next fact, noted at `time`. `StudyError` for one that cannot follow."""
        state, self.last, self._known = self.state, time, self._known + 1
        at = state.trials[fact.trial].paused_at if isinstance(fact, Promoted) and _known(state, fact) else 0
        told: list[Event] = []
        replay.apply(self.path, state, self._known, fact, time, told.append)
        if isinstance(fact, Promoted):
            self.went_on.setdefault(at, set()).add(fact.trial)
        elif isinstance(fact, Raised):
            self.ceilings.append(Ceiling(state.time.seconds, state.resource_used, fact.bracket, fact.until))
        elif isinstance(fact, Completed) and told and isinstance(told[0], Result):
            self._completed(told[0])
        if isinstance(fact, DECIDED):
            self._decisions.append((time, fact))

    def _completed(self, result: Result) -> None:
        state = self.state
        self.results.setdefault(result.level, []).append((result.losses[0], result.trial))
        self.paused.setdefault(result.trial, []).append(result.level)
        if state.metrics.names or not (winners := state.winners):
            return
        last = self.answers[-1] if self.answers else None
        if last is None or winners[0] != last.trial or result.trial == last.trial:
            best = state.best
            answer = Answer(state.time.seconds, state.resource_used, best.number, best.resource, best.score)
            if last is None or answer[2:] != last[2:]:
                self.answers.append(answer)

    @property
    def decisions(self) -> list[tuple[float, str]]:
        """The last decisions, each with when it was noted, the newest last."""
        return [(time, in_words(fact)[1]) for time, fact in self._decisions]


def _known(state: StudyState, fact: Promoted) -> bool:
    return 0 <= fact.trial < len(state.trials)
