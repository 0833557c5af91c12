"""A daemon of our own in a folder of its own, and a bare connection to it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq

from aiosd.domain.request import Options, Outcome
from aiosd.protocol.codec import decode_answer, encode
from aiosd.protocol.messages import Chunk, End, Load, Ps, Reply, Run, Status, Unload, Verb
from tools.bench.subjects import ROOT, Subject

PATIENCE_SECONDS = 180.0


class RefusedError(Exception):
    """The daemon answered with an error."""


class Rig:
    """Starts `aiosd` with these experts; `start_seconds` is the time from exec to READY."""

    def __init__(
        self,
        folder: Path,
        subjects: Sequence[Subject],
        *,
        cap: str = "512 MiB",
        program: Sequence[str] = ("aiosd.daemon",),
    ) -> None:
        """Copy the packages and write the settings; nothing runs before `with`.

        `program` is the module that is the daemon, and its first arguments.
        """
        self._program = program
        self.folder = folder
        experts = folder / "experts"
        experts.mkdir(parents=True)
        for subject in subjects:
            shutil.copytree(subject.folder, experts / subject.name)
        self.settings = folder / "aiosd.toml"
        self.settings.write_text(
            f'[paths]\nexperts = ["{experts}"]\nprofiles = ["{ROOT / "board-profiles"}"]\n'
            f'state = "{folder / "state"}"\nsockets = "{folder}"\n'
            f'[engines]\nhosts = "on"\n[ram]\ncap = "{cap}"\n',
            encoding="utf-8",
        )
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.start_seconds = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = 0

    def __enter__(self) -> Self:
        address = self.folder / "notify.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
            ear.bind(str(address))
            ear.settimeout(PATIENCE_SECONDS)
            begun = time.perf_counter()
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", *self._program, "--config", str(self.settings)],
                    env={**environment(), "NOTIFY_SOCKET": str(address)},
                    stderr=log,
                )
            while not ear.recv(4096).startswith(b"READY=1"):
                pass
            self.start_seconds = time.perf_counter() - begun
        address.unlink()
        self.pid = self._process.pid
        self.api = self.connect("api")
        self.admin = self.connect("admin")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._context.destroy(linger=0)
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def connect(self, name: str) -> "zmq.Socket[bytes]":
        """Return a new connection to the api or the admin socket."""
        return self.dial(f"ipc://{self.folder / name}.sock")

    def dial(self, address: str) -> "zmq.Socket[bytes]":
        """Return a new connection to whatever listens there."""
        made = self._context.socket(zmq.DEALER)
        made.setsockopt(zmq.RCVTIMEO, int(PATIENCE_SECONDS * 1e3))
        made.connect(address)
        return made

    def hosts_ready(self) -> list[dict[str, object]]:
        """Wait until every engine host has its engine imported; return what `ps` says of them.

        And until the router has learned: its fitter takes a core for seconds, once.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            hosts = self.look(Ps())["hosts"]
            # None are there yet if we were faster than the daemon's first turn after READY.
            if (
                isinstance(hosts, list)
                and hosts
                and all(each["version"] != "starting" for each in hosts)
                and not self.learning()
            ):
                return hosts
            time.sleep(0.05)
        raise RuntimeError("an engine host never became ready")

    def ask(self, run: Run) -> Outcome:
        """Ask and wait for the answer.

        Raises:
            RefusedError: the daemon answered with an error.
        """
        return self.first(run)[1]

    def first(self, run: Run) -> tuple[float, Outcome, float]:
        """Ask; return the seconds to the first chunk (or the answer), the answer, all seconds."""
        frames = [b"1", encode(run)]
        begun = time.perf_counter()
        self.api.send_multipart(frames)
        first = None
        while True:
            header = self.api.recv_multipart()[1]
            now = time.perf_counter() - begun
            first = now if first is None else first
            answer = decode_answer(header)
            if isinstance(answer, End):
                return first, answer.outcome, now
            if not isinstance(answer, Chunk):
                raise RefusedError(f"{run.expert}: {answer}")

    def look(self, verb: Verb) -> dict[str, object]:
        """Ask the admin socket.

        Raises:
            RefusedError: the daemon refuses.
        """
        self.admin.send_multipart([b"2", encode(verb)])
        answer = decode_answer(self.admin.recv_multipart()[1])
        if not isinstance(answer, Reply):
            raise RefusedError(f"{verb}: {answer}")
        return answer.body

    def load(self, name: str) -> None:
        """Load an expert and wait."""
        self.look(Load(expert=name))

    def unload(self, name: str) -> None:
        """Unload an expert and wait until its process is gone."""
        self.look(Unload(expert=name))

    def learning(self) -> bool:
        """Tell whether the router's text head is being made."""
        told = self.status().get("routing")
        return isinstance(told, dict) and bool(told["learning"])

    def status(self) -> dict[str, object]:
        """Return the daemon's own condition."""
        return self.look(Status())


def environment() -> dict[str, str]:
    """Return what the daemon is to find: bytecode is kept, as it is for an installed package."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def run_of(subject: Subject, options: Options = Options()) -> Run:  # noqa: B008 - frozen
    """Return the message that asks a subject its question."""
    return Run(input=subject.question, expert=subject.name, options=options)
