"""What a bucket costs, on a server that this starts: python benchmarks/engine_cloud.py (in .venv-cloud).

Each request beside the bare one of obstore, in the same run; large checkpoints; jobs of nothing; a log restored.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import obstore

import rungwise as rw
from rungwise import mirror
from rungwise.cloud_store import CloudStore
from rungwise.sqlite import SQLiteLog

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from engines.buckets import s3


def nothing(trial: rw.Trial) -> None:
    trial.report(trial.config["x"])


def milliseconds(call: Callable[[int], object], times: int = 200) -> float:
    taken = []
    for number in range(times):
        began = time.perf_counter()
        call(number)
        taken.append(time.perf_counter() - began)
    return 1000 * median(taken)


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    os.environ |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    with s3() as url, tempfile.TemporaryDirectory() as folder:
        store = CloudStore("s3://bucket/bench", endpoint=url)
        print("ms a request, median (bare put of obstore, hold, save of 1 kB, load, list, discard):")
        calls: list[Callable[[int], object]] = [
            lambda n: obstore.put(store._there, f"bare/{n}", b"1" * 1000, use_multipart=False),
            lambda n: store.hold(f"a/job.{n:016x}", b"1"),
            lambda n: store.save(f"b/checkpoint.{n:016x}.000001", [b"1" * 1000]),
            lambda n: store.load(f"b/checkpoint.{n:016x}.000001"),
            lambda n: store.list("c"),
            lambda n: store.discard([f"b/checkpoint.{n:016x}.000001"]),
        ]
        print("  ", ", ".join(f"{milliseconds(call):.1f}" for call in calls))
        state = os.urandom(1 << 20) * 64
        saved, loaded = seconds(lambda: store.save("d/large", [state])), seconds(lambda: store.load("d/large"))
        print(f"a state of 64 MB: saved in {saved:.2f} s, loaded in {loaded:.2f} s")
        for name, kept in (("a folder", None), ("a bucket", CloudStore("s3://bucket/jobs", endpoint=url))):
            path = Path(folder) / f"{name}.db"
            run = lambda path=path, kept=kept: rw.tune(  # noqa: E731
                nothing, {"x": rw.Float(0, 1)}, mode="min", scheduler=rw.ASHA(max_resource=1), trials=200,
                workers=2, path=path, checkpoints=kept, quiet=True,
            )  # fmt: skip
            print(f"jobs of nothing with the marks of their trials in {name}: {200 / seconds(run):.0f}/s")
        log = SQLiteLog(Path(folder) / "a folder.db", writable=True)
        rows = [(time_, fact) for _, time_, fact, _ in log.rows_after(0)]
        digests = [digest for *_, digest in log.rows_after(0)]
        log.close()
        pieces = mirror.Pieces("s3://bucket/log/study.db", CloudStore("s3://bucket/log", endpoint=url))
        for number, (row, digest) in enumerate(zip(rows, digests, strict=True), 1):
            assert pieces.put(number, number, digest, [row])
        new = SQLiteLog(Path(folder) / "new.db", writable=True)
        taken = seconds(lambda: mirror.brought_up(new, pieces, pieces.count()))
        new.close()
        print(f"a log of {len(rows)} pieces restored in {taken:.1f} s")


if __name__ == "__main__":
    main()
