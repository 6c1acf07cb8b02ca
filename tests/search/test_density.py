"""The kernel densities, what they are made of, and how much is left to chance."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

import messages
import rungwise as rw
from rungwise.events import Promoted, Result, Started
from rungwise.search import as_searcher
from rungwise.search.agreement import Agreement, agreement
from rungwise.search.density import BAD, GOOD, RUNNING
from rungwise.search.kernels import Columns, Kernels
from rungwise.testing import check_searcher

LINE = rw.Space({"x": rw.Float(0, 1)})
MIXED = rw.Space(
    {
        "x": rw.Float(1e-3, 10, log=True),
        "n": rw.Integer(1, 5),
        "act": rw.Categorical(["a", "b", "c"], prior="b"),
        "y": rw.Float(-1, 1, when={"act": ["a", "b"]}, prior=0.5),
        "z": rw.Float(0, 1, when={"n": [2, 3], "act": "a"}),
    }
)


def told(space: rw.Space, results: Iterable[tuple[Mapping[str, Any], list[tuple[int, float]]]], **options: Any) -> Any:
    """A searcher that never leaves anything to chance, told (config, results at its rungs) of one trial after another.

    No results: it runs.
    """
    search = rw.DensitySearch(space, **{"random_share": 0, **options})
    for trial, (config, scores) in enumerate(results):
        search.tell(Started(trial, dict(config), 1))
        for place, (level, loss) in enumerate(scores):
            if place:
                search.tell(Promoted(trial, level))
            search.tell(Result(trial, level, (loss,)))
    return search


def proposed(search: Any, name: str = "x", count: int = 60) -> np.ndarray:
    return np.array([search.propose([0, number])[name] for number in range(count)])


# -- densities ---------------------------------------------------------------------------------------------


def density(columns: Columns, configs: list[dict[str, Any]], at: dict[str, Any]) -> float:
    """The density of kernels on `configs` at the configuration `at`, kernel by kernel and parameter by parameter."""
    space, dimensions, total = columns.space, len(columns.choices), 1.0
    total = math.exp(space.log_prior(at))
    for config in configs:
        kernel = 1.0
        for name in config.keys() & at.keys():
            values = [other[name] for other in configs if name in other]
            factor = len(values) ** (-1 / (4 + dimensions))
            if isinstance(space[name], rw.Categorical):
                choices = len(space[name].choices)
                shares = [(values.count(each) + 1 / choices) / (len(values) + 1) for each in space[name].choices]
                other = (1 - sum(share**2 for share in shares)) * factor**2
                kernel *= choices * (1 - other if config[name] == at[name] else other / (choices - 1))
            else:
                middles = [sum(space[name].interval(value)) / 2 for value in [*values, config[name], at[name]]]
                *middles, center, place = middles
                mean = sum(middles) / len(middles)
                spread = sum((each - mean) ** 2 for each in middles) + 1 / 12
                left, right = space[name].interval(config[name])
                width = max(1.06 * math.sqrt(spread / (len(middles) + 1)) * factor, (right - left) / 2)
                kernel *= NormalDist(center, width).pdf(place)
        total += kernel
    return total / (len(configs) + 1)


def kernels(columns: Columns, configs: list[dict[str, Any]]) -> Kernels:
    centers, halves = zip(*map(columns.row, configs), strict=True)
    return Kernels(columns, np.array(centers), np.array(halves))


@pytest.mark.parametrize("count", [1, 2, 9])
def test_the_density_is_that_of_a_slow_reference(count: int) -> None:
    rng = np.random.default_rng(count)
    columns = Columns(MIXED)
    configs, asked = ([MIXED.sample(rng) for _ in range(number)] for number in (count, 20))
    points = np.array([columns.row(config)[0] for config in asked])
    filled = np.where(np.isnan(points), 0.3, points)
    exist = columns.existing(filled)
    assert (exist == ~np.isnan(points)).all()
    found = np.exp(kernels(columns, configs).log_density(filled, exist, columns.log_prior(filled, exist)))
    assert found == pytest.approx([density(columns, configs, config) for config in asked], rel=5e-3)
    back = [columns.row(columns.config(point))[0] for point in filled]
    assert np.array(back) == pytest.approx(points, nan_ok=True)


def test_a_density_sums_to_one_where_parameters_depend_on_others() -> None:
    space = rw.Space({"act": rw.Categorical(["a", "b"]), "x": rw.Float(0, 1, when={"act": "a"})})
    columns = Columns(space)
    configs = [{"act": "a", "x": 0.4}, {"act": "a", "x": 0.5}, {"act": "b"}, {"act": "a", "x": 0.5}, {"act": "b"}] * 9
    grid = (np.arange(2000) + 0.5) / 2000
    points = np.array([*((0.0, x) for x in grid), (1.0, 0.77)])
    exist = columns.existing(points)
    assert exist.sum() == 2000 * 2 + 1
    masses = np.exp(kernels(columns, configs).log_density(points, exist)) / 2  # relative to the uniform one
    assert masses[:-1].mean() + masses[-1] == pytest.approx(1, abs=1e-3)


def test_what_is_drawn_is_of_the_space_and_near_the_kernels() -> None:
    columns = Columns(MIXED)
    good = [{"x": 10.0, "n": 3, "act": "a", "y": 0.9, "z": 0.5}] * 30
    points = kernels(columns, good).draw(np.random.default_rng(0), 500, 1.0)
    configs = [columns.config(point) for point in points]
    assert all(MIXED.check(config) == config for config in configs)
    assert np.mean([config["act"] == "a" for config in configs]) > 0.9
    assert np.median([config["x"] for config in configs]) > 5
    assert {config["n"] for config in configs} > {3}
    lacking = kernels(columns, [{"x": 1.0, "n": 1, "act": "c"}] * 3).draw(np.random.default_rng(0), 50, 1.0)
    assert not np.isnan(lacking).any()
    assert ((lacking[:, [0, 1, 3, 4]] >= 0) & (lacking[:, [0, 1, 3, 4]] <= 1)).all()


def test_cells_are_learned_edge_by_edge() -> None:
    cell = rw.Cell()
    space = rw.Space({"cell": cell})
    assert Columns(space).choices == [5] * 6

    def convolutions(config: Mapping[str, Any]) -> int:
        return sum(name == "nor_conv_3x3" for name in cell.parse(config["cell"]))

    rng = np.random.default_rng(0)
    configs = [space.sample(rng) for _ in range(60)]
    search = told(space, ((config, [(1, -convolutions(config))]) for config in configs))
    later = [convolutions(search.propose([0, number])) for number in range(20)]
    assert np.mean(later) > 2 * np.mean([convolutions(config) for config in configs])


# -- which results -----------------------------------------------------------------------------------------


def test_it_finds_more_than_random_search() -> None:
    space = rw.Space({**{name: rw.Float(0, 1) for name in "abc"}, "act": rw.Categorical(["p", "q", "r"])})

    def best(searcher: Any, seed: int) -> float:
        study = rw.Study(space, rw.ASHA(max_resource=1), searcher, mode="min", seed=seed)
        study.extend(trials=50)
        while (job := study.ask()) is not None:
            loss = sum((job.config[name] - 0.3) ** 2 for name in "abc") + 0.3 * (job.config["act"] != "q")
            study.report(job.trial, 1, loss)
        return study.best.score

    found = [[best(searcher, seed) for seed in range(6)] for searcher in ("density", "random")]
    assert np.median(found[0]) < 0.5 * np.median(found[1])


def test_proposals_are_random_until_a_rung_has_enough_results() -> None:
    """d + 3 are 4 here."""
    grid = [({"x": x}, [(1, abs(x - 0.2))]) for x in (0.1, 0.2, 0.3, 0.6)]
    chance = rw.DensitySearch(LINE, random_share=1)
    assert (proposed(told(LINE, grid[:3])) == proposed(chance)).all()
    assert (proposed(told(LINE, grid)) != proposed(chance)).all()


def test_the_highest_rung_with_enough_results_counts() -> None:
    """At the first rung a low x looks good, at the second a high one."""
    places = [place / 20 for place in range(1, 20)]
    low = told(LINE, [({"x": x}, [(1, x), *([(3, 1 - x)] if x in places[:3] else [])]) for x in places])
    high = told(LINE, [({"x": x}, [(1, x), (3, 1 - x)]) for x in places])
    assert np.median(proposed(low)) < 0.3 < 0.7 < np.median(proposed(high))


def test_an_earlier_study_counts_until_this_one_has_enough_results() -> None:
    search = rw.DensitySearch(LINE, random_share=0)
    for number in range(1, 20):
        search.tell(Started(-number, {"x": number / 20}, 9))
        search.tell(Result(-number, 9, (number / 20,)))
    assert np.median(proposed(search)) < 0.3
    for number, x in enumerate((0.9, 0.2, 0.6, 0.4, 0.8)):
        search.tell(Started(number, {"x": x}, 1))
        search.tell(Result(number, 1, (-x,)))
        assert (np.median(proposed(search)) > 0.5) == (number >= 3)


def test_failures_are_bad_wherever_they_failed() -> None:
    """The best at the first rung are around 0.2 and 0.8; all around 0.8 then fail at the second."""
    places = [place / 40 for place in range(1, 40)]

    def search(later: float) -> Any:
        near = {x: min(abs(x - 0.2), abs(x - 0.8)) for x in places}
        return told(
            LINE, [({"x": x}, [(1, near[x]), *([(3, later)] if x > 0.5 and near[x] < 0.1 else [])]) for x in places]
        )

    assert np.mean(proposed(search(math.inf)) > 0.5) < 0.1
    crashed = told(LINE, [({"x": x}, [(1, math.inf if x > 0.5 else abs(x - 0.45))]) for x in places])
    assert np.mean(proposed(crashed) > 0.5) < 0.2


def test_trials_that_were_left_behind_are_bad() -> None:
    """Of those up to 0.5 the highest are the best; all above that were not promoted, or there are none."""
    promoted = [({"x": x / 40}, [(1, x), (3, -x)]) for x in range(8, 21)]
    left = [({"x": x / 40}, [(1, x)]) for x in range(21, 33)]
    assert np.median(proposed(told(LINE, [*promoted, *left]))) < 0.5 < np.median(proposed(told(LINE, promoted)))


def test_running_trials_are_kept_away_from() -> None:
    done = [({"x": x / 20}, [(1, (x / 20 - 0.5) ** 2)]) for x in range(21)]
    below, above = (
        np.median(proposed(told(LINE, [*done, *(({"x": 0.5 + side * n / 100}, []) for n in range(1, 10))])))
        for side in (1, -1)
    )
    assert below + 0.01 < above


def test_an_informed_prior_counts_for_less_as_results_come_in() -> None:
    spaces = [rw.Space({"x": rw.Float(0, 1, prior=prior, confidence="high")}) for prior in (0.2, 0.8)]

    def apart(count: int) -> float:
        grid = [({"x": x}, [(1, abs(x - 0.5))]) for x in np.linspace(0.01, 0.99, count).tolist()]
        low, high = (np.mean(proposed(told(space, grid))) for space in spaces)
        return float(high - low)

    assert apart(8) > 2 * apart(200) >= 0


def test_the_number_of_kernels_has_a_bound() -> None:
    rng = np.random.default_rng(0)
    search = told(LINE, [({"x": x}, [(1, x)]) for x in rng.random(3000).tolist()])
    for trial in range(3000, 3200):
        search.tell(Started(trial, {"x": trial / 4000}, 1))
    good, bad = search._densities()
    assert (len(good.centers), len(bad.centers)) == (GOOD, BAD + RUNNING)
    assert good.centers.max() < 0.04 < 0.14 < bad.centers[:BAD].min()
    assert bad.centers[:BAD].max() > 0.99


def test_with_several_metrics_the_first_fronts_are_good() -> None:
    search = rw.DensitySearch(LINE, random_share=0)
    for trial, x in enumerate(np.linspace(0, 1, 41).tolist()):
        search.tell(Started(trial, {"x": x}, 1))
        outside = 5 * max(0.4 - x, x - 0.6, 0)
        search.tell(Result(trial, 1, (x + outside, 1 - x + outside)))
    good, _ = search._densities()
    assert (np.abs(good.centers - 0.5) < 0.101).all()
    assert np.mean(np.abs(proposed(search) - 0.5) < 0.15) > 0.9


# -- how much is left to chance ----------------------------------------------------------------------------


def test_the_random_share_follows_from_how_well_early_scores_predict_later_ones() -> None:
    assert rw.DensitySearch(LINE).agreement == Agreement(0.5, 0)
    shares = []
    for sign in (1, -1):
        places = [place / 99 for place in range(100)]
        search = told(LINE, [({"x": x}, [(1, x), (3, sign * x)]) for x in places], random_share="auto")
        shares.append(search.agreement.random_share)
        random = rw.DensitySearch(LINE, random_share=1)
        by_chance = np.mean(proposed(search, count=400) == proposed(random, count=400))
        assert by_chance == pytest.approx(shares[-1], abs=0.08)
    assert shares == [pytest.approx(0.25, abs=0.03), 0.75]
    assert str(search.agreement) == (
        "the order of trials at neighboring rungs has a rank correlation of -0.86 (100 trials, shrunk towards 0.5), "
        "so 75% of proposals are random"
    )


def test_agreement_is_the_mean_over_rungs_and_metrics() -> None:
    lower = {trial: (float(trial), 1.0, float(trial)) for trial in range(6)}
    upper = {trial: (float(trial), float(trial), -float(trial)) for trial in range(5)}
    nothing = agreement({1: lower, 3: upper})  # one metric says 1, one −1, and one has no order at the lower rung
    assert nothing == (pytest.approx(10 * 0.5 / 14), 5)
    top = {trial: upper[trial] for trial in (0, 1)}
    assert agreement({1: lower, 3: upper, 9: top}).trials == 7
    assert agreement({9: top, 1: lower, 27: {0: upper[0]}}).trials == 2


# -- what every searcher keeps to -----------------------------------------------------------------------------


def test_it_keeps_to_the_rules() -> None:
    check_searcher(rw.DensitySearch, MIXED)


@pytest.mark.parametrize("name", ["good_share", "bandwidth_factor", "candidates", "random_share"])
def test_wrong_arguments_get_one_line(name: str) -> None:
    for value in (-1, 0 if name != "random_share" else 1.5, "automatic", math.nan):
        with pytest.raises(rw.InputError) as error:
            as_searcher({"name": "density", name: value}, LINE)
        messages.check("density", f"{name}={value!r}", str(error.value))


def test_settings_are_what_was_given() -> None:
    given = {"good_share": 0.2, "bandwidth_factor": 2.0, "candidates": 32, "random_share": 0.5}
    assert rw.DensitySearch(LINE, **given).settings() == given
    assert rw.DensitySearch(LINE).settings()["random_share"] == 0.5


def test_duplicates_are_passed_over_and_the_space_may_run_out() -> None:
    space = rw.Space({"a": rw.Integer(1, 3), "b": rw.Categorical([True, False])})
    search = told(space, ())
    seen = []
    for trial in range(8):
        config = search.propose([0, trial])
        seen.append(tuple(config.values()))
        search.tell(Started(trial, config, 1))
        search.tell(Result(trial, 1, (float(trial),)))
    assert set(seen[:6]) == set(itertools.product((1, 2, 3), (True, False)))
