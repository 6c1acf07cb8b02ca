"""Who does what, since when, where? The jobs that are under way, as a table."""

from __future__ import annotations

import contextlib

import msgspec
from rich.table import Table
from rich.text import Text

from rungwise.executors.whereabouts import Whereabouts
from rungwise.kept import looked_at
from rungwise.study import Study
from rungwise.words import duration, shown


def workers_table(study: Study, now: float) -> Table:
    """A row for each job that is under way at `now` (Unix seconds), in the order given out.

    A job that has not begun waits for its worker: for a machine, or while the function is loaded. `InputError` if the
    checkpoints are in a store that this process does not know.
    """
    table = Table(box=None, pad_edge=False)
    for name in ("worker", "trial", "trains", "at", "since"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("where", no_wrap=True)
    storage = looked_at(study)
    for job in study.running:
        at = study.trials[job.trial].noted(job)
        found = _found(storage.of(job).begun())
        row = [str(job.trial), f"{job.start} to {job.until}", str(at) if at > job.start else ""]
        if found is None:
            table.add_row("", *row, "", "has not begun")
            continue
        gpus = "" if found.devices is None else f", GPU {found.devices}" if found.devices else ", no GPU"
        where = Text(shown(f"{found.host}, process {found.process}{gpus}"))  # a name in brackets is no markup
        table.add_row(str(found.worker), *row, duration(max(0.0, now - found.since)), where)
    return table


def _found(note: bytes | None) -> Whereabouts | None:
    if note:
        with contextlib.suppress(msgspec.MsgspecError):  # of a version that noted nothing, or another's
            return msgspec.json.decode(note, type=Whereabouts)
    return None
