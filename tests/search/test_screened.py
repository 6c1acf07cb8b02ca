"""A searcher whose proposals a proxy filters, and how much that was good for."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import rungwise as rw
from rungwise.errors import InputError
from rungwise.events import Started
from rungwise.search.agreement import rank_correlation

SPACE = {"x": rw.Float(0, 1)}


def right(config: dict) -> float:
    return -abs(config["x"] - 0.3)


def wrong(config: dict) -> float:
    return -right(config)


def broken(config: dict) -> float:
    return math.nan


def silent(config: dict) -> None:
    return None


def study(proxy, **arguments) -> rw.Study:
    searcher = rw.ScreenedSearch(rw.Space(SPACE), proxy, **arguments)
    made = rw.Study(SPACE, rw.ASHA(max_resource=9), searcher, mode="min")
    made.extend(trials=50)
    while (job := made.ask()) is not None:
        for resource in range(job.start + 1, job.until + 1):
            made.report(job.trial, resource, abs(job.config["x"] - 0.3) + 1 / resource)
    return made


def test_the_best_of_the_proposals_is_started_and_each_is_proposed_once() -> None:
    asked: list[dict] = []
    space = rw.Space(SPACE)

    def proxy(config: dict) -> float:
        asked.append(config)
        return right(config)

    searcher = rw.ScreenedSearch(space, proxy, best_of=4, control=3)
    for number in range(30):
        config = searcher.propose([7, number])
        candidates = [space.sample(np.random.default_rng([7, 4 * number + each])) for each in range(4)]
        assert config == (candidates[0] if number % 3 == 2 else max(candidates, key=right))
        assert searcher.propose([7, number]) == config
        searcher.tell(Started(number, config, 1))
    assert len(asked) == 4 * 20, "each is asked for once, the unscreened not at all"


def test_it_says_how_much_it_helped() -> None:
    done = study(right, best_of=8)
    helped = done.searcher.helped(done)
    assert (helped.resource, helped.screened, helped.unscreened) == (1, 40, 10)
    assert helped.correlation == pytest.approx(1)
    scores = [record.reports[1] for record in done.trials]
    control = [score for number, score in enumerate(scores) if number % 5 == 4]
    assert helped.score_unscreened == pytest.approx(np.mean(control))
    assert helped.score_screened == pytest.approx((sum(scores) - sum(control)) / 40)
    assert helped.score_screened < helped.score_unscreened - 0.1
    assert str(helped).startswith("the proxy's rank correlation with the score at 1 is 1.00; mean score ")
    reached = done.searcher.helped(done, 9)
    assert reached.screened + reached.unscreened == sum(record.resource == 9 for record in done.trials)


def test_a_proxy_that_is_wrong_is_found_out() -> None:
    done = study(wrong)
    helped = done.searcher.helped(done)
    assert helped.correlation == pytest.approx(-1)
    assert helped.score_screened > helped.score_unscreened


def test_a_proxy_that_says_nothing_takes_the_first() -> None:
    done = study(broken, control=0)
    space = rw.Space(SPACE)
    for record in done.trials:
        assert record.config == space.sample(np.random.default_rng([0, 4 * record.number]))
    helped = done.searcher.helped(done)
    assert math.isnan(helped.correlation)
    assert helped.unscreened == 0


def test_a_proxy_that_says_no_number_is_named() -> None:
    with pytest.raises(InputError, match=r"the proxy '.*:silent' must return a number, not None"):
        rw.ScreenedSearch(rw.Space(SPACE), silent).propose([0, 0])


def test_what_the_user_names_does_not_count() -> None:
    made = rw.Study(
        SPACE, "asha", rw.ScreenedSearch(rw.Space(SPACE), right), mode="max", initial=[{"x": 0.1}, {"x": 0.2}]
    )
    for _ in range(12):
        job = made.ask()
        made.report(job.trial, job.until, right(job.config))
    helped = made.searcher.searcher.helped(made)
    assert helped.screened + helped.unscreened == len(made.trials) - 2
    assert helped.unscreened == sum(number % 5 == 4 for number in range(2, len(made.trials)))
    assert helped.correlation == pytest.approx(1)


def test_a_proxy_by_name_is_taken_up_with_the_study(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    searcher = {"name": "screened", "proxy": "objectives:proxy", "best_of": 3}
    rw.Study(SPACE, "asha", searcher, mode="min", path=path).close()
    opened = rw.Study.open(path)
    assert opened.searcher.settings()["proxy"] == "objectives:proxy"
    missing = rw.Study(SPACE, "asha", {"name": "screened", "proxy": "objectives:nothing"}, mode="min")
    with pytest.raises(InputError, match="the proxy 'objectives:nothing' cannot be imported"):
        missing.ask()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"searcher": "grid"}, "'grid' proposes one configuration at a time"),
        ({"best_of": 1}, "best_of must be 2 or more"),
        ({"control": -1}, "control 0 or more"),
        ({"proxy": "mine"}, "name the proxy as package.module:function"),
        ({"proxy": partial(right)}, "the proxy must be a function or its name, not functools.partial"),
        ({"proxy": None}, "the proxy must be a function or its name, not None"),
    ],
)
def test_what_cannot_be_is_named(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rw.ScreenedSearch(rw.Space(SPACE), **{"proxy": right} | arguments)


def test_helped_says_what_it_cannot_judge() -> None:
    made = rw.Study(SPACE, "asha", rw.ScreenedSearch(rw.Space(SPACE), right), mode="min")
    with pytest.raises(InputError, match="no trial has a finite score at 0"):
        made.searcher.helped(made)
    two = rw.Study(SPACE, "asha", rw.ScreenedSearch(rw.Space(SPACE), right), mode={"a": "min", "b": "min"})
    with pytest.raises(InputError, match="several"):
        two.searcher.helped(two)


@pytest.mark.needs("scipy")
def test_the_rank_correlation_is_scipys() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    for size in (2, 3, 10, 100):
        for _ in range(20):
            one, other = rng.integers(0, size, (2, size))
            if np.ptp(one) and np.ptp(other):
                assert rank_correlation(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert math.isnan(rank_correlation([1, 1], [1, 2]))
    assert rank_correlation([-math.inf, 1, 2], [1, 2, 3]) == pytest.approx(1)
