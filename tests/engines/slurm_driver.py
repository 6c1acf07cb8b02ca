"""A driver to be killed: `python slurm_driver.py STUDY`."""

import sys

from test_slurm import SPACE, trains

import rungwise as rw
from rungwise.executors.slurm import SlurmExecutor

if __name__ == "__main__":
    rw.tune(
        trains, SPACE, mode="min", trials=8, scheduler=rw.ASHA(min_resource=3, max_resource=9), quiet=True,
        executor=SlurmExecutor(workers=4, driver_seconds=30), path=sys.argv[1],
        keep_checkpoints=True,
    )  # fmt: skip
