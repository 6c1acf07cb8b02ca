"""A study works with its own copy of a searcher, takes from it only what fits its space, and gives away only copies."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rungwise as rw
from rungwise.events import Fact, Started
from rungwise.search import as_searcher
from rungwise.search.evolution import EvolutionSearch
from rungwise.search.grid import GridSearch
from rungwise.search.initial import InitialSearch
from rungwise.search.screened import ScreenedSearch
from rungwise.space import Rng

X = {"x": rw.Float(0, 1)}


def proxy(config: dict[str, Any]) -> float:
    return float(config["x"])


class Says:
    """A searcher of a user's: proposes what it was given, and remembers what it was told."""

    def __init__(self, *proposals: object) -> None:
        self.proposals = list(proposals)
        self.told: list[Fact] = []

    def propose(self, rng: Rng) -> Any:
        return self.proposals[sum(isinstance(fact, Started) for fact in self.told)]

    def tell(self, fact: Fact) -> None:
        self.told.append(fact)
        if isinstance(fact, Started):
            fact.config["x"] = "changed by the searcher"

    def settings(self) -> dict[str, Any]:
        return {}


class Holds(Says):
    """One that cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


def some_trials(study: rw.Study, count: int = 12) -> list[dict[str, Any]]:
    for _ in range(count):
        job = study.ask()
        assert job is not None
        for resource in range(job.start + 1, job.until + 1):
            study.report(job.trial, resource, job.config["x"] + 1 / resource)
    return [record.config for record in study.trials]


# -- one searcher, several studies -------------------------------------------------------------------


@pytest.mark.parametrize("wrapped", ["alone", "screened", "first", "with initial"])
def test_a_searcher_given_to_two_studies_carries_nothing_from_one_to_the_other(wrapped: str) -> None:
    def made() -> Any:
        space = rw.Space(X)
        searcher: Any = EvolutionSearch(space, population=4)
        if wrapped == "screened":
            return ScreenedSearch(space, proxy, searcher)
        return InitialSearch(space, searcher, points=[{"x": 0.5}]) if wrapped == "first" else searcher

    initial = [{"x": 0.25}] if wrapped == "with initial" else []
    given = made()
    first, second = (some_trials(rw.Study(X, "asha", given, initial=initial)) for _ in range(2))
    assert first == second == some_trials(rw.Study(X, "asha", made(), initial=initial))
    assert given.propose([0, 0]) == made().propose([0, 0]), "the object that was given is as it was"


@pytest.mark.needs("optuna")
def test_nor_does_a_sampler_of_optuna() -> None:
    import optuna

    from rungwise.search.optuna import OptunaSearch

    def made() -> OptunaSearch:
        return OptunaSearch(rw.Space(X), optuna.samplers.NSGAIISampler(population_size=4))

    given = made()
    first, second = (some_trials(rw.Study(X, "asha", given)) for _ in range(2))
    assert first == second == some_trials(rw.Study(X, "asha", made()))


def test_the_object_that_was_given_is_told_nothing_and_a_grid_is_whole_again() -> None:
    says = Says(*[{"x": n / 20} for n in range(20)])
    some_trials(rw.Study(X, "asha", says))
    assert says.told == []
    grid = GridSearch(rw.Space(X), points=30)
    some_trials(rw.Study(X, "asha", grid))
    assert len(grid) == 30


def test_a_study_keeps_an_untold_copy_to_begin_anew_from() -> None:
    study = rw.Study(X, "asha", EvolutionSearch(rw.Space(X), population=2))
    some_trials(study)
    assert study.decider._untold.propose([0, 0]) == rw.Study(X, "asha", "random").searcher.propose([0, 0])
    assert study.searcher.propose([0, 0]) != study.decider._untold.propose([0, 0])


def test_a_searcher_that_cannot_be_copied_is_refused_in_one_line() -> None:
    with pytest.raises(rw.InputError, match=r"its own copy.*searcher Holds cannot be copied \(.*lock.*__deepcopy__"):
        rw.Study(X, "asha", Holds())


# -- what it proposes ----------------------------------------------------------------------------------

WRONG: dict[str, tuple[object, str]] = {
    "another name": ({"y": 5.6}, r"Says proposed \{'y': 5.6\}, which does not fit: the configuration has 'y'"),
    "out of range": ({"x": 5.6}, r"Says proposed \{'x': 5.6\}, which does not fit: 'x' wants a number from 0.0 to 1.0"),
    "too few": ({}, r"Says proposed \{\}, which does not fit: the configuration lacks 'x'"),
    "text": ({"x": "0.5"}, r"wants a number"),
    "not finite": ({"x": float("nan")}, r"must be finite"),
    "a bool": ({"x": True}, r"wants a number"),
    "no dict": (0.5, r"the searcher Says must propose a dict of values or None, not 0.5"),
    "a list": ([("x", 0.5)], r"must propose a dict"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_proposal_that_is_not_of_the_space_is_one_clear_line(name: str) -> None:
    proposed, message = WRONG[name]
    study = rw.Study(X, "asha", Says(proposed))
    with pytest.raises(rw.InputError, match=message):
        study.ask()
    assert study.trials == []
    with pytest.raises(rw.InputError, match=message):
        rw.Study(X, "asha", InitialSearch(rw.Space(X), Says(proposed))).ask()  # type: ignore[arg-type]


def of_another_space(name: str, wrapped: str, other: rw.Space) -> Any:
    searcher = as_searcher(name, other)
    return ScreenedSearch(other, len, searcher) if wrapped == "screened" else searcher


OF_ANOTHER_SPACE = [(name, how) for name in ("random", "evolution", "grid") for how in ("alone", "with initial")] + [
    ("random", "screened"),
    ("evolution", "screened"),
]


@pytest.mark.parametrize(("name", "wrapped"), OF_ANOTHER_SPACE)
def test_a_searcher_of_ours_for_another_space_is_refused_before_there_is_a_file(
    name: str, wrapped: str, tmp_path: Path
) -> None:
    searcher = of_another_space(name, wrapped, rw.Space({"y": rw.Integer(5, 6)}))
    initial = [{"x": 0.5}] if wrapped == "with initial" else []
    with pytest.raises(
        rw.InputError, match=r"was made for a space with y, but this one has x; make it with this space"
    ):
        rw.Study(X, "asha", searcher, path=tmp_path / "s.db", initial=initial)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "wrapped"), OF_ANOTHER_SPACE)
def test_a_proposal_of_ours_out_of_another_range_is_one_clear_line_and_the_file_stays_whole(
    name: str, wrapped: str, tmp_path: Path
) -> None:
    searcher, path = of_another_space(name, wrapped, rw.Space({"x": rw.Integer(5, 6)})), tmp_path / "s.db"
    initial = [{"x": 0.5}] if wrapped == "with initial" else []
    study = rw.Study(X, "asha", searcher, path=path, initial=initial)
    with pytest.raises(
        rw.InputError, match=r"searcher \w+Search proposed .*'x' wants a number from 0.0 to 1.0.*another"
    ):
        some_trials(study)
    study.close()
    assert [record.config for record in rw.Study.open(path).trials] == initial
    assert some_trials(rw.Study(X, "asha", searcher, path=path, initial=initial), 0) == initial, "and it is taken up"


@pytest.mark.needs("optuna")
def test_so_are_those_of_optuna(tmp_path: Path) -> None:
    from rungwise.search.optuna import OptunaSearch

    with pytest.raises(rw.InputError, match=r"OptunaSearch was made for a space with y"):
        rw.Study(X, "asha", OptunaSearch(rw.Space({"y": rw.Integer(5, 6)})))
    with pytest.raises(rw.InputError, match=r"the searcher OptunaSearch proposed .*'x' wants a number"):
        rw.Study(X, "asha", OptunaSearch(rw.Space({"x": rw.Float(5, 6)}))).ask()


def test_a_proposal_that_is_forbidden_or_does_not_exist() -> None:
    space = rw.Space({"opt": rw.Categorical(["sgd", "adam"]), "size": rw.Integer(1, 9)}, [{"opt": "sgd", "size": 9}])
    with pytest.raises(rw.InputError, match="forbidden"):
        rw.Study(space, "asha", Says({"opt": "sgd", "size": 9})).ask()
    space = rw.Space({"opt": rw.Categorical(["sgd", "adam"]), "m": rw.Float(0, 1, when={"opt": "sgd"})})
    with pytest.raises(rw.InputError, match="'m' is inactive here"):
        rw.Study(space, "asha", Says({"opt": "adam", "m": 0.5})).ask()


def test_a_proposal_of_numpy_numbers_or_of_another_writing_is_taken_as_ours() -> None:
    study = rw.Study(X, "asha", Says({"x": np.float64(0.5)}, {"x": 1}))
    for wanted in (0.5, 1):
        job = study.ask()
        assert job is not None
        assert type(job.config["x"]) in (float, int)
        assert job.config == {"x": wanted}


def test_what_surely_fits_is_what_check_takes() -> None:
    space = rw.Space(
        {
            "f": rw.Float(0, 1),
            "s": rw.Float(0, 1, step=0.1),
            "i": rw.Integer(1, 9),
            "c": rw.Categorical(["a", 1, 2.5, None, True, [1]]),
            "o": rw.Ordinal([1, 2]),
        }
    )
    good = {"f": 0.5, "s": 0.1, "i": 3, "c": "a", "o": 1}
    assert space.surely_has(good)
    numbers = [0, 1, 0.0, -0.0, 1.0, 0.5, 2, 2.5, 9, 10, -1, np.int64(1), 1e308]
    values = [*numbers, True, False, None, "a", "b", [1], [2], {}]
    for name in good:
        for value in values:
            config = {**good, name: value}
            if space.surely_has(config):
                assert repr(space.check(config)) == repr(config)
    assert not space.surely_has({**good, "more": 1})
    assert not space.surely_has({})
    assert not rw.Space({"c": rw.nas.Cell()}).surely_has({"c": "no cell"})


# -- what is given away --------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", ["memory", "file"])
def test_changing_what_a_study_gave_away_changes_nothing_in_it(kept: str, tmp_path: Path) -> None:
    choice = rw.Categorical([["a", 1], ["b", 2]])
    initial = [{"x": 0.5, "c": ["a", 1]}]
    space: dict[str, Any] = {**X, "c": choice}
    study = rw.Study(space, "asha", "evolution", initial=initial, path=tmp_path / "s.db" if kept == "file" else None)
    initial[0]["x"] = 7
    initial.clear()
    space["x"] = rw.Integer(3, 4)
    del space["c"]
    job = study.ask()
    assert job is not None
    wanted = {"x": 0.5, "c": ["a", 1]}
    assert job.config == wanted

    def spoil(config: dict[str, Any]) -> None:
        assert config == wanted
        config["c"].append("spoilt")
        config["x"] = 99
        config["more"] = 1

    spoil(job.config)
    spoil(study.running[0].config)
    study.report(0, 1, 0.5)
    spoil(study.trials[0].config)
    spoil(study.best.config)
    spoil(study.rung_results()[0]["config"])
    study.rows()[0]["config.c"].append("spoilt")
    for _, fact in study.facts():
        if isinstance(fact, Started):
            spoil(fact.config)
    assert study.trials[0].config == study.best.config == wanted
    assert study.rows()[0]["config.c"] == ["a", 1]
    for _, fact in study.facts():
        assert not isinstance(fact, Started) or fact.config == wanted
    for _ in range(8):
        job = study.ask()
        assert job is not None
        study.report(job.trial, job.until, 0.5)
    assert study.space["c"].choices == [["a", 1], ["b", 2]]  # type: ignore[attr-defined]


def test_nor_does_what_a_searcher_does_to_what_it_is_told_or_has_proposed() -> None:
    says = Says({"x": 0.5})
    study = rw.Study(X, "asha", says)
    job = study.ask()
    assert job is not None
    says.proposals[0]["x"] = 0.75  # type: ignore[index]
    study.searcher.proposals[0]["x"] = 0.75  # type: ignore[attr-defined]
    assert job.config == study.trials[0].config == {"x": 0.5}


def spoils(config: dict[str, Any]) -> float:
    config["c"].append("spoilt")
    config["more"] = 1
    return float(config.pop("x"))


def test_nor_does_what_a_proxy_does_to_what_it_is_asked_about() -> None:
    space = rw.Space({**X, "c": rw.Categorical([["a", 1], ["b", 2]])})
    study = rw.Study(space, "asha", ScreenedSearch(space, spoils, best_of=3))
    for config in some_trials(study, 6):
        assert space.check(config) == config
    assert space["c"].choices == [["a", 1], ["b", 2]]  # type: ignore[attr-defined]


def test_a_job_given_out_again_has_the_configuration_of_its_trial() -> None:
    study = rw.Study(X, "asha")
    job = study.ask()
    assert job is not None
    before = dict(job.config)
    job.config.clear()
    study.decider.take(rw.events.Retried(0, "it broke"))
    again = study.ask()
    assert again is not None
    assert again.config == before


def test_the_front_is_of_copies() -> None:
    study = rw.Study(X, "asha", mode={"a": "min", "b": "max"})
    job = study.ask()
    assert job is not None
    study.report(0, 1, {"a": 1.0, "b": 1.0})
    before = study.trials[0].config
    study.front[0].config.clear()
    assert study.front[0].config == study.trials[0].config == before


def changes_its_own(trial: rw.Trial) -> None:
    x = trial.config.pop("x")
    trial.config["lr"] = 1
    for _ in trial:
        trial.report(x)


def test_a_function_that_changes_its_configuration_changes_nothing_else(tmp_path: Path) -> None:
    study = rw.tune(changes_its_own, X, mode="min", trials=4, study=tmp_path / "s.db", quiet=True)
    assert all(record.config.keys() == {"x"} and record.score == record.config["x"] for record in study.trials)
