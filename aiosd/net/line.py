"""A connection whose every read has an end: who trickles a header holds nobody for ever."""

import io
import socket
import time
from collections.abc import Callable

from aiosd.domain.uplink import Place
from aiosd.net.post import Trust

Clock = Callable[[], float]


class Line:
    """What http.client takes for a socket; reads stop at `until`, whatever dribbles in before."""

    def __init__(self, plug: socket.socket, clock: Clock) -> None:
        """Take a connected socket."""
        self._plug = plug
        self._clock = clock
        self._until = clock()
        self._readers = 0
        self._closing = False

    def grant(self, seconds: float) -> None:
        """Let what follows take so long from now."""
        self._until = self._clock() + seconds

    def sendall(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            OSError: it cannot be sent in time.
        """
        self._plug.settimeout(self._left())
        self._plug.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return a reader of what the other side sends."""
        del mode
        self._readers += 1
        return io.BufferedReader(_Reader(self), 65_536)

    def receive(self, buffer: bytearray | memoryview) -> int:
        """Read into a buffer, once.

        Raises:
            OSError: nothing came in time.
        """
        self._plug.settimeout(self._left())
        return self._plug.recv_into(buffer)

    def close(self) -> None:
        """Close the connection, once nobody reads from it any more, as a socket does."""
        self._closing = True
        if not self._readers:
            self._plug.close()

    def release(self) -> None:
        """Have one reader less."""
        self._readers -= 1
        if self._closing and not self._readers:
            self._plug.close()

    def _left(self) -> float:
        left = self._until - self._clock()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


class _Reader(io.RawIOBase):
    """The raw end of a line."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line

    def readable(self) -> bool:  # type: ignore[explicit-override]
        """Say that it can be read."""
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override, explicit-override]
        """Read once."""
        return self._line.receive(buffer)

    def close(self) -> None:  # type: ignore[explicit-override]
        """Let the line go."""
        if not self.closed:
            self._line.release()
        super().close()


def connect(
    place: Place, seconds: float, trust: Trust | None, clock: Clock = time.monotonic
) -> Line:
    """Connect to the first address that answers, and verify who that is where `trust` is given.

    Raises:
        OSError: nobody answers, or nobody who may be trusted (an ssl.SSLError then).
    """
    plug = socket.create_connection((place.host, place.port), timeout=seconds)
    try:
        plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if trust is not None:
            plug = trust.wrap_socket(plug, server_hostname=place.host)
    except (OSError, ValueError):
        plug.close()
        raise
    return Line(plug, clock)
