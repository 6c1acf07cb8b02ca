"""A budget in full trainings or in hours: real runs, resuming, extending, words, and what is refused."""

from __future__ import annotations

import math
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rungwise as rw
from objectives import SPACE, saves_nothing, slow, train, writes_down_each_epoch
from rungwise import afford
from rungwise.core import SCHEDULERS, as_scheduler
from rungwise.errors import InputError
from rungwise.events import Created, Extended, Job, Promote, Promoted, Started
from rungwise.known import budget_in_words
from rungwise.sqlite import SQLiteLog
from test_cli import TRAIN, rungwise


def spent(study: rw.Study) -> int:
    """What was trained, by the records."""
    return study.resource_used + sum(max(record.refit) - record.paused_at for record in study.trials if record.refit)


def nine(**how: object) -> rw.Study:
    how = {"mode": "min", "scheduler": rw.ASHA(max_resource=9), "quiet": True} | how
    return rw.tune(how.pop("function", train), how.pop("space", SPACE), **how)  # type: ignore[arg-type]


def test_the_winner_is_trained_from_the_budget() -> None:
    study = nine(budget=3, workers=2)
    assert max(study.best.resource, study.best.refit_resource or 0) == 9
    assert 20 < spent(study) <= 27
    assert spent(study) == study.state.trained
    assert study.finished


def test_without_a_refit_all_is_for_the_search() -> None:
    study = nine(budget=1, refit=False)
    assert study.best.refit_resource is None
    assert len(study.trials) > 1, "nothing is kept for the winner"
    assert spent(study) <= 9


def test_a_refit_further_than_the_ladder_is_paid_too() -> None:
    study = nine(budget=4, refit=18)
    assert study.best.refit_resource == 18
    assert spent(study) <= 36


def test_several_metrics_have_no_single_winner_to_keep_anything_for() -> None:
    def both(trial: rw.Trial) -> None:
        for epoch in trial:
            trial.report({"loss": trial.config["x"] + 1 / epoch, "size": 1 - trial.config["x"]})

    study = rw.tune(
        both, SPACE, mode={"loss": "min", "size": "min"}, scheduler=rw.ASHA(max_resource=9), budget=2, quiet=True
    )
    assert study.front
    assert 12 < study.resource_used <= 18
    assert not any(record.refit for record in study.trials)


def test_with_several_metrics_the_maximum_can_be_raised_under_any_budget() -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), mode={"loss": "min", "size": "min"})
    study.extend(budget=0.5)
    study.raise_max_resource(27)
    assert study.state.total_units == 13
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), mode={"loss": "min", "size": "min"})
    study.extend(hours=1)
    study.raise_max_resource(None)
    assert study.state.max_resource is None


def test_a_study_goes_on_under_a_greater_budget(tmp_path: Path) -> None:
    first = nine(budget=2, path=tmp_path / "s.db")
    before = spent(first)
    again = nine(budget=2, path=tmp_path / "s.db")
    assert (spent(again), len(again.trials)) == (before, len(first.trials)), "nothing is left to do"
    more = nine(budget=5, path=tmp_path / "s.db")
    assert len(more.trials) > len(first.trials)
    assert 36 < more.state.trained <= 45
    assert max(more.best.resource, more.best.refit_resource or 0) == 9
    looked = rw.Study.open(tmp_path / "s.db")
    assert looked.state.trained == more.state.trained
    assert looked.finished


def test_ask_and_tell_keeps_the_winners_part() -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min")
    study.extend(budget=2)
    while (job := study.ask()) is not None:
        study.tell(job, job.config["x"])
    assert study.finished
    study.refit()
    while (job := study.ask()) is not None:
        study.tell(job, job.config["x"])
    assert max(study.best.resource, study.best.refit_resource or 0) == 9
    assert study.state.trained <= 18


def test_what_fails_at_the_top_costs_the_winner_at_most_the_end_of_its_training() -> None:
    """The last promotion is paid with what was kept for the winner; when it fails, the rest is for the winner."""
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min")
    study.extend(budget=2)
    while (job := study.ask()) is not None:
        for resource in range(job.start + 1, job.until + 1):
            score = math.nan if resource == 9 else job.config["x"]
            study.report(job.trial, resource, score)
    assert study.best.resource == 3
    wanted = afford.refit_until(study.state, 9, 0.0)
    assert study.state.trained + wanted - study.state.trials[study.best.number].trained_to <= 18


def test_jobs_that_are_out_are_counted_before_they_report() -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min")
    study.extend(budget=1.5)  # 13 units: the winner's 9, and 4 more
    jobs = []
    while (job := study.ask()) is not None:
        jobs.append(job)
    assert jobs == [Job(n, job.config, 0, 1) for n, job in enumerate(jobs)]
    assert len(jobs) == 5
    assert afford.account(study.state) == afford.Account(total=13, spent=0, under_way=5, kept=8)
    assert afford.in_words(study.state) == [
        "budget 1.5 full trainings (13 units): 0 spent, 5 under way, 8 kept for the winner, 0 left"
    ]


def test_a_budget_survives_a_raise_of_the_maximum_and_needs_one() -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min")
    study.extend(budget=2)
    study.raise_max_resource(27)
    assert study.state.total_units == 54
    with pytest.raises(InputError, match=r"^budget=2 counts full trainings of max_resource=27: it cannot be removed$"):
        study.raise_max_resource(None)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (0, "budget must be above 0 and at most 9e15, not 0; it counts full trainings"),
        (1e300, "budget must be above 0 and at most 9e15, not 1e[+]300; it counts full trainings"),
        (0.5, "budget must be 1 or more, not 0.5; it counts full trainings"),
        (-3, "budget must be above 0 and at most 9e15, not -3"),
        (math.nan, "budget must be finite, not nan"),
        (math.inf, "budget must be finite, not inf"),
        ("10", "budget must be a number, not '10'"),
        (True, "budget must be a number, not True"),
    ],
)
def test_bad_budgets_are_refused_before_anything_is_written(budget: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        nine(budget=budget, path=tmp_path / "s.db")
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match=said):
        rw.simulate("asha", rw.CurveTable([[1.0, 2.0]], mode="min"), budget=budget)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=said):
        rw.Study(SPACE, rw.ASHA(max_resource=9)).extend(budget=budget)  # type: ignore[arg-type]


@pytest.mark.parametrize("hours", [0, -1.0, math.nan, "2", math.inf])
def test_bad_hours_are_refused(hours: object) -> None:
    with pytest.raises(InputError, match="hours must be"):
        nine(hours=hours)


def test_a_budget_needs_the_length_of_a_full_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"budget= counts full trainings, so say how long one is: max_resource=81"):
        nine(scheduler="pasha", budget=10, path=tmp_path / "s.db")
    with pytest.raises(InputError, match=r"hours= includes a full training of the winner.*or refit=False"):
        nine(scheduler="pasha", hours=1, path=tmp_path / "s.db")
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="say how long one is"):
        rw.Study(SPACE, "pasha").extend(budget=10)


def test_hours_need_no_maximum_where_nobody_is_refitted() -> None:
    study = nine(scheduler="pasha", hours=1, trials=4, refit=False)
    assert len(study.trials) == 4


def test_hours_end_in_time_for_the_winner() -> None:
    began = time.monotonic()
    study = nine(function=slow, hours=3 / 3600, workers=2)  # a unit takes 0.05 s
    took = time.monotonic() - began
    assert max(study.best.resource, study.best.refit_resource or 0) == 9
    assert 1.0 < study.running_seconds < 4.5, "it goes on until only the winner's part is left"
    assert took < 10
    assert len(study.trials) > 4


def test_hours_and_a_budget_and_trials_together() -> None:
    assert len(nine(hours=1, budget=4, trials=5).trials) == 5
    assert nine(hours=1, budget=2).state.trained <= 18


def test_hours_keep_what_the_winner_took() -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min")
    study.extend(hours=100 / 3600)
    state, decider = study.state, study.decider
    assert afford.fits(state, 0, 1, 99.0), "nothing is known of how long a unit takes"
    job = decider.hand_out()
    assert job is not None
    decider.report(rw.events.Reported(0, 1, 0.5, 4.0))  # 4 s a unit: the winner's 8 take 32, and 4 to a checkpoint
    decider.take(rw.events.Completed(0))
    assert afford.kept_seconds(state) == 36.0
    assert afford.fits(state, 0, 1, 60.0)
    assert not afford.fits(state, 0, 1, 60.1)
    assert afford.fits(state, 1, 9, 68.0), "the job itself makes the winner"
    decider.elapsed = lambda: 60.1
    assert decider.hand_out() is None
    assert decider.finished


def test_a_study_without_a_budget_writes_what_it_always_wrote() -> None:
    assert Extended(trials=8) == Extended(8, None, None, None, None, None)
    study = rw.Study(SPACE, mode="min")
    study.extend(trials=8)
    assert rw.Study(SPACE).budget == type(study.budget)()
    import msgspec

    assert msgspec.json.encode(Extended(trials=8)) == b'{"fact":"extended","trials":8}'


# -- words ------------------------------------------------------------------------------------------


def test_explain_says_where_the_budget_has_gone_and_what_it_did_not_pay_for() -> None:
    rng = random.Random(1)
    table = rw.CurveTable([[rng.random() + 1 / e for e in range(1, 82)] for _ in range(500)], mode="min")
    study = rw.simulate("asha", table, budget=2).study
    lines = study.explain().splitlines()
    assert f"budget 2 full trainings (162 units): {study.state.trained} spent" in lines[-2]
    assert "the budget did not pay for" in lines[-1]
    few = rw.simulate("asha", table, budget=5, trials=3).study
    assert "did not pay" not in few.explain()


@pytest.mark.parametrize("scheduler", sorted(set(SCHEDULERS)))
def test_what_is_left_of_a_budget_is_said_with_the_reason(scheduler: str, tmp_path: Path) -> None:
    study = rw.Study(SPACE, as_scheduler(scheduler, 9), mode="min", path=tmp_path / "s.db")
    study.extend(budget=40, trials=7)
    assert budget_in_words(study) == [
        "budget 40 full trainings (360 units): 0 spent, 9 kept for the winner, 351 left"
    ], "it is not the end"
    told_all(study)
    study.refit()
    told_all(study)
    left = 360 - study.state.trained
    said = f"{left} units are left, since all 7 trials have been started, and {scheduler} promotes nobody else"
    assert study.explain().splitlines()[-1] == said
    study.close()
    assert rw.Study.open(tmp_path / "s.db").explain().splitlines()[-1] == said
    assert rungwise(tmp_path, "status", "s.db").stdout.splitlines()[-1] == said


@pytest.mark.parametrize(
    ("totals", "said"),
    [
        ({"budget": 40}, "348 units are left, since the searcher has no other configuration, and halving promotes"),
        ({"hours": 2}, "2 h of hours=2 is left, since the searcher has no other configuration, and halving pr"),
        ({"budget": 40, "total_resource": 3}, "s are left, since total_resource is used up"),
        ({"budget": 40, "target": 1e9}, "s are left, since the target was reached"),
    ],
)
def test_why_something_is_left(totals: dict, said: str, tmp_path: Path) -> None:
    space, path = {"x": rw.Integer(0, 3)}, tmp_path / "s.db"
    study = rw.Study(space, rw.SuccessiveHalving(max_resource=9), "grid", mode="min", path=path)
    study.extend(**totals)
    study.decider.elapsed = lambda: 1.0
    told_all(study)
    study.refit()
    told_all(study)
    assert said in study.explain().splitlines()[-1]
    study.close()
    last = rw.Study.open(path).explain().splitlines()[-1]
    assert "left" in last
    assert (said in last) != ("unless the searcher has no other configuration" in last), "who looks makes no searcher"


@pytest.mark.parametrize("refit", [False, True])
def test_a_winners_training_is_named_as_a_reason_only_where_there_is_one(refit: bool) -> None:
    for scheduler in (rw.SuccessiveHalving(max_resource=9), rw.StoppingASHA(max_resource=9)):
        said = nine(scheduler=scheduler, budget=2.5, refit=refit).explain().splitlines()[-1]
        assert "did not pay for" in said
        assert said.endswith("beside a winner's training") == refit


def test_a_budget_that_was_lowered_or_lost_the_winners_part_says_what_happened() -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min")
    study.extend(budget=4)
    told_all(study)
    study.extend(budget=2)
    assert budget_in_words(study) == [
        f"budget 2 full trainings (18 units): {study.state.trained} spent, {study.state.trained - 18} more than it pays "
        "for: it was given or lowered later, or a refit went beyond it"
    ]
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min")
    study.extend(budget=2)
    while (job := study.ask()) is not None:
        if job.until == 9:
            study.report(job.trial, 7, 0.0)
            assert "lacks" not in budget_in_words(study)[0], "it may yet be the winner"
            study.fail(job.trial)
        else:
            study.tell(job, job.config["x"])
    account = afford.account(study.state)
    assert account.short > 0
    assert account.left == 0
    assert budget_in_words(study)[0].endswith(
        f"{account.kept or 'none'} left for the winner, which lacks {account.kept + account.short}, since jobs failed "
        "that were to make another one the winner, the budget was lowered, or more is wanted of the refit now"
    )
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min")
    study.extend(trials=9)
    told_all(study)
    study.extend(budget=1)
    assert "more than it pays for: it was given or lowered later" in budget_in_words(study)[0]


def test_half_a_training_is_a_budget_where_nobody_is_refitted() -> None:
    study = nine(budget=0.5, refit=False)
    assert len(study.trials) > 1
    assert 2 < spent(study) <= 4
    with pytest.raises(InputError, match=r"budget=0.1 is less than one unit of max_resource=9"):
        nine(budget=0.1, refit=False)
    with pytest.raises(InputError, match=r"budget must be 1 or more, not 0.5; .* refit=False spends all on the search"):
        nine(budget=0.5)


def test_a_result_and_an_end_that_keep_nothing_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    nine(budget=2, quiet=False)
    said = capsys.readouterr().err
    assert "budget 2 full trainings (18 units): " in said
    assert "kept for the winner" not in said.splitlines()[-3]
    nine(budget=5, trials=4, quiet=False)
    said = capsys.readouterr().err
    assert said.count(" units are left, since all 4 trials have been started, and asha promotes nobody else\n") == 1


# -- the command --------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    return tmp_path


TUNE = ["tune", "train.py:train", "--space", "train.py:SPACE", "--mode", "min", "--study", "s.db", "--quiet"]


def test_the_command_takes_a_budget_and_extends_it(folder: Path) -> None:
    tuned = rungwise(folder, *TUNE, "--max-resource", "9", "--budget", "2")
    assert tuned.returncode == 0, tuned.stderr
    assert "budget 2 full trainings (18 units): " in tuned.stdout
    status = rungwise(folder, "status", "s.db").stdout
    assert "budget 2 full trainings (18 units): " in status
    assert "budget 2 full trainings" in rungwise(folder, "explain", "s.db").stdout
    extended = rungwise(folder, "extend", "s.db", "--budget", "4")
    assert extended.returncode == 0, extended.stderr
    resumed = rungwise(folder, "resume", "s.db")
    assert resumed.returncode == 0, resumed.stderr
    study = rw.Study.open(folder / "s.db")
    assert study.state.total_units == 36
    assert 18 < study.state.trained <= 36
    assert study.budget.trainings == 4
    more = rungwise(folder, "resume", "s.db", "--budget", "6", "--no-refit")
    assert more.returncode == 0, more.stderr
    study.refresh()
    assert 45 < study.state.trained <= 54
    study.close()
    longer = rungwise(folder, "extend", "s.db", "--max-resource", "27")
    assert longer.stdout == "max_resource is 27 now; budget=6 counts full trainings: 162 units now\n"
    removed = rungwise(folder, "extend", "s.db", "--max-resource", "none")
    assert removed.stderr == "rungwise: budget=6 counts full trainings of max_resource=27: it cannot be removed\n"


def test_the_command_says_in_one_line_what_is_wrong(folder: Path) -> None:
    for arguments, said in (
        (["--budget", "10"], "rungwise: budget= counts full trainings, so say how long one is: max_resource=81"),
        (["--budget", "0.2", "--max-resource", "9"], "rungwise: budget must be 1 or more, not 0.2"),
        (["--hours", "0", "--max-resource", "9"], "rungwise: hours must be above 0, not 0.0"),
    ):
        told = rungwise(folder, *TUNE, *arguments)
        assert told.returncode == 2
        assert told.stderr.startswith(said)
        assert len(told.stderr.splitlines()) == 1
        assert not (folder / "s.db").exists()


def test_a_settings_file_has_a_budget(folder: Path) -> None:
    (folder / "rungwise.toml").write_text(
        'function = "train.py:train"\nmode = "min"\nbudget = 3\nhours = 1\nquiet = true\npath = "t.db"\n'
        'scheduler = { name = "pasha", max_resource = 9 }\nspace.x = { type = "float", low = 0, high = 1 }\n'
    )
    tuned = rungwise(folder, "tune")
    assert tuned.returncode == 0, tuned.stderr
    study = rw.Study.open(folder / "t.db")
    assert (study.budget.trainings, study.budget.hours, study.state.trained <= 27) == (3, 1, True)


def test_a_running_study_is_extended(folder: Path) -> None:
    (folder / "hold").touch()
    slowly = [*TUNE[:1], "train.py:slow", *TUNE[2:], "--max-resource", "9", "--budget", "2"]
    driver = subprocess.Popen([str(Path(sys.executable).with_name("rungwise")), *slowly], cwd=folder)
    try:
        until = time.monotonic() + 30
        while not (folder / "s.db.control").exists() and time.monotonic() < until:
            time.sleep(0.1)
        told = rungwise(folder, "extend", "s.db", "--budget", "3")
        assert (told.returncode, told.stdout) == (0, "the totals are now: budget 3.0\n"), told.stderr
        (folder / "hold").unlink()
        assert driver.wait(timeout=60) == 0
    finally:
        driver.kill()
    study = rw.Study.open(folder / "s.db")
    assert 18 < study.state.trained <= 27


# -- faults -------------------------------------------------------------------------------------------


VICTIM = """
import sys, time
import rungwise as rw

def train(trial):
    trial.load()
    for epoch in trial:
        time.sleep(0.02)
        trial.report((trial.config["x"] - 0.3) ** 2 + 1 / epoch)
        trial.save(epoch)

if __name__ == "__main__":
    rw.tune(train, {"x": rw.Float(0, 1)}, mode="min", scheduler=rw.PASHA(max_resource=9), budget=5, workers=2,
            path=sys.argv[1], quiet=True)
"""


def test_a_driver_that_is_killed_overspends_nothing(tmp_path: Path) -> None:
    script, path, rng = tmp_path / "victim.py", tmp_path / "s.db", random.Random(0)
    script.write_text(VICTIM)
    known: list[object] = []
    for _ in range(4):
        driver = subprocess.Popen([sys.executable, str(script), str(path)])
        try:
            driver.wait(timeout=rng.uniform(0.8, 2.0))
        except subprocess.TimeoutExpired:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
        if path.exists():
            study = rw.Study.open(path)
            facts = [fact for _, fact in study.facts()]
            assert facts[: len(known)] == known
            known = facts
            assert study.state.trained <= 45
    assert subprocess.run([sys.executable, str(script), str(path)], timeout=60).returncode == 0
    study = rw.Study.open(path)
    assert [fact for _, fact in study.facts()][: len(known)] == known
    assert study.finished
    assert not study.running
    assert 36 < study.state.trained <= 45
    assert max(study.best.resource, study.best.refit_resource or 0) == 9


def every_second_epoch(trial: rw.Trial) -> None:
    for epoch in trial:
        if epoch % 2 == 0 or epoch == 1:
            trial.report((trial.config["x"] - 0.3) ** 2 + 1 / epoch)


def test_what_is_trained_after_the_last_report_is_spent_too() -> None:
    """A job to 3 that reports at 2 has trained 3 units; the next one counts from there."""
    study = nine(function=every_second_epoch, budget=3)
    records = [(record.resource, record.paused_at) for record in study.trials]
    assert any(resource < level for resource, level in records)
    assert sum(max(record) for record in records) + study.state.refit_used == study.state.trained <= 27


def test_training_from_the_start_again_is_not_spent_twice() -> None:
    study = nine(function=saves_nothing, budget=3)
    assert study.state.trained <= 27


def test_what_is_trained_again_since_its_checkpoints_were_deleted_is_spent_too(tmp_path: Path) -> None:
    """With 27 trials in all many are out of reach, and their checkpoints go; the rest of a later budget reaches them."""
    space, how = {"x": rw.Integer(0, 26)}, {"path": tmp_path / "s.db", "function": writes_down_each_epoch}
    how |= {"scheduler": rw.ASHA(max_resource=27), "searcher": {"name": "grid", "points": 27}}
    nine(space=space, trials=27, **how)
    study = nine(space=space, budget=10, **how)
    trained = (tmp_path / "s.db.trials" / "trained").stat().st_size
    promoted = [fact for _, fact in study.facts() if isinstance(fact, Promoted)]
    assert any(fact.repeats for fact in promoted if fact.rule == "rest")
    assert not any(fact.repeats for fact in promoted if not fact.rule)
    assert 243 < trained == study.state.trained <= 270
    looked = rw.Study.open(tmp_path / "s.db")
    assert looked.state.trained == trained


def test_where_a_trial_would_train_too_much_again_another_choice_is_taken() -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=9), mode="min")
    for score in (0.1, 0.2, 0.3, 0.15, 0.25, 0.35, 0.4, 0.45, 0.5):
        job = study.ask()
        study.tell(job, score)
        while isinstance(top := study.scheduler.ask(), Promote) and top.until == 3:
            study.tell(study.ask(), score)
    assert (top.until, study.state.trained) == (9, 9 + 6)
    study.extend(budget=23 / 9)  # 8 units more: from 3 to 9 is 6, from the start it would be 9
    assert study.decider._paid() == top
    study.decider.lost = lambda trial: trial == top.trial
    other = study.decider._paid()
    assert isinstance(other, Promote)
    assert (other.until, other.rule) == (3, "rest")
    study.extend(budget=24 / 9)
    job = study.ask()
    assert (job.trial, job.until, study.state.repeated) == (top.trial, 9, 3)
    account = afford.account(study.state)
    assert (account.spent, account.under_way) == (18, 6)


def test_a_log_whose_budget_cannot_be_counted_opens(tmp_path: Path) -> None:
    """Somebody wrote one for a study without a maximum: then it is no limit."""
    log = SQLiteLog(tmp_path / "s.db", writable=True)
    study = rw.Study(SPACE, "pasha", mode="min", log=log)
    log.append(Extended(trainings=3.0))
    study.close()
    looked = rw.Study.open(tmp_path / "s.db")
    assert looked.state.total_units is None
    assert afford.account(looked.state) is None
    assert isinstance(next(looked.facts())[1], Created)
    assert not looked.finished


def test_a_refit_that_takes_the_whole_budget_is_refused() -> None:
    with pytest.raises(rw.InputError, match="refit=81 takes all of budget=2, 54 units"):
        rw.tune(lambda trial: None, SPACE, mode="min", scheduler=rw.ASHA(max_resource=27), budget=2, refit=81)


def told_all(study: rw.Study) -> rw.Study:
    """`study` to its end, where nobody's score changes."""
    while (job := study.ask()) is not None:
        study.tell(job, len(str(job.config)) + job.trial / 1000)
    return study


FINITE = rw.Space(
    {"a": rw.Categorical(list("abc")), "b": rw.Integer(1, 3, when={"a": "a"}), "c": rw.Float(0, 1, step=0.5)},
    forbidden=[{"a": "b", "c": 0.5}],
)  # 3 · 3 of "a", 2 of "b", 3 of "c"


@pytest.mark.parametrize("scheduler", [rw.ASHA(max_resource=9), rw.PASHA(max_resource=9)])
@pytest.mark.parametrize("initial", [(), ({"a": "c", "c": 1.0},)])
def test_random_search_ends_when_all_that_there_is_has_been_started(scheduler: object, initial: tuple) -> None:
    study = rw.Study(FINITE, scheduler, mode="min", initial=initial)
    study.extend(budget=60)
    told_all(study)
    configs = [str(trial.config) for trial in study.trials]
    assert len(set(configs)) == 14
    assert configs[-1] not in configs[:-1], "the last one was the last that there is"
    assert study.finished
    assert any(isinstance(fact, Promoted) and fact.rule == "rest" for _, fact in study.facts())
    again = rw.RandomSearch(FINITE)
    drawn = [str(again.propose([0, n])) for n in range(len(configs))]
    assert drawn[len(initial) :] == configs[len(initial) :], "it draws what it always drew"
    study.extend(budget=80)
    study.enqueue({"a": "c", "c": 1.0})
    assert study.ask().config == {"a": "c", "c": 1.0}, "what the user wants is tried again"


def test_with_a_total_of_trials_or_without_a_budget_random_search_repeats() -> None:
    study = rw.Study(FINITE, rw.ASHA(max_resource=9), mode="min")
    study.extend(budget=500, trials=200)
    assert len(told_all(study).trials) == 200
    endless = rw.Study(FINITE, rw.ASHA(max_resource=9), mode="min")
    endless.extend(total_resource=1000)
    assert len(told_all(endless).trials) > 200


def test_that_a_space_ends_is_not_looked_for_where_it_is_large() -> None:
    for parameter in (rw.Float(0, 1), rw.Integer(0, 10**9), rw.Cell()):
        search = rw.RandomSearch(rw.Space({"x": parameter, "y": rw.Integer(0, 1)}))
        search.tell(Started(0, search.propose([0, 0]), 1))
        assert not search.exhausted
        assert not search._started


def test_that_nothing_is_left_to_try_is_not_said_to_be_the_budgets_fault() -> None:
    space = {"x": rw.Categorical(list("abcdef"))}
    study = rw.Study(space, rw.SuccessiveHalving(max_resource=27), "grid", mode="min")
    study.extend(budget=4)
    while (job := study.ask()) is not None:
        for resource in range(job.start + 1, job.until + 1):
            study.report(job.trial, resource, 1.0)
    assert len(study.trials) == 6
    assert "did not pay for" not in study.explain()
