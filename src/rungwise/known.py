"""What can be asked of a study? All that a `StudyState` says, and whether anything is left to do.

Nothing here changes anything. May import what `study` may.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rungwise import afford, frames, replay, summary, turns
from rungwise.core import SCHEDULERS, Scheduler, SchedulerName, as_scheduler, ceilings
from rungwise.decider import Decider, handed
from rungwise.errors import InputError
from rungwise.events import Created, Fact, Job, Raised, Started
from rungwise.log import Log, StudyError
from rungwise.metrics import Metrics
from rungwise.recommendation import Certainty
from rungwise.records import BestTrial, Budget, ParetoTrial, TrialRecord, rung_results
from rungwise.search import Searcher
from rungwise.search.looked_at import LookedAt
from rungwise.space import Space
from rungwise.state import StudyState
from rungwise.validation import whole
from rungwise.whatif import Replay, replayed


@turns.in_turn(looks=("rows", "rungs", "rung_results", "dataframe", "explain", "facts", "top", "replay"))
class Known(turns.InTurn):
    """The part of a `Study` that looks."""

    _state: StudyState
    _log: Log
    _address: str | None
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
            looked.closed = f"the study {self._log.path} was opened read-only; pass writable=True to change it"
            self._decides = looked
        return self._decides

    @property
    def state(self) -> StudyState:
        """The study's state, as observers see it."""
        return self._state

    @property
    def decider(self) -> Decider:
        """The object that makes the decisions, for a loop of your own; it has no lock."""
        return self._decided

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler, which decides how far each trial goes."""
        return self._decided.scheduler

    @property
    def searcher(self) -> Searcher:
        """The searcher, which proposes configurations; in a study opened to look at, a stand-in with its settings."""
        if self._decides is None:
            return LookedAt(self._state.space, self._state.created.searcher)
        return self._decides.searcher

    @property
    def space(self) -> Space:
        """The search space."""
        return self._state.space

    @property
    def id(self) -> str:
        """The random id that the study's checkpoints carry; empty for studies from before there were ids."""
        return self._state.created.id

    @property
    def mode(self) -> str | dict[str, str]:
        """The mode, "min" or "max": whether lower or higher scores are better. For several metrics, a dict of these."""
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
        """The metrics, with their modes."""
        return self._state.metrics

    @property
    def trials(self) -> list[TrialRecord]:
        """One record per trial, in order of number."""
        return self._state.trials

    @property
    def budget(self) -> Budget:
        """The totals at which no more work is given out."""
        return self._state.budget

    @property
    def rises(self) -> list[Raised]:
        """The rises of the ceiling, in order."""
        return self._state.rises

    @property
    def failures(self) -> list[tuple[int, str]]:
        """(trial, reason) for each failed job, including refits, in order."""
        return self._state.failures

    @property
    def resource_used(self) -> int:
        """The resource trained so far, as reported, without refits."""
        return self._state.resource_used

    @property
    def running_seconds(self) -> float:
        """How many seconds the study has run, over all sessions."""
        return self._state.time.seconds

    @property
    def running(self) -> list[Job]:
        """The running jobs, in the order in which they were given out."""
        return [handed(job) for job in self._state.running.values()]

    @property
    def waiting(self) -> bool:
        """Whether interrupted jobs, or jobs that were given out but never begun, are waiting to be given out again."""
        return bool(self._state.again)

    @property
    def finished(self) -> bool:
        """Whether nothing is running and no more work will be given out under the budget.

        A study opened to look at does not know whether its grid has been used up.
        """
        return self._decided.finished

    @property
    def target_reached(self) -> bool:
        """Whether a score as good as the target was reported."""
        return self._state.target_reached

    @property
    def has_best(self) -> bool:
        """Whether any trial has completed a rung with a finite score in each metric."""
        return self._state.has_best

    @property
    def front(self) -> list[ParetoTrial]:
        """The answer of a study with several metrics: the Pareto front at the highest rung, in order of completion.

        Under other schedulers than ASHA and PASHA, at the highest that 5 trials have completed, if there is one.

        Raises `StudyError` if the study has one metric; then use `best`.
        """
        return self._state.front

    @property
    def best(self) -> BestTrial:
        """The best trial. Raises `StudyError` until a trial has completed a rung with a finite score."""
        return self._state.best

    @property
    def certainty(self) -> Certainty | None:
        """How sure `best` is: how many trials at its rung may be as good, by how much gaps change from rung to rung.

        None where nothing stands beside it: no other trial at its rung, or no rung below; and with several metrics.
        """
        return summary.certainty(self._state)

    def top(self, k: int = 10) -> list[TrialRecord]:
        """The `k` best trials: `best`, then from the highest rung down, and within a rung by score.

        A score at 1 epoch does not compete with one at 81. Each trial counts at the highest rung that it completed
        (`paused_at`), with its score there. Among equals the lower number comes first. Trials that failed, or whose
        score there is not finite, are omitted.

        Raises `StudyError` if the study has several metrics; then use `front`.
        """
        if self._state.metrics.names:
            raise StudyError("with several metrics trials have no single order; use study.front")
        if whole(k, "k") < 0:
            raise InputError(f"k must be 0 or more, not {k!r}")
        return summary.top(self._state, whole(k, "k"))

    @property
    def folder(self) -> Path | None:
        """The folder that holds the trials' folders."""
        return self._state.folder

    @property
    def path(self) -> Path | None:
        """The study's file; None in memory."""
        return self._log.path

    @property
    def address(self) -> str | None:
        """Where its log is copied to, or came from, if that is a bucket."""
        return self._address

    def facts(self) -> Iterator[tuple[float, Fact]]:
        """All durable facts, each with the time at which it was logged (Unix seconds)."""
        for time, fact in self._log.read():
            yield time, copy.deepcopy(fact) if isinstance(fact, Created | Started) else fact

    def rungs(self) -> list[tuple[int, int, int, float | None]]:
        """One row per level with results, from the top: level, trials that completed it, running to it, best score."""
        return self._state.rungs()

    def rows(self, *, reports: bool = False) -> list[dict[str, Any]]:
        """One dict per trial, with the score that counts (last or best), or with `reports` one per report.

        Keys: trial, state, resource, score (score.NAME for each of several metrics), seconds, failure and
        refit_failure (with `reports`, refit instead of these two), and config.NAME for each active parameter. The state
        is that of the record, but "waiting" instead of "running" if no process holds the study's file, because its
        driver has ended or was killed.
        """
        return summary.rows(self._state, self._log.path, reports=reports)

    def rung_results(self, score: str | None = None) -> list[dict[str, Any]]:
        """One dict per trial that has ended a job: "config", and "results", [level, loss] at each completed rung.

        A non-finite loss is None, as is the last loss of a failed trial. `score`, "last" or "best", overrides the
        study's own.
        """
        metrics = self._state.metrics if score is None else Metrics(self._state.created.mode, score)
        return rung_results(self._state.trials, self._state.completed, metrics)

    def dataframe(self, *, reports: bool = False) -> Any:
        """`rows` as a pandas DataFrame; needs `pip install 'rungwise[frames]'`.

        An inactive parameter is NaN; the choice None is None.
        """
        names = frames.columns(self._state.space, self._state.metrics.names, reports=reports)
        return frames.dataframe(self.rows(reports=reports), names, self._state.space)

    def __repr__(self) -> str:
        """The study's file, its number of trials, and its best score."""
        with self._turn:
            return f"<{summary.headline(self._state, self._log.path)}>"

    def _repr_html_(self) -> str:
        """As `repr`, with a table of the best trials, for notebooks."""
        with self._turn:
            return summary.as_html(self._state, self._log.path)

    def replay(self, scheduler: Scheduler | SchedulerName | str | dict[str, Any]) -> Replay:
        """What `scheduler` would have decided with the same trials: the recorded curves, in the order of the log.

        Without a `max_resource` of its own it gets the study's. Nothing is made up: a job ends where the record of its
        trial ends, and is counted in `unknown`. The study's own scheduler decides as it did. Seconds and hours as
        totals are left out, and a failure that was taken back has never been.

        >>> import rungwise as rw
        >>> curves = rw.CurveTable([[1.0, 2.0, 3.0]] * 9, mode="max")
        >>> study = rw.simulate("asha", curves, trials=9).study
        >>> study.replay("asha").same, study.replay("full").missing > 0
        (True, True)

        Raises `InputError` for a scheduler that cannot be, and one of one metric in a study of several.
        """
        fresh = as_scheduler(scheduler, self._state.max_resource)
        return replayed([fact for _, fact in self._log.read()], self._state, fresh)

    def explain(self) -> str:
        """Why the study is where it is: each rise of the ceiling, failures, the best trial, where a budget has gone."""
        state = self._state
        several = len(state.ceilings or ()) > 1 and not SCHEDULERS.is_foreign(state.created.scheduler.get("name"))
        # only the scheduler knows which trial is in which bracket
        told = summary.story(state, ceilings(self._decided.scheduler) if several else None)
        if not state.budget.keeps:
            return told
        elsewhere = self._decides is None and SCHEDULERS.is_elsewhere(state.created.scheduler.get("name"))
        refused = None if elsewhere else self._decided.refused  # looking does not import it, so it cannot be asked
        return "\n".join([told, *afford.in_words(state), *afford.why_not(state, refused)]).lstrip("\n")
