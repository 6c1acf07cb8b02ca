"""A server that speaks S3 (moto, in a process of its own), and a proxy in front of it that fails as networks do."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.etree import ElementTree

import obstore
from obstore.store import S3Store

BUCKET = "bucket"
SERVER = """
import logging, sys
from moto.server import main
logging.getLogger("werkzeug").setLevel(logging.ERROR)
main(["-H", "127.0.0.1", "-p", sys.argv[1]])
"""


@contextlib.contextmanager
def s3() -> Iterator[str]:
    """The URL of a server with an empty bucket."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(urllib.request.Request(f"{url}/{BUCKET}", method="PUT"), timeout=5)
                break
            assert process.poll() is None, "moto has ended"
            time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()


def objects(url: str) -> dict[str, int]:
    """All that is in the bucket, with its size, and uploads that were never completed."""
    store = S3Store(BUCKET, config={"endpoint": url}, client_options={"allow_http": True})
    found = {each["path"]: each["size"] for each in obstore.list(store).collect()}
    with urllib.request.urlopen(f"{url}/{BUCKET}?uploads", timeout=30) as answer:
        for upload in ElementTree.fromstring(answer.read()).iter("{http://s3.amazonaws.com/doc/2006-03-01/}Upload"):
            found[f"upload {upload[0].text}"] = 0
    return found


class Faulty:
    """A proxy at `url`, before the server at `behind`: one request in `every` fails; with 0 none.

    Before that, the next requests fail in the ways in `next`. `done` counts what was done with how many.
    """

    WAYS = ("refused", "refused when done", "cut before", "cut after", "answer cut")

    def __init__(self, behind: str, every: int = 0, seed: int = 0) -> None:
        self.every, self.done, self.next = every, Counter[str](), list[str]()
        chance, turn, faulty = random.Random(seed), threading.Lock(), self
        host = behind.removeprefix("http://")

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with turn:
                    fails = faulty.every and not chance.randrange(faulty.every)
                    way = faulty.next.pop(0) if faulty.next else chance.choice(Faulty.WAYS) if fails else "passed on"
                    faulty.done[way] += 1
                if way == "cut before":
                    return self.cut()
                if way == "refused":
                    return self.answer(chance.choice([500, 503]), [], b"<Error><Code>SlowDown</Code></Error>")
                connection = http.client.HTTPConnection(host, timeout=120)
                connection.request(self.command, self.path, body, dict(self.headers))
                got = connection.getresponse()
                status, headers, content = got.status, got.getheaders(), got.read()
                connection.close()
                if way == "cut after":
                    return self.cut()
                if way == "refused when done":
                    return self.answer(500, [], b"<Error><Code>InternalError</Code></Error>")
                return self.answer(status, headers, content, cut=way == "answer cut")

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one

            def answer(self, status: int, headers: list, content: bytes, *, cut: bool = False) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                        self.send_header(name, value)
                length = dict(headers).get("Content-Length", len(content)) if self.command == "HEAD" else len(content)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(content[: len(content) // 2] if cut else content)
                if cut:
                    self.cut()

            def cut(self) -> None:
                self.close_connection = True
                with contextlib.suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)

            def handle(self) -> None:
                with contextlib.suppress(OSError):  # the other side was killed
                    super().handle()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
