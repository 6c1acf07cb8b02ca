"""How is a page written as one HTML file? Without a network, and without trust in any text that a study brings along.

Scripts and styles stand in the file, allowed by their digests (Content Security Policy, level 2); nothing else may run,
load, or be sent. Text is escaped here, or set as text by the script. May import `words`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from html import escape
from importlib import resources
from typing import Any

from rungwise.words import counted

IN_SCRIPT = ("curves", "ladder", "answers", "ceilings", "table")


def html(page: dict[str, Any]) -> str:
    """The page of `rungwise.page.data` as an HTML file."""
    style, script = _asset("page.css"), _asset("charts.js") + _asset("report.js")
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; base-uri 'none'; "
        "form-action 'none'"
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{escape(page["title"])} · Rungwise</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{escape(page["title"])}</h1>
<p class="soft">{escape(_stands(page))}</p>
{_answer(page["answer"])}
<section aria-labelledby="h-cost">
<h2 id="h-cost">What it cost</h2>
<dl>{"".join(map(_cost, page["cost"]))}</dl>
</section>
<section aria-labelledby="h-why">
<h2 id="h-why">Why to trust it</h2>
<ul class="why">{"".join(map(_why, page["why"]))}</ul>
</section>
<noscript><p>The figures and the table of trials need JavaScript, which this file brings along.</p></noscript>
{_figures(page)}
{_TRIALS}
<section aria-labelledby="h-again">
<h2 id="h-again">Do it again</h2>
{_again(page)}
<div class="scroll" role="region" aria-label="settings" tabindex="0">
<table id="settings"><caption>Settings and versions</caption><tbody>{_rows(page["settings"])}</tbody></table></div>
</section>
{_decisions(page["decisions"])}
</main>
<script type="application/json" id="data">{in_script({name: page[name] for name in IN_SCRIPT})}</script>
<script>{script}</script>
</body>
</html>
"""


def in_script(value: Any) -> str:
    r"""`value` as JSON that no HTML parser takes for anything else, in ASCII.

    >>> in_script("</script><!--")
    '"\\u003c/script\\u003e\\u003c!--"'
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return (resources.files("rungwise.page") / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _stands(page: dict[str, Any]) -> str:
    return f"{page['stands']}; as of {page['until']}" if page["until"] else page["stands"]


def _rows(rows: Iterable[Iterable[object]]) -> str:
    """Rows of a name and values; the name is the head of its row."""
    made = ""
    for name, *values in rows:
        cells = "".join(f"<td>{escape(str(value))}</td>" for value in values)
        made += f'<tr><th scope="row">{escape(str(name))}</th>{cells}</tr>'
    return made


def _answer(answer: dict[str, Any]) -> str:
    tables = []
    for one in answer["trials"]:
        told = f"Trial {one['trial']} at resource {one['resource']:,}"
        tables.append(
            f'<div class="scroll" role="region" aria-label="trial {one["trial"]}" tabindex="0"><table>'
            f"<caption>{escape(told)}</caption><tbody>{_rows([*one['scores'], *one['config']])}</tbody></table></div>"
        )
    return (
        f'<section class="answer" aria-labelledby="h-answer"><h2 id="h-answer">The answer</h2>'
        f"<p>{escape(answer['text'])}</p>{''.join(tables)}</section>"
    )


def _cost(row: list[str]) -> str:
    name, value, remark = row
    small = f"<small>{escape(remark)}</small>" if remark else ""
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}{small}</dd></div>"


def _why(line: str) -> str:
    kind = ' class="more"' if line.startswith(" ") else ""
    return f"<li{kind}>{escape(line.strip())}</li>"


def _figures(page: dict[str, Any]) -> str:
    figures = ""
    for name, title in (
        ("curves", "Learning curves"), ("ladder", "The ladder"), ("answers", "Resource against best"),
        ("ceilings", "The ceiling"),
    ):  # fmt: skip
        if page[name] is None:
            continue
        caption = page[name]["caption"]
        wide, more, below = "", "", ""
        if name == "curves":
            wide = ' class="wide"'
            more = '<div class="tools"><label hidden>metric <select id="metric"></select></label></div>'
            below = '<ul class="legend" id="legend"></ul><output id="pointed"></output>'
        if name == "ladder":
            below = _ladder(page[name]["rungs"])
        figures += (
            f"<figure{wide}><h3>{title}</h3>{more}"
            f'<canvas id="{name}" role="img" aria-label="{escape(caption)}">{escape(caption)}</canvas>{below}'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )
    return (
        '<section aria-labelledby="h-figures"><h2 id="h-figures">How it went</h2>'
        f'<div class="figures">{figures}</div></section>'
    )


def _ladder(rungs: list[dict[str, Any]]) -> str:
    names = {"completed": "completed", "went_on": "went on", "failed": "failed", "running": "on the way"}
    names["best"] = "best score"
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("rung", *names.values()))
    rows = _rows([row["level"], *("–" if row[name] is None else row[name] for name in names)] for row in rungs)
    return (
        f"<details><summary>The rungs in a table</summary><table><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table></details>"
    )


_TRIALS = """<section aria-labelledby="h-trials">
<h2 id="h-trials">The trials</h2>
<div class="tools">
<label>find <input id="find" type="search" autocomplete="off"></label>
<label>state <select id="state"><option value="">any</option></select></label>
<label>show <select id="most"><option value="25">the first 25</option><option value="100">100</option>
<option value="1000">1,000</option></select></label>
</div>
<p id="how" class="soft">The best first: those that got furthest, and of these the best score. A heading sorts; a number
shows the trial's curve.</p>
<p id="count" role="status" class="soft"></p>
<div class="scroll" role="region" aria-label="trials" tabindex="0">
<table id="trials-table" aria-describedby="how"><caption class="unseen">The trials</caption>
<thead><tr id="heads"></tr></thead><tbody id="trials"></tbody></table>
</div>
</section>"""


def _again(page: dict[str, Any]) -> str:
    if not page["again"]:
        return "<p>A part of this study is your own, or its settings are long: see below.</p>"
    return f'<pre tabindex="0">{escape(page["again"])}</pre>'


def _decisions(decisions: list[list[str]]) -> str:
    if not decisions:
        return ""
    lines = "".join(
        f"<li>{f'<time>{time}</time>' if time else ''}{escape(text)}</li>" for time, text in reversed(decisions)
    )
    return (
        f"<details><summary>The last {counted(len(decisions), 'decision')}, the newest first</summary>"
        f'<ol class="log" reversed>{lines}</ol></details>'
    )
