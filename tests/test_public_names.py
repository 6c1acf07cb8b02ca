"""What things are called: in editors, by names of before, and under two names at once."""

from __future__ import annotations

from typing import get_args

import pytest

import rungwise as rw
from rungwise import _CALLED_BEFORE
from rungwise.core import SCHEDULERS, SchedulerName
from rungwise.search import SEARCHERS, SearcherName


def test_the_names_that_editors_offer_are_those_there_are() -> None:
    assert set(get_args(SchedulerName)) == set(SCHEDULERS)
    assert set(get_args(SearcherName)) | {"first", "screened"} == set(SEARCHERS)


def test_names_of_before_go_on_working() -> None:
    for before, now in _CALLED_BEFORE.items():
        assert getattr(rw, before) is getattr(rw, now)
        assert before not in dir(rw)
    with pytest.raises(AttributeError, match="'Bset'"):
        _ = rw.Bset


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"study": "a.db", "path": "b.db"}, "tune got both path= and study=, which mean the same; give one"),
        ({"resource": 3, "total_resource": 4}, "tune got both total_resource= and resource=, which mean the same"),
        ({"storage": "a.db"}, "tune has no argument 'storage'; did you mean 'path'?"),
    ],
)
def test_one_argument_under_two_names_is_refused(given: dict, wanted: str) -> None:
    with pytest.raises(rw.InputError, match=wanted):
        rw.tune(print, {"x": rw.Float(0, 1)}, mode="min", **given)


def test_names_of_before_are_taken_for_ours(tmp_path) -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "asha", mode="min")
    study.extend(resource=9)
    assert study.budget.resource == 9
    study.extend(total_resource=12)
    assert study.budget.resource == 12
