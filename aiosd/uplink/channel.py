"""The uplink's end of its pipe to the daemon: one thread reads, any may send."""

import select
import socket
import threading
from collections import deque

import msgspec

from aiosd.protocol.framing import Unframer, frame
from aiosd.protocol.uplink import ToUplink

# No order of the daemon is longer: requests are bounded before they come here.
_MAX_FRAME = 2**24
_PIECE = 65_536


class Channel:
    """Receives orders, sends any message."""

    def __init__(self, end: socket.socket) -> None:
        """Take over a connected stream socket."""
        self._end = end
        self._decoder: msgspec.msgpack.Decoder[ToUplink] = msgspec.msgpack.Decoder(ToUplink)
        self._encoder = msgspec.msgpack.Encoder()
        self._unframer = Unframer(_MAX_FRAME)
        self._sending = threading.Lock()
        self._closed = False
        self._ready: deque[ToUplink] = deque()

    def receive(self, seconds: float | None) -> ToUplink | None:
        """Wait for the next order; None once `seconds` have passed without one.

        Raises:
            EOFError: the daemon has closed its end.
        """
        while not self._ready:
            if not select.select([self._end], [], [], seconds)[0]:
                return None
            try:
                data = self._end.recv(_PIECE)
            except ConnectionError:
                data = b""
            if not data:
                raise EOFError
            self._ready.extend(self._decoder.decode(body) for body in self._unframer.feed(data))
        return self._ready.popleft()

    def send(self, message: msgspec.Struct) -> None:
        """Send one message; nothing, if the daemon is gone, which the reading thread will see."""
        # An encoder is not for several threads at once either.
        with self._sending:
            if self._closed:
                return
            try:
                self._end.sendall(frame(self._encoder.encode(message)))
            except ConnectionError:
                return

    def close(self) -> None:
        """Close this end; what other threads still want to say is lost."""
        with self._sending:
            self._closed = True
            self._end.close()
