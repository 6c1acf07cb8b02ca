"""What a report says of a study, its escaping, and the command; `tests/engines/test_browser.py` has the browser."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

import rungwise as rw
from rungwise.cli import commands
from rungwise.core import SCHEDULERS
from rungwise.events import Completed, Created, Promoted, Reported, Started
from rungwise.page import figures
from rungwise.page.data import page
from rungwise.page.document import html
from rungwise.page.history import DECISIONS, History
from rungwise.page.markdown import markdown, plain
from rungwise.page.table import ROWS
from rungwise.state import StudyState

ALERT = "<script>alert(1)</script>"


def curves(trials: int, most: int = 27, seed: int = 0) -> rw.CurveTable:
    rng = np.random.default_rng(seed)
    final = 0.6 + 0.3 * rng.random((trials, 1))
    speed = np.exp(rng.normal(0, 0.7, (trials, 1)))
    scores = final * (1 - np.exp(-speed * np.arange(1, most + 1) / 6)) + rng.normal(0, 0.006, (trials, most))
    return rw.CurveTable(scores, mode="max")


def simulated(scheduler: str = "pasha", trials: int = 40, **options: object) -> rw.Study:
    return rw.simulate(scheduler, curves(trials), workers=3, trials=trials, **options).study


def page_of(study: rw.Study) -> dict:
    return page(History.of(study.facts()), study.explain().splitlines())


def hostile() -> rw.Study:
    """Every text that a study brings along is an attack."""
    space = {
        ALERT: rw.Categorical([ALERT, "</script><img src=x onerror=alert(2)>"]),
        "a|b`*_[x](http://e.g)": rw.Float(0, 1),
    }
    study = rw.Study(space, rw.PASHA(max_resource=9), mode={"<b>acc": "max", "'\"&": "min"})
    for number in range(12):
        job = study.ask()
        assert job is not None
        if number % 4 == 3:
            study.fail(job.trial, f"{ALERT}\x1b[2J</script>")
        else:
            study.report(job.trial, job.until, {"<b>acc": number / 100, "'\"&": math.nan if number == 2 else 1.0})
    return study


class Seen(HTMLParser):
    """The elements of a page, and the text that is shown."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self._in_script = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        (self.scripts if self._in_script else self.texts).append(data)


def data_in(text: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


# -- the history --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_history_knows_what_the_study_knows(scheduler: str) -> None:
    study = simulated(scheduler)
    history = History.of(study.facts())
    assert history.state.rungs() == study.rungs()
    assert history.state.winners == study.state.winners
    last = history.answers[-1]
    assert (last.trial, last.score, last.level) == (study.best.number, study.best.score, study.best.resource)
    assert {level: len(results) for level, results in history.results.items()} == study.state.completed
    promoted = [(fact.trial, fact.until) for _, fact in study.facts() if isinstance(fact, Promoted)]
    assert sum(map(len, history.went_on.values())) == len(promoted)
    ended = sum(isinstance(fact, Completed) for _, fact in study.facts())
    assert sum(map(len, history.paused.values())) == ended
    assert [each.level for each in history.ceilings[-len(study.rises) :]] == [
        r.until for r in study.rises
    ] or not study.rises


def test_answers_are_those_that_the_study_named_as_it_went() -> None:
    study = simulated(trials=30)
    named: list[tuple[int, int, float]] = []
    facts = [fact for _, fact in study.facts()]
    state = StudyState(facts[0])
    for fact in facts[1:]:
        state.apply(fact)
        if state.has_best and (now := (state.best.number, state.best.resource, state.best.score)) not in named[-1:]:
            named.append(now)
    assert [(each.trial, each.level, each.score) for each in History.of(study.facts()).answers] == named


def test_decisions_are_the_last_and_in_words() -> None:
    study = simulated(trials=300)
    decisions = History.of(study.facts()).decisions
    assert len(decisions) == DECISIONS
    assert all(text.startswith(("trial ", "the ceiling rose", "the totals")) for _, text in decisions)
    assert not any("reported" in text or "completed" in text for _, text in decisions)


def test_facts_that_cannot_follow_are_refused() -> None:
    created = next(fact for _, fact in rw.Study({"x": rw.Float(0, 1)}, "asha").facts() if isinstance(fact, Created))
    for facts in ([Promoted(7, 3)], [Started(0, {"x": 0.5}, 1), Reported(1, 1, 0.5)]):
        with pytest.raises(rw.StudyError, match="is not what a study says"):
            History.of((0.0, fact) for fact in (created, *facts))
    with pytest.raises(rw.StudyError, match="holds no study"):
        History.of([])


# -- the data -----------------------------------------------------------------------------------------


def test_cost_is_arithmetic_and_says_so() -> None:
    study = simulated(trials=40)
    cost = {name: (value, remark) for name, value, remark in page_of(study)["cost"]}
    assert cost["full training instead"][0] == f"{40 * 27:,}"
    assert "calculated, not measured" in cost["full training instead"][1]
    assert f"{study.state.trained / (40 * 27):.1%}" in cost["full training instead"][1]
    assert cost["resource trained"][0] == f"{study.state.trained:,}"
    assert cost["jobs done"][0] == f"{sum(study.state.completed.values()):,}"
    assert cost["trials"] == ("40", "100% of 40")


def test_without_a_maximum_full_training_is_not_guessed() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "pasha")
    study.ask()
    assert "full training instead" not in {name for name, *_ in page_of(study)["cost"]}


def test_a_budget_and_a_refit_are_told() -> None:
    study = rw.simulate("asha", curves(40), workers=1, budget=6).study
    told = page_of(study)
    assert study.best.refit_resource == 27
    cost = {name: remark for name, _, remark in told["cost"]}
    refit = study.state.refit_used
    also = f"; {refit} of it to train the winner on" if refit else ""
    assert cost["resource trained"] == f"{study.state.trained / 162:.0%} of 162{also}"
    if study.best.resource < 27:
        assert "Trained on to 27, it scored" in told["answer"]["text"]


def test_why_is_what_explain_says() -> None:
    study = simulated()
    told = page_of(study)
    assert told["why"] == study.explain().splitlines()
    assert f"Trial {study.best.number} is the best of 40" in told["answer"]["text"]


def test_curves_keep_their_ends_and_pauses() -> None:
    study = simulated("asha")
    told = figures.curves(History.of(study.facts()))
    assert [line[0] for line in told["lines"]] == list(range(40))
    for number, place, at, (scores,), pauses in told["lines"]:
        record = study.trials[number]
        assert at[-1] == record.resource
        assert scores[-1] == pytest.approx(record.score, rel=1e-5)
        assert told["rungs"][place] == record.paused_at
        assert [at[each] for each in pauses] == [rung for rung in told["rungs"] if rung <= record.paused_at]


def test_long_curves_are_thinned_but_keep_the_rungs() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(min_resource=1000, max_resource=3000), mode="min")
    job = study.ask()
    for epoch in range(1, 1001):
        study.report(job.trial, epoch, 1 / epoch)
    [[_, _, at, [scores], pauses]] = figures.curves(History.of(study.facts()))["lines"]
    assert len(at) == len(scores) <= figures.POINTS + 2
    assert (at[0], at[-1], pauses) == (1, 1000, [len(at) - 1])


def test_a_large_study_is_aggregated_and_the_page_says_so() -> None:
    study = simulated("asha", trials=6_000)
    told = page_of(study)
    lines = told["curves"]["lines"]
    assert len(lines) == figures.CURVES
    assert study.best.number in {line[0] for line in lines}
    assert {record.number for record in study.top(figures.BEST)} <= {line[0] for line in lines}
    assert "2,000 of 6,000 trials" in told["curves"]["caption"]
    assert "even sample" in told["curves"]["caption"]
    assert (len(told["table"]["rows"]), told["table"]["trials"]) == (ROWS, 6_000)
    assert all(len(row["cells"]) <= figures.CELLS for row in told["ladder"]["rungs"])
    assert len(html(told)) < 2_000_000


def test_the_ladder_counts_every_trial() -> None:
    study = simulated("asha", trials=900)
    rows = figures.ladder(History.of(study.facts()))["rungs"]
    assert [(row["level"], row["completed"]) for row in rows] == [row[:2] for row in study.rungs()]
    for lower, upper in zip(rows[1:], rows, strict=False):
        assert lower["went_on"] == upper["completed"] + upper["running"]
    assert rows[-1]["answer"] is not None
    assert rows[-1]["cells"][0] == 1.0  # the best of the lowest rung went on


def test_the_table_has_the_best_first() -> None:
    study = simulated("asha", trials=100)
    told = page_of(study)["table"]
    ranked = [record.number for record in study.top(100)]
    assert [row[0] for row in told["rows"]][: len(ranked)] == ranked
    assert sorted(row[0] for row in told["rows"]) == list(range(100))
    assert told["columns"][: told["parameters"]] == ["trial", "state", "rung", "resource", "score", "seconds"]


def test_inactive_and_odd_values_have_their_cells() -> None:
    space = {"kind": rw.Categorical(["a", None, True, 2**60]), "x": rw.Float(0, 1)}
    study = rw.Study(space, rw.FullTraining(max_resource=1), mode="min")
    for value in ("a", None, True, 2**60):
        study.enqueue({"kind": value, "x": 0.5})
        job = study.ask()
        study.report(job.trial, 1, math.nan if value is None else 0.5)
    rows = {row[0]: row for row in page_of(study)["table"]["rows"]}
    assert [rows[number][-2] for number in range(4)] == ["a", "None", "True", str(2**60)]
    assert rows[1][4] == "not finite"


def test_jobs_that_nobody_does_wait(tmp_path: Path) -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "asha", path=tmp_path / "s.db")
    study.ask()
    assert page_of(study)["stands"] == "1 job under way"
    study.close()
    looked = rw.Study.open(tmp_path / "s.db")
    looked.write_report(tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert "1 job waiting to be resumed; as of 20" in text
    assert data_in(text)["table"]["rows"][0][1] == "waiting"


@pytest.mark.parametrize("scheduler", ["pasha", "hyperband"])
def test_the_program_does_it_again(scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space = {"x": rw.Float(0, 1), "kind": rw.Categorical(["ab" * 30, "cd" * 30, "ef" * 30])}
    first = rw.tune(
        train,
        space,
        scheduler={"name": scheduler, "max_resource": 9},
        mode="min",
        trials=12,
        seed=3,
        path="s.db",
        quiet=True,
    )
    program = page_of(first)["again"]
    exec(program, {"train": train})
    second = rw.Study.open("again.db")
    assert [record.config for record in second.trials] == [record.config for record in first.trials]
    assert (second.best.number, second.best.score) == (first.best.number, first.best.score)


def train(trial: rw.Trial) -> None:
    for epoch in trial:
        trial.report(abs(trial.config["x"] - 0.3) + 1 / epoch)
    trial.save(None)


# -- the files ----------------------------------------------------------------------------------------


def test_the_file_needs_nothing_and_allows_nothing() -> None:
    text = html(page_of(simulated()))
    seen = Seen(text)
    policy = next(attrs["content"] for tag, attrs in seen.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert not [tag for tag, attrs in seen.tags if {"src", "href", "style", "srcset", "action"} & set(attrs)]
    assert not [tag for tag, attrs in seen.tags if any(name.startswith("on") for name in attrs)]
    assert "http" not in re.sub(r"http-equiv", "", text)


def test_what_a_study_brings_along_is_text() -> None:
    text = html(page_of(hostile()))
    seen, harmless = Seen(text), Seen(html(page_of(simulated())))
    assert len(seen.scripts) == len(harmless.scripts) == 2
    assert seen.scripts[1] == harmless.scripts[1]
    assert {tag for tag, _ in seen.tags} - {tag for tag, _ in harmless.tags} <= {"pre"}
    assert ALERT not in text.replace(seen.scripts[1], "")
    assert "\x1b" not in text
    assert any(ALERT in each for each in seen.texts)
    assert any(ALERT in str(cell) for row in data_in(text)["table"]["rows"] for cell in row)
    assert ALERT in data_in(text)["table"]["columns"]


def test_markdown_shows_what_is_there_as_it_is() -> None:
    text = markdown(page_of(hostile()))
    fenced = re.sub(r"(?ms)^(`{3,})python\n.*?^\1$", "", text)
    assert "<" not in re.sub(r"\\<", "", fenced)
    assert "\x1b" not in text
    for table in re.findall(r"(?m)(?:^\|.*\|\n)+", fenced):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert "# study in memory" in text
    assert "| trial | state | rung |" in text


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("1. a", r"1\. a"), ("- a", r"\- a"), ("a-b.c (d)", "a-b.c (d)"), ("www.e.g http://e.g", r"www\.e.g http\://e.g")],
)
def test_markdown_escapes_what_matters(given: str, wanted: str) -> None:
    assert plain(given) == wanted


@pytest.mark.parametrize("kind", ["html", "md"])
def test_a_study_without_anything_has_a_report(kind: str, tmp_path: Path) -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "asha", mode="min")
    text = study.write_report(tmp_path / f"r.{kind}").read_text()
    assert "No trial has completed a rung with a finite score yet." in text


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = rw.Study({"x": rw.Float(0, 1)}, "asha", mode="min", path="s.db")
    job = study.ask()
    study.report(job.trial, job.until, 0.5)
    study.close()
    before = Path("s.db").read_bytes()
    run = CliRunner()
    assert run.invoke(commands, ["report", "s.db", "-o", "mine.html"]).output == "written to mine.html\n"
    assert Path("mine.html").read_text().startswith("<!DOCTYPE html>")
    assert run.invoke(commands, ["report", "s.db", "--format", "md"]).output == "written to report.md\n"
    assert Path("report.md").read_text().startswith("# s.db")
    assert run.invoke(commands, ["report", "s.db", "-o", "any.txt", "--format", "md"]).exit_code == 0
    assert Path("any.txt").read_text() == Path("report.md").read_text()
    assert Path("s.db").read_bytes() == before


@pytest.mark.parametrize(
    ("path", "kind", "says"),
    [
        ("r.pdf", None, "r.pdf must end with .html or .md; or say which it is: format="),
        ("r.html", "htm", "format must be 'html' or 'md', not 'htm'; did you mean 'html'?"),
        ("s.db", "html", "s.db is the study s.db itself or a part of it"),
        ("s.db.trials/r.html", None, "is the study s.db itself or a part of it"),
        ("other.db", "md", "other.db is a study"),
    ],
)
def test_wrong_places_are_refused(
    path: str, kind: str | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rw.Study({"x": rw.Float(0, 1)}, "asha", path="other.db").close()
    study = rw.Study({"x": rw.Float(0, 1)}, "asha", path="s.db")
    with pytest.raises(rw.InputError, match=re.escape(says)):
        study.write_report(path, format=kind)
    assert not Path("r.html").exists()


def test_a_report_of_a_running_study_has_its_newest_facts(tmp_path: Path) -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "asha", mode="min", path=tmp_path / "s.db")
    looked = rw.Study.open(tmp_path / "s.db")
    job = study.ask()
    study.report(job.trial, job.until, 0.125)
    text = looked.write_report(tmp_path / "r.md").read_text()
    assert "score 0.125 at resource 1" in text
    assert "trial 0 is the best: 0.125 at 1" in text


def test_what_is_sent_with_a_page_is_small() -> None:
    folder = Path(rw.__file__).parent / "page"
    assert sum(path.stat().st_size for path in folder.glob("*") if path.suffix in (".js", ".css")) < 60_000


def test_numbers_in_the_page_are_plain_json() -> None:
    told = page_of(hostile())
    assert msgspec.json.decode(json.dumps(told, allow_nan=False)) == json.loads(json.dumps(told))
