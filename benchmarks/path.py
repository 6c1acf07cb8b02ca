"""How many functions does one message cross on its way from a worker to the decision? Counted, not estimated.

python benchmarks/path.py        (a report, and a completion that promotes: functions, files, and their names)

A real study, PASHA with random search and its log in a file, is driven by the loop with the judge that `tune` has;
workers are a list of messages.
From the moment at which the loop has what a worker said until scheduler and searcher have been told, and the next job
is chosen, each function of ours that is entered counts once, however often it is called. What makes it durable comes
after that.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

import rungwise as rw
from rungwise.blame import InARow
from rungwise.decider import Decider
from rungwise.events import Completed, Reported
from rungwise.executors import Said
from rungwise.loop import Inbox, drive

HERE = Path(rw.__file__).parent


class Traced:
    """One worker; what it says of the job under way is followed through the code."""

    capacity = 1

    def __init__(self) -> None:
        self.job: rw.Job | None = None
        self.said: list[Said] = []
        self.paths: dict[str, list[str]] = {}
        self._kind = ""
        self._seen: list[str] = []

    def submit(self, job: rw.Job) -> None:
        sys.setprofile(None)
        if self._kind and (self._kind == "report" or job.start):
            self.paths[self._kind] = self._seen
        self.job = job
        reports = range(job.start + 1, job.until + 1)
        told = [Reported(job.trial, resource, (job.trial * 7 % 10) / resource, 0.1) for resource in reports]
        self.said = [Said(job.lease, place, message) for place, message in enumerate([*told, Completed(job.trial)])]

    def poll(self, timeout: float = 0) -> list[Said]:
        sys.setprofile(None)
        if self._kind == "report":
            self.paths[self._kind] = self._seen
        said = self.said.pop(0)
        self._kind = "report" if isinstance(said.message, Reported) else "a completion that promotes"
        self._seen = []
        self._note(sys._getframe(1))  # who asked
        sys.setprofile(self._enter)
        return [said]

    def _enter(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(str(HERE)) or code.co_name.startswith("<"):
            return
        if code is Decider.flush.__code__:
            sys.setprofile(None)
            return
        self._note(frame)

    def _note(self, frame: FrameType) -> None:
        code = frame.f_code
        name = f"{Path(code.co_filename).relative_to(HERE).with_suffix('')}: {code.co_qualname}"
        if name not in self._seen:
            self._seen.append(name)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        study = rw.Study({"x": rw.Float(0, 1)}, rw.PASHA(max_resource=81), path=Path(folder) / "study.db")
        study.extend(trials=40)
        workers = Traced()
        judge = InARow(2, 120.0, worked=False, clock=lambda: 0.0)
        drive(study, Inbox(workers), judge=judge)
        sys.setprofile(None)
        study.close()
    for kind, names in workers.paths.items():
        files = {name.partition(":")[0] for name in names}
        print(f"{kind}: {len(names)} functions in {len(files)} files")
        for name in names:
            print(f"    {name}")


if __name__ == "__main__":
    main()
