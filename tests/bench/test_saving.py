"""The picture in the README is what its command draws, and says what its command prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_picture_is_what_is_measured(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "benchmarks" / "saving.py", tmp_path]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert printed in (ROOT / "docs" / "evidence.md").read_text(), "run: python benchmarks/evidence.py saving.py"
    for theme in ("light", "dark"):
        drawn = (tmp_path / f"saving-{theme}.svg").read_text()
        assert drawn == (ROOT / "docs" / "figures" / f"saving-{theme}.svg").read_text()
    for page in ("README.md", "docs/evidence.md"):
        (said,) = re.findall(r'alt="(Epochs .+?)"', (ROOT / page).read_text())
        assert re.findall(r"[\d,]*\d", said) == re.findall(r"([\d,]+) \|$", printed, re.MULTILINE)
    assert "62,208 epochs, it scores 78.67% against PASHA's 76.99%" in (ROOT / "README.md").read_text()
    assert "78.67 after 62,208 epochs" in printed
