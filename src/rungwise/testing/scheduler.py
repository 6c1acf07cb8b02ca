"""Does a scheduler keep the rules that a study and its loop rely on? May import everything below it."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from typing import Any, final

import numpy as np

from rungwise.core import Scheduler, as_scheduler, ceilings
from rungwise.errors import InputError
from rungwise.events import (
    Answer,
    Created,
    Event,
    Promote,
    Raise,
    Raised,
    Report,
    Result,
    Start,
    Started,
    Wait,
)
from rungwise.parts import takes_several_metrics

TRIALS = 60  # of each history
WORKERS = (1, 4, 13)
MANY = 100_000  # events: a history that is longer has no end
LEVEL = 81  # what those get that have no max_resource, where they need one
TOTALS = (TRIALS, 10**9)  # of may_promote: what there will be, and where nobody has said
REPORTS = 9  # at most, of a job: a level may be a million


def check_scheduler(make: Callable[[], Scheduler]) -> None:
    """Raise `AssertionError`, with a sentence, if the schedulers of `make()` break a rule.

    Histories of 60 trials are played, on one worker and on several, with ties, non-finite losses, and failing trials:

    * `ask` is a query: asking twice changes nothing; with `more=False` it starts no new trial.
    * Only paused trials that have not failed are promoted, further than before, and to at most `open_level`.
      `may_promote` must have included such a trial since it paused, whether given the total or a far greater one.
    * `open_level` is the highest of its `ceilings`, or `max_resource` if no ceiling can rise. Only a `Raised` event
      moves it, to at least the level in the event, and it never falls.
    * While nothing runs, it does not wait if trials may be started; if none may be, it comes to an end.
    * Another scheduler that is told the same events gives the same answers, also after a study is opened again.
    * Less is better: trials with high losses are not trained much further than those with low losses.
    * `settings` is plain JSON that makes an equal scheduler; `up_to` returns a fresh one.

    >>> from rungwise import ASHA
    >>> check_scheduler(lambda: ASHA(max_resource=9))
    """
    _check_settings(make)
    for seed, workers in enumerate(WORKERS):
        _check_history(_History(_fresh(make), workers, seed).played(), _fresh(make))
    if takes_several_metrics(make()):
        _check_history(_History(_fresh(make), 4, 7, metrics=2).played(), _fresh(make))
    _check_direction(make)


def _fresh(make: Callable[[], Scheduler]) -> Scheduler:
    """One that a study could have."""
    return as_scheduler(make())


def _check_settings(make: Callable[[], Scheduler]) -> None:
    scheduler = make()
    settings = scheduler.settings()
    assert isinstance(scheduler.name, str), f"name must be text, not {scheduler.name!r}"
    assert json.loads(json.dumps(settings)) == settings, f"settings() must be plain JSON, not {settings!r}"
    try:
        as_scheduler(scheduler)
    except InputError as error:
        raise AssertionError(str(error)) from None
    made = type(scheduler)(**copy.deepcopy(settings))
    assert made.settings() == settings, f"one made from settings() has other settings: {made.settings()!r}"
    assert made.ask() == scheduler.ask(), "one made from settings() answers otherwise"
    most = scheduler.max_resource
    for wanted in {LEVEL, most or LEVEL}:
        other = scheduler.up_to(wanted)
        assert other is not scheduler, "up_to() must give a fresh one, not itself"
        assert other.max_resource == wanted, f"up_to({wanted}) has max_resource {other.max_resource!r}"
        assert type(other) is type(scheduler), f"up_to() gives a {type(other).__name__}"
    _History(make(), 4, 1).played()
    used = _History(scheduler, 4, 1).played().scheduler
    assert used.settings() == settings, "being told events changes its settings()"
    assert used.up_to(most).ask() == make().ask(), "up_to() must give one that has been told nothing"


@final
class _History:
    """A study of made-up curves, played against `scheduler`, with every answer held to the rules."""

    def __init__(self, scheduler: Scheduler, workers: int, seed: int, metrics: int = 1) -> None:
        self.scheduler, self.workers, self.metrics = scheduler, workers, metrics
        self.events: list[Event] = []
        self.answers: list[tuple[Answer, Answer]] = []  # after each event: with more, and without
        self.resource: dict[int, int] = {}  # trial -> where it stands
        self.quality: dict[int, float] = {}
        self.broken = True  # whether trials fail and diverge
        self._rng = np.random.default_rng([seed, workers])
        self._running: dict[int, tuple[int, int]] = {}  # trial -> from where, how far
        self._failed: set[int] = set()
        self._lost: dict[int, int] = {}  # paused trial -> the total for which may_promote has left it out

    def played(self) -> _History:
        """Play it to its end."""
        mode: Any = "min" if self.metrics == 1 else {"error": "min", "cost": "min"}
        self._tell(Created({}, {}, {}, mode, 0, "0", id="check"))
        self._give_out()
        while self._running:
            assert len(self.events) < MANY, f"no end after {MANY} events: with {TRIALS} trials it goes on for ever"
            self._work()
            self._give_out()
        scheduler = self.scheduler
        rises = bool(ceilings(scheduler)) or any(isinstance(event, Raised) for event in self.events)
        assert rises or scheduler.open_level == scheduler.max_resource, (
            f"its ceiling has never risen, so its open_level must be max_resource, {scheduler.max_resource}, "
            f"not {scheduler.open_level}"
        )
        return self

    def _give_out(self) -> None:
        """Give free workers what there is."""
        while len(self._running) < self.workers:
            more = len(self.resource) < TRIALS
            answer = self.answers[-1][0 if more else 1]
            if isinstance(answer, Wait):
                assert self._running or not more, "it waits though nothing runs, and new trials may be started"
                break
            self._follow(answer)
            assert len(self.events) < MANY, "it answers the same for ever"

    def _follow(self, answer: Answer) -> None:
        if isinstance(answer, Start):
            trial = len(self.resource)
            self._check_reach(trial, 0, answer.until)
            self.resource[trial], self.quality[trial] = 0, float(self._rng.uniform())
            self._running[trial] = 0, answer.until
            self._tell(Started(trial, {"x": self.quality[trial]}, answer.until))
        elif isinstance(answer, Promote):
            trial = answer.trial
            assert trial in self.resource, f"it promotes trial {trial}, which was never started"
            assert trial not in self._running, f"it promotes trial {trial}, which is running"
            assert trial not in self._failed, f"it promotes trial {trial}, which has failed"
            left_out = f"it promotes trial {trial}, which may_promote({self._lost.get(trial)}) had left out"
            assert trial not in self._lost, left_out
            self._check_reach(trial, self.resource[trial], answer.until)
            self._running[trial] = self.resource[trial], answer.until
            self._tell(answer.fact)
        elif isinstance(answer, Raise):
            self._tell(answer.fact)

    def _check_reach(self, trial: int, start: int, until: int) -> None:
        assert start < until, f"it trains trial {trial} to {until}, where it has been: it stands at {start}"
        for name, most in (("open_level", self.scheduler.open_level), ("max_resource", self.scheduler.max_resource)):
            assert most is None or until <= most, f"it trains trial {trial} to {until}, beyond its {name}, {most}"

    def _work(self) -> None:
        """One running job, any, says something."""
        rng = self._rng
        trial = sorted(self._running)[rng.integers(len(self._running))]
        start, until = self._running[trial]
        at = self.resource[trial]
        if self.broken and rng.random() < 0.03:
            self._failed.add(trial)
            self._end(Result(trial, until, (math.inf,) * self.metrics))
            return
        if at < until:
            step = max(1, (until - start) // REPORTS)
            self.resource[trial] = at = until if until - at < 2 * step else at + step
            losses = self._losses(trial, at)
            self._tell(Report(trial, at, losses))
            if at == until:
                self._end(Result(trial, until, losses))

    def _losses(self, trial: int, resource: int) -> tuple[float, ...]:
        """Curves that fall, with noise, ties, and now and then none that is finite."""
        loss = round(self.quality[trial] + 1 / resource + self._rng.normal(0, 0.05), 2)
        if self.broken and self._rng.random() < 0.03:
            loss = math.inf
        return (loss,) if self.metrics == 1 else (loss, 1 - loss if loss < math.inf else loss)

    def _end(self, result: Result) -> None:
        del self._running[result.trial]
        self._tell(result)

    def _tell(self, event: Event) -> None:
        scheduler = self.scheduler
        before, ceiling = copy.deepcopy(event), scheduler.open_level
        scheduler.tell(event)
        assert event == before, f"it changes what it is told: {event}"
        now = scheduler.open_level
        if isinstance(event, Raised):
            assert now is None or now >= (ceiling or 0), f"the ceiling falls from {ceiling} to {now} by a rise"
            assert now is None or now >= event.until, f"the ceiling rises to {event.until}, and open_level is {now}"
        else:
            assert now == ceiling, f"the ceiling moves from {ceiling} to {now} without a rise, by {event}"
        if open_levels := [level for level, _ in ceilings(scheduler)]:
            highest = f"open_level must be the highest of its ceilings, {open_levels}, not {now}"
            assert now == max(open_levels), highest
        for total in TOTALS:
            may = scheduler.may_promote(total)
            assert isinstance(may, set), f"may_promote() must be a set of trials, not {may!r:.80}"
            for trial in self.resource.keys() - self._running.keys() - may:
                self._lost.setdefault(trial, total)
        answers = scheduler.ask(), scheduler.ask(more=False)
        assert (scheduler.ask(), scheduler.ask(more=False)) == answers, f"asking twice is answered twice, after {event}"
        for answer in answers:
            assert isinstance(answer, Start | Promote | Raise | Wait), f"{answer!r} is none of the four answers"
        assert not isinstance(answers[1], Start), "it starts a trial where more=False says that there is none"
        self.events.append(event)
        self.answers.append(answers)


def _check_history(history: _History, fresh: Scheduler) -> None:
    """Whether `fresh`, told what `history` was and asked less, answers the same."""
    for event, answers in zip(history.events, history.answers, strict=True):
        fresh.tell(event)
        if isinstance(event, Started | Result):
            asked = fresh.ask(), fresh.ask(more=False)
            assert asked == answers, f"told the same, one answers {answers}, another {asked}, after {event}"
    assert fresh.open_level == history.scheduler.open_level, "told the same, their ceilings are not the same"
    assert fresh.may_promote(TRIALS) == history.scheduler.may_promote(TRIALS), "told the same, may_promote() differs"


def _check_direction(make: Callable[[], Scheduler]) -> None:
    """Whether low losses are what it goes for."""
    history = _History(_fresh(make), 4, 3)
    history.broken = False
    history.played()
    ranked = sorted(history.quality, key=history.quality.__getitem__)
    halves = ranked[: TRIALS // 2], ranked[TRIALS // 2 :]
    better, worse = (sum(history.resource[trial] for trial in half) for half in halves)
    assert 2 * better >= worse, (
        f"the half of the trials with the higher losses was trained for {worse} units, the better half for {better}: "
        "it is told losses, less is better"
    )
