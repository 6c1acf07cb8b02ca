"""Which executor is meant? By its name, as the command line, a settings file and a study's file have it.

Imports `errors` and `parts` only: an engine is imported when it is wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from rungwise.errors import InputError, suggestion
from rungwise.parts import Parts

EXECUTORS = Parts(
    "executor",
    "rungwise.executors",
    {
        "dask": "rungwise.executors.dask:DaskExecutor",
        "ray": "rungwise.executors.ray:RayExecutor",
        "slurm": "rungwise.executors.slurm:SlurmExecutor",
    },
    extras={"dask": "dask", "ray": "ray", "slurm": "slurm"},
)
"""A call of one with the function and the trials' storage makes it; "local" is none of them."""

ExecutorName = Literal["dask", "local", "ray", "slurm"]
NAMES = get_args(ExecutorName)


def named(given: object) -> dict[str, Any] | None:
    """`given`, a name or a dict of a name and settings, as such a dict; None for local processes.

    >>> named("local"), named({"name": "slurm", "gpus": 1})
    (None, {'name': 'slurm', 'gpus': 1})

    Raises `InputError` if there is no such executor. Its settings are looked at when it is made.
    """
    spec = {"name": given} if isinstance(given, str) else given
    if spec is None:
        return None
    if not isinstance(spec, Mapping) or not isinstance(name := spec.get("name"), str):
        raise InputError(f'executor must be a name, or a table like {{"name": "slurm", "gpus": 1}}, not {given!r:.200}')
    if name not in NAMES:
        raise InputError(f"there is no executor {name!r:.80}{suggestion(name, NAMES)}")
    if name == "local" and len(spec) > 1:
        given_too = ", ".join(str(setting) for setting in spec if setting != "name")
        raise InputError(f"the executor 'local' has no settings, but got {given_too}; use workers and devices")
    return None if name == "local" else dict(spec)


def noted(executor: object) -> dict[str, Any] | str:
    """What a study's file notes of an executor that was passed: name and settings, or what it is called if neither."""
    kind = executor if isinstance(executor, type) else type(executor)
    if EXECUTORS.is_ours(executor) and not isinstance(executor, type) and hasattr(executor, "settings"):
        settings: dict[str, Any] | None = executor.settings()
        if settings is not None:
            return {"name": EXECUTORS.name_of(executor), **settings}
    called: str = getattr(executor, "__qualname__", None) or kind.__qualname__
    return called


def made(spec: Mapping[str, Any]) -> Any:
    """What makes the executor that `spec` names. `InputError` for settings that a study's file is not to store."""
    executor = EXECUTORS.make(spec["name"], **{name: value for name, value in spec.items() if name != "name"})
    if executor.settings() is None:
        raise InputError(
            f"the executor {spec['name']!r} with these settings ({', '.join(spec)}) may hold secrets, which a study's "
            "file would store; pass the executor itself, from Python"
        )
    return executor
