"""What the README and pages of docs/ show, runs; what the pages on engines show, exists."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import rungwise as rw
from rungwise.cli import IN_SETTINGS
from rungwise.executors.named import EXECUTORS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CHOOSE = (ROOT / "docs" / "how-to-choose.md").read_text()
PLOTS = (ROOT / "docs" / "plots.md").read_text()
ENGINES = [(ROOT / "docs" / f"{name}.md").read_text() for name in ("dask", "ray", "slurm")]
PRELUDE = """
class Model:
    def __init__(self, lr, width):
        self.lr, self.epochs = lr, 0
    def train_one_epoch(self):
        self.epochs += 1
    def accuracy(self):
        return 1 - abs(self.lr - 0.01) - 1 / self.epochs

def my_training(trial, config, epoch):
    return 1 - abs(config["lr"] - 0.01) - 1 / epoch
"""


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_examples(number: int, tmp_path: Path) -> None:
    code = ("" if "import rungwise" in blocks("python")[number] else "import rungwise as rw\n") + PRELUDE
    (tmp_path / "script.py").write_text(code + blocks("python")[number])
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*.db"))


@pytest.mark.needs("botorch", "optuna", "scipy")
def test_how_to_choose_is_one_script(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("\n".join(blocks("python", CHOOSE)))
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert "the ceiling " in done.stdout


def test_the_page_on_scale_is_one_script(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "scale.md").read_text()
    (tmp_path / "script.py").write_text("\n".join(blocks("python", page)))
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("machine-hours") == 2


@pytest.mark.needs("optuna", "plotly")
def test_the_page_on_figures_is_one_script(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("\n".join(blocks("python", PLOTS)))
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert "The 10 best of 100 trials" in done.stdout
    assert "{'lr': " in done.stdout or "{'width': " in done.stdout
    assert (tmp_path / "figures.html").stat().st_size > 1_000_000


def test_the_page_on_reports_is_one_script(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "report.md").read_text()
    (tmp_path / "script.py").write_text("\n".join(blocks("python", page)))
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["report.html", "report.md"]
    assert (tmp_path / "report.html").read_text().count("<figure") == 4


@pytest.mark.needs("torch")
def test_the_page_on_architectures_is_one_script(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "nas.md").read_text()
    (tmp_path / "script.py").write_text("\n".join(blocks("python", page)))
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert "trial" in done.stdout
    assert "'cell': '|" in done.stdout


def test_the_speed_ups_in_how_to_choose_were_measured() -> None:
    evidence = (ROOT / "docs" / "evidence.md").read_text()
    said = re.findall(r"\d\.\d\d×", CHOOSE)
    assert said
    assert all(number in evidence for number in said)


def test_the_settings_example() -> None:
    (settings,) = (tomllib.loads(block) for block in blocks("toml"))
    assert set(settings) <= set(IN_SETTINGS)
    assert rw.Space.from_dict(settings["space"])["lr"] == rw.Float(1e-4, 1e-1, log=True)
    rw.Command(settings["command"]).check(settings["space"])


def test_every_command_that_is_named_exists() -> None:
    from rungwise.cli import commands

    engines = [block.replace("\\\n", " ") for page in ENGINES for block in blocks("sh", page)]
    shown = "\n".join([*blocks("sh"), *blocks("sh", CHOOSE), *blocks("sh", PLOTS), *engines])
    named = set(re.findall(r"^rungwise (\w+)", shown, flags=re.MULTILINE))
    assert named >= {"tune", "status", "explain", "resume", "export"}
    assert named <= set(commands.commands)
    options = {option for parameter in commands.commands["tune"].params for option in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", "".join(blocks("sh", CHOOSE)))) <= options
    for line in re.findall(r"^rungwise tune .*", "\n".join(engines), flags=re.MULTILINE):
        assert set(re.findall(r"(?<!\S)--[a-z-]+", line)) <= options
        name = re.search(r"--executor (\w+)", line)
        assert name is not None
        assert name[1] in EXECUTORS


@pytest.mark.parametrize("page", ENGINES)
def test_the_recipes_for_engines_are_python(page: str) -> None:
    """They run in `make engine-NAME`, as far as they can."""
    for recipe in blocks("python", page):
        compile(recipe, "docs", "exec")
        for name in re.findall(r"rw\.(\w+)", recipe):
            assert name in dir(rw)


def test_the_two_commands_are_those_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", "\n".join(blocks("sh")), flags=re.MULTILINE):
        assert f"\n{target}:" in makefile
