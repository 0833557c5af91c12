"""A web server on loopback that serves files from memory, and can be made to misbehave."""

import contextlib
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Self
from urllib.parse import unquote

# Answers a request itself and returns True, or leaves it alone.
Mischief = Callable[["Handler", str], bool]


@dataclass
class Asked:
    """A request as it came."""

    path: str
    range: str = ""
    if_range: str = ""


@dataclass
class Mirror:
    """The server; `files` by path without a leading slash."""

    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    mischief: Mischief | None = None
    ranges: bool = True

    def __post_init__(self) -> None:
        self.asked: list[Asked] = []
        self.sent = 0
        mirror = self

        class Bound(Handler):
            owner = mirror

        self._server = Server(("127.0.0.1", 0), Bound)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def paths(self) -> list[str]:
        return [each.path for each in self.asked]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is none of our business."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: ClassVar[Mirror]
    timeout = 10

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""

    def do_GET(self) -> None:
        path = unquote(self.path).lstrip("/")
        owner = self.owner
        wanted = self.headers.get("Range", "")
        owner.asked.append(Asked(path, wanted, self.headers.get("If-Range", "")))
        with contextlib.suppress(ConnectionError, socket.timeout):
            if owner.mischief is not None and owner.mischief(self, path):
                return
            self.serve(path)

    def serve(self, path: str) -> None:
        data = self.owner.files.get(path)
        if data is None:
            self.answer(404, b"")
            return
        etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        wanted = self.headers.get("Range", "")
        kept = self.headers.get("If-Range", etag) == etag
        if wanted and self.owner.ranges and kept:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            part = data[int(first) : int(last) + 1]
            where = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
            self.answer(206, part, {"Content-Range": where, "ETag": etag})
        else:
            self.answer(200, data, {"ETag": etag})

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        headers = dict(headers or {})
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.send(body)

    def send(self, data: bytes) -> None:
        self.wfile.write(data)
        self.owner.sent += len(data)

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def on(suffix: str, act: Callable[[Handler], None], times: int = -1) -> Mischief:
    """Return mischief for requests of paths that end so, the first `times` of them (-1: all)."""
    left = [times]

    def mischief(handler: Handler, path: str) -> bool:
        if not path.endswith(suffix) or not left[0]:
            return False
        left[0] -= 1
        act(handler)
        return True

    return mischief


@contextlib.contextmanager
def serving(files: dict[str, bytes], mischief: Mischief | None = None) -> Iterator[Mirror]:
    with Mirror(files, mischief) as made:
        yield made
