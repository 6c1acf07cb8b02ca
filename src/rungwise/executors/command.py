"""Any program, in any language, in the place of a function.

The program is started without a shell; what it says on its standard output, one JSON object a line, are its
reports: `{"resource": 3, "score": 0.91}`. Without "resource" it is the next one after `{start}`. Lines that are no such
object are passed on to the trial's log.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import math
import os
import secrets
import select
import signal
import string
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, final

from rungwise.errors import InputError, suggestion
from rungwise.executors import guard
from rungwise.executors.reasons import ProgramError, signal_name
from rungwise.trial import Trial
from rungwise.validation import as_score, whole

JOURNAL = "reports"  # a file in the trial's folder: the program may save without our knowing what it reported
LOOK = 0.1  # seconds between looks whether the program has ended
PIECE = 2**16  # bytes read at once
PIPE = 2**20  # bytes that may still be in the pipe of a program that has ended, and of a line
OWN_GROUP = sys.platform == "linux"
MARK = "RUNGWISE_PROGRAM"  # in the environment of all that a program starts: some leaves its group, as torchrun's ranks
OURS = ("trial", "start", "until", "folder", "checkpoint")
HORIZON = "horizon"  # younger than those: where a parameter has that name it is the parameter


@final
class Command:
    """A training function that runs the program `arguments`, with each `{name}` in them replaced.

    Names are the parameters of the space, `{trial}` (the trial's number), `{start}` and `{until}` (train from here to
    there), `{horizon}` (how far this trial may ever be trained: run learning-rate schedules over it, never over
    `{until}`), `{folder}` (the trial's own), and `{checkpoint}` (a path in it: load it if it exists, and save to it).
    `{{` and `}}` stand for braces. An inactive parameter becomes empty text.

    >>> Command(["python", "train.py", "--lr", "{lr}", "--epochs", "{until}"]).check(["lr"])

    Raises `InputError` for a command that is not a list of text, and, in `check`, for an unknown name.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        if (
            not isinstance(arguments, (list, tuple))
            or not arguments
            or not all(isinstance(argument, str) for argument in arguments)
        ):
            raise InputError(
                f'a command must be a list of text like ["python", "train.py", "{{lr}}"], not {arguments!r}'
            )
        self.arguments = list(arguments)
        for argument in self.arguments:
            try:
                parts = list(string.Formatter().parse(argument))
            except ValueError as error:
                raise InputError(f"{argument!r} in the command: {error}; write {{{{ and }}}} for braces") from None
            for _, name, form, conversion in parts:
                if form or conversion:
                    raise InputError(f"{argument!r} in the command: write {{{name}}} without a format")

    def check(self, names: Iterable[str], *, horizon: bool = True) -> None:
        """Whether every `{name}` is one of `names` or of ours; `horizon`: whether the study has one."""
        known = [*names, *OURS]
        if len(set(known)) < len(known):
            taken = next(ours for ours in OURS if known.count(ours) > 1)
            raise InputError(f"the parameter {taken!r} has the name of a built-in placeholder; rename it")
        for argument in self.arguments:
            for _, name, _, _ in string.Formatter().parse(argument):
                if name == HORIZON and name not in known:
                    if not horizon:
                        raise InputError(
                            "{horizon} in the command: nothing says how far a trial may ever be trained; set the "
                            "scheduler's max_resource, or horizon="
                        )
                elif name is not None and name not in known:
                    raise InputError(f"{{{name}}} in the command is unknown{suggestion(name, [*known, HORIZON])}")

    def __call__(self, trial: Trial) -> None:
        """Run the program for one job and pass on its reports."""
        ours: dict[str, object] = {
            "trial": trial.number,
            "start": trial.start,
            "until": trial.until,
            HORIZON: "" if trial.horizon is None else trial.horizon,
            "folder": trial.folder,
            "checkpoint": trial.folder / "state",
        }
        arguments = [_filled(argument, ours | trial.config) for argument in self.arguments]
        journal = trial.folder / JOURNAL
        for resource, score in _journal(journal):  # what a driver that died may not have noted
            if trial.start < resource <= trial.until:
                trial.report(score, resource)
        at = trial.start
        with _Program(arguments) as program:
            for line in program.lines():
                report = _report(line)
                if report is None:
                    print(line, end="", flush=True)
                    continue
                at, score = _checked(report, at, trial.until, line)
                if at <= trial.reported:
                    continue  # it was reported before: the program goes on from an older checkpoint
                with journal.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"resource": at, "score": score}) + "\n")
                trial.report(math.nan if score is None else score, at)
        if program.code != 0:
            killed = program.code < 0
            how = f"was killed by {signal_name(-program.code)}" if killed else f"ended with exit code {program.code}"
            raise ProgramError(f"{arguments[0]} {how}")


def _checked(report: dict[str, Any], before: int, until: int, line: str) -> tuple[int, Any]:
    """The resource and the score of a report; without a resource it is the one after `before`."""
    try:
        at = before + 1 if report.get("resource") is None else whole(report["resource"], '"resource"')
        if at > until:
            raise InputError(f"the job only goes to {{until}} = {until}")
        if report["score"] is None or isinstance(report["score"], str):
            raise InputError(f'"score" must be a number, not {json.dumps(report["score"])}')
        return at, as_score(report["score"])
    except InputError as error:
        raise ProgramError(
            f"the program's line {line.strip():.200} is not a valid report: {str(error).partition(';')[0]}"
        ) from None


@final
class _Program:
    """A program that runs; with it ends all that it started."""

    def __init__(self, arguments: list[str]) -> None:
        # a process group of its own, within the session of the worker, which is ended as a whole with it; where
        # sessions cannot be looked through, it stays in the worker's group, and only the program itself is ended
        group = 0 if OWN_GROUP else None
        self._mark = f"{MARK}={secrets.token_hex(8)}"
        try:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                process_group=group,
                env=os.environ | dict([self._mark.split("=")]),
            )
        except OSError as error:
            raise ProgramError(f"{arguments[0]} cannot be started: {error.strerror}") from error
        self.code = 0

    def __enter__(self) -> _Program:
        return self

    def __exit__(self, *_: object) -> None:
        """End it and its children, if it has not ended: if a report was refused, it shall not train on."""
        with contextlib.suppress(ProcessLookupError):  # the usual end: none of them is left
            (os.killpg if OWN_GROUP else os.kill)(self._process.pid, signal.SIGKILL)
        guard.kill_marked(self._mark)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self.code = self._process.wait()

    def lines(self) -> Iterator[str]:
        """What it prints, line by line, until it has ended; children of it that keep its output are not waited for."""
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        os.set_blocking(fd, False)
        waiting = select.poll()
        waiting.register(fd, select.POLLIN)
        decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
        text, left = "", math.inf
        while left > 0:
            waiting.poll(1000 * LOOK if left == math.inf else 0)
            try:
                data = os.read(fd, PIECE)
            except BlockingIOError:
                if left < math.inf:
                    break
                if self._process.poll() is not None:
                    left = PIPE
                continue
            if not data:
                break
            if left == math.inf and self._process.poll() is not None:  # a child of it may write without end
                left = PIPE
            left -= len(data)
            *lines, text = (text + decoder.decode(data)).split("\n")
            if len(text) > PIPE:
                lines, text = [*lines, text], ""
            for line in lines:
                yield f"{line}\n"
        if text:
            yield text
        self._process.wait()


def _journal(path: Path) -> list[tuple[int, float]]:
    """The reports in a journal, by resource; a last line that is not whole is ended, so that none is added to it."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    if not text.endswith("\n"):
        with path.open("a", encoding="utf-8") as file:
            file.write("\n")
    found = {
        r["resource"]: math.nan if r["score"] is None else r["score"] for r in map(_report, text.splitlines()) if r
    }
    return sorted(found.items())


def _filled(argument: str, values: dict[str, object]) -> str:
    parts = []
    for text, name, _, _ in string.Formatter().parse(argument):
        parts.append(text)
        if name is not None:
            value = values.get(name, "")  # a parameter that does not exist under the others' values
            parts.append(value if isinstance(value, str) else _plain_text(value))
    return "".join(parts)


def _plain_text(value: object) -> str:
    return json.dumps(value) if isinstance(value, (bool, list, dict, type(None))) else str(value)


def _report(line: str) -> dict[str, Any] | None:
    if not line.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        return None
    return value if isinstance(value, dict) and "score" in value else None
