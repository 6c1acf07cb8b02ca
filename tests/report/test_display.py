"""What is seen of a run: on a terminal, off one, in a notebook, at its end."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
import types
from pathlib import Path

import pytest

import objectives
import rungwise as rw
from rungwise.events import Started
from rungwise.report import live
from rungwise.report.live import Display
from rungwise.report.progress import Estimate, of_total
from rungwise.report.stream import Stream
from rungwise.report.tables import drawn, enqueued, summary

LONG = {
    "learning_rate_of_the_optimizer_of_the_second_network": rw.Float(1e-5, 1e-1, log=True),
    "a_parameter_with_a_really_long_name_that_goes_on": rw.Categorical(["a value that is very long as well, too long"]),
    "x": rw.Integer(1, 1000),
}


def begun(trials: int = 6, *, space=LONG, done: int = 4, **arguments) -> rw.Study:
    """A study of which `done` jobs are done, one of them failed, and two run."""
    study = rw.Study(space, rw.PASHA(max_resource=9), **arguments)
    study.extend(trials=trials)
    for _ in range(done):
        job = study.ask()
        for resource in range(job.start + 1, job.until + 1):
            study.report(job.trial, resource, 0.5 + job.trial)
    study.fail(study.ask().trial, "no such layer")
    study.ask()
    return study


def picture(study: rw.Study, width: int) -> str:
    display = Display(study, stream=io.StringIO())
    return drawn(display._picture(time.monotonic(), width, None), width)


def out_of(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r", "\n")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_picture_fits_the_terminal_and_breaks_no_word(width: int) -> None:
    seen = picture(begun(), width)
    assert all(len(line) <= width for line in seen.splitlines())
    assert "best: trial 0, 0.5 at 3" in seen
    assert "learning_rate_of_the_optimi… " in seen
    assert "a_parameter_with_a_really_l… a value that is very lo…" in seen
    assert re.search(r"1 running, 1 failed, resource used \d+", seen)
    assert re.search(r"[━╸] +\d of 6 trials, 0 s$", seen, flags=re.MULTILINE)


def test_many_parameters_take_three_lines() -> None:
    seen = picture(begun(space={f"parameter_{n}": rw.Float(0, 1) for n in range(40)}), 80)
    assert sum("parameter_" in line for line in seen.splitlines()) == 3
    assert "…" in seen


def test_the_front_of_several_metrics_is_counted() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, mode={"a": "min", "b": "min"})
    study.extend(trials=2)
    job = study.ask()
    study.report(job.trial, job.until, {"a": 0.5, "b": 0.5})
    assert "1 trial on the Pareto front" in picture(study, 80)


@pytest.mark.parametrize(
    ("budget", "now", "words", "left"),
    [
        ({"trials": 8}, 10.0, "4 of 8 trials", 10.0),
        ({"resource": 40}, 10.0, "resource 10 of 40", 30.0),
        ({"seconds": 40}, 10.0, "10 s of 40 s", 30.0),
        ({"trials": 80, "seconds": 40}, 10.0, "10 s of 40 s", 30.0),
        ({"trials": 5, "resource": 40}, 10.0, "4 of 5 trials", 2.5),
    ],
)
def test_the_total_nearest_to_its_end_says_how_far_it_is(budget, now, words, left) -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "asha")
    study.extend(**budget)
    estimate = Estimate(study, 0.0)
    for trial in range(4):
        study.decider.note(Started(trial, {"x": 0.5}, 1))
        study.report(trial, 1, 0.5)
    study.state.resource_used = 10
    progress = estimate.progress(now)
    assert (progress.words, progress.left) == (words, pytest.approx(left))
    assert progress.fraction == pytest.approx(now / (now + left))
    assert estimate.progress(0.5).left in (None, 39.5), "too soon to say, save by the clock"


def test_time_that_the_session_has_told_the_study_is_not_counted_twice() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "asha")
    study.extend(seconds=100)
    study.decider.ran(7)
    estimate = Estimate(study, 0.0)
    study.decider.ran(30)
    assert estimate.elapsed(31.0) == 7 + 31
    assert estimate.progress(31.0).left == 100 - 38


def test_with_a_target_alone_there_is_no_bar() -> None:
    study = rw.Study({"x": rw.Float(0, 1)})
    study.extend(target=0.1)
    assert Estimate(study, 0.0).progress(10.0) is None
    assert "━" not in picture(study, 80)


def test_a_total_that_was_lowered_is_said_as_such() -> None:
    assert of_total(50, 20) == "50 trials (the total is now 20)"
    assert of_total(1, 1) == "1 of 1 trial"
    assert of_total(1, None) == "1 trial"
    study = begun(trials=6)
    study.extend(trials=2)
    assert summary(study).startswith("5 trials (the total is now 2), ")


def test_the_totals_and_the_queue_are_told() -> None:
    study = rw.Study({"x": rw.Float(0, 1)}, "asha")
    study.extend(trials=4, resource=30, seconds=90)
    job = study.ask()
    study.report(job.trial, job.until, 0.5)
    said = summary(study, ran=7.0)
    assert said.startswith("1 of 4 trials, resource used 1 of 30, ran 7 s of 1 min 30 s, ceiling none, best")
    for number in range(12):
        study.enqueue({"x": number / 16})
    assert ", 12 enqueued, best" in summary(study)
    lines = enqueued(study)
    assert lines[:2] == ['enqueued: {"x": 0.0}', 'enqueued: {"x": 0.0625}']
    assert lines[10:] == ["and 2 more"]


def test_off_a_terminal_the_last_line_is_true_and_the_result_is_said_once(tmp_path: Path, capfd) -> None:
    study = rw.tune(objectives.train, objectives.SPACE, mode="min", trials=9, study=tmp_path / "s.db", refit=3)
    said = capfd.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[-4].startswith("9 of 9 trials, resource used ")
    assert lines[-3].startswith(f"best: trial {study.best.number}, ")
    assert (
        lines[-1]
        == f"the study is in {tmp_path}/s.db; to see why it came out this way: rungwise explain {tmp_path}/s.db"
    )
    assert said.err.count("best: trial") == 1


def test_the_result_of_a_refit_and_of_a_study_in_memory(capfd) -> None:
    rw.tune(objectives.train, objectives.SPACE, mode="min", trials=9, refit=27)
    said = capfd.readouterr().err
    assert re.search(r"^refit: [\d.]+ at 27$", said, flags=re.MULTILINE)
    assert 'kept only in memory; to keep it in a file, set path="study.db"' in said


def test_a_rise_is_said_with_its_bracket_where_there_are_several() -> None:
    def told(scheduler) -> str:
        study, stream = rw.Study({"x": rw.Float(0, 1)}, scheduler), io.StringIO()
        study.extend(trials=30)
        study.observe(Display(study, stream=stream))
        while (job := study.ask()) is not None:
            for resource in range(job.start + 1, job.until + 1):
                study.report(job.trial, resource, -job.trial if resource == 3 else job.trial)
        return stream.getvalue()

    assert told(rw.PASHA(max_resource=27)).startswith("the ceiling rose from 3 to 9: ")
    several = rw.AsyncHyperband(ladder="pasha", max_resource=27, brackets=2)
    assert told(several).startswith("in bracket 1 the ceiling rose from 3 to 9: ")


def test_quiet_says_nothing(capfd) -> None:
    rw.tune(objectives.train, objectives.SPACE, mode="min", trials=9, quiet=True)
    assert capfd.readouterr() == ("", "")


def test_lines_come_every_ten_seconds_off_a_terminal(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with Display(begun(), stream=stream) as display:
        for second in range(31):
            now[0] = 100.0 + second
            display.update()
        assert len(stream.getvalue().splitlines()) == 3
        assert "1 failed" in stream.getvalue()
        assert "1 running, 10 s" in stream.getvalue()


def test_warnings_of_ours_are_lines_of_the_display_while_it_runs() -> None:
    stream, logger = io.StringIO(), logging.getLogger("rungwise")
    before = list(logger.handlers), logger.propagate
    with Display(begun(), stream=stream):
        logging.getLogger("rungwise.below").warning("the disk is %s\x1b[2J", "slow")
        logger.info("not this")
    assert stream.getvalue() == "the disk is slow\\x1b[2J\n"
    assert (list(logger.handlers), logger.propagate) == before
    with Display(begun(), stream=stream, quiet=True):
        assert list(logger.handlers) == before[0]


def test_markup_and_escapes_in_what_is_said_are_text() -> None:
    stream = io.StringIO()
    with Display(begun(), stream=stream) as display:
        display.say("trial 3: [red]no[/red] :smile: \x1b]0;title\x07 \u202e")
    assert stream.getvalue() == "trial 3: [red]no[/red] :smile: \\x1b]0;title\\x07 \\u202e\n"


def on_a_terminal(code: str, folder: Path, *, columns: int, encoding: str = "utf-8") -> str:
    """What a script writes to a terminal that is its standard error and output."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = os.environ | {"TERM": "xterm", "PYTHONIOENCODING": encoding}
    environment.pop("COLUMNS")
    script = folder / "script.py"
    script.write_text(code)
    process = subprocess.Popen(
        [sys.executable, str(script)], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    read = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            read += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert process.wait(timeout=60) == 0, read
    return read.decode(encoding)


SCRIPT = """
import time
import rungwise as rw

def train(trial):
    trial.load()
    for epoch in trial:
        time.sleep(0.02)
        trial.report(trial.config["a_parameter_with_a_really_long_name"] + 1 / epoch)
        trial.save(epoch)

print("before")
study = rw.tune(train, {"a_parameter_with_a_really_long_name": rw.Float(0, 1)}, mode="min", trials=20, workers=2,
                study="s.db")
print("after")
"""


@pytest.mark.parametrize(("columns", "encoding"), [(60, "utf-8"), (80, "utf-8"), (80, "ascii"), (60, "latin-1")])
def test_on_a_real_terminal(columns: int, encoding: str, tmp_path: Path) -> None:
    seen = out_of(on_a_terminal(SCRIPT, tmp_path, columns=columns, encoding=encoding))
    assert all(len(line) <= columns for line in seen.splitlines())
    assert "a_parameter_with_a_really_l" in seen
    assert " of 20 trials" in seen
    end = seen[seen.rindex("20 of 20 trials, resource used") :].split("\n")
    assert any(line.startswith("best: trial ") for line in end)
    assert [line for line in end if line][-2:] == ["  rungwise explain s.db", "after"]


@pytest.fixture
def notebook(monkeypatch) -> list[tuple[str, dict[str, str]]]:
    """An IPython kernel as far as we see of it: what it was given to display."""
    given: list[tuple[str, dict[str, str]]] = []

    def display(content, *, raw, display_id, update=False) -> None:
        assert raw
        given.append((("update " if update else "new ") + display_id, content))

    def update_display(content, *, display_id, raw) -> None:
        display(content, raw=raw, display_id=display_id, update=True)

    ipython, module = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    module.display, module.update_display = display, update_display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return given


def test_in_a_notebook_one_output_is_updated_in_place(notebook, capfd, monkeypatch) -> None:
    monkeypatch.setattr(live, "IN_NOTEBOOK", 0.0)
    study = rw.tune(objectives.train, objectives.SPACE, mode="min", trials=9, workers=2)
    assert capfd.readouterr() == ("", "")
    first, *others = [name for name, _ in notebook]
    assert first.startswith("new ")
    assert others
    assert set(others) == {first.replace("new ", "update ")}
    last = notebook[-1][1]
    assert f"best: trial {study.best.number}" in last["text/plain"]
    assert "9 of 9 trials" in last["text/plain"]
    assert "best score" in last["text/html"]
    assert any("running" in content["text/plain"] for _, content in notebook[:-1])


def test_in_a_notebook_many_lines_do_not_flood_and_text_is_no_html(notebook) -> None:
    study = begun()
    with Display(study) as display:
        for n in range(20):
            display.say(f"line {n} <b>\x1b[0m")
        display.update()
        display.end()
    text = notebook[-1][1]
    assert "… 1" in text["text/plain"]
    assert "line 19" in text["text/plain"]
    assert "line 3 " not in text["text/plain"]
    assert "<b>" not in text["text/html"]
    assert "\x1b" not in text["text/html"]


def test_a_study_that_breaks_off_in_a_notebook_leaves_its_lines(notebook) -> None:
    def failing() -> None:
        with Display(begun()) as display:
            display.say("trial 1 failed")
            raise rw.StudyError("no more")

    with pytest.raises(rw.StudyError):
        failing()
    assert "trial 1 failed" in notebook[-1][1]["text/plain"]


class Breaking(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_stream_that_fails_is_said_once_to_the_log_and_then_there_is_silence(caplog) -> None:
    with Display(begun(), stream=Breaking()) as display:
        for _ in range(3):
            display.say("hello")
        display.end()
    assert [record.getMessage() for record in caplog.records] == [
        "standard error cannot be written (Broken pipe); the study continues silently"
    ]


def test_a_reader_who_does_not_read_is_waited_for_once(monkeypatch) -> None:
    monkeypatch.setattr("rungwise.report.stream.PATIENCE", 0.05)
    reading, writing = os.pipe()
    with open(writing, "w") as file, open(reading, "rb", buffering=0) as reader:
        stream = Stream(file)
        began = time.monotonic()
        for _ in range(2_000):
            stream.write("x" * 1_000)
        assert time.monotonic() - began < 30, "not 2,000 times"
        assert stream.failed is None
        while select.select([reader], [], [], 0)[0]:
            reader.read(65536)
        stream.write("there again\n")
        assert reader.read(100) == b"there again\n"
