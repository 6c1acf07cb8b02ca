"""Measure the pages in `docs` anew: run the command of every block and put what it prints into its place.

python benchmarks/evidence.py [WORD …]      (only the blocks whose command contains one of the words)

A block begins with `<!-- run: COMMAND -->` and ends with `<!-- end -->`. Commands are run from the root of the
project, with the folder of this Python first in the path.
"""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"<!-- run: (.+?) -->\n.*?<!-- end -->", re.DOTALL)


def measured(command: str) -> str:
    """The block of `command`, run now."""
    print(f"$ {command}", flush=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    began = time.monotonic()
    done = subprocess.run(
        command, shell=True, cwd=ROOT, env=os.environ | {"PATH": path}, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"it ended with exit code {done.returncode}; this block and those after it are as they were")
    seconds = time.monotonic() - began
    printed = "\n".join(line.rstrip() for line in done.stdout.splitlines()).strip()
    what = f"{datetime.date.today()}, {seconds:.0f} s, rungwise {metadata.version('rungwise')}, {machine()}"
    return f"<!-- run: {command} -->\n`{command}` ({what})\n\n{printed}\n<!-- end -->"


def machine() -> str:
    numpy, cores = metadata.version("numpy"), os.cpu_count()
    return f"Python {platform.python_version()}, numpy {numpy}, {cores} cores"


def main() -> None:
    for page in sorted((ROOT / "docs").glob("*.md")):
        for command in BLOCK.findall(page.read_text(encoding="utf-8")):
            if not sys.argv[1:] or any(word in command for word in sys.argv[1:]):
                block = measured(command)
                old = re.compile(rf"<!-- run: {re.escape(command)} -->\n.*?<!-- end -->", re.DOTALL)
                text = old.sub(lambda _, block=block: block, page.read_text(encoding="utf-8"))
                page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
