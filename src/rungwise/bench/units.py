"""Many runs, by several processes, so that what was done is not done again after an interruption."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from rungwise.errors import InputError

T = TypeVar("T")


class Unit(Protocol[T]):
    """A part of an experiment: what it gives depends on its `identity` alone. It is pickled for another process."""

    def run(self) -> list[T]:
        """Do it; the rows that it gives."""
        ...

    def identity(self) -> Any:
        """All that its rows depend on, as plain JSON."""
        ...


def run_units(
    units: Sequence[Unit[T]],
    kind: type[T],
    *,
    processes: int,
    journal: Path | None,
    progress: Callable[[int, int], None],
) -> list[T]:
    """The rows of all `units`, which are of the type `kind`, in the order of the units.

    With `journal`, a file, what is done is kept there, and the same call goes on where it was broken off. `progress` is
    called with what is done of how many. Raises `InputError` for a journal that belongs to other units.
    """
    done = {} if journal is None else _read_journal(journal, units, kind)
    progress(len(done), len(units))
    missing = [place for place in range(len(units)) if place not in done]
    with contextlib.nullcontext() if journal is None else journal.open("ab") as file:
        for place, rows in _run_all(units, missing, processes):
            done[place] = rows
            if file is not None:
                file.write(msgspec.json.encode((place, rows)) + b"\n")
                file.flush()
            progress(len(done), len(units))
    return [row for place in range(len(units)) for row in done[place]]


def _run(unit: Unit[T]) -> list[T]:
    return unit.run()


def _run_all(units: Sequence[Unit[T]], missing: Sequence[int], processes: int) -> Iterator[tuple[int, list[T]]]:
    """The rows of the units at the places `missing`, as they are done."""
    if processes == 1:
        yield from ((place, units[place].run()) for place in missing)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_end_with_the_parent) as pool:
        try:
            with _ctrl_c_ignored():  # by the processes that begin here, which inherit it: it is for this one
                places = {pool.submit(_run, units[place]): place for place in missing}
            for future in as_completed(places):
                yield places[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with_the_parent() -> None:
    """End this process when the one that began it is gone, however it went."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextlib.contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _read_journal(path: Path, units: Sequence[Unit[T]], kind: type[T]) -> dict[int, list[T]]:
    """What an earlier call has done of `units`; a line that was not written to its end is cut off."""
    heading = json.dumps({"experiment": sha256(json.dumps([unit.identity() for unit in units]).encode()).hexdigest()})
    heading_line = heading.encode() + b"\n"
    if not path.exists():
        path.write_bytes(heading_line)
        return {}
    content = path.read_bytes()
    whole_lines = content[: content.rfind(b"\n") + 1]
    if not whole_lines.startswith(heading_line):
        raise InputError(
            f"{path} is of another experiment (other suites, curves or settings): delete it or move it away"
        )
    if whole_lines != content:
        path.write_bytes(whole_lines)
    try:
        lines = whole_lines.splitlines()[1:]
        decoder: msgspec.json.Decoder[tuple[int, list[T]]] = msgspec.json.Decoder(tuple[int, list[kind]])  # type: ignore[valid-type]
        return dict(map(decoder.decode, lines))
    except msgspec.DecodeError as error:
        raise InputError(f"{path} is damaged ({error}): delete it or move it away") from None
