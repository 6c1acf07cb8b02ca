"""Any program, in any language, in the place of a function.

The program is started without a shell; what it says on its standard output, one JSON object a line, are its
reports: `{"resource": 3, "score": 0.91}`. Without "resource" it is the next one. Lines that are no such
object are passed on to the trial's log.
"""

from __future__ import annotations

import json
import string
import subprocess
from collections.abc import Iterable, Sequence
from typing import Any, final

from rungwise.names import InputError, suggestion
from rungwise.trial import Trial

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
        if isinstance(arguments, str) or not arguments or not all(isinstance(a, str) for a in arguments):
            raise InputError(f'a command is a list of text like ["python", "train.py", "{{lr}}"], not {arguments!r}')
        self.arguments = list(arguments)
        for argument in self.arguments:
            try:
                list(string.Formatter().parse(argument))
            except ValueError as error:
                raise InputError(f"{argument!r} in the command: {error}; write {{{{ and }}}} for braces") from None

    def check(self, names: Iterable[str]) -> None:
        """Whether every `{name}` is one of `names` or of ours."""
        known = [*names, *OURS]
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
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, errors="replace")
        assert process.stdout is not None
        try:
            for line in process.stdout:
                report = _report(line)
                if report is None:
                    print(line, end="", flush=True)
                else:
                    trial.report(report["score"], report.get("resource"))
            process.wait()
        finally:
            process.kill()  # nothing if it has ended; if a report was refused, it shall not train on
            process.stdout.close()
            process.wait()
        if process.returncode != 0:
            raise RuntimeError(f"{arguments[0]} ended with exit code {process.returncode}")


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
