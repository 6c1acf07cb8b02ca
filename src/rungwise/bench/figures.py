"""The figures of an experiment: what a score costs, and how the ceiling rises. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rungwise.bench.board import curve
from rungwise.bench.budget import Outcome
from rungwise.bench.experiment import Run
from rungwise.bench.statistics import Line, summarize
from rungwise.bench.task import Task
from rungwise.errors import InputError

try:
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter
except ImportError:
    raise InputError("figures need matplotlib: pip install 'rungwise[bench]'") from None

MOMENTS = np.linspace(0, 1, 201)  # of ASHA's time


def draw(runs: Sequence[Run], tasks: Sequence[Task], folder: Path) -> list[Path]:
    """Draw `<suite>.svg` for every suite of `tasks` into `folder`; the files. `runs` may hold those of `hindsight`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for suite in dict.fromkeys(task.suite for task in tasks):
        here = [task for task in tasks if task.suite == suite]
        found = [run for run in runs if run.suite == suite]
        figure = Figure(figsize=(11, 4.2), layout="constrained")
        figure.suptitle(f"{suite}: {len(here)} tasks, {len({run.seed for run in found})} seeds")
        cost, ceiling = figure.subplots(1, 2)
        _cost(cost, summarize(found), here[0].table.mode)
        _ceiling(ceiling, found)
        files.append(folder / f"{suite}.svg")
        with rc_context({"svg.hashsalt": suite}):  # the same runs give the same file
            figure.savefig(files[-1], metadata={"Date": None})
    return files


def draw_curves(found: Sequence[Outcome], folder: Path) -> list[Path]:
    """Draw `budget-<suite>.svg` for every suite into `folder`: mean regret against the budget, a line a method."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for suite in dict.fromkeys(one.suite for one in found):
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        axes = figure.subplots()
        for number, method in enumerate(dict.fromkeys(one.method for one in found if one.suite == suite)):
            line = curve(found, suite, method)
            axes.plot(*zip(*line, strict=True), label=method, color=f"C{number % 10}", ls="-" if number < 10 else "--")
        axes.set_xscale("log")
        _plain(axes.xaxis)
        axes.set_xlabel("budget, in full trainings")
        axes.set_ylabel("regret (% of best to median)")
        axes.set_title(f"{suite}: what a budget gives", fontsize=10)
        axes.legend(fontsize=7, ncols=2)
        files.append(folder / f"budget-{suite}.svg")
        with rc_context({"svg.hashsalt": suite}):
            figure.savefig(files[-1], metadata={"Date": None})
    return files


def _cost(axes: Any, lines: Sequence[Line], mode: str) -> None:
    """Score against time, both relative to ASHA's; any rule must come out better than the line of fixed ceilings."""
    paid = [line for line in lines if line.seconds > 0]
    fixed = sorted(
        (line for line in paid if line.method.startswith("ceiling-") or line.method in ("1-epoch", "asha")),
        key=lambda line: -line.speed_up,
    )
    axes.plot([1 / line.speed_up for line in fixed], [line.difference for line in fixed], color="0.6", zorder=1)
    for line in paid:
        x, y = 1 / line.speed_up, line.difference
        bars = [[y - line.difference_interval[0]], [line.difference_interval[1] - y]]
        marker = {"pasha": "D", "asha": "s", "hindsight": "*"}.get(line.method, "o")
        color = "C3" if line.method.startswith("pasha") else "C2" if line.method == "hindsight" else "0.4"
        axes.errorbar(x, y, yerr=bars, fmt=marker, color=color, markersize=7, elinewidth=0.8)
        below = line.method.startswith("pasha") or line.method.endswith("-epoch")
        axes.annotate(line.method, (x, y), textcoords="offset points", xytext=(5, -11 if below else 5), fontsize=8)
    axes.set_xscale("log")
    _plain(axes.xaxis)
    axes.set_xlabel("time, as a share of ASHA's")
    axes.set_ylabel(f"score − ASHA's ({'more' if mode == 'max' else 'less'} is better)")
    axes.set_title("what a score costs; the line: fixed ceilings", fontsize=10)


def _ceiling(axes: Any, runs: Sequence[Run]) -> None:
    """The ceiling of each PASHA run over time (grey), their geometric mean, and ASHA's."""
    asha = {(run.task, run.seed): run for run in runs if run.method == "asha"}
    for number, method in enumerate(dict.fromkeys(run.method for run in runs if run.method.startswith("pasha"))):
        levels = np.array([_levels(run, asha[run.task, run.seed].seconds) for run in runs if run.method == method])
        color = f"C{3 + number}"
        axes.step(MOMENTS, levels.T[:, :50], where="post", color=color, alpha=0.12, linewidth=1)
        axes.step(MOMENTS, np.exp(np.log(levels).mean(axis=0)), where="post", color=color, linewidth=2, label=method)
    highest = np.exp(np.mean([np.log(run.ceilings[-1][1]) for run in asha.values()]))
    axes.axhline(highest, color="0.4", linestyle="--", linewidth=1, label="asha")
    axes.set_yscale("log")
    _plain(axes.yaxis)
    axes.set_xlabel("time, as a share of ASHA's")
    axes.set_ylabel("ceiling (resource)")
    axes.set_title("ceiling over time; bold: geometric mean", fontsize=10)
    axes.legend(fontsize=8)


def _plain(axis: Any) -> None:
    """Ticks of a logarithmic axis at 1, 2 and 5, written as plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(ScalarFormatter())
    axis.set_minor_formatter(NullFormatter())


def _levels(run: Run, whole: float) -> list[int]:
    """The ceiling of `run` at MOMENTS of `whole` seconds."""
    times = np.array([time for time, _ in run.ceilings])
    places = np.searchsorted(times, MOMENTS * whole, side="right") - 1
    return [run.ceilings[place][1] for place in places]
