"""Several metrics: PASHA over rungs that are ordered by non-dominated sorting; the answer is a Pareto front."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
import rungwise as rw
from rungwise.dominance import ParetoFront
from rungwise.fronts import Fronts

MODE = {"accuracy": "max", "seconds": "min"}
SPACE = {"x": rw.Float(0, 1), "y": rw.Float(0, 1)}
LOSSES = st.tuples(*[st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5])] * 2)


def dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def slow_order(losses: list[tuple[float, ...]]) -> list[int]:
    """Fronts peeled off one by one; in a front by crowding distance, then by the earlier completion."""
    left, order = list(range(len(losses))), []
    while left:
        front = [a for a in left if not any(dominates(losses[b], losses[a]) for b in left)]
        room = dict.fromkeys(front, 0.0)
        for metric in range(len(losses[0])):
            line = sorted(front, key=lambda a: losses[a][metric])
            span = losses[line[-1]][metric] - losses[line[0]][metric]
            room[line[0]] = room[line[-1]] = math.inf
            for before, here, after in zip(line, line[1:], line[2:], strict=False):
                if span:
                    room[here] += (losses[after][metric] - losses[before][metric]) / span
        order += sorted(front, key=lambda a: -room[a])
        left = [a for a in left if a not in front]
    return order


@given(st.lists(LOSSES, max_size=14))
def test_non_dominated_sorting(losses: list[tuple[float, ...]]) -> None:
    fronts, best = Fronts(2), ParetoFront()
    for place, each in enumerate(losses):
        fronts.add(each, place)
        best.add(place, each)
        assert fronts.order().tolist() == slow_order(losses[: place + 1])
    assert best.trials == [a for a in range(len(losses)) if not any(dominates(b, losses[a]) for b in losses)]


class Slow:
    """What PASHA over several metrics does next, from all that has happened (losses; () for a failure)."""

    def __init__(self, levels: list[int], eta: float, epsilon: float | str) -> None:
        self.levels, self.eta, self.epsilon = levels, eta, epsilon
        self.top = min(1, len(levels) - 1)
        self.ends: list[tuple[int, int, tuple[float, ...]]] = []
        self.reports: list[tuple[int, int, tuple[float, ...]]] = []
        self.promoted: set[tuple[int, int]] = set()
        self.started = 0
        self.noise = [0.0, 0.0]

    def ranked(self, rung: int, among: set[int] | None = None) -> list[int]:
        done = [(t, losses) for t, k, losses in self.ends if k == rung and (among is None or t in among)]
        whole = [end for end in done if end[1]]
        return [whole[i][0] for i in slow_order([losses for _, losses in whole])] + [
            t for t, losses in done if not losses
        ]

    def losses(self, trial: int, rung: int) -> tuple[float, ...]:
        return next(losses for t, k, losses in self.ends if (t, k) == (trial, rung))

    def move(self) -> tuple[int, int] | None:
        for k in range(self.top - 1, -1, -1):
            order = self.ranked(k)
            for trial in order[: math.floor(len(order) / self.eta)]:
                if (trial, k) not in self.promoted and self.losses(trial, k):
                    return trial, k
        return None

    def check(self, rung: int) -> bool:
        """Whether the ceiling rises now that a job has completed `rung`."""
        if rung != self.top or rung == len(self.levels) - 1:
            return False
        worlds = [
            reference.World(
                self.levels, self.eta, [(t, r, losses[m]) for t, r, losses in self.reports], started=self.started
            )
            for m in range(2)
        ]
        self.noise = [world.epsilon(rung, last) for world, last in zip(worlds, self.noise, strict=True)]
        now = self.ranked(rung)
        before = self.ranked(rung - 1, among=set(now))
        for here, there in zip(now, before, strict=True):
            a, b = self.losses(here, rung - 1), self.losses(there, rung - 1)
            for m in range(2):
                allowed = self.noise[m] if self.epsilon == "auto" else self.epsilon
                if abs(a[m] - b[m]) > allowed:
                    return True
        return False


@settings(max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    trials=st.integers(1, 30),
    noise=st.sampled_from([0.0, 0.05, 0.3]),
    epsilon=st.sampled_from(["auto", 0.0, 0.1]),
    algorithm=st.sampled_from(["pasha", "asha"]),
)
def test_every_decision_is_that_of_a_slow_reference(
    seed: int, trials: int, noise: float, epsilon: float | str, algorithm: str
) -> None:
    rng = np.random.default_rng(seed)
    most = int(rng.choice([1, 3, 4, 9, 27]))
    eta = float(rng.choice([2, 3]))
    at = np.arange(1, most + 1)
    curves = (
        rng.random((trials, 1, 2))
        + rng.random((trials, 1, 2)) / np.sqrt(at)[:, None]
        + noise * rng.normal(size=(trials, most, 2))
    )
    curves = np.round(curves, 1) if rng.random() < 0.3 else curves
    curves[rng.random(curves.shape) < rng.choice([0, 0.03])] = np.nan
    scheduler = (
        rw.ASHA(max_resource=most, reduction_factor=eta)
        if algorithm == "asha"
        else rw.PASHA(max_resource=most, reduction_factor=eta, ranking=rw.SoftRanking(epsilon))
    )
    study = rw.Study(SPACE, scheduler, mode=MODE)
    study.extend(trials=trials)
    slow = Slow(reference.ladder(1, eta, most), eta, epsilon)
    if algorithm == "asha":
        slow.top = len(slow.levels) - 1
    jobs: list[list[int]] = []
    while True:
        while len(jobs) < 3 and (job := study.ask()) is not None:
            found = slow.move()
            if job.start:
                trial, rung = found
                assert (trial, slow.levels[rung + 1]) == (job.trial, job.until)
                slow.promoted.add((trial, rung))
            else:
                assert found is None
                assert (job.trial, job.until) == (slow.started, slow.levels[0])
                slow.started += 1
            jobs.append([job.trial, job.start, job.until])
        if not jobs:
            break
        job = jobs[int(rng.integers(len(jobs)))]
        trial, done, until = job
        row = curves[trial, done]
        study.report(trial, done + 1, {"accuracy": -row[0], "seconds": row[1]})
        losses = tuple(float(v) if math.isfinite(v) else math.inf for v in row)
        slow.reports.append((trial, done + 1, losses))
        job[1] += 1
        if job[1] == until:
            jobs.remove(job)
            rung = slow.levels.index(until)
            slow.ends.append((trial, rung, losses if all(map(math.isfinite, losses)) else ()))
            if algorithm == "pasha" and slow.check(rung):
                slow.top += 1
            assert study.scheduler.open_level == slow.levels[slow.top]
    assert slow.move() is None
    assert slow.started == trials
    ends = [end for end in slow.ends if end[2]]
    if ends:
        highest = max(k for _, k, _ in ends)
        there = [(t, losses) for t, k, losses in ends if k == highest]
        assert [one.number for one in study.front] == [
            t for t, a in there if not any(dominates(b, a) for _, b in there)
        ]


def train(trial: rw.Trial) -> None:
    for epoch in trial:
        trial.report({"accuracy": 1 - trial.config["x"] - 1 / epoch, "seconds": epoch * (1.1 - trial.config["x"])})
    trial.save(trial.until)


def test_a_study_of_two_metrics_for_real_is_resumed_and_exported(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    arguments = {"mode": MODE, "scheduler": rw.PASHA(max_resource=9), "workers": 2, "study": path, "quiet": True}
    rw.tune(train, SPACE, trials=8, **arguments)
    study = rw.tune(train, SPACE, trials=14, **arguments)
    assert len(study.trials) == 14
    assert study.finished
    top = study.front[0].resource
    there = {t.number: t.reports[top] for t in study.trials if top in t.reports}
    for one in study.front:
        assert one.scores == there[one.number]
        assert not any(
            dominates((-s["accuracy"], s["seconds"]), (-one.scores["accuracy"], one.scores["seconds"]))
            for s in there.values()
        )
        assert one.load() == top
    again = rw.Study.open(path)
    assert again.front == study.front
    assert "on the Pareto front" in again.explain()
    assert set(again.rows()[0]) >= {"score.accuracy", "score.seconds"}
    command = [str(Path(sys.executable).with_name("rungwise"))]
    told = subprocess.run([*command, "best", str(path), "--json"], capture_output=True, text=True, check=True).stdout
    assert [one["trial"] for one in json.loads(told)] == [one.number for one in study.front]
    subprocess.run([*command, "status", str(path)], capture_output=True, check=True)
    subprocess.run([*command, "export", str(path), str(tmp_path / "out.csv")], capture_output=True, check=True)
    assert "score.accuracy" in (tmp_path / "out.csv").read_text()


@pytest.mark.parametrize("scheduler", ["asha", "pasha", "async-hyperband", "full"])
@pytest.mark.parametrize(
    "searcher",
    [
        "random",
        "grid",
        "density",
        "evolution",
        pytest.param("sobol", marks=pytest.mark.needs("scipy")),
        pytest.param("tpe", marks=pytest.mark.needs("optuna")),
        pytest.param("gp", marks=pytest.mark.needs("botorch", "torch")),
    ],
)
def test_with_every_searcher(scheduler: str, searcher: str, tmp_path: Path) -> None:
    """To the end, taken up again after each third job as if the driver had died: the same trials."""
    ladder = {"name": scheduler, "max_resource": 4}
    given = {"name": searcher, **({"initial": 4} if searcher == "gp" else {})}

    def run(path: Path, breaks: bool) -> list[tuple[dict, dict]]:
        jobs = 0
        study = rw.Study(SPACE, ladder, given, mode=MODE, path=path)
        study.extend(trials=10)
        while (job := study.ask()) is not None:
            x, y = job.config["x"], job.config["y"]
            for resource in range(max(job.reported, job.start) + 1, job.until + 1):
                study.report(job.trial, resource, {"accuracy": x + y - 1 / resource, "seconds": x * resource})
            jobs += 1
            if breaks and jobs % 3 == 0:
                study.ask()
                study.close()
                study = rw.Study(SPACE, ladder, given, mode=MODE, path=path)
        assert study.finished
        study.close()
        return [(record.config, record.reports) for record in study.trials]

    plain = run(tmp_path / "plain.db", breaks=False)
    assert len(plain) == 10
    assert run(tmp_path / "broken.db", breaks=True) == plain


def asked(**changes: object) -> rw.Study:
    return rw.Study(SPACE, mode=MODE, **changes)


def reported(score: object, mode: object = None) -> None:
    study = rw.Study(SPACE, mode=mode or MODE)
    study.report(study.ask().trial, 1, score)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: reported(0.5), "this study has several metrics: report {'accuracy': …, 'seconds': …}, not 0.5"),
        (lambda: reported({"accuracy": 1}), "report {'accuracy': …, 'seconds': …}, not {'accuracy': 1.0}"),
        (lambda: reported({"accuracy": 1, "seconds": 2, "loss": 3}), "not {'accuracy': 1.0, 'seconds': 2.0, 'loss': 3.0}"),
        (lambda: reported({"accuracy": "1", "seconds": 2}), "a score must be one number, not '1'"),
        (lambda: reported({"accuracy": 1}, "max"), "a score must be one number: this study has one metric"),
        (lambda: rw.Study(SPACE, mode={"accuracy": "maximize", "seconds": "min"}), "did you mean 'max'?"),
        (lambda: rw.Study(SPACE, mode={"accuracy": "max"}), "a dict of two or more metrics"),
        (lambda: asked(scheduler={"name": "hyperband", "max_resource": 9}), "the scheduler 'hyperband' takes one metric"),
        (lambda: asked().extend(target=0.5), "target=0.5 is for one metric"),
        (lambda: rw.tune(train, SPACE, mode=MODE, trials=3, refit=9), "refit=9 needs one best trial"),
        (lambda: rw.CurveTable.from_study(asked(), 9), "a table of curves has one metric"),
    ],
)  # fmt: skip
def test_wrong_input(wrong, said: str) -> None:
    with pytest.raises(rw.InputError) as error:
        wrong()
    assert said in str(error.value)


def test_a_ranking_of_one_metric_is_refused_when_it_is_first_asked() -> None:
    study = rw.Study(SPACE, rw.PASHA(ranking="rbo"), mode=MODE)

    def go_on() -> None:
        for _ in range(30):
            job = study.ask()
            up = job.trial if job.until == 1 else -job.trial
            study.report(job.trial, job.until, {"accuracy": up, "seconds": 1})

    with pytest.raises(
        rw.InputError, match="with several metrics PASHA's ranking must be 'soft' or 'direct', not 'rbo'"
    ):
        go_on()


def bad(trial: rw.Trial) -> None:
    for _ in trial:
        trial.report(0.5)


def test_training_that_reports_one_number_fails_with_the_reason() -> None:
    with pytest.raises(rw.StudyError, match="this study has several metrics: report"):
        rw.tune(bad, SPACE, mode=MODE, trials=10, quiet=True)
