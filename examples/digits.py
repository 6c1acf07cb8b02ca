"""Tune a small neural network on scikit-learn's digits with PASHA: 64 configurations, 2 processes, no GPU.

Run it with `make demo`. Kill it at any moment and run it again: it goes on where it was. Then ask why:
`rungwise explain runs/digits.db`. The network trains one epoch at a time, for real; the best configuration is
trained on to 64 epochs at the end, and only then is its accuracy on the test images computed.
"""

import time
import warnings
from functools import cache
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import rungwise as rw

STUDY = Path("runs/digits.db")
EPOCHS = 64
LADDER = {"max_resource": EPOCHS, "reduction_factor": 2}  # rungs at 1, 2, 4, … 64 epochs

SPACE = {
    "learning_rate_init": rw.Float(1e-5, 1e-1, log=True),
    "alpha": rw.Float(1e-6, 1e-1, log=True),
    "batch_size": rw.Ordinal([16, 32, 64, 128, 256]),
    "width": rw.Integer(8, 128, log=True),
    "layers": rw.Integer(1, 2),
    "solver": rw.Categorical(["adam", "sgd"]),
    "momentum": rw.Float(0.0, 0.99, when={"solver": "sgd"}),
}


@cache
def data() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Training, validation and test images with their labels."""
    images, labels = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(images / 16, labels, test_size=450, random_state=0, stratify=labels)
    x, x_valid, y, y_valid = train_test_split(x, y, test_size=450, random_state=0, stratify=y)
    return (x, y), (x_valid, y_valid), (x_test, y_test)


def train(trial: rw.Trial) -> None:
    """Train the network of `trial.config` for the epochs that are asked for."""
    warnings.filterwarnings("ignore")  # a diverging network is a bad score, not news
    (x, y), valid, _ = data()
    model = trial.load()  # the network as it was when this trial was paused, or None
    if model is None:
        config = dict(trial.config)
        layers = (config.pop("width"),) * config.pop("layers")
        model = MLPClassifier(layers, random_state=trial.number, **config)
    for _ in trial:
        model.partial_fit(x, y, classes=range(10))  # one epoch
        trial.report(model.score(*valid))
    trial.save(model)


def main() -> None:
    """Tune, refit, and say what it cost."""
    began = time.monotonic()
    if STUDY.exists():
        print(f"{STUDY} is there: going on with it (delete it to begin anew)")
    study = rw.tune(
        train,
        SPACE,
        mode="max",
        scheduler=rw.PASHA(**LADDER),
        trials=64,
        workers=2,
        study=STUDY,
        refit=True,
    )
    if study.interrupted:
        raise SystemExit(130)
    best = study.best
    score, epochs = (best.score, best.resource) if best.refit_score is None else (best.refit_score, best.refit_resource)
    table = rw.CurveTable.from_study(study, up_to=EPOCHS)
    asha = rw.simulate(rw.ASHA(**LADDER), table, workers=2, trials=len(table), rows=range(len(table)))
    print(f"\nbest configuration: trial {best.number}, {best.config}")
    print(f"test accuracy after {epochs} epochs: {best.load().score(*data()[2]):.4f} (validation {score:.4f})")
    print(f"\nwhy it stopped where it did:\n{study.explain()}")
    print(
        f"\nspent: {study.resource_used} epochs to choose, {epochs - best.resource} to refit; "
        f"ceiling {study.scheduler.open_level}; {time.monotonic() - began:.0f} s in all\n"
        f"ASHA up to {EPOCHS} epochs on the same configurations would have spent {asha.resource_used} to choose\n"
        "(simulated; where a curve was not trained further, it is held at its last score)"
    )
    print(f"ask again at any time: rungwise explain {STUDY}")


if __name__ == "__main__":
    main()
