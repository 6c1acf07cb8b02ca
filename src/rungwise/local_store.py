"""How is a folder a store of checkpoints? On a disk of this machine, or one that the machines share.

A piece is written under another name, synced, and then given its own, which nothing has had before. Files of others in
the same folders are not looked at.

On a network file system that is safe: it needs exclusive creation and renaming to a new name, which NFS has had since
version 3, and no links, locks, or appending. Two things of NFS are minded here: a file that another machine deletes is
gone from under who reads it (ESTALE), and a renaming whose answer was lost is answered, the second time, as if there
were nothing to rename. A third needs no minding: a machine may list a folder as it was some seconds ago, but after it
has created a file there, as each job does first, it lists it anew. May import `store` and `pieces`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Sequence
from typing import Any, final

from rungwise.pieces import PART, is_ours, whose
from rungwise.store import Bytes, Unreachable

UNCACHED = 1 << 20  # bytes from which on what was saved is read back from the disk and not from memory
FOR_GOOD = (errno.EIO, errno.EINVAL, errno.ELOOP, errno.EISDIR, errno.EBADMSG, getattr(errno, "EUCLEAN", errno.EIO))
"""Why a file can never be read. Else it is for the moment: a lost server, too many open files, a missing right."""


@final
class LocalStore:
    """The store in the folder `path`, which is made when it is needed.

    >>> import tempfile
    >>> store = LocalStore(tempfile.mkdtemp())
    >>> store.save("a/job.0000000000000001", [b"1", b"2"])
    >>> store.list("a"), store.load("a/job.0000000000000001")
    ({'a/job.0000000000000001': 2}, b'12')
    """

    name = "folder"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)

    def hold(self, name: str, data: bytes, *, durable: bool = False) -> bool:
        """See `Store`."""
        path = f"{self.path}/{name}"
        try:
            fd = _opened(path, os.O_EXCL)
        except FileExistsError:
            return False
        try:
            os.write(fd, data)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        if durable:
            _sync_folder(os.path.dirname(path))
        return True

    def save(self, name: str, pieces: Sequence[Bytes]) -> None:
        """See `Store`."""
        path = f"{self.path}/{name}"
        part = f"{path}{PART}"
        try:
            with open(_opened(part, os.O_TRUNC), "wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
                if file.tell() >= UNCACHED and hasattr(os, "posix_fadvise"):
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            _rename(part, path, sum(map(len, pieces)))
        except OSError:
            with contextlib.suppress(OSError):  # what is raised is why it cannot be saved
                os.unlink(part)
            raise
        _sync_folder(os.path.dirname(path))

    def load(self, name: str) -> bytes:
        """See `Store`."""
        try:
            # a link leads elsewhere, and a pipe that somebody has put there never ends
            with open(os.open(f"{self.path}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise OSError(errno.EINVAL, "not a regular file", name)
                return file.read()
        except OSError as error:
            if error.errno == errno.ESTALE:
                raise FileNotFoundError(errno.ENOENT, "deleted while it was read", name) from None
            if isinstance(error, FileNotFoundError) or error.errno in FOR_GOOD:
                raise
            raise Unreachable(f"{self.path}/{name} cannot be read now: {error.strerror}") from None

    def discard(self, names: Sequence[str]) -> None:
        """See `Store`; the folder of a trial in which nothing is left goes too, if it is no one else's."""
        for name in names:
            try:
                os.unlink(f"{self.path}/{name}")
            except FileNotFoundError:
                continue
        for folder in {name.rpartition("/")[0] for name in names}:
            if whose(folder.rpartition("/")[2]) is not None:
                with contextlib.suppress(OSError):  # there is something in it
                    os.rmdir(f"{self.path}/{folder}")

    def list(self, under: str) -> dict[str, int]:
        """See `Store`."""
        found: dict[str, int] = {}
        try:
            entries = os.scandir(f"{self.path}/{under}")
        except FileNotFoundError:
            return found
        with entries:
            for entry in entries:
                if is_ours(name := entry.name):
                    try:
                        found[f"{under}/{name}"] = entry.stat(follow_symlinks=False).st_size
                    except FileNotFoundError:  # it has gone this moment
                        continue
                elif whose(name) is not None or name == "sessions":
                    found |= self.list(f"{under}/{name}") if entry.is_dir(follow_symlinks=False) else {}
        return found

    def settings(self) -> dict[str, Any]:
        """See `Store`."""
        return {"path": self.path}


def _opened(path: str, flag: int) -> int:
    """The file `path` to be written; its folders are made. A link that somebody has put there is not followed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | flag
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, 0o666)


def _rename(part: str, path: str, size: int) -> None:
    try:
        os.rename(part, path)
    except FileNotFoundError:
        try:
            done = os.stat(path, follow_symlinks=False).st_size == size
        except FileNotFoundError:
            done = False
        if not done:
            raise


def _sync_folder(path: str) -> None:
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno != errno.EINVAL:  # what a file system says that syncs no folders: some of networks
            raise
    finally:
        os.close(directory)
