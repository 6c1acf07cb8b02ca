"""What a run can be told: one value, which the function, the command and a settings file are drawn from."""

from __future__ import annotations

import inspect

import pytest

import rungwise as rw
from rungwise.cli import commands
from rungwise.options import RunOptions


def test_tune_has_an_argument_for_each_with_the_same_default() -> None:
    arguments = inspect.signature(rw.tune).parameters
    defaults = {name: arguments[name].default for name in RunOptions.__struct_fields__}
    assert defaults | {"workers": 1} == RunOptions().noted(), "None, so that it is seen whether there are any"


@pytest.mark.parametrize("command", ["tune", "resume"])
def test_the_command_has_an_option_for_each_that_says_what_it_does(command: str) -> None:
    options = {option.name: getattr(option, "help", None) for option in commands.commands[command].params}
    assert set(RunOptions.__struct_fields__) < set(options)
    assert all(options[name] for name in RunOptions.__struct_fields__)


def test_what_is_noted_makes_an_equal_one() -> None:
    options = RunOptions(workers=3, devices=None, refit=81, epoch_seconds=2.5, sync=True)
    assert RunOptions.of(options.noted()).noted() == options.noted()
    assert RunOptions.of({"source": "of a function", "workers": None}) == RunOptions()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"workers": 0}, "workers must be 1 or more, not 0"),
        ({"retries": -1}, "retries must be 0 or more, not -1"),
        ({"job_seconds": 0}, "job_seconds must be above 0, not 0"),
        ({"patience": -1}, "patience must be 0 seconds or more, not -1"),
        ({"refit": 0}, "refit must be True, False, or a resource of 1 or more, not 0"),
        ({"sync": 1}, "sync must be true or false, not 1"),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_one_line(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(rw.InputError) as refused:
        RunOptions(**wrong)  # type: ignore[arg-type]
    assert said in str(refused.value)
