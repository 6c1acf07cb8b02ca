"""Programs that no Python package brings along, from Debian's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence


def missing(programs: Sequence[str], packages: Sequence[str]) -> str | None:
    """Why `programs` are not here, once all was tried to have them; None if they are."""
    if all(map(shutil.which, programs)):
        return None
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return f"there is no {', '.join(programs)}, and no apt-get, as root, to install it with"
    said = ""
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        try:
            done = subprocess.run(
                ["apt-get", "-qq", *command],
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return "apt-get took too long"
        said = done.stderr.strip()[-300:]
    return None if all(map(shutil.which, programs)) else f"apt-get could not install {' '.join(packages)}: {said}"
