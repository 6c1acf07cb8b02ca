"""What is asked of a Slurm cluster that is to train? The settings of `rungwise.executors.pilots`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, final

from rungwise.errors import InputError
from rungwise.executors.pilots import Pilots
from rungwise.storage import Storage
from rungwise.trial import Trial
from rungwise.validation import flag, real, whole


@final
@dataclass(frozen=True, kw_only=True)
class SlurmExecutor:
    """Trains on a Slurm cluster, at most `workers` trials at once: `rw.tune(…, executor=rw.SlurmExecutor(…))`.

    The jobs of Slurm are pilots: each takes one trial after the other, until its time is nearly up. With `one_job`
    there is one for each rung of a trial instead, for trainings of hours. Each asks Slurm for this, where None leaves
    it to Slurm: `partition`, `gpus` (a number, or like "a100:2"), `cpus`, `memory` (like "16G"), and `time` (minutes,
    or like "4:00:00"). `options` are any others of sbatch, such as ["--account=lab"].

    A pilot asks its training to pause at the next checkpoint `notice_seconds` before its time is up, so let that be
    longer than an epoch; another goes on with the trial. A pilot that has had no work for `idle_seconds` ends, and
    another is submitted when there is some. One that has not heard of the driver for `driver_seconds` ends as well.

    The study's folder must be on a disk that the driver and all nodes share.

    >>> import rungwise as rw
    >>> executor = rw.SlurmExecutor(partition="gpu", gpus=1, time="4:00:00", workers=8, options=["--account=lab"])
    >>> executor.workers
    8

    Raises `InputError` for settings that cannot be; `StudyError` if sbatch refuses them, when the study begins.
    """

    name: ClassVar = "slurm"

    partition: str | None = None
    gpus: int | str | None = None
    time: int | str | None = None
    workers: int = 1
    one_job: bool = False
    cpus: int | None = None
    memory: str | None = None
    options: Sequence[str] = ()
    notice_seconds: int = 120
    idle_seconds: float = 300.0
    driver_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name in ("workers", "cpus", "notice_seconds"):
            if (value := getattr(self, name)) is not None and whole(value, name) < 1:
                raise InputError(f"{name} must be 1 or more, not {value!r}")
        flag(self.one_job, "one_job")
        for name in ("idle_seconds", "driver_seconds"):
            if real(value := getattr(self, name), name) <= 0:
                raise InputError(f"{name} must be above 0, not {value!r}")
        if isinstance(self.options, str) or not all(isinstance(one, str) and one[:1] == "-" for one in self.options):
            given = shlex.split(self.options) if isinstance(self.options, str) else ["--account=lab"]
            raise InputError(f"options must be a list of options of sbatch, like {given}, not {self.options!r}")

    def __call__(self, function: Callable[[Trial], object], storage: Storage | Path) -> Pilots:
        """Submit the pilots that call `function`."""
        return Pilots(self, function, storage)

    def settings(self) -> dict[str, Any]:
        """The arguments that make an equal one, as plain JSON; those that are the defaults are left out."""
        given = {one.name: value for one in fields(self) if (value := getattr(self, one.name)) != one.default}
        return given | ({"options": list(self.options)} if self.options else {})

    def arguments(self) -> list[str]:
        """What sbatch is told of each pilot."""
        wanted = {
            "partition": self.partition,
            "gpus-per-node": self.gpus,
            "time": self.time,
            "cpus-per-task": self.cpus,
            "mem": self.memory,
        }
        given = [f"--{name}={value}" for name, value in wanted.items() if value is not None]
        return ["--no-requeue", f"--signal=B:USR1@{self.notice_seconds}", *given, *self.options]
