"""Any program, in any language, in the place of a function.

The program is started without a shell; what it says on its standard output, one JSON object a line, are its
reports: `{"resource": 3, "score": 0.91}`. Without "resource" it is the next one after `{start}`. Lines that are no such
object are passed on to the trial's log.
"""

from __future__ import annotations

import json
import math
import string
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, final

from rungwise.names import InputError, suggestion
from rungwise.trial import Trial
from rungwise.values import as_score, whole

JOURNAL = "reports"  # a file in the trial's folder: the program may save without our knowing what it reported
OURS = ("trial", "start", "until", "folder", "checkpoint")


@final
class Command:
    """A training function that runs the program `arguments`, with `{name}` replaced in each of them.

    Names are the parameters of the space, and `{trial}` (its number), `{start}` and `{until}` (train from
    here to there), `{folder}` (the trial's own), `{checkpoint}` (a path in it: load what is there, if
    anything, and save there). `{{` and `}}` stand for braces. A parameter that does not exist under the
    values of others becomes empty text.

    >>> Command(["python", "train.py", "--lr", "{lr}", "--epochs", "{until}"]).check(["lr"])

    Raises `InputError` for a command that is not a list of text, and, in `check`, for an unknown name.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        if (
            not isinstance(arguments, (list, tuple))
            or not arguments
            or not all(isinstance(argument, str) for argument in arguments)
        ):
            raise InputError(f'a command is a list of text like ["python", "train.py", "{{lr}}"], not {arguments!r}')
        self.arguments = list(arguments)
        for argument in self.arguments:
            try:
                parts = list(string.Formatter().parse(argument))
            except ValueError as error:
                raise InputError(f"{argument!r} in the command: {error}; write {{{{ and }}}} for braces") from None
            for _, name, form, conversion in parts:
                if form or conversion:
                    raise InputError(f"{argument!r} in the command: only {{{name}}} is understood, without a format")

    def check(self, names: Iterable[str]) -> None:
        """Whether every `{name}` is one of `names` or of ours."""
        known = [*names, *OURS]
        if len(set(known)) < len(known):
            taken = next(ours for ours in OURS if known.count(ours) > 1)
            raise InputError(f"the parameter {taken!r} has the name of a placeholder of ours; call it otherwise")
        for argument in self.arguments:
            for _, name, _, _ in string.Formatter().parse(argument):
                if name is not None and name not in known:
                    raise InputError(f"{{{name}}} in the command is unknown{suggestion(name, known)}")

    def __call__(self, trial: Trial) -> None:
        """Run the program for one job and pass on its reports."""
        values = {
            "trial": trial.number,
            "start": trial.start,
            "until": trial.until,
            "folder": trial.folder,
            "checkpoint": trial.folder / "state",
        } | trial.config
        arguments = [_filled(argument, values) for argument in self.arguments]
        journal = trial.folder / JOURNAL
        for resource, score in _journal(journal):  # what a driver that died may not have noted
            if trial.start < resource <= trial.until:
                trial.report(score, resource)
        at = trial.start
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, errors="replace")
        assert process.stdout is not None
        try:
            for line in process.stdout:
                report = _report(line)
                if report is None:
                    print(line, end="", flush=True)
                    continue
                at = at + 1 if report.get("resource") is None else whole(report["resource"], "resource")
                if at <= trial.reported:
                    continue  # it was reported before: the program goes on from an older checkpoint
                if at <= trial.until:
                    with journal.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({"resource": at, "score": as_score(report["score"])}) + "\n")
                trial.report(report["score"], at)
            process.wait()
        finally:
            process.kill()  # nothing if it has ended; if a report was refused, it shall not train on
            process.stdout.close()
            process.wait()
        if process.returncode != 0:
            raise RuntimeError(f"{arguments[0]} ended with exit code {process.returncode}")


def _journal(path: Path) -> list[tuple[int, float]]:
    """The reports in a journal; the last line is left out if it is not whole."""
    if not path.exists():
        return []
    reports = filter(None, map(_report, path.read_text(encoding="utf-8").splitlines()))
    return [(r["resource"], math.nan if r["score"] is None else r["score"]) for r in reports]


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
