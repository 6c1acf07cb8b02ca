"""Where is a report written, so that one that fails destroys nothing? Beside its place, and then into it, whole."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from rungwise.errors import InputError
from rungwise.integrity import is_study_file
from rungwise.paths import part_of, real_path


@contextlib.contextmanager
def in_place_of(path: Path) -> Iterator[Path]:
    """The file to write in place of `path`, which becomes it if nothing is raised; a link stays, and leads to it.

    The permissions are those of the file that was there. What is no file (a pipe, a device) is written at once.
    Raises `OSError` where nothing can be written, under the name that was given.
    """
    try:
        real = path.resolve()
    except RuntimeError:  # as Python below 3.13 says it
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from None
    try:
        mode = real.stat().st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and not stat.S_ISREG(mode):
        yield real
        return
    part = real.with_name(f".{secrets.token_hex(8)}.part")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None  # the name that was given
    try:
        if mode is not None:
            part.chmod(stat.S_IMODE(mode))
        yield part
        part.replace(real)
    finally:
        part.unlink(missing_ok=True)


def refuse_studies(path: Path, study: Path | None) -> None:
    """Raise `InputError` if `path` is the file `study` or a part of it, or another study."""
    if study is not None and part_of(real_path(study), path):
        raise InputError(f"{path} is the study {study} itself or a part of it; name another file")
    if path.is_file() and is_study_file(path):
        raise InputError(f"{path} is a study; name another file, or delete it first")
