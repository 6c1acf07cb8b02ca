"""What if nobody can read it? Standard error as a stream that never raises, so that no study ends with its terminal.

A terminal goes away (EIO), a pipe is closed (EPIPE), a disk is full (ENOSPC), descriptor 2 or `sys.stderr` is closed:
the first time it falls silent, for good, and `failed` says why. A reader who does not read (Ctrl-S, a connection that
hangs) is waited for `PATIENCE` seconds, then what was to be said is lost.
"""

from __future__ import annotations

import io
import os
import select
from typing import TextIO, cast, final

from rungwise.words import ENCODE_ERRORS

PATIENCE = 1.0  # seconds for which a stream that is full is waited for, until it has been read from again


@final
class Stream:
    """`stream` without its errors; in any encoding, since what the encoding has not is written in other words."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.failed: str | None = "it is closed" if stream is None else None
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self._fd: int | None = None
        self._stuck = False  # whether nobody read last time
        if isinstance(stream, io.TextIOWrapper):
            # written to without its buffer: what a buffer keeps after an error fails again when Python ends
            try:
                stream.flush()
                self._fd = stream.fileno()
            except io.UnsupportedOperation:
                pass  # a file in memory
            except (OSError, ValueError) as error:
                self.failed = _words(error)

    def isatty(self) -> bool:
        """Whether a person sees it as it comes."""
        try:
            return self.failed is None and self._stream is not None and self._stream.isatty()
        except (OSError, ValueError):
            return False

    def fileno(self) -> int:
        """The descriptor, of which the size of a terminal is asked."""
        if self._fd is None:
            raise io.UnsupportedOperation("fileno")
        return self._fd

    def write(self, text: str) -> int:
        """Write `text`, or as much of it as can be."""
        if self.failed is None and self._stream is not None:
            try:
                content = text.encode(self.encoding, ENCODE_ERRORS)
                if self._fd is None:
                    self._stream.write(content.decode(self.encoding))
                    self._stream.flush()
                else:
                    self._write(content, self._fd)
            except (OSError, ValueError) as error:  # ValueError: closed
                self.failed = _words(error)
        return len(text)

    def _write(self, content: bytes, fd: int) -> None:
        ready = select.poll()
        ready.register(fd, select.POLLOUT)
        while content:
            if not ready.poll(0 if self._stuck else PATIENCE * 1000):
                self._stuck = True
                return
            self._stuck = False
            try:
                content = content[os.write(fd, content[: select.PIPE_BUF]) :]
            except BlockingIOError:
                return

    def flush(self) -> None:
        """Nothing is kept back."""


def as_text_io(stream: Stream) -> TextIO:
    """`stream` for those who ask for a `TextIO`, of which they use what there is."""
    return cast(TextIO, stream)


def _words(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)
