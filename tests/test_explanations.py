"""What `explain` says of three recorded studies, kept in `golden/explained`, and each sentence held against the log.

`python tests/test_explanations.py` records them anew, and writes what is said; look at the difference. The figures are
worked out once more from the facts, as slowly as in `reference.World`, which shares no line with the library.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import rungwise as rw
from reference import World, ladder
from rungwise.cli import commands
from rungwise.events import Completed, Fact, Failed, Promoted, Raised, Reported, Started

FOLDER = Path(__file__).parent / "golden" / "explained"
SPACE = {"x": rw.Float(0, 1)}
STUDIES = {
    "pasha": (rw.PASHA(max_resource=81), "max", 40),
    "asha": (rw.ASHA(max_resource=27), "min", 30),
    "under-way": (rw.PASHA(max_resource=243), "min", 60),
}
SEEDS = {"pasha": 5, "asha": 6, "under-way": 9}


def record(name: str) -> None:
    scheduler, mode, trials = STUDIES[name]
    path = FOLDER / f"{name}.db"
    path.unlink(missing_ok=True)
    rng, sign = np.random.default_rng(SEEDS[name]), 1 if mode == "min" else -1
    with rw.Study(SPACE, scheduler, mode=mode, seed=SEEDS[name], path=path) as study:
        study.extend(trials=trials)
        jobs: list[rw.Job] = []
        while True:
            while len(jobs) < 3 and (job := study.ask()) is not None:
                jobs.append(job)
            if not jobs or (name == "under-way" and len(study.trials) == 50):
                break
            job = jobs.pop(int(rng.integers(len(jobs))))
            if job.trial % 11 == 4:
                study.fail(job.trial, "out of memory" if job.trial % 2 else "no layer")
                continue
            for at in range(job.start + 1, job.until + 1):
                loss = (job.config["x"] - 0.3) ** 2 + 0.6 / at + float(rng.normal(0, 0.05 / at))
                diverged = name == "asha" and job.trial % 13 == 6
                study.report(job.trial, at, math.nan if diverged else sign * round(loss, 5))
    for ending in (".db.lock", ".db-wal", ".db-shm"):
        path.with_name(f"{name}{ending}").unlink(missing_ok=True)


def said(study: rw.Study) -> str:
    return "\n\n".join([study.explain(), *(study.explain(trial.number) for trial in study.trials)]) + "\n"


def opened(name: str, folder: Path) -> rw.Study:
    shutil.copy(FOLDER / f"{name}.db", folder / f"{name}.db")
    return rw.Study.open(folder / f"{name}.db")


@pytest.mark.parametrize("name", STUDIES)
def test_what_is_said_is_what_is_kept(name: str, tmp_path: Path) -> None:
    assert said(opened(name, tmp_path)) == (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


# -- the same once more --------------------------------------------------------------------------------


def four(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "not finite"


class Checked:
    """The facts of a study, and the world as it was after the first `count` of them."""

    def __init__(self, name: str, facts: list[Fact]) -> None:
        scheduler, self.mode, self.total = STUDIES[name]
        self.kind, self.most, self.facts = scheduler.name, scheduler.max_resource, facts
        self.levels = ladder(1, 3, self.most)
        self.sign = 1 if self.mode == "min" else -1
        self.world = self.after(len(facts))

    def after(self, count: int) -> World:
        world, until, last = World(self.levels, 3), {}, {}
        for fact in self.facts[:count]:
            match fact:
                case Started(trial=trial) | Promoted(trial=trial):
                    if isinstance(fact, Started):
                        world.started += 1
                    else:
                        world.promoted.append((trial, self.levels.index(fact.until) - 1))
                    until[trial] = self.levels.index(fact.until)
                case Reported(trial=trial):
                    last[trial] = math.inf if fact.score is None else self.sign * fact.score
                    world.reports.append((trial, fact.resource, last[trial]))
                case Completed(trial=trial):
                    world.completions.append((trial, until[trial], last[trial]))
                case Failed(trial=trial):
                    world.completions.append((trial, until[trial], math.inf))
        return world

    @cached_property
    def epsilons(self) -> list[float]:
        """At each rise, and now."""
        found, top = [], 1
        for count, fact in enumerate(self.facts):
            if isinstance(fact, Raised):
                found.append(self.after(count).epsilon(top, found[-1] if found else 0.0))
                top += 1
        return [*found, self.world.epsilon(top, found[-1] if found else 0.0)]

    def places(self, world: World, top: int) -> list[tuple[float, int, int, int]]:
        """(how far apart, place, who stands there, who stood there below) where the rankings differ; worst first."""
        now = world.ranked(top)
        before = world.ranked(top - 1, among=now)
        pairs = [(place, *pair) for place, pair in enumerate(zip(now, before, strict=True)) if pair[0] != pair[1]]
        rows = [(abs(world.loss(t, top - 1) - world.loss(u, top - 1)), place, t, u) for place, t, u in pairs]
        return sorted(rows, key=lambda row: (-row[0], row[1]))

    def score(self, trial: int, rung: int, world: World | None = None) -> str:
        return four(self.sign * (world or self.world).loss(trial, rung))

    @property
    def top(self) -> int:
        return 1 + sum(isinstance(fact, Raised) for fact in self.facts)

    @property
    def failed(self) -> list[tuple[int, str]]:
        return [(fact.trial, fact.reason) for fact in self.facts if isinstance(fact, Failed)]

    # -- the sentences about the study --

    def overall(self) -> list[str]:
        lines = [] if self.kind == "asha" else self.of_the_ceiling()
        if self.kind == "asha":
            lines.append(f"any trial may train to {self.most} (asha has no ceiling that rises)")
        failed = sorted(self.failed)  # by trial
        lines.append(
            f"{len(failed)} of {self.world.started} trials failed, the last (trial {failed[-1][0]}): {failed[-1][1]}"
        )
        kinds = {reason: [trial for trial, why in failed if why == reason] for _, reason in failed}
        for reason, trials in (
            sorted(kinds.items(), key=lambda kind: (-len(kind[1]), kind[1])) if len(kinds) > 1 else []
        ):
            lines.append(f"  {len(trials)} like trial {trials[0]}: {reason}")
        best = self.world.best()
        assert best is not None
        rung = max(k for trial, k, loss in self.world.completions if loss < math.inf)
        lines.append(
            f"trial {best} is the best: {self.score(best, rung)} at {self.levels[rung]}, the highest rung with a result"
        )
        return lines + self.contenders(best, rung)

    def of_the_ceiling(self) -> list[str]:
        lines, top = [], 1
        for count, fact in enumerate(self.facts):
            if not isinstance(fact, Raised):
                continue
            world, epsilon = self.after(count), self.epsilons[top - 1]
            below, level, above = self.levels[top - 1 : top + 2]
            wrong = [row for row in self.places(world, top) if row[0] > epsilon]
            lines.append(
                f"the ceiling rose from {level} to {above}: the rankings at {below} and {level} differ in {len(wrong)} "
                f"place{'s' if len(wrong) > 1 else ''}; they differ by up to {four(wrong[0][0])}, and noise explains only ε = {four(epsilon)}"
            )
            for _, place, trial, other in wrong[:10]:
                (a, b), (c, d) = ([self.score(t, k, world) for k in (top, top - 1)] for t in (trial, other))
                lines.append(
                    f"  place {place + 1}: trial {trial} ({a} at {level}, {b} at {below}) took the place of trial "
                    f"{other} ({c}, {d})"
                )
            if len(wrong) > 10:
                lines.append(f"  … and {len(wrong) - 10} more")
            top += 1
        if top == len(self.levels) - 1:
            return [*lines, f"the ceiling is {self.most}, the max_resource, and cannot rise further"]
        below, level = self.levels[top - 1 : top + 1]
        lines.append(
            f"the ceiling is now {level}: since its last rise the rankings of the top two rungs have always agreed"
        )
        differ, count, epsilon = self.places(self.world, top), len(self.world.ranked(top)), self.epsilons[-1]
        if not differ:
            lines.append(
                f"  it is not near to rising: the {count} trials at {level} stand in the same order at {below}; "
                f"ε is {four(epsilon)}"
            )
            return lines
        gap, place, trial, other = differ[0]
        (a, b), (c, d) = ([self.score(t, k) for k in (top, top - 1)] for t in (trial, other))
        assert gap <= epsilon, "else it would have risen"
        lines.append(
            f"  of the {count} trials at {level}, {len(differ)} have another place than at {below}; furthest apart, at "
            f"place {place + 1}: trial {trial} ({a} at {level}, {b} at {below}) in that of trial {other} ({c}, {d}); "
            f"they are {four(gap)} apart at {below}, and it rises when that is more than ε = {four(epsilon)}, "
            f"{100 * gap / epsilon:.0f} % of it"
        )
        return lines

    def contenders(self, best: int, rung: int) -> list[str]:
        world, failed = self.world, {trial for trial, _ in self.failed}
        changes: list[float] = []
        low = rung

        def gap(trial: int, k: int) -> float:
            return world.loss(trial, k) - world.loss(best, k)

        def there(k: int) -> list[int]:
            return [t for t in world.ranked(k) if t not in failed and t != best and world.loss(t, k) < math.inf]

        while low > 0 and len(changes) < 5:
            low -= 1
            of_those = [t for t in there(low + 1) if t in there(rung - 1)]  # who did not come within a rung of it
            changes += [abs(gap(t, low + 1) - gap(t, low)) for t in of_those]
        swing = float(np.percentile(changes, 90))
        below, level = self.levels[rung - 1 : rung + 1]
        steps = len(self.levels) - 1 - rung
        epsilon = None if self.kind == "asha" else self.epsilons[-1]
        here, down = (max(swing * (max(1, steps) + more), epsilon or 0.0) for more in (0, 1))
        at_level, at_below = there(rung), [t for t in there(rung - 1) if t not in there(rung)]
        near = [(gap(t, rung), t) for t in at_level if gap(t, rung) <= here + 1e-9]
        near_below = [(gap(t, rung - 1), t) for t in at_below if gap(t, rung - 1) <= down + 1e-9]
        others = [t for _, t in [*sorted(near), *sorted(near_below)]]
        field = len(at_level) + len(at_below) + 1
        assert others
        lines = [
            f"of the {field} trials that completed {below}, {len(others)} cannot be told apart from trial {best}: "
            f"{self.named(others)}"
        ]
        measured = (
            f"  they are within {four(here)} of it at {level}, or {four(down)} at {below}: from rung to rung 9 in 10 "
            f"gaps to it changed by no more than {four(swing)} ({len(changes)} changes since {self.levels[low]})"
        )
        if steps:
            rungs = "1 rung" if steps == 1 else f"{steps} rungs"
            measured += f", and {rungs} up to {self.most} {'is' if steps == 1 else 'are'} to come"
        lines.append(measured + ("" if epsilon is None else f"; PASHA's ε is {four(epsilon)}"))
        until = rung if near_below else rung + 1
        running = self.running()
        lacking = sorted(t for t in [best, *others] if t not in running and self.rung_of(t) < until)
        if until < len(self.levels) and lacking:
            units = sum(self.levels[until] - self.levels[self.rung_of(t)] for t in lacking)
            lines.append(
                f"  the cheapest run that could separate them: trial{'s' if len(lacking) > 1 else ''} "
                f"{self.named(lacking)} to {self.levels[until]}, {units} units of resource"
            )
        return lines

    @staticmethod
    def named(trials: list[int]) -> str:
        more = f" and {len(trials) - 10} more" if len(trials) > 10 else ""
        return ", ".join(map(str, trials[:10])) + more

    # -- the sentences about a trial --

    def running(self) -> dict[int, tuple[int, int]]:
        jobs: dict[int, tuple[int, int]] = {}
        for fact in self.facts:
            if isinstance(fact, Started):
                jobs[fact.trial] = 0, fact.until
            elif isinstance(fact, Promoted):
                jobs[fact.trial] = self.levels[self.levels.index(fact.until) - 1], fact.until
            elif isinstance(fact, Completed | Failed):
                del jobs[fact.trial]
        return jobs

    def rung_of(self, trial: int) -> int:
        return max(k for t, k, _ in self.world.completions if t == trial)

    def of_trial(self, trial: int) -> list[str]:
        (config,) = (fact.config for fact in self.facts if isinstance(fact, Started) and fact.trial == trial)
        lines = [f'trial {trial}: {{"x": {config["x"]!r}}}']
        for count, fact in enumerate(self.facts):
            if isinstance(fact, Promoted) and fact.trial == trial:
                world, rung = self.after(count), self.levels.index(fact.until) - 1
                order = world.ranked(rung)
                lines.append(
                    f"it was promoted to {fact.until}: it was number {order.index(trial) + 1} of {len(order)} in its "
                    f"rung, of which {len(order) // 3} may go on"
                )
        if trial in self.running():
            start, until = self.running()[trial]
            return [*lines, f"it trains from {start} to {until}"]
        if (why := dict(self.failed).get(trial)) is not None:
            done = [k for t, k, _ in self.world.completions if t == trial][:-1]
            beyond = self.levels[done[-1]] if done else 0
            return [*lines, f"it failed beyond {beyond}: {why}; rungwise retry gives it another chance"]
        rung = self.rung_of(trial)
        order, level = self.world.ranked(rung), self.levels[rung]
        rank, size, quota = order.index(trial) + 1, len(order), len(order) // 3
        lines.append(f"it has completed {level} with {self.score(trial, rung)}: number {rank} of {size} there")
        if math.isinf(self.world.loss(trial, rung)):
            return [*lines, "it stays there: a score that is not finite is never promoted"]
        return [*lines, self.what_next(trial, rung, rank, size, quota)]

    def what_next(self, trial: int, rung: int, rank: int, size: int, quota: int) -> str:
        if rung == len(self.levels) - 1:
            return f"it stays there: {self.most} is max_resource"
        who = ["nobody", "only the first"][quota] if quota < 2 else f"the first {quota}"
        may = f"{who} may go on to {self.levels[rung + 1]}"
        if self.kind == "pasha" and rung == self.top:
            also = ", it among them" if rank <= quota else ""
            return f"it waits for the ceiling, {self.levels[rung]}, to rise: then {may}{also}"
        if rank <= quota:
            return f"{may}, it among them: it goes on when its turn comes"
        more = next(n for n in range(1, 10**6) if (size + n) // 3 >= rank)
        text = (
            f"{may}: it would be promoted after {more} more result{'s' if more > 1 else ''} there, none of them better"
        )
        if quota:
            worst = self.world.ranked(rung)[quota - 1]
            text += f"; a score better than {self.score(worst, rung)} would have been enough"
        if not self.can_still(trial, rung):
            text += f". That cannot be with {self.total} trials: it stays there"
        return text

    def can_still(self, trial: int, rung: int) -> bool:
        """Whether it goes on if all that may yet come to its rung do, and are worse."""
        world, most = self.world, self.total
        for k in range(rung + 1):
            order = world.ranked(k)
            paused = [t for t in order[: most // 3] if (t, k) not in world.promoted and world.loss(t, k) < math.inf]
            if k == rung:
                return trial in paused
            on_the_way = sum(until == self.levels[k + 1] for _, until in self.running().values())
            most = len(world.ranked(k + 1)) + on_the_way + len(paused) + most - len(order)
        raise AssertionError


@pytest.mark.parametrize("name", STUDIES)
def test_each_sentence_is_what_the_log_says(name: str, tmp_path: Path) -> None:
    checked = Checked(name, [fact for _, fact in opened(name, tmp_path).facts()])
    overall, *trials = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n\n")
    assert overall.splitlines() == checked.overall()
    assert len(trials) == checked.world.started
    for number, text in enumerate(trials):
        assert text.splitlines() == checked.of_trial(number)


def test_the_three_studies_have_all_kinds_of_sentences() -> None:
    everything = "\n".join((FOLDER / f"{name}.txt").read_text(encoding="utf-8") for name in STUDIES)
    wanted = [
        r"the ceiling rose", r"% of it", r"cannot be told apart", r"the cheapest run", r"it trains from",
        r"it failed beyond", r"never promoted", r"is max_resource", r"waits for the ceiling", r"would have been enough",
        r"That cannot be with", r"of which \d+ may go on",
    ]  # fmt: skip
    for pattern in wanted:
        assert re.search(pattern, everything), pattern


@pytest.fixture(scope="module")
def table() -> rw.CurveTable:
    rng = np.random.default_rng(3)
    losses = np.linspace(0.1, 1, 27)[:, None] + 1 / np.arange(1, 28) + rng.normal(0, 0.06, (27, 27))
    return rw.CurveTable(losses, mode="min")


@pytest.mark.parametrize(
    "scheduler", ["asha", "pasha", "async-hyperband", "halving", "hyperband", "asha-stopping", "median"]
)
def test_of_every_scheduler_all_can_be_explained(scheduler: str, table: rw.CurveTable) -> None:
    study = rw.simulate(scheduler, table, trials=27, workers=2).study
    for record in study.trials:
        first, *_, last = study.explain(record.number).splitlines()
        assert first.startswith(f"trial {record.number}: ")
        assert last
    if (found := study.contenders()) is None:
        assert scheduler == "median"
        return
    assert found.numbers[0] == study.best.number
    assert f"cannot be told apart from trial {study.best.number}" in study.explain() or len(found.numbers) == 1
    assert len(set(found.numbers)) == len(found.numbers) <= found.field
    for one in found.trials:
        assert one.behind <= found.margin(one.level)
        assert one.score == pytest.approx(study.trials[one.trial].reports[one.level])
    if found.next_run is not None:
        assert found.next_run.units == sum(until - start for _, start, until in found.next_run.jobs)
        assert {trial for trial, *_ in found.next_run.jobs} <= set(found.numbers)


def test_the_cheapest_run_brings_all_contenders_to_one_rung(table: rw.CurveTable) -> None:
    study = rw.simulate("pasha", table, trials=27, workers=1).study
    found = study.contenders()
    assert found is not None
    assert found.next_run is not None
    reached = {record.number: record.paused_at for record in study.trials}
    after = reached | {trial: until for trial, _, until in found.next_run.jobs}
    assert {after[trial] for trial in found.numbers} == {found.next_run.until}
    assert all(reached[trial] == start for trial, start, _ in found.next_run.jobs)


def test_at_max_resource_nothing_is_left_to_train(table: rw.CurveTable) -> None:
    study = rw.simulate(rw.ASHA(max_resource=3), table, trials=27, workers=1).study
    found = study.contenders()
    assert found is not None
    everybody = [one for one in found.trials if one.level == 3]
    if len(everybody) == len(found.trials) > 1:
        assert found.next_run is None
        assert "all have been trained to 3" in study.explain()
    else:
        assert found.next_run is not None
        assert found.next_run.until == 3


def test_where_there_is_nothing_to_measure_by_there_are_no_contenders(table: rw.CurveTable) -> None:
    assert rw.simulate(rw.FullTraining(max_resource=9), table, trials=5).study.contenders() is None
    assert rw.simulate("asha", table, trials=1).study.contenders() is None
    assert rw.Study(SPACE).contenders() is None
    both = rw.Study(SPACE, "asha", mode={"error": "min", "size": "min"})
    both.extend(trials=9)
    while (job := both.ask()) is not None:
        both.tell(job, {"error": job.config["x"], "size": 1 - job.config["x"]})
        if job.until > 9:
            break
    assert both.contenders() is None
    assert "it has completed" in both.explain(0) or "it trains" in both.explain(0)


@pytest.mark.parametrize(
    ("trial", "wrong"), [(5, "there is no trial 5; so far 0"), (-1, "there is no trial -1"), ("a", "whole")]
)
def test_a_trial_that_there_is_not(trial: Any, wrong: str) -> None:
    with pytest.raises(rw.InputError, match=wrong):
        rw.Study(SPACE).explain(trial)


def test_the_command_says_the_same(tmp_path: Path) -> None:
    study = opened("asha", tmp_path)
    for arguments, wanted in (([], study.explain()), (["--trial", "3"], study.explain(3))):
        done = CliRunner().invoke(commands, ["explain", str(tmp_path / "asha.db"), *arguments])
        assert (done.exit_code, done.output) == (0, f"{wanted}\n")


def test_the_page_is_one_script() -> None:
    page = (Path(__file__).parents[1] / "docs" / "explain.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(.+?)```", page, flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    for said in ("it rises when that is more than ε", "cannot be told apart", "it has completed", "train trial"):
        assert said in done.stdout


def main() -> None:
    for name in STUDIES:
        record(name)
        study = rw.Study.open(FOLDER / f"{name}.db")
        (FOLDER / f"{name}.txt").write_text(said(study), encoding="utf-8")


if __name__ == "__main__":
    main()
