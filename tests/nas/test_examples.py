"""The examples of architecture search run, small; what they are exact in is tested with what they call."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import rungwise as rw
from rungwise.nas import NAS_BENCH_201

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, folder: Path, *options: str) -> str:
    command = [sys.executable, EXAMPLES / f"{name}.py", "--study", "runs/s.db", "--epochs", "3", *options]
    (folder / "runs").mkdir()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.needs("torch", "sklearn")
def test_nas(tmp_path: Path) -> None:
    said = run("nas", tmp_path, "--trials", "3", "--few")
    study = rw.Study.open(tmp_path / "runs" / "s.db")
    best = study.best
    assert best.config["cell"] in said
    assert len(re.findall("●.*▶│.*_", said)) == sum(name != "none" for name in NAS_BENCH_201.parse(best.config["cell"]))
    assert ElementTree.parse(tmp_path / "runs" / "s.svg").getroot().tag.endswith("svg")
    one, other, _ = (
        re.search(rf"chosen by {by} +([\d.]+) % \((.*)\)", said) for by in ("PASHA", "one epoch", "chance")
    )
    assert len(one[2].split(", ")) == 3
    gain = float(re.search(r"after one epoch: ([+-][\d.]+) points", said)[1])
    assert gain == pytest.approx(float(one[1]) - float(other[1]), abs=0.011)
    assert f"spent: search {study.resource_used} epochs" in said
    early = max(study.trials, key=lambda record: record.reports[1])
    compared = rw.Study.open(tmp_path / "runs" / "s-compared-3.db").trials
    assert {str(record.config["of"]) for record in compared} == {
        str(config) for config in (best.config, early.config, study.trials[0].config)
    }


@pytest.mark.needs("torch", "sklearn")
def test_nas_without_images_says_where_to_get_them(tmp_path: Path) -> None:
    command = [sys.executable, EXAMPLES / "nas.py", "--images", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"there is no Fashion-MNIST in {tmp_path}")


@pytest.mark.needs("torch")
def test_text(tmp_path: Path) -> None:
    said = run("text", tmp_path, "--trials", "4", "--sequences", "32")
    study = rw.Study.open(tmp_path / "runs" / "s.db")
    assert str(study.best.config) in said
    assert all(
        (f"feed_forward_{layer}" in record.config) == (layer <= record.config["layers"])
        for record in study.trials
        for layer in (1, 2, 3)
    )
    assert 1 < float(re.search(r"after 3 epochs: ([\d.]+) bits per character", said)[1]) < 8
