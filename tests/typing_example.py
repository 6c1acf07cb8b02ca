"""What users write, for the type checker: `make lint` runs mypy in strict mode over it."""

from typing import Literal, assert_type

import numpy as np
import optuna

import rungwise as rw


def train(trial: rw.Trial) -> None:
    weights = trial.load()
    if weights is None:
        weights = np.zeros(3)
    for epoch in trial:
        assert_type(epoch, int)
        trial.report(np.float64(1 / epoch))
    trial.save(weights)


def main() -> None:
    space = {"lr": rw.Float(1e-4, 1e-1, log=True), "act": rw.Categorical(["relu", "gelu"])}
    scheduler = rw.PASHA(
        max_resource=81, promotion=rw.PatientPromotion(deviations=0.5), ranking=rw.SoftRanking(epsilon="auto")
    )
    study = rw.tune(train, space, mode="max", scheduler=scheduler, trials=9, workers=2, refit=True)
    assert_type(study, rw.Study)
    assert_type(study.best.score, float)
    assert_type(study.explain(), str)
    two: dict[str, Literal["min", "max"]] = {"error": "min", "cost": "min"}
    assert_type(rw.tune(train, space, mode=two, trials=9).front, list[rw.ParetoTrial])
    rw.tune(train, space, mode="maximum", trials=9)  # type: ignore[arg-type]
    rw.Study(space, "asha", "random", mode="min", score="mean")  # type: ignore[arg-type]
    assert_type(study.top(3), list[rw.TrialRecord])
    job = study.ask()
    if job is not None:
        assert_type(study.report(job.trial, job.until, 0.5), bool)
    expected = {"lr": rw.Float(1e-4, 1e-1, log=True, prior=1e-3, confidence="high"), "n": rw.Integer(1, 9)}
    rw.Study(rw.Space(expected, forbidden=[{"n": [8, 9], "lr": 0.1}]), mode="min")
    rw.Study({"n": optuna.distributions.IntDistribution(1, 9), "act": rw.Categorical(["relu", "gelu"])}, mode="min")
    table = rw.CurveTable(np.zeros((4, 9)), mode="min")
    assert_type(rw.simulate("asha", table, trials=4).jobs, list[tuple[float, int, int, int]])
    assert_type(rw.simulate("asha", table, workers=rw.Cluster(4, spot=60)).cluster, rw.ClusterUse | None)


if __name__ == "__main__":
    main()
