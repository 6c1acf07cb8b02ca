"""The command `rungwise` as its script starts it: Ctrl-C is one line from the first moment.

Outside the package, since importing anything of that takes a fifth of a second, in which Ctrl-C would be a traceback.
"""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType


def _stopped(number: int = 0, frame: FrameType | None = None) -> None:
    """End at once: nothing has been begun yet, or all has been written."""
    with contextlib.suppress(OSError):
        os.write(2, b"rungwise: stopped\n")
    os._exit(130)


def main() -> None:
    """Import the command and run it."""
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not so under nohup and the like
    if ours:
        signal.signal(signal.SIGINT, _stopped)
    from rungwise.cli import main as command

    try:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        command()
    except KeyboardInterrupt:
        _stopped()
    finally:
        if ours:  # what is left is the end of the interpreter, where it would be a traceback again
            signal.signal(signal.SIGINT, signal.SIG_IGN)
