"""Where are checkpoints kept? What a store of them must do, and how a study's file names one.

A folder is one (`rungwise.local_store`), and so is a bucket (`rungwise.cloud_store`); one of your own is a class with
the six methods of `Store`, over whatever can put, get, list and delete. May import `errors`, `parts` and `pieces`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rungwise.errors import InputError
from rungwise.parts import Parts

Bytes = bytes | memoryview
STORES = Parts(
    "store",
    "rungwise.stores",
    {"folder": "rungwise.local_store:LocalStore", "cloud": "rungwise.cloud_store:CloudStore"},
)
SCHEMES = ("s3", "gs", "az")


class Unreachable(RuntimeError):
    """What is in a store cannot be read now. It is no `OSError`, which would say that it never can."""


@runtime_checkable
class Store(Protocol):
    """Stores bytes under names, for the driver and all workers of a study: `tune(…, checkpoints=store)`.

    A name is ASCII text in two or three parts separated by slashes, such as `5f1d0c/000003-9a0b/checkpoint.01.000007`,
    and at most 150 characters long. What is put under a name never changes: the names that a job uses carry its lease,
    so no two jobs save under the same name, and the newest is known by its name, not by when it was written. A store
    therefore needs nothing that an object store or a network folder lacks: no renaming, appending, locks, links, or
    clock.

    * What a call has put is visible to every later call, from any process on any machine.
    * An object is used by one thread at a time. It must be picklable, because workers get a copy.
    * Errors are raised, never swallowed: the job then breaks off and is retried.

    This is a complete store over a dict, for a single process:

    >>> class Toy:
    ...     def __init__(self):
    ...         self.kept = {}
    ...     def hold(self, name, data, *, durable=False):
    ...         absent = name not in self.kept
    ...         self.kept.setdefault(name, data)
    ...         return absent
    ...     def save(self, name, pieces):
    ...         self.kept[name] = b"".join(pieces)
    ...     def load(self, name):
    ...         if name not in self.kept:
    ...             raise FileNotFoundError(name)
    ...         return self.kept[name]
    ...     def discard(self, names):
    ...         for name in names:
    ...             self.kept.pop(name, None)
    ...     def list(self, under):
    ...         return {name: len(data) for name, data in self.kept.items() if name.startswith(f"{under}/")}
    ...     def settings(self):
    ...         return {}
    >>> from rungwise.testing import check_store
    >>> toy = Toy()
    >>> check_store(lambda: toy, shared=False)

    `rungwise.testing.check_store(make)` checks all of this, and what is built on it.
    """

    def hold(self, name: str, data: bytes, *, durable: bool = False) -> bool:
        """Put `data`, a few hundred bytes, under `name` unless something is there: exactly one caller gets True.

        With `durable` not even a power cut may undo it; without, it may, if that is faster. In S3 this is a put with
        `If-None-Match: *`, in a folder an exclusive creation.
        """
        ...

    def save(self, name: str, pieces: Sequence[Bytes]) -> None:
        """Put the concatenated `pieces` under `name`; when it returns, not even a power cut may undo it.

        They may be gigabytes. If `save` is interrupted, by an exception or the end of the process, nothing is under
        `name`; anything left elsewhere is not listed, or is listed as `name` with `.part` appended.
        """
        ...

    def load(self, name: str) -> Bytes:
        """The bytes under `name`. Raises `FileNotFoundError` if there is nothing.

        Any other `OSError` means that the bytes are there but can never be read: the checkpoint counts as damaged, and
        training resumes from an older one. For a passing problem, such as a lost network, raise `Unreachable`.
        """
        ...

    def discard(self, names: Sequence[str]) -> None:
        """Delete what is under `names`; missing names are not an error."""
        ...

    def list(self, under: str) -> dict[str, int]:
        """All names that begin with `under` and a slash, with their sizes in bytes, in any order."""
        ...

    def settings(self) -> dict[str, Any]:
        """The arguments that make it again, as plain JSON without secrets: `Class(**settings)` in another process.

        The study's file stores them with the name of the class, so that `rungwise resume` and
        `rw.Study.open(path).best.load()` find the checkpoints.
        """
        ...


def as_store(given: object) -> Store:
    """The store that `given` is or names: a store, a folder's path, an address, or what `noted` has made of one.

    Raises `InputError` if it is none of these.
    """
    if isinstance(given, Store) and not isinstance(given, type):
        return given
    if isinstance(given, Mapping) and "name" in given:
        store: Store = STORES.make(given["name"], **{name: value for name, value in given.items() if name != "name"})
        return store
    if not isinstance(given, (str, Path)) or not str(given):
        raise InputError(f"checkpoints must be a folder, an address, or a rungwise.store.Store, not {given!r}")
    if "://" in str(given):
        if str(given).partition("://")[0] not in SCHEMES:
            known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
            raise InputError(f"checkpoints can be at an address that begins with {known}, not at {str(given)!r}")
        in_bucket: Store = STORES.make("cloud", path=str(given))
        return in_bucket
    if os.path.exists(given) and not os.path.isdir(given):
        raise InputError(f"checkpoints must be a folder, but {given} is a file")
    made: Store = STORES.make("folder", path=os.path.abspath(given))
    return made


def noted(given: object) -> str | dict[str, Any] | None:
    """How a study's file names the store: its path or address, or the name and settings of the class; None if none."""
    if given is None:
        return None
    if isinstance(given, Mapping) and isinstance(given.get("name"), str):  # it was noted before
        return dict(given)
    store = as_store(given)
    name, settings = STORES.name_of(store), store.settings()
    return settings["path"] if name in STORES and [*settings] == ["path"] else {"name": name, **settings}


def in_words(spec: object) -> str:
    """What is noted of a store, for people."""
    if not isinstance(spec, Mapping):
        return str(spec)
    if spec.get("name") == "cloud":  # of another's class the name counts, whatever its settings look like
        return " at ".join(str(spec[what]) for what in ("path", "endpoint") if what in spec)
    return str(spec.get("name"))
