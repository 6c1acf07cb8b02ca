"""Whose fault is a row of failures? The machine's, unless other jobs work.

A job that breaks off is evidence against its configuration only if other jobs work. Where three different trials
break off and none ends well in between, it is more likely a full disk, a mount that is gone or a mistake in the
function, and no trial may fail for that. So the verdict on a trial whose retries are used up waits until another job
has ended well since its first failure in the row.

Jobs that have reported and still run speak against a row, each makes it need three trials more; when one of them ends
well, those of the row are tried again, and their retries are as before it. But where a disk is
full every job reports, and breaks off when it saves: so a job must have reported more often than any that broke off in
the row had. Pure: time is an argument. Imports `events` only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, final

import msgspec

from rungwise.events import Excused, Failed, Retried

Verdict = Retried | Failed | Excused

IN_A_ROW = 3
"""So many trials in a row are the machine's: with one bad configuration in ten, that is one row in a thousand."""

TOLD = -1
"""In the place of how many jobs had ended well: a run was given up over this trial, and the user goes on with it."""

WAITS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds until one job is tried again; from the last on it stays so. Together they are the default patience."""


class Judge(Protocol):
    """Told how jobs fare, it says what is to be noted of those that break off, and whether more may be given out."""

    @property
    def waiting(self) -> bool:
        """Whether a job will be given out though none may be now."""
        ...

    @property
    def new_first(self) -> bool:
        """Whether trials that broke off stand back behind others."""
        ...

    @property
    def watches(self) -> bool:
        """Whether it is told what all jobs do, not only those that break off; they do so by a refused score too."""
        ...

    def may_give_out(self) -> bool:
        """Whether a job may be given out now."""
        ...

    def began(self, trial: int) -> None:
        """A job of `trial` was given out."""
        ...

    def reported(self, trial: int) -> None:
        """It reported."""
        ...

    def ended(self, trial: int) -> Sequence[Verdict]:
        """It came to its end: what is to be noted now of others."""
        ...

    def paused(self, trial: int) -> Sequence[Verdict]:
        """It paused, or was taken away: what is to be noted now of others."""
        ...

    def broke(self, trial: int, attempts: int, reason: str) -> Sequence[Verdict]:
        """It broke off, as it had done `attempts` times before."""
        ...

    def withdrawn(self, trial: int) -> None:
        """It is put back as if it had never been given out."""
        ...

    def stranded(self) -> Sequence[Verdict]:
        """Nothing else can be given out now."""
        ...

    def left(self) -> Sequence[Verdict]:
        """No more is given out in this session."""
        ...


@final
class AtOnce:
    """Judges each job by itself: `retries` times it is given out again, then its trial has failed."""

    waiting = new_first = watches = False

    def __init__(self, retries: int) -> None:
        self._retries = retries

    def may_give_out(self) -> bool:
        """Always."""
        return True

    def began(self, trial: int) -> None:
        """Nothing to do."""

    def reported(self, trial: int) -> None:
        """Nothing to do."""

    def ended(self, trial: int) -> Sequence[Verdict]:
        """Nothing."""
        return ()

    def paused(self, trial: int) -> Sequence[Verdict]:
        """Nothing."""
        return ()

    def broke(self, trial: int, attempts: int, reason: str) -> Sequence[Verdict]:
        """Again, or failed."""
        return [(Retried if attempts < self._retries else Failed)(trial, reason)]

    def withdrawn(self, trial: int) -> None:
        """Nothing to do."""

    def stranded(self) -> Sequence[Verdict]:
        """Nothing."""
        return ()

    def left(self) -> Sequence[Verdict]:
        """Nothing."""
        return ()


class _Broken(msgspec.Struct):
    """A trial in the row: when it broke off first and its attempts before that; why it waits for its verdict, if so.

    One that has `failed`, since there was nothing else to be given out, still counts in the row.
    """

    moment: int
    attempts: int
    waits: str | None = None
    failed: bool = False


class _Run(msgspec.Struct):
    """A job that runs: how often it has reported, and when last."""

    reports: int = 0
    moment: int = -1


@final
class InARow:
    """Judges rows of failures. `clock` counts seconds; `worked` says whether anything ever reported in this study.

    While nothing ever has, three executions that break off end the run, with one more trial each where there is one.
    Afterwards, three trials in a row put the machine under suspicion: no work is given out, and after 1, 2, 4, … s
    one job is tried, until one reports or ends well. After `patience` seconds of such waiting the run ends. Either
    way `given_up` says why, and the trials in the row have their attempts as before it. A trial that had broken off
    before the row, and others have ended well since, speaks against nobody but itself. From earlier sessions:
    `ended_well` counts the jobs that did, `broke_at` says of trials how many had when they broke off last.

    `news` holds what is to be said; whoever says it empties it.
    """

    watches = True

    def __init__(
        self,
        retries: int,
        patience: float,
        *,
        worked: bool,
        clock: Callable[[], float],
        ended_well: int = 0,
        broke_at: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        self.given_up: str | None = None
        self.last: int | None = None
        """The trial that broke off last."""
        self.news: list[str] = []
        self._retries, self._patience, self._worked, self._clock = retries, patience, worked, clock
        self._moment = 0  # counts what happens
        self._row: dict[int, _Broken] = {}  # trials that broke off since a job ended well, in that order
        self._executions = 0  # how often they did
        self._running: dict[int, _Run] = {}
        self._most = 0  # reports of a job that broke off, since one ended well
        self._broke_at = dict(broke_at)  # trial -> how many jobs had ended well when it broke off, before the row
        self._ended = ended_well
        self._reason = ""
        self._suspects = False
        self._try_at = 0.0
        self._tried: int | None = None  # the trial that is tried, under suspicion
        self._waited, self._waits = 0.0, 0  # since a job ended well

    @property
    def waiting(self) -> bool:
        """Whether the machine is suspected, and a job will be tried."""
        return self._suspects and self.given_up is None

    @property
    def new_first(self) -> bool:
        """While a row may have begun another trial says more of the machine than the same once more."""
        return self._suspects or any(not self._had_its_chance(trial) for trial in self._row)

    def may_give_out(self) -> bool:
        """Not to more than three while all have broken off, and under suspicion to one when its time has come."""
        if self.given_up is not None:
            return False
        if self._suspects:
            return self._tried is None and self._clock() >= self._try_at
        return self._worked or not self._row or self._executions + len(self._running) < IN_A_ROW

    def began(self, trial: int) -> None:
        """A job of `trial` was given out."""
        self._running[trial] = _Run()
        if self._suspects:
            self._tried = trial

    def reported(self, trial: int) -> None:
        """It reported: if it has come further than those that broke off, the suspicion ends."""
        self._worked = True
        run = self._running[trial]
        self._moment += 1
        run.reports += 1
        run.moment = self._moment
        if self._suspects and run.reports > self._most:
            self._trust(trial, "reports")

    def ended(self, trial: int) -> Sequence[Verdict]:
        """It ended well: the row is over, and what waited for that in it has failed.

        Unless it had broken off in the row itself, or the row has three trials that had no chance since they broke off
        before: then it may have been the machine, and they have one.
        """
        self._worked = True
        self._running.pop(trial, None)
        if self._suspects:
            self._trust(trial, "has come to its end")
        recovered = self._row.pop(trial, None) is not None
        recovered = recovered or sum(not self._had_its_chance(other) for other in self._row) >= IN_A_ROW
        self._waited, self._waits, self._most = 0.0, 0, 0
        verdicts: list[Verdict] = []
        for other, broken in self._row.items():
            if broken.waits is not None:
                if recovered and not self._had_its_chance(other):
                    verdicts += self._excused(other, broken)
                else:
                    verdicts.append(Failed(other, broken.waits))
        if self._executions:
            self._forget()
        self._broke_at.pop(trial, None)
        self._ended += 1
        return verdicts

    def paused(self, trial: int) -> Sequence[Verdict]:
        """It ended well if it had come further than those that broke off; else it says nothing of the machine."""
        if self._running[trial].reports > self._most:
            return self.ended(trial)
        self.withdrawn(trial)
        return ()

    def broke(self, trial: int, attempts: int, reason: str) -> Sequence[Verdict]:
        """It broke off."""
        self._moment += 1
        self._most = max(self._most, self._running.pop(trial).reports)
        self._executions += 1
        self._reason, self.last = reason, trial
        broken = self._row.setdefault(trial, _Broken(self._moment, attempts))
        if self._suspects:
            if trial == self._tried:
                self._tried = None
                self._wait()
            broken.waits = reason
            return self._excused(trial, broken) if self.given_up is None else self._all_excused()
        again: list[Verdict] = []
        if attempts < self._retries:
            again.append(Retried(trial, reason))
        else:
            broken.waits = reason
        if not self._worked:
            return [*again, *self._give_up_at_the_beginning()]
        against = sum(not self._had_its_chance(other) for other in self._row)
        if against < IN_A_ROW * (1 + self._witnesses(min(one.moment for one in self._row.values()))):
            return again
        return [*again, *self._suspect()]

    def _suspect(self) -> list[Verdict]:
        """From now on it is taken to be the machine, until something works."""
        self._suspects, self._tried = True, None
        self.news.append(
            f"{len(self._row)} trials broke off in a row, the last (trial {self.last}) with: {self._reason}; the "
            "machine is probably at fault, so none of them has failed: no more work is given out, and one job is tried "
            f"now and then, for patience={self._patience:g} seconds"
        )
        self._wait()
        return self._all_excused()

    def withdrawn(self, trial: int) -> None:
        """It says nothing of the machine, and another may be tried."""
        self._running.pop(trial, None)
        if self._tried == trial:
            self._tried = None

    def stranded(self) -> Sequence[Verdict]:
        """Nothing else can be given out: a verdict falls if nothing runs, or if what runs has reported since.

        Unless all that is left, three trials or more, breaks off, and the user has not been told yet.
        """
        if self._suspects or self.given_up is not None:
            return ()
        untold = [t for t, broken in self._row.items() if broken.waits is not None and self._broke_at.get(t) != TOLD]
        if untold and not self._running and len(self._row) >= IN_A_ROW:
            return self._suspect()
        failed = []
        for trial, broken in self._row.items():
            if broken.waits is not None and (not self._running or self._witnesses(broken.moment)):
                failed.append(Failed(trial, broken.waits))
        for one in failed:
            self._row[one.trial].waits, self._row[one.trial].failed = None, True
        return failed

    def left(self) -> Sequence[Verdict]:
        """What waits for its verdict is to be given out again in the next session."""
        waiting = [(trial, broken.waits) for trial, broken in self._row.items() if broken.waits is not None]
        self._forget()
        return [Retried(trial, reason) for trial, reason in waiting]

    def _witnesses(self, since: int) -> int:
        """How many jobs run that have reported after the moment `since`, and further than those that broke off."""
        return sum(run.moment > since and run.reports > self._most for run in self._running.values())

    def _had_its_chance(self, trial: int) -> bool:
        """Whether others have ended well since it broke off before this row."""
        return self._broke_at.get(trial, self._ended) < self._ended

    def _excused(self, trial: int, broken: _Broken) -> list[Verdict]:
        """It is not to blame: if it waited for a verdict it goes on, and it has its attempts as before the row."""
        excused = Excused(trial, broken.attempts, given_up=self.given_up is not None)
        again = [] if broken.waits is None else [Retried(trial, broken.waits)]
        broken.waits = None
        return [*again, excused]

    def _all_excused(self) -> list[Verdict]:
        left = [(trial, broken) for trial, broken in self._row.items() if not broken.failed]
        return [verdict for trial, broken in left for verdict in self._excused(trial, broken)]

    def _give_up_at_the_beginning(self) -> list[Verdict]:
        if self._running or self._executions < IN_A_ROW:
            return []
        excused = self._all_excused()
        self.given_up = (
            f"all of the first {self._executions} jobs broke off, the last (trial {self.last}) with: {self._reason}"
        )
        self._forget()
        return excused

    def _wait(self) -> None:
        """Until when no job is tried; or the run is given up."""
        left = self._patience - self._waited
        if left <= 0 and not self._running:
            self.given_up = (
                f"nothing works any more: {len(self._row)} trials broke off in a row, the last (trial {self.last}) "
                f"with: {self._reason}"
            )
            return
        wait = WAITS[min(self._waits, len(WAITS) - 1)]
        wait = min(wait, left) if left > 0 else wait
        self._waits += 1
        self._waited += wait
        self._try_at = self._clock() + wait

    def _trust(self, trial: int, does: str) -> None:
        self.news.append(f"trial {trial} {does}: the study continues")
        self._suspects, self._tried = False, None
        self._forget()

    def _forget(self) -> None:
        self._broke_at.update(dict.fromkeys(self._row, self._ended))
        self._row.clear()
        self._executions = 0
