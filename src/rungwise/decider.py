"""Who trains next, with what configuration, and how far? State, scheduler, searcher and log, joined.

Every change is a fact that is appended to the log, applied to the state, and told to scheduler and searcher; opening a
log does the last two again, in order, without deciding anything a second time. The loop drives this; `Study` is the
door for everybody else. Has no clock, no lock and starts no work. May import everything below `study`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, final

import msgspec

from rungwise import replay
from rungwise.core import SCHEDULERS, Scheduler
from rungwise.events import (
    Answer,
    Completed,
    Config,
    Excused,
    Fact,
    Failed,
    Job,
    Opened,
    Promote,
    Promoted,
    Raise,
    Ran,
    Reported,
    Retried,
    Start,
    Started,
    TakenBack,
    Wait,
)
from rungwise.log import Log, StudyError, undone
from rungwise.names import InputError
from rungwise.observers import Observers
from rungwise.search import Searcher
from rungwise.search.intake import checked, is_ours, own
from rungwise.state import StudyState
from rungwise.values import copied
from rungwise.version import __version__


@final
class Decider:
    """Decides in the study that `log` holds; `state` is how it stands, `scheduler` and `searcher` are told nothing yet.

    Facts are durable after `flush`. `restarted` holds, by trial, the jobs that were seen to train again what had been
    trained before them.
    """

    def __init__(self, state: StudyState, log: Log, scheduler: Scheduler, searcher: Searcher) -> None:
        self.state, self.log = state, log
        self.closed: str | None = None  # why nothing can be noted any more
        self.restarted: dict[int, Job] = {}
        self.observers = Observers()
        self.stopping = False  # whether no more is to be given out in this session
        self._untold = searcher  # as it was before anything was told, to begin anew from
        self._begin(scheduler)

    def _begin(self, scheduler: Scheduler) -> None:
        self.scheduler, self.searcher, self._ours = scheduler, own(self._untold), is_ours(self._untold)
        self._scheduler_ours = SCHEDULERS.is_ours(scheduler)  # the laws hold ours to their answers
        self._answer: Answer | None = None  # what the scheduler says until it is told something
        self.tell(self.state.created)

    def tell(self, fact: Fact) -> None:
        """Tell scheduler and searcher a fact, with losses for scores."""
        self._answer = None
        self.scheduler.tell(fact)
        self.searcher.tell(fact if self._ours or type(fact) is not Started else copy.deepcopy(fact))

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
        self._begin(self.scheduler.up_to(self.scheduler.max_resource))
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
            if self.observers:
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
            self.closed = f"the study ended when {self._scheduler_shown} raised {type(error).__name__}: open it again"
            raise
        self.log.append(fact)
        self.state.whole = True
        if self.observers:
            self.observers.noted(fact)

    def flush(self) -> None:
        """Make durable what was noted, and tell the observers."""
        self.log.flush()
        if self.observers:
            self.observers.tell(self.state)

    def take(self, fact: Reported | Completed | Failed | Retried | Excused) -> bool:
        """Note what a worker says; False if it is nothing new."""
        record = self.state.trials[fact.trial]
        job, kind = record.job, type(fact)
        if job is None:
            return False
        if kind is Reported and fact.resource <= record.noted(job):  # type: ignore[union-attr]
            if fact.resource <= job.start and not job.refit:  # type: ignore[union-attr]
                self.restarted[fact.trial] = job
            return False
        if (kind is Reported or kind is Completed) and (wrong := self.refusal(fact)) is not None:
            fact = Failed(fact.trial, wrong)
        self.note(fact)
        if record.job is None and not job.refit and type(answer := self._next()) is Raise:
            self.note(self.state.metrics.raised(answer))
        return True

    def refusal(self, fact: object) -> str | None:
        """Why the job that says `fact` has gone wrong by it; None if it has not."""
        if isinstance(fact, Reported):
            record = self.state.trials[fact.trial]
            beyond = record.job is not None and fact.resource > record.job.until
            wrong = type(fact.resource) is not int or beyond or type(fact.seconds) not in (float, int)
            if wrong or not 0.0 <= fact.seconds < math.inf:
                return f"it reported at {fact.resource!r:.60}, after {fact.seconds!r:.60} s, which cannot be"
            return self.state.metrics.wrong(fact.score)
        if isinstance(fact, Completed):
            record = self.state.trials[fact.trial]
            if (job := record.job) is not None and record.noted(job) <= job.start:
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
        for trial in wanted:
            self.log.append(TakenBack(trial))
            self.state.apply(TakenBack(trial))
            if self.observers:
                self.observers.noted(TakenBack(trial))
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
        while isinstance(answer := self._next(), Raise):
            self.note(state.metrics.raised(answer))
        answer, config = self._decided()
        if isinstance(answer, Promote) and state.trials[answer.trial].job is not None:
            return None  # its refit is to end first, of which the scheduler knows nothing
        if isinstance(answer, Promote):
            self._decide(Promoted(answer.trial, answer.until, answer.rank, answer.size))
            return handed(state.running[answer.trial])
        if isinstance(answer, Start):
            number = len(state.trials)
            self._decide(Started(number, checked(config, self.searcher, state.space), answer.until))
            return handed(state.running[number])
        return None

    def give_again(self, which: Callable[[Job], bool]) -> Job | None:
        """The next job that was given out before, and that nobody does now, of those of which `which` is true."""
        state = self.state
        for job in state.again.values():
            if which(job):
                del state.again[job.trial]
                return handed(msgspec.structs.replace(job, reported=state.trials[job.trial].noted(job)))
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
        return state.spent or isinstance(self._decided()[0], Wait)

    def _next(self) -> Answer:
        if self._answer is None:
            self._answer = self._checked(self.scheduler.ask())
        return self._answer

    def _checked(self, answer: Answer) -> Answer:
        """`answer`, or an `InputError` that names the scheduler: it may be somebody's own."""
        if self._scheduler_ours:
            return answer
        wrong = None
        if isinstance(answer, Start | Promote | Raise) and (type(answer.until) is not int or answer.until < 1):
            wrong = "goes to no resource"
        elif isinstance(answer, Promote):
            trials = self.state.trials
            if type(answer.trial) is not int or not 0 <= answer.trial < len(trials):
                wrong = "is of a trial that there is not"
            elif (job := trials[answer.trial].job) is not None and not job.refit:
                wrong = "is of a trial that is running"
            elif answer.until <= trials[answer.trial].paused_at:
                wrong = f"goes no further than {trials[answer.trial].paused_at}, where the trial is"
        elif not isinstance(answer, Start | Raise | Wait):
            wrong = "is neither Start, Promote, Raise nor Wait"
        if wrong is not None:
            raise InputError(f"{self._scheduler_shown} answered {answer!r:.200}, which {wrong}")
        return answer

    @property
    def _scheduler_shown(self) -> str:
        return f"the scheduler {type(self.scheduler).__qualname__}"

    def _decided(self) -> tuple[Answer, Config | None]:
        """What is next, and the configuration if it is a new trial, which there may not be."""
        answer = self._next()
        if not isinstance(answer, Start):
            return answer, None
        state = self.state
        number, total = len(state.trials), state.budget.trials
        full = total is not None and number >= total
        if full:
            config = None
        elif state.queue:
            config = state.queue[0]
        else:
            config = self.searcher.propose([state.created.seed, number])
        return (answer, config) if config is not None else (self._checked(self.scheduler.ask(more=False)), None)


def handed(job: Job) -> Job:
    """`job` for whoever trains it, who may change its configuration."""
    return msgspec.structs.replace(job, config=copied(job.config))
