"""What a worker keeps of the main script, and what a function may do to its process."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest

import rungwise as rw
from rungwise.executors.shipping import pickled, unpickled

RUNGWISE = str(Path(sys.executable).with_name("rungwise"))


def script(folder: Path, code: str, *, shell: str = "", **arguments) -> subprocess.CompletedProcess[str]:
    """Run `code` as a main script in `folder`."""
    (folder / "script.py").write_text(code)
    command = ["sh", "-c", f'exec "$0" script.py {shell}', sys.executable]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, **arguments)


def logs(folder: Path) -> str:
    return (folder / "s.db.trials" / "000000.log").read_text()


def tune(function, **arguments) -> rw.Study:
    defaults = {"mode": "min", "trials": 2, "retries": 0, "scheduler": rw.ASHA(max_resource=1), "quiet": True}
    return rw.tune(function, {"x": rw.Float(0, 1)}, **defaults | arguments)


HEAD = """
import logging, sys
import rungwise as rw

def run(train, **more):
    return rw.tune(train, {"x": rw.Float(0, 1)}, mode="min", trials=1, retries=0, quiet=True, study="s.db",
                   scheduler=rw.ASHA(max_resource=1), **more)
"""
LOGS = """
def train(trial):
    logging.info("epoch by epoch")
    logging.getLogger("mine").debug("in detail")
    logging.getLogger("other").debug("too much")
    trial.report(0.5)
"""


def test_logging_is_as_the_main_script_has_set_it(tmp_path: Path) -> None:
    ways = 'logging.basicConfig(level=logging.INFO, format="%(levelname)s [%(name)s] %(message)s")\n'
    ways += 'logging.getLogger("mine").setLevel(logging.DEBUG)\n'
    done = script(tmp_path, HEAD + LOGS + ways + "run(train)")
    assert done.returncode == 0, done.stderr
    assert logs(tmp_path).splitlines() == ["INFO [root] epoch by epoch", "DEBUG [mine] in detail"]


def test_where_the_main_script_has_said_nothing_the_function_may_set_logging_itself(tmp_path: Path) -> None:
    code = HEAD + LOGS.replace(
        "    logging.info", '    logging.basicConfig(level=logging.INFO, format="%(message)s!")\n    logging.info'
    )
    assert script(tmp_path, code + "run(train)").returncode == 0
    assert logs(tmp_path) == "epoch by epoch!\n"


def test_handlers_of_named_loggers_come_along(tmp_path: Path) -> None:
    ways = """
def handle(name, form, level=0, **more):
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(form, **more))
    handler.setLevel(level)
    logging.getLogger(name).addHandler(handler)

logging.getLogger("mine").setLevel(logging.DEBUG)
handle("mine", "mine: %(message)s")
logging.getLogger("apart").setLevel(logging.DEBUG)
logging.getLogger("apart").propagate = False
handle("apart", "apart: {message}", logging.INFO, style="{")
logging.getLogger("off").disabled = True
handle("off", "off: %(message)s")
logging.getLogger("library").addHandler(logging.NullHandler())
logging.basicConfig(format="root: %(message)s")

def train(trial):
    logging.getLogger("mine").debug("in detail")
    logging.getLogger("apart").debug("too much")
    logging.getLogger("apart").info("not handed up")
    logging.getLogger("off").error("silenced")
    logging.getLogger("library").warning("by the root")
    trial.report(0.5)
"""
    done = script(tmp_path, HEAD + ways + "run(train)")
    assert done.returncode == 0, done.stderr
    assert logs(tmp_path).splitlines() == [
        "mine: in detail", "root: in detail", "apart: not handed up", "root: by the root"
    ]  # fmt: skip


def test_what_is_disabled_for_all_loggers_is_so_in_workers(tmp_path: Path) -> None:
    ways = "logging.basicConfig(level=logging.INFO)\nlogging.disable(logging.INFO)\n"
    assert script(tmp_path, HEAD + LOGS + ways + "run(train)").returncode == 0
    assert logs(tmp_path) == ""


def test_a_module_that_adds_its_own_handler_has_one_in_a_worker(tmp_path: Path) -> None:
    module = "import logging\nlogging.getLogger('mine').addHandler(logging.StreamHandler())\n"
    module += "def train(trial):\n    logging.getLogger('mine').warning('once')\n    trial.report(0.5)\n"
    (tmp_path / "training.py").write_text(module)
    done = script(tmp_path, HEAD + "import training\nrun(training.train)")
    assert done.returncode == 0, done.stderr
    assert logs(tmp_path) == "once\n"


RAISES = """
def inner(config):
    return config["no such name"]  # the line that raises

def train(trial):
    inner(trial.config)
"""


def test_a_traceback_shows_the_lines_of_the_main_script(tmp_path: Path) -> None:
    done = script(tmp_path, HEAD + RAISES + "print(run(train).trials[0].failure)")
    line = next(n for n, text in enumerate((HEAD + RAISES).splitlines(), 1) if "the line that raises" in text)
    assert done.stdout == f"KeyError: 'no such name' (script.py:{line})\n"
    assert f'script.py", line {line}, in inner\n    return config["no such name"]  # the line that raises' in logs(
        tmp_path
    )


def test_a_traceback_shows_the_lines_of_a_notebooks_cell(tmp_path: Path) -> None:
    """IPython puts the source of each cell into `linecache`, under a name that is no file."""
    code = f"""
import linecache
{HEAD}
cell, name = {RAISES!r}, "/tmp/ipykernel_17/2930412.py"
linecache.cache[name] = (len(cell), None, cell.splitlines(True), name)
exec(compile(cell, name, "exec"))
print(run(train).trials[0].failure)
"""
    assert script(tmp_path, code).stdout == "KeyError: 'no such name' (2930412.py:3)\n"
    assert '/tmp/ipykernel_17/2930412.py", line 3, in inner\n    return config["no such name"]' in logs(tmp_path)


def reports_text(trial: rw.Trial) -> None:
    trial.report("0.5")


def fails_in_a_library(trial: rw.Trial) -> None:
    np.linalg.inv(np.zeros((2, 2)))


def line_of(text: str) -> int:
    return next(n for n, line in enumerate(Path(__file__).read_text().splitlines(), 1) if line.strip() == text)


def test_the_place_of_a_failure_is_the_users_line() -> None:
    refused = tune(reports_text).trials[0].failure
    line = line_of('trial.report("0.5")')
    assert (
        refused
        == f"InputError: a score must be one number, not '0.5'; use report(float(score)) (test_worker.py:{line})"
    )
    singular = tune(fails_in_a_library).trials[0].failure
    assert singular == f"LinAlgError: Singular matrix (test_worker.py:{line_of('np.linalg.inv(np.zeros((2, 2)))')})"


def crashes(trial: rw.Trial) -> None:
    import ctypes

    ctypes.string_at(0)


def test_a_crash_leaves_its_traceback_in_the_log_and_its_place_in_the_reason(tmp_path: Path) -> None:
    study = tune(crashes, study=tmp_path / "s.db")
    line = line_of("ctypes.string_at(0)")
    assert study.trials[0].failure == f"the worker process was killed by SIGSEGV (test_worker.py:{line})"
    assert "Fatal Python error: Segmentation fault" in logs(tmp_path)
    assert f'test_worker.py", line {line} in crashes' in logs(tmp_path)


def returns_its_score(trial: rw.Trial) -> float:
    return np.float32(0.5)


def loops_and_returns_its_score(trial: rw.Trial) -> float:
    for _ in trial:
        pass
    return 0.93


def returns_what_is_no_score(trial: rw.Trial) -> object:
    return {"model": "trained"}


def test_a_score_that_is_returned_and_not_reported_is_told_where_it_belongs() -> None:
    for function, score in ((returns_its_score, "0.5"), (loops_and_returns_its_score, "0.93")):
        assert tune(function).trials[0].failure == (
            f"the function returned {score} but reported nothing; loop `for epoch in trial:` and call "
            "trial.report(score) after each epoch"
        )
    assert "returned at resource 0, before trial.until = 1" in str(tune(returns_what_is_no_score).trials[0].failure)


def reports_and_returns(trial: rw.Trial) -> float:
    trial.report(0.5)
    return 0.5


def test_what_is_returned_after_reporting_is_nobodys_business() -> None:
    assert tune(reports_and_returns).trials[0].failure is None


# Standard output and error, which may be anything.


def closes_its_output(trial: rw.Trial) -> None:
    print("hello")
    sys.stdout.close()
    sys.stderr.close()
    trial.report(0.5)


def has_no_output(trial: rw.Trial) -> None:
    print("hello")
    sys.stdout = sys.stderr = None
    trial.report(0.5)


def closes_the_descriptors(trial: rw.Trial) -> None:
    print("hello", flush=True)
    os.close(1)
    os.close(2)
    trial.report(0.5)


@pytest.mark.parametrize("function", [closes_its_output, has_no_output, closes_the_descriptors])
def test_a_function_that_closes_its_output_has_done_its_job(function, tmp_path: Path) -> None:
    study = tune(function, study=tmp_path / "s.db", trials=4)
    assert [record.failure for record in study.trials] == [None] * 4
    assert {log.read_text() for log in (tmp_path / "s.db.trials").glob("*.log")} == {"hello\n"}, (
        "the next one has its own"
    )


def closes_its_output_and_fails(trial: rw.Trial) -> None:
    sys.stdout = None
    sys.stderr.close()
    raise ValueError("no such layer")


def test_a_failure_with_closed_output_is_in_the_log(tmp_path: Path) -> None:
    study = tune(closes_its_output_and_fails, study=tmp_path / "s.db")
    assert str(study.trials[0].failure).startswith("ValueError: no such layer (test_worker.py:")
    assert "ValueError: no such layer" in logs(tmp_path)


PRINTS = """
def train(trial):
    print("to the log é", flush=True)
    print("errors, too", file=sys.stderr)
    trial.report(0.5)
"""
CLOSED = ["2>&-", ">&-", ">&- 2>&-", "<&- >&- 2>&-"]


@pytest.mark.parametrize("closed", CLOSED)
def test_a_driver_whose_output_is_closed(closed: str, tmp_path: Path) -> None:
    code = HEAD + PRINTS + 'study = run(train)\nopen("result", "w").write(str(study.trials[0].failure))'
    done = script(tmp_path, code, shell=closed)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "result").read_text() == "None"
    assert logs(tmp_path) == "to the log é\nerrors, too\n"


@pytest.mark.parametrize("closed", CLOSED)
def test_a_command_whose_output_is_closed(closed: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(HEAD + PRINTS + 'SPACE = {"x": rw.Float(0, 1)}\n')
    words = "tune script.py:train --space script.py:SPACE --mode min --trials 4 --study s.db --workers 2"
    words += " --scheduler asha --max-resource 1"
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" {words} {closed}', RUNGWISE], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    study = rw.Study.open(tmp_path / "s.db")
    assert [record.failure for record in study.trials] == [None] * 4
    assert logs(tmp_path) == "to the log é\nerrors, too\n"


def test_the_pickled_function_is_nowhere_that_another_could_have_prepared(tmp_path: Path) -> None:
    folder = tmp_path / "s.db.trials"
    folder.mkdir()
    (tmp_path / "theirs").write_text("dear to somebody")
    (folder / "function").symlink_to(tmp_path / "theirs")
    assert tune(reports_and_returns, study=tmp_path / "s.db").trials[0].failure is None
    assert (tmp_path / "theirs").read_text() == "dear to somebody"


def test_a_module_of_a_class_of_its_own_is_sent_by_its_name(monkeypatch) -> None:
    """As torch.distributed.config is, which cloudpickle wants to send with any function that says `config`."""

    class Configured(types.ModuleType):
        def __init__(self, name: str) -> None:
            super().__init__(name)
            self.lock = threading.Lock()

    module = Configured("a_package.config")
    assert "a_package.config" not in sys.modules
    with pytest.raises(rw.InputError, match="cannot be sent"):
        pickled(module)
    monkeypatch.setitem(sys.modules, "a_package", types.ModuleType("a_package"))
    monkeypatch.setitem(sys.modules, "a_package.config", module)
    assert unpickled(*pickled(module)) is module


def test_too_few_open_files_are_said_before_any_training(tmp_path: Path) -> None:
    code = HEAD + PRINTS + "run(train, workers=64)"
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))  # noqa: E731
    done = script(tmp_path, code, preexec_fn=limit)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("rungwise.errors.InputError: 64 workers need about ")
    assert last.endswith(
        "open files, but this process may have only 48; allow more with `ulimit -n`, or use fewer workers"
    )
