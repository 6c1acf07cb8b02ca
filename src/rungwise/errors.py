"""What did the user mean? Names of other libraries and misspellings, answered with ours."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar


class InputError(ValueError, TypeError):
    """An argument or input is wrong; the message says what was given, what is wanted, and what was probably meant.

    It is both a `ValueError` and a `TypeError`, so you can catch either.
    """


P = ParamSpec("P")
T = TypeVar("T")

ELSEWHERE = {  # what users of Ray Tune, Syne Tune, Optuna, Hyperband and scikit-learn will type
    "grace_period": "min_resource",
    "min_t": "min_resource",
    "min_budget": "min_resource",
    "max_t": "max_resource",
    "max_budget": "max_resource",
    "max_epochs": "max_resource",
    "eta": "reduction_factor",
    "direction": "mode",
    "n_trials": "trials",
    "num_samples": "trials",
    "n_jobs": "workers",
    "n_workers": "workers",
    "timeout": "seconds",
    "storage": "path",
    "maximize": "max",
    "maximise": "max",
    "minimize": "min",
    "minimise": "min",
}

OF_A_SCHEDULER = ("max_resource", "min_resource", "reduction_factor", "promotion", "breadth_first", "ranking")


def suggestion(name: str, known: Iterable[str]) -> str:
    """'; did you mean 'x'?' for the known name nearest to `name`, else the names there are."""
    known = list(known)
    meant = ELSEWHERE.get(name)
    if meant not in known:
        close = difflib.get_close_matches(name, known, n=1)
        meant = close[0] if close else None
    if meant is not None:
        return f"; did you mean {meant!r}?"
    return f"; choose from {', '.join(map(repr, known))}" if known else ""


def our_names(**also: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a public callable: an unknown keyword is answered with the one that was meant.

    `also` has other keywords that are taken for ours: `our_names(study="path")` lets `study=` stand for `path=`.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        parameters = inspect.signature(function).parameters.values()
        wanted = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
        known = [name for name in inspect.signature(function).parameters if name != "self"]
        shown = function.__qualname__.removesuffix(".__init__")

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> T:
            for name in also.keys() & kwargs.keys():
                if (ours := also[name]) in kwargs:
                    raise InputError(f"{shown} got both {ours}= and {name}=, which mean the same; give one")
                kwargs[ours] = kwargs.pop(name)
            for name in kwargs:
                if name not in known:
                    theirs = ELSEWHERE.get(name, name)
                    if theirs in OF_A_SCHEDULER and "scheduler" in known:
                        raise InputError(
                            f"{shown} has no argument {name!r}; it is the scheduler's: rw.PASHA({theirs}=…)"
                        )
                    raise InputError(f"{shown} has no argument {name!r}{suggestion(name, known)}")
            for name in wanted:
                if name not in kwargs:
                    raise InputError(f"{shown} needs {name}=…")
            return function(*args, **kwargs)

        return checked

    return decorate
