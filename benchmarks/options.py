"""Which parts is each algorithm made of? The tables of docs/algorithms.md, drawn from the objects themselves.

python benchmarks/options.py (algorithms | schedulers | promotions | rankings | searchers)

Ladders and costs are what a scheduler did on simulated curves, what a searcher learns from is tried out, the rest is
read from docstrings and signatures. A test holds the page against what this prints.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import numpy as np

import rungwise as rw
from rungwise.bench.suites import load_suite
from rungwise.core import SCHEDULERS, Scheduler, as_scheduler
from rungwise.core.criteria import RANKINGS
from rungwise.core.promotion import PROMOTIONS
from rungwise.events import Result, Started
from rungwise.search import SEARCHERS, as_searcher

R = 81  # epochs
TRIALS = 256
SIZES = (3, 9, 10, 27, 81, 256)
SPACE = rw.Space({"x": rw.Float(0, 1), "y": rw.Float(0, 1)})


class Algorithm(NamedTuple):
    """An algorithm as it is known, and what gives it: both expressions are Python, evaluated here."""

    known_as: str
    scheduler: str
    searcher: str
    source: str


ALGORITHMS = [
    Algorithm("Successive halving", '"halving"', '"random"', "Jamieson & Talwalkar, AISTATS 2016"),
    Algorithm("Hyperband", '"hyperband"', '"random"', "Li et al., JMLR 2018"),
    Algorithm("ASHA, stopping", '"asha-stopping"', '"random"', "Li et al., MLSys 2020; as in Syne Tune, Ray"),
    Algorithm("ASHA, promotion", '"asha"', '"random"', "Li et al., MLSys 2020, Algorithm 2"),
    Algorithm("Asynchronous Hyperband", '"async-hyperband"', '"random"', "Li et al., MLSys 2020, section 4"),
    Algorithm("PASHA (the default)", '"pasha"', '"random"', "Bohdal et al., ICLR 2023, Algorithm 1"),
    Algorithm(
        "PASHA, another rule", 'rw.PASHA(ranking=rw.ranking("rbo", p=0.9))', '"random"', "Bohdal et al., appendix"
    ),
    Algorithm("PASHA, patient", 'rw.PASHA(promotion="patient")', '"random"', "ours"),
    Algorithm("ASHA, patient", 'rw.ASHA(promotion="patient")', '"random"', "ours"),
    Algorithm("ASHA, breadth first", "rw.ASHA(breadth_first=True)", '"random"', "ours"),
    Algorithm("Asynchronous Hyperband of PASHA", 'rw.AsyncHyperband(ladder="pasha")', '"random"', "ours"),
    Algorithm("MOBSTER", '"asha"', '"gp"', "Klein et al., 2020"),
    Algorithm("PASHA with Bayesian optimization", '"pasha"', '"gp"', "Bohdal et al., section 5"),
    Algorithm("like BOHB", '"hyperband"', '"density"', "Falkner et al., ICML 2018"),
    Algorithm("like BOHB, asynchronous", '"async-hyperband"', '"density"', "the same"),
    Algorithm("Bayesian optimization", '"full"', '"gp"', "Jones et al., 1998"),
    Algorithm("Tree-structured Parzen estimator", '"full"', '"tpe"', "Bergstra et al., NeurIPS 2011"),
    Algorithm("Regularized evolution", '"full"', '"evolution"', "Real et al., AAAI 2019, Algorithm 1"),
    Algorithm("Median stopping", '"median"', '"random"', "Golovin et al., KDD 2017, section 3.2.1"),
    Algorithm("like Vizier", '"median"', '"gp"', "the same"),
    Algorithm("k-epoch baseline, k = 3", "rw.FullTraining(max_resource=3)", '"random"', "Bohdal et al., section 5"),
    Algorithm("Random search", '"full"', '"random"', "Bergstra & Bengio, JMLR 2012"),
    Algorithm("Quasi-random search", '"full"', '"sobol"', "Sobol, 1967; Matoušek, 1998"),
    Algorithm("Grid search", '"full"', '"grid"', ""),
]
JUDGED = {
    "asha": "asynchronously; pauses, promotes",
    "pasha": "asynchronously; pauses, promotes",
    "async-hyperband": "asynchronously; pauses, promotes",
    "asha-stopping": "asynchronously; goes on or stops",
    "median": "asynchronously; goes on or stops",
    "halving": "a rung at a time; pauses, promotes",
    "hyperband": "a rung at a time; pauses, promotes",
    "full": "nobody is",
}
NO_PAUSE = ("goes on or stops", "nobody is")
"""How those end of which a trial never waits while others are started; a test looks whether that is so."""


def scheduler_of(code: str) -> Scheduler:
    """The scheduler that `code` is, with the maximum R if it has none."""
    given: Any = eval(code, {"rw": rw})
    return as_scheduler(given, R)


def unsettled() -> rw.CurveTable:
    """Losses whose order is drawn anew at each resource, and that shrink: a ceiling that can rise will."""
    losses = np.random.default_rng(0).random((600, R)) / np.arange(1, R + 1) ** 2
    return rw.CurveTable(losses, mode="min")


def ladders(scheduler: Scheduler) -> list[list[int]]:
    """The ladders that `scheduler` has, lowest first: for each resource at which trials begin, the longest climb."""
    climbs: dict[int, list[int]] = {}
    for _, trial, _, until in rw.simulate(scheduler, unsettled(), trials=600).jobs:
        climbs.setdefault(trial, []).append(until)
    longest: dict[int, list[int]] = {}
    for climb in climbs.values():
        longest[climb[0]] = max(longest.get(climb[0], []), climb, key=len)
    return [longest[first] for first in sorted(longest)]


def shown(ladder: list[int]) -> str:
    """The levels; of a long ladder the first two and the last."""
    return " ".join(map(str, ladder)) if len(ladder) < 9 else f"{ladder[0]} {ladder[1]} … {ladder[-1]}"


def algorithms() -> None:
    rows = []
    for known_as, scheduler, searcher, source in ALGORITHMS:
        made = scheduler_of(scheduler)
        settings = made.settings()
        ranking = settings.get("ranking") or settings.get("ladder", {}).get("ranking")
        rows.append((
            known_as,
            code(scheduler),
            code(searcher),
            JUDGED[made.name],
            "; ".join(map(shown, ladders(made))),
            ceiling(made),
            f"`{ranking['name']}`" if ranking else "",
            source,
        ))  # fmt: skip
        as_searcher(eval(searcher), SPACE)
    table(f"algorithm|`scheduler=`|`searcher=`|who is judged when|ladder, R = {R}, η = 3|ceiling|ranking|source", rows)


def ceiling(scheduler: Scheduler) -> str:
    """Whether a fresh `scheduler` has all its rungs open."""
    lowest = [ladder.open_level for ladder in getattr(scheduler, "ladders", [scheduler])]
    if all(level == scheduler.max_resource for level in lowest):
        return "fixed"
    return f"rises from {', '.join(map(str, dict.fromkeys(lowest)))}"


def schedulers() -> None:
    task = load_suite("digits-mlp")[0]
    curves = rw.CurveTable(task.table.scores[:, :R], task.table.seconds[:, :R], mode=task.table.mode)
    rows = []
    for name in SCHEDULERS:
        kind = SCHEDULERS.named(name)
        ran = rw.simulate(as_scheduler(name, R), curves, trials=TRIALS)
        cells = (len(ran.jobs), ran.resource_used, ran.max_resource)
        rows.append((f"`{name}`", f"`rw.{kind.__name__}`", sentence(kind), arguments(kind), *cells))
    table("name|class|what it does|arguments|jobs|epochs|most epochs", rows)


def rankings() -> None:
    rows = []
    for name, kind in RANKINGS.items():
        defaults = msgspec.structs.asdict(kind())
        given = ", ".join(f"{argument}={value!r}" for argument, value in defaults.items())
        rows.append((f"`{name}`", code(given), " ".join(str(inspect.getdoc(kind)).split())))
    table("name|arguments|when two rungs agree on the trials in both, in the order T above and P below", rows)


def promotions() -> None:
    rows = []
    for name, kind in PROMOTIONS.items():
        defaults = msgspec.structs.asdict(kind())
        given = ", ".join(f"{argument}={value!r}" for argument, value in defaults.items())
        text, quotas = str(inspect.getdoc(kind)).split("\n\n>>>")[0], [kind().quota(size, 3) for size in SIZES]
        rows.append((f"`{name}`", code(given), " ".join(text.split()), *quotas))
    table("|".join(["name", "arguments", "how many of a rung may go on", *(f"n = {size}" for size in SIZES)]), rows)


CANNOT_DO_WITHOUT: dict[str, dict[str, Any]] = {"screened": {"name": "screened", "proxy": "builtins:len"}}
"""Settings of searchers that have an argument without a default."""


def searchers() -> None:
    rows = []
    for name in SEARCHERS:
        maker = SEARCHERS.named(name)
        kind = type(as_searcher(CANNOT_DO_WITHOUT.get(name, name), SPACE))
        extra = f"`rungwise[{SEARCHERS.extras[name]}]`" if name in SEARCHERS.extras else ""
        shown = sentence(maker), arguments(maker), source(maker)
        rows.append((f"`{name}`", f"`rw.{kind.__name__}`", extra, learns(name), *shown))
    table("name|class|extra|learns from|what it does|arguments|source", rows)


def learns(name: str) -> str:
    """What the proposals of the searcher `name` depend on, tried out."""
    proposals = []
    for configs, sign in ((1, 1), (1, -1), (2, 1)):
        searcher = as_searcher(CANNOT_DO_WITHOUT.get(name, name), SPACE)
        rng = np.random.default_rng(configs)
        for trial in range(30):
            config = SPACE.sample(rng)
            for fact in (Started(trial, config, 1), Result(trial, 1, (sign * config["x"],))):
                searcher.tell(fact)
        proposals.append([searcher.propose([0, number]) for number in range(30, 40)])
    if proposals[0] != proposals[1]:
        return "results"
    return "what was tried" if proposals[0] != proposals[2] else "nothing"


def sentence(kind: Any) -> str:
    """The first sentence of a docstring."""
    return re.split(r"(?<=[.:]) (?=[A-Z⌈])", " ".join(str(inspect.getdoc(kind)).split("\n\n")[0].split()))[0]


def source(maker: Any) -> str:
    """The paper that a module's docstring names first, with its sentence."""
    paragraphs = str(sys.modules[maker.__module__].__doc__).split("\n\n")
    named = [" ".join(paragraph.split()) for paragraph in paragraphs if re.search(r"\b(19|20)\d\d\b", paragraph)]
    return re.split(r"\. (?:Built|May import)", named[0])[0] if named else ""


def arguments(kind: Any) -> str:
    """The arguments after the space with their defaults."""
    taken = [p for p in inspect.signature(kind).parameters.values() if p.name not in ("self", "space")]
    return code(", ".join(
        p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in taken if p.kind is not p.VAR_KEYWORD
    ))  # fmt: skip


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def table(heads: str, rows: Iterable[Iterable[object]]) -> None:
    print(f"| {' | '.join(heads.split('|'))} |")
    print("|---" * len(heads.split("|")) + "|")
    for row in rows:
        print(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |")


if __name__ == "__main__":
    {each.__name__: each for each in (algorithms, schedulers, promotions, rankings, searchers)}[sys.argv[1]]()
