"""A real daemon with real workers in a folder of its own, and a client that speaks bare ZeroMQ."""

import hashlib
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import zmq

from aiosd.domain.inputs import Input, TextInput
from aiosd.domain.request import Options
from aiosd.protocol.codec import decode_answer, encode
from aiosd.protocol.messages import (
    Answer,
    Chunk,
    End,
    Error,
    List,
    Load,
    Ping,
    Ps,
    Reply,
    Run,
    Status,
    Verb,
)

T = TypeVar("T")

PATIENCE_SECONDS = 20.0

MANIFEST = """\
name = "{name}"
release = {release}
summary = "An echo of a test"
licence = "MIT"
task = "echo"

[engine]
name = "echo"

[input]
type = "{kind}"
max_bytes = {max_bytes}

[needs]
ram_bytes = {ram}
"""


def until(fact: Callable[[], T | None], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """Look again and again until `fact` is something; fail after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        found = fact()
        if found:
            return found
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        select.select([], [], [], 0.01)


def alive(pid: int) -> bool:
    """Tell whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before, or while it is read
        return False


class RawClient:
    """A DEALER socket and no more."""

    def __init__(self, path: Path, *, unread: int = 1000) -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVHWM, unread)
        self.socket.connect(f"ipc://{path}")
        self._numbers = itertools.count(1)
        self._kept: dict[bytes, list[Answer]] = {}

    def send(self, message: Verb, *attachments: bytes, ident: bytes | None = None) -> bytes:
        """Send a message; return its id."""
        ident = ident or str(next(self._numbers)).encode()
        self.socket.send_multipart([ident, encode(message), *attachments])
        return ident

    def run(self, expert: str, text: str, **options: object) -> bytes:
        """Send a text to an expert; return the request's id."""
        made = msgspec.convert(options, Options)
        return self.send(Run(expert=expert, input=TextInput(text=text), options=made))

    def next(self, ident: bytes, seconds: float = PATIENCE_SECONDS) -> Answer:
        """Return the next answer to a message; keep those to others."""
        end = time.monotonic() + seconds
        while not self._kept.get(ident):
            left = end - time.monotonic()
            assert left > 0, f"no answer to {ident!r} within {seconds} s"
            assert self.socket.poll(int(left * 1000) + 1), f"no answer to {ident!r}"
            found, header = self.socket.recv_multipart()
            self._kept.setdefault(found, []).append(decode_answer(header))
        return self._kept[ident].pop(0)

    def end(self, ident: bytes, seconds: float = PATIENCE_SECONDS) -> End | Error | Reply:
        """Return the last answer to a message."""
        while True:
            answer = self.next(ident, seconds)
            if not isinstance(answer, Chunk):
                return answer

    def ask(self, message: Verb, *attachments: bytes) -> End | Error | Reply:
        """Send a message and return its last answer."""
        return self.end(self.send(message, *attachments))

    def say(self, expert: str, text: str, **options: object) -> End | Error | Reply:
        """Send a text to an expert and return the last answer."""
        return self.end(self.run(expert, text, **options))

    def give(self, expert: str, value: Input, *attachments: bytes) -> End | Error | Reply:
        """Send any input to an expert and return the last answer."""
        return self.ask(Run(expert=expert, input=value), *attachments)

    def close(self) -> None:
        """Be gone at once."""
        self._context.destroy(linger=0)


def _toml(value: object) -> str:
    """Return a value as TOML has it; numbers, words and flat lists are written as in JSON."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


class DaemonProcess:
    """`python -m aiosd.daemon` with its own folders; `log` is what it wrote to standard error."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.experts = folder / "experts"
        self.state = folder / "state"
        self.sockets = folder / "run"
        self.config = folder / "aiosd.toml"
        for each in (self.experts, self.state):
            each.mkdir(parents=True, exist_ok=True)
        self.settings: dict[str, dict[str, object]] = {
            "paths": {
                "experts": [str(self.experts)],
                "profiles": [str(Path(__file__).resolve().parents[2] / "board-profiles")],
                "state": str(self.state),
                "sockets": str(self.sockets),
            },
            "ram": {"cap": "1 GiB", "groups": "off"},
            "stop": {"interrupt_grace_seconds": 1.0, "drain_seconds": 5.0},
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._clients: list[RawClient] = []

    # ── packages ──────────────────────────────────────────────────────────────────────────────

    def install(  # noqa: PLR0913 - each is one thing a test may want otherwise
        self,
        name: str = "echo",
        *,
        release: int = 1,
        mebibytes: int = 0,
        kind: str = "text",
        max_bytes: int = 16_777_216,
        model: bytes | None = None,
        extra: str = "",
    ) -> Path:
        """Write a package that echoes; `mebibytes` is what it says it needs."""
        folder = self.experts / name
        folder.mkdir(exist_ok=True)
        text = MANIFEST.format(
            name=name, release=release, ram=mebibytes << 20, kind=kind, max_bytes=max_bytes
        )
        if model is not None:
            digest = hashlib.sha256(model).hexdigest()
            text += f'\n[[files]]\npath = "model.bin"\nsize = {len(model)}\nsha256 = "{digest}"\n'
            (folder / "model.bin").write_bytes(model)
        (folder / "expert.toml").write_text(text + extra, encoding="utf-8")
        return folder

    # ── life ──────────────────────────────────────────────────────────────────────────────────

    def configure(self, **tables: dict[str, object]) -> None:
        """Set settings, table by table, and write the file."""
        for table, values in tables.items():
            self.settings.setdefault(table, {}).update(values)
        lines = []
        for table, values in self.settings.items():
            keys = [f"{key} = {_toml(value)}" for key, value in values.items()]
            lines += [f"[{table}]", *keys]
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def spawn(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start a process with the settings as they are now."""
        if not self.config.exists():
            self.configure()
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "aiosd.daemon", "--config", str(self.config)],
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **environment},
            )

    def start(self, **tables: dict[str, object]) -> "DaemonProcess":
        """Start the daemon and wait until it answers."""
        self.configure(**tables)
        self.process = self.spawn()
        process = self.process
        until(
            lambda: (self.sockets / "api.sock").exists() or process.poll() is not None, "a socket"
        )
        assert process.poll() is None, f"the daemon did not start:\n{self.log}"
        client = self.client()
        assert isinstance(client.ask(Ping()), Reply)
        client.close()
        return self

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        """What was written to standard error."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def signal(self, number: int) -> None:
        """Send a signal to the daemon."""
        os.kill(self.pid, number)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for the daemon to end; return its status."""
        assert self.process is not None
        return self.process.wait(seconds)

    def stop(self) -> None:
        """End the daemon, whatever state it is in, and all that it started."""
        for client in self._clients:
            client.close()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise

    # ── looking ───────────────────────────────────────────────────────────────────────────────

    def client(self, *, unread: int = 1000) -> RawClient:
        """Return a client of the api socket."""
        made = RawClient(self.sockets / "api.sock", unread=unread)
        self._clients.append(made)
        return made

    def admin(self) -> RawClient:
        """Return a client of the admin socket."""
        made = RawClient(self.sockets / "admin.sock")
        self._clients.append(made)
        return made

    def look(self, verb: Verb) -> dict[str, object]:
        """Ask for something and return what was answered."""
        client = self.client()
        answer = client.ask(verb)
        client.close()
        assert isinstance(answer, Reply), answer
        return answer.body

    def loaded(self) -> dict[str, dict[str, object]]:
        """Return the experts that `ps` tells of, by name."""
        return {each["name"]: each for each in self.look(Ps())["experts"]}  # type: ignore[index, attr-defined]

    def hosts(self) -> dict[str, dict[str, object]]:
        """Return the engine hosts that `ps` tells of, by engine."""
        return {each["engine"]: each for each in self.look(Ps())["hosts"]}  # type: ignore[index, attr-defined]

    def refused(self) -> dict[str, str]:
        """Return why packages were refused, by the name of their folder."""
        found = self.look(List())["refused"]
        return {Path(each["path"]).name: each["reason"] for each in found}  # type: ignore[attr-defined]

    def status(self) -> dict[str, object]:
        """Return what `status` tells."""
        return self.look(Status())

    def worker(self, expert: str) -> int:
        """Return the process id of an expert's worker, once it is loaded."""

        def pid() -> int | None:
            found = self.loaded().get(expert, {})
            return found["pid"] if found.get("state") == "ready" else None  # type: ignore[return-value]

        return until(pid, f"a worker of {expert}")

    def load(self, expert: str) -> int:
        """Have an expert loaded; return its worker's process id."""
        client = self.admin()
        answer = client.ask(Load(expert=expert))
        assert isinstance(answer, Reply), answer
        client.close()
        return self.worker(expert)

    def running(self, expert: str) -> None:
        """Wait until a request is at the expert's worker."""
        until(
            lambda: (
                self.loaded().get(expert, {}).get("idle_seconds", 0) is None
                and self.loaded()[expert]["state"] == "ready"
            ),
            f"a request at {expert}",
        )
