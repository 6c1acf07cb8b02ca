"""What is a slot of a Dask worker? The actor, how many of them a worker has, and which GPUs and threads each has."""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Literal, final

import dask
import msgspec
from distributed import get_worker

from rungwise.errors import InputError
from rungwise.events import Job
from rungwise.executors import Said
from rungwise.executors.devices import CUDA, HIP, Devices, check_devices
from rungwise.executors.host import Host, Unable
from rungwise.executors.shipping import Shipment
from rungwise.storage import Storage

Asked = tuple[Literal["submit"], bytes] | tuple[Literal["pause", "cancel"], int]  # a method of `Slot`, its argument
GPU = "GPU"  # the name that Dask's documentation gives to this resource
NANNYS = "distributed.nanny.pre-spawn-environ.OMP_NUM_THREADS"


class Wanted(msgspec.Struct, frozen=True):
    """What each slot takes of its worker."""

    resources: dict[str, float]
    devices: Devices = "auto"

    def check(self) -> None:
        """Raises `InputError` for what cannot be."""
        check_devices(self.devices)
        for name, amount in self.resources.items():
            if not isinstance(amount, (int, float)) or not 0 < amount < math.inf:
                raise InputError(
                    f"resources must be amounts that a slot takes, like {{'GPU': 1}}, not {self.resources!r}"
                )
            if name == GPU and amount > 1 and amount != int(amount):
                raise InputError(f"a slot takes whole GPUs, or a fraction of one, not {amount:g}")


class Place(msgspec.Struct, frozen=True):
    """Slot `index` of the `slots` of a worker whose GPUs are those from `first` on of its host; `number` of all."""

    number: int
    index: int
    slots: int
    first: int


def slots_of(worker: Mapping[str, Any], wanted: Wanted) -> int:
    """How many slots a worker has, of which the scheduler says `worker`.

    >>> slots_of({"nthreads": 4, "resources": {"GPU": 2.0}}, Wanted({"GPU": 1}))
    2
    """
    counts: list[int] = [worker["nthreads"]]
    counts += [int(worker["resources"].get(name, 0) / amount + 1e-9) for name, amount in wanted.resources.items()]
    return min(counts)


def first_free(taken: Iterable[tuple[int, int]], count: int) -> int:
    """Where `count` numbers in a row are not among those `taken`, each (the first, how many).

    >>> first_free([(0, 2), (3, 2)], 1), first_free([(0, 2), (3, 2)], 2)
    (2, 5)
    """
    first = 0
    for start, length in sorted(taken):
        if first + count <= start:
            break
        first = max(first, start + length)
    return first


def devices_of(place: Place, wanted: Wanted, environment: Mapping[str, str]) -> Devices:
    """What the slot sees, as `rungwise.executors.devices` has it; `environment` is that of its worker.

    >>> devices_of(Place(number=5, index=1, slots=2, first=2), Wanted({"GPU": 1}), {})
    [['3']]
    >>> devices_of(Place(number=5, index=1, slots=2, first=2), Wanted({"GPU": 1}), {"CUDA_VISIBLE_DEVICES": "6,7"})
    [['1']]
    >>> devices_of(Place(number=5, index=3, slots=4, first=0), Wanted({"GPU": 0.5}), {})
    [['1']]
    """
    if (entries := check_devices(wanted.devices)) is not None:
        return [entries[place.index % len(entries)]]
    if wanted.devices != "auto" or GPU not in wanted.resources:
        return "none"
    amount = wanted.resources[GPU]
    before = int(place.index * amount + 1e-9)
    before += 0 if CUDA in environment or HIP in environment else place.first
    return [[str(before + number) for number in range(math.ceil(amount))]]


def threads_of(nthreads: int, slots: int, environment: Mapping[str, str]) -> int | None:
    """How many threads a slot may use: its part of its worker's, unless the user has said it in the environment.

    The value that Dask's nanny sets by itself is nobody's wish.
    """
    said = environment.get("OMP_NUM_THREADS")
    return max(1, nthreads // slots) if said in (None, str(dask.config.get(NANNYS, None))) else None


@final
class Slot:
    """The actor: a host, of whose jobs what is said goes to the scheduler as events of `topic`.

    Its methods are coroutines, which none of them needs: Dask runs other methods of all actors of a worker in one
    thread, one after the other.
    """

    def __init__(self, topic: str, shipment: Shipment, storage: Storage, place: Place, wanted: Wanted) -> None:
        worker = get_worker()
        encode = msgspec.json.Encoder().encode

        def say(said: Said | Unable) -> None:
            if isinstance(said, Unable):
                said = Unable(f"{said.reason}, on {worker.address}")
            worker.log_event(topic, encode(said))

        self._host = Host(
            shipment, storage, say,
            slot=place.number,
            devices=devices_of(place, wanted, os.environ),
            threads=threads_of(worker.state.nthreads, place.slots, os.environ),
        )  # fmt: skip

    async def submit(self, job: bytes) -> None:
        """Begin a job."""
        self._host.submit(msgspec.json.decode(job, type=Job))

    async def pause(self, lease: int) -> None:
        """Ask the job under `lease` to stop at its next checkpoint."""
        self._host.pause(lease)

    async def cancel(self, lease: int) -> None:
        """End the worker process of the job under `lease`."""
        self._host.cancel(lease)

    async def close(self) -> None:
        """End the worker process."""
        await asyncio.to_thread(self._host.close)

    def __del__(self) -> None:
        """The scheduler has let go of it: the driver is gone, or has closed its client."""
        threading.Thread(target=self._host.close, name="rungwise end", daemon=True).start()  # it may take a moment
