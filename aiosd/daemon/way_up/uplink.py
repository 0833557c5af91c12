"""The daemon's side of the uplink's process: start or reach it, talk, and try again when it fell.

It is reached through `uplink.sock` where that is (systemd then starts aiosd-uplink.service, which
has a network while the daemon has none), and is else started as a child on a pipe. It goes when
nobody needs it for a while.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from aiosd.daemon.workers.child import Child
from aiosd.daemon.workers.pipe import Pipe
from aiosd.domain.errors import NoRouteError
from aiosd.protocol.pipe import CancelRequest, Failed, Piece
from aiosd.protocol.uplink import Answered, Ask, FromUplink, Look, Looked, UplinkReady

log = logging.getLogger(__name__)

FIRST_REST_SECONDS = 0.5
LONGEST_REST_SECONDS = 60.0
# How long the process has to let go of a request that was given up.
GRACE_SECONDS = 5.0
# What a child needs of the environment; nothing else of it goes there.
_PASSED_ON = (
    "CREDENTIALS_DIRECTORY",
    "HOME",
    "LANG",
    "PATH",
    "PYTHONPATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "VIRTUAL_ENV",
)
_DECODER = msgspec.msgpack.Decoder(FromUplink)


class Listener(Protocol):
    """Who is told what the uplink says."""

    def on_piece(self, piece: Piece) -> None:
        """A piece of streamed text."""

    def on_answered(self, answered: Answered) -> None:
        """A request was answered."""

    def on_failed(self, failed: Failed) -> None:
        """A request could not be answered."""

    def on_looked(self, looked: Looked) -> None:
        """What was asked to be seen."""

    def on_lost(self, reason: str) -> None:
        """The process is gone, and all that it had to do with it."""


@dataclass(frozen=True)
class Where:
    """How the process is started or reached."""

    config: Path
    socket: Path
    environment: Mapping[str, str]
    idle_seconds: float


class Link:
    """The one pipe to the uplink's process."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        where: Where,
        listener: Listener,
        on_news: Callable[[str, dict[str, object]], None],
    ) -> None:
        """Start nothing yet; `on_news` takes a topic and facts for the events socket."""
        self._loop = loop
        self._where = where
        self._listener = listener
        self._on_news = on_news
        self._pipe: Pipe[FromUplink] | None = None
        self._child: Child | None = None
        self._open: set[int] = set()
        self._idle: asyncio.TimerHandle | None = None
        self._fell = 0
        self._rests_until = 0.0
        self._why = ""
        self.ready: UplinkReady | None = None

    def send(self, message: Ask | Look) -> None:
        """Have something done; starts the process if it is not there.

        Raises:
            NoRouteError: the process fell and rests, or cannot be started.
        """
        pipe = self._pipe or self._start()
        self._open.add(message.id)
        self._rest_no_more()
        pipe.send(message)

    def cancel(self, request: int) -> None:
        """Stop a request; a process that does not let go of it in time is ended."""
        if self._pipe is not None and request in self._open:
            self._pipe.send(CancelRequest(id=request))
            self._loop.call_later(GRACE_SECONDS, self._end_if_stuck, request, self._pipe)

    def close(self, seconds: float | None = None) -> None:
        """Let the process go; wait so long for a child's end, if given. Nothing is told of it."""
        pipe, child = self._pipe, self._child
        self._pipe = self._child = self.ready = None
        self._open.clear()
        self._rest_no_more()
        if pipe is not None:
            pipe.close()
        if child is not None and seconds is not None:
            child.join(seconds)

    def status(self) -> dict[str, object]:
        """Return how the process stands."""
        return {
            "pid": self.ready.pid if self.ready else None,
            "started_by": "child" if self._child else "socket" if self._pipe else None,
            "problems": self.ready.problems if self.ready else [],
            "fell": self._fell,
            "why": self._why,
        }

    # ── the process ───────────────────────────────────────────────────────────────────────────

    def _start(self) -> Pipe[FromUplink]:
        """Reach or start the process.

        Raises:
            NoRouteError: it rests, or that is not possible.
        """
        rest = self._rests_until - self._loop.time()
        if rest > 0:
            raise NoRouteError(
                f"the uplink's process {self._why}; tried again in {rest:.1f} s",
                retry_after_seconds=round(rest, 3) or 0.001,
            )
        try:
            end, child = self._reach()
        except OSError as error:
            self._fall(f"cannot be reached: {error.strerror or error}")
            raise NoRouteError(f"the uplink's process {self._why}") from error
        pipe = self._pipe = Pipe(
            self._loop,
            end,
            _DECODER,
            self._on_message,
            lambda reason: self._on_closed(pipe, reason),
        )
        self._child = child
        return pipe

    def _reach(self) -> tuple[socket.socket, Child | None]:
        """Return a pipe, and the process at its other end if that is a child.

        Raises:
            OSError: there is none.
        """
        where = self._where
        if where.socket.is_socket():
            end = socket.socket(socket.AF_UNIX)
            try:
                end.setblocking(False)  # noqa: FBT003 - the socket's own signature
                end.connect(os.fspath(where.socket))
            except OSError:
                end.close()
                raise
            return end, None
        if "NOTIFY_SOCKET" in where.environment:
            raise OSError(
                None, "this service has no network of its own: enable aiosd-uplink.socket"
            )
        environment = {
            name: where.environment[name] for name in _PASSED_ON if name in where.environment
        }
        child = Child(
            self._loop,
            ["--config", str(where.config)],
            environment,
            lambda how: self._on_exit(child, how),
            "aiosd.uplink",
        )
        return child.end, child

    def _on_exit(self, child: Child, how: str) -> None:
        """A child is gone."""
        if child is self._child and self._pipe is not None:
            self._pipe.drain()  # its last words
            self._lose(how)

    def _on_closed(self, pipe: Pipe[FromUplink], reason: str) -> None:
        """The pipe is gone; of a child its exit is what counts, and says more."""
        if pipe is not self._pipe:
            return
        if self._child is None:
            self._lose(reason or "closed its connection")
        elif reason:
            self._why = reason
            self._child.kill()

    def _end_if_stuck(self, request: int, pipe: Pipe[FromUplink]) -> None:
        """End a process that did not let go of a request."""
        if pipe is self._pipe and request in self._open:
            if self._child is not None:
                self._child.kill()
            else:
                self._lose("did not react in time")

    def _lose(self, how: str) -> None:
        """The process fell."""
        reason = self._why if self._why.startswith("broke its pipe") else how
        self.close()
        self._fall(reason)
        log.warning("uplink: %s", reason)
        self._on_news("uplink.exited", {"how": reason})
        self._listener.on_lost(reason)

    def _fall(self, why: str) -> None:
        """Rest before the next start, the longer the oftener it fell."""
        rest = min(FIRST_REST_SECONDS * 2.0 ** min(self._fell, 16), LONGEST_REST_SECONDS)
        self._rests_until = self._loop.time() + rest
        self._fell += 1
        self._why = why

    # ── what it says ──────────────────────────────────────────────────────────────────────────

    def _on_message(self, message: FromUplink) -> None:
        listener = self._listener
        match message:
            case Piece():
                listener.on_piece(message)
            case Answered():
                self._fell, self._why = 0, ""
                self._done(message.id)
                listener.on_answered(message)
            case Failed():
                self._done(message.id)
                listener.on_failed(message)
            case Looked():
                self._done(message.id)
                listener.on_looked(message)
            case UplinkReady():
                self.ready = message
                for problem in message.problems:
                    log.warning("uplink: endpoint %s", problem)
                self._on_news("uplink.ready", {"pid": message.pid, "problems": message.problems})
                self._rest_if_idle()

    def _done(self, request: int) -> None:
        self._open.discard(request)
        self._rest_if_idle()

    def _rest_if_idle(self) -> None:
        """Let the process go in a while, if nobody needs it until then."""
        seconds = self._where.idle_seconds
        if not self._open and seconds > 0 and self._pipe is not None:
            self._rest_no_more()
            self._idle = self._loop.call_later(seconds, self.close)

    def _rest_no_more(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
