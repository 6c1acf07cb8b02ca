"""Who trains, on a Dask cluster? An actor for each slot, on whatever workers there are now.

Never a task for each job: Dask runs the tasks of a killed worker again by itself, those that have ended too, and cannot
end one that runs. An actor is never run again (https://distributed.dask.org/en/stable/actors.html).

`slots` is what is on a Dask worker, `line` what lies between, and `workers` the driver's side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

try:
    import distributed
except ModuleNotFoundError:
    needed = "DaskExecutor needs distributed: pip install 'rungwise[dask]'"
    raise ModuleNotFoundError(needed, name="distributed") from None

from rungwise.errors import InputError
from rungwise.executors import Executor
from rungwise.executors.dask.line import Line
from rungwise.executors.dask.slots import Wanted
from rungwise.executors.dask.workers import DaskWorkers
from rungwise.executors.devices import Devices
from rungwise.executors.shipping import shipped
from rungwise.storage import Storage
from rungwise.trial import Trial
from rungwise.validation import amounts


@final
class DaskExecutor:
    """Jobs on the workers of a Dask cluster: `rw.tune(…, executor=rw.DaskExecutor(client))`.

    `cluster` is a `distributed.Client`, a cluster (`LocalCluster`, `SLURMCluster`, `KubeCluster`, …), or the
    scheduler's address. The executor connects to the scheduler itself, so your client stays as it is.

    Each thread of a Dask worker is a slot: one job at a time, in a process of its own beside the worker. With
    `resources`, such as `{"GPU": 1}`, a worker has as many slots as its resources last for, and at most one a thread;
    each slot has its share of the worker's threads. Where `resources` has "GPU", each slot sees so many of its
    worker's GPUs and no others; 0.5 means two slots on each GPU. Workers on one host are taken to have different GPUs,
    unless they have a CUDA_VISIBLE_DEVICES of their own. `devices=` says it otherwise: "none" leaves
    CUDA_VISIBLE_DEVICES as the worker has it, and a list has an entry for each slot of a worker in turn.

    Workers may come and go. What a lost worker was doing is given out again; if it was taken away (retired, scaled
    down, at the end of its lifetime) rather than killed, that does not count as a failure. Retired workers reach a
    checkpoint first. `adaptive=(1, 16)` adapts the number of workers to the number of jobs, between these bounds:
    `cluster.adapt()` cannot, since Dask does not see the jobs.

    The study's folder, or the store in `checkpoints=`, must be the same for driver and workers, and `rungwise` must be
    installed on the workers.

    >>> import rungwise as rw
    >>> from distributed import LocalCluster
    >>> def train(trial):
    ...     for epoch in trial:
    ...         trial.report((trial.config["x"] - 0.3) ** 2 + 1 / epoch)
    >>> space = {"x": rw.Float(0, 1)}
    >>> with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
    ...     study = rw.tune(train, space, mode="min", trials=9, executor=rw.DaskExecutor(cluster), quiet=True)
    >>> len(study.trials)
    9

    Raises `InputError` for invalid arguments, and `StudyError` if the scheduler cannot be reached.
    """

    name = "dask"

    def __init__(
        self,
        cluster: distributed.Client | distributed.deploy.Cluster | str | None = None,
        *,
        resources: Mapping[str, float] | None = None,
        devices: Devices = "auto",
        adaptive: tuple[int, int] | None = None,
    ) -> None:
        self._wanted = Wanted(amounts(resources), devices)
        self._wanted.check()
        self._adaptive = _checked_bounds(adaptive)
        self._security: Any = None
        self._cluster: Any = None
        if isinstance(cluster, distributed.Client):
            if cluster.scheduler is None:
                raise InputError(f"DaskExecutor wants a connected client, but this one is {cluster.status}")
            self._address, self._security, self._cluster = cluster.scheduler.address, cluster.security, cluster.cluster
        elif isinstance(cluster, distributed.deploy.Cluster):
            self._address, self._security, self._cluster = cluster.scheduler_address, cluster.security, cluster
        elif isinstance(cluster, str) and cluster:
            self._address = cluster
        else:
            got = ", such as cluster=tcp://HOST:8786" if cluster is None else f", not {cluster!r}"
            raise InputError(f"DaskExecutor wants a distributed.Client, a cluster, or the scheduler's address{got}")
        if adaptive is not None and not isinstance(self._cluster, distributed.SpecCluster):
            raise InputError(
                "adaptive= needs a cluster whose workers this process starts, such as LocalCluster or those of "
                f"dask-jobqueue, not {cluster!r}; scale others with cluster.scale(n)"
            )

    def settings(self) -> dict[str, Any] | None:
        """The arguments that connect to the same scheduler again; None if that needs what no file should hold (TLS)."""
        if self._security is not None and self._security.get_connection_args("client").get("ssl_context") is not None:
            return None
        devices = {} if self._wanted.devices == "auto" else {"devices": self._wanted.devices}
        resources = {"resources": dict(self._wanted.resources)} if self._wanted.resources else {}
        return {"cluster": self._address, **resources, **devices}

    def __call__(self, function: Callable[[Trial], object], storage: Storage) -> Executor:
        """The executor of one study, which `tune` closes at its end."""
        shipment = shipped(function)
        line = Line(self._address, self._security)
        workers = DaskWorkers(line, shipment, storage, self._wanted)
        if self._adaptive is not None:
            least, most = self._adaptive
            workers.adapt(self._cluster, least, most)
        return workers


def _checked_bounds(adaptive: object) -> tuple[int, int] | None:
    if adaptive is None:
        return None
    wanted = f"adaptive must be the least and the most workers, like (1, 16), not {adaptive!r}"
    if not isinstance(adaptive, tuple) or len(adaptive) != 2 or not all(type(each) is int for each in adaptive):
        raise InputError(wanted)
    least, most = adaptive
    if not 0 <= least <= most or most == 0:
        raise InputError(wanted)
    return least, most
