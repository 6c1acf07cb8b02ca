"""What has happened, and what can be asked for: the vocabulary of a study.

A study is a log of these facts, in the order in which they became true. Decision code is told the events that follow
from them and answers with one of four answers; `Study.ask` turns an answer into a fact and hands out a `Job`.
Imports nothing of ours.

Facts are frozen `msgspec.Struct`s rather than dataclasses: they are made a million times in a long
study (0.1 µs each instead of 0.6 µs), and they are their own JSON form in the log.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

Config = dict[str, Any]
"""One point of the search space: parameter name -> plain JSON value."""


Score = float | dict[str, float | None]
"""One number, or one for each of several metrics by name; None is one that was not finite."""


class Job(msgspec.Struct, frozen=True, eq=False):
    """Train `trial`, of the configuration `config`, from resource `start` to `until`; `start` is 0 for a new trial.

    `refit` says that it trains the winner further, outside the rungs.
    `reported` is the highest resource that is known already, where the job was given out before. `lease` is
    a greater number each time that a job is given out, so that a message can be told from one of an earlier time, and a
    worker that was given up from the one in its place: the upper bits count the sessions of the study, the lower 48 the
    jobs of one. `study` is the id of the study, which checkpoints carry: trial 3 of another study is another trial.
    `score` and `mode` are the study's: under "best" the worker keeps the state of the best score. `horizon` is how far
    the trial may ever be trained, None if nobody knows. These four are the study's, not the work, so jobs that differ
    in them alone are equal.
    """

    trial: int
    config: Config
    start: int
    until: int
    refit: bool = False
    reported: int = 0
    lease: int = 0
    study: str = ""
    score: str = "last"
    mode: str = "min"
    horizon: int | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self._work == other._work

    __hash__ = None  # type: ignore[assignment]  # its configuration is a dict

    @property
    def _work(self) -> tuple[object, ...]:
        return self.trial, self.config, self.start, self.until, self.refit, self.reported, self.lease


# -- answers: what a scheduler says when it is asked ------------------------------------------------


class Start(msgspec.Struct, frozen=True):
    """Sample a new configuration and train it from 0 to `until`."""

    until: int


REST = "rest"
"""The rule by which what is left of a budget is spent: whoever is closest to going on goes on."""


class Promote(msgspec.Struct, frozen=True):
    """Train the paused `trial` on to `until`. It is number `rank` (from 1) of `size` in its rung.

    By the `rule` of this name the first `quota` of the rung may go on. Both are left out in a study that promotes as
    the papers do, the first ⌊`size`/η⌋, and where no such rule decides.
    """

    trial: int
    until: int
    rank: int = 0
    size: int = 0
    quota: int = 0
    rule: str = ""

    @property
    def fact(self) -> Promoted:
        """What becomes true with it."""
        return Promoted(self.trial, self.until, self.rank, self.size, self.quota, self.rule)


class Broken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One position at which two rungs disagree (PASHA, section 4).

    `trial` stands there by the top rung, `expected` by the rung below. `below` and `top` are the
    scores of the two at those rungs, in that order.
    """

    position: int
    trial: int
    expected: int
    below: tuple[float | None, float | None]
    top: tuple[float | None, float | None]


class Disagreement(msgspec.Struct, frozen=True):
    """Why two rungs do not agree: the reason for a rise.

    `gap` is the largest difference that was found, `epsilon` the noise it was held against (None: the ranking has none;
    `why` says what it has instead). `broken` holds the worst positions, largest gap first; `positions` counts them all.
    """

    gap: float | None = None
    epsilon: float | None = None
    positions: int = 0
    broken: tuple[Broken, ...] = ()
    why: str = ""


class Raise(msgspec.Struct, frozen=True):
    """Open the next rung, `until`, because the rankings of the two rungs under it differ, for this `reason`.

    `level` is the rung that was the top one, `compared` the one below it. `bracket` is the ladder that this is of,
    where there are several.
    """

    until: int
    level: int
    compared: int
    reason: Disagreement = Disagreement()
    bracket: int = 0

    @property
    def fact(self) -> Raised:
        """What becomes true with it; losses stay losses."""
        reason = msgspec.structs.asdict(self.reason)
        return Raised(self.until, self.level, self.compared, bracket=self.bracket, **reason)


class Wait(msgspec.Struct, frozen=True):
    """Nothing to do now; there may be after the next fact."""


Answer = Start | Promote | Raise | Wait


# -- what schedulers and searchers are told of a trial's scores ---------------------------------------


class Report(msgspec.Struct, frozen=True, gc=False):
    """`trial` had these losses at `resource`, on its way to a rung: one a metric, lower is better, `inf` at worst."""

    trial: int
    resource: int
    losses: tuple[float, ...]


class Result(msgspec.Struct, frozen=True, gc=False):
    """`trial` has completed the rung at `level` with these losses: one a metric, lower is better.

    Where the last report was not finite that loss is `inf`; of a trial that failed all are.
    """

    trial: int
    level: int
    losses: tuple[float, ...]

    @property
    def finite(self) -> bool:
        """Whether all its losses are finite: else it is worse than every trial whose losses are."""
        return max(self.losses) < math.inf


# -- facts: what is written to the log ---------------------------------------------------------------


class Fact(msgspec.Struct, frozen=True, tag_field="fact", tag=str.lower, forbid_unknown_fields=True):
    """Something that has happened. Every fact below is one row of the log.

    A field that is not known is not passed over: a newer version knows it, and what it means.
    """


class Created(Fact, frozen=True):
    """The study began: everything that is needed to go on with it, as plain JSON.

    `mode` is "min" or "max", or one of them for each of several metrics. `run` is how it was run first (function or
    command, workers, …), for `rungwise resume`. `id` is a random name made with the study; a study that was begun
    before there were ids has none. `score` says which of a trial's reports counts at a resource: the "last", or the
    "best" up to there. `ceilings` has the highest open level of each bracket at the beginning, where it can rise; None
    in a study that was begun before that was noted.
    """

    space: dict[str, Any]
    scheduler: dict[str, Any]
    searcher: dict[str, Any]
    mode: str | dict[str, str]
    seed: int
    version: str
    run: dict[str, Any] = {}
    id: str = ""
    score: str = "last"
    ceilings: list[int] | None = None


class Opened(Fact, frozen=True):
    """A driver took the study up (again). Jobs that were running then are given out once more.

    `run` is how it is run from now on; empty if that stays as it was.
    """

    version: str
    run: dict[str, Any] = {}


class Extended(Fact, frozen=True, omit_defaults=True):
    """The total budget is now this; None is no limit. `seconds` and `hours` are of running time, all sessions.

    `trainings` are full ones, to the most that any trial may get. Of these and of `hours` the winner's refit is part.
    """

    trials: int | None = None
    resource: int | None = None
    seconds: float | None = None
    target: float | None = None
    trainings: float | None = None
    hours: float | None = None


class Lengthened(Fact, frozen=True):
    """The most that any trial may get was raised to `max_resource`; None is no limit. The rungs below it stay."""

    max_resource: int | None = None


class Started(Fact, frozen=True):
    """A new trial was given out, to be trained from 0 to `until`."""

    trial: int
    config: Config
    until: int


class Promoted(Fact, frozen=True, gc=False, omit_defaults=True):
    """A paused trial was given out again, because it was number `rank` of `size` in its rung; see `Promote`.

    `repeats` is how much of what it was trained is trained again, since its checkpoints have been deleted.
    """

    trial: int
    until: int
    rank: int = 0
    size: int = 0
    quota: int = 0
    rule: str = ""
    repeats: int = 0


class Raised(Fact, frozen=True):
    """The ceiling rose to `until`; the other fields are those of `Raise` and its reason, in user scores."""

    until: int
    level: int
    compared: int
    gap: float | None
    epsilon: float | None
    positions: int
    broken: tuple[Broken, ...]
    why: str = ""
    bracket: int = 0


class Reported(Fact, frozen=True, gc=False):
    """`trial` scored `score` at `resource`; None is a score that was not finite.

    `seconds` is how long the training since the report before took.
    """

    trial: int
    resource: int
    score: Score | None
    seconds: float = 0.0


class Completed(Fact, frozen=True, gc=False):
    """The running job of `trial` came to its end: at a rung, or at the end of a refit.

    An observer finds the level of the rung in `state.trials[trial].paused_at`, and `score` beside it; a refit leaves
    both as they were, and adds to `refit`.
    """

    trial: int


class Retried(Fact, frozen=True):
    """An attempt at the running job of `trial` broke off; the job is given out again."""

    trial: int
    reason: str


class Failed(Fact, frozen=True):
    """The running job of `trial` is given up. It completes its rung with the worst loss."""

    trial: int
    reason: str


class Excused(Fact, frozen=True):
    """The job of `trial` broke off when others did, by the machine's fault: it has `attempts` behind it, no more.

    With `given_up` the session ends with that: whoever goes on with the study has been told.
    """

    trial: int
    attempts: int = 0
    given_up: bool = False


class TakenBack(Fact, frozen=True):
    """The last failure of `trial` has never been, whoever is told the log: its job is given out again."""

    trial: int


class Enqueued(Fact, frozen=True):
    """`config` is to be tried before anything that the searcher proposes, after those that were enqueued before it."""

    config: Config


class Ran(Fact, frozen=True):
    """`seconds` have been spent since the driver began, or since the last of these: on a clock that nobody sets.

    They take the place of the time between the facts since then.
    """

    seconds: float


class Refitted(Fact, frozen=True):
    """A job outside rungs, ceiling and selection was given out: train the winner on to `until`."""

    trial: int
    start: int
    until: int


AnyFact = (
    Created
    | Opened
    | Extended
    | Lengthened
    | Started
    | Promoted
    | Raised
    | Reported
    | Completed
    | Retried
    | Failed
    | Excused
    | TakenBack
    | Enqueued
    | Ran
    | Refitted
)

Event = Created | Lengthened | Started | Promoted | Raised | Report | Result
"""What schedulers and searchers are told, in the order in which it became true."""
