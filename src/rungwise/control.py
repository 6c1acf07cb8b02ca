"""How is a study told something while it runs? By a request, a file in a folder beside it, which the driver answers.

The folder is there while a run takes requests. Nothing listens on a port: who may write in it may ask, and the driver
takes only files of its own user, or of root. A request is done once: it is deleted before it is done. Those that are
left of an earlier run are dropped. May import what stands below `run`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, final

import msgspec

from rungwise.errors import InputError
from rungwise.log import StudyError

EVERY = 0.2  # seconds between two looks at the folder
PAUSED = "paused"  # the file that is in the folder while the study is paused, or about to be
LARGEST_REQUEST = 1 << 20  # bytes of a request
PATIENCE = 15.0  # seconds in which a driver answers; it looks several times a second


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a driver is asked to do.

    For "extend" `trials`, `resource`, `seconds`, `target`, `budget` and `hours` are totals; for "enqueue" `config` is
    to be tried next; for "retry" the failures of the trials `failed` are to be taken back (None: all).
    """

    ask: Literal["pause", "resume", "stop", "extend", "enqueue", "retry"]
    trials: int | None = None
    resource: int | None = None
    seconds: float | None = None
    target: float | None = None
    budget: float | None = None
    hours: float | None = None
    config: dict[str, Any] | None = None
    failed: list[int] | None = None


class Answer(msgspec.Struct, frozen=True):
    """What came of a request: words, or why it was refused."""

    said: str
    refused: bool = False


def folder_of(real: Path) -> Path:
    """Where the requests to the driver of the study file at `real` are."""
    return Path(f"{real}.control")


@final
class Control:
    """The driver's side: `act` does what a request asks and says what came of it; what it raises is the answer too."""

    def __init__(self, real: Path, act: Callable[[Request], str]) -> None:
        self._folder, self._act = folder_of(real), act
        self._next = 0.0
        with contextlib.suppress(OSError):  # then nobody can ask
            self._folder.mkdir(mode=0o700, exist_ok=True)
        for name in self._names():
            self._take(name)  # of a run before this one
        self.tell_paused(False)

    def tell_paused(self, paused: bool) -> None:
        """Let whoever looks know whether the study is paused."""
        if not _is_ours(self._folder):
            return
        with contextlib.suppress(OSError):  # the disk is full: it is not known, then
            if paused:
                (self._folder / PAUSED).touch(mode=0o600)
            else:
                (self._folder / PAUSED).unlink(missing_ok=True)

    def look(self) -> None:
        """Do what has been asked since the last look; called often, looks a few times a second."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + EVERY
        for name in self._names():
            content = self._take(name)
            if content is None:
                continue
            try:
                answer = Answer(self._act(msgspec.json.decode(content, type=Request)))
            except msgspec.MsgspecError as error:
                answer = Answer(f"the request cannot be read: {error}", refused=True)
            except RecursionError:
                answer = Answer("the request is nested too deeply", refused=True)
            except (InputError, StudyError) as error:
                answer = Answer(str(error), refused=True)
            self._answer(name, answer)

    def close(self) -> None:
        """The run has ended: whoever still asks is told so."""
        for name in self._names():
            if self._take(name) is not None:
                self._answer(name, Answer("the run has ended", refused=True))
        self.tell_paused(False)
        with contextlib.suppress(OSError):
            self._folder.rmdir()  # answers are left to who asked

    def _names(self) -> list[str]:
        if not _is_ours(self._folder):
            return []
        try:
            return sorted(name for name in os.listdir(self._folder) if name.endswith(".request"))
        except OSError:
            return []

    def _take(self, name: str) -> bytes | None:
        """What the request `name` says, which is deleted; None if it is not one that is taken."""
        place = self._folder / name
        content = _read(place)
        try:
            os.unlink(place)
        except OSError:
            return None  # what cannot be deleted would be done again and again
        return content

    def _answer(self, name: str, answer: Answer) -> None:
        with contextlib.suppress(OSError):  # whoever asked is gone, or the disk is full: the log says what was done
            _write(self._folder / f"{name.removesuffix('.request')}.answer", msgspec.json.encode(answer))


def is_paused(real: Path) -> bool:
    """Whether the driver of the study file at `real`, if there is one, was asked to pause, and not yet to go on."""
    return _is_ours(folder_of(real)) and (folder_of(real) / PAUSED).exists()


def ask(real: Path, request: Request, patience: float = PATIENCE) -> str:
    """Ask the driver of the study file at `real`; what came of it.

    Raises `StudyError` if it refuses, takes no requests, or does not answer in time.
    """
    folder, name = folder_of(real), f"{time.time_ns()}-{secrets.token_hex(4)}"
    question, answer = folder / f"{name}.request", folder / f"{name}.answer"
    if not _is_ours(folder):
        raise StudyError("the process that drives the study takes no requests: it runs its own loop")
    try:
        _write(question, msgspec.json.encode(request))
    except OSError as error:
        raise StudyError(f"the driver cannot be asked: {folder} cannot be written: {error.strerror}") from None
    until = time.monotonic() + patience
    try:
        while time.monotonic() < until:
            if (content := _read(answer)) is not None:
                told = msgspec.json.decode(content, type=Answer)
                if told.refused:
                    raise StudyError(told.said)
                return told.said
            time.sleep(EVERY / 4)
    finally:
        for place in (question, answer):
            place.unlink(missing_ok=True)
        if request.ask == "stop":  # the driver leaves the folder to who reads the last answer in it
            with contextlib.suppress(OSError):
                folder.rmdir()
    raise StudyError(f"the driver did not answer within {patience:g} s: it may be busy with a long step, or have died")


def _is_ours(folder: Path) -> bool:
    """Whether `folder` is one, no link to one, in which nobody but this user, or root, can have written."""
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid in (os.getuid(), 0) and not stat.S_IMODE(found.st_mode) & 0o022


def _read(place: Path) -> bytes | None:
    """What is in the file `place`; None if it is none of ours, or too large."""
    try:
        file = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None  # a link, or not there
    try:
        found = os.fstat(file)
        ours = stat.S_ISREG(found.st_mode) and found.st_uid in (os.getuid(), 0) and found.st_size <= LARGEST_REQUEST
        return os.read(file, LARGEST_REQUEST) if ours else None
    except OSError:
        return None
    finally:
        os.close(file)


def _write(place: Path, content: bytes) -> None:
    part = place.with_suffix(".part")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(content)
    part.replace(place)
