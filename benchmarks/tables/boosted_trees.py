"""The tables `boosted-trees`: learning curves of gradient-boosted trees on six small data sets, trained for real.

python benchmarks/tables/boosted_trees.py [--small] [--workers 2] [--work runs/boosted-trees] [--out FOLDER]

LightGBM grows 200 rounds of trees (one tree a round, on digits one for each of ten classes) and is looked at after
each: log loss for classes, root mean squared error for numbers, which are scaled to mean 0 and standard deviation 1.
The data sets are those of scikit-learn, made small and noisy enough for many configurations to overfit:

* `breast-cancer`: 569 tumours of 30 features, two classes; 15 % of the training labels flipped;
* `digits`: 1,797 images of 64 pixels with noise on all of them; 15 % of the training labels drawn at random;
* `diabetes`: 442 patients of 10 features, a number, as it is;
* `hastie`: `make_hastie_10_2`, 2,600 rows of 10 features, two classes; 15 % of the training labels flipped;
* `friedman`: `make_friedman1`, 2,400 rows of 20 features, of which 5 matter, a number, with noise of deviation 2;
* `planted`: `make_classification`, 2,600 rows of 50 features, of which 6 matter, two classes; 15 % of all labels, those
  for validation and test included, drawn at random.

Of 1,024 curves each, so many end more than 5 % above their own lowest validation loss: breast-cancer 312, digits 99,
diabetes 281, hastie 266, friedman 172, planted 632. Counted from the package's tables, under each seed, by

    python -c "from rungwise.bench.suites import load_suite; [
    print(task.name, ((loss := task.table.scores)[:, -1] > 1.05 * loss.min(axis=1)).sum())
    for task in load_suite('boosted-trees')]"

SPLITS says how many rows are for training and how many for validation; the others are for the test. Rows, labels, and
noise are the same for every configuration and seed; a seed sets which rows and features each tree sees.
Validation losses are kept to 0.0005, test losses to 0.005, and of the processor time of training the mean of a round
in each quarter of the rounds.

Configuration n is drawn with `numpy.random.default_rng([0, n])` and rounded to two digits; it is the same on all data
sets. Scores are the same whatever the number of processes. A configuration that is finished on all data sets is a file
in the work folder, so the run can be broken off and goes on where it was; when all are there, they are packed into one
file for each data set and seed. LightGBM needs the system's OpenMP (Debian: libgomp1).
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")  # before numpy: one core each

import functools
import time
from typing import Any

import lightgbm
import numpy as np
import packing
from sklearn import datasets

import rungwise as rw

SPACE = rw.Space({
    "learning_rate": rw.Float(0.02, 1.0, log=True),
    "num_leaves": rw.Integer(2, 64, log=True),
    "min_data_in_leaf": rw.Integer(1, 40, log=True),
    "min_sum_hessian_in_leaf": rw.Float(1e-3, 5, log=True),
    "min_gain_to_split": rw.Float(1e-4, 0.5, log=True),
    "bagging_fraction": rw.Float(0.3, 1.0),  # of the rows, for each round
    "feature_fraction": rw.Float(0.2, 1.0),  # of the features, for each tree
    "lambda_l1": rw.Float(1e-3, 3, log=True),
    "lambda_l2": rw.Float(1e-3, 30, log=True),
    "extra_trees": rw.Categorical([False, True]),  # one random threshold a feature, not the best of all
})  # fmt: skip
SIZES = {"configurations": 512, "rounds": 200, "seeds": 2}
SMALL = {"configurations": 4, "rounds": 20, "seeds": 2}
SPLITS = {  # rows for training, rows for validation
    "breast-cancer": (200, 180),
    "digits": (300, 600),
    "diabetes": (160, 140),
    "hastie": (600, 1000),
    "friedman": (400, 1000),
    "planted": (600, 1000),
}
LABEL_NOISE, PIXEL_NOISE = 0.15, 0.2
UNITS = {"validation": 5e-4, "test": 5e-3}  # losses are rounded to multiples of these
PARTS, TICK = 4, 1e-6  # seconds are means over a quarter of the rounds, in microseconds
UCI = "Apache-2.0; the data are those of the UCI repository (CC BY 4.0), through scikit-learn"
LICENCES = {
    "breast-cancer": UCI,
    "digits": UCI,
    "diabetes": "Apache-2.0; the data are those of Efron et al., Least Angle Regression (2004), through scikit-learn",
}


def rows(name: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features and targets of a data set, without noise on the training labels."""
    match name:
        case "breast-cancer":
            return datasets.load_breast_cancer(return_X_y=True)
        case "digits":
            images, labels = datasets.load_digits(return_X_y=True)
            return images / 16 + rng.normal(0, PIXEL_NOISE, images.shape), labels
        case "diabetes":
            return datasets.load_diabetes(return_X_y=True)
        case "hastie":
            return datasets.make_hastie_10_2(2600, random_state=0)
        case "friedman":
            return datasets.make_friedman1(2400, n_features=20, noise=2, random_state=0)
        case _:
            return datasets.make_classification(
                2600, n_features=50, n_informative=6, n_redundant=0, n_clusters_per_class=2, flip_y=LABEL_NOISE,
                shuffle=False, random_state=0,
            )  # fmt: skip


@functools.cache
def data(name: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Features and targets in the order training, validation, test, and the number of classes: 1 for numbers."""
    rng = np.random.default_rng(0)
    features, targets = rows(name, rng)
    order = rng.permutation(len(features))
    features, targets = features[order], targets[order]
    if name in ("diabetes", "friedman"):
        return features, (targets - targets.mean()) / targets.std(), 1
    classes, targets = np.unique(targets, return_inverse=True)
    training = SPLITS[name][0]
    if name != "planted":  # which has noise on all labels
        wrong = rng.random(training) < LABEL_NOISE
        others = 1 - targets[:training] if len(classes) == 2 else rng.integers(0, len(classes), training)
        targets[:training] = np.where(wrong, others, targets[:training])
    return features, targets, len(classes)


def train(name: str, config: dict[str, Any], rounds: int, seed: int) -> packing.Curves:
    """Loss on the rows for validation and for the test, and seconds of processor time in training, round by round."""
    features, targets, classes = data(name)
    parts = np.split(np.arange(len(features)), np.cumsum(SPLITS[name]))
    goals = {1: ("regression", "rmse"), 2: ("binary", "binary_logloss")}
    objective, metric = goals.get(classes, ("multiclass", "multi_logloss"))
    options = {
        **config, "objective": objective, "metric": metric, "num_class": classes if classes > 2 else 1,
        "bagging_freq": 1, "max_bin": 63, "feature_pre_filter": False, "force_row_wise": True,
        "num_threads": 1, "deterministic": True, "seed": seed, "verbosity": -1,
    }  # fmt: skip
    training, *others = (lightgbm.Dataset(features[part], targets[part], params=options) for part in parts)
    booster = lightgbm.Booster(options, training)
    for part, other in zip(("validation", "test"), others, strict=True):
        booster.add_valid(other.set_reference(training), part)
    found = {part: np.zeros(rounds) for part in ("validation", "test", "seconds")}
    for done in range(rounds):
        began = time.process_time()
        booster.update()
        found["seconds"][done] = time.process_time() - began
        for part, _, loss, _ in booster.eval_valid():
            found[part][done] = loss
    return found


def configuration(number: int) -> dict[str, Any]:
    """Configuration `number`, as random search draws it, with numbers of two digits."""
    drawn = SPACE.sample(np.random.default_rng([0, number]))
    return {name: float(f"{value:.2g}") if isinstance(value, float) else value for name, value in drawn.items()}


def curves(task: tuple[int, int, int]) -> tuple[int, packing.Curves]:
    """Configuration `number` on all data sets under all seeds; arrays are data sets × seeds × rounds."""
    number, rounds, seeds = task
    config = configuration(number)
    runs = [[train(name, config, rounds, seed) for seed in range(seeds)] for name in SPLITS]
    return number, {key: np.array([[run[key] for run in under] for under in runs]) for key in (*UNITS, "seconds")}


def main() -> None:
    options = packing.options(__doc__, "boosted-trees")
    sizes = SMALL if options.small else SIZES
    tasks = [(number, sizes["rounds"], sizes["seeds"]) for number in range(sizes["configurations"])]
    finished = packing.collect(curves, tasks, options)
    configs = [configuration(number) for number in range(sizes["configurations"])]
    for place, name in enumerate(SPLITS):
        found = [{key: values[place] for key, values in each.items()} for each in finished]
        for each in found:
            each["seconds"] = each["seconds"].reshape(sizes["seeds"], PARTS, -1).mean(axis=2)
        packing.pack(
            options.out, f"boosted-trees-{name}", found, configs, units=UNITS, tick=TICK,
            about={
                "what": f"LightGBM on scikit-learn's {name}, {SPLITS[name][0]} rows for training",
                "script": "benchmarks/tables/boosted_trees.py" + (" --small" if options.small else ""),
                "licence": LICENCES.get(name, "Apache-2.0; the data are drawn by scikit-learn"),
                "seconds": "processor time of training alone on the machine below, means over quarters of the rounds",
            },
        )  # fmt: skip


if __name__ == "__main__":
    main()
