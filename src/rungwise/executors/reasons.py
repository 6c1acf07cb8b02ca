"""Why did a job break off? In one line, with the place in the user's own code."""

from __future__ import annotations

import re
import signal
import sysconfig
import traceback
from pathlib import Path

from rungwise.words import shown

OURS = str(Path(__file__).parent.parent) + "/"
LIBRARIES = tuple({f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib", "purelib", "platlib")})
CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGABRT, signal.SIGILL}  # those that faulthandler sees
TAIL = 65536  # bytes at the end of a log in which a crash tells its place


class ProgramError(RuntimeError):
    """What a program did wrong; the message says it all."""


def reason(error: BaseException) -> str:
    """An exception in one line, with the last place in the user's code, or what is nearest to it."""
    if isinstance(error, ProgramError):
        return shown(" ".join(str(error).split()))[:500]
    place = _place([(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)])
    text = shown(" ".join(str(error).split()))  # it may hold what cannot be sent: file names that are no text do
    return f"{type(error).__name__}{': ' if text else ''}{text[:500]}{place}"


def _place(frames: list[tuple[str, int]]) -> str:
    """The last of `frames`, (file, line), that is the user's, else that is not ours: " (train.py:12)"."""
    theirs = [frame for frame in frames if not frame[0].startswith((OURS, "<frozen"))]
    users = [frame for frame in theirs if not frame[0].startswith(LIBRARIES)]
    for file, line in (users or theirs)[-1:]:
        return f" ({Path(file).name}:{line})"
    return ""


def death(code: int, log: Path | None = None, who: str = "the worker process") -> str:
    """How a process ended that should have gone on, by its exit code; `log` is where a crash tells its place."""
    if code >= 0:
        return f"{who} exited with code {code}"
    meant = "; out of memory?" if -code == signal.SIGKILL else ""
    crash = _crash(log) if log is not None and -code in CRASHES else ""
    return f"{who} was killed by {signal_name(-code)}{meant}{crash}"


def signal_name(number: int) -> str:
    """SIGKILL for 9; real-time signals have no names."""
    known = {each.value: each.name for each in signal.Signals}
    return known.get(number, f"signal {number}")


def _crash(log: Path) -> str:
    """Where faulthandler's last words in `log` say that the interpreter was, if it had any."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL))
            words = file.read().decode(errors="replace").rpartition("Fatal Python error: ")
    except OSError:
        return ""
    if not words[1]:
        return ""
    current = words[2].partition("Current thread ")[2].partition("\n\n")[0]
    frames = re.findall(r'^  File "(.*)", line (\d+) in', current, re.MULTILINE)
    return _place([(file, int(line)) for file, line in reversed(frames)])
