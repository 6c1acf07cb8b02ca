"""Who does the training? Workers take jobs and say what happens; they decide nothing.

A worker speaks in facts (`Reported`, `Completed`), and in the messages below, of which the loop makes facts. It
numbers what it says of a job, so that the loop takes each message once and in order, whatever lies between the two.
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


class Noticed(msgspec.Struct, frozen=True, tag_field="fact", tag=str.lower):
    """Something that the user should know of the job of `trial`, which goes on."""

    trial: int
    text: str


Message = Reported | Completed | Broke | Paused | Noticed


class Said(msgspec.Struct, frozen=True, tag_field="fact", tag=str.lower):
    """Message number `place` (from 0) of the job that was given out with `lease`.

    Without `place` it is not the worker that speaks but the one who watches over it: the worker is gone, and what
    it may still say is not to be heard.
    """

    lease: int
    place: int | None
    message: Message


class Workers(Protocol):
    """A number of places at which jobs run."""

    @property
    def size(self) -> int:
        """How many jobs can run at once."""
        ...

    def submit(self, job: Job) -> None:
        """Begin a job; no more than `size` run at once."""
        ...

    def poll(self) -> list[Said]:
        """Wait until something happens or a moment has passed; what was said.

        It may come late, twice and out of order, but not be lost: where it would be, `Broke` without a place is said.
        """
        ...
