"""Tune gradient-boosted trees on scikit-learn's breast cancer data for the price of 10 full trainings, 2 processes.

Run it with `make boosting`. Kill it at any moment and run it again: it goes on where it was. Then ask why:
`rungwise explain runs/boosting.db`. A unit of training is a round, which adds a tree. Trees after the round with the
lowest validation loss are not used, so that loss is a trial's score. Training the best configuration for all 81 rounds
is part of the price, and only then is its loss on the test rows computed.
"""

import time
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

import rungwise as rw

STUDY = Path("runs/boosting.db")
ROUNDS = 81

SPACE = {
    "learning_rate": rw.Float(0.01, 0.3, log=True),
    "max_leaf_nodes": rw.Integer(2, 64, log=True),
    "min_samples_leaf": rw.Integer(1, 64, log=True),
    "l2_regularization": rw.Float(1e-4, 10.0, log=True),
    "max_features": rw.Float(0.1, 1.0),  # the share of the features that each split may choose from
}


@cache
def data() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Training, validation and test rows with their labels."""
    rows, labels = load_breast_cancer(return_X_y=True)
    x, x_test, y, y_test = train_test_split(rows, labels, test_size=171, random_state=0, stratify=labels)
    x, x_valid, y, y_valid = train_test_split(x, y, test_size=171, random_state=0, stratify=y)
    return (x, y), (x_valid, y_valid), (x_test, y_test)


def train(trial: rw.Trial) -> None:
    """Grow the trees of `trial.config` for the rounds that are asked for."""
    training, (x, y), _ = data()
    # as it was when this trial was paused: the model, its lowest loss, and how many trees it had then
    model, lowest, best = trial.load() or (None, float("inf"), 0)
    if model is None:
        model = HistGradientBoostingClassifier(
            warm_start=True, early_stopping=False, random_state=trial.number, **trial.config
        )
    for rounds in trial:
        model.set_params(max_iter=rounds).fit(*training)  # one more tree
        if (loss := log_loss(y, model.predict_proba(x))) < lowest:
            lowest, best = loss, rounds
        trial.report(lowest)
    trial.save((model, lowest, best))


def loss_on_test(state: tuple[HistGradientBoostingClassifier, float, int]) -> float:
    """The log loss on the test rows of the trees up to the best round."""
    (x, y), (model, _, best) = data()[2], state
    return log_loss(y, next(islice(model.staged_predict_proba(x), best - 1, None)))


def main() -> None:
    """Tune, and say what it cost."""
    began = time.monotonic()
    if STUDY.exists():
        print(f"{STUDY} is there: going on with it (delete it to begin anew)")
    study = rw.tune(
        train,
        SPACE,
        mode="min",
        scheduler=rw.PASHA(max_resource=ROUNDS),
        budget=10,
        workers=2,
        path=STUDY,
    )
    if study.interrupted:
        raise SystemExit(130)
    best = study.best
    score, rounds = (best.score, best.resource) if best.refit_score is None else (best.refit_score, best.refit_resource)
    print(f"\nbest configuration: trial {best.number} of {len(study.trials)}, {best.config}")
    print(f"test loss after {rounds} rounds: {loss_on_test(best.load()):.4f} (validation {score:.4f})")
    print(f"\nwhy it stopped where it did, and what was spent:\n{study.explain()}")
    print(f"\n{time.monotonic() - began:.0f} s in all; ask again at any time: rungwise explain {STUDY}")


if __name__ == "__main__":
    main()
