"""How far a trial may ever be trained, and seeds that no pause changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import rungwise as rw
from rungwise.events import Job
from rungwise.trial import Trial

SPACE = {"x": rw.Float(0, 1)}


def horizons(study: rw.Study) -> set[int | None]:
    """The horizons of all jobs of nine trials."""
    study.extend(trials=9)
    seen = set()
    while (job := study.ask()) is not None:
        seen.add(job.horizon)
        study.report(job.trial, job.until, job.config["x"])
    return seen


def test_it_is_the_furthest_that_was_said() -> None:
    assert horizons(rw.Study(SPACE, "pasha")) == {None}
    assert horizons(rw.Study(SPACE, rw.ASHA(max_resource=9))) == {9}
    assert horizons(rw.Study(SPACE, "pasha", run={"horizon": 81})) == {81}
    assert horizons(rw.Study(SPACE, rw.PASHA(max_resource=9), run={"horizon": 27})) == {27}
    assert horizons(rw.Study(SPACE, rw.PASHA(max_resource=9), run={"refit": 27})) == {27}
    assert horizons(rw.Study(SPACE, rw.PASHA(max_resource=9), run={"refit": True})) == {9}


def test_it_is_the_same_in_all_jobs_of_a_trial(tmp_path: Path) -> None:
    seen: dict[int, set[int | None]] = {}
    for horizon in (81, 243, 27):
        study = rw.Study(SPACE, "asha", path=tmp_path / "s.db", run={"horizon": horizon})
        study.extend(trials=len(study.trials) + 18)
        while (job := study.ask()) is not None:
            seen.setdefault(job.trial, set()).add(job.horizon)
            study.report(job.trial, job.until, job.config["x"])
        study.close()
    for record in study.trials:
        own = (81, 243, 27)[record.number // 18]
        assert seen[record.number] == {own} or record.paused_at > own, "none but who went beyond its own has another"
    assert any(record.paused_at > 27 for record in study.trials[:36]), "some went on in a session with another"


def test_that_it_moves_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    space = {"x": rw.Categorical([0, 1, 2])}
    rw.tune(tell_horizon, space, mode="min", scheduler=rw.ASHA(), trials=30, refit=3)
    said = capsys.readouterr().err
    assert said.count("trial.horizon = ") == 1
    assert "began with trial.horizon = 3 and is now trained to 9: its horizon is now 9" in said
    rw.tune(tell_horizon, space, mode="min", scheduler=rw.ASHA(), trials=30, horizon=81, refit=3)
    assert "trial.horizon = " not in capsys.readouterr().err


def test_it_is_never_less_than_the_job() -> None:
    study = rw.Study(SPACE, "asha", run={"horizon": 2})
    assert horizons(study) == {2, 3, 9}
    assert study.refit(27)
    assert study.ask().horizon == 27


def test_a_refit_that_nobody_knew_of_is_its_own_horizon() -> None:
    study = rw.Study(SPACE, "asha")
    horizons(study)
    study.refit(27)
    assert study.ask().horizon == 27


def test_a_study_that_is_taken_up_has_the_same(tmp_path: Path) -> None:
    with rw.Study(SPACE, "pasha", path=tmp_path / "s.db", run={"horizon": 81}) as study:
        study.ask()
    with rw.Study.open(tmp_path / "s.db", writable=True) as study:
        assert study.ask().horizon == 81, "the job that was under way"
        assert study.ask().horizon == 81, "a new one"
    with rw.Study(SPACE, "pasha", path=tmp_path / "s.db", run={"horizon": 243}) as study:
        assert [study.ask().horizon for _ in range(3)] == [81, 81, 243], "it is run in another way from now on"


def tell_horizon(trial: rw.Trial) -> None:
    trial.load()
    for _ in trial:
        trial.report(trial.horizon)
    trial.save("state")


def test_the_function_is_told(tmp_path: Path) -> None:
    study = rw.tune(tell_horizon, SPACE, mode="min", scheduler="asha", trials=9, horizon=80, refit=81, quiet=True)
    seen = {score for record in study.trials for score in record.reports.values()}
    assert seen == {81}
    assert study.best.refit_score == 81


def test_the_command_line_and_resume(tmp_path: Path) -> None:
    train = "def train(trial):\n    for _ in trial:\n        trial.report(trial.horizon)\n"
    (tmp_path / "train.py").write_text(train)
    (tmp_path / "space.json").write_text('{"x": {"type": "float", "low": 0, "high": 1}}')
    tune = ["tune", "train.py:train", "--space", "space.json", "--mode", "min", "--trials", "2", "--horizon", "81"]
    for words in (tune, ["resume", "rungwise.db", "--trials", "4"]):
        code = f"import sys; sys.argv[1:] = {[*words, '--quiet']}; from rungwise.cli import main; main()"
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=50)
        assert done.returncode == 0, done.stderr
    study = rw.Study.open(tmp_path / "rungwise.db")
    assert [set(record.reports.values()) for record in study.trials] == [{81}] * 4


@pytest.mark.parametrize(
    ("horizon", "message"),
    [
        (0, "horizon must be a resource of 1 or more, not 0"),
        (True, "horizon must be a whole number, not True"),
        (3, "horizon=3 is below max_resource=9, to which trials are trained; leave it out to use max_resource"),
    ],
)
def test_horizons_that_cannot_be(horizon: int, message: str) -> None:
    with pytest.raises(rw.InputError, match=message):
        rw.tune(tell_horizon, SPACE, mode="min", scheduler=rw.ASHA(max_resource=9), trials=9, horizon=horizon)


def test_a_program_that_wants_it_needs_one() -> None:
    command = rw.Command(["train", "{horizon}"])
    with pytest.raises(rw.InputError, match="nothing says how far a trial may ever be trained"):
        rw.tune(command, SPACE, mode="min", trials=9)
    command.check(SPACE)
    rw.Command(["train", "{horizon}"]).check(["horizon"], horizon=False)  # a parameter of that name comes first


def test_a_program_is_told(tmp_path: Path) -> None:
    program = "import json, sys; print(json.dumps({'score': int(sys.argv[1])}))"
    (tmp_path / "train.py").write_text(program)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    command = rw.Command([sys.executable, str(tmp_path / "train.py"), "{horizon}"])
    sent = []
    command(Trial(Job(0, {}, 0, 1, horizon=81), tmp_path / "a", sent.append, clock=lambda: 0.0))
    command(Trial(Job(0, {"horizon": 5}, 0, 1, horizon=81), tmp_path / "b", sent.append, clock=lambda: 0.0))
    assert [fact.score for fact in sent] == [81, 5], "a parameter of that name comes first"


GOLDEN = [
    ("5f1d2a", 0, 0, 8991314033963305373),
    ("5f1d2a", 0, 1, 4005148259800860552),
    ("5f1d2a", 1, 0, 4133800696172598182),
    ("", 7, 100, 4118709942935600833),
]


def seed(study: str, trial: int, step: int) -> int:
    return Trial(Job(trial, {"x": 1}, 0, 3, study=study), Path("folder"), print).seed(step)


@pytest.mark.parametrize(("study", "trial", "step", "expected"), GOLDEN)
def test_seeds_are_for_ever(study: str, trial: int, step: int, expected: int) -> None:
    """A study may be taken up by a later version: change none of these."""
    assert seed(study, trial, step) == expected


def test_seeds_depend_on_study_trial_and_step_alone() -> None:
    seeds = {seed(study, trial, step) for study in ("a", "b") for trial in range(50) for step in range(-1, 50)}
    assert len(seeds) == 2 * 50 * 51
    assert all(0 <= each < 2**63 for each in seeds)
    assert max(seeds) > 2**62, "all 63 bits"
    trial = Trial(Job(3, {"y": 2}, 9, 27, lease=7, study="5f1d2a", horizon=81), Path("elsewhere"), print)
    assert trial.seed(5) == seed("5f1d2a", 3, 5)
    assert trial.seed() == trial.seed(0)
    with pytest.raises(rw.InputError, match="step must be a whole number"):
        trial.seed(0.5)
