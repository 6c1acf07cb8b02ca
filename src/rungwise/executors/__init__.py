"""Who does the training? Workers take jobs and say what happens; they decide nothing.

A worker speaks in facts (`Reported`, `Completed`), and in the two messages below, of which the loop makes
facts.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from rungwise.events import Completed, Job, Reported


class Broke(msgspec.Struct, frozen=True, tag_field="fact", tag=str.lower):
    """The job of `trial` broke off: the function raised, ran out of time, or its process died."""

    trial: int
    reason: str


class Paused(msgspec.Struct, frozen=True, tag_field="fact", tag=str.lower):
    """The job of `trial` stopped at a checkpoint because it was asked to; it will be given out again."""

    trial: int


Message = Reported | Completed | Broke | Paused


class Workers(Protocol):
    """A number of places at which jobs run."""

    @property
    def size(self) -> int:
        """How many jobs can run at once."""
        ...

    def submit(self, job: Job) -> None:
        """Begin a job; no more than `size` run at once."""
        ...

    def poll(self) -> list[Message]:
        """Wait until something happens or a moment has passed; what happened, oldest first."""
        ...
