"""SIGKILL between any two file operations of a save: a whole state is there, the newest or the one before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rungwise.pieces import There

LIVES = """
import json, os, signal, sys
from pathlib import Path
from rungwise import checkpoints, folders, heads, history
from rungwise.events import Job
from rungwise.trial import Trial, wrong_end

checkpoints.LARGE, history.IN_HEAD = int(sys.argv[2]), 2

def live(folder, lease, at_call, out):
    folders.claim(folder, lease, heads.identity("s", {"x": 1}))
    said, calls = [], 0
    trial = Trial(Job(3, {"x": 1}, 0, 9, lease=lease, study="s"), folder, said.append)
    state = trial.load()
    at = 0 if state is None else state["at"]
    assert [fact.resource for fact in said] == list(range(1, at + 1)), (at, said)
    os.write(out, b"%d\\n" % at)

    def die_at_last(event, arguments):
        nonlocal calls
        if event in ("open", "os.rename", "os.link", "os.remove", "os.truncate"):
            calls += 1
            if calls == at_call:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(die_at_last)
    for epoch in trial:
        trial.report(epoch / 7)
        trial.save({"at": epoch})
        os.write(out, b"%d\\n" % epoch)
    assert wrong_end(trial) is None

for at_call in range(1, 60):
    for lease in (1, 2, 3):
        mine, theirs = os.pipe()
        if (child := os.fork()) == 0:
            os.close(mine)
            try:
                live(Path(sys.argv[1]) / str(at_call) / "000003", lease, at_call if lease < 3 else 0, theirs)
            except BaseException as error:
                print(error, file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        os.close(theirs)
        with open(mine) as heard:
            told = [int(line) for line in heard]
        print(json.dumps([at_call, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), *told]), flush=True)
"""


@pytest.mark.parametrize("large", [1, 1 << 20], ids=["large states", "small states"])
def test_a_kill_at_any_moment_of_a_save_loses_nothing_that_was_saved(large: int, tmp_path: Path) -> None:
    """Of each trial two lives are killed, at a file operation of their own, and the third ends the job."""
    command = [sys.executable, "-c", LIVES, str(tmp_path), str(large)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lives = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lives) == 3 * 59
    for number in range(0, len(lives), 3):
        saved = 0
        for _, code, began, *epochs in lives[number : number + 3]:
            assert code in (0, -9), done.stderr
            assert saved <= began <= saved + 1, f"{began} is neither what was saved nor what was being saved"
            saved = max([began, *epochs])
        assert (code, saved) == (0, 9)
        folder = tmp_path / str(lives[number][0]) / "000003"
        there = There({path.name: path.stat().st_size for path in folder.iterdir()})
        assert there.halves == []
        if epochs:
            assert len(there.states) == (1 if large == 1 else 2), "or the newest was not read back"
            assert len(there.reports) <= 2, "of nine reports, two pieces at most"
            assert len(list(folder.iterdir())) == len(there.states) + len(there.reports) + len(there.jobs[3])
    assert sum(code == -9 for _, code, *_ in lives) > 80
