"""Ray Tune: each report with a checkpoint, the state of the experiment once a second, and `Tuner.restore`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

os.environ |= {"TUNE_GLOBAL_CHECKPOINT_S": "1", "RAY_AIR_NEW_OUTPUT": "0", "RAY_USAGE_STATS_ENABLED": "0"}

import ray
from diary import REDUCTION_FACTOR, TOP, TRIALS, WORKERS, ended, epochs, load, main, note, save
from ray import tune

NAME = "study"
SPACE = {"x": tune.uniform(0, 1)}
STATES = {"TERMINATED": "ended", "ERROR": "failed"}


def train(config: dict[str, Any]) -> None:
    trial, last = tune.get_context().get_trial_id(), tune.get_checkpoint()
    start = 0
    if last is not None:
        with last.as_directory() as place:
            start = load(Path(place, "epoch"))
    for epoch, value in epochs(trial, config["x"], start, TOP):
        with tempfile.TemporaryDirectory() as place:
            save(Path(place, "epoch"), epoch)
            tune.report({"loss": value, "epoch": epoch}, checkpoint=tune.Checkpoint.from_directory(place))
        note("saved", trial, epoch)


def run(folder: Path) -> None:
    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, _temp_dir=str(folder / "ray"))
    place = str(folder / NAME)
    if tune.Tuner.can_restore(place):
        tuner = tune.Tuner.restore(place, trainable=train, resume_errored=True, param_space=SPACE)
    else:
        tuner = tune.Tuner(
            train,
            param_space=SPACE,
            tune_config=tune.TuneConfig(
                num_samples=TRIALS,
                reuse_actors=True,
                scheduler=tune.schedulers.ASHAScheduler(
                    "epoch", "loss", "min", max_t=TOP, grace_period=1, reduction_factor=REDUCTION_FACTOR
                ),
            ),
            run_config=tune.RunConfig(
                name=NAME, storage_path=str(folder), failure_config=tune.FailureConfig(max_failures=5), verbose=0
            ),
        )
    tuner.fit()


def read(folder: Path) -> None:
    found = tune.ExperimentAnalysis(str(folder / NAME))
    reports = {name: frame["epoch"].tolist() for name, frame in found.trial_dataframes.items() if not frame.empty}
    states = {trial.trial_id: STATES.get(trial.status, "stuck") for trial in found.trials}
    ended("ray", states=states, reports=reports)


if __name__ == "__main__":
    main(run, read)
