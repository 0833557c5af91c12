"""A server on loopback that speaks like an OpenAI-compatible one, or misbehaves as it is told."""

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


@dataclass
class Asked:
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """What the last turn says."""
        return str(json.loads(self.body)["messages"][-1]["content"])


Script = Callable[[socket.socket, Asked], None]


def event(text: str = "", finish: str | None = None, **more: object) -> bytes:
    """One event with a piece of an answer."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    body = {"id": "x", "object": "chat.completion.chunk", "model": "fake-1", "choices": [choice]}
    return b"data: " + json.dumps(body | more).encode() + b"\n\n"


def counted(prompt: int, completion: int) -> bytes:
    """The event with the count of tokens."""
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    return b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def says(*pieces: str, tokens: tuple[int, int] | None = (7, 3)) -> Script:
    """Stream these pieces."""

    def script(plug: socket.socket, _asked: Asked) -> None:
        plug.sendall(HEAD)
        for piece in pieces:
            plug.sendall(event(piece))
        plug.sendall(event("", "stop") + (counted(*tokens) if tokens else b"") + DONE)

    return script


def echo(plug: socket.socket, asked: Asked) -> None:
    """Give the last turn back, word by word."""
    says(*asked.text.split(" "))(plug, asked)


def raw(*chunks: bytes) -> Script:
    """Send these bytes, then close."""

    def script(plug: socket.socket, _asked: Asked) -> None:
        for chunk in chunks:
            plug.sendall(chunk)

    return script


def status(code: int, body: bytes = b"{}", **headers: object) -> Script:
    """Answer with a status."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    head = f"HTTP/1.1 {code} X\r\n" + "\r\n".join(lines) + "\r\n\r\n"
    return raw(head.encode() + body)


@dataclass
class FakeOpenai:
    """Serves one connection after the other, each on a thread; `scripts` are used up, then `last`.

    `let_go` is set at the end, so that scripts which wait for ever may end.
    """

    scripts: list[Script] = field(default_factory=list)
    last: Script = echo
    context: ssl.SSLContext | None = None
    asked: list[Asked] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)
    host: str = "127.0.0.1"

    def __enter__(self) -> Self:
        self._listener = socket.create_server((self.host, 0))
        self.port: int = self._listener.getsockname()[1]
        self.address = f"{self.host}:{self.port}"
        self.arrived = threading.Condition()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    @property
    def url(self) -> str:
        """What an owner writes."""
        return f"{'https' if self.context else 'http'}://{self.address}/v1"

    def wait_for(self, number: int) -> None:
        """Wait until so many requests have come."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.asked) >= number, 20)

    def stall(self, *chunks: bytes) -> Script:
        """Send these bytes, then nothing, without closing."""

        def script(plug: socket.socket, asked: Asked) -> None:
            raw(*chunks)(plug, asked)
            self.let_go.wait(30)

        return script

    def reset(self, *chunks: bytes) -> Script:
        """Send these bytes, then reset the connection."""

        def script(plug: socket.socket, asked: Asked) -> None:
            raw(*chunks)(plug, asked)
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

        return script

    def _listen(self) -> None:
        while True:
            try:
                plug, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plug,), daemon=True).start()

    def _serve(self, plug: socket.socket) -> None:
        with contextlib.suppress(OSError), plug:
            if self.context is not None:
                plug = self.context.wrap_socket(plug, server_side=True)
            with plug:
                asked = _read(plug)
                if asked is None:
                    return
                with self.arrived:
                    script = self.scripts.pop(0) if self.scripts else self.last
                    self.asked.append(asked)
                    self.arrived.notify_all()
                script(plug, asked)


def _read(plug: socket.socket) -> Asked | None:
    text = b""
    while b"\r\n\r\n" not in text:
        piece = plug.recv(65536)
        if not piece:
            return None
        text += piece
    head, _, body = text.partition(b"\r\n\r\n")
    line, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in rest)}
    while len(body) < int(headers.get("content-length", 0)):
        body += plug.recv(65536)
    return Asked(line, headers, body)


def certificate(folder: Path, name: str = "DNS:localhost,IP:127.0.0.1") -> tuple[Path, Path]:
    """Make a key and a certificate that signs itself; return the files (certificate, key)."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl, to make a certificate")
    cert, key = folder / "cert.pem", folder / "cert.key"
    subject = ["-subj", "/CN=fake", "-addext", f"subjectAltName={name}"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(
        ["openssl", "req", "-x509", *curve, "-days", "2", "-keyout", key, "-out", cert, *subject],
        check=True,
        capture_output=True,
    )
    return cert, key
