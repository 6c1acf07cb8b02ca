"""A study that has ended goes on up to a higher `max_resource`, or without one: nothing is decided or trained again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import rungwise as rw
from instances import events
from rungwise.cli import commands
from rungwise.events import Lengthened, Promoted, Raised, Reported, Started

SPACE = {"x": rw.Float(0, 1)}


def train(study: rw.Study, trials: int = 30, *, turns: int = 10**9) -> None:
    """From resource `turns` on the curves stand in the opposite order."""
    study.extend(trials=trials)
    while (job := study.ask()) is not None:
        for resource in range(job.start + 1, job.until + 1):
            loss = job.config["x"] / 9 + ((job.trial * 7 + resource) % 5) / resource
            study.report(job.trial, resource, 1 - job.config["x"] if resource >= turns else loss)


def facts(study: rw.Study, *kinds: type) -> list:
    return [fact for _, fact in study.facts() if isinstance(fact, kinds)]


@pytest.mark.parametrize("kind", [rw.ASHA, rw.PASHA])
@pytest.mark.parametrize("most", [27, 81, 100, None])
@pytest.mark.parametrize("mode", ["min", {"error": "min", "cost": "min"}])
def test_it_goes_on_from_where_it_stood(kind: type, most: int | None, mode: object, tmp_path: Path) -> None:
    path = tmp_path / "study.db"

    def run(scheduler: rw.Scheduler) -> rw.Study:
        study = rw.Study(SPACE, scheduler, mode=mode, path=path)
        study.extend(trials=30)
        while (job := study.ask()) is not None:
            for resource in range(job.start + 1, min(job.until, 243) + 1):
                loss = job.config["x"] / 9 + ((job.trial * 7 + resource) % 5) / resource
                study.report(job.trial, resource, loss if mode == "min" else {"error": loss, "cost": 1 - loss})
            if job.until > 243:
                break  # without a maximum the best one goes on for ever
        study.close()
        return study

    before = run(kind(max_resource=9))
    known = {one.number: one.reports for one in before.trials}
    if most is None:
        with rw.Study.open(path, writable=True) as opened:
            opened.raise_max_resource(None)
    after = run(kind(max_resource=most))
    assert [fact.max_resource for fact in facts(after, Lengthened)] == [most]
    assert after.state.max_resource == after.scheduler.max_resource == most
    assert len(after.trials) == len(before.trials), "no trial more"
    for number, reports in known.items():
        assert list(after.trials[number].reports.items())[: len(reports)] == list(reports.items())
    told = facts(after, Reported)
    assert len({(fact.trial, fact.resource) for fact in told}) == len(told), "nothing was trained twice"
    if kind is rw.ASHA:
        assert max(one.resource for one in after.trials) >= 27
    again = rw.Study.open(path)
    assert again.state.max_resource == most
    assert [one.reports for one in again.trials] == [one.reports for one in after.trials]
    assert again.scheduler.ask(more=False) == after.scheduler.ask(more=False)
    resumed = rw.Study(SPACE, kind(max_resource=most), mode=mode, path=path)
    assert len(facts(resumed, Lengthened)) == 1, "it is noted once"


def test_asha_stands_as_if_it_had_had_the_higher_maximum_all_along() -> None:
    short = rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min")
    train(short)
    told = list(events((fact for _, fact in short.facts()), "min"))
    lengthened, long = rw.ASHA(max_resource=9), rw.ASHA(max_resource=81)
    for event in told:
        lengthened.tell(event)
        long.tell(event)
    lengthened.tell(Lengthened(81))
    for more in (True, False):
        assert lengthened.ask(more=more) == long.ask(more=more)
    assert lengthened.settings() == long.settings()
    assert lengthened.may_promote(30) == long.may_promote(30) != set()


def test_pasha_compares_the_rungs_that_were_the_last_ones() -> None:
    """At the last rung nothing was compared; now that there is one above it, it is, before anybody trains on."""
    study = rw.Study(SPACE, rw.PASHA(max_resource=3, ranking="direct"), mode="min")
    train(study, turns=3)
    assert study.state.open_level == 3
    assert facts(study, Raised) == []
    study.raise_max_resource(81)
    train(study, turns=3)
    kinds = [type(fact) for fact in facts(study, Lengthened, Raised, Promoted)]
    after = kinds[kinds.index(Lengthened) + 1 :]
    assert after[0] is Raised
    assert study.state.open_level > 3
    assert study.state.rises[0].level == 3


@pytest.mark.parametrize("between", ["jobs that run", "a failure taken back", "raised twice"])
def test_what_comes_between_costs_pasha_no_rise(between: str, tmp_path: Path) -> None:
    path, pasha = tmp_path / "s.db", rw.PASHA(max_resource=3, ranking="direct")
    study = rw.Study(SPACE, pasha, mode="min", path=path)
    study.extend(trials=31)
    study.fail(study.ask().trial)
    train(study, 31, turns=3)
    if between == "jobs that run":
        study.extend(trials=32)
        assert study.ask() is not None  # its driver is killed
    study.close()
    for most in (9, 81) if between == "raised twice" else (81,):
        study = rw.Study(SPACE, rw.PASHA(max_resource=most, ranking="direct"), mode="min", path=path)
        if most == 9:
            study.close()
    if between == "a failure taken back":
        study.retry_failed()
    train(study, 32, turns=3)
    assert Raised in {type(fact) for fact in facts(study, Raised)}
    assert study.state.open_level > 3


def test_the_time_before_it_was_raised_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.db"
    with rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min", path=path) as study:
        train(study, 9)
    later = time.time() + 3000
    monkeypatch.setattr(time, "time", lambda: later)
    with rw.Study(SPACE, rw.ASHA(max_resource=27), mode="min", path=path) as study:
        assert study.state.max_resource == 27
    assert rw.Study.open(path).running_seconds < 60


@pytest.mark.parametrize("most", [0, 3, 9, -1])
def test_a_row_that_raises_nothing_is_refused(most: int, tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min", path=path)
    study.decider.log.append(Lengthened(most))
    study.decider.log.flush()
    study.close()
    with pytest.raises(rw.StudyError, match="a maximum that its scheduler cannot have"):
        rw.Study.open(path)


def test_a_failure_from_before_can_still_be_taken_back(tmp_path: Path) -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min", path=tmp_path / "s.db")
    study.extend(trials=12)
    study.fail(study.ask().trial)
    train(study, 12)
    study.close()
    study = rw.Study(SPACE, rw.ASHA(max_resource=27), mode="min", path=tmp_path / "s.db")
    train(study, 12)
    assert study.retry_failed() == [0]
    assert study.scheduler.max_resource == 27
    train(study, 12)
    assert study.trials[0].failure is None
    study.close()
    assert rw.Study.open(tmp_path / "s.db").scheduler.max_resource == 27


def test_a_maximum_that_is_left_out_is_that_of_the_study(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "s.db"
    train(study := rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min", path=path), 9)
    study.close()
    with rw.Study(SPACE, "asha", mode="min", path=path) as again:
        assert again.scheduler.max_resource == 9
        assert facts(again, Lengthened) == []
    assert "max_resource stays 9" in caplog.text
    with rw.Study(SPACE, rw.ASHA(max_resource=27), mode="min", path=path) as again:
        assert again.scheduler.max_resource == 27
    assert "max_resource was raised from 9 to 27" in caplog.text
    with rw.Study(SPACE, "asha", mode="min", path=path) as again:
        assert again.scheduler.max_resource == 27
    with pytest.raises(rw.InputError, match="max_resource can only be raised: it is 27 in this study, not 9"):
        rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min", path=path)


def test_refit_goes_to_the_maximum_that_the_study_has(tmp_path: Path) -> None:
    def tuned(scheduler: object, trials: int) -> rw.Study:
        path = tmp_path / "s.db"
        return rw.tune(
            train_to_the_end, SPACE, mode="min", scheduler=scheduler, trials=trials, quiet=True, path=path, refit=True
        )

    assert tuned(rw.PASHA(max_resource=9), 5).best.refit_resource == 9
    assert tuned("pasha", 6).best.refit_resource == 9
    with pytest.raises(rw.InputError, match="the scheduler has no max_resource"):
        rw.tune(train_to_the_end, SPACE, mode="min", trials=5, quiet=True, refit=True, path=tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


def test_the_command_raises_it_and_removes_it(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    rw.tune(train_to_the_end, SPACE, mode="min", scheduler=rw.ASHA(max_resource=9), trials=3, quiet=True, path=path)

    def extend(most: str) -> tuple[int, str]:
        done = CliRunner().invoke(commands, ["extend", str(path), "--max-resource", most, "--trust"])
        return done.exit_code, done.output + str(done.exception or "")

    assert extend("27") == (0, "max_resource is 27 now\n")
    assert rw.Study.open(path).state.max_resource == 27
    assert "can only be raised: it is 27" in extend("9")[1]
    assert "--max-resource must be a whole number or 'none', not 'many'" in extend("many")[1]
    assert extend("none") == (0, "max_resource was removed\n")
    assert rw.Study.open(path).state.max_resource is None


@pytest.mark.parametrize(
    ("begun", "wanted", "said"),
    [
        (rw.ASHA(max_resource=9), rw.ASHA(max_resource=3), "max_resource can only be raised: it is 9 in this study, not 3"),
        (rw.PASHA(), rw.PASHA(max_resource=81), "can only be raised: it is unlimited in this study, not 81; .* warm_start="),
        (rw.ASHA(max_resource=10), rw.ASHA(max_resource=81), "max_resource=10 of this study cannot be raised: it is no rung"),
        (rw.ASHA(max_resource=1), rw.ASHA(max_resource=81), "max_resource=1 of this study cannot be raised"),
        (rw.ASHA(max_resource=9), rw.ASHA(max_resource=81, reduction_factor=9), "another scheduler, 'reduction_factor'"),
        (rw.ASHA(max_resource=9), rw.PASHA(max_resource=81), "another scheduler, 'name'"),
        (rw.Hyperband(max_resource=9), rw.Hyperband(max_resource=81), "another scheduler, 'max_resource': 9 there, 81 now"),
        (rw.FullTraining(max_resource=9), rw.FullTraining(max_resource=81), "another scheduler, 'max_resource'"),
    ],
)  # fmt: skip
def test_what_cannot_be_raised_is_refused(begun, wanted, said: str, tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    study = rw.Study(SPACE, begun, mode="min", path=path)
    study.tell(study.ask(), 0.5)
    study.close()
    before = len(list(rw.Study.open(path).facts()))
    with pytest.raises(rw.InputError, match=said):
        rw.Study(SPACE, wanted, mode="min", path=path)
    assert len(list(rw.Study.open(path).facts())) == before
    rw.Study(SPACE, begun, mode="min", path=path).close()


def test_a_finished_run_trains_its_best_on(tmp_path: Path) -> None:
    def tuned(most: int) -> rw.Study:
        return rw.tune(
            train_to_the_end, SPACE, mode="min", scheduler=rw.ASHA(max_resource=most), trials=30, quiet=True,
            path=tmp_path / "s.db", keep_checkpoints=True,
        )  # fmt: skip

    first = tuned(9)
    second = tuned(27)
    assert first.best.resource == 9
    assert second.best.resource == 27
    assert len(facts(second, Started)) == 30


def train_to_the_end(trial: rw.Trial) -> None:
    trained = trial.load() or 0
    assert trained == trial.start, "it goes on from its checkpoint"
    for epoch in trial:
        trial.report((trial.config["x"] - 0.3) ** 2 + 1 / epoch)
        trial.save(epoch)
