"""What is asked of a study by whoever only watches it, figures and Optuna? May import what `state` may."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from rungwise.errors import InputError
from rungwise.events import Fact
from rungwise.state import StudyState


class Watched(Protocol):
    """A study, or what is asked of one here."""

    @property
    def state(self) -> StudyState:
        """How it stands."""
        ...

    @property
    def path(self) -> Path | None:
        """Its file, if it has one."""
        ...

    @property
    def finished(self) -> bool:
        """Whether nothing more will be done."""
        ...

    def refresh(self) -> int:
        """Read what was added since it was opened to look at it; how many facts that was."""
        ...

    def facts(self, after: int = 0) -> Iterator[tuple[float, Fact]]:
        """Its facts but for the first `after`, each with its time in Unix seconds."""
        ...


def watched(study: object, what: str) -> Watched:
    """`study`, or `InputError` if it is none; `what` wants it."""
    if not isinstance(getattr(study, "state", None), StudyState):
        raise InputError(f"{what} wants a study, such as rw.Study.open('runs/study.db'), not {study!r:.80}")
    return study  # type: ignore[return-value]
