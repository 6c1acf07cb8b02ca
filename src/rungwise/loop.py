"""The loop: give out jobs, take what workers say, note it. The same lines on real and on virtual time."""

from __future__ import annotations

from collections.abc import Callable

from rungwise.events import Completed, Failed, Job, Reported, Retried
from rungwise.executors import Broke, Message, Workers
from rungwise.study import Study


def drive(
    study: Study,
    workers: Workers,
    *,
    retries: int = 0,
    drain: bool = True,
    may_give_out: Callable[[], bool] = lambda: True,
    watch: Callable[[list[Message]], None] = lambda messages: None,
) -> None:
    """Run `study` on `workers` until nothing runs and no more work can be given out.

    A job is begun only when the fact that gives it out is durable. Free workers get work after each job
    that ends, before the next message is read. A job that breaks off is given out again up to `retries`
    times. With `drain=False` it ends at the moment when the last trial of the budget is started.
    `may_give_out` is asked before each job is given out; `watch` sees the messages of each round.
    """
    free = workers.size
    messages: list[Message] = []
    jobs = _jobs(study, free, drain, may_give_out)
    while True:
        study.flush()
        watch(messages)
        for job in jobs:
            workers.submit(job)
        free -= len(jobs)
        if free == workers.size or _all_started(study, drain):
            return
        messages, jobs = workers.poll(), []
        for message in messages:
            if _take(study, message, retries):
                free += 1
                jobs += _jobs(study, free - len(jobs), drain, may_give_out)


def _jobs(study: Study, free: int, drain: bool, may_give_out: Callable[[], bool]) -> list[Job]:
    """Jobs for `free` workers, as many as there are now."""
    jobs: list[Job] = []
    while len(jobs) < free and not _all_started(study, drain) and may_give_out():
        if (job := study.hand_out()) is None:
            break
        jobs.append(job)
    return jobs


def _take(study: Study, message: Message, retries: int) -> bool:
    """Note one message; whether a job has ended with it, so that there may be work for a free worker."""
    if isinstance(message, Reported):
        study.take(message)
        return False
    if isinstance(message, Completed):
        study.take(message)
    elif isinstance(message, Broke):
        again = study.trials[message.trial].attempts < retries
        study.take((Retried if again else Failed)(message.trial, message.reason))
    return True


def _all_started(study: Study, drain: bool) -> bool:
    return not drain and len(study.trials) == study.budget.trials
