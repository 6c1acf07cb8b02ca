"""How is an experiment run? All that it can be told of its size, as one value that checks itself.

`experiment` takes it, and the command has an option for each field. Imports `core`, `errors` and `validation`.
"""

from __future__ import annotations

from typing import Annotated, final

import msgspec
from msgspec import Meta

from rungwise.core.rungs import Ladder
from rungwise.errors import InputError
from rungwise.validation import flag, real, whole


@final
class ExperimentOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How an experiment is run. A task's ladder goes from its first resource to `max_resource` (default: its last).

    Levels rise by `reduction_factor`. `trials` configurations are started (fewer if the table has fewer rows) on
    `workers` simulated workers, with seeds 0 … `repeats` - 1. As in the paper, a run ends when the last one is started;
    with `drain` it ends when no more work can be given out, which is fairer. The number of `processes` does not change
    the results.

    >>> ExperimentOptions(repeats=2).trials
    256

    Raises `InputError` for counts below 1, and for no more trials than workers without `drain`.
    """

    repeats: Annotated[int, Meta(description="Seeds per task.")] = 5
    reduction_factor: Annotated[float, Meta(description="η: one in η trials is promoted at each rung.")] = 3
    max_resource: Annotated[int | None, Meta(description="R (default: the last resource of each table).")] = None
    trials: Annotated[int, Meta(description="Configurations to start.")] = 256
    workers: Annotated[int, Meta(description="Simulated workers.")] = 4
    drain: Annotated[bool, Meta(description="Run on until no more work can be given out.")] = False
    processes: Annotated[int, Meta(description="Processes to use on this machine.")] = 1

    def __post_init__(self) -> None:
        for name in ("repeats", "trials", "workers", "processes"):
            if whole(value := getattr(self, name), name) < 1:
                raise InputError(f"{name} must be 1 or more, not {value!r}")
        real(self.reduction_factor, "reduction_factor")
        flag(self.drain, "drain")
        if not self.drain and self.trials <= self.workers:
            raise InputError(
                f"trials={self.trials} must be more than workers={self.workers}, or all are started at time 0; "
                "or set drain"
            )

    def ladder(self, first: int, last: int) -> Ladder:
        """The ladder of a task whose curves go from `first` to `last`."""
        return Ladder(first, self.reduction_factor, last if self.max_resource is None else self.max_resource)
