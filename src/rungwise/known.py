"""What can be asked of a study? All that a `StudyState` says, and whether anything is left to do.

Nothing here changes anything. May import what `study` may.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rungwise import frames, replay, summary, turns
from rungwise.core import SCHEDULERS, Scheduler, ceilings
from rungwise.decider import Decider, handed
from rungwise.errors import InputError
from rungwise.events import Created, Fact, Job, Raised, Started
from rungwise.log import Log, StudyError
from rungwise.metrics import Metrics
from rungwise.records import BestTrial, Budget, ParetoTrial, TrialRecord, rung_results
from rungwise.search import Searcher
from rungwise.search.looked_at import LookedAt
from rungwise.space import Space
from rungwise.state import StudyState
from rungwise.validation import whole


@turns.in_turn(looks=("rows", "rungs", "rung_results", "dataframe", "explain", "facts", "top"))
class Known(turns.InTurn):
    """The part of a `Study` that looks."""

    _state: StudyState
    _log: Log
    _decides: Decider | None
    """Who decides in the study; None while it is only looked at."""

    @property
    def _decided(self) -> Decider:
        """Who decides, in a study that is looked at too: scheduler and searcher are then told all facts."""
        if self._decides is None:
            created = self._state.created
            with replay.at(self._log.path, 1, by=created.version):
                state, scheduler = StudyState(created, self._state.space), replay.scheduler_looked_at(created)
            looked = Decider(state, self._log, scheduler, LookedAt(state.space, created.searcher))
            facts = self._log.read()
            next(facts)
            looked.follow(facts)
            looked.closed = f"the study {self._log.path} was opened to look at it; say writable=True to go on with it"
            self._decides = looked
        return self._decides

    @property
    def state(self) -> StudyState:
        """How the study stands, as whoever watches it sees it."""
        return self._state

    @property
    def decider(self) -> Decider:
        """Who decides in it, for a loop of its own; it has no lock."""
        return self._decided

    @property
    def scheduler(self) -> Scheduler:
        """What decides how far each trial goes."""
        return self._decided.scheduler

    @property
    def searcher(self) -> Searcher:
        """What proposes configurations; a stand-in that knows its settings where the study is looked at."""
        if self._decides is None:
            return LookedAt(self._state.space, self._state.created.searcher)
        return self._decides.searcher

    @property
    def space(self) -> Space:
        """What configurations are made of."""
        return self._state.space

    @property
    def id(self) -> str:
        """The random name that its checkpoints carry; empty for a study that was begun before there were any."""
        return self._state.created.id

    @property
    def mode(self) -> str | dict[str, str]:
        """Whether scores are to be minimized, "min", or "max"; of several metrics a dict of them."""
        return self._state.created.mode

    @property
    def score(self) -> str:
        """Which of a trial's reports counts: the "last" or the "best"."""
        return self._state.created.score

    @property
    def seed(self) -> int:
        """Configuration n is drawn with `numpy.random.default_rng([seed, n])`."""
        return self._state.created.seed

    @property
    def metrics(self) -> Metrics:
        """What scores mean."""
        return self._state.metrics

    @property
    def trials(self) -> list[TrialRecord]:
        """A record a trial, in the order of their numbers."""
        return self._state.trials

    @property
    def budget(self) -> Budget:
        """The totals at which no more work is given out."""
        return self._state.budget

    @property
    def rises(self) -> list[Raised]:
        """The rises of the ceiling, in their order."""
        return self._state.rises

    @property
    def failures(self) -> list[tuple[int, str]]:
        """(trial, reason) of the jobs that failed, refits too, in their order."""
        return self._state.failures

    @property
    def resource_used(self) -> int:
        """How much training was reported, refits aside."""
        return self._state.resource_used

    @property
    def running_seconds(self) -> float:
        """For how long the study has been run, in seconds, as far as its log tells."""
        return self._state.time.seconds

    @property
    def running(self) -> list[Job]:
        """The jobs that are under way, in the order given out."""
        return [handed(job) for job in self._state.running.values()]

    @property
    def waiting(self) -> bool:
        """Whether there are jobs that were given out, broke off or were never begun, and are next."""
        return bool(self._state.again)

    @property
    def finished(self) -> bool:
        """Whether nothing is running and no more work will be given out under the budget.

        A study that is only looked at does not know whether its grid is at its end.
        """
        return self._decided.finished

    @property
    def target_reached(self) -> bool:
        """Whether a score as good as the target was reported."""
        return self._state.target_reached

    @property
    def has_best(self) -> bool:
        """Whether any trial has completed a rung with a finite score, in each metric."""
        return self._state.has_best

    @property
    def front(self) -> list[ParetoTrial]:
        """The answer of a study with several metrics: the Pareto front at the highest rung, in the order of completion.

        Raises `StudyError` where there is one metric, which has one `best`.
        """
        return self._state.front

    @property
    def best(self) -> BestTrial:
        """The chosen trial. Raises `StudyError` while no trial has completed a rung with a finite score."""
        return self._state.best

    def top(self, k: int = 10) -> list[TrialRecord]:
        """The `k` best trials: first those that completed the highest rung, in a rung those with the best scores.

        A score at 1 epoch does not compete with one at 81. Each trial stands at the highest rung that it completed
        (`paused_at`), with its score there; among equals the trial of `best` comes first, then the lower number. Trials
        that failed, or whose score there is not finite, are left out.

        Raises `StudyError` where there are several metrics: their answer is `front`.
        """
        if self._state.metrics.names:
            raise StudyError("a study with several metrics has no one order of trials: its answer is study.front")
        if whole(k, "k") < 0:
            raise InputError(f"k must be 0 or more, not {k!r}")
        return summary.top(self._state, whole(k, "k"))

    @property
    def folder(self) -> Path | None:
        """Where the trials' folders are."""
        return self._state.folder

    @property
    def path(self) -> Path | None:
        """The file of the study; None in memory."""
        return self._log.path

    def facts(self) -> Iterator[tuple[float, Fact]]:
        """All facts that are durable, with the times at which they were noted (Unix seconds)."""
        for time, fact in self._log.read():
            yield time, copy.deepcopy(fact) if isinstance(fact, Created | Started) else fact

    def rungs(self) -> list[tuple[int, int, int, float | None]]:
        """A row a level that has results, from the top: level, completed, running to it, best score."""
        return self._state.rungs()

    def rows(self, *, reports: bool = False) -> list[dict[str, Any]]:
        """A dict a trial (with the score that counts: its last, or its best), or with `reports` one a report.

        Keys: trial, state, resource, score (score.NAME for each of several metrics), seconds, failure and
        refit_failure (with `reports` refit in their place), and config.NAME for each parameter that exists under the
        values of the others. A state is that of the record, but "waiting" for "running" where no process holds the
        study's file: whoever drove it was killed, or has ended.
        """
        return summary.rows(self._state, self._log.path, reports=reports)

    def rung_results(self, score: str | None = None) -> list[dict[str, Any]]:
        """A dict a trial that has ended a job: "config", and "results", [level, loss] at the rungs that it completed.

        A loss that is not finite is None; so is the last of a trial that failed. `score` is how to count, "last" or
        "best", if not as this study does.
        """
        metrics = self._state.metrics if score is None else Metrics(self._state.created.mode, score)
        return rung_results(self._state.trials, self._state.completed, metrics)

    def dataframe(self, *, reports: bool = False) -> Any:
        """`rows` as a pandas DataFrame; needs `pip install 'rungwise[frames]'`.

        A parameter that does not exist is NaN there; the choice None is None.
        """
        names = frames.columns(self._state.space, self._state.metrics.names, reports=reports)
        return frames.dataframe(self.rows(reports=reports), names, self._state.space)

    def __repr__(self) -> str:
        """Where it is, how many trials it has, its best score."""
        with self._turn:
            return f"<{summary.headline(self._state, self._log.path)}>"

    def _repr_html_(self) -> str:
        """For notebooks: the same, and a table of the best trials."""
        with self._turn:
            return summary.as_html(self._state, self._log.path)

    def explain(self) -> str:
        """Why the study stands where it stands: each rise of the ceiling, failures, the best trial."""
        state = self._state
        several = len(state.ceilings or ()) > 1 and not SCHEDULERS.is_foreign(state.created.scheduler.get("name"))
        # only the scheduler knows which trial is in which bracket
        return summary.story(state, ceilings(self._decided.scheduler) if several else None)
