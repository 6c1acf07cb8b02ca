"""Syne Tune 0.13: its PASHA on the local backend; its `Tuner` is saved once a second, and loaded to go on.

The same file is what the backend starts for a job. The name of a trial in the diary is its number with its
configuration, as a number is given again to another configuration if the newest trials were not saved.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections import defaultdict
from pathlib import Path

from diary import REDUCTION_FACTOR, TOP, TRIALS, WORKERS, ended, epochs, load, main, note, save

NAME = "study"
STATES = {"Completed": "ended", "Paused": "ended", "Failed": "failed"}


def job() -> None:
    """What the backend starts: train to the next rung, which it tells as `epochs`."""
    from syne_tune import Reporter

    parser = argparse.ArgumentParser()
    for option, kind in {"--x": int, "--epochs": int, "--st_checkpoint_dir": Path}.items():
        parser.add_argument(option, type=kind)
    given = parser.parse_args()
    trial = f"{given.st_checkpoint_dir.parent.name}:{given.x}"
    checkpoint, report = given.st_checkpoint_dir / "epoch", Reporter()
    for epoch, value in epochs(trial, given.x / 1e6, load(checkpoint), given.epochs):
        save(checkpoint, epoch)
        report(epoch=epoch, loss=value)
        note("saved", trial, epoch)


def run(folder: Path) -> None:
    os.environ["SYNETUNE_FOLDER"] = str(folder)
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend import LocalBackend
    from syne_tune.config_space import randint
    from syne_tune.optimizer.schedulers.hyperband import HyperbandScheduler

    if (folder / NAME / "tuner.dill").exists():
        tuner = Tuner.load(str(folder / NAME))
    else:
        shutil.rmtree(folder / NAME, ignore_errors=True)  # what was not saved in time
        tuner = Tuner(
            trial_backend=LocalBackend(entry_point=__file__),
            scheduler=HyperbandScheduler(
                {"x": randint(0, 1_000_000), "epochs": TOP},
                type="pasha",
                searcher="random",
                metric="loss",
                mode="min",
                resource_attr="epoch",
                max_resource_attr="epochs",
                grace_period=1,
                reduction_factor=REDUCTION_FACTOR,
            ),
            stop_criterion=StoppingCriterion(max_num_trials_started=TRIALS - 1),  # stops at more than that
            n_workers=WORKERS,
            sleep_time=0.05,
            results_update_interval=0,  # seconds, rounded down: it is saved once a second
            max_failures=10 * TRIALS,
            wait_trial_completion_when_stopping=True,
            tuner_name=NAME,
            suffix_tuner_name=False,
        )
    tuner.run()


def read(folder: Path) -> None:
    os.environ["SYNETUNE_FOLDER"] = str(folder)
    import pandas as pd
    from syne_tune import Tuner

    tuner = Tuner.load(str(folder / NAME))
    results = pd.read_csv(next((folder / NAME).glob("results.csv*")))
    reports: dict[str, list[int]] = defaultdict(list)
    for number, x, epoch in zip(results["trial_id"], results["config_x"], results["epoch"], strict=True):
        reports[f"{number}:{x}"].append(int(epoch))
    ended(
        "syne-tune",
        states={
            f"{number}:{tuner.trial_backend._trial_dict[number].config['x']}": STATES.get(str(status), "stuck")
            for number, status in tuner.tuning_status.last_trial_status_seen.items()
        },
        reports=reports,
    )


if __name__ == "__main__":
    job() if "--st_checkpoint_dir" in sys.argv else main(run, read)
