"""What did it print last? The end of a trial's log. Imports nothing of ours."""

from __future__ import annotations

from pathlib import Path

BYTES = 8_192


def last_lines(path: Path, lines: int = 20) -> list[str]:
    """The last `lines` lines of the text file `path`, or what there is of them in its last 8 KB; none if it is gone."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - BYTES))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []
