"""Whatever comes in by any door is either taken or answered with one of our errors, never with another exception."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

import rungwise as rw
from rungwise import cli
from rungwise.executors.command import Command, _report
from rungwise.validation import as_score

OURS = (rw.InputError, rw.StudyError)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries(
    {"type": st.sampled_from(["float", "integer", "categorical", "ordinal", "Float", ""]) | JSON},
    optional={
        name: st.floats() | st.integers() | JSON
        for name in ("low", "high", "log", "step", "choices", "values", "when", "default", "odd")
    },
)
SPACES = st.dictionaries(st.text(max_size=6) | st.sampled_from(["lr", "a/b", "../x", "\0"]), FIELDS | JSON, max_size=3)


def usable(space: rw.Space) -> None:
    """What was taken must work: it can be sampled, and written and read again."""
    config = space.sample(np.random.default_rng(0))
    json.dumps(config, allow_nan=False)
    assert rw.Space.from_dict(space.to_dict()).to_dict() == space.to_dict()


@settings(max_examples=600)
@given(SPACES | JSON)
@example({"x": {"type": "float", "low": 0, "high": 1e400}})
@example({"x": {"type": "integer", "low": 0, "high": 10**400}})
@example({"x": {"type": "float", "low": -1.7e308, "high": 1.7e308}})
@example({"x": {"type": "categorical", "choices": [[["deep"] * 3] * 3]}})
def test_a_space(space: Any) -> None:
    with contextlib.suppress(*OURS):
        usable(rw.Space.from_json(json.dumps(space)))


@given(st.text(max_size=60) | st.text("{}[]:,\"'0123456789eE+-. \\untrfalse", max_size=40))
def test_the_text_of_a_space(text: str) -> None:
    with contextlib.suppress(*OURS):
        usable(rw.Space.from_json(text))


VALUES = JSON | st.binary(max_size=4) | st.complex_numbers() | st.decimals() | st.fractions() | st.sampled_from(
    [np.float32(1), np.array(1.0), np.array([1.0, 2.0]), np.datetime64("2026-01-01"), object(), len, int, ..., 10**400]
)  # fmt: skip


@settings(max_examples=600)
@given(VALUES)
@example({"": 0})
@example({"loss": {"train": 0.5}})
def test_a_score(value: Any) -> None:
    with contextlib.suppress(*OURS):
        score = as_score(value)
        numbers = score.values() if isinstance(score, dict) else [score]
        assert all(number is None or isinstance(number, float) for number in numbers)


@settings(max_examples=300)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "min_resource",
                "reduction_factor",
                "max_resource",
                "promotion",
                "breadth_first",
                "ranking",
                "grace_period",
            ]
        ),
        VALUES,
        max_size=3,
    ),
    st.sampled_from([rw.PASHA, rw.ASHA]),
)
def test_the_settings_of_a_scheduler(settings: dict[str, Any], kind: Any) -> None:
    with contextlib.suppress(*OURS):
        kind(**settings).ask()


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.sampled_from(["ask", "report", "complete", "fail", "extend"]), VALUES, VALUES, VALUES), max_size=8
    )
)
def test_a_study(calls: list[tuple[str, Any, Any, Any]]) -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, rw.PASHA(max_resource=9))
    study.extend(trials=5)
    study.ask()
    for what, a, b, c in calls:
        before = list(study.facts())
        try:
            if what == "ask":
                study.ask()
            elif what == "report":
                study.report(a, b, c)
            elif what == "complete":
                study.complete(a)
            elif what == "fail":
                study.fail(a, str(b))
            else:
                study.extend(trials=a, resource=b, seconds=c)
        except OURS:
            assert list(study.facts()) == before, "what is refused changes nothing"


@given(
    st.text(max_size=80)
    | JSON.map(json.dumps)
    | st.fixed_dictionaries({"score": JSON}, optional={"resource": JSON}).map(json.dumps)
)
def test_a_line_of_a_program(line: str) -> None:
    report = _report(line)
    assert report is None or "score" in report


@given(st.lists(st.text(max_size=20) | JSON, max_size=4) | JSON)
def test_a_command(arguments: Any) -> None:
    with contextlib.suppress(*OURS):
        Command(arguments).check(["lr"])


TOML = st.dictionaries(
    st.sampled_from([*cli.IN_SETTINGS, "grace_period", "x"]), st.booleans() | st.integers(-3, 3) | st.floats(0, 2) | st.text("ab{}/.:", max_size=6)
    | st.lists(st.text("ab{}", max_size=3), max_size=2), max_size=6,
)  # fmt: skip


def toml(settings: dict[str, Any]) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())


@settings(max_examples=150)
@given(
    TOML.map(toml) | st.text(max_size=60),
    st.lists(
        st.text("-abt=./ 0", max_size=8) | st.sampled_from(["--mode", "min", "--trials", "0", "--space", "{}"]),
        max_size=5,
    ),
)
def test_the_command_line_and_its_settings(text: str, arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "settings.toml").write_text(text, encoding="utf-8", errors="replace")
        command = ["tune", *arguments, "--config", f"{folder}/settings.toml", "--study", f"{folder}/s.db", "--quiet"]
        done = CliRunner().invoke(cli.commands, command)
        assert done.exception is None or isinstance(done.exception, (*OURS, OSError, SystemExit)), (command, text)


@settings(max_examples=200)
@given(st.binary(max_size=300) | st.binary(max_size=100).map(lambda tail: b"SQLite format 3\0" + tail))
def test_a_file_that_is_no_study(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.db"
        path.write_bytes(content)
        for what in ("status", "explain", "best"):
            done = CliRunner().invoke(cli.commands, [what, str(path)])
            assert isinstance(done.exception, rw.StudyError)
        assert path.read_bytes() == content, "looking changes nothing"


def test_the_command_line_shows_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["rungwise", "status", str(tmp_path)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
