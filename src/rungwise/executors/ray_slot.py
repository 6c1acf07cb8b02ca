"""What does a slot of a Ray cluster do, and what do it and the driver say to each other? The actor of `ray.py`.

The two hold one conversation, which nothing that is lost on the way can break. Each turn says all that the driver wants
and how much it has heard; the slot answers with all that was said since, once there is something, or at once if a newer
turn comes. So a turn may be lost, late or repeated (`ActorUnavailableError`: it "may or may not have been executed"):
it is said again. The other way is a streaming generator a job: of one that breaks off the rest is lost, and the job
with it, and each report is an object of its own.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import final

import msgspec
import ray

from rungwise.events import Job
from rungwise.executors import Said
from rungwise.executors.host import Host, Unable
from rungwise.executors.shipping import Shipment
from rungwise.storage import Storage

MOST = 500  # messages in an answer: Ray keeps large ones elsewhere


class Here(msgspec.Struct, frozen=True, tag_field="fact", tag=str.lower):
    """The first message of a slot: it is on `node` and takes jobs."""

    node: str


class Wanted(msgspec.Struct, frozen=True):
    """What the driver wants of a slot, in order number `order`: `job`, which is to pause if `pauses`, or nothing."""

    order: int = 0
    job: Job | None = None
    pauses: bool = False


class Answer(msgspec.Struct, frozen=True):
    """What was said in a slot, from message number `first` on."""

    first: int
    messages: list[Said | Unable | Here]


encode = msgspec.json.Encoder().encode
as_wanted = msgspec.json.Decoder(Wanted).decode
as_answer = msgspec.json.Decoder(Answer).decode


@final
class RungwiseSlot:
    """The actor, of two threads: one waits for something to be said, the other takes what the driver says next."""

    def __init__(self, shipment: Shipment, storage: Storage, slot: int) -> None:
        for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # or these would use all cores
            os.environ.setdefault(name, os.environ.get("OMP_NUM_THREADS", "1"))  # which Ray sets
        # what Ray found for this process comes first: the files and packages of its runtime environment
        own = [entry for entry in sys.path if not entry.startswith(os.path.dirname(ray.__file__))]
        path = list(dict.fromkeys([*own, *shipment.hello.path]))
        hello = msgspec.structs.replace(shipment.hello, path=path, pythonpath=os.environ.get("PYTHONPATH"))
        self._news = threading.Condition()
        self._turn = self._order = self._lease = 0
        self._first = 0  # number of the first message that the driver may not have heard
        self._said: list[Said | Unable | Here] = [Here(ray.util.get_node_ip_address())]
        self._host = Host(msgspec.structs.replace(shipment, hello=hello), storage, self._say, slot=slot)

    def _say(self, said: Said | Unable) -> None:
        with self._news:
            self._said.append(said)
            self._news.notify_all()

    def talk(self, turn: int, heard: int, wanted: bytes) -> bytes:
        """Do what is `wanted`; what was said after the first `heard` messages, as soon as there is something."""
        with self._news:
            if turn > self._turn:
                self._turn = turn
                del self._said[: heard - self._first]
                self._first = heard
                self._do(as_wanted(wanted))
                self._news.notify_all()
            self._news.wait_for(lambda: self._said or self._turn > turn)
            return encode(Answer(self._first, self._said[:MOST]))

    def _do(self, wanted: Wanted) -> None:
        if wanted.order > self._order:
            self._host.cancel(self._lease)  # nothing, if its job has ended
            self._order = wanted.order
            if wanted.job is not None:
                self._lease = wanted.job.lease
                self._host.submit(wanted.job)
        if wanted.pauses:
            self._host.pause(self._lease)

    def close(self) -> None:
        """End the worker process, and all that it started."""
        self._host.close()
