"""`rungwise report`: a study as one file to send to others."""

from __future__ import annotations

from pathlib import Path

import click

from rungwise.page.written import FORMATS
from rungwise.study import Study
from rungwise.words import shown


@click.command()
@click.argument("study", default="rungwise.db")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file to write (default: report.html).")
@click.option("--format", "kind", type=click.Choice(list(FORMATS)), help="Default: by the file's ending.")
def report(study: str, output: Path | None, kind: str | None) -> None:
    """Write STUDY as one file to send to others.

    It holds the answer, what it cost, why to trust it, figures, and the trials. The HTML file needs no network.
    """
    path = Study.open(study).write_report(output or f"report.{kind or 'html'}", format=kind)
    print(shown(f"written to {path}"))
