"""A listening socket of ours and the connections that it accepted, bounded on every side."""

import asyncio
import itertools
import logging
import socket
import time
from collections.abc import Callable, Sequence

from aiosd.daemon.wire.connection import Connection
from aiosd.protocol.zmtp import Bounds, Buffer, TooLargeError, Wire

log = logging.getLogger(__name__)

# What was begun, a handshake or a message, must be whole by then: a local peer takes milliseconds.
UNFINISHED_SECONDS = 30.0
# When no connection can be accepted (no descriptor is left), we look again after this.
AGAIN_SECONDS = 1.0


class Listener:
    """Accepts connections, and hands on what they say."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        end: socket.socket,
        name: str,
        kinds: tuple[bytes, frozenset[bytes]],
        bounds: Bounds,
    ) -> None:
        """Take over a socket that listens; `kinds` are ours and those that may connect."""
        end.setblocking(False)  # noqa: FBT003 - the socket's own signature
        self.name = name
        self.bounds = bounds
        # Over this in unfinished messages of all connections, those that began last must wait.
        self.receiving_bytes = 2 * bounds.message_bytes
        self.connections: set[Connection] = set()
        self._loop = loop
        self._end: socket.socket | None = end
        self._kind, self._peers = kinds
        self._numbers = itertools.count(1)
        self._unfinished: dict[Connection, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._again: asyncio.TimerHandle | None = None
        self._full = False
        self._say_frames: Callable[[Connection, list[Buffer]], None] | None = None
        self._say_too_large: Callable[[Connection, Sequence[Buffer], TooLargeError], None] | None
        self._say_closed: Callable[[Connection], None] | None = None
        self._say_too_large = None

    def start(
        self,
        on_frames: Callable[[Connection, list[Buffer]], None],
        on_too_large: Callable[[Connection, Sequence[Buffer], TooLargeError], None],
        on_closed: Callable[[Connection], None],
    ) -> None:
        """Accept from now on."""
        self._say_frames, self._say_too_large = on_frames, on_too_large
        self._say_closed = on_closed
        if self._end is not None:
            self._loop.add_reader(self._end, self._accept)

    def limit(self, bounds: Bounds) -> None:
        """Hold all connections to other bounds from now on."""
        self.bounds, self.receiving_bytes = bounds, 2 * bounds.message_bytes
        for connection in self.connections:
            connection.wire.bounds = bounds

    def close(self, linger_seconds: float = 0.0) -> None:
        """Stop, after what was sent has gone or after `linger_seconds`; no callback follows."""
        if self._end is None:
            return
        for timer in (self._timer, self._again):
            if timer is not None:
                timer.cancel()
        self._loop.remove_reader(self._end)
        self._end.close()
        self._end = None
        until = time.monotonic() + linger_seconds
        for connection in self.connections:
            connection.close(until)
        self.connections.clear()
        self._unfinished.clear()

    @property
    def closed(self) -> bool:
        """Whether nobody is listened to any more."""
        return self._end is None

    # ── connections (their `Owner`) ───────────────────────────────────────────────────────────

    def on_frames(self, connection: Connection, frames: list[Buffer]) -> None:
        """Hand on a message."""
        if self._say_frames is not None:
            self._say_frames(connection, frames)

    def on_too_large(
        self, connection: Connection, frames: Sequence[Buffer], error: TooLargeError
    ) -> None:
        """Hand on that a message is too large."""
        if self._say_too_large is not None:
            self._say_too_large(connection, frames, error)

    def on_closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self.connections.discard(connection)
        self.on_unfinished(connection, waiting=False)
        if self._say_closed is not None:
            self._say_closed(connection)
        if self._again is not None:
            self._accept_again()  # its descriptor is free now

    def on_unfinished(self, connection: Connection, *, waiting: bool) -> None:
        """Bound how long, and together how much, unfinished messages take."""
        if waiting:
            self._unfinished[connection] = None
            if self._held() > self.receiving_bytes and len(self._unfinished) > 1:
                connection.pause()
            if self._timer is None:
                self._timer = self._loop.call_later(UNFINISHED_SECONDS, self._sweep)
            return
        self._unfinished.pop(connection, None)
        for each in list(self._unfinished):
            if each.paused and self._held() + each.wire.held <= self.receiving_bytes:
                each.resume()
        if not self._unfinished and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _held(self) -> int:
        """Return what the unfinished messages that are being read take."""
        return sum(each.wire.held for each in self._unfinished if not each.paused)

    def _sweep(self) -> None:
        """Close those who began something long ago."""
        self._timer = None
        now = self._loop.time()
        for connection in list(self._unfinished):
            if not connection.paused and now - connection.begun_at >= UNFINISHED_SECONDS:
                connection.lose(f"what it began was not whole after {UNFINISHED_SECONDS:.0f} s")
        if self._unfinished:
            first = min(each.begun_at for each in self._unfinished)
            wait = max(1.0, first + UNFINISHED_SECONDS - now)
            self._timer = self._loop.call_later(wait, self._sweep)

    def _accept(self) -> None:
        """Accept who connects; where no descriptor is left, they wait in the kernel's queue."""
        if self._end is None:
            return
        try:
            end, _ = self._end.accept()
        except (BlockingIOError, ConnectionAbortedError, InterruptedError):
            return
        except OSError as error:
            if not self._full:
                log.warning("%s: nobody can connect now: %s", self.name, error.strerror)
            self._full = True
            self._loop.remove_reader(self._end)
            self._again = self._loop.call_later(AGAIN_SECONDS, self._accept_again)
            return
        self._full = False
        wire = Wire(self._kind, self._peers, self.bounds)
        name = f"{self.name}:{next(self._numbers)}"
        self.connections.add(Connection(self._loop, end, name, wire, self))

    def _accept_again(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._end is not None:
            self._loop.add_reader(self._end, self._accept)
