"""NePS: its optimizers behind its own `AskAndTell`: Hyperband, ASHA and PriorBand (without priors).

With "-bo", PriorBand samples by its Gaussian process after 10 R. ifBO cannot be had: its weights are a download.
Promoted configurations go on from where they were (`previous_pipeline_directory`). It takes one result for each
evaluation, at its end. Its answer is that of `neps.status`: the best evaluation at any resource.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import neps
import torch
from traces import MIN_RESOURCE, REDUCTION_FACTOR, BestEver, Job, Setting, main

from rungwise.parameters import Float, Integer, Parameter

logging.disable(logging.WARNING)
torch.set_num_threads(1)
FIDELITY = "fidelity"


def domain(parameter: Parameter) -> Any:
    if isinstance(parameter, Float):
        return neps.Float(parameter.low, parameter.high, log=parameter.log)
    if isinstance(parameter, Integer):
        return neps.Integer(parameter.low, parameter.high, log=parameter.log)
    return neps.Categorical(list(parameter.choices))


class Neps:
    """A study whose configurations become those of rows before they are evaluated; it minimizes."""

    resumes = True

    def __init__(self, setting: Setting, optimizer: Callable[[Any], Any]) -> None:
        self.rows = setting.rows
        torch.manual_seed(setting.seed)
        self.names = {f"p{place}": name for place, name in enumerate(self.rows.parameters)}
        fields = {short: domain(self.rows.parameters[name]) for short, name in self.names.items()}
        fields[FIDELITY] = neps.IntegerFidelity(MIN_RESOURCE, setting.max_resource)
        space = type("Space", (neps.PipelineSpace,), fields)()
        self.study = neps.AskAndTell(optimizer(space))
        self.row_of: dict[str, int] = {}  # its number of a configuration -> row
        self.best = BestEver()

    def ask(self) -> Job | None:
        if self.rows.tried.all():
            return None
        evaluation = self.study.ask()
        config = evaluation.config
        number = evaluation.id.split("_rung_")[0]
        if number not in self.row_of:
            row = self.rows.take({name: config[short] for short, name in self.names.items()})
            assert row is not None
            self.row_of[number] = row
            values = self.rows.values(row)
            config.update({short: values[name] for short, name in self.names.items()})
        return Job(self.row_of[number], int(config[FIDELITY]), evaluation)

    def report(self, job: Job, resource: int, loss: float) -> bool:
        if resource < job.until:
            return True
        self.study.tell(job.handle, loss)
        self.best.tell(job.row, loss)
        return False

    def answer(self) -> int | None:
        return self.best.row


if __name__ == "__main__":
    algorithms, eta = neps.algorithms, {"eta": REDUCTION_FACTOR}
    main(
        {
            "neps-asha": partial(Neps, optimizer=partial(algorithms.asha, **eta)),
            "neps-hyperband": partial(Neps, optimizer=partial(algorithms.hyperband, **eta)),
            "neps-priorband": partial(Neps, optimizer=partial(algorithms.priorband, **eta)),
            "neps-priorband-bo": partial(
                Neps, optimizer=partial(algorithms.priorband, bayesian_optimization_kick_in_point=10, **eta)
            ),
        },
        packages=["neural-pipeline-search"],
    )
