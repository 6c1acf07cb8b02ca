"""What is the newest state of a trial, and who may save the next one? Over any store, by the names of what is in it.

A checkpoint is a piece that is whole or not there. The one before it is kept as well: a digest finds damage, and then
training goes on from the one before. Where states are large (`LARGE`) that is so while a job runs; at its end the
newest is read back whole, and the one before goes. In a study with `score="best"` that of the best score stays too.

What a job saves carries its lease in its name, and the greater lease is the newer one whenever it was written: a worker
that has been given up, but lives, never takes the place of one that came after it. It is refused as soon as it looks,
and one that begins late, or a second time, is refused too.

May import `heads`, `store` and `pieces`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import cloudpickle
import msgspec

from rungwise.heads import NOBODY, Found, Head, Identity, Reports, checksum, read, written
from rungwise.pieces import OLD_HOLDER, OLD_REPORTS, Order, Piece, There, job_of, name_of, reports_of
from rungwise.store import Bytes, Store

LARGE = 1 << 20  # bytes from which on two copies of a paused trial's state would be felt
TRIES = 3  # to read what another deletes at the same moment


class Superseded(BaseException):
    """The job was given out or begun again, elsewhere; not an `Exception`, so not caught by chance."""


@final
class Checkpoints:
    """Those of one trial, at `place` in a store, of which `owner` says whose they are; a job saves under its `lease`.

    >>> from rungwise.local_store import LocalStore
    >>> import tempfile
    >>> kept = Checkpoints(LocalStore(tempfile.mkdtemp()), "000003", Identity("ab", "cd"), lease=7)
    >>> kept.begin()
    >>> kept.save(Head(1, [(1, 0.5, 0.1)], study="ab", configuration="cd"), {"weights": [1.0]})
    >>> kept.find().state
    {'weights': [1.0]}
    """

    def __init__(self, store: Store, place: str, owner: Identity = NOBODY, lease: int = 0) -> None:
        self.store, self.place, self.owner, self.lease = store, place, owner, lease
        self._needs: dict[Order, frozenset[str]] = {}  # of the heads that are known here

    # -- who holds the trial ------------------------------------------------------------------------

    def hold(self, there: There | None = None) -> None:
        """From here on only this job may save; what another left half done goes. `there` is what is there, if known.

        Raises `Superseded` if a job of a later lease holds the trial.
        """
        there = self.there() if there is None else there
        self._check(there)
        self.store.hold(self._at(job_of(self.lease)), msgspec.json.encode(self.owner))
        left = [name for lease, names in there.jobs.items() if lease < self.lease for name in names]
        left += there.halves + ([OLD_HOLDER] if there.holder else [])
        self._discard(left)

    def begin(self, there: There | None = None, note: bytes = b"") -> None:
        """The first act of a job: it holds the trial, and nobody begins it a second time, or `Superseded`.

        The `note` stays beside it, for `begun`.
        """
        there = self.there() if there is None else there
        self._check(there)
        if there.lease != self.lease:
            self.hold(there)
        if not self.store.hold(self._at(f"{job_of(self.lease)}.begun"), note):
            raise Superseded

    def begun(self) -> bytes | None:
        """The note with which the last job that has begun did so; None if none has."""
        jobs = self.there().jobs
        begun = [name for lease in sorted(jobs) for name in jobs[lease] if name.endswith(".begun")]
        return bytes(self.store.load(self._at(begun[-1]))) if begun else None

    def _check(self, there: There) -> None:
        if there.lease > self.lease:
            raise Superseded

    # -- saving -------------------------------------------------------------------------------------

    def save(self, head: Head, state: object) -> None:
        """Save the newest checkpoint; returns when it is durable. The one before it is kept beside it.

        With a score in its head it is the best one too. Where the newest is large, the one before it makes room first,
        so that there are never three. Raises `Superseded` if a job of a later lease holds the trial.
        """
        self._save(head, cloudpickle.dumps(state, protocol=5))

    def keep_newest(self, head: Head) -> None:
        """Keep the newest checkpoint as the best one, with `head`: it was saved before its score was reported."""
        found = self.find()
        if found.head is not None and found.head.resource == head.resource:
            self._save(head, found.pickled, in_place=True)

    def _save(self, head: Head, pickled: Bytes, *, in_place: bool = False) -> None:
        there = self.there()
        self._check(there)
        if not there.jobs and head.study:  # the function has emptied its folder
            self.hold(there)
        states = there.states
        if len(states) > 1 and states[-1].size >= LARGE:
            self._discard([piece.name for piece in states[:-1] if piece is not there.best])
            states = [piece for piece in states if piece in (there.best, states[-1])]
        order, is_best = there.next(self.lease), head.score is not None
        new = Piece(order, name_of(order, best=is_best), is_best)
        self.store.save(self._at(new.name), written(head, pickled))
        self._needs[order] = head.needs
        newest = [*states[-1:], new] if not in_place else [*states[-2:-1], new]
        best = new if new.best else there.best
        left = [piece.name for piece in states if piece not in newest and piece is not best] + there.halves
        needs = [self._needs.get(piece.order) for piece in newest]
        if None not in needs:  # else one of them is another job's, and it is not known which it needs
            needed = frozenset().union(*(names for names in needs if names is not None))
            left += [name for name in there.reports if name not in needed]
        self._discard(left)
        self._needs = {piece.order: self._needs[piece.order] for piece in newest if piece.order in self._needs}

    def put_away(self, lines: bytes, count: int) -> Reports:
        """Save `count` reports in a piece of their own, before the checkpoint of which the head names it."""
        there = self.there()
        self._check(there)
        order = there.next(self.lease)
        piece = Reports(reports_of(order), count, checksum(lines))
        self.store.save(self._at(piece.name), [lines])
        return piece

    def reports_in(self, piece: Reports) -> bytes | None:
        """The reports in a piece, a line each; None if they are gone or damaged."""
        lines = self._loaded(piece.name)
        return lines if lines is not None and checksum(lines) == piece.checksum else None

    def old_reports(self, head: Head) -> bytes | None:
        """The same for a head from before there were such pieces."""
        lines = (self._loaded(OLD_REPORTS) or b"")[: head.journal]
        return lines if len(lines) == head.journal and checksum(lines) == head.checksum else None

    def settle(self) -> None:
        """At the end of a job: where the newest checkpoint is large, and is there as it was written, it is enough."""
        there = self.there()
        if len(there.states) < 2 or there.states[-1].size < LARGE:
            return
        if isinstance(self._read(there.states[-1].name), Found):
            self._discard([piece.name for piece in there.states[:-1] if piece is not there.best])

    # -- finding ------------------------------------------------------------------------------------

    def there(self) -> There:
        """What is there."""
        cut = len(self.place) + 1
        return There({name[cut:]: size for name, size in self.store.list(self.place).items()})

    def find(self, states: Sequence[Piece] | None = None) -> Found:
        """The newest checkpoint that is whole and one's own, of `states` if these are given."""
        for _ in range(TRIES):
            damaged: list[str] = []
            foreign: list[str] = []
            found = None
            looked = self.there().states if states is None else states
            for piece in reversed(looked):
                found = self._read(piece.name)
                if isinstance(found, Found):
                    assert found.head is not None
                    self._needs[piece.order] = found.head.needs
                    return Found(found.head, found.pickled, tuple(damaged), tuple(foreign))
                if found == "gone":
                    break
                (foreign if found == "foreign" else damaged).append(piece.name)
            if found != "gone" or states is not None:
                break
        return Found(None, b"", tuple(damaged), tuple(foreign))

    def _read(self, name: str) -> Found | str:
        """The checkpoint `name`, or why it is not one to go on from: it is "gone", "damaged" or "foreign"."""
        try:
            found = read(self.store.load(self._at(name)))
        except FileNotFoundError:
            return "gone"
        except OSError:
            return "damaged"
        if found is None or found.head is None:
            return "damaged"
        mine = self.owner == NOBODY or self.owner.owns(Identity(found.head.study, found.head.configuration))
        return found if mine else "foreign"

    def set_aside(self, found: Found) -> None:
        """Have nobody look again at what stood in the way; of what is damaged the newest is kept, for whoever asks."""
        for name in found.foreign:
            self.store.hold(self._at(f"{name}.foreign"), b"")
        for name in found.damaged:
            self.store.hold(self._at(f"{name}.damaged"), b"")
        marks = self.there().damaged[:-1]
        self._discard([*marks, *(mark.removesuffix(".damaged") for mark in marks)])

    def best(self) -> Found:
        """The checkpoint of the best score among those saved."""
        best = self.there().best
        return Found(None, b"") if best is None else self.find([best])

    # -- the store ----------------------------------------------------------------------------------

    def _at(self, name: str) -> str:
        return f"{self.place}/{name}"

    def _discard(self, names: Sequence[str]) -> None:
        if names:
            self.store.discard([self._at(name) for name in names])

    def _loaded(self, name: str) -> bytes | None:
        try:
            return bytes(self.store.load(self._at(name)))
        except OSError:
            return None
