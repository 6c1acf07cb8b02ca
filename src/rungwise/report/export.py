"""A study as a file for other programs: CSV, JSON or Parquet, by the file's ending."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

from rungwise.names import InputError
from rungwise.study import Study

FORMATS = (".csv", ".json", ".parquet")


def export(study: Study, path: Path, *, reports: bool) -> None:
    """Write `study.rows(reports=reports)` to `path`. Scores that are not finite are empty (null).

    In CSV, text that begins like a formula gets an apostrophe before it, so that no spreadsheet runs it.

    Raises `InputError` for another ending, `StudyError` if Parquet's packages are not installed.
    """
    if path.suffix not in FORMATS:
        raise InputError(f"{path} must end with {', '.join(FORMATS)}")
    if path.suffix == ".parquet":
        study.dataframe(reports=reports).to_parquet(path, index=False)
        return
    rows = [{key: _finite(value) for key, value in row.items()} for row in study.rows(reports=reports)]
    with path.open("w", newline="", encoding="utf-8") as file:
        if path.suffix == ".json":
            json.dump(rows, file, indent=1, ensure_ascii=False)
        elif rows:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writerow({key: _harmless(key) for key in rows[0]})
            writer.writerows({key: _harmless(value) for key, value in row.items()} for row in rows)


def _harmless(value: Any) -> Any:
    """Text that a spreadsheet would take for a formula, with an apostrophe before it (OWASP, "CSV injection")."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
