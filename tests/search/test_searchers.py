"""What single searchers are for: grids that end, better results than chance, Optuna's samplers, points to try first."""

from __future__ import annotations

import itertools
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

import messages
import objectives
import rungwise as rw
from instances import events
from rungwise.events import Result, Started
from rungwise.search import as_searcher, settings_of
from rungwise.search.optuna import OptunaSearch
from rungwise.search.results import best

SPACE = {"x": rw.Float(0, 1)}
PLANE = rw.Space(
    {"x": rw.Float(0, 1), "y": rw.Float(0, 1), "z": rw.Float(0, 1), "act": rw.Categorical(["a", "b", "c"])}
)


def away(config: Mapping[str, Any]) -> float:
    """A quadratic with its least value at (0.7, 0.2, 0.5, "b")."""
    return (config["x"] - 0.7) ** 2 + (config["y"] - 0.2) ** 2 + (config["z"] - 0.5) ** 2 + 0.3 * (config["act"] != "b")


def finished(
    searcher: Any, trials: int, *, space: Any = PLANE, scheduler: Any = None, seed: int = 0, **options: Any
) -> rw.Study:
    scheduler = scheduler or rw.ASHA(max_resource=1)
    study = rw.Study(space, scheduler, searcher, mode="min", seed=seed, **options)
    study.extend(trials=trials)
    while (job := study.ask()) is not None:
        for resource in range(job.start + 1, job.until + 1):
            study.report(job.trial, resource, away(job.config) + 0.1 / resource)
    assert study.finished
    return study


# -- Sobol and grid ------------------------------------------------------------------------------------


def test_sobol_points_are_spread_out() -> None:
    space = rw.Space({name: rw.Float(0, 1) for name in "ab"})
    study = rw.Study(space, searcher="sobol", seed=4)
    points = np.array([space.encode(study.ask().config) for _ in range(64)])
    cells = {tuple(cell) for cell in np.floor(points * 8).astype(int).tolist()}
    assert len(cells) == 64, "a (0, 6, 2)-net in base 2 has a point in every cell of 8 by 8"


def test_a_grid_has_every_combination_once() -> None:
    space = rw.Space({
        "opt": rw.Categorical(["sgd", "adam"]),
        "momentum": rw.Float(0, 1, when={"opt": "sgd"}),
        "layers": rw.Integer(1, 3),
        "width": rw.Integer(1, 64, log=True),
    })  # fmt: skip
    grid = rw.GridSearch(space, points={"momentum": 3, "width": 2})
    assert len(grid) == (3 + 1) * 3 * 2
    study = rw.Study(space, rw.ASHA(max_resource=1), grid, seed=1)
    jobs = iter(study.ask, None)
    configs = [job.config for job in jobs if study.report(job.trial, 1, 0.5)]
    wanted = itertools.product([("sgd", 0.0), ("sgd", 0.5), ("sgd", 1.0), ("adam",)], [1, 2, 3], [1, 64])
    assert {(c["opt"], c.get("momentum"), c["layers"], c["width"]) for c in configs} == {
        (*head, *[None] * (2 - len(head)), layers, width) for head, layers, width in wanted
    }
    assert len(configs) == 24
    assert study.finished
    assert [c["layers"] for c in configs[:6]] != [1] * 6, "in an order drawn at random"


def test_tune_ends_with_the_grid(tmp_path: Path) -> None:
    for limits in ({"trials": 100}, {"seconds": 300}, {"resource": 10_000}):
        study = rw.tune(
            objectives.train, SPACE, mode="min", scheduler=rw.ASHA(max_resource=9),
            searcher={"name": "grid", "points": 7}, workers=2, quiet=True, **limits,
        )  # fmt: skip
        assert sorted(trial.config["x"] for trial in study.trials) == pytest.approx(np.linspace(0, 1, 7).tolist())
        assert study.finished
        assert not study.running
        assert study.best.resource >= 3, "promotions went on after the grid was used up"


# -- better than chance --------------------------------------------------------------------------------


@pytest.mark.parametrize("searcher", ["tpe", "evolution"])
def test_it_finds_more_than_random_search(searcher: Any) -> None:
    found = [[finished(each, 50, seed=seed).best.score for seed in range(6)] for each in (searcher, "random")]
    assert np.median(np.array(found[0]) - 0.1) < 0.5 * np.median(np.array(found[1]) - 0.1)


def test_evolution_prefers_the_higher_rung_then_the_lower_loss() -> None:
    told = {n: Result(n, *r) for n, r in enumerate([(1, (0.1,)), (3, (0.5,)), (3, (0.4,)), (0, ()), (3, (0.4,))])}
    assert best(told) == [2, 4]
    assert best({3: told[3]}) == [3]


def test_the_old_die() -> None:
    """The best of all has no children once `population` others have come after it."""
    space = rw.Space({name: rw.Float(0, 1) for name in "abcdefgh"})
    search = rw.EvolutionSearch(space, population=4, sample=4)

    def child_of_first() -> bool:
        child = search.propose([1, 9])
        return sum(child[name] == first[name] for name in space) >= 7

    first = space.sample(np.random.default_rng(0))
    for trial in range(9):
        config = first if trial == 0 else space.sample(np.random.default_rng(trial))
        for fact in (Started(trial, config, 1), Result(trial, 1, (0.0 if trial == 0 else 1.0,))):
            search.tell(fact)
        if trial >= 3:
            assert child_of_first() == (trial == 3)


# -- Optuna ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["TPESampler", "CmaEsSampler", "GPSampler", "QMCSampler", "NSGAIISampler", "NSGAIIISampler", "RandomSampler"])  # fmt: skip
def test_every_sampler_runs_a_study_to_its_end(sampler: str) -> None:
    if sampler == "GPSampler":
        import torch

        torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        arguments = {"n_startup_trials": 8} if sampler == "GPSampler" else {}
        search = OptunaSearch(PLANE, sampler, arguments=arguments)
    study = finished(search, 9 if sampler == "GPSampler" else 40, scheduler=rw.PASHA(max_resource=9))
    assert study.best.score < 0.6
    again = as_searcher(settings_of(search), PLANE)
    for event in events((fact for _, fact in study.facts()), "min"):
        again.tell(event)
    number = len(study.trials)
    assert again.propose([0, number]) == study.searcher.propose([0, number])


def test_cma_es_learns_from_its_generations() -> None:
    space = rw.Space({name: rw.Float(0, 1) for name in "xyz"})
    space_with = rw.Space({**space, "act": rw.Categorical(["b"])})
    study = finished(OptunaSearch(space_with, "CmaEsSampler"), 120, space=space_with)
    assert study.best.score - 0.1 < 1e-3


def test_nsga_ii_has_generations() -> None:
    """Children of a population, not one random configuration after another."""
    space = rw.Space({f"p{n}": rw.Integer(0, 10**9) for n in range(4)})
    search = OptunaSearch(space, "NSGAIISampler", arguments={"population_size": 5})
    seen: dict[str, set[int]] = {name: set() for name in space}
    inherited = 0
    for trial in range(30):
        config = search.propose([0, trial])
        inherited += any(config[name] in seen[name] for name in space)
        for name in space:
            seen[name].add(config[name])
        for fact in (Started(trial, config, 1), Result(trial, 1, (config["p0"], -config["p1"]))):
            search.tell(fact)
    assert inherited >= 20


def test_qmc_points_are_of_one_sequence() -> None:
    space = rw.Space({name: rw.Float(0, 1) for name in "ab"})
    study = rw.Study(space, rw.ASHA(max_resource=1), {"name": "optuna", "sampler": "QMCSampler"}, seed=2)
    points = []
    for _ in range(65):
        job = study.ask()
        study.report(job.trial, job.until, 0.5)
        points.append(space.encode(job.config))
    cells = np.floor(np.array(points[1:]) * 8).astype(int)  # Optuna draws the first trial at random
    assert len({tuple(cell) for cell in cells.tolist()}) == 64


def test_a_sampler_object_is_wanted_again_to_go_on(tmp_path: Path) -> None:
    def search() -> OptunaSearch:
        with warnings.catch_warnings(action="ignore"):  # it is experimental
            crossover = optuna.samplers.nsgaii.UniformCrossover(0.3)
            return OptunaSearch(PLANE, optuna.samplers.NSGAIISampler(population_size=4, crossover=crossover))

    path = tmp_path / "s.db"
    study = finished(search(), 9, path=path)
    study.close()
    assert len(rw.Study.open(path).trials) == 9, "looking is allowed"
    opened = rw.Study.open(path, writable=True)
    opened.extend(trials=10)
    with pytest.raises(rw.InputError, match=r"begun with a sampler object, optuna.*NSGAIISampler; to resume it"):
        opened.ask()
    opened.close()
    more, whole = finished(search(), 15, path=path), finished(search(), 15)
    assert [trial.config for trial in more.trials] == [trial.config for trial in whole.trials]


def test_running_trials_are_kept_away_from() -> None:
    """Asked eight times with no answer between, TPE does not say nearly the same eight times."""
    study = rw.Study(SPACE, rw.ASHA(max_resource=1), "tpe", mode="min", seed=1)
    for _ in range(20):
        job = study.ask()
        study.report(job.trial, 1, (job.config["x"] - 0.3) ** 2)
    asked = sorted(study.ask().config["x"] for _ in range(8))
    assert max(asked) - min(asked) > 0.1
    assert min(np.diff(asked)) > 1e-6


def test_optuna_says_nothing_and_its_settings_stay(capfd: pytest.CaptureFixture[str]) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        finished(OptunaSearch(PLANE, "TPESampler", arguments={"group": True, "multivariate": True}), 15)
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    assert (caught, capfd.readouterr()) == ([], ("", ""))


# -- points first, warm start ----------------------------------------------------------------------------


def test_points_come_first_and_the_earlier_study_helps(tmp_path: Path) -> None:
    old = finished("random", 40, path=tmp_path / "old.db", scheduler=rw.ASHA(max_resource=9))
    points = [{"x": 0.5, "y": 0.5, "z": 0.5, "act": "c"}]
    for source in (old, tmp_path / "old.db", str(tmp_path / "old.db")):
        study = finished("random", 5, initial=points, warm_start=source)
        assert [trial.config for trial in study.trials[:2]] == [points[0], old.best.config]
    old.close()
    cold, warm = (
        [finished("tpe", 12, seed=seed, **given).best.score for seed in range(6)]
        for given in ({}, {"warm_start": tmp_path / "old.db"})
    )
    assert max(warm) <= away(old.best.config) + 0.1
    assert np.median(warm) < np.median(cold)


def test_a_warm_started_study_is_opened_again_without_the_earlier_one(tmp_path: Path) -> None:
    finished("random", 20, path=tmp_path / "old.db").close()

    def begin(trials: int) -> rw.Study:
        return finished("tpe", trials, path=tmp_path / "new.db", warm_start=tmp_path / "old.db")

    begin(3).close()
    finished("random", 30, path=tmp_path / "old.db").close()  # the earlier study has gone on; that changes nothing
    begin(8).close()
    (tmp_path / "old.db").unlink()
    resumed = rw.Study.open(tmp_path / "new.db", writable=True)
    resumed.extend(trials=12)
    while (job := resumed.ask()) is not None:
        resumed.report(job.trial, 1, away(job.config) + 0.1)
    finished("random", 20, path=tmp_path / "old.db").close()
    whole = finished("tpe", 12, warm_start=tmp_path / "old.db")
    assert [trial.config for trial in resumed.trials] == [trial.config for trial in whole.trials]


def test_a_searcher_object_is_told_of_the_earlier_study_once(tmp_path: Path) -> None:
    class Listening:
        def __init__(self) -> None:
            self.told: list[Any] = []

        def propose(self, rng: Any) -> dict[str, Any]:
            return {"x": 0.25}

        def tell(self, fact: Any) -> None:
            self.told.append(fact)

        def settings(self) -> dict[str, Any]:
            return {}

    old = earlier("min")
    for trials in (0, 1):
        search = Listening()
        study = rw.Study({"y": rw.Float(5, 6)}, searcher=search, warm_start=old, path=tmp_path / "s.db")
        assert len(study.trials) == trials
        assert study.ask().config == old.trials[0].config
        study.close()
        assert search.told == [], "the study has its own"
        assert [type(fact).__name__ for fact in study.searcher.searcher.told if getattr(fact, "trial", 0) < 0] == [
            "Started",
            "Result",
        ]


def test_what_does_not_fit_is_left_out_and_counted() -> None:
    old = rw.Study({"x": rw.Float(0, 1), "gone": rw.Integer(1, 3)}, rw.ASHA(max_resource=3), mode="max", seed=1)
    while len(old.trials) < 12:
        job = old.ask()
        if job.trial == 5:
            old.fail(5)
        else:
            old.report(job.trial, job.until, job.config["x"])
    new = rw.Study({"x": rw.Float(0, 0.6)}, searcher="evolution", mode="max", warm_start=old)
    fit = [trial.config["x"] for trial in old.trials if trial.config["x"] <= 0.6]
    assert new.searcher.left_out == len([t for t in old.trials if t.state != "running"]) - len(fit) > 0
    scored = [t for t in old.trials if t.failure is None and t.config["x"] <= 0.6 and t.paused_at == 3] or [
        t for t in old.trials if t.failure is None and t.config["x"] <= 0.6
    ]
    assert new.ask().config == {"x": max(trial.config["x"] for trial in scored)}


def test_the_results_that_are_handed_on() -> None:
    study = rw.Study(SPACE, rw.ASHA(max_resource=5, reduction_factor=5), mode="max")
    study.ask()
    study.report(0, 1, 0.5)
    for number, score in ((1, float("nan")), (2, 0.7), (3, 0.8), (4, 0.6)):
        study.ask()
        study.report(number, 1, score)
    study.ask()
    study.report(3, 5, 0.9)  # promoted
    config = [trial.config for trial in study.trials]
    study.ask()
    study.fail(5)
    assert [(config.index(r["config"]) if r["config"] in config else 5, r["results"]) for r in study.rung_results()] == [
        (0, [[1, -0.5]]), (1, [[1, None]]), (2, [[1, -0.7]]), (3, [[1, -0.8], [5, -0.9]]), (4, [[1, -0.6]]), (5, [[1, None]]),
    ]  # fmt: skip


def test_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "def train(trial):\n    for e in trial:\n        trial.report(trial.config['x'] / e)\n"
    )
    (tmp_path / "points.json").write_text('[{"x": 0.25}, {"x": 0.75}]')
    space = '{"x": {"type": "float", "low": 0, "high": 1}}'

    def rungwise(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = str(Path(sys.executable).with_name("rungwise"))
        return subprocess.run([program, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=50)

    tune = ["tune", "train.py:train", "--space", space, "--mode", "min", "--trials", "3"]
    old = finished("random", 5, space=PLANE, path=tmp_path / "old.db")
    old.close()
    made = rungwise(
        *tune, "--study", "new.db", "--searcher", "sobol", "--initial", "points.json", "--warm-start", "old.db"
    )
    assert made.returncode == 0, made.stderr
    new = rw.Study.open(tmp_path / "new.db")
    assert [trial.config for trial in new.trials[:3]] == [{"x": 0.25}, {"x": 0.75}, {"x": old.best.config["x"]}]
    wrong = rungwise(*tune, "--study", "x.db", "--initial", "none.json")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "none.json cannot be read" in wrong.stderr


# -- wrong input -----------------------------------------------------------------------------------------


def earlier(mode: str) -> rw.Study:
    study = rw.Study({"y": rw.Float(5, 6)}, mode=mode)
    study.ask()
    study.report(0, 1, 0.5)
    return study


WRONG = {
    "no such searcher": lambda: rw.Study(SPACE, searcher="tpee"),
    "an argument that there is not": lambda: as_searcher({"name": "grid", "point": 3}, rw.Space(SPACE)),
    "no points": lambda: rw.GridSearch(rw.Space(SPACE), points=0),
    "points of nobody": lambda: rw.GridSearch(rw.Space(SPACE), points={"xx": 3}),
    "a large grid": lambda: rw.GridSearch(PLANE, points=100),
    "a population of one": lambda: rw.EvolutionSearch(PLANE, population=1),
    "a large sample": lambda: rw.EvolutionSearch(PLANE, population=5, sample=6),
    "a sampler": lambda: OptunaSearch(PLANE, "TPESample"),
    "a sampler's path": lambda: OptunaSearch(PLANE, "optuna.samplers:Trial"),
    "a sampler's module": lambda: OptunaSearch(PLANE, "optunaa.samplers:TPESampler"),
    "a sampler that is none": lambda: OptunaSearch(PLANE, 5),
    "a sampler's argument": lambda: OptunaSearch(PLANE, "TPESampler", arguments={"startup": 5}),
    "a share of TPE": lambda: as_searcher({"name": "tpe", "gamma": 5}, PLANE),
    "arguments of TPE": lambda: as_searcher({"name": "tpe", "startup": 5}, PLANE),
    "a sampler for other spaces": lambda: OptunaSearch(PLANE, "BruteForceSampler").propose([0, 0]),
    "a sampler's seed": lambda: OptunaSearch(PLANE, "TPESampler", arguments={"seed": 5}),
    "arguments of an object": lambda: OptunaSearch(PLANE, optuna.samplers.TPESampler(), arguments={"group": True}),
    "one initial": lambda: rw.Study(SPACE, initial={"x": 0.5}),
    "an initial number": lambda: rw.Study(SPACE, initial=[0.5]),
    "an initial value": lambda: rw.Study(SPACE, initial=[{"x": 0.5}, {"x": 5}]),
    "another mode": lambda: rw.Study({"y": rw.Float(5, 6)}, mode="min", warm_start=earlier("max")),
    "nothing fits": lambda: rw.Study(SPACE, mode="min", warm_start=earlier("min")),
    "no earlier study": lambda: rw.Study(SPACE, warm_start=5),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_gets_one_line(case: str) -> None:
    with pytest.raises(rw.InputError) as error:
        WRONG[case]()
    assert "\n" not in str(error.value)
    messages.check("searchers", case, str(error.value))


@pytest.mark.parametrize(
    ("name", "library"), [("sobol", "scipy"), ("optuna", "optuna"), ("tpe", "optuna"), ("optuna", "cmaes")]
)
def test_a_missing_library_is_named(name: str, library: str) -> None:
    given = {"name": "optuna", "sampler": "CmaEsSampler"} if library == "cmaes" else {"name": name}
    code = f"""
import sys
sys.modules[{library!r}] = None
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == {library!r} else found(name, package)
import rungwise as rw
from rungwise import *
try:
    rw.Study({{"x": rw.Float(0, 1)}}, searcher={given!r})
except rw.InputError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    wanted = (
        "pip install cmaes"
        if library == "cmaes"
        else f"pip install 'rungwise[{'sobol' if name == 'sobol' else 'optuna'}]'"
    )
    assert said.stdout.endswith(f"needs: {wanted}\n"), said
