"""SMAC3: `ask` and `tell` of its `MultiFidelityFacade` (Hyperband, a random forest, expected improvement).

Its function gets a budget and trains from the beginning. Its answer is `intensifier.get_incumbent`: the best at the
highest budget observed of each. Its budgets are R / 3^k, rounded.
"""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Iterator

from config_space import config_space
from ConfigSpace import Configuration
from smac import MultiFidelityFacade, Scenario
from smac.main.config_selector import ConfigSelector
from smac.runhistory import TrialValue
from traces import MIN_RESOURCE, Job, Rows, Setting, main
from traces import REDUCTION_FACTOR as ETA

logging.disable(logging.WARNING)


def evaluations(units: int, max_resource: int) -> int:
    """How many evaluations `units` hold if Hyperband spends them: a user would say so; its first design is a quarter.

    >>> evaluations(22 * 27, 27)
    122
    """
    last = math.floor(math.log(max_resource, ETA) + 1e-9)
    count, cost = 0, 0.0
    for rungs in range(last + 1):
        size = math.ceil((last + 1) / (rungs + 1) * ETA**rungs)
        for rung in range(rungs + 1):
            count += size // ETA**rung
            cost += size // ETA**rung * max_resource / ETA ** (rungs - rung)
    return round(units * count / cost)


class Nearest(ConfigSelector):
    """Its selector, but each configuration is that of the nearest row that was not tried; the end when all were.

    It knows a configuration once: of several rows with the same one it gets the first.
    """

    rows: Rows
    row_of: dict[Configuration, int]

    def __iter__(self) -> Iterator[Configuration]:
        for config in super().__iter__():
            while True:
                row = self.rows.take(dict(config))
                if row is None:
                    return
                snapped = Configuration(self._scenario.configspace, values=self.rows.values(row))
                if snapped not in self.row_of:
                    break
            snapped.origin = config.origin
            self.row_of[snapped] = row
            self._processed_configs.append(snapped)
            yield snapped


class Smac:
    """A facade that is asked and told."""

    resumes = False

    def __init__(self, setting: Setting) -> None:
        self.rows = setting.rows
        self.folder = tempfile.TemporaryDirectory()
        scenario = Scenario(
            config_space(self.rows, setting.seed),
            deterministic=True,
            min_budget=MIN_RESOURCE,
            max_budget=setting.max_resource,
            n_trials=evaluations(setting.units, setting.max_resource),
            seed=setting.seed,
            output_directory=self.folder.name,
        )
        self.selector = Nearest(scenario)
        self.selector.rows, self.selector.row_of = self.rows, {}
        self.smac = MultiFidelityFacade(
            scenario, never, config_selector=self.selector, overwrite=True, logging_level=False
        )

    def ask(self) -> Job | None:
        if self.rows.tried.all():
            return None
        try:
            trial = self.smac.ask()
        except StopIteration:
            return None
        return Job(self.selector.row_of[trial.config], max(1, round(trial.budget)), trial)

    def report(self, job: Job, resource: int, loss: float) -> bool:
        if resource < job.until:
            return True
        assert math.isfinite(loss)
        self.smac.tell(job.handle, TrialValue(cost=loss), save=False)
        return False

    def answer(self) -> int | None:
        found = self.smac.intensifier.get_incumbents()
        return self.selector.row_of[found[0]] if found else None


def never(config: Configuration, seed: int = 0, budget: float = 0.0) -> float:
    """What SMAC would call if it ran itself."""
    raise AssertionError("SMAC is asked and told")


if __name__ == "__main__":
    main({"smac-multi-fidelity": Smac}, packages=["smac"])
