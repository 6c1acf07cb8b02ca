"""Where is a study shown in a notebook? In one output of the cell, which is replaced as it goes on.

IPython is no dependency of ours: where its kernel runs, it is there.
"""

from __future__ import annotations

import html
import importlib
import os
import sys
from typing import Any, final

KEPT = 8  # of the lines that were said, how many stay in sight


def in_notebook() -> bool:
    """Whether we run in an IPython kernel, whose front end shows what is displayed in place."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return getattr(shell, "kernel", None) is not None


@final
class Output:
    """One output of the cell that runs."""

    def __init__(self) -> None:
        self._display: Any = importlib.import_module("IPython.display")
        self._id = os.urandom(8).hex()
        self._there = False
        self._said: list[str] = []

    def say(self, text: str) -> None:
        """A line that stays in sight until `KEPT` others came; it is seen at the next `show`."""
        self._said.append(text)

    def show(self, text: str) -> None:
        """Put `text` in the place of what was shown, below the lines that were said."""
        earlier = len(self._said) - KEPT
        lines = [f"… {earlier} earlier", *self._said[-KEPT:]] if earlier > 0 else self._said
        text = "\n".join([*lines, text])
        content = {"text/plain": text, "text/html": f"<pre>{html.escape(text)}</pre>"}
        if self._there:
            self._display.update_display(content, raw=True, display_id=self._id)
        else:
            self._display.display(content, raw=True, display_id=self._id)
        self._there = True
