"""What can be asked of a study? All that a `StudyState` says, and whether anything is left to do.

Nothing here changes anything. May import what `study` may.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rungwise import afford, contenders, frames, nearness, replay, summary, turns, waiting
from rungwise.contenders import Contenders
from rungwise.core import SCHEDULERS, Scheduler, SchedulerName, as_scheduler, ceilings
from rungwise.decider import Decider, handed
from rungwise.errors import InputError
from rungwise.events import Created, Fact, Job, Raised, Started
from rungwise.log import Log, StudyError
from rungwise.metrics import Metrics
from rungwise.plot import Figures, figures
from rungwise.recommendation import Certainty
from rungwise.records import BestTrial, Budget, ParetoTrial, TrialRecord, rung_results
from rungwise.search import Searcher
from rungwise.search.looked_at import LookedAt
from rungwise.space import Space
from rungwise.state import StudyState
from rungwise.validation import whole
from rungwise.whatif import Replay, replayed


@turns.in_turn(
    looks=("rows", "rungs", "rung_results", "dataframe", "explain", "contenders", "facts", "plot", "top", "replay")
)
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

    def facts(self, after: int = 0) -> Iterator[tuple[float, Fact]]:
        """All durable facts but the first `after`, each with the time at which it was logged (Unix seconds)."""
        for time, fact in self._log.read(after):
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

    def plot(self, *names: str, metric: str | None = None, at: int | None = None, dark: bool = False) -> Figures:
        """The figures of these `names` (`rungwise.plot.FIGURES`, `OPTUNA`); needs `pip install 'rungwise[plot]'`.

        Without names they are the four that matter: what the best score cost, the learning curves, the ladder, and the
        ceiling with what decided each rise, or the ranks if no ceiling can rise. A notebook shows them;
        `.write_html("figures.html")` writes one page, and `["ladder"]` is a Plotly figure. `metric` names the metric to
        show if there are several. Figures of Optuna's, such as "param_importances", are of the scores `at` one rung.

        Raises `InputError` for an unknown name or metric, and if Plotly is not installed.
        """
        return figures(self, *names, metric=metric, at=at, dark=dark)

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

    def explain(self, trial: int | None = None) -> str:
        """Why the study is where it is: each rise of the ceiling, failures, the best trial, where a budget has gone.

        Also how near the ceiling is to rising, and which trials cannot be told apart from the best (`contenders`). Of
        one `trial` it says why it was promoted, where it waits, and what would promote it. In a study opened to look
        at, the ceiling and a trial take all facts once more: about 6 µs each.

        Raises `InputError` for a trial that there is not. Raises `StudyError` for a trial of a study that is only
        looked at if its scheduler is not one of ours.
        """
        if trial is not None:
            return waiting.in_words(self._decided, trial, (fact for _, fact in self._log.read()))
        if not self._has_ceilings:
            told = summary.story(self._state)
        else:
            decider = self._decided
            near = [nearness.in_words(pasha, decider.state.metrics) for pasha in nearness.ladders(decider.scheduler)]
            told = summary.story(decider.state, ceilings(decider.scheduler), near, self._epsilon)
        return "\n".join([told, *budget_in_words(self)]).lstrip("\n")

    def contenders(self) -> Contenders | None:
        """The trials that cannot be told apart from `best` at the present noise, how it was measured, and what to run.

        None where there is nothing to measure by: no rung below that of the best trial, or no other trial that
        completed two rungs; and with several metrics. Simulated, the best at `max_resource` of all trials within a rung
        of the answer is among them in nine studies of ten; `docs/evidence.md` says where, and where not.

        >>> import numpy as np, rungwise as rw
        >>> losses = np.array([0.10, 0.11, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])[:, None] + 1 / np.arange(1, 10)
        >>> losses[:, 1:] += np.random.default_rng(0).normal(0, 0.02, (9, 8))
        >>> table = rw.CurveTable(losses, mode="min")
        >>> found = rw.simulate("pasha", table, trials=9, rows=range(9), workers=1).study.contenders()
        >>> found.numbers, found.next_run
        ([1, 0], NextRun(until=9, jobs=((0, 3, 9),), units=6))
        """
        state = self._decided.state if self._has_ceilings else self._state
        return contenders.contenders(state, self._epsilon)

    @property
    def _has_ceilings(self) -> bool:
        """Whether the scheduler is one of ours whose ceilings rise: only it knows ε, and who is in which bracket."""
        state = self._state
        return bool(state.ceilings) and not SCHEDULERS.is_foreign(state.created.scheduler.get("name"))

    @property
    def _epsilon(self) -> float | None:
        if not self._has_ceilings or not (winners := self._decided.state.winners):
            return None
        return nearness.epsilon_of(self._decided.scheduler, winners[0])


def budget_in_words(study: Known) -> list[str]:
    """Where the budget of full trainings or the hours have gone, and at the end how much is left, and why."""
    state = study.state
    told = afford.in_words(state)
    elsewhere = study._decides is None and SCHEDULERS.is_elsewhere(state.created.scheduler.get("name"))
    if not told or state.running or elsewhere or not afford.what_is_left(state):
        return told  # looking does not import a scheduler from elsewhere, so it cannot be asked
    decider = study.decider
    if isinstance(decider.searcher, LookedAt) and not decider.finished:
        return [*told, f"{afford.what_is_left(state)}: resume to go on, unless the searcher has no other configuration"]
    return [*told, *afford.left_over(state, decider.refused)]
