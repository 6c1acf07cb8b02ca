"""Networks of cells, and training that is the same, bit for bit, wherever it pauses. Real networks, real processes."""

from __future__ import annotations

import itertools
import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rungwise as rw
from rungwise.errors import InputError
from rungwise.events import Job, Promoted, Reported, Retried
from rungwise.nas import NAS_BENCH_201, Cell
from rungwise.nas.torch import CellModule, accuracy, cosine, evaluate, fit, flips, network
from rungwise.trial import Trial, wrong_end

NONE = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
ALL = NONE.replace("none", "nor_conv_3x3")
MIXED = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
EPOCHS = 9


def parameters(cell: str, **changes) -> int:
    sizes = {"shape": (3, 32, 32), "classes": 10} | changes
    return sum(parameter.numel() for parameter in network(cell, **sizes).parameters())


# -- the network ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "classes", "published"),
    [
        (NONE, 10, 73_306),  # least and most in NAS-Bench-201's data, in its unit of a million: 0.073306, 1.531546
        (ALL, 10, 1_531_546),
        (NONE, 100, 79_156),  # and of CIFAR-100: 0.079156, 1.537396
        (ALL, 100, 1_537_396),
        (MIXED, 10, 129_306),
    ],
)
def test_parameters_are_those_published(cell: str, classes: int, published: int) -> None:
    assert parameters(cell, classes=classes) == published


def random_cell(rng: np.random.Generator, space: Cell) -> str:
    return space.text([space.operations[place] for place in rng.integers(len(space.operations), size=len(space.edges))])


def test_every_cell_builds_and_keeps_the_shape() -> None:
    rng = np.random.default_rng(0)
    images = torch.randn(2, 1, 7, 9)
    for nodes in (2, 4, 4, 4, 6):
        space = Cell(nodes=nodes)
        for _ in range(60):
            model = network(
                random_cell(rng, space), shape=(1, 7, 9), classes=3, channels=2, cells=1, stages=2, space=space
            )
            outputs = model(images)
            assert outputs.shape == (2, 3)
            assert outputs.isfinite().all()
            outputs.sum().backward()


def test_a_cell_is_the_sum_over_its_paths() -> None:
    cell = "|skip_connect~0|+|none~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|"
    images = torch.randn(2, 3, 4, 4)
    given = CellModule(cell, 3, NAS_BENCH_201, {"skip_connect": lambda channels: nn.Identity()})(images)
    torch.testing.assert_close(given, 3 * images)


def test_what_no_path_leads_through_changes_nothing() -> None:
    cell = "|none~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|none~2|"
    images = torch.randn(2, 3, 8, 8)
    model = network(cell, shape=(3, 8, 8), classes=2, channels=4, cells=1, stages=1)
    assert len(model[2].operations) == 4
    torch.testing.assert_close(model[2](images), images)
    assert torch.equal(
        network(NONE, shape=(3, 8, 8), classes=2, channels=3, cells=1)[2](images), torch.zeros_like(images)
    )


def test_operations_of_ones_own() -> None:
    space = Cell(nodes=3, operations=("none", "twice", "skip_connect"))
    cell = "|twice~0|+|skip_connect~0|twice~1|"

    class Twice(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return 2 * images

    made: list[int] = []
    own = {"twice": lambda channels: (made.append(channels), Twice())[1]}
    model = network(cell, shape=(1, 8, 8), classes=2, channels=4, cells=1, stages=2, space=space, operations=own)
    assert made == [4, 4, 8, 8]
    images = torch.randn(1, 4, 8, 8)
    torch.testing.assert_close(model[2](images), 5 * images)
    with pytest.raises(InputError, match="operations has no 'twice'"):
        network(cell, shape=(1, 8, 8), classes=2, space=space)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cell": "|none~0|"}, "cell of 4 nodes"),
        ({"classes": 0}, "classes must be 1 or more, not 0"),
        ({"channels": 2.5}, "channels"),
        ({"shape": (32, 32)}, r"shape must be \(channels, height, width\)"),
        ({"shape": (3, 2, 32)}, "an image of 2 × 32 cannot be halved 2 times"),
        ({"shape": 32}, r"shape must be \(channels, height, width\), each 1 or more, not 32"),
        ({"stride": 3}, "stride must be 1 or 2"),
    ],
)
def test_what_cannot_be_is_named(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        network(**{"cell": ALL, "shape": (3, 32, 32), "classes": 10} | changes)


# -- the training -----------------------------------------------------------------------------------


def examples(count: int, seed: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    images = rng.normal(size=(count, 1, 8, 8)) + 0.3 * labels[:, None, None, None]
    return torch.tensor(images, dtype=torch.float32), torch.tensor(labels)


class Dropping(nn.Sequential):
    """A network with chance inside."""

    def __init__(self, cell: str) -> None:
        super().__init__(nn.Dropout(0.1), network(cell, shape=(1, 8, 8), classes=4, channels=4, cells=1, stages=2))


def loss_of(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs, targets)


def train(trial: rw.Trial, **changes) -> nn.Module:
    """What a user writes; a loss shows every bit, an accuracy would hide them."""
    arguments = {"epochs": EPOCHS, "batch": 32, "augment": flips, "score": loss_of, "lr": trial.config["lr"]} | changes
    return fit(
        trial, lambda: Dropping(trial.config["cell"]), training=examples(100, 0), validation=examples(50, 1), **arguments
    )  # fmt: skip


def dies_once(trial: rw.Trial) -> None:
    """Is killed, for real, in the middle of the second of its jobs."""
    mark = trial.folder / "died"
    if trial.start == 1 and not mark.exists():
        report = trial.report

        def last(score: object) -> None:
            report(score)
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

        trial.report = last  # type: ignore[method-assign]
    train(trial)


def job(folder: Path, start: int, until: int, config: dict, **changes) -> dict[int, float]:
    """The reports of one job, in this process."""
    sent: dict[int, float] = {}

    def send(fact: object) -> None:
        if isinstance(fact, Reported):
            sent[fact.resource] = fact.score

    trial = Trial(Job(0, config, start, until), folder, send)
    train(trial, **changes)
    assert wrong_end(trial) is None
    return sent


CONFIG = {"cell": MIXED, "lr": 0.05}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_same_bits_wherever_it_pauses(tmp_path: Path, optimizer: str) -> None:
    changes = {"optimizer": optimizer, "warmup": 1.5}
    whole = job(tmp_path / "whole", 0, EPOCHS, CONFIG, **changes)
    assert len(set(whole.values())) == EPOCHS
    for pause in range(1, EPOCHS):
        torch.manual_seed(pause)  # what else is drawn in the process is nothing to it
        parts = job(tmp_path / f"{pause}", 0, pause, CONFIG, **changes)
        torch.rand(3)
        parts |= job(tmp_path / f"{pause}", pause, EPOCHS, CONFIG, **changes)
        assert parts == whole
    step = {}
    for epoch in range(1, EPOCHS + 1):
        step |= job(tmp_path / "step", epoch - 1, epoch, CONFIG, **changes)
    assert step == whole


def test_chance_is_of_the_seed_and_the_process_keeps_its_own(tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    threads = torch.get_num_threads()
    first = job(tmp_path / "0", 0, 2, CONFIG)
    assert torch.rand(1) == expected
    assert torch.get_num_threads() == threads
    assert first != job(tmp_path / "1", 0, 2, CONFIG, seed=1)


def test_a_study_with_two_workers_reports_what_uninterrupted_training_does(tmp_path: Path) -> None:
    """Some trials pause at 1 and 3, one job of each that is promoted is killed: nothing changes in any report."""
    cells = [random_cell(np.random.default_rng(number), NAS_BENCH_201) for number in range(9)]
    space = {"cell": rw.Categorical(cells), "lr": rw.Float(1e-3, 0.3, log=True)}
    study = rw.tune(
        dies_once, space, mode="min", scheduler=rw.ASHA(max_resource=EPOCHS), trials=6, workers=2, refit=True,
        study=tmp_path / "s.db", quiet=True,
    )  # fmt: skip
    facts = [fact for _, fact in rw.Study.open(tmp_path / "s.db").facts()]
    promoted, retried = ({fact.trial for fact in facts if isinstance(fact, kind)} for kind in (Promoted, Retried))
    assert promoted == retried != set()
    assert any(record.resource < EPOCHS for record in study.trials)
    assert all(record.failure is None for record in study.trials)
    for record in study.trials:
        trial = Trial(Job(record.number, record.config, 0, EPOCHS), tmp_path / str(record.number), sent := Sent())
        train(trial)
        for resource, score in (record.reports | record.refit).items():
            assert score == sent.scores[resource]
    best = study.best
    model = Dropping(best.config["cell"])
    model.load_state_dict(best.load()["model"])
    assert evaluate(model, *examples(50, 1), loss_of) == (best.score if best.refit_score is None else best.refit_score)
    assert 0.25 < evaluate(model, *examples(400, 2), accuracy) <= 1


def test_a_network_that_diverged_has_no_accuracy() -> None:
    outputs, targets = torch.tensor([[0.0, 1.0], [2.0, 1.0]]), torch.tensor([1, 1])
    assert accuracy(outputs, targets) == 0.5
    for broken in (math.nan, math.inf):
        outputs[0, 0] = broken
        assert accuracy(outputs, targets).isnan()


class Sent:
    def __init__(self) -> None:
        self.scores: dict[int, float] = {}

    def __call__(self, fact: object) -> None:
        assert isinstance(fact, Reported)
        self.scores[fact.resource] = fact.score


def test_the_learning_rate_is_of_the_epoch_not_of_the_rung(tmp_path: Path) -> None:
    rates: list[float] = []

    class Watched(torch.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    original, torch.optim.SGD = torch.optim.SGD, Watched
    try:
        for start, until in itertools.pairwise((0, 1, 3, EPOCHS)):
            job(tmp_path, start, until, CONFIG)
    finally:
        torch.optim.SGD = original
    steps = 4  # 100 examples in batches of 32
    wanted = [0.05 * (1 + math.cos(math.pi * step / (steps * EPOCHS))) / 2 for step in range(steps * EPOCHS)]
    np.testing.assert_allclose(rates, wanted, rtol=1e-12)


def test_the_schedule_begins_with_warm_up_and_ends_at_zero() -> None:
    assert [cosine(epoch, 10, warmup=2) for epoch in (0, 0.5, 2)] == [0, 0.25, 1]
    assert cosine(6, 10, warmup=2) == pytest.approx(0.5)
    assert cosine(10, 10, warmup=2) == pytest.approx(0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 3}, "goes to 4, beyond the end of the learning-rate schedule at epochs=3"),
        ({"optimizer": "adam"}, "no optimizer 'adam'.*adamw"),
        ({"batch": 0}, "batch must be 1 or more"),
        ({"warmup": EPOCHS}, "warmup"),
        ({"lr": 0}, "lr above 0"),
        ({"momentum": -0.1}, "momentum must be from 0 to below 1"),
        ({"momentum": None}, "momentum must be a number"),
        ({"weight_decay": -1e-3}, "weight_decay and seed 0 or more"),
        ({"seed": -1}, "weight_decay and seed 0 or more"),
        ({"threads": 0}, "threads must be 1 or more, or None"),
    ],
)
def test_what_cannot_be_trained_is_named(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        job(tmp_path, 0, 4, CONFIG, **changes)


def test_arrays_are_no_tensors(tmp_path: Path) -> None:
    images, labels = examples(8, 0)
    given = Trial(Job(0, CONFIG, 0, 1), tmp_path, lambda fact: None)
    with pytest.raises(InputError, match="must be tensors, not ndarray and Tensor"):
        fit(given, lambda: Dropping(MIXED), training=(images.numpy(), labels), validation=(images, labels), epochs=1)


def test_flips_mirrors_about_half() -> None:
    images = torch.arange(3.0).repeat(1000, 1, 2, 1)
    torch.manual_seed(0)
    given = flips(images.clone())
    same = (given == images).all(dim=(1, 2, 3))
    assert 400 < same.sum() < 600
    assert torch.equal(given[~same], images[~same].flip(3))
