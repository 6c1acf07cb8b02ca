"""Figures of a study, in Plotly (`pip install 'rungwise[plot]'`), each with a caption in words.

Here are those that only studies with rungs have.

learning_curves   what each trial reported, colored by the rung it trained to, with a mark where it paused
ladder            who came to which rung when, how they ranked there, and who went up
ceiling           how far anyone was allowed, ε, and what decided each rise
ranks             places from rung to rung, with those that the noise could exchange
cost              the best score against the resource used
slots             who trained when, what waited, and what was lost
cells             the cells of the best trials, drawn

Each takes a study, whether it runs, has ended, or was opened to look at, and returns a `plotly.graph_objects.Figure`.
`dark=True` is for a dark page. With several metrics, `metric=` names the one whose scores are shown. Where there is
nothing to draw, the figure says why. `study.plot()` gives four of them at once. `optuna` draws those of Optuna.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rungwise.errors import InputError, suggestion
from rungwise.parts import library
from rungwise.plot import bests, curves, draw, images, places, rises, seats, usage
from rungwise.plot.paper import Figures, plotly, titled
from rungwise.plot.studied import Studied
from rungwise.validation import whole
from rungwise.words import counted

OPTUNA = (
    "contour", "edf", "intermediate_values", "optimization_history", "parallel_coordinate", "param_importances",
    "pareto_front", "rank", "slice", "timeline",
)  # fmt: skip
"""The names of Optuna's figures that `optuna` draws."""

__all__ = [
    "FIGURES",
    "OPTUNA",
    "Figures",
    "ceiling",
    "cells",
    "cost",
    "figures",
    "ladder",
    "learning_curves",
    "optuna",
    "ranks",
    "slots",
]

FIGURES = ("learning_curves", "ladder", "ceiling", "ranks", "cost", "slots", "cells")
"""The names of the figures."""


def learning_curves(study: Any, *, top: int = 20, metric: str | None = None, dark: bool = False) -> Any:
    """What the `top` best trials reported, over the resource; at most 200 of the others are drawn in gray."""
    studied = _studied(study, "learning_curves", metric)
    found = curves.curves(studied, _some(top))
    return draw.learning_curves(studied, found, curves.caption(studied, found), dark)


def ladder(study: Any, *, top: int = 300, metric: str | None = None, dark: bool = False) -> Any:
    """Who came to which rung when; of those that did not go up, the `top` best of each rung."""
    studied = _studied(study, "ladder", metric)
    found = seats.ladder(studied, _some(top))
    return draw.ladder(studied, found, seats.caption(studied, found), dark)


def ceiling(study: Any, *, dark: bool = False) -> Any:
    """The ceiling over the resource used, what decided each rise, and ε, the noise between the top two rungs."""
    studied = _studied(study, "ceiling")
    found = rises.ceiling(studied)
    return draw.ceiling(studied, found, rises.caption(studied, found), dark)


def ranks(study: Any, *, top: int = 12, metric: str | None = None, dark: bool = False) -> Any:
    """The places of the `top` best trials at the highest rung, from rung to rung; a bar where ε makes them equal."""
    studied = _studied(study, "ranks", metric)
    found = places.ranks(studied, _some(top))
    return draw.ranks(studied, found, places.caption(studied, found), dark)


def cost(study: Any, *, metric: str | None = None, dark: bool = False) -> Any:
    """The best report so far, and the answer of the study, over the resource used."""
    studied = _studied(study, "cost", metric)
    found = bests.cost(studied)
    return draw.cost(studied, found, bests.caption(studied, found), dark)


def slots(study: Any, *, dark: bool = False) -> Any:
    """Who trained when. A slot is a line of its own for jobs that overlap: no fact says on which machine a job ran."""
    studied = _studied(study, "slots")
    found = usage.use(studied)
    return draw.slots(studied, found, usage.caption(studied, found), dark)


def cells(study: Any, *, top: int = 6, metric: str | None = None, dark: bool = False) -> Any:
    """The cells of the `top` best trials, where the space has a `rw.Cell`; `InputError` if not."""
    studied = _studied(study, "cells", metric)
    found = images.cells(studied, _some(top))
    return draw.cells(studied, found, images.caption(studied, found), dark)


def optuna(study: Any, name: str, *, at: int, dark: bool = False) -> Any:
    """A figure of Optuna's, one of `OPTUNA`, over the scores at the rung `at`: `optuna(study, "rank", at=27)`.

    Needs `pip install 'rungwise[optuna,plot]'`. For Optuna's own options call its functions yourself:
    `optuna.visualization.plot_rank(optuna.load_study(study_name=None, storage=rw.OptunaStorage(study, at=27)))`.

    Raises `InputError` for another name, a rung that no trial has come to, and a study that Optuna cannot draw so.
    """
    _check(name, OPTUNA)
    studied, what = _studied(study, "optuna"), f"the figure {name}"
    plotly()  # Optuna would say less if it is not there
    optunas, visualization = (library(module, what, "optuna") for module in ("optuna", "optuna.visualization"))
    storage = library("rungwise.optuna_storage", what, "optuna").OptunaStorage(studied.study, at=at)
    seen = optunas.load_study(study_name=storage.name, storage=storage)
    try:
        drawn = getattr(visualization, f"plot_{name}")(seen)
    except (ValueError, RuntimeError) as error:  # too few trials, or one metric where it wants two
        raise InputError(f"Optuna cannot draw {name} at {at}: {error}") from error
    complete = sum(trial.state.name == "COMPLETE" for trial in seen.get_trials(deepcopy=False))
    caption = f"{complete} of {counted(len(studied.state.trials), 'trial')} have a score at {at}."
    titled(drawn, name.replace("_", " ").capitalize(), caption, dark=dark)
    drawn.update_layout(meta={"caption": caption})
    return drawn


def figures(study: Any, *names: str, metric: str | None = None, at: int | None = None, dark: bool = False) -> Figures:
    """The figures of these `names`; without names the four that `Study.plot` gives. `at` is for those of Optuna.

    Raises `InputError` for a name that is in neither `FIGURES` nor `OPTUNA`.
    """
    for name in names:
        _check(name, FIGURES + OPTUNA)
    studied = Studied(study, metric, what="plot")  # which reads the facts once
    drawn = {}
    for name in names or _four(studied):
        if name in FIGURES:
            drawn[name] = globals()[name](studied, dark=dark)
        elif at is None:
            raise InputError(f"{name} is a figure of Optuna's, of the scores at one rung: say which, as in at=27")
        else:
            drawn[name] = optuna(studied, name, at=at, dark=dark)
    return Figures(drawn)


def _check(name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise InputError(f"there is no figure {name!r}{suggestion(name, known)}")


def _four(studied: Studied) -> tuple[str, ...]:
    """The figures that matter; no ceiling where none can rise."""
    return "cost", "learning_curves", "ladder", "ranks" if studied.state.ceilings is None else "ceiling"


def _studied(study: Any, what: str, metric: str | None = None) -> Studied:
    return study if isinstance(study, Studied) else Studied(study, metric, what=what)


def _some(top: int) -> int:
    if whole(top, "top") < 1:
        raise InputError(f"top must be 1 or more, not {top!r}")
    return whole(top, "top")
