"""Figures of a study as a file: one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rungwise.errors import InputError
from rungwise.report.target import in_place_of, refuse_studies
from rungwise.study import Study


def write_figures(
    study: Study, path: Path, names: Sequence[str], *, metric: str | None, at: int | None, dark: bool, cdn: bool
) -> list[str]:
    """Write the figures of these `names` (default: four) to the page `path`; the names of what it shows.

    An older file is replaced only by a complete new one. Raises `InputError` for a name that does not end with .html,
    for a study, and for whatever `Study.plot` refuses.
    """
    if path.suffix != ".html":
        raise InputError(f"{path} must end with .html")
    refuse_studies(path, study.path)
    figures = study.plot(*names, metric=metric, at=at, dark=dark)
    with in_place_of(path) as part:
        figures.write_html(part, cdn=cdn)
    return list(figures)
