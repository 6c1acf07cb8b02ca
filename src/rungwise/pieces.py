"""What are the pieces called that a store keeps of a trial? Which is the newest is said by the names alone.

checkpoint.LEASE.NUMBER         a state and its head; `.best` behind it: of the best score when it was saved
checkpoint.LEASE.NUMBER.damaged a mark beside it: it is not what was written, and nobody goes on from it; so `.foreign`
reports.LEASE.NUMBER            reports that led to states from this one on
job.LEASE, job.LEASE.begun      a mark: the job of this lease holds the trial, has begun
session.N                       a mark: a driver has taken the N-th session

LEASE has 16 hexadecimal digits; NUMBER counts what is saved under it. Before leases were in the names there were
`checkpoint`, `checkpoint.before`, `checkpoint.best`, `checkpoint.reports` and `holder`, older than all others. Imports
nothing of ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import final

import msgspec

SESSION = "session."
OLD_REPORTS, OLD_HOLDER = "checkpoint.reports", "holder"
OLD = {"checkpoint": (-1, 1), "checkpoint.before": (-1, 0), "checkpoint.best": (-1, -1)}
_OLD = {*OLD, OLD_REPORTS, OLD_HOLDER}
PART = ".part"
_PIECE = re.compile(
    r"(checkpoint|reports)\.([0-9a-f]{16})\.(\d{6,})(\.best)?(\.damaged|\.foreign)?(\.part)?"
    r"|job\.([0-9a-f]{16})(?:\.begun)?|session\.\d+"
)
_TRIAL = re.compile(r"(\d{6,})-([0-9a-f]{16})")

Order = tuple[int, int]
"""Lease and number: the greater is the newer."""


class Piece(msgspec.Struct, frozen=True, order=True):
    """A checkpoint that is there."""

    order: Order
    name: str
    best: bool = False
    size: int = 0


def name_of(order: Order, *, best: bool = False) -> str:
    """What the checkpoint of this lease and number is called.

    >>> name_of((1, 7), best=True)
    'checkpoint.0000000000000001.000007.best'
    """
    return f"checkpoint.{order[0]:016x}.{order[1]:06d}{'.best' if best else ''}"


def reports_of(order: Order) -> str:
    """What the reports are called that were put away before that checkpoint."""
    return f"reports.{order[0]:016x}.{order[1]:06d}"


def job_of(lease: int) -> str:
    """The mark of the job that holds a trial."""
    return f"job.{lease:016x}"


def place_of(trial: int, configuration: str) -> str:
    """What a trial is called in a store that is not beside its study."""
    return f"{trial:06d}-{configuration}"


def whose(place: str) -> tuple[int, str] | None:
    """The trial and the configuration of such a place; None if it is another thing."""
    found = _TRIAL.fullmatch(place)
    return None if found is None else (int(found[1]), found[2])


def says_who_holds(name: str) -> bool:
    """Whether the file `name` in a trial's folder tells of leases alone."""
    return name.startswith(("job.", OLD_HOLDER)) and (is_ours(name) or name.startswith(f"{OLD_HOLDER}."))


def is_ours(name: str) -> bool:
    """Whether a file of this name, in a folder where others keep theirs too, is a piece, or the half of one."""
    return _PIECE.fullmatch(name) is not None or name in _OLD


@final
class There:
    """What a store has of a trial, by the `listed` names in its place.

    `states` are the checkpoints from the oldest to the newest, without those that were set aside.

    >>> there = There({"job.0000000000000001": 9, name_of((1, 2)): 50, name_of((1, 10)): 50})
    >>> [piece.order for piece in there.states], there.lease
    ([(1, 2), (1, 10)], 1)
    """

    def __init__(self, listed: Mapping[str, int]) -> None:
        self.states: list[Piece] = []
        self.damaged: list[str] = []  # those that were set aside as such, from the oldest
        self.reports: list[str] = []
        self.jobs: dict[int, list[str]] = {}  # lease -> its marks
        self.halves: list[str] = []
        self.holder = OLD_HOLDER in listed
        self._orders: list[Order] = []
        aside: set[str] = set()
        for name, size in listed.items():
            if (found := _PIECE.fullmatch(name)) is None:
                if name in OLD:
                    self.states.append(Piece(OLD[name], name, name == "checkpoint.best", size))
                elif name == OLD_REPORTS:
                    self.reports.append(name)
                continue
            kind, lease, number, best, mark, part, job = found.groups()
            if job is not None:
                self.jobs.setdefault(int(job, 16), []).append(name)
            elif part is not None:
                self.halves.append(name)
            elif kind is not None:
                order = int(lease, 16), int(number)
                self._orders.append(order)
                if kind == "reports":
                    self.reports.append(name)
                elif mark is None:
                    self.states.append(Piece(order, name, best is not None, size))
                else:
                    aside.add(name.removesuffix(mark))
                    self.damaged += [name] if mark == ".damaged" else []
        self.states.sort()
        if aside:
            self.states = [piece for piece in self.states if piece.name not in aside]
            self.damaged.sort()

    @property
    def lease(self) -> int:
        """The greatest lease that a job holds the trial under; -1 if there is none."""
        return max(self.jobs, default=-1)

    @property
    def best(self) -> Piece | None:
        """The newest of those that were saved as the best."""
        return next((piece for piece in reversed(self.states) if piece.best), None)

    def next(self, lease: int) -> Order:
        """The order of what is saved next under `lease`."""
        return lease, 1 + max([number for held, number in self._orders if held == lease], default=0)
