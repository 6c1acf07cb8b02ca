"""Standard input, output and error may be closed: what writes to their numbers does not write into the study."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rungwise as rw

DRIVER = """
import json, os, sys
import rungwise as rw
study = rw.Study({"x": rw.Float(0, 1)}, rw.ASHA(max_resource=1), path="study.db")
study.report(study.ask().trial, 1, 0.5)
links = {}
for number in os.listdir("/proc/self/fd"):
    try:
        links[number] = os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        pass  # it was that of the folder
for number in (1, 2):
    try:
        os.write(number, b"a C library says something" * 9)
    except OSError:
        pass
study.close()
open("links.json", "w").write(json.dumps(links))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&-", "<&- >&-", "<&- >&- 2>&-", "<&- 2>&-"])
def test_no_descriptor_below_3_is_the_study_or_stands_beside_it(closed: str, tmp_path: Path) -> None:
    (tmp_path / "driver.py").write_text(DRIVER)
    command = f'exec "$PYTHON" driver.py {closed}'
    subprocess.run(["sh", "-c", command], cwd=tmp_path, env=os.environ | {"PYTHON": sys.executable}, check=True)
    links = json.loads((tmp_path / "links.json").read_text())
    ours = {int(number): Path(to).name for number, to in links.items() if Path(to).name.startswith("study.db")}
    assert {"study.db", "study.db-wal", "study.db-shm", "study.db.lock"} <= set(ours.values())
    assert min(ours) > 2, ours
    assert rw.Study.open(tmp_path / "study.db").trials[0].reports == {1: 0.5}
