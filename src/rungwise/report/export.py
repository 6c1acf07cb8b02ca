"""A study as a file for other programs: CSV, JSON or Parquet, by the file's ending."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rungwise.errors import InputError
from rungwise.frames import CONFIG, columns, mixed, parquet
from rungwise.report.target import in_place_of, refuse_studies
from rungwise.study import Study
from rungwise.words import shown_json

FORMATS = (".csv", ".json", ".parquet")
_SIGN = "[=+@＝＋－＠-]"  # a spreadsheet takes the full-width ones too
_BLANKS = r'\s\x00-\x20\x7f-\xa0\u200b-\u200f\u2060\ufeff"'
_BLANK = f"[{_BLANKS}]*"
_NUMBER = r"(?![+-]?\d+(\.\d+)?([eE][+-]?\d+)?\s*([\],;}]|$))"
_FORMULA = re.compile(rf"[\t\r]|{_BLANK}{_SIGN}")
_GAP = re.compile(rf"([,;{_BLANKS}]++'?)((?={_SIGN}){_NUMBER})?")  # each once: a run of blanks may be long
_ENDS_CELL = re.compile(r"[,;\t\r\n]")


def export(study: Study, path: Path, *, reports: bool) -> None:
    """Write `study.rows(reports=reports)` to `path`. Non-finite scores are empty (null).

    An inactive parameter is an empty cell in CSV and null in Parquet; in JSON its key is missing. The choice None is
    null in JSON, `null` in CSV and Parquet. In CSV and Parquet, a parameter whose values are not all numbers, all text,
    or all booleans is written as JSON text, so that "1", 1, and None stay three values. In CSV, text that a spreadsheet
    could take for a formula gets an apostrophe in front, also where it would begin another cell in a program that uses
    other separators.

    An older file is replaced only by a complete new one. Raises `InputError` for another ending, for a file that is
    this or another study or a part of this one, and for values that Parquet cannot store. Raises `StudyError` if
    Parquet's packages are not installed.
    """
    if path.suffix not in FORMATS:
        raise InputError(f"{path} must end with one of {', '.join(FORMATS)}")
    refuse_studies(path, study.path)
    with in_place_of(path) as part:
        _write(study, part, path, reports=reports)


def _write(study: Study, path: Path, called: Path, *, reports: bool) -> None:
    """Write the rows of `study` to `path`, which the user knows as `called`."""
    rows, names = study.rows(reports=reports), columns(study.space, study.metrics.names, reports=reports)
    if called.suffix == ".parquet":
        parquet(rows, names, study.space, path, called=called)
        return
    rows = [{key: value if key.startswith(CONFIG) else _finite(value) for key, value in row.items()} for row in rows]
    if called.suffix == ".json":
        text = json.dumps(rows, indent=1, ensure_ascii=False)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")  # \ud800 is JSON for half a character
        return
    as_json = mixed(study.space)
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(map(_harmless, names))
        writer.writerows([_harmless(_cell(row, name, name in as_json)) for name in names] for row in rows)


def _cell(row: Mapping[str, Any], name: str, as_json: bool) -> Any:
    value = row.get(name)
    return shown_json(value) if as_json and name in row else value


def _harmless(value: Any) -> Any:
    """Text that a spreadsheet could take for a formula, with an apostrophe before it (OWASP, "CSV injection")."""
    if not isinstance(value, str):
        return value
    broken = _GAP.sub(_apart, value)  # an apostrophe before the whole would not be in the cell that counts
    return f"'{broken}" if broken != value or _FORMULA.match(value) else value


def _apart(gap: re.Match[str]) -> str:
    return f"{gap[0]}'" if gap[2] is not None and _ENDS_CELL.search(gap[1]) else gap[0]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
