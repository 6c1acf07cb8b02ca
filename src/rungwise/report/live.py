"""A study while it runs, and what came of it: a live table in a terminal and in a notebook, plain lines elsewhere.

The records of `logging.getLogger("rungwise")` are shown among its lines. Nothing here can end the study: a standard
error that cannot be written is said once to that logger, and then there is silence.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from contextvars import ContextVar
from types import TracebackType
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rungwise import explain
from rungwise.events import Fact, Raised
from rungwise.known import budget_in_words
from rungwise.report.notebook import Output, in_notebook
from rungwise.report.progress import Estimate
from rungwise.report.result import in_columns, next_step, no_result, result
from rungwise.report.stream import Stream, as_text_io
from rungwise.report.tables import drawn, failures, rungs_table, summary
from rungwise.state import StudyState
from rungwise.study import Study
from rungwise.words import ENCODE_ERRORS, duration, shown_lines

EVERY = 10.0  # seconds between plain lines
IN_PLACE = 0.25  # seconds between two pictures in a terminal
IN_NOTEBOOK = 1.0  # and in a notebook, where each is a message to the browser
NOTEBOOK_WIDTH = 100
CONFIG_LINES = 3  # of a picture, for the best configuration
OTHER_LINES = 9  # of a picture, besides the rungs
BAR = 8  # columns that a progress bar needs at least
LOGGER = logging.getLogger("rungwise")
_elsewhere: ContextVar[bool] = ContextVar("the result is said by the caller", default=False)


@contextlib.contextmanager
def result_elsewhere() -> Iterator[None]:
    """Within this a `Display` does not say the result: its caller does, on standard output."""
    before = _elsewhere.set(True)
    try:
        yield
    finally:
        _elsewhere.reset(before)


class Display:
    """Shows `study` on `stream` (default: standard error) while the `with` block runs; `quiet` shows nothing."""

    def __init__(self, study: Study, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._study, self._quiet = study, quiet
        self._stream = Stream(sys.stderr if stream is None else stream)
        self._console = Console(file=as_text_io(self._stream), force_jupyter=False, highlight=False)
        self._estimate = Estimate(study, time.monotonic())
        self._live: Live | None = None
        self._output: Output | None = None
        self._silent = False
        self._records = _Records(self)
        if not quiet and in_notebook():
            self._output = Output()
        elif not quiet and self._console.is_terminal and not self._console.is_dumb_terminal:
            stdout = sys.stdout is not None and not sys.stdout.closed and sys.stdout.isatty()
            self._live = Live(
                console=self._console, auto_refresh=False, transient=True, redirect_stdout=stdout, redirect_stderr=True
            )
        in_place = self._live is not None or self._output is not None
        self._next = time.monotonic() + (0.0 if in_place else EVERY)

    def __enter__(self) -> Display:
        if not self._quiet:
            LOGGER.addHandler(self._records)
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        if kind is KeyboardInterrupt:
            self._study.interrupted = True
            self._say_next()
        if self._output is not None and kind is not None:
            self._output.show("")
        LOGGER.removeHandler(self._records)

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._quiet or self._silent:
            return
        if self._output is not None:
            self._output.say(shown_lines(text))
        else:  # words stay whole on a terminal; elsewhere lines do
            self._console.print(Text(shown_lines(text)), soft_wrap=not self._console.is_terminal)
            self._look_at_stream()

    def _say_next(self) -> None:
        """The next step; on a terminal its command has its own line, which is not broken, so that it can be copied."""
        words, command = next_step(self._study)
        if not command or self._output is not None or not self._console.is_terminal:
            self.say(f"{words}: {command}" if command else words)
        else:
            self.say(f"{words}:")
            if not self._quiet and not self._silent:
                self._console.print(Text(f"  {command}"), soft_wrap=True)

    def __call__(self, state: StudyState, fact: Fact) -> None:
        """Say, as an observer of the study, that the ceiling rises."""
        if isinstance(fact, Raised):
            self.say(explain.rises([fact], several=len(state.ceilings or ()) > 1)[0].splitlines()[0])

    def update(self) -> None:
        """Show how the study stands; called often, draws a few times a second."""
        now = time.monotonic()
        if self._quiet or self._silent or now < self._next:
            return
        if self._output is not None:
            self._next = now + IN_NOTEBOOK
            self._output.show(drawn(self._picture(now, NOTEBOOK_WIDTH, None), NOTEBOOK_WIDTH))
        elif self._live is not None:
            self._next = now + IN_PLACE
            width, height = self._console.size
            self._live.update(self._picture(now, width, max(3, height - OTHER_LINES)), refresh=True)
            self._look_at_stream()
        else:
            self._next = now + EVERY
            self.say(self._line(now))

    def end(self) -> None:
        """Say what came of the run, unless the caller does; the last plain line is true in any case."""
        now = time.monotonic()
        if self._live is not None:
            self._live.stop()  # and its picture is gone
            self._live = None
        elif self._output is None and _elsewhere.get():
            self.say(self._line(now))
        if not _elsewhere.get():
            took = f"{summary(self._study)}, in {duration(self._estimate.elapsed(now))}"
            lines = result(self._study) or [no_result(self._study)]
            self.say("\n".join([took, *budget_in_words(self._study), *lines]))
            self._say_next()
        if self._output is not None:
            self._output.show(drawn(rungs_table(self._study), NOTEBOOK_WIDTH))

    def _look_at_stream(self) -> None:
        if self._stream.failed is not None and not self._silent:
            self._silent = True
            LOGGER.warning("standard error cannot be written (%s); the study continues silently", self._stream.failed)

    def _line(self, now: float) -> str:
        """One line on how the study stands at `now`."""
        progress = self._estimate.progress(now)
        running = self._study.state.under_way
        parts = [summary(self._study)]
        if running:
            parts.append(f"{running} running")
        parts.append(duration(self._estimate.elapsed(now)))
        if running and progress is not None and progress.left is not None:
            parts.append(f"about {duration(progress.left)} left")
        return ", ".join(parts)

    def _picture(self, now: float, width: int, rungs: int | None) -> RenderableType:
        """The study at `now`, on lines of no more than `width` columns."""
        study = self._study
        lines: list[RenderableType] = [rungs_table(study, most=rungs)]
        lines += [self._cropped(text) for text in result(study)[: 1 if study.metrics.names else -1]]
        if study.has_best and not study.metrics.names:
            lines += [self._cropped(f"  {text}") for text in in_columns(study.best.config, width - 4, CONFIG_LINES)]
        counts = [f"{study.state.under_way} running"]
        if failed := failures(study):
            counts.append(f"{failed} failed")
        counts.append(f"resource used {study.resource_used}")
        lines.append(self._cropped(", ".join(counts)))
        lines.append(self._bar(now, width))
        return Group(*lines)

    def _bar(self, now: float, width: int) -> RenderableType:
        """How far the study is: a bar where a total says so, words, and times."""
        progress = self._estimate.progress(now)
        elapsed = duration(self._estimate.elapsed(now))
        if progress is None:
            return self._cropped(elapsed)
        words = progress.words if progress.words.startswith(elapsed) else f"{progress.words}, {elapsed}"
        if progress.left is not None:
            words += f", about {duration(progress.left)} left"
        elif progress.fraction == 1.0:
            words += ", finishing the last jobs"
        room = width - len(words) - 1
        if room < BAR:
            return self._cropped(words)
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_row(ProgressBar(1.0, progress.fraction, width=room - 1), self._cropped(words))
        return grid

    def _cropped(self, text: str) -> Text:
        """`text` on one line, which ends with … where it is too long."""
        encoding = "utf-8" if self._output is not None else self._stream.encoding
        text = text.encode(encoding, ENCODE_ERRORS).decode(encoding)
        return Text(text, no_wrap=True, overflow="ellipsis" if encoding.lower().startswith("utf") else "crop")


class _Records(logging.Handler):
    """Shows warnings of ours as lines of the display."""

    def __init__(self, display: Display) -> None:
        super().__init__(logging.WARNING)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        self._display.say(record.getMessage())
