"""One connection of a client to a socket of ours: whole messages in, bytes out, no blocking."""

import asyncio
import contextlib
import logging
import socket
import struct
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from aiosd.protocol.zmtp import Buffer, TooLargeError, Wire, ZmtpError

log = logging.getLogger(__name__)

# Where all connections receive: what came is taken apart before anybody receives again. Some sixty
# usual messages fit: after these the other connections get their turn.
_BUFFER = memoryview(bytearray(8192))
# What waits for one who does not read takes no more than this, however few messages it is.
_UNSENT_BYTES = 32 << 20
# struct ucred of unix(7): pid, uid, gid.
_CREDENTIALS = struct.Struct("3i")


class Owner(Protocol):
    """Who accepted a connection, and is told what comes of it."""

    def on_frames(self, connection: "Connection", frames: list[Buffer]) -> None:
        """A whole message came."""

    def on_too_large(
        self, connection: "Connection", frames: Sequence[Buffer], error: TooLargeError
    ) -> None:
        """One came that is too large, `frames` before it; the connection is closed after this."""

    def on_unfinished(self, connection: "Connection", *, waiting: bool) -> None:
        """Something began that has not come whole, or nothing such is awaited any more."""

    def on_closed(self, connection: "Connection") -> None:
        """The peer is gone."""


class Connection:
    """Reads until it is closed; what cannot be sent at once waits, up to a bound."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        end: socket.socket,
        name: str,
        wire: Wire,
        owner: Owner,
    ) -> None:
        """Take over the accepted socket `end`."""
        end.setblocking(False)  # noqa: FBT003 - the socket's own signature
        self.name = name
        self.uid = peer_uid(end)
        self.wire = wire
        self.begun_at = loop.time()
        self._waiting = self._ready = False
        self._loop = loop
        self._end: socket.socket | None = end
        self._owner = owner
        self._unsent: deque[memoryview] = deque()
        self._unsent_bytes = 0
        self.paused = False
        loop.add_reader(end, self._on_readable)
        self._reply()
        self._look(fresh=True)

    @property
    def closed(self) -> bool:
        """Whether nothing comes or goes any more."""
        return self._end is None

    def send(self, data: bytes, most: int) -> bool:
        """Send a message; False if the peer is gone, or leaves `most` messages unread."""
        end = self._end
        if end is None:
            return False
        if not self._unsent:
            try:
                sent = end.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return False  # its end is read in a moment
            if sent == len(data):
                return True  # the usual case
            self._keep(memoryview(data)[sent:])
            self._loop.add_writer(end, self._on_writable)
            return True
        if len(self._unsent) >= most or self._unsent_bytes + len(data) > _UNSENT_BYTES:
            return False
        self._keep(memoryview(data))
        return True

    def _keep(self, data: memoryview) -> None:
        self._unsent.append(data)
        self._unsent_bytes += len(data)

    def pause(self) -> None:
        """Read nothing until `resume`."""
        if self._end is not None and not self.paused:
            self.paused = True
            self._loop.remove_reader(self._end)

    def resume(self) -> None:
        """Read on."""
        if self._end is not None and self.paused:
            self.paused, self.begun_at = False, self._loop.time()
            self._loop.add_reader(self._end, self._on_readable)

    def close(self, until: float = 0.0) -> None:
        """Close, once what was sent has gone or at `until` (monotonic); no callback follows."""
        end, self._end = self._end, None
        if end is None:
            return
        self._loop.remove_reader(end)
        self._loop.remove_writer(end)
        with contextlib.suppress(OSError):
            while self._unsent and (left := until - time.monotonic()) > 0:
                end.settimeout(left)
                end.sendall(self._unsent.popleft())
        end.close()
        self._unsent.clear()

    def lose(self, why: str = "") -> None:
        """Close, and tell: the peer is gone, or talks nonsense and `why` says which."""
        if self._end is not None:
            if why:
                log.info("client %s is let go: %s", self.name, why)
            self.close()
            self._owner.on_closed(self)

    def _on_readable(self) -> None:
        """Take what has come."""
        end, wire = self._end, self.wire
        if end is None:
            return
        room = wire.room()
        try:
            size = end.recv_into(_BUFFER if room is None else room)
        except BlockingIOError:
            return
        except OSError:  # reset: it left while something was on its way
            self.lose()
            return
        if not size:
            self.lose()
            return
        try:
            messages = wire.feed(bytes(_BUFFER[:size])) if room is None else wire.fill(size)
        except TooLargeError as error:
            self._owner.on_too_large(self, error.frames, error)
            self.lose(str(error))
            return
        except ZmtpError as error:
            self.lose(str(error))
            return
        if wire.replies:
            self._reply()
        for frames in messages:
            self._owner.on_frames(self, frames)
        if self._waiting or wire.waiting:
            self._look(fresh=bool(messages) or wire.ready is not self._ready)

    def _look(self, *, fresh: bool) -> None:
        """Tell the owner whether something is awaited; `fresh` if it is not what was before."""
        if self._end is None:
            return
        waiting = self.wire.waiting
        if fresh or not self._waiting:
            self.begun_at = self._loop.time()
        self._waiting, self._ready = waiting, self.wire.ready
        self._owner.on_unfinished(self, waiting=waiting)

    def _reply(self) -> None:
        """Send what the wire itself has to say."""
        replies, self.wire.replies = self.wire.replies, b""
        # A peer that pings and never reads leaves this unread, as it leaves answers.
        self.send(replies, 1)

    def _on_writable(self) -> None:
        """Send what waits."""
        end = self._end
        if end is None:
            return
        try:
            while self._unsent:
                data = self._unsent[0]
                sent = end.send(data)
                self._unsent_bytes -= sent
                if sent < len(data):
                    self._unsent[0] = data[sent:]
                    return
                self._unsent.popleft()
        except BlockingIOError:
            return
        except OSError:
            self.lose()
            return
        self._loop.remove_writer(end)


def peer_uid(end: socket.socket) -> int | None:
    """Return the Unix user at the other end, as the kernel says; None if it does not."""
    try:
        said = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return None
    return int(_CREDENTIALS.unpack(said)[1])
