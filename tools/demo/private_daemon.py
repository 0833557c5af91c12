"""A daemon of one's own in a temporary directory, for demonstrations and measurements."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from aiosd.client import Client

START_SECONDS = 20.0
STOP_SECONDS = 30.0


class DaemonError(Exception):
    """The private daemon did not do what it was told; its log is in the message."""


class PrivateDaemon:
    """Starts `aiosd` with its own sockets, state and experts; stops it by its pid."""

    def __init__(
        self, experts: Iterable[Path], settings: str = "", profiles: Path | None = None
    ) -> None:
        """Prepare a folder with links to the packages `experts`; nothing runs yet.

        `program` and `environment` may be changed until it is started.
        """
        self._profiles = f'profiles = ["{profiles}"]\n' if profiles else ""
        self.folder = Path(tempfile.mkdtemp(prefix="aiosd-"))
        self.experts = self.folder / "experts"
        self.experts.mkdir()
        for package in experts:
            (self.experts / package.name).symlink_to(package.resolve())
        self.sockets = self.folder / "run"
        self.config = self.folder / "aiosd.toml"
        self.log = self.folder / "log"
        self.configure(settings)
        self.process: subprocess.Popen[bytes] | None = None
        self.program = "aiosd.daemon"
        self.environment: dict[str, str] = {}

    def configure(self, settings: str) -> None:
        """Write the settings; a running daemon takes them on `reload`."""
        paths = (
            f'[paths]\nexperts = ["{self.experts}"]\n'
            f'state = "{self.folder / "state"}"\nsockets = "{self.sockets}"\n'
        )
        text = paths + self._profiles + settings
        self.config.write_text(text, encoding="utf-8")

    def start(self) -> None:
        """Start the daemon and wait until it answers.

        Raises:
            DaemonError: it ends instead, or takes too long.
        """
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.program, "--config", str(self.config)],
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        until = time.monotonic() + START_SECONDS
        while not (self.sockets / "admin.sock").exists():
            if self.process.poll() is not None or time.monotonic() > until:
                raise DaemonError(f"the daemon did not start:\n{self.said()}")
            self.process_tick()
        with self.client() as client:
            client.ping()

    def process_tick(self) -> None:
        """Wait a moment for the process to end; it usually does not."""
        if self.process is not None:
            try:
                self.process.wait(0.01)
            except subprocess.TimeoutExpired:
                return

    def client(self) -> Client:
        """Return a client of this daemon."""
        return Client(str(self.sockets))

    def stop(self) -> int:
        """Stop the daemon as systemd would; return its exit status."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.process = None

    def said(self) -> str:
        """Return the daemon's log."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def alive(pid: int) -> bool:
    """Tell whether a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
