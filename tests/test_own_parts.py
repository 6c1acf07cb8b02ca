"""A scheduler, a searcher, a kind of parameter and a log of one's own: durable, resumed, and looked at elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import own_parts
import rungwise as rw
from own_parts import Angle, Counting, TwoRungs
from rungwise.events import Promote, Start, Started
from rungwise.log import MemoryLog
from rungwise.search import SEARCHERS, as_searcher

SPACE = {"angle": Angle(), "x": rw.Float(0, 1)}
DRIVE = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import rungwise as rw
from own_parts import *
space = rw.Space({{"angle": Angle(), "x": rw.Float(0, 1)}})
study = rw.Study(space, TwoRungs(), Counting(space), path="s.db")
study.extend(trials=12)
left = int(sys.argv[1])
while (job := study.ask()) is not None:
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    for resource in range(job.start + 1, job.until + 1):
        study.report(job.trial, resource, job.config["angle"] / resource)
print(study.rows(), study.finished)
"""


def drive(folder: Path, jobs: int) -> subprocess.CompletedProcess[str]:
    code = DRIVE.format(tests=str(Path(__file__).parent))
    return subprocess.run([sys.executable, "-c", code, str(jobs)], cwd=folder, capture_output=True, text=True)


def look(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process that cannot import `own_parts`."""
    command = [sys.executable, "-c", "from rungwise.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def test_own_parts_are_killed_resumed_and_looked_at_where_they_cannot_be_imported(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    for jobs in (3, 7):
        assert drive(killed, jobs).returncode == -9
    for command in (["status"], ["best"], ["explain"], ["export"]):
        seen = look(killed, command[0], "s.db", *(["trials.csv"] if command == ["export"] else []))
        assert (seen.returncode, seen.stderr) == (0, "")
    assert "config.angle" in (killed / "trials.csv").read_text()
    assert "two-rungs" not in look(killed, "status", "s.db").stderr
    resumed = look(killed, "resume", "s.db", "--function", "f.py:f")
    assert (
        "resuming would import the kind of parameter own_parts:Angle, the scheduler own_parts:TwoRungs, "
        in resumed.stderr
    )
    assert resumed.stderr.count("\n") == 1
    ended = drive(killed, 1_000)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == drive(whole, 1_000).stdout


def test_a_study_of_own_parts_is_gone_on_with_by_name_where_it_is_trusted(tmp_path: Path) -> None:
    space = rw.Space(SPACE)
    study = rw.Study(space, TwoRungs(max_resource=5), Counting(space, step=0.3), path=tmp_path / "s.db")
    study.extend(trials=4)
    study.report(study.ask().trial, 1, 0.5)
    study.close()
    with pytest.raises(rw.InputError, match=r"resuming .* would import the kind of parameter own_parts:Angle"):
        rw.Study.open(tmp_path / "s.db", writable=True)
    with rw.Study.open(tmp_path / "s.db", writable=True, trust=True) as again:
        assert isinstance(again.scheduler, TwoRungs)
        assert (again.scheduler.max_resource, again.searcher.step) == (5, 0.3)
        assert again.space["angle"] == Angle()
        assert again.ask().until == 5
    seen = rw.Study.open(tmp_path / "s.db")
    assert (seen.state.max_resource, [r.config for r in seen.trials]) == (5, [r.config for r in again.trials])
    with pytest.raises(rw.StudyError, match="looking at a study does not import its scheduler own_parts:TwoRungs"):
        seen.finished  # noqa: B018


def test_parts_are_named_as_module_and_class_everywhere() -> None:
    study = rw.Study(SPACE, "own_parts:TwoRungs", "own_parts:Counting")
    assert isinstance(study.scheduler, TwoRungs)
    assert study.ask().config == {"angle": 36, "x": 0.1}
    assert isinstance(as_searcher({"name": "own_parts:Counting", "step": 0.2}, rw.Space(SPACE)), Counting)
    with pytest.raises(rw.InputError, match="the searcher 'own_parts:Counting' has no setting 'steps'"):
        as_searcher({"name": "own_parts:Counting", "steps": 2}, rw.Space(SPACE))
    with pytest.raises(rw.InputError, match="the scheduler 'own_parts:Missing' cannot be imported here"):
        rw.Study(SPACE, "own_parts:Missing")


def test_an_installed_package_registers_parts_as_entry_points(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rungwise.searchers]\ncounting = own_parts:Counting\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert SEARCHERS.named("counting") is Counting
    assert isinstance(rw.Study(SPACE, searcher="counting").searcher, Counting)


@pytest.mark.parametrize("searcher", ["random", "sobol", "grid", "density", "evolution", "tpe", "gp"])
@pytest.mark.needs("gp", "optuna", "sobol")
def test_every_searcher_searches_a_kind_of_ones_own(searcher: str) -> None:
    study = rw.Study(SPACE, "asha", searcher)
    study.extend(trials=14)
    while (job := study.ask()) is not None:
        study.report(job.trial, job.until, abs(job.config["angle"] - 90))
    assert len({record.config["angle"] for record in study.trials}) > 3
    assert all(0 <= record.config["angle"] < 360 for record in study.trials)


class Wrong(TwoRungs):
    """Answers `answer` once three trials have been started, until it is mended."""

    answer: object = None

    def ask(self, *, more: bool = True):
        right = super().ask(more=more)
        return self.answer if len(self._started) == 3 and self.answer != "mended" else right


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Promote(99, 3), "is of a trial that there is not"),
        (Promote(0, 1), "goes no further than 3, where the trial is"),
        (Start(0), "goes to no resource"),
        (Start(3.0), "goes to no resource"),
        (None, "is neither Start, Promote, Raise nor Wait"),
        ("wait", "is neither Start, Promote, Raise nor Wait"),
    ],
)
def test_a_wrong_answer_of_a_scheduler_is_one_line_and_the_file_stays_whole(
    answer, said, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(Wrong, "answer", answer)
    study = rw.Study({"x": rw.Float(0, 1)}, Wrong(), path=tmp_path / "s.db")
    study.extend(trials=6)

    def train() -> None:
        while (job := study.ask()) is not None:
            study.report(job.trial, job.until, job.config["x"])

    with pytest.raises(rw.InputError, match=rf"the scheduler Wrong answered .*, which {said}"):
        train()
    study.close()
    assert len(rw.Study.open(tmp_path / "s.db").trials) == 3
    monkeypatch.setattr(Wrong, "answer", "mended")
    study = rw.Study({"x": rw.Float(0, 1)}, Wrong(), path=tmp_path / "s.db")
    train()
    assert len(study.trials) == 6


class Forgetful(TwoRungs):
    """Cannot take what it has decided itself, until it is mended."""

    mended = False

    def tell(self, fact: object) -> None:
        if isinstance(fact, Started) and fact.trial == 2 and not self.mended:
            raise KeyError(fact.until)
        super().tell(fact)


def test_what_a_scheduler_decides_and_cannot_take_is_not_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, Forgetful(), path=tmp_path / "s.db")
    study.extend(trials=4)
    jobs = [study.ask() for _ in range(2)]
    with pytest.raises(KeyError):
        study.ask()
    with pytest.raises(rw.StudyError, match="closed when the scheduler Forgetful raised KeyError"):
        study.report(jobs[0].trial, 1, 0.5)
    study.close()
    again = rw.Study({"x": rw.Float(0, 1)}, Forgetful(), path=tmp_path / "s.db")
    assert (len(again.trials), again.budget.trials) == (2, 4)
    again.close()


class Kept(MemoryLog):
    """A log that outlives its study."""

    def close(self) -> None:
        """Stays."""


def test_a_log_of_ones_own_holds_a_study() -> None:
    log = Kept()
    study = rw.Study({"x": rw.Float(0, 1)}, "asha", log=log)
    study.extend(trials=5)
    study.report(study.ask().trial, 1, 0.5)
    study.close()
    again = rw.Study({"x": rw.Float(0, 1)}, "asha", log=log)
    assert (again.budget.trials, again.best.score, again.path) == (5, 0.5, None)
    with pytest.raises(rw.InputError, match="give either path= or log=, not both"):
        rw.Study({"x": rw.Float(0, 1)}, log=log, path="s.db")


def test_the_module_of_own_parts_is_on_the_path_of_these_tests_alone() -> None:
    assert Path(own_parts.__file__).parent == Path(__file__).parent
    assert str(Path(__file__).parent) not in os.environ.get("PYTHONPATH", "")
