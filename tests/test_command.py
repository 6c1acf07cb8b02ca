"""Any program as the objective."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rungwise as rw
from rungwise.events import Job
from rungwise.executors.reasons import reason
from rungwise.trial import Trial

PROGRAM = """
import json, os, sys
lr, until, checkpoint = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
start = int(open(checkpoint).read()) if os.path.exists(checkpoint) else 0
print("starting at", start)
for epoch in range(start + 1, until + 1):
    print(json.dumps({"resource": epoch, "score": (lr - 0.3) ** 2 + 1 / epoch, "loss": 3}), flush=True)
open(checkpoint, "w").write(str(until))
"""


def run(code: str, words: list[str], config: dict, folder: Path, until: int = 3) -> list[tuple[int, float | None]]:
    """What the Python program `code` reports when it is called with `words`."""
    sent: list = []
    (folder / "program.py").write_text(code)
    rw.Command([sys.executable, str(folder / "program.py"), *words])(
        Trial(Job(5, config, 0, until), folder, sent.append)
    )
    return [(fact.resource, fact.score) for fact in sent]


def test_a_program_is_tuned_paused_and_resumed(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PROGRAM)
    command = rw.Command([sys.executable, str(tmp_path / "train.py"), "{lr}", "{until}", "{checkpoint}"])
    study = rw.tune(
        command,
        {"lr": rw.Float(0, 1)},
        mode="min",
        scheduler=rw.PASHA(max_resource=9),
        trials=9,
        workers=2,
        study=tmp_path / "s.db",
        refit=True,
        quiet=True,
    )
    assert len(study.trials) == 9
    assert not study.decider.restarted, "every job goes on from the program's own checkpoint"
    log = (tmp_path / "s.db.trials" / f"{study.best.number:06d}.log").read_text()
    assert "starting at 0" in log
    assert "starting at 3" in log


def test_arguments_are_filled_in_and_no_shell_reads_them(tmp_path: Path) -> None:
    code = "import json, sys; open(sys.argv[1], 'w').write(json.dumps(sys.argv[2:])); print(json.dumps({'score': 1}))"
    config = {"name": "$(touch hacked); `id` | rm", "deep": True, "sizes": [1, 2], "none": None, "lr": 1e-05}
    words = ["--{name}", "{deep}", "{sizes}", "{none}", "x={lr}", "{trial}:{start}-{until}", "{{}}", "{folder}"]
    told = run(code, [str(tmp_path / "out"), *words], config, tmp_path, until=1)
    assert told == [(1, 1.0)]
    seen = json.loads((tmp_path / "out").read_text())
    assert seen == [f"--{config['name']}", "true", "[1, 2]", "null", "x=1e-05", "5:0-1", "{}", str(tmp_path)]


def test_lines_that_are_no_reports_are_passed_on(tmp_path: Path, capfd) -> None:
    lines = ["hello", '{"epoch": 1}', "{broken", '{"score": 0.5}', "[1]", '{"score": NaN, "resource": 3}']
    told = run("\n".join(f"print({line!r})" for line in lines), [], {}, tmp_path)
    assert told == [(1, 0.5), (3, None)]
    assert capfd.readouterr().out.splitlines() == ["hello", '{"epoch": 1}', "{broken", "[1]"]


def test_a_job_whose_program_is_at_its_end_already_is_done(tmp_path: Path) -> None:
    """The driver died after the program had saved: it prints nothing now, and its reports are sent again."""
    lines = [json.dumps({"resource": r, "score": 1 / r}) for r in (1, 2, 3)]
    first = "\n".join(f"print({line!r})" for line in lines)
    assert [r for r, _ in run(first, [], {}, tmp_path)] == [1, 2, 3]
    assert [r for r, _ in run("pass", [], {}, tmp_path)] == [1, 2, 3]
    older = "\n".join(f"print({line!r})" for line in lines[1:])  # it goes on from an older checkpoint
    assert [r for r, _ in run(older, [], {}, tmp_path)] == [1, 2, 3]


def test_reports_without_a_resource_count_from_the_start_of_the_job(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("print('{\"score\": 1}')\n" * 6)
    sent: list = []
    rw.Command([sys.executable, str(tmp_path / "program.py")])(Trial(Job(0, {}, 3, 9), tmp_path, sent.append))
    assert [fact.resource for fact in sent] == [4, 5, 6, 7, 8, 9]


def test_the_program_has_the_users_own_python_path(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code = f"import json, os; open({str(tmp_path / 'out')!r}, 'w').write(os.environ['PYTHONPATH']); print(json.dumps(dict(score=1)))"
    (tmp_path / "program.py").write_text(code)
    command = rw.Command([sys.executable, str(tmp_path / "program.py")])
    rw.tune(command, {"x": rw.Float(0, 1)}, mode="min", trials=1, quiet=True)
    assert (tmp_path / "out").read_text() == str(tmp_path)


def test_an_exit_code_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ended with exit code 3"):
        run("raise SystemExit(3)", [], {}, tmp_path)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ('{"score": "high"}', '"score" must be a number, not "high"'),
        ('{"score": null}', '"score" must be a number, not null'),
        ('{"score": [1, 2]}', "a score must be one number, not [1, 2]"),
        ('{"score": 1, "resource": 4}', "the job only goes to {until} = 3"),
        ('{"score": 1, "resource": "two"}', "\"resource\" must be a whole number, not 'two'"),
    ],
)
def test_a_program_whose_report_is_refused_is_ended(line: str, wrong: str, tmp_path: Path) -> None:
    code = f"import time; print({line!r}, flush=True); time.sleep(600)"
    began = time.monotonic()
    with pytest.raises(RuntimeError) as error:
        run(code, [], {}, tmp_path)
    assert reason(error.value) == f"the program's line {line} is not a valid report: {wrong}", (
        "of the program, not of functions"
    )
    assert time.monotonic() - began < 10


CHILD = "child = subprocess.Popen(['sleep', '600']); print(child.pid, file=open('child', 'w'), flush=True)"


def the_child(folder: Path) -> int:
    """The number of the process that the program has started, when it has."""
    path = folder / "child"
    while not path.exists() or not path.read_text().endswith("\n"):
        time.sleep(0.02)
    return int(path.read_text())


def is_gone(process: int) -> bool:
    """Whether `process` is dead by now, or within some seconds."""
    for _ in range(500):
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    ("after", "wrong"),
    [("", None), ("raise SystemExit(3)", "exit code 3"), ("print('{\"score\": []}')", "not a valid report")],
)
def test_with_a_program_ends_what_it_has_started(after: str, wrong: str | None, tmp_path: Path, monkeypatch) -> None:
    """A child in the background that keeps the program's standard output does not hold up the job."""
    monkeypatch.chdir(tmp_path)
    code = f"import subprocess\n{CHILD}\nprint('{{\"score\": 1}}', flush=True)\n{after}"
    with pytest.raises(RuntimeError, match=wrong) if wrong else contextlib.nullcontext():
        assert run(code, [], {}, tmp_path, until=1) == [(1, 1.0)]
    assert is_gone(the_child(tmp_path))


def test_what_a_program_has_printed_is_read_to_its_end_though_a_child_keeps_its_output(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = f"import subprocess\n{CHILD}\nfor n in range(1, 1_001): print('{{\"score\": %d}}' % n)"
    assert [score for _, score in run(code, [], {}, tmp_path, until=1_000)] == list(range(1, 1_001))


ENDLESS = "import os, time\nwhile os.getppid() == {}: time.sleep(0.01)\nwhile True: os.write(1, b'x' * 4095 + b'\\n')"


@pytest.mark.timeout(60)
def test_a_child_that_writes_without_end_does_not_hold_up_the_job(tmp_path: Path, monkeypatch, capfd) -> None:
    """What had been printed when the program ended is read: no more than the pipe holds of what its child writes."""
    monkeypatch.chdir(tmp_path)
    child = f"[sys.executable, '-c', {ENDLESS!r}.format(os.getpid())]"
    code = f"import os, subprocess, sys\nfor n in range(1, 1_001): print('{{\"score\": %d}}' % n)\nsubprocess.Popen({child})"
    assert [score for _, score in run(code, [], {}, tmp_path, until=1_000)] == list(range(1, 1_001))
    assert len(capfd.readouterr().out) < 3 * 2**20


DRIVER = """
import sys
import rungwise as rw
rw.tune(rw.Command([sys.executable, "program.py"]), {"x": rw.Float(0, 1)}, mode="min", trials=2, quiet=True)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="its sessions cannot be looked through")
@pytest.mark.parametrize("who", ["the driver", "the worker"])
def test_a_program_and_its_children_are_gone_when_one_above_is_killed(who: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(f"import subprocess, time\n{CHILD}\ntime.sleep(600)")
    driver = subprocess.Popen([sys.executable, "-c", DRIVER], cwd=tmp_path, stdout=subprocess.PIPE)
    child = the_child(tmp_path)
    (program,) = {int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])}
    worker = int(Path(f"/proc/{program}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(driver.pid if who == "the driver" else worker, signal.SIGKILL)
    assert is_gone(child)
    assert is_gone(program)
    assert is_gone(worker)
    driver.kill()
    driver.communicate()


def test_progress_bars_without_a_line_end_are_lines(tmp_path: Path, capfd) -> None:
    code = "import sys\nfor n in range(3): sys.stdout.write(f'\\r{n} of 3'); sys.stdout.flush()\nprint()\nprint('{\"score\": 1}')"
    assert run(code, [], {}, tmp_path, until=1) == [(1, 1.0)]
    assert capfd.readouterr().out.splitlines() == ["", "0 of 3", "1 of 3", "2 of 3"]


def test_words_about_a_program_speak_of_the_program(tmp_path: Path) -> None:
    said = {}
    for name, code in {
        "nothing": "print('hello')",
        "too few": "print('{\"score\": 1}', flush=True)",
        "exits": "raise SystemExit(2)",
        "is killed": "import os; os.kill(os.getpid(), 11)",
    }.items():
        (tmp_path / "program.py").write_text(code)
        study = rw.tune(
            rw.Command([sys.executable, str(tmp_path / "program.py")]), {"x": rw.Float(0, 1)}, mode="min", trials=1,
            retries=0, quiet=True, scheduler=rw.ASHA(min_resource=3, max_resource=9),
        )  # fmt: skip
        said[name] = study.trials[0].failure
    assert said == {
        "nothing": 'the program reported nothing between 0 and 3; report at least once by then (a line {"resource": …, '
        '"score": …}), or set min_resource to how often it reports',
        "too few": "the program ended at resource 1, before {until} = 3; let it train up to {until}, and report there",
        "exits": f"{sys.executable} ended with exit code 2",
        "is killed": f"{sys.executable} was killed by SIGSEGV",
    }


def test_a_program_that_saves_nothing_is_told_where_to_save(tmp_path: Path, capfd) -> None:
    code = 'import sys\nfor n in range(1, int(sys.argv[1]) + 1): print(\'{"resource": %d, "score": %d}\' % (n, n))'
    (tmp_path / "program.py").write_text(code)
    command = rw.Command([sys.executable, str(tmp_path / "program.py"), "{until}"])
    rw.tune(command, {"x": rw.Float(0, 1)}, mode="min", trials=3, scheduler=rw.ASHA(max_resource=3))
    said = " ".join(capfd.readouterr().err.split())
    assert "let the program load {checkpoint} at the start and save to it at the end" in said
    assert "trial.save" not in said


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="nothing cannot be started: No such file or directory"):
        rw.Command([str(tmp_path / "nothing")])(Trial(Job(0, {}, 0, 1), tmp_path, print))


def test_a_journal_that_was_torn_loses_nothing_that_comes_after(tmp_path: Path) -> None:
    """A driver that died left half a line, and bytes that are no text; the reports after it are whole lines."""
    (tmp_path / "reports").write_bytes(b'{"resource": 1, "score": 0.5}\n\xff\x00{"resource": 2, "sc')
    lines = "\n".join(f"print({json.dumps({'resource': r, 'score': 1 / r})!r})" for r in (1, 2, 3))
    assert run(lines, [], {}, tmp_path) == [(1, 0.5), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert [resource for resource, _ in run("pass", [], {}, tmp_path)] == [1, 2, 3]


def test_a_journal_is_told_in_the_order_of_its_resources(tmp_path: Path) -> None:
    """The log had lost its end: the trial was given out again to less than the program had reported."""
    (tmp_path / "reports").write_text("".join(json.dumps({"resource": r, "score": r}) + "\n" for r in (1, 3, 2)))
    assert run("pass", [], {}, tmp_path) == [(1, 1), (2, 2), (3, 3)]
