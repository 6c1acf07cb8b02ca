"""Histories in which everything fails, from seeds; and bugs planted on purpose, which they must find."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from faults import world
from faults.world import CHANCE, folder, live
from rungwise import blame, database, heads, records, turns
from rungwise.checkpoints import Checkpoints
from rungwise.events import Job
from rungwise.executors import Message, Said
from rungwise.hold import Hold
from rungwise.loop import Inbox
from rungwise.sqlite import SQLiteLog

SEEDS = int(os.environ.get("RUNGWISE_SEEDS", "150"))


def histories(seeds: int) -> Counter[str]:
    struck: Counter[str] = Counter()
    for seed in range(seeds):
        with folder() as place:
            struck += live(seed, place)
    return struck


def test_no_invariant_is_broken_whatever_fails() -> None:
    struck = histories(SEEDS)
    assert all(struck[fault] > 0 for fault in CHANCE), "every fault was gone through"
    assert struck["broken off by the machine"] > struck["given up"] > 0
    assert struck["fenced off"] > 0


def test_a_seed_gives_the_same_history_every_time() -> None:
    told: list[list[str]] = [[], []]
    for lines in told:
        with folder() as place:
            live(3, place, lines.append)
    assert told[0] == told[1] != []


def found_by(seeds: int = 1000) -> str:
    """What the first history that finds a planted bug says."""
    for seed in range(seeds):
        try:
            with folder() as place:
                live(seed, place)
        except Exception as error:  # as `main` does: a bug may also break what the loop relies on
            return str(error)
    raise AssertionError(f"{seeds} histories did not find the bug")


def test_it_finds_a_commit_that_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    flush, calls = SQLiteLog.flush, Counter[str]()

    def sometimes(self: SQLiteLog) -> None:
        calls["flush"] += 1
        if calls["flush"] % 50 == 0:
            self._pending.clear()
        flush(self)

    monkeypatch.setattr(SQLiteLog, "flush", sometimes)
    assert re.search("durable facts are gone|is damaged at fact", found_by())


def test_it_finds_messages_that_are_taken_twice_or_out_of_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def poll(self: Inbox, timeout: float) -> list[Message]:
        def held(said: Said) -> bool:
            lease = self._out.get(said.message.trial)
            return lease is not None and lease.number == said.lease

        return [said.message for said in self._carrier.poll(timeout) if held(said)]

    monkeypatch.setattr(Inbox, "poll", poll)
    assert found_by()


def test_it_finds_that_a_stale_lease_is_honored(monkeypatch: pytest.MonkeyPatch) -> None:
    poll = world.Workers.poll

    def any_lease(self: world.Workers, timeout: float) -> list[Said]:
        def honored(said: Said) -> Said:
            lease = self.leases.get(said.message.trial)
            return said if lease is None else Said(lease, said.place, said.message)

        return list(map(honored, poll(self, timeout)))

    submit = world.Workers.submit

    def noted(self: world.Workers, job: Job) -> None:
        self.leases = getattr(self, "leases", {}) | {job.trial: job.lease}
        submit(self, job)

    monkeypatch.setattr(world.Workers, "poll", any_lease)
    monkeypatch.setattr(world.Workers, "submit", noted)
    assert found_by()


def test_it_finds_that_a_stale_holder_may_write(monkeypatch: pytest.MonkeyPatch) -> None:
    save = Checkpoints.save

    def unfenced(self: Checkpoints, head: heads.Head, state: object) -> None:
        mine, self.lease = self.lease, max(self.lease, self.there().lease)
        save(self, head, state)
        self.lease = mine

    monkeypatch.setattr(Checkpoints, "save", unfenced)
    assert "was saved" in found_by()


def test_it_finds_that_a_checkpoint_of_another_configuration_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads.Identity, "owns", lambda self, other: True)
    assert "goes on from the checkpoint of x" in found_by()


def test_it_finds_that_the_machines_fault_fails_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blame, "IN_A_ROW", 100)
    assert "failed by the fault of the machine" in found_by()


def test_it_finds_that_a_job_taken_away_counts_as_one_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blame.InARow, "paused", lambda self, trial: self.ended(trial))
    monkeypatch.setitem(CHANCE, "worker taken away", 0.05)
    assert "was taken away before it reported" in found_by()


def test_it_finds_that_a_lease_is_begun_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Checkpoints, "begin", lambda self, there=None, note=b"": self.hold(there))
    assert "was begun twice, and trains twice" in found_by()


def test_it_finds_that_a_second_writer_is_not_met(monkeypatch: pytest.MonkeyPatch) -> None:
    def numbered_by_the_database(self: SQLiteLog) -> list[database.Row]:
        (last,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM facts").fetchone()
        return [(number, *row) for number, row in enumerate(self._pending, start=last + 1)]

    monkeypatch.setattr(SQLiteLog, "_rows", numbered_by_the_database)
    assert "was not noticed" in found_by()


def test_it_finds_that_a_forked_child_may_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns._Refusal, "__enter__", lambda self: None)
    monkeypatch.setitem(CHANCE, "forked writer", 0.01)
    assert "a forked child used the study" in found_by()


def test_it_finds_that_nobody_notices_when_the_study_vanishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hold, "moved", lambda self: None)
    assert "was not noticed" in found_by()


def test_it_finds_that_a_clock_that_is_set_spends_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LONGEST_GAP", float("inf"))
    assert "it has run for" in found_by()


def test_a_broken_invariant_is_told_with_the_command_that_repeats_it(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['world.py', '--seeds', '50']; from faults import world;"
        "world.check_end = lambda *_: (_ for _ in ()).throw(world.InvariantBroken('planted')); sys.exit(world.main())"
    )
    tests = Path(world.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=tests, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"seed 0: InvariantBroken: planted\nagain: \S+ \S*world\.py 0\n", done.stdout)
