"""What happens, published for whoever listens: a topic, and a MessagePack map."""

import asyncio
import time
from typing import TYPE_CHECKING

import msgspec
import zmq

if TYPE_CHECKING:
    from collections.abc import Callable


class Events:
    """An XPUB socket; while nobody subscribes, an event costs nothing."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: "zmq.Socket[bytes]",
        clock: "Callable[[], float]" = time.time,
    ) -> None:
        """Take over a bound XPUB socket; `clock` gives Unix seconds."""
        self._loop = loop
        self._socket = socket
        self._clock = clock
        self._encoder = msgspec.msgpack.Encoder()
        self.subscriptions = 0
        loop.add_reader(socket.fileno(), self._read)
        loop.call_soon(self._read)

    def publish(self, topic: str, facts: dict[str, object]) -> None:
        """Tell all subscribers of the topic; one who does not read misses events."""
        if self._socket.closed:
            return  # the daemon is on its way out
        if not self.subscriptions:
            # The descriptor is edge-triggered: a subscription may lie there unseen.
            self._read()
            if not self.subscriptions:
                return
        body = self._encoder.encode({"at": self._clock(), **facts})
        self._socket.send_multipart([topic.encode(), body], zmq.NOBLOCK)

    def close(self) -> None:
        """Stop, after a moment for the last event to go out."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close(200)

    def _read(self) -> None:
        """Count who subscribes and who leaves."""
        while True:
            try:
                word = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            if word[:1] in (b"\0", b"\1"):
                self.subscriptions += 1 if word[:1] == b"\1" else -1
