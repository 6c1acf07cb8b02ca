"""Where is a page written? To a file that is no study, whole or not at all; its ending says the format."""

from __future__ import annotations

from pathlib import Path

from rungwise.errors import InputError, suggestion
from rungwise.page.data import page
from rungwise.page.document import html
from rungwise.page.history import History
from rungwise.page.markdown import markdown
from rungwise.report.target import in_place_of, refuse_studies

FORMATS = {"html": html, "md": markdown}


def write(history: History, why: str, given: str | Path, *, kind: str | None = None, held: bool = True) -> Path:
    """Write the report of a study to the path `given`; `why` is its `explain`. Returns the path."""
    path = Path(given)
    if kind is None:
        kind = path.suffix.removeprefix(".")
        if kind not in FORMATS:
            raise InputError(f"{path} must end with .html or .md; or say which it is: format=")
    if kind not in FORMATS:
        raise InputError(f"format must be 'html' or 'md', not {kind!r:.80}{suggestion(str(kind), list(FORMATS))}")
    refuse_studies(path, history.path)
    text = FORMATS[kind](page(history, why.splitlines(), held=held))
    with in_place_of(path) as part:
        part.write_text(text, encoding="utf-8")
    return path
