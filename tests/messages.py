"""The whole text of every message for wrong input, kept in `golden/messages.json` to be read for clarity.

`RUNGWISE_GOLDEN=write pytest …` writes what comes now; look at the difference before it is committed.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden" / "messages.json"

FOREIGN = {  # in part the words of Python or of a library, which change with its version
    "a broken file", "a command with a brace", "a missing field", "a strange row", "a text file", "an option", "bad TOML",
    "no argument", "no JSON", "no such module", "not a study", "two arguments", "what cannot be sent",
}  # fmt: skip


def check(group: str, case: str, said: str, folder: Path | None = None) -> None:
    """`said` is the message that is kept for `case`; paths in `folder` and addresses of objects aside."""
    said = said.strip().replace(f"{folder}/", "").replace(str(folder), "FOLDER")
    said = re.sub(r" at 0x[0-9a-f]+", " at 0x…", said)
    if case in FOREIGN:
        return
    known = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    if os.environ.get("RUNGWISE_GOLDEN") == "write":
        known.setdefault(group, {})[case] = said
        ordered = {name: dict(sorted(cases.items())) for name, cases in sorted(known.items())}
        GOLDEN.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert known.get(group, {}).get(case) == said, "see tests/messages.py"
