"""How is a page written as Markdown? The same without figures; no text of a study is taken for markup. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

SHOWN = 25
"""So many trials are in the table: the best."""
DECISIONS = 20
_MARKUP = re.compile(r"[\\`*_\[\]<>#|~@&$]|:(?=\S)|(?<=www)\.|^[-+]", re.IGNORECASE)
_ITEM = re.compile(r"^(\d+)(?=[.)])")


def markdown(page: dict[str, Any]) -> str:
    """The page of `rungwise.page.data` as Markdown (GitHub's)."""
    answer, table = page["answer"], page["table"]
    parts = [
        f"# {plain(page['title'])}",
        plain(f"{page['stands']}{', as of ' if page['until'] else ''}{page['until']}"),
    ]
    parts += ["## The answer", answer["text"]]
    for one in answer["trials"]:
        rows = [*one["scores"], *one["config"]]
        parts.append(_table([f"trial {one['trial']}", f"at resource {one['resource']:,}"], rows))
    parts += ["## What it cost", _table(["", "", ""], page["cost"])]
    parts += ["## Why to trust it", "\n".join(map(_why, page["why"]))]
    rungs = [
        [row["level"], row["completed"], row["went_on"], row["failed"], row["running"], row["best"]]
        for row in page["ladder"]["rungs"]
    ]
    parts += ["## How it went", _table(["rung", "completed", "went on", "failed", "on the way", "best score"], rungs)]
    parts += [plain(page[name]["caption"]) for name in ("answers", "ceilings") if page[name] is not None]
    rows = table["rows"][:SHOWN]
    parts += ["## The trials", f"{len(rows)} of {table['trials']:,}, the best first.", _table(table["columns"], rows)]
    parts += ["## Do it again", *([_fenced(page["again"])] if page["again"] else [])]
    parts.append(_table(["setting", "value"], page["settings"]))
    if decisions := page["decisions"][-DECISIONS:]:
        lines = (f"* {plain(f'{time} {text}'.strip())}" for time, text in reversed(decisions))
        parts += [f"## The last {len(decisions)} decisions, the newest first", "\n".join(lines)]
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(text: object) -> str:
    r"""`text` so that Markdown shows just its characters: no markup, no HTML, no link.

    >>> print(plain("<b>a|b</b> www.a.b"))
    \<b\>a\|b\</b\> www\.a.b
    """
    return _ITEM.sub(r"\1\\", _MARKUP.sub(r"\\\g<0>", str(text)))


def _cell(value: object) -> str:
    return "–" if value is None else plain(value)


def _table(heads: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    head = [_cell(each) for each in heads]
    lines = [head, ["---"] * len(head), *([_cell(each) for each in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _why(line: str) -> str:
    return f"{'  ' if line.startswith(' ') else ''}* {plain(line.strip())}"


def _fenced(text: str) -> str:
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}python\n{text}\n{fence}"
