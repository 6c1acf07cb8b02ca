"""Parts of one's own: a scheduler, a searcher and a kind of parameter, written from the protocols' docstrings."""

from __future__ import annotations

from typing import Any

import numpy as np

from rungwise.events import Answer, Config, Event, Promote, Promoted, Result, Start, Started, Wait
from rungwise.parameters import Parameter


class TwoRungs:
    """Trains each trial to 1, and every second one that completed that on to `max_resource`."""

    name = "two-rungs"

    def __init__(self, *, max_resource: int = 3) -> None:
        self.max_resource = max_resource
        self._started: list[int] = []
        self._completed: list[int] = []
        self._promoted: set[int] = set()

    @property
    def open_level(self) -> int | None:
        return self.max_resource

    def settings(self) -> dict[str, Any]:
        return {"max_resource": self.max_resource}

    def up_to(self, max_resource: int | None) -> TwoRungs:
        return type(self)(max_resource=max_resource or self.max_resource)

    def may_promote(self, total: int) -> set[int]:
        return set(self._completed[::2]) - self._promoted

    def ask(self, *, more: bool = True) -> Answer:
        for trial in self._completed[::2]:
            if trial not in self._promoted:
                return Promote(trial, self.max_resource)
        return Start(1) if more else Wait()

    def tell(self, event: Event) -> None:
        if isinstance(event, Started):
            self._started.append(event.trial)
        elif isinstance(event, Promoted):
            self._promoted.add(event.trial)
        elif isinstance(event, Result) and event.level == 1:
            self._completed.append(event.trial)


class Counting:
    """Proposes places of `space` in a row, `step` apart."""

    def __init__(self, space: Any, *, step: float = 0.1) -> None:
        self.space, self.step, self._started = space, step, 0

    def propose(self, rng: Any) -> Config:
        return self.space.decode(np.full(len(self.space), self.step * (self._started + 1) % 1))

    def tell(self, event: Event) -> None:
        self._started += isinstance(event, Started)

    def settings(self) -> dict[str, Any]:
        return {"step": self.step}


class Angle(Parameter, frozen=True):
    """Whole degrees from 0 up to `turns` times 360."""

    turns: int = 1

    def decode(self, u: float) -> int:
        return min(int(u * 360 * self.turns), 360 * self.turns - 1)

    def encode(self, value: int) -> float:
        return (value + 0.5) / (360 * self.turns)

    def interval(self, value: int) -> tuple[float, float]:
        return value / (360 * self.turns), (value + 1) / (360 * self.turns)

    def wrong(self, value: object) -> str | None:
        return None if type(value) is int and 0 <= value < 360 * self.turns else "wants whole degrees"
