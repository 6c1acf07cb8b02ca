"""Does a store of checkpoints keep the rules that trials rely on? May import everything below it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle

from rungwise.checkpoints import LARGE, Checkpoints, Superseded
from rungwise.events import Job, Reported
from rungwise.heads import Head, Identity, written
from rungwise.history import IN_HEAD
from rungwise.pieces import job_of, name_of, place_of, reports_of
from rungwise.storage import JOBS, Storage, leases
from rungwise.store import STORES, Bytes, Store, as_store, noted
from rungwise.testing.elsewhere import appears, run_elsewhere
from rungwise.trial import Trial

KILLS = 8
ID, CONFIG = "5f1d0c2e9a0b4d7e", {"x": 0.5}
Make = Callable[[], Store]


def check_store(make: Make, *, shared: bool = True, large: int = 4 * LARGE) -> None:
    """Raise `AssertionError`, with a sentence, if the stores of `make()` break a rule of `rungwise.store.Store`.

    Each `make()` must return the same store, which must be empty at first and is empty again at the end. For a store
    that is not `shared` between processes, such as one in memory, no process is killed while it saves, and the store is
    neither pickled nor made again from its `settings`. `large` is the size in bytes of the state during whose saves
    processes are killed.

    >>> from rungwise.local_store import LocalStore
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> check_store(lambda: LocalStore(folder))
    """
    checks: list[Callable[[_Checked], None]] = [
        _keeps_what_it_is_given,
        _holds_once,
        _orders_by_lease_and_number,
        _refuses_late_writers,
        _refuses_a_second_begin,
        _keeps_the_one_before,
        _keeps_the_best,
        _finds_damage,
        _sends_reports_again,
        _keeps_trials_and_studies_apart,
        _begins_another_session,
    ]
    if shared:
        checks += [
            _comes_to_another_process,
            _is_whole_or_not_there_when_killed,
            _is_made_again_from_what_is_noted,
        ]
    assert not make().list(ID), "the store must be empty at first"
    for check in checks:
        try:
            check(_Checked(make, large))
            left = sorted(make().list(ID))
            make().discard(left)
            assert not make().list(ID), f"what was discarded is listed still: {sorted(make().list(ID))[:3]}"
        except AssertionError as error:
            error.add_note(f"(found where it is checked that a store {check.__name__.strip('_').replace('_', ' ')})")
            raise


class _Checked:
    """The store that is checked, and trials in it."""

    def __init__(self, make: Make, large: int) -> None:
        self.make, self.large = make, large

    def kept(
        self, lease: int, *, trial: int = 3, study: str = ID, configuration: str = "9a0b4c5d6e7f8091"
    ) -> Checkpoints:
        """The checkpoints of a trial as a job of `lease` sees them, in a process of its own."""
        storage = Storage(Path("nowhere"), self.make())
        return storage.checkpoints(trial, Identity(study, configuration), lease)

    def save(self, kept: Checkpoints, resource: int, state: object = None, score: float | None = None) -> None:
        owner = kept.owner
        head = Head(resource, [], study=owner.study, configuration=owner.configuration, score=score)
        kept.save(head, {"at": resource} if state is None else state)

    def at(self, kept: Checkpoints) -> int | None:
        head = kept.find().head
        return None if head is None else head.resource

    @contextlib.contextmanager
    def trial(self, lease: int, until: int) -> Iterator[tuple[Trial, list[Any]]]:
        sent: list[Any] = []
        with tempfile.TemporaryDirectory(prefix="rungwise-") as folder:
            job = Job(3, CONFIG, 0, until, lease=lease, study=ID)
            storage = Storage(Path(folder), self.make())
            yield Trial(job, storage.folder_of(3), sent.append, kept=storage.begin(job)), sent


def _keeps_what_it_is_given(it: _Checked) -> None:
    store, place = it.make(), f"{ID}/{place_of(3, '9a0b4c5d6e7f8091')}"
    one, two = f"{place}/{name_of((JOBS, 1))}", f"{place}/{name_of((JOBS, 2), best=True)}"
    data: list[Bytes] = [bytes(range(256)), memoryview(b"\r\n\0" * 1000), b""]
    store.save(one, data)
    store.save(two, [b""])
    for seen in (store, it.make()):
        assert bytes(seen.load(one)) == b"".join(data), "what is loaded is not what was saved, byte for byte"
        assert bytes(seen.load(two)) == b"", "what is loaded of an empty piece is not empty"
        wanted = {one: 3256, two: 0}
        assert seen.list(place) == wanted, f"list({place!r}) must be {wanted}, not {seen.list(place)}"
        assert seen.list(ID) == wanted, f"list must find what is deeper down too: {seen.list(ID)}"
        assert not seen.list(place[:-1]), "list must not take the beginning of another place for its own"
        assert not seen.list("nothing"), "list finds something where there is nothing"
    store.discard([one, f"{place}/{name_of((JOBS, 9))}"])
    seen = it.make()
    assert set(seen.list(place)) == {two}, "discard must delete what it is told, and nothing else"
    for gone in (one, f"{place}/{name_of((JOBS, 9))}"):
        with contextlib.suppress(FileNotFoundError):
            seen.load(gone)
            raise AssertionError("load must raise FileNotFoundError where there is nothing")


def _holds_once(it: _Checked) -> None:
    name = f"{ID}/{place_of(3, '9a0b4c5d6e7f8091')}/{job_of(JOBS)}"
    for durable in (False, True):
        assert it.make().hold(name, b"first", durable=durable) is True, "hold must be True where there was nothing"
        for again in (durable, not durable):
            assert it.make().hold(name, b"second", durable=again) is False, (
                "hold must be False where there is something"
            )
        assert bytes(it.make().load(name)) == b"first", "hold must not change what is there"
        it.make().discard([name])


def _orders_by_lease_and_number(it: _Checked) -> None:
    first, second = it.kept(JOBS), it.kept(JOBS + 1)
    first.begin()
    for resource in range(1, 12):  # numbers of one digit and of two
        it.save(first, resource)
    assert it.at(it.kept(JOBS)) == 11, f"the newest of eleven is the eleventh, not {it.at(it.kept(JOBS))}"
    second.begin()
    assert it.at(second) == 11, "a later job must find what an earlier one has saved"
    it.save(second, 5)
    assert it.at(it.kept(JOBS + 1)) == 5, "what was saved under the greater lease is the newer, whatever its resource"
    late = written(Head(11, [], study=ID, configuration=first.owner.configuration), cloudpickle.dumps("late"))
    first.store.save(f"{first.place}/{name_of((JOBS, 99))}", late)  # one that had looked before the other began
    assert it.at(it.kept(JOBS + 1)) == 5, "what is written late under an older lease has taken the place of a newer one"
    it.save(second, 6)
    left = [piece.order[0] for piece in it.kept(JOBS + 1).there().states]
    assert left == [JOBS + 1] * 2 or left == [JOBS, JOBS + 1], f"of a late writer is left {left}"


def _refuses_late_writers(it: _Checked) -> None:
    old, new = it.kept(JOBS + 1), it.kept(2 * JOBS)
    old.begin()
    it.save(old, 1)
    new.hold()
    before = it.make().list(ID)
    _refused(lambda: it.save(old, 2), "a job saves though one of a later lease holds its trial")
    _refused(lambda: old.put_away(b"[2,0.5,0.1]\n", 1), "a job puts reports away though a later one holds its trial")
    for refuses in (it.kept(JOBS).hold, it.kept(JOBS).begin):
        _refused(refuses, "an older lease takes a trial that a later one holds")
    assert it.make().list(ID) == before, "one that is refused must leave nothing"
    new.begin()
    assert it.at(new) == 1, "the later job finds what was saved before it"
    it.save(new, 2)


def _refuses_a_second_begin(it: _Checked) -> None:
    it.kept(JOBS).hold()
    it.kept(JOBS).hold()
    it.kept(JOBS).begin()
    _refused(it.kept(JOBS).begin, "a job is begun a second time under the same lease")
    it.kept(JOBS + 1).begin()
    names = [name.rpartition("/")[2] for name in it.make().list(ID)]
    assert sorted(names) == [job_of(JOBS + 1), f"{job_of(JOBS + 1)}.begun"], f"of two jobs is left {names}"


def _refused(act: Callable[[], object], why: str) -> None:
    try:
        act()
    except Superseded:
        return
    raise AssertionError(why)


def _keeps_the_one_before(it: _Checked) -> None:
    for size, settled in ((10, 2), (LARGE, 1)):
        kept = it.kept(JOBS + size)
        kept.begin()
        for resource in range(1, 5):
            it.save(kept, resource, b"0" * size)
            there = kept.there().states
            assert len(there) == min(resource, 2), f"after {resource} saves {len(there)} checkpoints are there"
        kept.settle()
        assert len(kept.there().states) == settled, "a large state that was read back needs no second copy, others do"
        assert it.at(it.kept(JOBS + size)) == 4, "the newest is not found"
        it.make().discard(list(it.make().list(ID)))


def _keeps_the_best(it: _Checked) -> None:
    kept = it.kept(JOBS)
    kept.begin()
    for resource, score in ((1, 0.5), (2, 0.3), (3, None), (4, None), (5, None)):
        it.save(kept, resource, score=score)
    best = it.kept(JOBS + 1).best().head
    assert best is not None, "the checkpoint of the best score is gone"
    assert (best.resource, best.score) == (2, 0.3), f"the best is that at 2, not {best}"
    kept.keep_newest(Head(5, [], study=ID, configuration=kept.owner.configuration, score=0.2))
    best = it.kept(JOBS + 1).best().head
    assert best is not None, "the checkpoint of the best score is gone"
    assert best.resource == 5, "the newest was to become the best, and has not"
    orders = [piece.name for piece in kept.there().states]
    assert len(orders) == 2, f"the best, which is the newest, and the one before it are enough: {orders}"


def _finds_damage(it: _Checked) -> None:
    data = b"".join(written(Head(3, [], study=ID, configuration="9a0b4c5d6e7f8091"), cloudpickle.dumps("third")))
    for lease, broken in enumerate((data[:-1], data[:20], b"", data[:60] + b"?" + data[61:]), start=JOBS):
        kept = it.kept(lease)
        kept.begin()
        it.save(kept, 1)
        it.save(kept, 2)
        kept.store.save(f"{kept.place}/{name_of((lease, 3))}", [broken])
        found = it.kept(lease).find()
        assert found.damaged == (name_of((lease, 3)),), "what is not what was written is not found out"
        assert found.state == {"at": 2}, f"the one before what is damaged is that at 2, not {found.state}"
        kept.set_aside(found)
        assert not it.kept(lease).find().damaged, "what was set aside is looked at again"
        it.save(kept, 4)
        assert [piece.order[1] for piece in it.kept(lease).there().states] == [2, 4], "a damaged one counts as a copy"
    marks = it.kept(JOBS).there().damaged
    assert len(marks) == 1, f"of what was damaged the newest is kept, and no other: {marks}"


def _sends_reports_again(it: _Checked) -> None:
    until = 4 * IN_HEAD + 5
    with it.trial(JOBS, until) as (trial, _):
        for epoch in trial:
            trial.report(1 / epoch)
            trial.save(epoch)
            if epoch == until - 1:
                break
    for lease in (JOBS + 1, JOBS + 2):
        with it.trial(lease, until) as (trial, sent):
            assert trial.load() == until - 1, "the newest state is not found"
            told = [said.resource for said in sent if isinstance(said, Reported)]
            assert told == list(range(1, until)), f"of {until - 1} reports {len(told)} are sent again"
    reports = [name for name in it.make().list(ID) if "/reports." in name]
    assert len(reports) <= 4, f"of {until - 1} reports, {len(reports)} pieces are left over"
    orphan = reports_of((JOBS + 2, 900))
    store = it.make()
    place = reports[0].rpartition("/")[0]
    store.save(f"{place}/{orphan}", [b"of a save that broke off\n"])
    with it.trial(JOBS + 3, until) as (trial, _):
        trial.load()
        trial.save("again")
    assert f"{place}/{orphan}" not in it.make().list(ID), "what a save that broke off has left is left for ever"


def _keeps_trials_and_studies_apart(it: _Checked) -> None:
    others = [it.kept(JOBS, trial=4), it.kept(JOBS, configuration="0" * 16), it.kept(JOBS, study=f"{ID}0")]
    for number, kept in enumerate(others, start=1):
        kept.begin()
        it.save(kept, number)
    mine = it.kept(JOBS)
    mine.begin()
    assert mine.find().head is None, "a trial finds the checkpoint of another"
    it.save(mine, 9)
    foreign = written(Head(7, [], study=ID, configuration="0" * 16), cloudpickle.dumps("foreign"))
    mine.store.save(f"{mine.place}/{name_of((JOBS, 2))}", foreign)
    found = it.kept(JOBS).find()
    assert found.foreign, "a checkpoint of another configuration is taken for one's own"
    assert found.state == {"at": 9}, "a checkpoint of another configuration stands in the way"
    mine.set_aside(found)
    assert it.kept(JOBS).find().foreign == (), "what was set aside is looked at again"
    assert name_of((JOBS, 2)) in {name.rpartition("/")[2] for name in it.make().list(mine.place)}, "it was deleted"
    for number, kept in enumerate(others, start=1):
        assert it.at(kept) == number, "a trial has lost its checkpoint to another"
    it.make().discard(list(it.make().list(f"{ID}0")))


def _begins_another_session(it: _Checked) -> None:
    drawn = []
    for sessions in (0, 0, 7, 3):
        with tempfile.TemporaryDirectory(prefix="rungwise-") as folder:
            of_one = leases(Storage(Path(folder), it.make()), ID, sessions)
            drawn += [next(of_one), next(of_one)]
    assert drawn == sorted(set(drawn)), f"the leases of later drivers must be greater: {drawn}"
    kept = it.kept(drawn[0])
    kept.begin()
    it.save(kept, 1)
    later = it.kept(drawn[-1])
    later.begin()
    assert it.at(later) == 1, "a job of a later session does not find what was saved before"


def _comes_to_another_process(it: _Checked) -> None:
    kept = it.kept(JOBS)
    kept.begin()
    code, told = run_elsewhere(kept, "kept.save(head(1), 'from there'); print(len(kept.there().states))")
    assert (code, told) == (0, "1"), f"in another process the store does not work: {told}"
    assert it.kept(JOBS).find().state == "from there", "what another process has saved is not seen"


def _is_whole_or_not_there_when_killed(it: _Checked) -> None:
    saves = f"for n in range(1, 10**6): kept.save(head(n), b'%09d' % n * {max(1, it.large // 9)}); print(n, flush=True)"
    for lease in range(JOBS, JOBS + KILLS):
        kept = it.kept(lease)
        kept.begin()
        moment = appears(it.make(), kept.place, halves=lease % 2 == 1)
        _, told = run_elsewhere(kept, saves, kill_when=moment)
        found, acknowledged = it.kept(lease).find(), int(told)
        assert not found.damaged, "a process was killed while it saved, and half of what it saved is under its name"
        assert found.head is not None, "a process was killed while it saved, and nothing is left"
        at = found.head.resource
        assert acknowledged <= at, f"{acknowledged} was saved when the process was killed, and {at} is found"
    kept = it.kept(JOBS + KILLS)
    kept.begin()
    it.save(kept, 1)
    it.save(kept, 2)
    names = [name.rpartition("/")[2] for name in it.make().list(ID)]
    assert len(names) == 4, f"after kills and two more saves, of two checkpoints and one job is left {sorted(names)}"


def _is_made_again_from_what_is_noted(it: _Checked) -> None:
    kept = it.kept(JOBS)
    kept.begin()
    it.save(kept, 1)
    spec = noted(it.make())
    again = as_store(spec)
    assert STORES.name_of(again) == STORES.name_of(it.make()), f"from what is noted, {spec}, another store is made"
    assert again.list(kept.place) == it.make().list(kept.place), f"what is made of {spec} has not what the store has"
