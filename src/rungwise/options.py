"""How is a study run? All that a run can be told, as one value that checks itself.

`tune` takes the fields as arguments, the command has an option for each, a settings file a key, and a study's file
keeps them for `rungwise resume`. Imports `errors`, `validation`, `core`, `store`, `executors.devices` and
`executors.named`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, final

import msgspec
from msgspec import Meta

from rungwise import store
from rungwise.core import Scheduler
from rungwise.errors import InputError
from rungwise.executors.devices import Devices, of_slots
from rungwise.executors.named import named
from rungwise.validation import flag, real, whole

Seconds = float | None


@final
class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The fields are the arguments of `tune` with these names, with the same defaults.

    >>> RunOptions(workers=2).noted()["workers"]
    2

    Raises `InputError` for an invalid value.
    """

    workers: Annotated[int, Meta(description="Local processes (default 1).")] = 1
    executor: Annotated[
        Any, Meta(description="Where jobs run: local (default), dask, ray, or slurm; see --executor-option.")
    ] = None
    devices: Annotated[
        Any,
        Meta(description="GPUs per worker: auto (default), none, one each like 0,1, or several each like 0+1,2+3."),
    ] = "auto"
    refit: Annotated[
        Any,
        Meta(description="At the end, train the best trial to the maximum resource (--budget and --hours imply it)."),
    ] = None
    horizon: Annotated[
        int | None, Meta(description="The most that any trial may ever be trained, for learning-rate schedules.")
    ] = None
    job_seconds: Annotated[Seconds, Meta(description="End a job that takes longer.")] = None
    epoch_seconds: Annotated[Seconds, Meta(description="End a job whose epochs take longer on average.")] = None
    silence_seconds: Annotated[Seconds, Meta(description="End a job that reports nothing for longer.")] = None
    retries: Annotated[int, Meta(description="How often an interrupted job is retried (default 2).")] = 2
    patience: Annotated[float, Meta(description="Seconds to wait while no job works (default 120).")] = 120.0
    checkpoints: Annotated[
        Any, Meta(description="Folder for checkpoints, such as one on a larger disk (default: STUDY.trials).")
    ] = None
    keep_checkpoints: Annotated[bool, Meta(description="Keep every trial's checkpoints.")] = False
    sync: Annotated[bool, Meta(description="Wait for the disk at every decision.")] = False
    quiet: Annotated[bool, Meta(description="Show nothing while it runs.")] = False

    def __post_init__(self) -> None:
        for name, least in (("workers", 1), ("retries", 0)):
            if whole(value := getattr(self, name), name) < least:
                raise InputError(f"{name} must be {least} or more, not {value!r}")
        of_slots(self.devices, self.workers, os.environ)
        for name in ("job_seconds", "epoch_seconds", "silence_seconds"):
            if (limit := getattr(self, name)) is not None and real(limit, name) <= 0:
                raise InputError(f"{name} must be above 0, not {limit!r}")
        if real(self.patience, "patience") < 0:
            raise InputError(f"patience must be 0 seconds or more, not {self.patience!r}")
        for name in ("keep_checkpoints", "sync", "quiet"):
            flag(getattr(self, name), name)
        store.noted(self.checkpoints)
        named(self.executor)
        if self.horizon is not None and whole(self.horizon, "horizon") < 1:
            raise InputError(f"horizon must be a resource of 1 or more, not {self.horizon!r}")
        if self.refit is not None and not isinstance(self.refit, bool) and whole(self.refit, "refit") < 1:
            raise InputError(f"refit must be True, False, or a resource of 1 or more, not {self.refit!r}")

    @staticmethod
    def of(how: Mapping[str, Any]) -> RunOptions:
        """Those in what was noted of a run; what is missing, or None, is the default."""
        given = {name: how[name] for name in RunOptions.__struct_fields__ if how.get(name) is not None}
        if isinstance(given.get("executor"), str):  # one that was passed, which no file can store
            del given["executor"]
        return RunOptions(**given)

    def noted(self) -> dict[str, Any]:
        """As plain JSON, for a study's file."""
        noted = msgspec.structs.asdict(self)
        where, devices = store.noted(self.checkpoints), "none" if self.devices is None else self.devices
        return noted | {"devices": devices, "checkpoints": where, "executor": named(self.executor)}

    def check_against(self, scheduler: Scheduler) -> None:
        """Raise `InputError` if it is not known how far to refit, or if trials are trained beyond the horizon."""
        most = scheduler.max_resource
        if self.refit is True and most is None:
            raise InputError("the scheduler has no max_resource; say how far to refit, such as refit=81")
        if self.horizon is not None and most is not None and self.horizon < most:
            raise InputError(
                f"horizon={self.horizon} is below max_resource={most}, to which trials are trained; leave it out to "
                "use max_resource"
            )


__all__ = ["Devices", "RunOptions"]
