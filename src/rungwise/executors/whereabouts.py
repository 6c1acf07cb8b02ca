"""Who does a job, where, since when? Noted when it begins, for `rungwise workers`."""

from __future__ import annotations

import os
import socket
import time

import msgspec

from rungwise.executors.devices import CUDA, HIP


class Whereabouts(msgspec.Struct, frozen=True, omit_defaults=True):
    """Worker number `worker`, in process `process` of `host`, has done a job since `since`, by the clock there.

    `devices` are the GPUs that it sees, None if that was not set.
    """

    worker: int
    host: str
    process: int
    since: float
    devices: str | None = None


def here(worker: int) -> Whereabouts:
    """Worker number `worker` begins now, in this process."""
    devices = os.environ.get(CUDA, os.environ.get(HIP))
    return Whereabouts(worker, socket.gethostname(), os.getpid(), time.time(), devices)
