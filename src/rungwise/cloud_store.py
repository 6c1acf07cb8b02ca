"""How is a bucket a store of checkpoints? In S3, Google Cloud Storage, Azure, or what speaks as they do, by obstore.

A small piece is one object. A large one is several, which are put at once: NAME.part/0000, … hold its bytes, and NAME,
put last, says how many there are. A multipart upload would do the same but for one thing: of a process that was killed
it leaves parts that nothing lists and somebody pays for, until a rule of the bucket deletes them. These are listed as
the half of a piece, and deleted like one.

May import `store`, `pieces` and `errors`.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, final
from urllib.parse import urlsplit

import msgspec

from rungwise.errors import InputError
from rungwise.pieces import PART
from rungwise.store import SCHEMES, Bytes, Unreachable

try:
    import obstore
    from obstore.exceptions import AlreadyExistsError, BaseError
    from obstore.store import from_url
except ModuleNotFoundError:
    raise InputError("a store in a bucket needs obstore: pip install 'rungwise[cloud]'") from None

T = TypeVar("T")

LARGE = 1 << 24  # bytes from which on a piece is several objects, of which each has so many or more
PARTS = 256  # that it has at most, if it is smaller than some terabytes
AT_ONCE = 4  # of them that are on their way
PATIENCE = 60.0  # seconds for which what may pass is tried again
PAUSES = 0.1, 5.0  # seconds between two tries: at first, and at most
OPTIONS: dict[str, Any] = {  # of one request: a part that takes a minute comes with 0.3 MB/s
    "connect_timeout": "10s",
    "timeout": "60s",
    "allow_http": True,  # to an endpoint that is given so
}
WRITER = "rungwise"  # the metadata of an object that says who has put it; Azure allows no dash in the name
SPLIT = b"rungwise piece of several objects\n"  # how NAME of a large piece begins; of others, none does


@final
class CloudStore:
    """The store at the address `path`: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, or az://CONTAINER/PREFIX.

    `endpoint` is the URL of a server that speaks S3 (MinIO, Ceph, R2) or Azure's Blob Storage, if it is not the
    provider's own, and `region` that of an S3 bucket. Credentials are never given here, since a study's file notes the
    store: they come from the environment or the machine's own identity, as obstore finds them, on each machine.

    >>> CloudStore("s3://models/search", region="eu-central-1").settings()
    {'path': 's3://models/search', 'region': 'eu-central-1'}

    A request that fails as networks and servers fail for a while is made again for a minute. After that an `OSError`
    says what is wrong, and `load` raises `Unreachable`.

    Raises `InputError` for what is no such address, or holds credentials.
    """

    name = "cloud"

    def __init__(self, path: str, *, endpoint: str | None = None, region: str | None = None) -> None:
        scheme = _checked(path, "the address of a store", SCHEMES)
        if endpoint is not None:
            _checked(endpoint, "endpoint", ("http", "https"))
        if scheme == "gs" and endpoint is not None:
            raise InputError(f"endpoint= is for s3:// and az://, not for {path}")
        if scheme != "s3" and region is not None:
            raise InputError(f"region= is for s3://, not for {path}")
        self.path, self.endpoint, self.region = path.rstrip("/"), endpoint, region
        config: dict[str, Any] = {name: value for name, value in self.settings().items() if name != "path"}
        once = {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}  # it is tried again here, where Ctrl-C is seen
        try:
            self._there = from_url(self.path, config=config, client_options=OPTIONS, retry_config=once)
        except (BaseError, ValueError) as error:
            raise InputError(f"{path}: {_said(error)}") from None

    def __repr__(self) -> str:
        given = [f"{name}={value!r}" for name, value in self.settings().items() if name != "path"]
        return f"CloudStore({', '.join([repr(self.path), *given])})"

    def __reduce__(self) -> tuple[Callable[..., CloudStore], tuple[dict[str, Any]]]:
        return _again, (self.settings(),)

    def hold(self, name: str, data: bytes, *, durable: bool = False) -> bool:
        """See `Store`. Where the answer to our own put was lost, the object tells that it is ours."""
        mine = secrets.token_hex(8)
        try:
            self._try(lambda: obstore.put(self._there, name, data, mode="create", attributes={WRITER: mine}))
        except AlreadyExistsError:
            with contextlib.suppress(FileNotFoundError):  # it was deleted since
                return bool(self._try(lambda: obstore.get(self._there, name)).attributes.get(WRITER) == mine)
            return False
        return True

    def save(self, name: str, pieces: Sequence[Bytes]) -> None:
        """See `Store`."""
        total = sum(map(len, pieces))
        if total < LARGE and not _begin(pieces).startswith(SPLIT):
            self._put(name, pieces)
            return
        parts = list(_split(pieces, max(LARGE, -(-total // PARTS))))
        try:
            self._at_once(lambda number: self._put(_part(name, number), parts[number]), len(parts))
            self._put(name, [SPLIT, msgspec.json.encode([sum(map(len, part)) for part in parts])])
        except BaseException:
            with contextlib.suppress(OSError):  # they are listed as a half, and deleted as one later
                self.discard([name])
            raise

    def load(self, name: str) -> memoryview:
        """See `Store`."""
        try:
            found = memoryview(self._try(lambda: obstore.get(self._there, name).bytes()))
            if found[: len(SPLIT)] != SPLIT:
                return found
            sizes = msgspec.json.decode(found[len(SPLIT) :], type=list[int])
            whole = memoryview(bytearray(sum(sizes)))

            def fetch(number: int) -> None:
                part = self._try(lambda: obstore.get(self._there, _part(name, number)).bytes())
                start = sum(sizes[:number])
                whole[start : start + sizes[number]] = memoryview(part)

            try:
                self._at_once(fetch, len(sizes))
            except FileNotFoundError:
                if name in self.list(name.rpartition("/")[0]):
                    raise _Damaged(f"{self.path}/{name} lacks a part") from None
                raise
        except (FileNotFoundError, _Damaged):
            raise
        except (msgspec.MsgspecError, ValueError) as error:
            raise _Damaged(f"{self.path}/{name}: {error}") from None
        except OSError as error:
            raise Unreachable(str(error)) from None
        return whole

    def discard(self, names: Sequence[str]) -> None:
        """See `Store`. A large piece is gone as soon as NAME is."""
        wanted = {name.removesuffix(PART) for name in names}
        keys = [key for place in {name.rpartition("/")[0] for name in wanted} for key in self._keys(place)]
        self._delete([name for name in names if not name.endswith(PART)])
        self._delete([key for key in keys if f"{PART}/" in key and key.rpartition(f"{PART}/")[0] in wanted])

    def list(self, under: str) -> dict[str, int]:
        """See `Store`."""
        found: dict[str, int] = {}
        parts: dict[str, int] = {}
        for key, size in self._keys(under).items():
            name, part, _ = key.rpartition(f"{PART}/")
            if part:
                parts[name] = parts.get(name, 0) + size
            else:
                found[key] = size
        return found | {name if name in found else f"{name}{PART}": size for name, size in parts.items()}

    def settings(self) -> dict[str, Any]:
        """See `Store`."""
        given = {"path": self.path, "endpoint": self.endpoint, "region": self.region}
        return {name: value for name, value in given.items() if value is not None}

    # -- requests -----------------------------------------------------------------------------------

    def _keys(self, under: str) -> dict[str, int]:
        found = self._try(lambda: obstore.list(self._there, under).collect())
        return {each["path"]: each["size"] for each in found}

    def _put(self, name: str, pieces: Sequence[Bytes]) -> None:
        self._try(lambda: obstore.put(self._there, name, list(pieces), use_multipart=False))

    def _delete(self, names: Sequence[str]) -> None:
        try:
            if names:
                self._try(lambda: obstore.delete(self._there, list(names)))
        except FileNotFoundError:  # as others than S3 say of one; the rest may still be there
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    self._try(partial(obstore.delete, self._there, name))

    def _at_once(self, do: Callable[[int], None], count: int) -> None:
        """Call `do` with each number below `count`; after the first error, with no other."""
        with ThreadPoolExecutor(AT_ONCE, "rungwise-parts") as pool:
            futures = [pool.submit(do, number) for number in range(count)]
            try:
                for future in futures:
                    future.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _try(self, request: Callable[[], T]) -> T:
        """What `request` returns; made again while what goes wrong may pass.

        Raises `FileNotFoundError` if the object is not there, `AlreadyExistsError`, or an `OSError` that says why.
        """
        _refuse_fork()
        until, pause = time.monotonic() + PATIENCE, PAUSES[0]
        while True:
            try:
                return request()
            except AlreadyExistsError:
                raise
            except (BaseError, OSError) as error:
                if isinstance(error, FileNotFoundError) and not _NO_BUCKET.search(str(error)):
                    raise
                if not _may_pass(error) or time.monotonic() + pause > until:
                    raise ConnectionError(f"{self.path} cannot be used: {_said(error)}") from None
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, PAUSES[1])


class _Damaged(OSError):
    """What was put is not there as a whole."""


def _again(settings: dict[str, Any]) -> CloudStore:
    return CloudStore(**settings)


def _checked(given: object, what: str, schemes: Sequence[str]) -> str:
    """The scheme of the URL `given`, or an `InputError` that says what is wrong with it."""
    try:
        parts = urlsplit(given) if isinstance(given, str) else None
    except ValueError as error:  # of what should be an address in brackets
        raise InputError(f"{what} is no URL: {error}") from None
    if parts is None or parts.scheme not in schemes or not parts.netloc:
        known = " or ".join(f"{scheme}://" for scheme in schemes)
        raise InputError(f"{what} must begin with {known}, not {given!r}")
    if "@" in parts.netloc or parts.query or parts.fragment:
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        raise InputError(
            f"{what} must be like {shown}, without user, password, or token, because the study's file stores it; "
            "credentials come from the environment"
        )
    return parts.scheme


def _part(name: str, number: int) -> str:
    return f"{name}{PART}/{number:04d}"


def _begin(pieces: Sequence[Bytes]) -> bytes:
    begin = b""
    for piece in pieces:
        if len(begin := begin + bytes(piece[: len(SPLIT)])) >= len(SPLIT):
            break
    return begin


def _split(pieces: Sequence[Bytes], size: int) -> Iterator[list[Bytes]]:
    """The bytes of `pieces` in parts of `size`, of which none is copied."""
    part: list[Bytes] = []
    room = size
    for piece in pieces:
        left = memoryview(piece)
        while len(left):
            part.append(left[:room])
            room -= len(part[-1])
            left = left[len(part[-1]) :]
            if not room:
                yield part
                part, room = [], size
    if part:
        yield part


_NO_BUCKET = re.compile("NoSuchBucket|ContainerNotFound|specified bucket does not exist")
_REFUSED = re.compile(r"status code: 4(?!08|09|25|29)\d\d")  # but for too slow, at once, early, or often
_NEVER = ("PermissionDeniedError", "UnauthenticatedError", "NotSupportedError", "InvalidPathError")


def _may_pass(error: Exception) -> bool:
    return not (_REFUSED.search(str(error)) or _NO_BUCKET.search(str(error)) or type(error).__name__ in _NEVER)


def _said(error: Exception) -> str:
    """What a request failed of, in a line, without its URL, which may hold a token."""
    text = str(error).split("Debug source")[0]
    if re.search(r"status code: 40[13]", text):
        return "it refuses the credentials in the environment, or what they may do does not include this"
    if (status := re.search(r"status code: (\d+ [\w ]+)", text)) is not None:
        message = re.search("<Message>(.*?)</Message>", text)
        return f"{status[1]}, {message[1]}"[:300] if message is not None else status[1]
    return " ".join(re.sub(r"\w+://\S+", "…", text).split())[:300]


_used_by: int | None = None  # the process in which requests were made


def _refuse_fork() -> None:
    """Raise `RuntimeError` in a forked child: the threads that make obstore's requests are not in it."""
    global _used_by
    if _used_by not in (None, os.getpid()):
        raise RuntimeError(
            f"a cloud store was used in process {_used_by}, from which this one was forked, and cannot be used here: "
            'start it as a new process, such as with multiprocessing.get_context("spawn")'
        )
    _used_by = os.getpid()
