"""What does one search give, trained for real? Rungwise and Optuna on the same function, by one process each.

A problem is an example of `examples`: its own `train` trains under both, and sees a trial whose number, which seeds the
training, follows the seed of the run. Optuna's trials go on until they are pruned; their models stay in memory.

A budget B is in full trainings and pays for the search and for training the answer to the end. Rungwise is told it, as
`rw.tune(budget=B)`. Optuna knows no budget. So its trials go on one after another until all is spent, in the middle of
a trial too; its answer is the best of the trials that were trained to the end. As long as there is none, what the trial
that is furthest lacks to the end is kept for it (of several the best), and it is trained on in the end.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner
from optuna.trial import TrialState

import rungwise as rw
from rungwise.parameters import Axis

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import boosting
import digits

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


class Problem(NamedTuple):
    """An example: a full training takes `full` units. `valid` is the loss that a score is, `test` that of a state."""

    train: Callable[[Any], None]
    space: rw.Space
    mode: Literal["min", "max"]
    full: int
    unit: str
    loss: str
    valid: Callable[[float], float]
    test: Callable[[Any], float]


def digits_error(accuracy: float) -> float:
    return 100 * (1 - accuracy)


def digits_test(model: Any) -> float:
    return digits_error(model.score(*digits.data()[2]))


PROBLEMS = {
    "digits": Problem(
        digits.train, rw.Space(digits.SPACE), "max", digits.EPOCHS, "epochs", "error, %", digits_error, digits_test
    ),
    "boosting": Problem(
        boosting.train, rw.Space(boosting.SPACE), "min", boosting.ROUNDS, "rounds", "log loss", float,
        boosting.loss_on_test,
    ),
}  # fmt: skip


class Found(msgspec.Struct, frozen=True):
    """What one run gave: losses of the answer after a full training, and what they cost.

    `units` were really trained, the answer's included, in `training` seconds, validation included; all took `seconds`.
    """

    problem: str
    method: str
    budget: float
    seed: int
    test: float
    valid: float
    units: int
    configurations: int
    seconds: float
    training: float


class Ended(NamedTuple):
    """What a method ends with: `state` is that of the answer after a full training, with the score `score`."""

    state: Any
    score: float
    configurations: int


class Clocked:
    """A trial as an example sees it: its units are counted and timed, and its training is seeded from `seed`."""

    def __init__(self, trial: Any, seed: int) -> None:
        self.trial, self.config, self.number = trial, trial.config, 10_000 * seed + trial.number
        self.units, self.seconds, self._since = 0, 0.0, 0.0

    def load(self) -> Any:
        return self.trial.load()

    def save(self, state: Any) -> None:
        self.trial.save(state)

    def __iter__(self) -> Iterator[int]:
        for unit in self.trial:
            self._since = time.perf_counter()
            yield unit

    def report(self, score: float) -> None:
        self.seconds += time.perf_counter() - self._since
        self.units += 1
        self.trial.report(score)


def noting(train: Callable[[Any], None], seed: int, diary: Path) -> Callable[[Any], None]:
    """`train`, which writes units and seconds of each job into a line of `diary`, whatever process does it."""

    def noted(trial: Any) -> None:
        clocked = Clocked(trial, seed)
        try:
            train(clocked)
        finally:
            with diary.open("a", encoding="utf-8") as file:
                file.write(f"{clocked.units} {clocked.seconds}\n")

    return noted


def of_rungwise(
    problem: Problem,
    train: Callable[[Any], None],
    budget: float,
    seed: int,
    *,
    scheduler: Callable[[int], Any],
    searcher: str = "random",
) -> Ended:
    """`rw.tune` as it is, with one worker process."""
    study = rw.tune(
        train, problem.space, mode=problem.mode, scheduler=scheduler(problem.full), searcher=searcher, budget=budget,
        seed=seed, quiet=True,
    )  # fmt: skip
    best = study.best
    score, reached = (
        (best.score, best.resource) if best.refit_score is None else (best.refit_score, best.refit_resource)
    )
    assert reached == problem.full
    return Ended(best.load(), score, len(study.trials))


class Prunable:
    """A trial of Optuna, from unit `at` on: it stops where `goes_on(unit, score)` says no, and keeps its state."""

    def __init__(self, number: int, config: dict[str, Any], full: int) -> None:
        self.number, self.config, self.full = number, config, full
        self.at, self.score, self.state = 0, 0.0, None
        self.goes_on: Callable[[int, float], bool] = lambda unit, score: True

    def __iter__(self) -> Iterator[int]:
        going = True
        while going and self.at < self.full:
            yield self.at + 1
            self.at += 1
            going = self.goes_on(self.at, self.score)

    def report(self, score: float) -> None:
        self.score = float(score)

    def load(self) -> Any:
        return self.state

    def save(self, state: Any) -> None:
        self.state = state


def of_optuna(
    problem: Problem,
    train: Callable[[Any], None],
    budget: float,
    seed: int,
    *,
    pruner: Callable[[int], BasePruner],
) -> Ended:
    """Optuna's default sampler, TPE, with `pruner`, in this process, with a study in memory."""
    full, total, sign = problem.full, int(budget * problem.full), 1 if problem.mode == "max" else -1
    study = optuna.create_study(
        direction="maximize" if problem.mode == "max" else "minimize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=pruner(full),
        study_name=f"seed {seed}",  # the Hyperband pruner draws brackets from the name
    )
    trials: list[Prunable] = []

    def furthest() -> Prunable:
        """The answer: of the trials that are furthest the best."""
        return max(trials, key=lambda trial: (trial.at, sign * trial.score))

    def pays(at: int) -> bool:
        """Whether the budget pays for another unit of a trial that is at `at`, and for what the answer then lacks."""
        lacks = full - max([at + 1, *(trial.at for trial in trials)])
        return sum(trial.at for trial in trials) + 1 + lacks <= total

    while pays(0):
        asked = study.ask()
        trials.append(trial := Prunable(asked.number, suggested(asked, problem.space), full))

        def goes_on(at: int, score: float, asked: optuna.Trial = asked) -> bool:
            asked.report(score, at)
            return at < full and not asked.should_prune() and pays(at)

        trial.goes_on = goes_on
        train(trial)
        if trial.at == full:
            study.tell(asked, trial.score)
        else:
            study.tell(asked, state=TrialState.PRUNED)
    answer = furthest()
    if answer.at < full:
        answer.goes_on = lambda at, score: True
        train(answer)
    return Ended(answer.state, answer.score, len(trials))


def suggested(trial: optuna.Trial, space: rw.Space) -> dict[str, Any]:
    """A configuration, parameter by parameter; ordered choices are numbers for Optuna, as for our "tpe"."""
    config: dict[str, Any] = {}
    for name in space.parents_first:
        if space.exists(name, config):
            (axis,) = space[name].axes().values()
            config[name] = space[name].from_axes([number(trial, name, axis)])
    return config


def number(trial: optuna.Trial, name: str, axis: Axis) -> Any:
    if axis.choices is not None:
        return trial.suggest_categorical(name, range(axis.choices))
    if axis.whole:
        return trial.suggest_int(name, int(axis.low), int(axis.high), log=axis.log)
    return trial.suggest_float(name, axis.low, axis.high, log=axis.log)


def half_as_patient(full: int) -> rw.ASHA:
    return rw.ASHA(max_resource=full, promotion=rw.PatientPromotion(deviations=0.5))


def pasha(full: int) -> rw.PASHA:
    return rw.PASHA(max_resource=full)


BASE = "Optuna: TPE + HyperbandPruner"
METHODS: dict[str, Callable[[Problem, Callable[[Any], None], float, int], Ended]] = {
    BASE: partial(of_optuna, pruner=lambda full: HyperbandPruner(max_resource=full)),
    "Optuna: TPE + MedianPruner": partial(of_optuna, pruner=lambda full: MedianPruner()),
    "Rungwise: PASHA + random": partial(of_rungwise, scheduler=pasha),
    "Rungwise: PASHA + TPE": partial(of_rungwise, scheduler=pasha, searcher="tpe"),
    "Rungwise: half-patient ASHA + random": partial(of_rungwise, scheduler=half_as_patient),
    "Rungwise: half-patient ASHA + TPE": partial(of_rungwise, scheduler=half_as_patient, searcher="tpe"),
}


class Unit(msgspec.Struct, frozen=True):
    """One run (`rungwise.bench.units`)."""

    problem: str
    method: str
    budget: float
    seed: int

    def run(self) -> list[Found]:
        problem = PROBLEMS[self.problem]
        with tempfile.TemporaryDirectory(prefix="real-") as folder:
            diary = Path(folder) / "diary"
            began = time.perf_counter()
            ended = METHODS[self.method](problem, noting(problem.train, self.seed, diary), self.budget, self.seed)
            seconds = time.perf_counter() - began
            jobs = [line.split() for line in diary.read_text(encoding="utf-8").splitlines()]
        units, training = sum(int(job[0]) for job in jobs), sum(float(job[1]) for job in jobs)
        test, valid = problem.test(ended.state), problem.valid(ended.score)
        return [Found(*msgspec.structs.astuple(self), test, valid, units, ended.configurations, seconds, training)]

    def identity(self) -> Any:
        return [*msgspec.structs.astuple(self), rw.__version__, optuna.__version__]
