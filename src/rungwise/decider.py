"""Who trains next, with what configuration, and how far? State, scheduler, searcher and log, joined.

Every change is a fact that is appended to the log, applied to the state, and told to scheduler and searcher; opening a
log does the last two again, in order, without deciding anything a second time. The loop drives this; `Study` is the
door for everybody else. Has no clock, no lock and starts no work. May import everything below `study`.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, final

import msgspec

from rungwise import afford, replay
from rungwise.answer_check import checked_answer, shown_scheduler
from rungwise.core import SCHEDULERS, Scheduler
from rungwise.events import (
    Answer,
    Completed,
    Config,
    Event,
    Excused,
    Fact,
    Failed,
    Job,
    Opened,
    Promote,
    Raise,
    Ran,
    Report,
    Reported,
    Retried,
    Start,
    Started,
    TakenBack,
    Wait,
)
from rungwise.log import Log, StudyError, undone
from rungwise.observers import Observers
from rungwise.search import Searcher
from rungwise.search.intake import checked, exhausted, is_ours, own
from rungwise.state import StudyState
from rungwise.validation import copied
from rungwise.version import __version__


@final
class Decider:
    """Decides in the study that `log` holds; `state` is how it stands, `scheduler` and `searcher` are told nothing yet.

    Facts are durable after `flush`. `elapsed` says for how many seconds the study has run, which a run knows better
    than the log: a budget of hours needs it. `lost` says, as only a run can, whether the checkpoints of a trial were
    deleted, so that it trains from the start again. `restarted` holds, by trial, the jobs that were seen to train again
    what had been trained before them.
    """

    def __init__(self, state: StudyState, log: Log, scheduler: Scheduler, searcher: Searcher) -> None:
        self.state, self.log = state, log
        self.closed: str | None = None  # why nothing can be noted any more
        self.restarted: dict[int, Job] = {}
        self.observers = Observers()
        self._one_metric = not state.metrics.names
        self.stopping = False  # whether no more is to be given out in this session
        self.elapsed: Callable[[], float] = lambda: state.time.seconds
        self.lost: Callable[[int], bool] = lambda trial: False
        self._untold = searcher  # as it was before anything was told, to begin anew from
        self._most = scheduler.max_resource  # when the study began
        self._begin(scheduler)

    def _begin(self, scheduler: Scheduler) -> None:
        self.scheduler, self.searcher, self._ours = scheduler, own(self._untold), is_ours(self._untold)
        self._scheduler_ours = SCHEDULERS.is_ours(scheduler)  # the laws hold ours to their answers
        takes = inspect.signature(scheduler.ask).parameters
        self._within = {"looks_further": "fits" in takes, "spends_rest": {"fits", "rest"} <= takes.keys()}
        self._answer: Answer | None = None  # what the scheduler says until it is told something
        self.tell(self.state.created)

    def tell(self, event: Event) -> None:
        """Tell scheduler and searcher what has happened; none of our searchers learns from reports."""
        self._answer = None
        self.scheduler.tell(event)
        if not self._ours:
            self.searcher.tell(copy.deepcopy(event) if type(event) is Started else event)
        elif type(event) is not Report:
            self.searcher.tell(event)

    def follow(self, facts: Iterator[tuple[float, Fact]]) -> None:
        """Apply the facts of the log after the first, and tell them; what was taken back is as if it had never been."""
        path, state, taken_back = self.log.path, self.state, False
        for number, (time, fact) in enumerate(facts, start=2):
            taken_back = taken_back or type(fact) is TakenBack  # what follows was decided as if it had never failed
            replay.apply(path, state, number, fact, time, None if taken_back else self.tell)
        if taken_back:
            self._begin_anew()

    def _begin_anew(self) -> None:
        """Tell the whole log to a fresh scheduler and searcher, without the failures that were taken back."""
        path = self.log.path
        with replay.at(path):
            never = undone(fact for _, fact in self.log.read())
        self._begin(self.scheduler.up_to(self._most))
        state = StudyState(self.state.created, self.state.space)
        for number, (time, fact) in enumerate(self.log.read(), start=1):
            if number > 1:
                replay.apply(path, state, number, fact, time, None if number - 1 in never else self.tell)

    # -- noting --------------------------------------------------------------------------------------

    def note(self, fact: Fact) -> None:
        """A fact has become true."""
        if self.closed is not None:
            raise StudyError(self.closed)
        try:
            self.log.append(fact)
            if self.observers.watching:
                self.observers.noted(fact)
            if (told := self.state.apply(fact)) is not None:
                self.tell(told)
        except BaseException:
            self.state.whole = False
            raise

    def _decide(self, fact: Fact) -> None:
        """Note what the scheduler has decided, once it has taken that itself: else no file could be opened again."""
        if self.closed is not None:
            raise StudyError(self.closed)
        told, self.state.whole = self.state.apply(fact), False  # until the log has it too
        assert told is not None
        try:
            self.tell(told)
        except Exception as error:
            self.flush()
            self.closed = (
                f"the study closed when {shown_scheduler(self.scheduler)} raised {type(error).__name__}: open it again"
            )
            raise
        self.log.append(fact)
        self.state.whole = True
        if self.observers.watching:
            self.observers.noted(fact)

    def flush(self) -> None:
        """Make durable what was noted, and tell the observers."""
        self.log.flush()
        if self.observers.watching:
            self.observers.tell(self.state)

    def report(self, fact: Reported) -> bool:
        """Note a score that a worker reports; False if it is nothing new."""
        record = self.state.trials[fact.trial]
        job, resource, seconds = record.job, fact.resource, fact.seconds
        if job is None:
            return False
        if resource <= (record.noted(job) if job.refit else record.resource):
            if resource <= job.start and not job.refit:
                self.restarted[fact.trial] = job
            return False
        fits = type(resource) is int and resource <= job.until and type(seconds) is float and 0.0 <= seconds < math.inf
        if not (fits and self._one_metric and type(fact.score) is float) and (wrong := self.refusal(fact)) is not None:
            return self.take(Failed(fact.trial, wrong))
        self.note(fact)
        return True

    def take(self, fact: Completed | Failed | Retried | Excused) -> bool:
        """Note what becomes of a job; False if it is over already."""
        record = self.state.trials[fact.trial]
        if (job := record.job) is None:
            return False
        if type(fact) is Completed and (wrong := self.refusal(fact)) is not None:
            fact = Failed(fact.trial, wrong)
        self.note(fact)
        if record.job is None and not job.refit and type(answer := self._next()) is Raise:
            self.note(self.state.metrics.raised(answer))
        return True

    def refusal(self, fact: object) -> str | None:
        """Why the job that says `fact` has gone wrong by it; None if it has not."""
        if isinstance(fact, Reported):
            job, resource, seconds = self.state.trials[fact.trial].job, fact.resource, fact.seconds
            wrong = type(resource) is not int or (job is not None and resource > job.until)
            if wrong or type(seconds) not in (float, int) or not 0.0 <= seconds < math.inf:
                return f"it reported at {resource!r:.60}, after {seconds!r:.60} s, which cannot be"
            return None if self._one_metric and type(fact.score) is float else self.state.metrics.wrong(fact.score)
        if isinstance(fact, Completed):
            record = self.state.trials[fact.trial]
            if (job := record.job) is None:
                return None
            if (record.noted(job) if job.refit else record.resource) <= job.start:
                return f"its job from {job.start} to {job.until} ended without a report"
        return None

    def opened(self, how: dict[str, Any] | None = None) -> None:
        """A session begins, or the study is run in another way from now on; its jobs will be given out again."""
        self.note(Opened(__version__, how or {}))
        self.flush()

    def ran(self, seconds: float) -> None:
        """The session has run for `seconds` since this was said last, or since it began."""
        self.note(Ran(seconds))

    def take_back(self, trials: Iterable[int]) -> None:
        """The last failures of `trials` have never been."""
        wanted, again = list(trials), list(self.state.again)
        if self.closed is not None:
            raise StudyError(self.closed)
        self.state.whole = False  # until all of it is noted and applied: Ctrl-C may come between
        for trial in wanted:
            self.log.append(TakenBack(trial))
            self.state.apply(TakenBack(trial))
            if self.observers.watching:
                self.observers.noted(TakenBack(trial))
        self.state.whole = True
        self.flush()
        self._begin_anew()
        self.state.again = {trial: self.state.running[trial] for trial in [*again, *wanted]}

    # -- giving out ----------------------------------------------------------------------------------

    def hand_out(self, *, again: bool = True) -> Job | None:
        """The next job, noted as given out; unless `again`, none that was given out before. None: none now."""
        state = self.state
        if self.closed is not None:
            raise StudyError(self.closed)
        if self.stopping:
            return None
        spent = state.spent
        if again and state.again and (job := self.give_again(lambda job: job.refit or not spent)) is not None:
            return job
        if spent:
            return None
        while True:
            answer, config = self._paid(), None
            if isinstance(answer, Start):
                answer, config = self._new(answer)
            if isinstance(answer, Promote):
                if (record := state.trials[answer.trial]).job is not None:
                    return None  # its refit is to end first, of which the scheduler knows nothing
                repeats = record.paused_at if self.lost(answer.trial) else 0
                self._decide(msgspec.structs.replace(answer.fact, repeats=repeats) if repeats else answer.fact)
                return state.running[answer.trial]
            if isinstance(answer, Start):
                number = len(state.trials)
                self._decide(Started(number, checked(config, self.searcher, state.space), answer.until))
                return state.running[number]
            if isinstance(answer, Wait):
                return None
            self.note(state.metrics.raised(answer))

    def give_again(self, which: Callable[[Job], bool]) -> Job | None:
        """The next job that was given out before, and that nobody does now, of those of which `which` is true."""
        state = self.state
        for job in state.again.values():
            if which(job):
                del state.again[job.trial]
                return msgspec.structs.replace(job, reported=state.trials[job.trial].noted(job))
        return None

    def put_back(self, trial: int) -> None:
        """The job of `trial` has paused, or broke off though nothing is wrong with it: nobody does it now."""
        self.state.again.setdefault(trial, self.state.running[trial])

    @property
    def finished(self) -> bool:
        """Whether nothing is running and no more work will be given out under the budget."""
        state = self.state
        if len(state.running) > (len(state.again) if state.spent else 0):
            return False
        if state.spent:
            return True
        answer = self._paid()
        return isinstance(self._new(answer)[0] if isinstance(answer, Start) else answer, Wait)

    @property
    def refused(self) -> Answer | None:
        """At the end of a study with a budget, with what the scheduler would go on; `Wait` if with nothing."""
        state, total = self.state, self.state.budget.trials
        if not state.budget.keeps or state.running or not self.finished:
            return None
        answer = self._ask(more=total is None or len(state.trials) < total)
        ended = isinstance(answer, Start) and self._new(answer)[1] is None  # the searcher has no other
        return self._ask(more=False) if ended else answer

    def _next(self) -> Answer:
        if self._answer is None:
            self._answer = self._ask()
        return self._answer

    def _ask(self, **how: Any) -> Answer:
        answer = self.scheduler.ask(**how)
        return answer if self._scheduler_ours else checked_answer(answer, self.scheduler, self.state.trials)

    def _paid(self, *, more: bool = True) -> Answer:
        """What is next of what the budget pays for; without `more`, never a new trial."""
        if not self.state.budget.keeps:
            return self._next() if more else self._ask(more=False)
        if type(answer := self._next()) is Raise:
            return answer
        return afford.paid(self.state, self._ask, self.elapsed(), self.lost, more=more, **self._within)

    def _new(self, start: Start) -> tuple[Answer, Config | None]:
        """`start` with the configuration of a new trial; where there is none, what is next without."""
        state = self.state
        number, total = len(state.trials), state.budget.trials
        if total is not None and number >= total:
            config = None
        elif state.queue:
            config = state.queue[0]
        elif total is None and state.budget.keeps and self._within["spends_rest"] and exhausted(self.searcher):
            config = None  # what is left goes to those that are closest to going on
        else:
            config = self.searcher.propose([state.created.seed, number])
        if config is not None:
            return start, config
        return self._paid(more=False), None


def handed(job: Job) -> Job:
    """`job` for whoever trains it, who may change its configuration."""
    return msgspec.structs.replace(job, config=copied(job.config))
