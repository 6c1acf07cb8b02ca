"""What may a study's file be called, and what belongs to it? Names are looked at here before anything is opened."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from pathlib import Path

from rungwise.errors import InputError
from rungwise.log import StudyError

OF_SQLITE = ("-wal", "-shm", "-journal")
BESIDE = (*OF_SQLITE, ".lock", ".holder")
"""What stands beside a study's file while it is driven, or after its driver was killed."""


def study_path(given: object) -> Path:
    """The path that `given` names, or one line that says why no study can be kept there."""
    if not isinstance(given, (str, Path)):
        raise InputError(f"the study's file must be a path, not {given!r}")
    text = str(given)
    if given == "" or text == ":memory:":
        raise InputError(f"{text!r} is not a file name; leave path= out to keep a study in memory")
    if text.startswith("file:") or "://" in text or _was_url(text):
        meant = _SCHEME.sub("", text.split("?")[0].removeprefix("file:").split("://")[-1]).lstrip("/") or "study.db"
        raise InputError(f"a study is kept in a file, not at {text!r}; give the file name, such as {meant!r}")
    if "\0" in text:
        raise InputError(f"the study's file {text!r} has a zero byte in its name")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"the name of the study's file {text!a} is not valid UTF-8") from None
    return Path(given)


_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]+:/")


def _was_url(text: str) -> bool:
    """Whether this is what `Path` makes of a URL, with one slash: `sqlite:/study.db`, and there is no such folder."""
    scheme = _SCHEME.match(text)
    return scheme is not None and not os.path.isdir(scheme[0])


def real_path(path: Path) -> Path:
    """The file that `path` leads to, from the root: one study, one lock, whatever it is called.

    `StudyError` for what is there and is no file, and where nothing can be.
    """
    try:
        real = path.resolve()
        found = real.stat()
    except RuntimeError:  # as Python below 3.13 says it
        raise StudyError(f"{path} cannot be read: it is a circular link") from None
    except FileNotFoundError:
        return real
    except NotADirectoryError:
        wrong = next(parent for parent in real.parents if parent.is_file())
        raise StudyError(f"there is no study {path}: {wrong} is a file, not a folder") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StudyError(f"{path} cannot be read: it is a circular link") from None
        raise StudyError(f"{path} cannot be read: {error.strerror}") from None
    if stat.S_ISDIR(found.st_mode):
        raise StudyError(f"{path} is a directory; name a file in it, such as {path / 'study.db'}")
    if not stat.S_ISREG(found.st_mode):
        raise StudyError(f"{path} is a device, a pipe, or a socket; name a file")
    return real


def trials_folder(real: Path) -> Path:
    """Where the folders of a study's trials are."""
    return Path(f"{real}.trials")


def trials_of(path: Path) -> Path:
    """The same by the path that the user gave: beside the file that it leads to, if it is a link."""
    return trials_folder(path.resolve() if path.is_symlink() else path)


def refuse_leftovers(path: Path, real: Path) -> None:
    """Raise `StudyError` if `real` is not there, or empty, but what belongs to it is; or if that is no file.

    SQLite would take what is in `-wal` for nobody's and delete it, even when it only looks, and a new study the other's
    checkpoints for its own. In a pipe that somebody put there it would wait for ever.
    """
    for beside in (Path(f"{real}{ending}") for ending in OF_SQLITE):
        with contextlib.suppress(OSError):
            if not stat.S_ISREG(beside.lstat().st_mode):
                raise StudyError(f"{path} was not opened, because {beside} beside it is not a file; move that away")
    try:
        if real.stat().st_size:
            return
    except OSError:
        pass  # it is not there
    wal, folder = Path(f"{real}-wal"), trials_folder(real)
    try:
        folder.exists()
    except OSError as error:
        raise StudyError(f"the study {path} and the files beside it cannot be created: {error.strerror}") from None
    left = []
    if wal.exists() and wal.stat().st_size:
        left.append(f"{wal} holds the newest facts")
    if _holds_checkpoints(folder):
        left.append(f"{folder} holds the checkpoints")
    if left:
        raise StudyError(
            f"{path} holds no facts, but {' and '.join(left)} of a study: put the file back (nothing has been "
            f"touched), or move {'these' if len(left) > 1 else 'that'} away to start over"
        )


def refuse_second_names(path: Path, real: Path) -> None:
    """Raise `StudyError` if the file has several names (hard links): each would have a `-wal` of its own.

    The newest facts of a driver that was killed would then be missing under another name, and be put into the file too
    late under the first.
    """
    if (names := real.stat().st_nlink) > 1:
        raise StudyError(
            f"{path} has {names} names (hard links), and its newest facts may be beside another one: delete all but "
            f"one, and keep one with a -wal beside it if there is any (find / -xdev -samefile {real} lists them)"
        )


def refuse_checkpoints(path: Path | None, folder: Path) -> None:
    """Raise `StudyError` if `folder` holds checkpoints, of a study whose file `path` holds no facts."""
    if _holds_checkpoints(folder):
        raise StudyError(
            f"{path} holds no facts, but {folder} holds the checkpoints of a study: put the file back, or move that "
            "folder away to start over"
        )


def _holds_checkpoints(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob("[0-9]*"))


def part_of(real: Path, target: Path) -> bool:
    """Whether to write `target` would be to write into the study `real`: into its file, or into what belongs to it."""
    try:
        wanted = target.resolve()
    except (OSError, RuntimeError):  # a link that leads in a circle, which nobody can write to
        return False
    family = [real, *(Path(f"{real}{ending}") for ending in BESIDE), trials_folder(real)]
    if any(wanted == one or one in wanted.parents for one in family):
        return True
    try:
        there = os.stat(wanted)
    except OSError:
        return False
    return any(os.path.samestat(there, os.stat(one)) for one in family if one.exists())  # a hard link
