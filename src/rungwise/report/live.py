"""A study while it runs: a live table and a progress bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from rungwise import explain
from rungwise.report.tables import rungs_table, summary
from rungwise.study import Study

EVERY = 10.0  # seconds between plain lines


class Display:
    """Shows `study` on `console` while the `with` block runs; `quiet` shows nothing."""

    def __init__(self, study: Study, console: Console, *, quiet: bool = False) -> None:
        self._study, self._console, self._quiet = study, console, quiet
        self._rises = len(study.rises)
        self._next_line = time.monotonic() + (0.0 if console.is_terminal else EVERY)
        self._live: Live | None = None
        if console.is_terminal and not quiet:
            self._progress = Progress(
                TextColumn("trials"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
            )
            self._task = self._progress.add_task("trials", total=study.budget.trials)
            self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        if not self._quiet:
            self._console.print(Text(text), soft_wrap=True)

    def update(self) -> None:
        """Show how the study stands; called often, draws a few times a second."""
        study = self._study
        for rise in study.rises[self._rises :]:
            self.say(explain.rise(rise).splitlines()[0])
        self._rises = len(study.rises)
        now = time.monotonic()
        if self._quiet or now < self._next_line:
            return
        if self._live is None:
            self._next_line = now + EVERY
            self.say(summary(study))
        else:
            self._next_line = now + 0.25
            done = len(study.trials) - sum(not job.refit and job.start == 0 for job in study.running)
            self._progress.update(self._task, completed=done, total=study.budget.trials)
            self._live.update(Group(rungs_table(study), self._progress), refresh=True)
