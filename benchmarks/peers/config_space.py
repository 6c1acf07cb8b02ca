"""The rows of a table as a space of ConfigSpace, for the peers that search one; versions 0.7 and 1."""

from __future__ import annotations

from typing import Any

from ConfigSpace import (
    CategoricalHyperparameter,
    ConfigurationSpace,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)
from traces import Rows

from rungwise.parameters import Float, Integer, Parameter

MARGIN, ROUNDED = 1e-9, 1e-13  # ConfigSpace rounds a float's range to 13 places, and refuses what is then outside of it


def config_space(rows: Rows, seed: int) -> ConfigurationSpace:
    return ConfigurationSpace(
        seed=seed, space={name: hyperparameter(name, parameter) for name, parameter in rows.parameters.items()}
    )


def hyperparameter(name: str, parameter: Parameter) -> Any:
    if isinstance(parameter, Float):
        low, high = parameter.low, parameter.high
        below, above = (low, high) if parameter.log else (high - low, high - low)
        low, high = low - max(MARGIN * below, ROUNDED), high + max(MARGIN * above, ROUNDED)
        return UniformFloatHyperparameter(name, low, high, log=parameter.log)
    if isinstance(parameter, Integer):
        return UniformIntegerHyperparameter(name, parameter.low, parameter.high, log=parameter.log)
    return CategoricalHyperparameter(name, list(parameter.choices))
