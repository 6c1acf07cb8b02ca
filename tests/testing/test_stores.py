"""Stores go through the public suite: a folder, one that is written from the protocol's docstring alone, and broken ones."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import signal
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import rungwise as rw
from rungwise import checkpoints, heads, pieces, testing
from rungwise.checkpoints import Checkpoints
from rungwise.disk import Disk
from rungwise.events import Job, Retried
from rungwise.executors import Broke, Said
from rungwise.executors.job import run_job
from rungwise.executors.local import LocalWorkers
from rungwise.heads import Head, Identity
from rungwise.local_store import LocalStore
from rungwise.storage import JOBS, Storage, leases
from rungwise.store import Unreachable, in_words
from rungwise.testing import check_store


class Bucket:
    """An object store in a folder: put if absent, get, list, delete. No renaming, no appending, no folders."""

    def __init__(self, path: str) -> None:
        self.path = path

    def put(self, key: str, data: bytes) -> bool:
        """An object is there as a whole or not at all, as S3 promises; here by one creation of a link."""
        os.makedirs(self.path, exist_ok=True)
        half = f"{self.path}/.{os.getpid()}-{time.monotonic_ns()}"
        with open(half, "wb") as file:
            file.write(data)
        try:
            os.link(half, f"{self.path}/{key.replace('/', '%')}")
        except FileExistsError:
            return False
        finally:
            os.unlink(half)
        return True

    def hold(self, name: str, data: bytes, *, durable: bool = False) -> bool:
        return self.put(name, data)

    def save(self, name: str, pieces: Sequence[bytes]) -> None:
        assert self.put(name, b"".join(pieces)), f"{name} was saved before"

    def load(self, name: str) -> bytes:
        return Path(self.path, name.replace("/", "%")).read_bytes()

    def discard(self, names: Sequence[str]) -> None:
        for name in names:
            Path(self.path, name.replace("/", "%")).unlink(missing_ok=True)

    def list(self, under: str) -> dict[str, int]:
        found = {}
        for path in Path(self.path).glob(f"{under}%*".replace("/", "%")):
            with contextlib.suppress(FileNotFoundError):
                found[path.name.replace("%", "/")] = path.stat().st_size
        return found

    def settings(self) -> dict[str, Any]:
        return {"path": self.path}


def test_the_toy_store_is_small() -> None:
    source = Path(__file__).read_text().partition("class Bucket:")[2].partition("\n\n\n")[0]
    assert len(source.splitlines()) <= 60


@pytest.mark.parametrize("kind", [LocalStore, Bucket])
def test_stores_conform(kind: type, tmp_path: Path) -> None:
    check_store(lambda: kind(str(tmp_path / "kept")))


# -- planted bugs: each of these passes a test of what one object alone saves and loads --------------------------


class Forgets(LocalStore):  # type: ignore[misc]  # final for others
    def load(self, name: str) -> bytes:
        return super().load(name)[:-1]


class HoldsTwice(LocalStore):  # type: ignore[misc]
    def hold(self, name: str, data: bytes, *, durable: bool = False) -> bool:
        return super().hold(name, data, durable=durable) or name.endswith(".begun")


class Overwrites(LocalStore):  # type: ignore[misc]
    def hold(self, name: str, data: bytes, *, durable: bool = False) -> bool:
        if not super().hold(name, data, durable=durable):
            Path(self.path, name).write_bytes(data)
            return False
        return True


class WritesInPlace(LocalStore):  # type: ignore[misc]
    def save(self, name: str, pieces: Sequence[bytes]) -> None:
        path = Path(self.path, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for piece in pieces:
                file.write(piece[: len(piece) // 2])
                file.flush()
                time.sleep(0.05)  # so that it is killed here, however busy the machine
                file.write(piece[len(piece) // 2 :])


class Litters(LocalStore):  # type: ignore[misc]
    """What was left half done is under a name of its own that nobody lists, and nobody deletes."""

    def discard(self, names: Sequence[str]) -> None:
        super().discard([name for name in names if not name.endswith(".part")])


class NeverDeletes(LocalStore):  # type: ignore[misc]
    def discard(self, names: Sequence[str]) -> None:
        super().discard(names[:1])


class Shallow(LocalStore):  # type: ignore[misc]
    def list(self, under: str) -> dict[str, int]:
        return {name: size for name, size in super().list(under).items() if name.count("/") == under.count("/") + 1}


class Begins(Bucket):
    """Lists by a prefix that does not end with a slash, as one forgets over an object store."""

    def list(self, under: str) -> dict[str, int]:
        everything = super().list(under.split("/")[0]) | super().list(under.split("/")[0] + "0")
        return {name: size for name, size in everything.items() if name.startswith(under)}


class Cached(Bucket):
    """Believes that what it has listed is what there is."""

    def list(self, under: str) -> dict[str, int]:
        cache = self.__dict__.setdefault("cache", {})
        return dict(cache.setdefault(under, super().list(under)))


class CannotBeSent(Bucket):
    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle a connection")


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (Forgets, "what is loaded is not what was saved"),
        (HoldsTwice, "a job is begun a second time under the same lease"),
        (Overwrites, "hold must not change what is there"),
        (WritesInPlace, "half of what it saved is under its name"),
        (Litters, "of two checkpoints and one job is left"),
        (NeverDeletes, "of a late writer is left"),
        (Shallow, "list must find what is deeper down too"),
        (Begins, "list must not take the beginning of another place for its own"),
        (Cached, "was saved before"),
        (CannotBeSent, "cannot pickle a connection"),
    ],
)
def test_the_suite_finds_a_store_that(kind: type, sentence: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, TypeError), match=sentence):
        check_store(lambda: kind(str(tmp_path / "kept")))


@pytest.mark.parametrize(
    ("module", "name", "broken", "sentence"),
    [
        (Checkpoints, "_check", lambda self, there: None, "a job saves though"),
        (checkpoints, "written", lambda head, pickled: [heads.written(head, pickled)[0], b"", pickled], "found"),
        (heads.Identity, "owns", lambda self, other: True, "of another configuration is taken for one's own"),
        (Checkpoints, "set_aside", lambda self, found: None, "what was set aside is looked at again"),
        (Checkpoints, "settle", lambda self: None, "a large state that was read back needs no second copy"),
        (Checkpoints, "keep_newest", lambda self, head: None, "the newest was to become the best, and has not"),
        (Checkpoints, "begin", Checkpoints.hold, "an older lease|a second time"),
        (Checkpoints, "reports_in", lambda self, piece: None, "are sent again"),
    ],
)
def test_the_suite_finds_what_is_broken_above_the_store(
    module: Any, name: str, broken: Any, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, broken)
    with pytest.raises(AssertionError, match=sentence):
        check_store(lambda: LocalStore(str(tmp_path / "kept")))


# -- studies ------------------------------------------------------------------------------------------------------

SPACE = {"x": rw.Float(0, 1)}


def dies_now_and_then(trial: rw.Trial) -> None:
    state = trial.load()
    assert state is None or state["x"] == trial.config["x"]
    for epoch in trial:
        mark = trial.folder / f"died at {epoch}"
        if epoch == 2 + trial.number % 2 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        trial.report(trial.config["x"] + 1 / epoch)
        trial.save({"x": trial.config["x"], "at": epoch})


@pytest.mark.parametrize("kind", [LocalStore, Bucket, None])
def test_a_study_keeps_its_checkpoints_where_it_is_told_while_workers_are_killed(kind: Any, tmp_path: Path) -> None:
    place = str(tmp_path / "kept")
    where = place if kind is None else kind(place)
    arguments = {"mode": "min", "scheduler": rw.ASHA(max_resource=9), "quiet": True, "workers": 2, "refit": True}
    study = rw.tune(dies_now_and_then, SPACE, trials=9, study=tmp_path / "s.db", checkpoints=where, **arguments)
    assert study.best.load() == {"x": study.best.config["x"], "at": 9}
    assert not list((tmp_path / "s.db.trials").rglob("checkpoint*"))
    looked = rw.Study.open(tmp_path / "s.db")
    assert looked.best.load() == study.best.load()
    assert looked.best.saved == study.best.saved == 9
    assert looked.best == study.best or kind is not None, "a folder is a folder"
    again = where if kind is Bucket else None  # nobody has said to trust what the file names
    study = rw.tune(dies_now_and_then, SPACE, trials=18, study=tmp_path / "s.db", checkpoints=again, **arguments)
    assert [record.failure for record in study.trials] == [None] * 18
    assert sum(isinstance(fact, Retried) for _, fact in rw.Study.open(tmp_path / "s.db").facts()) >= 6
    store = where if kind is not None else LocalStore(place)
    there = {pieces.whose(name.split("/")[1]) for name in store.list(study.id) if "/sessions/" not in name}
    needed = study.scheduler.may_promote(18) | set(study.state.winners)
    assert {trial for trial, _ in filter(None, there)} <= needed, "what nobody needs is deleted"
    assert len(there) < 18


def late(storage: Storage, job: Job, said: list[Said], until: int) -> None:
    """A worker that its driver has given up: it trains on, and saves as if nothing had happened."""

    def train(trial: rw.Trial) -> None:
        trial.load()
        for epoch in trial:
            trial.report(1 / epoch)
            trial.save({"lease": job.lease, "at": epoch})
            if epoch >= until:
                break

    run_job(job, train, storage, said.append)


@pytest.mark.parametrize("kind", [LocalStore, Bucket])
def test_writers_that_come_late_never_take_the_place_of_a_newer_one(kind: Any, tmp_path: Path) -> None:
    """Processes of nine leases save into one trial at once, in any order; the last lease has the last word."""
    storage = Storage(tmp_path / "trials", kind(str(tmp_path / "kept")))
    fork = multiprocessing.get_context("fork")
    workers = []
    for lease in (JOBS + n for n in (3, 1, 2, 7, 4, 9, 5, 8, 6)):
        job = Job(3, {"x": 1}, 0, 10**6, lease=lease, study="s")
        workers.append(fork.Process(target=late, args=(storage, job, [], 60)))
    for worker in workers:
        worker.start()
        time.sleep(0.01)
    for worker in workers:
        worker.join()
    kept = storage.of(Job(3, {"x": 1}, 0, 1, lease=JOBS + 10, study="s"))
    found = kept.find()
    assert found.state["lease"] == JOBS + 9
    assert not found.damaged
    assert found.state["at"] == found.head.resource >= 60
    last = Job(3, {"x": 1}, 0, 10**6, lease=JOBS + 11, study="s")
    late(storage, last, [], found.state["at"] + 2)
    names = {name.split(".")[0].rpartition("/")[2] for name in storage.store.list(kept.place)}
    assert [piece.order[0] for piece in kept.there().states] == [JOBS + 11] * 2, "nothing of the others is left"
    assert names <= {"checkpoint", "job", "reports"}


def train(trial: rw.Trial) -> None:
    trial.load()
    for epoch in trial:
        trial.report(trial.config["x"] + 1 / epoch)
        trial.save(epoch)


def tuned(path: Path, **arguments: Any) -> rw.Study:
    settings = {"mode": "min", "scheduler": rw.ASHA(max_resource=9), "trials": 5, "quiet": True}
    return rw.tune(train, SPACE, study=path, **settings | arguments)


def test_studies_share_a_folder(tmp_path: Path) -> None:
    both = [tuned(tmp_path / name, checkpoints=tmp_path / "big", seed=n) for n, name in enumerate(("a.db", "b.db"))]
    assert {path.name for path in (tmp_path / "big").iterdir()} == {study.id for study in both}
    for study in both:
        assert study.best.load() == study.best.resource


def test_checkpoints_do_not_move_by_themselves(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    study = tuned(path, checkpoints=tmp_path / "one")
    with pytest.raises(rw.InputError, match=r"are in \S+one/\w+; leave checkpoints= out .* or move that folder"):
        tuned(path, checkpoints=tmp_path / "two", trials=8)
    (tmp_path / "two").mkdir()
    (tmp_path / "one" / study.id).rename(tmp_path / "two" / study.id)
    with pytest.raises(rw.StudyError, match=r"should be in \S+one, but nothing of this study is there"):
        tuned(path, trials=8)
    study = tuned(path, checkpoints=tmp_path / "two", trials=8)
    assert rw.Study.open(path).best.load() == study.best.resource
    beside = tuned(tmp_path / "t.db")
    with pytest.raises(rw.InputError, match=r"are in \S+t\.db\.trials; leave checkpoints= out to use them$"):
        tuned(beside.path, checkpoints=tmp_path / "two", trials=8)


def test_a_store_that_only_a_file_names_is_not_imported_by_tune(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    tuned(path, checkpoints=Bucket(str(tmp_path / "kept")))
    with pytest.raises(rw.InputError, match=r"in a custom store, \S*test_stores:Bucket: pass it as checkpoints="):
        tuned(path, trials=8)
    assert len(tuned(path, trials=8, checkpoints=Bucket(str(tmp_path / "kept"))).trials) == 8


def test_a_place_that_only_a_file_names_is_not_used_by_tune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.db"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    tuned(path, checkpoints=tmp_path / "kept")
    assert len(tuned(path, trials=8).trials) == 8  # it was begun here
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of another"))
    for _ in range(2):  # being refused does not make it one that was begun here
        with pytest.raises(rw.InputError, match=r"in \S+kept, as its file says, and you did not begin it here: if"):
            tuned(path, trials=9)
    assert len(tuned(path, trials=9, checkpoints=tmp_path / "kept").trials) == 9


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "checkpoints must be a folder, an address, or a rungwise.store.Store, not 3"),
        ("", "checkpoints must be a folder, an address, or a rungwise.store.Store, not ''"),
        ("ftp://host/x", "an address that begins with s3://, gs://, az://, not at 'ftp://host/x'"),
        (__file__, "checkpoints must be a folder, but .* is a file"),
        (LocalStore, "checkpoints must be a folder, an address, or a rungwise.store.Store, not <class"),
    ],
)
def test_what_is_no_store_is_refused(given: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(rw.InputError, match=said):
        tuned(tmp_path / "s.db", checkpoints=given)
    assert not (tmp_path / "s.db").exists()


def test_the_public_suite_is_public() -> None:
    assert testing.check_store is check_store
    assert isinstance(Bucket(""), rw.store.Store)
    make: Callable[[], rw.store.Store] = lambda: Bucket("")  # noqa: E731
    assert make().settings() == {"path": ""}


@pytest.mark.parametrize("what", ["a pipe", "a link"])
def test_a_local_store_reads_files_alone(what: str, tmp_path: Path) -> None:
    """A pipe would hang whoever reads it, and a link leads elsewhere."""
    path = tmp_path / "a" / "checkpoint.0001000000000000.000001"
    path.parent.mkdir()
    if what == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(OSError, match=r"not a regular file|symbolic links"):
        LocalStore(tmp_path).load(f"a/{path.name}")


def _fails(number: int) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("number", "raised"),
    [
        (errno.ESTALE, FileNotFoundError),  # another machine has deleted it meanwhile
        (errno.ETIMEDOUT, Unreachable),
        (errno.ENOTCONN, Unreachable),
        (errno.EMFILE, Unreachable),
        (errno.EACCES, Unreachable),
        (errno.EIO, OSError),
    ],
)
def test_only_what_can_never_be_read_is_damaged(number: int, raised: type, tmp_path: Path, monkeypatch: Any) -> None:
    kept = Checkpoints(LocalStore(tmp_path), "000003", Identity("ab", "cd"), JOBS)
    kept.begin()
    for resource in (1, 2):
        kept.save(Head(resource, [], study="ab", configuration="cd"), resource)
    name = kept.there().states[-1].name
    monkeypatch.setattr(os, "open", _fails(number))
    with pytest.raises(raised):
        kept.store.load(f"000003/{name}")
    if raised is Unreachable:
        with pytest.raises(Unreachable):
            kept.find()
    monkeypatch.undo()
    assert kept.find().state == 2, "nobody has set it aside"


def test_a_renaming_whose_answer_was_lost_is_done(tmp_path: Path, monkeypatch: Any) -> None:
    """As NFS says it: the request is sent again, and then there is nothing to rename any more."""
    store, rename = LocalStore(tmp_path), os.rename

    def lost(old: str, new: str) -> None:
        rename(old, new)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), old)

    monkeypatch.setattr(os, "rename", lost)
    store.save("a/job.0000000000000001", [b"1", b"2"])
    assert store.load("a/job.0000000000000001") == b"12"
    monkeypatch.setattr(os, "rename", _fails(errno.ENOENT))
    with pytest.raises(FileNotFoundError):
        store.save("a/job.0000000000000002", [b"1", b"2"])
    assert store.list("a") == {"a/job.0000000000000001": 2}


def test_folders_that_cannot_be_synced_are_none_the_worse(tmp_path: Path, monkeypatch: Any) -> None:
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda file: _fails(errno.EINVAL)() if stat.S_ISDIR(os.fstat(file).st_mode) else fsync(file)
    )
    LocalStore(tmp_path).save("a/job.0000000000000001", [b"12"])
    monkeypatch.setattr(os, "fsync", _fails(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        LocalStore(tmp_path).save("a/job.0000000000000002", [b"12"])


def test_the_number_of_a_session_that_nobody_took_is_no_session(tmp_path: Path) -> None:
    for number in ("70000", "99999999999999999999", "32768"):
        (tmp_path / f"session.{number}").touch()
    assert next(leases(tmp_path)) >> 48 == 1
    (tmp_path / "session.32767").touch()
    with pytest.raises(rw.StudyError, match="has been opened 32767 times"):
        next(leases(tmp_path))


class Away(Bucket):
    """A store that is away: a disk that is full, a mount that is gone."""

    def list(self, under: str) -> dict[str, int]:
        raise OSError(errno.ENOTCONN, "the store is away")

    hold = load = discard = save = list  # type: ignore[assignment]


def test_a_store_that_is_away_when_the_driver_holds_a_trial_breaks_the_job_and_not_the_run(tmp_path: Path) -> None:
    store = Away(str(tmp_path / "store"))
    workers = LocalWorkers(trains, 1, Storage(tmp_path / "trials", store))
    try:
        workers.submit(Job(0, {"x": 0.5}, 0, 1, lease=1 << 48, study="ab"))
        (said,) = workers.poll(5)
        assert said == Said(1 << 48, None, Broke(0, said.message.reason))
        assert "the store is away" in said.message.reason
    finally:
        workers.close()


class Flaky(Bucket):
    """A store that fails for as long as `away`."""

    away = False

    def discard(self, names: Sequence[str]) -> None:
        if self.away:
            raise OSError(errno.ENOTCONN, "the store is away")
        super().discard(names)

    def list(self, under: str) -> dict[str, int]:
        if self.away:
            raise OSError(errno.ENOTCONN, "the store is away")
        return super().list(under)


def test_what_cannot_be_deleted_while_a_store_is_away_is_deleted_later(tmp_path: Path) -> None:
    store = Flaky(str(tmp_path / "kept"))
    tuned(tmp_path / "s.db", checkpoints=store, trials=18, keep_checkpoints=True)
    study = rw.Study.open(tmp_path / "s.db")
    disk = Disk(study, Storage(study.folder, store), keep=False)
    needed = study.scheduler.may_promote(18) | set(study.state.winners)

    def there() -> set[int]:
        places = {pieces.whose(name.split("/")[1]) for name in store.list(study.id)}
        return {trial for trial, _ in filter(None, places)}

    assert there() > needed
    store.away = True
    for trial in range(18):
        disk.ended(trial)
    disk.clean()
    store.away = False
    assert there() > needed
    disk.clean()
    assert there() == needed


def test_how_a_store_is_called() -> None:
    """Whoever is asked whether to trust it sees where it is, and of another's class which."""
    assert in_words({"name": "cloud", "path": "s3://ours", "endpoint": "http://theirs"}) == "s3://ours at http://theirs"
    assert in_words({"name": "their:Store", "path": "s3://ours"}) == "their:Store"
    assert in_words("s3://ours") == "s3://ours"


def trains(trial: rw.Trial) -> None:
    for _ in trial:
        trial.report(0.5)
