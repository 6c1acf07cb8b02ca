from __future__ import annotations

import numpy as np
import pytest

import rungwise as rw

SCORES = [[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scores": [1, 2]}, "configurations × resources"),
        ({"scores": [[]]}, "configurations × resources"),
        ({"scores": "x"}, "scores must be numbers"),
        ({"scores": [[1], [1, 2]]}, "scores must be numbers"),
        ({"mode": "up"}, "mode must be"),
        ({"resources": [1, 2]}, "3 increasing whole numbers"),
        ({"resources": [1, 1, 2]}, "3 increasing whole numbers"),
        ({"resources": [0, 1, 2]}, "3 increasing whole numbers"),
        ({"seconds": [[1, 2, 3]]}, "seconds have the shape"),
        ({"seconds": [[1, 2, 1], [1, 2, 3]]}, "never falling"),
        ({"seconds": [[1, 2, np.nan], [1, 2, 3]]}, "never falling"),
        ({"second": SCORES}, "did you mean 'seconds'?"),
    ],
)
def test_tables_that_cannot_be(arguments: dict, message: str) -> None:
    with pytest.raises(rw.InputError, match=message):
        rw.CurveTable(**{"scores": SCORES, "mode": "max"} | arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trials": 3}, "2 rows for 3 trials"),
        ({"rows": [0, 2]}, "rows must be from 0 to 1"),
        ({"scheduler": rw.ASHA(max_resource=9)}, "max_resource=9 is beyond the table, which ends at 3"),
        ({"table": SCORES}, "table must be a CurveTable"),
        ({"workers": 0}, "workers must be 1 or more"),
        ({"num_samples": 2}, "did you mean 'trials'?"),
    ],
)
def test_simulations_that_cannot_be(arguments: dict, message: str) -> None:
    with pytest.raises(rw.InputError, match=message):
        rw.simulate(**{"scheduler": "asha", "table": rw.CurveTable(SCORES, mode="max"), "trials": 2} | arguments)


def test_a_scheduler_is_not_used_up() -> None:
    table = rw.CurveTable(np.random.default_rng(0).random((40, 27)), mode="max")
    pasha = rw.PASHA()
    first, second = (rw.simulate(pasha, table, trials=40) for _ in range(2))
    assert first.jobs == second.jobs
    assert pasha.open_level == 3
    assert pasha.max_resource is None


def test_rows_come_from_the_seed() -> None:
    table = rw.CurveTable(np.random.default_rng(0).random((40, 9)), mode="max")
    rows = np.random.default_rng(5).permutation(40).tolist()
    drawn = rw.simulate("asha", table, trials=30, seed=5)
    assert drawn.jobs == rw.simulate("asha", table, trials=30, rows=rows).jobs
    assert drawn.jobs != rw.simulate("asha", table, trials=30, seed=6).jobs


def test_what_a_study_learned_as_a_table() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(max_resource=3), mode="max")
    study.extend(trials=3)
    while (job := study.ask()) is not None:
        for resource in range(job.start + 1, job.until + 1):
            study.report(job.trial, resource, job.trial + resource / 10)
    table = rw.CurveTable.from_study(study, up_to=4)
    assert table.scores.tolist() == [[0.1] * 4, [1.1] * 4, [2.1, 2.2, 2.3, 2.3]]
    assert rw.simulate(rw.ASHA(max_resource=3), table, workers=1, trials=3, rows=range(3)).resource_used == 5
