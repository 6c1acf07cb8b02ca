"""Figures in Plotly: right with no trials and with thousands, light and dark, few traces, and no code from names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import plotly.graph_objects as go
import pytest

import rungwise as rw
from plotted import EMPTY, simulated
from rungwise import plot
from rungwise.cli import commands

ALWAYS = [name for name in plot.FIGURES if name != "cells"]
STUDIES = {trials: simulated(trials) for trials in (1, 10, 3000)} | {0: EMPTY}


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("trials", STUDIES)
@pytest.mark.parametrize("name", ALWAYS)
def test_each_is_drawn_with_few_traces_and_a_caption(name: str, trials: int, dark: bool) -> None:
    drawn = getattr(plot, name)(STUDIES[trials], dark=dark)
    assert isinstance(drawn, go.Figure)
    assert len(drawn.data) <= 20
    assert sum(len(trace.x) for trace in drawn.data) < 20_000
    words = drawn.layout.meta["caption"]
    told = " ".join([drawn.layout.title.text, *(note.text for note in drawn.layout.annotations)])
    assert words.split(".")[0].split()[0] in re.sub(r"<.*?>", " ", told)
    assert words.endswith(".")
    assert drawn.layout.template.layout.paper_bgcolor == ("rgb(17,17,17)" if dark else "white")


def test_study_plot_gives_the_four_that_matter() -> None:
    figures = STUDIES[10].plot()
    assert list(figures) == ["cost", "learning_curves", "ladder", "ceiling"]
    assert list(simulated(5, rw.ASHA(max_resource=9)).plot()) == ["cost", "learning_curves", "ladder", "ranks"]
    assert list(STUDIES[10].plot("slots", "ranks")) == ["slots", "ranks"]
    assert repr(figures) == "<figures: cost, learning_curves, ladder, ceiling>"
    assert figures._repr_html_().count("plotly-graph-div") == 4


def test_a_page_needs_no_network_unless_asked(tmp_path: Path) -> None:
    figures = STUDIES[10].plot("slots", "cost")
    figures.write_html(tmp_path / "all.html")
    page = (tmp_path / "all.html").read_text()
    assert len(page) > 1_000_000
    assert not re.search(r"<script[^>]* src=", page)
    small = figures.to_html(cdn=True)
    assert len(small) < 100_000
    assert re.search(r'<script[^>]* src="https://cdn', small)


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(rw.InputError, match="there is no figure 'laddr'; did you mean 'ladder'"):
        STUDIES[1].plot("laddr")
    with pytest.raises(rw.InputError, match=r"ladder wants a study, such as rw\.Study\.open"):
        plot.ladder("runs/study.db")
    with pytest.raises(rw.InputError, match="top must be 1 or more, not 0"):
        plot.ranks(STUDIES[1], top=0)
    with pytest.raises(rw.InputError, match=r"rw\.Cell"):
        plot.cells(STUDIES[1])


def test_cells_are_drawn_best_first() -> None:
    study = rw.Study({"cell": rw.Cell()}, rw.ASHA(max_resource=9), mode="max")
    assert "No trial has reported" in plot.cells(study).layout.annotations[0].text
    for score in (0.1, 0.3, 0.2):
        study.tell(study.ask(), score)
    drawn = plot.cells(study, top=2)
    assert [note.text for note in drawn.layout.annotations] == ["trial 1: 0.3 at 1", "trial 2: 0.2 at 1"]
    assert all(image.source.startswith("data:image/svg+xml") for image in drawn.layout.images)


def test_names_are_no_tags() -> None:
    hostile = "<b>a</b><script>alert(1)</script>"
    study = rw.Study({"x": rw.Float(0, 1)}, "asha", mode={hostile: "min", "b": "min"})
    study.tell(study.ask(), {hostile: 1.0, "b": 1.0})
    figures = study.plot(metric=hostile)
    assert figures["cost"].layout.yaxis.title.text == "&lt;b&gt;a&lt;/b&gt;&lt;script&gt;alert(1)&lt;/script&gt;"
    assert "<script>alert" not in figures.to_html(cdn=True)


def test_the_command_writes_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with rw.Study({"x": rw.Float(0, 1)}, rw.PASHA(max_resource=9), path="s.db") as study:
        study.tell(study.ask(), 0.5)
    before = Path("s.db").read_bytes()

    def run(*arguments: str) -> None:
        commands.main(["plot", "s.db", *arguments], standalone_mode=False)

    run("-o", "four.html", "--cdn", "--dark")
    assert capsys.readouterr().out == "four.html: cost, learning_curves, ladder, ceiling\n"
    run("--figure", "slots", "--figure", "ranks", "-o", "two.html", "--cdn")
    assert capsys.readouterr().out == "two.html: slots, ranks\n"
    assert Path("two.html").read_text().count("plotly-graph-div") == 2
    for arguments, wanted in (
        (["-o", "s.db"], "must end with .html"),
        (["-o", "x.html", "--figure", "slot"], "did you mean 'slots'"),
        (["-o", "s.db.trials/x.html"], "itself or a part of it"),
    ):
        with pytest.raises(rw.InputError, match=wanted):
            run(*arguments)
    assert Path("s.db").read_bytes() == before
    assert not Path("x.html").exists()


def test_plotly_is_imported_when_a_figure_is_drawn_and_its_lack_is_said() -> None:
    code = """
import sys, rungwise as rw
from rungwise import plot
assert "plotly" not in sys.modules
sys.modules["plotly"] = None
sys.modules["plotly.graph_objects"] = None
try:
    rw.Study({"x": rw.Float(0, 1)}, "asha").plot()
except rw.InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "a figure needs: pip install 'rungwise[plot]'\n", done.stderr


def test_a_study_that_runs_elsewhere_is_drawn_as_its_file_says_now(tmp_path: Path) -> None:
    driven = rw.Study({"x": rw.Float(0, 1)}, rw.PASHA(max_resource=9), path=tmp_path / "s.db")
    looked_at = rw.Study.open(tmp_path / "s.db")
    for score in (0.3, 0.2, 0.1, 0.05):
        driven.tell(driven.ask(), score)
    for study in (driven, looked_at):
        figures = study.plot(*ALWAYS)
        assert figures["learning_curves"].layout.meta["caption"].startswith(f"{len(driven.trials)} trials, colored")
    driven.close()
