"""Who trains, on a Ray cluster? An actor a slot, as many as there is room for; Ray places them.

Ray Core, not Ray Tune: an actor that has died is not begun again by Ray (`max_restarts=0`) but replaced here, and its
job breaks off. An actor that cannot be reached (`ActorUnavailableError`) has not died: it is asked again until it
answers or Ray says that it is dead. See `ray_slot.py` for what is said.
"""

from __future__ import annotations

import functools
import itertools
import math
import queue
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from types import NoneType
from typing import Any, final

from rungwise.errors import InputError
from rungwise.events import Completed, Job
from rungwise.executors import Broke, Executor, Paused, Said
from rungwise.executors.host import Unable
from rungwise.executors.shipping import shipped
from rungwise.log import StudyError
from rungwise.storage import Storage
from rungwise.trial import Trial
from rungwise.validation import amounts, real, whole
from rungwise.words import shown

try:
    import ray
except ModuleNotFoundError:
    raise ModuleNotFoundError("RayExecutor needs ray: pip install 'rungwise[ray]'", name="ray") from None

from ray.exceptions import ActorDiedError, ActorUnavailableError, ObjectLostError

from rungwise.executors.ray_slot import Answer, Here, RungwiseSlot, Wanted, as_answer, encode

LOOK = 1.0  # seconds between looks at what the cluster holds and at actors that cannot be reached
CLOSING = 5.0  # seconds in which slots may end what their jobs have started
DEATHS = 3  # slots in a row that die before they are there, after which none is expected to live


@final
class RayExecutor:
    """Workers on a Ray cluster, for `rw.tune(…, executor=rw.RayExecutor(…))`. Needs `pip install 'rungwise[ray]'`.

    Each worker is a Ray actor that holds `num_cpus`, `num_gpus` (a fraction shares a GPU, 2 gives two to each trial)
    and `resources` until the study ends. There are as many as the cluster has room for, now and when nodes come and go,
    at most `workers`. With `workers` given, those for which there is no room yet wait for it, which makes an
    autoscaling cluster grow. `runtime_env` is Ray's: files, packages and environment variables of the workers.

    It uses the cluster that this process is connected to, or else connects as `ray.init()` does. Nodes and this process
    must share the folder beside the study's file, `<study>.trials`. In a worker, `trial.worker` is its number, and
    Ray sets CUDA_VISIBLE_DEVICES and OMP_NUM_THREADS as for any actor.

    >>> import rungwise as rw
    >>> executor = rw.RayExecutor(num_cpus=2, num_gpus=0.5)
    >>> study = rw.tune(train, space, mode="min", trials=64, path="s.db", executor=executor)  # doctest: +SKIP

    Raises `InputError` for what Ray cannot give to an actor, and, when the study begins, if there are no `workers` and
    no node has what one needs.
    """

    name = "ray"

    def __init__(
        self,
        *,
        num_cpus: float = 1,
        num_gpus: float = 0,
        resources: Mapping[str, float] | None = None,
        workers: int | None = None,
        runtime_env: Mapping[str, Any] | None = None,
    ) -> None:
        self._needs = {"CPU": real(num_cpus, "num_cpus"), "GPU": real(num_gpus, "num_gpus")}
        self._needs |= {name: real(amount, f"resources[{name!r}]") for name, amount in amounts(resources).items()}
        self._workers = None if workers is None else whole(workers, "workers")
        if workers is not None and workers < 1:
            raise InputError(f"workers must be at least 1, not {workers}")
        if not isinstance(runtime_env, (Mapping, NoneType)):
            raise InputError(f'runtime_env must be a table, like {{"env_vars": {{"A": "1"}}}}, not {runtime_env!r:.80}')
        if num_gpus > 1 and num_gpus % 1:
            raise InputError(f"num_gpus is a share of one GPU or a whole number of them, not {num_gpus}")
        if workers is None and not any(self._needs.values()):
            raise InputError("a worker that needs nothing fits any number of times; say how many: workers=4")
        self._options: dict[str, Any] = {
            "num_cpus": num_cpus,
            "num_gpus": num_gpus,
            "resources": amounts(resources),
            "runtime_env": None if runtime_env is None else dict(runtime_env),
        }
        try:
            self._actor()
        except (TypeError, ValueError) as error:
            raise InputError(f"RayExecutor: {_line(error)}") from error

    def settings(self) -> dict[str, Any] | None:
        """The arguments that make an equal one, as plain JSON; None with a `runtime_env`, which may hold secrets."""
        if self._options["runtime_env"] is not None:
            return None
        given = {**self._options, "workers": self._workers}
        default: dict[str, Any] = {"num_cpus": 1, "num_gpus": 0, "resources": {}, "workers": None, "runtime_env": None}
        return {name: value for name, value in given.items() if value != default[name]}

    def _actor(self) -> Any:
        return ray.remote(RungwiseSlot).options(max_concurrency=2, max_restarts=0, max_task_retries=0, **self._options)

    def __call__(self, function: Callable[[Trial], object], storage: Storage) -> Executor:
        """The workers of one study, which call `function`."""
        try:
            if not ray.is_initialized():
                ray.init()
        except (OSError, RuntimeError) as error:
            raise StudyError(f"no Ray cluster can be reached: {_line(error)}; call ray.init(…) before") from error
        if self._fits() == 0:
            needs = ", ".join(f"{amount:g} {name}" for name, amount in self._needs.items() if amount)
            raise InputError(
                f"no node of the Ray cluster has {needs}, which one worker needs; if the cluster will grow, say how "
                "many workers you want: workers=4"
            )
        return _Running(function, storage, self._actor(), self._fits)

    def _fits(self) -> int:
        """How many workers there should be now."""
        if self._workers is not None:
            return self._workers
        return sum(_fit(node["Resources"], self._needs) for node in ray.nodes() if node["Alive"])


def _fit(has: Mapping[str, float], needs: Mapping[str, float]) -> int:
    """How many workers a node holds; a share of a GPU is a share of one.

    >>> _fit({"CPU": 16, "GPU": 2}, {"CPU": 1, "GPU": 0.4})
    4
    """
    fits = []
    for name, amount in needs.items():
        if name == "GPU" and 0 < amount < 1:
            fits.append(math.floor(has.get(name, 0)) * _times(1, amount))
        elif amount:
            fits.append(_times(has.get(name, 0), amount))
    return min(fits)


def _times(has: float, amount: float) -> int:
    return math.floor(has / amount + 1e-6)  # Ray counts in ten thousandths


Turn = tuple["_Slot", int, "Future[bytes]"]


@final
class _Slot:
    """The driver's side of a slot."""

    def __init__(self, number: int, actor: Any, answers: queue.SimpleQueue[Turn | int | Exception]) -> None:
        self.number, self._actor, self._answers = number, actor, answers
        self.job: Job | None = None
        self.here = False  # whether it has spoken, and can be reached
        self.node = ""
        self._turn = self._heard = 0
        self._wanted = Wanted()
        self.ask()

    def order(self, job: Job | None) -> None:
        """Do `job` and no other, or nothing."""
        self.job = job
        self._wanted = Wanted(self._wanted.order + 1, job)
        self.ask()

    def pause(self) -> None:
        self._wanted = Wanted(self._wanted.order, self.job, pauses=True)
        self.ask()

    def ask(self) -> None:
        """Say what is wanted and what was heard."""
        self._turn += 1
        answer = self._actor.talk.remote(self._turn, self._heard, encode(self._wanted)).future()
        answer.add_done_callback(functools.partial(self._answered, self._turn))

    def _answered(self, turn: int, answer: Future[bytes]) -> None:
        self._answers.put((self, turn, answer))  # in a thread of Ray's

    def take(self, turn: int, answer: Answer) -> list[Said | Unable | Here]:
        """What is new in `answer`."""
        new = answer.messages[self._heard - answer.first :] if answer.first <= self._heard else []
        self._heard += len(new)
        self.here = True
        if turn == self._turn:
            self.ask()
        return new

    def missed(self, turn: int) -> None:
        """It could not be reached, or its answer was lost: it is asked again, and again, until it answers or dies."""
        if turn == self._turn:
            self.here = False

    @property
    def lost(self) -> bool:
        return self.node != "" and not self.here

    def close(self) -> Any:
        return self._actor.close.remote()

    def kill(self) -> None:
        ray.kill(self._actor, no_restart=True)


@final
class _Running:
    """An `Executor`: the slots that there are."""

    def __init__(
        self, function: Callable[[Trial], object], storage: Storage, actor: Any, fits: Callable[[], int]
    ) -> None:
        storage.folder.mkdir(parents=True, exist_ok=True)
        storage = Storage(storage.folder.resolve(), storage.apart)
        self._begin = functools.partial(actor.remote, ray.put(shipped(function)), storage)
        self._fits = fits
        self._wanted = fits()  # how many slots there should be
        self._slots: dict[int, _Slot] = {}
        self._idle: list[_Slot] = []  # the one that has been so for longest first: what breaks off goes elsewhere
        self._busy: dict[int, _Slot] = {}  # by the lease of its job
        self._deaths = 0  # of slots in a row that were never there
        self._answers: queue.SimpleQueue[Turn | int | Exception] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._fill()
        threading.Thread(target=self._look, name="rungwise looks at Ray", daemon=True).start()

    @property
    def capacity(self) -> int:
        return sum(slot.here for slot in self._slots.values())

    def submit(self, job: Job) -> None:
        slot = next(slot for slot in self._idle if slot.here)
        self._idle.remove(slot)
        self._busy[job.lease] = slot
        slot.order(job)

    def poll(self, timeout: float) -> list[Said]:
        heard: list[Said] = []
        try:
            self._take(self._answers.get(timeout=timeout), heard)
            for _ in range(self._answers.qsize()):
                self._take(self._answers.get_nowait(), heard)
        except queue.Empty:
            pass
        return heard

    def pause(self) -> None:
        for slot in self._busy.values():
            slot.pause()

    def cancel(self, lease: int) -> None:
        if (slot := self._busy.pop(lease, None)) is not None:
            slot.order(None)
            self._idle.append(slot)

    def close(self) -> None:
        if self._closed.is_set():
            return
        self._closed.set()
        # a killed actor ends its worker process, but not what that has started
        closing = [slot.close() for slot in self._slots.values() if slot.here]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=CLOSING)
        for slot in self._slots.values():
            slot.kill()

    def _look(self) -> None:
        """Now and then, in a thread of its own: how many slots the cluster holds."""
        while not self._closed.wait(LOOK):
            try:
                self._answers.put(self._fits())
            except Exception as error:  # for whoever polls
                self._answers.put(error)
                return

    def _fill(self) -> None:
        """As many slots as there should be; those for which there is no room yet wait for it in Ray."""
        surplus = len(self._slots) - self._wanted
        for slot in [slot for slot in self._slots.values() if not slot.node][: max(0, surplus)]:
            slot.kill()
            del self._slots[slot.number]
            self._idle.remove(slot)
        free = (number for number in itertools.count() if number not in self._slots)
        for number in list(itertools.islice(free, max(0, -surplus))):
            self._slots[number] = slot = _Slot(number, self._begin(number), self._answers)
            self._idle.append(slot)

    def _take(self, answer: Turn | int | Exception, heard: list[Said]) -> None:
        if isinstance(answer, Exception):
            raise StudyError(f"the Ray cluster cannot be asked for its nodes: {_line(answer)}") from answer
        if isinstance(answer, int):
            self._wanted = answer
            self._fill()
            for slot in self._slots.values():
                if slot.lost:
                    slot.ask()  # to which it answers at the next turn at the latest
            return
        slot, turn, future = answer
        if self._slots.get(slot.number) is not slot:
            return  # it was dead before
        error = future.exception()
        if error is None:
            for said in slot.take(turn, as_answer(future.result())):
                self._hear(slot, said, heard)
        elif isinstance(error, ActorUnavailableError | ObjectLostError):
            slot.missed(turn)
        else:
            self._dead(slot, error, heard)

    def _hear(self, slot: _Slot, said: Said | Unable | Here, heard: list[Said]) -> None:
        if isinstance(said, Here):
            slot.node = said.node
            self._deaths = 0
        elif isinstance(said, Unable):
            why = said.reason.removeprefix("StudyError: ")
            raise StudyError(f"on node {slot.node} of the Ray cluster no job can be done: {why}")
        elif slot.job is not None and said.lease == slot.job.lease:
            heard.append(said)
            if isinstance(said.message, Completed | Broke | Paused):
                self._free(slot)

    def _free(self, slot: _Slot) -> None:
        assert slot.job is not None
        del self._busy[slot.job.lease]
        slot.job = None
        self._idle.append(slot)

    def _dead(self, slot: _Slot, error: BaseException, heard: list[Said]) -> None:
        """Nothing that `slot` may still say is heard, and another takes its number."""
        slot.kill()
        del self._slots[slot.number]
        if (job := slot.job) is not None:
            end: Broke | Paused = Broke(job.trial, f"its Ray actor on node {slot.node} died: {_line(error)}")
            if getattr(error, "preempted", False):
                end = Paused(job.trial)
            heard.append(Said(job.lease, None, end))
            del self._busy[job.lease]
        else:
            self._idle.remove(slot)
        if not slot.node:
            self._deaths += 1
            if getattr(error, "actor_init_failed", False) or self._deaths == DEATHS:
                raise StudyError(f"no worker can be started in the Ray cluster: {_line(error)}") from error
        self._fill()


def _line(error: BaseException) -> str:
    """What Ray says at length, in a line: without numbers that nobody knows, and of a traceback the last line."""
    text = re.sub(r"\t\w+: \S*\n|Node Id: \w+", "", str(error).removeprefix(ActorDiedError.BASE_ERROR_MSG))
    if "Traceback" in text:
        text = text.strip().splitlines()[-1]
    return shown(" ".join(text.partition("Some common causes")[0].split()))[:500]
