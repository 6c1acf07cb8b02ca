"""`check_training` finds whether pausing changes a training, and why."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rungwise as rw
from rungwise.loading import load_attribute
from rungwise.testing import TrainingReport, check_training

SPACE = {"lr": rw.Float(0.01, 0.1)}
X = np.random.default_rng(0).normal(size=(64, 4))
Y = X @ np.arange(4.0) + np.random.default_rng(1).normal(size=64)


class Model:
    """Least squares by gradient descent with momentum, in batches."""

    def __init__(self) -> None:
        self.w, self.velocity = np.zeros(4), np.zeros(4)

    def epoch(self, lr: float, order: np.ndarray) -> float:
        for batch in np.split(order, 8):
            self.velocity = 0.9 * self.velocity - lr * (X[batch] @ self.w - Y[batch]) @ X[batch] / 8
            self.w = self.w + self.velocity
        return float(np.mean((X @ self.w - Y) ** 2))


def order_of(trial: rw.Trial, epoch: int) -> np.ndarray:
    return np.random.default_rng(trial.seed(epoch)).permutation(64)


def good(trial: rw.Trial) -> None:
    model = trial.load() or Model()
    assert trial.horizon is not None
    for epoch in trial:
        lr = trial.config["lr"] * (1 + math.cos(math.pi * epoch / trial.horizon)) / 2
        trial.report(model.epoch(lr, order_of(trial, epoch)))
        trial.save(model)


def without_optimizer(trial: rw.Trial) -> None:
    model = Model()
    if (w := trial.load()) is not None:
        model.w = w
    for epoch in trial:
        trial.report(model.epoch(trial.config["lr"], order_of(trial, epoch)))
    trial.save(model.w)


def stretched(trial: rw.Trial) -> None:
    model = trial.load() or Model()
    for epoch in trial:
        lr = trial.config["lr"] * (1 + math.cos(math.pi * epoch / trial.until)) / 2
        trial.report(model.epoch(lr, order_of(trial, epoch)))
    trial.save(model)


def stretched_from_the_second_epoch(trial: rw.Trial) -> None:
    model = trial.load() or Model()
    for epoch in trial:
        lr = trial.config["lr"] * (1 + math.cos(math.pi * (epoch - 1) / trial.until)) / 2
        trial.report(model.epoch(lr, order_of(trial, epoch)))
    trial.save(model)


def global_order(trial: rw.Trial) -> None:
    model = trial.load() or Model()
    for _ in trial:
        trial.report(model.epoch(trial.config["lr"], np.random.permutation(64)))
    trial.save(model)


def global_order_seeded_once(trial: rw.Trial) -> None:
    np.random.seed(0)
    global_order(trial)


def own_order_seeded_once(trial: rw.Trial) -> None:
    rng = np.random.default_rng(0)
    model = trial.load() or Model()
    for _ in trial:
        trial.report(model.epoch(trial.config["lr"], rng.permutation(64)))
    trial.save(model)


def never_loads(trial: rw.Trial) -> None:
    model = Model()
    for epoch in trial:
        trial.report(model.epoch(trial.config["lr"], order_of(trial, epoch)))
    trial.save(model)


def begins_anew(trial: rw.Trial) -> None:
    model = Model()
    for epoch in range(trial.start + 1, trial.until + 1):
        trial.report(model.epoch(trial.config["lr"], order_of(trial, epoch)), epoch)
    trial.save(model)


def discards(trial: rw.Trial) -> None:
    model = Model()
    trial.load()
    for epoch in trial:
        trial.report(model.epoch(trial.config["lr"], order_of(trial, epoch)))
    trial.save(model)


def warms_up(trial: rw.Trial) -> None:
    model = trial.load() or Model()
    for epoch in trial:
        lr = trial.config["lr"] * (0.1 if epoch == trial.start + 1 else 1)
        trial.report(model.epoch(lr, order_of(trial, epoch)))
    trial.save(model)


def neither_loads_nor_saves(trial: rw.Trial) -> None:
    model = Model()
    for epoch in trial:
        trial.report(model.epoch(trial.config["lr"], order_of(trial, epoch)))


def saves_every_second(trial: rw.Trial) -> None:
    model = trial.load() or Model()
    for epoch in trial:
        trial.report(model.epoch(trial.config["lr"], order_of(trial, epoch)))
        if epoch % 2 == 0:
            trial.save(model)


def never_saves(trial: rw.Trial) -> None:
    model = trial.load() or Model()
    for epoch in range(trial.start + 1, trial.until + 1):
        trial.report(model.epoch(trial.config["lr"], order_of(trial, epoch)), epoch)


def breaks(trial: rw.Trial) -> None:
    trial.load()
    for epoch in trial:
        print("the batch is empty")
        if trial.start:
            raise ValueError("no data")
        trial.report(epoch)
        trial.save(epoch)


def two_metrics(trial: rw.Trial) -> None:
    at = trial.load() or 0.0
    for epoch in trial:
        at += 1 / epoch
        trial.report({"error": at, "cost": float("nan") if epoch == 2 else trial.start})
        trial.save(at)


def test_a_good_one() -> None:
    report = check_training(good, SPACE)
    assert report.same
    report.check()
    assert sorted(report.whole) == sorted(report.pieces) == list(range(1, 10))
    assert (
        str(report) == repr(report) == f"Pausing changes nothing ({report.config}, paused at 1 and 3): 9 scores alike."
    )
    assert report.again == 0


@pytest.mark.parametrize(
    ("function", "differs", "reasons"),
    [
        (without_optimizer, 2, ["the saved state is not complete. Often missing: the optimizer"]),
        (stretched, 1, ["the end of the job changes how it trains: a job to 1 scores"]),
        (stretched_from_the_second_epoch, 2, ["the end of the job changes how it trains: a job to 3 scores"]),
        (global_order, 1, ["it is not deterministic even without a pause: two trainings without a pause differ from resource 1 "
                           "on. It draws from the global generator of numpy. Seed"]),
        (global_order_seeded_once, 2, ["it continues with other random numbers"]),
        (own_order_seeded_once, 2, ["the saved state is not complete"]),
        (begins_anew, 2, ["trial.load() was never called"]),
        (discards, 2, ["the state from trial.load() is not used"]),
        (warms_up, 2, ["it depends on trial.start, where the job begins"]),
        (never_saves, 2, ["trial.save(state) was never called"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_what_pausing_changes_and_why(function: Any, differs: int, reasons: list[str]) -> None:
    report = check_training(function, SPACE, config={"lr": 0.05})
    assert report.differs == differs
    for reason, beginning in zip(report.reasons, reasons, strict=True):
        assert reason.startswith(beginning)
    with pytest.raises(AssertionError) as error:
        report.check()
    place = "before the first pause" if differs == 1 else "after the pause at 1"
    assert str(error.value).startswith(
        "Pausing changes the results ({'lr': 0.05}, paused at 1 and 3): "
        f"from resource {differs} on, {place}, where it scored {report.whole[differs]!r} without a pause and"
    )


@pytest.mark.parametrize(
    ("function", "why"), [(never_loads, "load() was never"), (neither_loads_nor_saves, "save(state) was never")]
)
def test_one_that_trains_from_the_start_each_time_scores_the_same_but_costs_all(function: Any, why: str) -> None:
    report = check_training(function, SPACE)
    assert report.same
    assert report.again == 4
    assert str(report).startswith("Pausing costs all the training before it ({'lr': ")
    assert "\n- after the pauses 4 units of resource were trained again" in str(report)
    assert f"\n- trial.{why} called" in str(report)
    with pytest.raises(AssertionError, match="Pausing costs all the training before it"):
        report.check()


def test_one_that_saves_now_and_then_costs_some_and_is_good() -> None:
    report = check_training(saves_every_second, SPACE, rungs=[3, 5])
    report.check()
    assert report.again == 2
    assert str(report).startswith("Pausing changes nothing")


def test_one_that_breaks() -> None:
    report = check_training(breaks, SPACE)
    assert not report.same
    assert report.failure.startswith("from 1 to 3: ValueError: no data")
    assert "the batch is empty" in str(report)
    with pytest.raises(AssertionError, match="The training broke off"):
        report.check()


def test_several_metrics_scores_that_are_not_finite_and_a_tolerance() -> None:
    report = check_training(two_metrics, SPACE, until=4, rungs=[2])
    assert report.differs == 3
    assert report.pieces[2] == {"error": 1.5, "cost": None}
    check_training(two_metrics, SPACE, until=4, rungs=[2], tolerance=2).check()


PROGRAM = """
import json, os, sys
until, checkpoint = int(sys.argv[1]), sys.argv[2]
at, sum = json.load(open(checkpoint)) if os.path.exists(checkpoint) else (0, 0.0)
for epoch in range(at + 1, until + 1):
    sum = sum + 1 / epoch
    print(json.dumps({"resource": epoch, "score": sum}), flush=True)
json.dump([until, sum LOST], open(checkpoint, "w"))
"""


def test_a_program(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(PROGRAM.replace("LOST", ""))
    (tmp_path / "bad.py").write_text(PROGRAM.replace("LOST", "- 0.5"))

    def checked(name: str) -> TrainingReport:
        command = rw.Command([sys.executable, str(tmp_path / name), "{until}", "{checkpoint}"])
        return check_training(command, SPACE, until=3, rungs=[1])

    (tmp_path / "stretched.py").write_text(PROGRAM.replace("LOST", "").replace("1 / epoch", "epoch / until"))
    (tmp_path / "anew.py").write_text(PROGRAM.replace("LOST", "").replace("os.path.exists(checkpoint)", "False"))
    checked("good.py").check()
    with pytest.raises(AssertionError, match="the program trains from the start in each job"):
        checked("anew.py").check()
    assert "runs over {until}, and so starts and ends in each job" in checked("stretched.py").reasons[0]
    assert checked("bad.py").reasons[0].startswith("the program does not save its complete state in {checkpoint}")


@pytest.mark.parametrize(
    "arguments",
    [{"rungs": ()}, {"rungs": (3, 1)}, {"rungs": (9,)}, {"rungs": (0, 3)}, {"until": 2.5}, {"tolerance": -1}],
)
def test_arguments_that_cannot_be(arguments: dict[str, Any]) -> None:
    with pytest.raises(rw.InputError):
        check_training(good, SPACE, **arguments)
    with pytest.raises(rw.InputError):
        check_training(good, SPACE, config={"lr": 5})


def test_it_may_not_run_while_the_function_is_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import rungwise.testing\nrungwise.testing.check_training(print, {})\n")
    with pytest.raises(rw.InputError, match="put the call under"):
        load_attribute(f"{tmp_path / 'train.py'}:train")


@pytest.mark.needs("torch")
def test_torch() -> None:
    """Dropout and shuffling from the global generator: seeded at the beginning of each job, and at each epoch."""
    import torch

    def train(trial: rw.Trial) -> None:
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
        optimizer = torch.optim.Adam(net.parameters(), trial.config["lr"])
        x, y = torch.tensor(X, dtype=torch.float32), torch.tensor(Y[:, None], dtype=torch.float32)
        if (state := trial.load()) is not None:
            net.load_state_dict(state[0])
            optimizer.load_state_dict(state[1])
        for epoch in trial:
            if trial.config["seeded"]:
                torch.manual_seed(trial.seed(epoch))
            loss = torch.nn.functional.mse_loss(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            trial.report(loss)
        trial.save((net.state_dict(), optimizer.state_dict()))

    space = {**SPACE, "seeded": rw.Categorical([True, False])}
    check_training(train, space, until=3, rungs=[1], config={"lr": 0.05, "seeded": True}).check()
    report = check_training(train, space, until=3, rungs=[1], config={"lr": 0.05, "seeded": False})
    assert report.reasons[0].startswith("it continues with other random numbers")
