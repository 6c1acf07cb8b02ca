"""What does a store do in another process, which may be killed? Imports `checkpoints`, `heads`, `pieces`, `store`."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable

import cloudpickle

from rungwise.checkpoints import Checkpoints
from rungwise.heads import Head
from rungwise.pieces import PART
from rungwise.store import Store

_ELSEWHERE = """
import sys, cloudpickle
path, kept, head = cloudpickle.loads(sys.stdin.buffer.read())
"""


def run_elsewhere(kept: Checkpoints, code: str, *, kill_when: Callable[[], bool] | None = None) -> tuple[int, str]:
    """Run `code` in another process; its exit code, and the last line that it printed.

    With `kill_when` it is killed as soon as it has printed a line, and after that `kill_when()` was true.
    """

    def head(resource: int) -> Head:
        return Head(resource, [], study=kept.owner.study, configuration=kept.owner.configuration)

    process = subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{_ELSEWHERE}{code}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    with process, contextlib.suppress(BrokenPipeError):
        process.stdin.write(cloudpickle.dumps((sys.path, kept, head)))
        process.stdin.close()
        lines = []
        if kill_when is not None:
            lines.append(process.stdout.readline())
            while process.poll() is None and not kill_when():
                pass
            process.kill()
        lines += process.stdout.readlines()
    return process.returncode, lines[-1].decode().strip() if lines else ""


def appears(store: Store, place: str, *, halves: bool) -> Callable[[], bool]:
    """Whether another name is listed than when this was asked first; with `halves`, of what is half written too."""
    seen = set[str]()

    def another() -> bool:
        names = {name for name in store.list(place) if halves or not name.endswith(PART)}
        new = bool(seen and names - seen)
        seen.update(names)
        return new

    return another
