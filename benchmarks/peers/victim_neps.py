"""NePS: two processes on one root directory; evaluations that were not finished are reset when the command begins.

An evaluation trains a configuration from one rung to the next, and its result is the only report. That it was taken is
noted when the same process begins another one, or ends. The name of a trial in the diary is that of the configuration.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections import defaultdict
from pathlib import Path

import neps
import torch
from diary import REDUCTION_FACTOR, TOP, TRIALS, WORKERS, ended, epochs, load, loss, main, note, save
from neps.clean.clean import clean_failed_trials
from neps.state.neps_state import NePSState
from neps.state.trial import State

EVALUATIONS = 3 * TRIALS // 2  # 24 configurations, of which 8 are trained to 3 epochs, 3 to 9, and 1 to 27
STATES = {State.SUCCESS: "ended", State.PENDING: "stuck", State.EVALUATING: "stuck"}


class Space(neps.PipelineSpace):
    """A parameter and the epochs."""

    x = neps.Float(0.0, 1.0)
    epoch = neps.IntegerFidelity(1, TOP)


def work(root: Path) -> None:
    """One of the processes."""
    torch.set_num_threads(1)
    returned: list[tuple[str, int]] = []

    def taken() -> None:
        while returned:
            note("reported", *returned.pop())

    def evaluate(pipeline_directory: Path, x: float, epoch: int) -> float:
        taken()
        trial = pipeline_directory.name.removeprefix("config_").split("_rung_")[0]
        checkpoint = root / "checkpoints" / trial
        for each, _ in epochs(trial, x, load(checkpoint), epoch):
            save(checkpoint, each)
            note("saved", trial, each)
        returned.append((trial, epoch))
        return loss(x, epoch)

    neps.run(
        evaluate,
        Space(),
        root_directory=root,
        optimizer=("asha", {"eta": REDUCTION_FACTOR}),
        total_evaluations_to_spend=EVALUATIONS,
        continue_until_max_evaluation_completed=True,
        ignore_errors=True,
    )
    taken()


def run(folder: Path) -> None:
    root = folder / "study"
    if root.exists():  # and nobody works on it now
        clean_failed_trials(root, desired_states=[State.EVALUATING, State.FAILED, State.CRASHED, State.CORRUPTED])
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=work, args=(root,)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    sys.exit(any(worker.exitcode for worker in workers))


def read(folder: Path) -> None:
    # From the files of each evaluation: the cache of them all, which neps.status reads, may be torn by a kill.
    repository = NePSState.create_or_load(folder / "study", load_only=True)._trial_repo
    trials = {name: repository.load_trial_from_disk(name) for name in repository.list_trial_ids()}
    reports: dict[str, list[int]] = defaultdict(list)
    for name, trial in trials.items():
        if trial.metadata.state == State.SUCCESS:
            reports[name.split("_rung_")[0]].append(int(trial.config["epoch"]))
    ended(
        "neural-pipeline-search",
        states={name: STATES.get(trial.metadata.state, "failed") for name, trial in trials.items()},
        reports=reports,
        wanted=EVALUATIONS,
    )


if __name__ == "__main__":
    main(run, read)
