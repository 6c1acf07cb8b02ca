"""Checkpoints in a bucket of a real S3 server, beyond a network that fails."""

from __future__ import annotations

import doctest
import multiprocessing
import os
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rungwise as rw
from engines.bucket_victim import TOP, score
from engines.buckets import Faulty, objects, s3
from rungwise import cloud_store
from rungwise.cloud_store import LARGE, CloudStore
from rungwise.pieces import There, whose
from rungwise.store import Unreachable, as_store, noted
from rungwise.testing import check_store

JOBS, BYTES = int(os.environ.get("RUNGWISE_CLOUD_JOBS", 30)), int(os.environ.get("RUNGWISE_CLOUD_BYTES", 18 << 20))
KILLS = 10
VICTIM = Path(__file__).with_name("bucket_victim.py")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, s3() as url:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "not to be written anywhere")
        yield url


@pytest.fixture
def store(server: str) -> CloudStore:
    return CloudStore(f"s3://bucket/{time.monotonic_ns()}", endpoint=server)


def test_a_bucket_is_a_store(store: CloudStore) -> None:
    check_store(lambda: CloudStore(store.path, endpoint=store.endpoint))


def test_a_bucket_is_a_store_of_what_is_large(store: CloudStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here nearly all are, and in the processes that are killed what they save is."""
    monkeypatch.setattr(cloud_store, "LARGE", 500)
    check_store(lambda: CloudStore(store.path, endpoint=store.endpoint), large=2 * LARGE)


def test_through_a_network_that_fails(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request in five fails; everything is done once, and as it should be."""
    monkeypatch.setattr(cloud_store, "PAUSES", (0.01, 0.05))
    proxy = Faulty(server, every=5)
    try:
        check_store(lambda: CloudStore("s3://bucket/faulty", endpoint=proxy.url), large=1 << 20)
    finally:
        proxy.close()
    assert all(proxy.done[way] for way in Faulty.WAYS)
    assert not [name for name in objects(server) if name.startswith("faulty/")]


@pytest.mark.parametrize("way", ["refused when done", "cut after"])
def test_who_puts_first_is_told_so_although_the_answer_was_lost(way: str, server: str) -> None:
    proxy, name = Faulty(server), f"a/{way.replace(' ', '-')}"
    proxy.next = [way]
    try:
        assert CloudStore("s3://bucket/lost", endpoint=proxy.url).hold(name, b"mine")
        assert not CloudStore("s3://bucket/lost", endpoint=server).hold(name, b"theirs")
    finally:
        proxy.close()


def test_a_lost_network_is_not_a_damaged_checkpoint(server: str, store: CloudStore, monkeypatch: Any) -> None:
    monkeypatch.setattr(cloud_store, "PATIENCE", 0.5)
    store.save("a/b", [b"1" * 3 * LARGE])
    proxy = Faulty(server, every=1)
    Faulty.WAYS, ways = ("refused", "cut before"), Faulty.WAYS
    away = CloudStore(store.path, endpoint=proxy.url)
    try:
        with pytest.raises(Unreachable, match=r"^s3://bucket/\d+ cannot be used: "):
            away.load("a/b")
        for call in (lambda: away.save("a/c", [b""]), lambda: away.hold("a/d", b""), lambda: away.list("a")):
            with pytest.raises(OSError, match="cannot be used"):
                call()
        with pytest.raises(OSError, match="cannot be used"):
            away.discard(["a/b"])
    finally:
        Faulty.WAYS = ways
        proxy.close()
    assert store.list("a") == {"a/b": 3 * LARGE}
    assert store.load("a/b") == b"1" * 3 * LARGE


def test_a_save_that_fails_leaves_nothing(server: str, store: CloudStore, monkeypatch: Any) -> None:
    monkeypatch.setattr(cloud_store, "PATIENCE", 0.0)
    monkeypatch.setattr(cloud_store, "AT_ONCE", 1)
    for number in range(4):  # three parts, and what makes them one
        proxy = Faulty(server)
        proxy.next = ["passed on"] * number + ["refused"]
        try:
            with pytest.raises(OSError, match=r"50[03]"):
                CloudStore(store.path, endpoint=proxy.url).save("a/b", [b"1" * 3 * LARGE])
        finally:
            proxy.close()
        assert not store._keys("a"), f"refused was request {number}"


def test_a_piece_that_lacks_a_part_is_damaged(store: CloudStore) -> None:
    store.save("a/b", [b"1" * 2 * LARGE])
    store._delete(["a/b.part/0001"])
    with pytest.raises(OSError, match=r"a/b lacks a part$"):
        store.load("a/b")
    store.discard(["a/b"])
    with pytest.raises(FileNotFoundError):
        store.load("a/b")


def test_what_begins_like_a_large_piece_is_none(store: CloudStore) -> None:
    pieces = [b"", cloud_store.SPLIT[:5], cloud_store.SPLIT[5:] + b"[9]"]
    store.save("a/b", pieces)
    assert store.load("a/b") == b"".join(pieces)
    store.discard(["a/b"])
    assert not store._keys("a")


def test_what_a_kill_has_left_is_listed_as_a_half_and_goes(store: CloudStore) -> None:
    store._put("a/checkpoint.0000000000000001.000001.part/0000", [b"1" * 99])
    assert store.list("a") == {"a/checkpoint.0000000000000001.000001.part": 99}
    assert len(There({name[2:]: size for name, size in store.list("a").items()}).halves) == 1
    store.discard(list(store.list("a")))
    assert not store._keys("a")


def test_where_it_is_is_noted_and_nothing_that_is_secret(server: str, store: CloudStore) -> None:
    assert noted("s3://bucket/a/") == "s3://bucket/a"
    spec = noted(store)
    assert spec == {"name": "cloud", "path": store.path, "endpoint": server}
    for again in (as_store(spec), pickle.loads(pickle.dumps(store))):
        assert repr(again) == repr(store)
    for kept in (pickle.dumps(store), repr(spec).encode()):
        assert b"not to be written" not in kept


@pytest.mark.parametrize(
    ("address", "settings", "said"),
    [
        ("s3://key:secret@bucket/x", {}, "must be like s3://bucket/x, without user, password, or token"),
        ("s3://bucket/x?token=secret", {}, "must be like s3://bucket/x, without user, password, or token"),
        ("s3:///x", {}, "must begin with s3:// or gs:// or az://, not 's3:///x'"),
        ("http://x/y", {}, "must begin with s3:// or gs:// or az://, not 'http://x/y'"),
        (3, {}, "must begin with s3:// or gs:// or az://, not 3"),
        ("s3://[::1/x", {}, "the address of a store is no URL: Invalid IPv6 URL"),
        ("s3://bucket", {"endpoint": "minio:9000"}, "endpoint must begin with http:// or https://, not 'minio:9000'"),
        ("s3://bucket", {"endpoint": "http://me:secret@minio"}, "endpoint must be like http://minio, without user"),
        ("gs://bucket", {"endpoint": "http://minio"}, "endpoint= is for s3:// and az://, not for gs://bucket"),
        ("gs://bucket", {"region": "eu"}, "region= is for s3://, not for gs://bucket"),
        ("az://container/x", {}, "az://container/x: Generic MicrosoftAzure error: Account must be specified"),
    ],
)
def test_what_is_no_address_is_refused(address: Any, settings: dict, said: str, monkeypatch: Any) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(rw.InputError) as raised:
        CloudStore(address, **settings)
    assert said in str(raised.value)
    assert "secret" not in str(raised.value)


def test_what_cannot_be_is_said_at_once(server: str) -> None:
    began = time.monotonic()
    nowhere = CloudStore("s3://no-such-bucket/x", endpoint=server)
    with pytest.raises(
        Unreachable, match=r"^s3://no-such-bucket/x cannot be used: 404 Not Found, The specified bucket"
    ):
        nowhere.load("a/b")  # there may be checkpoints in it, so that it is no `FileNotFoundError`
    with pytest.raises(OSError, match=r"404 Not Found, The specified bucket"):
        nowhere.save("a/b", [b""])
    assert time.monotonic() - began < cloud_store.PATIENCE / 2
    refused = RuntimeError("status code: 403 Forbidden: <Message>of KEY</Message>")
    assert cloud_store._said(refused).startswith("it refuses the credentials in the environment")
    assert "sig=" not in cloud_store._said(RuntimeError("Error performing GET https://a.blob.net/b?sig=secret - HTTP"))


def test_a_forked_child_is_told_that_it_cannot(store: CloudStore) -> None:
    """Without that it would wait for ever for threads that it does not have."""
    store.save("a/b", [b"1"])
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()

    def child() -> None:
        try:
            CloudStore(store.path, endpoint=store.endpoint).list("a")
        except RuntimeError as error:
            theirs.send(str(error))

    process = fork.Process(target=child)
    process.start()
    assert ours.poll(30)
    assert ours.recv().startswith(f"a cloud store was used in process {os.getpid()}, from which this one was forked")
    process.join()


def test_without_obstore_the_user_is_told_what_to_install() -> None:
    code = """
import sys
sys.modules["obstore"] = None
import rungwise as rw
try:
    rw.tune(print, {"x": rw.Float(0, 1)}, mode="min", trials=1, checkpoints="s3://bucket/x")
except rw.InputError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert said.stdout == "a store in a bucket needs obstore: pip install 'rungwise[cloud]'\n", said.stderr
    code = "import sys, rungwise; print('obstore' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert said.stdout == "False\n"


def test_the_page_is_one_script(server: str, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "cloud.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL))
    (tmp_path / "script.py").write_text(code.replace("http://minio:9000", server))
    environment = os.environ | {"AWS_ENDPOINT_URL": server, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{'lr': ")
    assert "to see why it came out this way: rungwise explain s3://bucket/search/digits.db" in done.stderr


def test_its_examples() -> None:
    assert doctest.testmod(cloud_store, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


# -- a study ----------------------------------------------------------------------------------------


def workers_of(driver: subprocess.Popen) -> list[int]:
    found = []
    for pid in Path(f"/proc/{driver.pid}/task/{driver.pid}/children").read_text().split():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        found += [int(pid)] if b"executors.worker" in command else []
    return found


def lines(folder: Path) -> list[list[str]]:
    diary = folder / "diary"
    return [line.split() for line in diary.read_text().splitlines()] if diary.exists() else []


def test_a_study_through_kills_and_a_network_that_fails(server: str, tmp_path: Path) -> None:
    """Driver and workers are killed ten times, one request in twenty fails: nothing is lost, and nothing left over."""
    trials = max(9, round(JOBS * 9 / 13))  # one in three has a second job, one in nine a third
    proxy, chance, began = Faulty(server, every=20), random.Random(13), time.monotonic()
    command = [sys.executable, str(VICTIM), str(tmp_path), proxy.url, str(trials), str(BYTES)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    kills = Counter[str]()
    saves = 13 * trials // 9
    try:
        driver = subprocess.Popen(command, env=environment)
        while (code := driver.poll()) is None or sum(kills.values()) < KILLS:
            assert code is None, f"the driver has ended with {code} after {kills}"
            time.sleep(0.01)
            done = sum(line[0] == "saved" for line in lines(tmp_path))
            if sum(kills.values()) < KILLS and done > sum(kills.values()) * saves // (KILLS + 1):
                time.sleep(chance.uniform(0, 0.5))
                if sum(kills.values()) % 2:
                    for worker in workers_of(driver)[:1]:
                        os.kill(worker, signal.SIGKILL)
                        kills["worker"] += 1
                else:
                    driver.kill()
                    driver.wait()
                    kills["driver"] += 1
                    driver = subprocess.Popen(command, env=environment)
        assert driver.returncode == 0
    finally:
        proxy.every = 0
        driver.kill()
        driver.wait()

    study = rw.Study.open(tmp_path / "study.db")
    assert study.finished
    assert [record.failure for record in study.trials] == [None] * trials
    saved: Counter[str] = Counter()
    saving: Counter[str] = Counter()
    for what, trial, value in lines(tmp_path):
        if what == "began":  # what was being saved when it was killed may be there too
            assert saved[trial] <= int(value) <= saving[trial], f"trial {trial} has lost a checkpoint"
            saved[trial] = int(value)
        elif what == "saves":
            saving[trial] = max(saving[trial], int(value))
        else:
            saved[trial] = int(value)
    for record in study.trials:
        wanted = {epoch: score(record.config["x"], epoch) for epoch in range(1, record.resource + 1)}
        assert record.reports == wanted, f"trial {record.number} has lost reports"
    assert study.best.resource == TOP
    assert study.best.load()["at"] == TOP

    left = [name for name in objects(server) if name.startswith("kept/")]
    store = CloudStore("s3://bucket/kept", endpoint=server)
    found = [name for name in store.list(study.id) if "/sessions/" not in name]
    assert not [name for name in found if name.endswith(".part")], "halves are left"
    there = {whose(name.split("/")[1]) for name in found}
    needed = study.scheduler.may_promote(trials) | set(study.state.winners)
    assert {trial for trial, _ in filter(None, there)} <= needed, "of a trial that nobody needs something is left"
    states = Counter(name.split("/")[1] for name in found if "/checkpoint." in name)
    assert all(count == 1 for count in states.values()), f"more than the newest of a paused trial is left: {states}"
    parts = -(-BYTES // LARGE) + 1 if BYTES >= LARGE else 0
    assert len(left) <= len(found) + parts * len(states) + kills["driver"] + 1, f"orphans are left: {left}"
    jobs = sum(line[0] == "began" for line in lines(tmp_path))
    print(
        f"{trials} trials, {jobs} jobs of {BYTES / 2**20:.0f} MB begun, {sum(saved.values())} epochs, "
        f"{sum(line[0] == 'saved' for line in lines(tmp_path))} saved, killed {dict(kills)}, "
        f"requests {dict(proxy.done)}, {len(left)} objects left, {time.monotonic() - began:.0f} s"
    )
    assert all(proxy.done[way] for way in Faulty.WAYS), "not all faults came"
    proxy.close()


# -- a study whose log is there too -----------------------------------------------------------------

MIRRORED = """
import os, sys
import rungwise as rw

def train(trial):
    state = trial.load() or 0
    with open(os.environ["DIARY"], "a") as diary:
        diary.write(f"began {trial.number} {trial.start} {state}\\n")
    for epoch in trial:
        trial.report((trial.config["x"] - 0.3) ** 2 + 1 / epoch)
        trial.save(epoch)

if __name__ == "__main__":
    rw.tune(train, {"x": rw.Float(0, 1)}, mode="min", scheduler=rw.ASHA(max_resource=9), trials=int(sys.argv[2]),
            workers=2, path=sys.argv[1], quiet=True)
"""


def test_a_study_moves_from_machine_to_machine(server: str, tmp_path: Path) -> None:
    """Each has a folder of its own; of the first four, the driver is killed. No trial loses a checkpoint."""
    (tmp_path / "train.py").write_text(MIRRORED)
    address, trials, diary = f"s3://bucket/{time.monotonic_ns()}/study.db", 60, tmp_path / "diary"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path), "AWS_ENDPOINT_URL": server, "DIARY": str(diary),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }  # fmt: skip

    def here(number: int, *arguments: str, **options: Any) -> subprocess.Popen:
        folder = tmp_path / f"machine-{number}"
        folder.mkdir(exist_ok=True)
        command = [sys.executable, *arguments]
        return subprocess.Popen(command, cwd=folder, env=environment, text=True, **options)

    tune = ("../train.py", address, str(trials))
    for machine in (1, 2, 2, 1, 3):
        driver, began = here(machine, *tune), _count(diary)
        while _count(diary) < began + 6:
            assert driver.poll() is None
            time.sleep(0.02)
        time.sleep(1.2 if machine == 2 else 0.3)
        driver.kill()
        driver.wait()
        time.sleep(0.3)
        if machine == 1:  # what was not put there before the kill is: or it would differ from what another does
            shutil.rmtree(tmp_path / "machine-1")
    command = ("-m", "rungwise", "status", address)
    looked = here(4, *command, stdout=subprocess.PIPE)
    assert "trials" in looked.communicate(timeout=60)[0]
    assert not list((tmp_path / "machine-4").iterdir()), "who looks leaves nothing"
    assert here(4, "-m", "rungwise", "pause", address, stderr=subprocess.PIPE).communicate()[1] == (
        f"rungwise: {address} is a copy: name the file on the machine that drives the study, such as study.db\n"
    )
    resume = ("-m", "rungwise", "resume", address, "--function", "../train.py:train")
    refused = here(4, *resume, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert "and you did not begin it here; if you trust the file, use --trust" in refused.communicate(timeout=60)[1]
    resumed = here(4, *resume, "--trust", stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    _, said = resumed.communicate(timeout=200)
    assert resumed.returncode == 0, said
    assert f"rungwise explain {address}" in said or "rungwise explain" not in said
    for number, line in enumerate(diary.read_text().splitlines()):
        _, trial, start, state = line.split()
        assert int(state) >= int(start), f"line {number}: trial {trial} has lost its checkpoint"
    os.environ["AWS_ENDPOINT_URL"] = server
    try:
        study = rw.Study.open(address)
        assert study.finished
        assert len(study.trials) == trials
        assert all(trial.failure is None for trial in study.trials)
        there = list(study.facts())
        assert there == list(rw.Study.open(tmp_path / "machine-4" / "study.db").facts())
        assert study.best.load() == study.best.resource
    finally:
        del os.environ["AWS_ENDPOINT_URL"]
    for name in objects(server):
        assert not name.endswith(".part")
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"not to be written anywhere" not in path.read_bytes()


def _count(diary: Path) -> int:
    return len(diary.read_text().splitlines()) if diary.exists() else 0
