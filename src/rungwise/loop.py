"""The loop: give out jobs, take what workers say, note it. The same lines on real and on virtual time.

What real workers say may come late, twice and out of order: between them and the loop is an `Inbox`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Protocol, final

import msgspec

from rungwise.blame import AtOnce, Judge, Verdict
from rungwise.decider import Decider
from rungwise.events import Completed, Job, Reported
from rungwise.executors import TICK, Broke, Carrier, Message, Paused
from rungwise.study import Study
from rungwise.validation import copied
from rungwise.words import shown_lines


class Workers(Protocol):
    """What the loop needs of those who train: an `Inbox` makes it of an executor."""

    @property
    def capacity(self) -> int:
        """How many jobs may run at once, now."""
        ...

    def submit(self, job: Job) -> None:
        """Begin a job."""
        ...

    def poll(self, timeout: float) -> list[Message]:
        """Wait until something happens, at most `timeout` seconds; the messages of each job, once and in order."""
        ...


def anywhere(job: Job, places: int) -> bool:
    """Whether `job` may be begun with the last `places` places that are free: always."""
    return True


def drive(
    study: Study,
    workers: Workers,
    *,
    retries: int = 0,
    drain: bool = True,
    may_give_out: Callable[[], bool] = lambda: True,
    only: Callable[[Job], bool] | None = None,
    takes: Callable[[Job, int], bool] = anywhere,
    stopping: Callable[[], bool] = lambda: False,
    watch: Callable[[list[Message]], None] = lambda messages: None,
    asks: Callable[[], bool] = lambda: False,
    judge: Judge | None = None,
) -> None:
    """Run `study` on `workers` until nothing runs and no more work can be given out.

    A job is begun only when the fact that gives it out is durable. Free workers get work after each job
    that ends, before the next message is read, and when there are more of them than before; while there are none, it
    waits for some as long as there is work. A job that breaks off is given out again up to `retries`
    times, or as a `judge` says, as soon as `takes` is true of it and of how many places are left.
    With `drain=False` it ends at the moment when the last trial of the budget is started.
    `may_give_out` is asked before each job is given out; with `only`, just those that were given out before are, and
    of them those of which it is true. What breaks off while `stopping` is not held against its job:
    it is as if it had paused. `watch` sees the messages of each round, when the jobs that follow from them are begun;
    after it `asks` says whether there may be work that there was not before.
    """
    judge = AtOnce(retries) if judge is None else judge
    decider = study.decider
    desk = _Desk(decider, judge, drain, may_give_out, only, takes)
    taking = _Taking(decider, judge, stopping)
    messages: list[Message] = []
    running, capacity = 0, workers.capacity
    jobs = desk.jobs(capacity)
    while True:
        decider.flush()
        for job in jobs:
            workers.submit(job)
        watch(messages)
        running += len(jobs)
        if asks() and (jobs := desk.jobs(capacity - running)):
            messages = []
            continue
        if (running == 0 and not desk.waits(capacity)) or (not drain and _all_started(decider)):
            break
        messages, jobs = workers.poll(TICK), []
        before, capacity = capacity, workers.capacity
        for message in messages:
            if type(message) is Reported and not judge.watches:  # nearly all, in a simulation
                decider.report(message)
            elif taking.take(message):
                running -= 1
                jobs += desk.jobs(capacity - running - len(jobs))
        if not jobs and (judge.waiting or capacity > before):  # there may be work, of which nobody has asked
            jobs = desk.jobs(capacity - running)
    for verdict in judge.left():
        decider.take(verdict)
    decider.flush()


@final
class _Desk:
    """Gives out what there is for free workers, as far as everyone who is asked allows it."""

    def __init__(
        self,
        decider: Decider,
        judge: Judge,
        drain: bool,
        may_give_out: Callable[[], bool],
        only: Callable[[Job], bool] | None,
        takes: Callable[[Job, int], bool],
    ) -> None:
        self._decider, self._judge, self._drain, self._watched = decider, judge, drain, judge.watches
        self._may_give_out, self._only, self._takes = may_give_out, only, takes

    def jobs(self, free: int) -> list[Job]:
        """Jobs for `free` workers, as many as there are now."""
        decider, judge, drain = self._decider, self._judge, self._drain
        jobs: list[Job] = []
        while len(jobs) < free and (drain or not _all_started(decider)) and self._may_give_out():
            if not judge.may_give_out():
                break
            again = self._only is not None or decider.state.again
            if (job := self._next(free - len(jobs)) if again else decider.hand_out(again=False)) is None:
                if not (verdicts := judge.stranded()):
                    break
                for verdict in verdicts:
                    decider.take(verdict)
                continue
            if self._watched:
                judge.began(job.trial)
            jobs.append(job)
        return jobs

    def waits(self, capacity: int) -> bool:
        """Whether there will be work though nothing runs: when its time has come, or where `capacity` is 0 now."""
        decider, judge, only = self._decider, self._judge, self._only
        if not self._may_give_out():
            return False
        if judge.waiting or capacity > 0 or not judge.may_give_out():
            return judge.waiting
        return any(map(only, decider.state.again.values())) if only is not None else not decider.finished

    def _next(self, places: int) -> Job | None:
        """The next job for the last `places` free workers, where there are some that were given out before."""
        decider, state, only = self._decider, self._decider.state, self._only
        if only is None and self._judge.new_first and (job := decider.hand_out(again=False)) is not None:
            return job
        if state.again:
            spent = state.spent
            wanted = only or (lambda job: job.refit or not spent)
            if (job := decider.give_again(lambda job: wanted(job) and self._takes(job, places))) is not None:
                return job
        return decider.hand_out(again=False) if only is None else None


@final
class _Taking:
    """Notes what workers say, and what the judge makes of it."""

    def __init__(self, decider: Decider, judge: Judge, stopping: Callable[[], bool]) -> None:
        self._decider, self._judge, self._stopping, self._watched = decider, judge, stopping, judge.watches
        self._refused: dict[int, str] = {}  # trial -> what is wrong with a score that its job reported

    def take(self, message: Message) -> bool:
        """Note one message; whether a job has ended with it, so that there may be work for a free worker."""
        decider, judge = self._decider, self._judge
        trial = message.trial
        if self._watched and not isinstance(message, Broke | Paused):
            wrong = self._refused.get(trial) or decider.refusal(message)
            if wrong is not None and isinstance(message, Completed):
                message = Broke(trial, wrong)
            elif wrong is not None:
                self._refused[trial] = wrong
                return False
        if type(message) is Reported:
            decider.report(message)
            judge.reported(trial)
            return False
        if type(message) is Completed:
            decider.take(message)
            for verdict in judge.ended(trial) if self._watched else ():
                decider.take(verdict)
            return True
        if isinstance(message, Paused):  # or its worker was taken away
            self._refused.pop(trial, None)
            decider.put_back(trial)
            self._note(judge.paused(trial))
            return True
        if isinstance(message, Broke):
            reason = shown_lines(self._refused.pop(trial, message.reason))
            if self._stopping():
                decider.put_back(trial)
                judge.withdrawn(trial)
            else:
                self._note(judge.broke(trial, decider.state.trials[trial].attempts, reason))
            return True
        return False

    def _note(self, verdicts: Sequence[Verdict]) -> None:
        for verdict in verdicts:
            self._decider.take(verdict)


def _all_started(decider: Decider) -> bool:
    return len(decider.state.trials) == decider.state.budget.trials


LAST = (Completed, Broke, Paused)  # no message of a job comes after one of these


@final
class Inbox:
    """An executor, or another `carrier`, for the loop: it hears what is said of the jobs that are out, once, in order.

    Each job is given out under the next of the `leases`, which only grow; where workers may outlive their driver, those
    of a later driver are the greater ones (`storage.leases`). `refused` and `repeated` count what was not taken.
    """

    def __init__(self, carrier: Carrier, leases: Iterator[int] | None = None) -> None:
        self._carrier = carrier
        self.capacity = carrier.capacity
        self._leases = count() if leases is None else leases
        self._out: dict[int, _Lease] = {}  # trial -> what it was given out under
        self.refused = self.repeated = 0

    def submit(self, job: Job) -> None:
        """Begin `job` under a lease of its own, which ends with its last message; its worker may change `config`."""
        number = next(self._leases)
        self._out[job.trial] = _Lease(number)
        self._carrier.submit(msgspec.structs.replace(job, lease=number, config=copied(job.config)))

    def poll(self, timeout: float) -> list[Message]:
        """Wait as the carrier does; the messages that are next."""
        taken: list[Message] = []
        for said in self._carrier.poll(timeout):
            message, place = said.message, said.place
            lease = self._out.get(message.trial)
            if lease is None or lease.number != said.lease:
                self.refused += 1
            elif place == lease.next and not lease.early:  # nearly always
                lease.next += 1
                taken.append(message)
                if type(message) in LAST:
                    del self._out[message.trial]
            elif place is None:
                del self._out[message.trial]
                taken.append(message)
            elif place < lease.next or place in lease.early:
                self.repeated += 1
            else:
                lease.early[place] = message
                taken += self._in_order(lease)
        self.capacity = self._carrier.capacity
        return taken

    def _in_order(self, lease: _Lease) -> Iterator[Message]:
        while (message := lease.early.pop(lease.next, None)) is not None:
            lease.next += 1
            yield message
            if type(message) in LAST:
                del self._out[message.trial]
                return  # what a signal's handler said meanwhile is of a job that has ended


class _Lease:
    __slots__ = ("early", "next", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.next = 0
        self.early: dict[int, Message] = {}  # place -> a message that others should have come before
