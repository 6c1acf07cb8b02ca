"""Decisions. Events in, answers out: standard library and numpy only; no I/O, clock, logging or chance.

Read `rungs`, `asha`, `pasha`, `ranking`, `noise`, in this order; `halving`, `hyperband` and `stopping` are others that
PASHA is compared with.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal, Protocol

from rungwise.core.asha import ASHA
from rungwise.core.halving import Hyperband, SuccessiveHalving
from rungwise.core.hyperband import AsyncHyperband
from rungwise.core.pasha import PASHA
from rungwise.core.stopping import FullTraining, MedianStoppingRule, StoppingASHA
from rungwise.errors import InputError
from rungwise.events import Answer, Event
from rungwise.parts import Parts


class Scheduler(Protocol):
    """How far? Who trains next, and to which resource.

    `ask` is a query: asking twice changes nothing. Only `tell` changes it. It may take another keyword,
    `fits: Callable[[int, int], bool]`, which says of a job from one resource to another whether the budget pays for it:
    where the first choice does not fit, `ask` then answers with the next one that does. Without the keyword, the study
    gives out no work while the only answer does not fit.

    Two attributes are optional. `several_metrics` is True if its losses may be tuples, one number per metric.
    `ceilings` lists, for each bracket whose ceiling can rise, its highest open level and how many trials have completed
    it.
    """

    def ask(self, *, more: bool = True) -> Answer:
        """What to do next; without `more`, never to start a new trial."""
        ...

    def tell(self, event: Event) -> None:
        """Learn of one event.

        `Created` comes first; then, for each job, `Started` or `Promoted`, its `Report`s, and a `Result`; and `Raised`
        for each rise of the ceiling that `ask` answered with. Only `ASHA` and `PASHA` are told `Lengthened`.
        """
        ...

    def may_promote(self, total: int) -> set[int]:
        """The paused trials that can still be promoted if at most `total` trials are ever started."""
        ...

    def settings(self) -> dict[str, Any]:
        """The arguments that make an equal one, as plain JSON."""
        ...

    def up_to(self, max_resource: int | None) -> Scheduler:
        """A fresh scheduler with the same settings and this `max_resource`."""
        ...

    @property
    def name(self) -> str:
        """Its name for `as_scheduler`."""
        ...

    @property
    def max_resource(self) -> int | None:
        """The resource to which a trial may ever be trained; None if unlimited."""
        ...

    @property
    def open_level(self) -> int | None:
        """The resource to which a trial may be trained now; None if unlimited."""
        ...


SCHEDULERS = Parts(
    "scheduler",
    "rungwise.schedulers",
    {
        ASHA.name: "rungwise.core.asha:ASHA",
        PASHA.name: "rungwise.core.pasha:PASHA",
        StoppingASHA.name: "rungwise.core.stopping:StoppingASHA",
        SuccessiveHalving.name: "rungwise.core.halving:SuccessiveHalving",
        Hyperband.name: "rungwise.core.halving:Hyperband",
        AsyncHyperband.name: "rungwise.core.hyperband:AsyncHyperband",
        MedianStoppingRule.name: "rungwise.core.stopping:MedianStoppingRule",
        FullTraining.name: "rungwise.core.stopping:FullTraining",
    },
)

SchedulerName = Literal[
    "asha", "pasha", "asha-stopping", "halving", "hyperband", "async-hyperband", "median", "full"
]  # fmt: skip
"""Our schedulers' names, for type checkers and editors."""

__all__ = ["SCHEDULERS", "Scheduler", "SchedulerName", "as_scheduler", "ceilings", "check_total"]


PARTS = ("ask", "tell", "may_promote", "settings", "up_to", "max_resource", "open_level")


def ceilings(scheduler: Scheduler) -> list[tuple[int, int]]:
    """One row per bracket whose ceiling can rise: its highest open level, and how many have completed it."""
    return list(getattr(scheduler, "ceilings", ()))


def check_total(scheduler: Scheduler, trials: int | None, searcher_ends: Callable[[], bool]) -> None:
    """Raise `InputError` if `scheduler` would start trials for ever: no total of `trials`, no searcher that ends."""
    if trials is None and getattr(scheduler, "breadth_first", False) and not searcher_ends():
        raise InputError(
            "breadth_first=True promotes nobody as long as more trials may be started, so say how many there are: "
            'trials=64; or take a searcher that comes to an end, such as "grid"'
        )


def as_scheduler(scheduler: Scheduler | str | dict[str, Any], max_resource: int | None = None) -> Scheduler:
    """A fresh scheduler from another one, a name such as "pasha" or "module:Class", or `{"name": …, **settings}`.

    `max_resource` is used if the scheduler has none.

    >>> as_scheduler("pasha").open_level
    3
    """
    if isinstance(scheduler, str):
        scheduler = {"name": scheduler}
    if not isinstance(scheduler, dict):
        if isinstance(scheduler, type) or not all(hasattr(scheduler, method) for method in ("ask", "tell")):
            raise InputError(f"scheduler must be a name or an object like rw.PASHA(), not {scheduler!r}")
        _check(scheduler)
        fresh = scheduler.up_to(max_resource if scheduler.max_resource is None else scheduler.max_resource)
        if type(fresh) is not type(scheduler):
            kind = type(scheduler).__name__
            raise InputError(f"up_to() of {kind} must give a {kind}, not a {type(fresh).__name__}: type(self)(…)")
        return fresh
    arguments = dict(scheduler)
    name = arguments.pop("name", None)
    if max_resource is not None and arguments.get("max_resource") is None:
        arguments["max_resource"] = max_resource
    if SCHEDULERS.is_foreign(name):
        made: Scheduler = SCHEDULERS.make(name, **arguments)
        return made
    ours: Scheduler = SCHEDULERS.named(name)(**arguments)  # which says itself what is wrong with them
    return ours


def _check(scheduler: Scheduler) -> None:
    """Whether it has all that a scheduler needs, and `settings` all that the constructor takes, for a fresh one."""
    name = type(scheduler).__name__
    if lacks := [part for part in PARTS if not hasattr(scheduler, part)]:
        raise InputError(f"the scheduler {name} lacks {', '.join(lacks)}; rungwise.core.Scheduler says what they are")
    settings = scheduler.settings()
    for parameter in inspect.signature(type(scheduler)).parameters.values():
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) and parameter.name not in settings:
            raise InputError(
                f"settings() of {name} must return every argument of {name}(…), so that a fresh one can be made: "
                f"{parameter.name!r} is missing"
            )
