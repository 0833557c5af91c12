"""What happens, published for whoever listens: a topic, and a MessagePack map."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from aiosd.daemon.wire.connection import Connection
from aiosd.daemon.wire.listener import Listener
from aiosd.protocol.zmtp import Bounds, Buffer, TooLargeError, pair

_KINDS = b"XPUB", frozenset((b"SUB", b"XSUB"))
# A subscriber says topics and nothing else.
_BOUNDS = Bounds(4096, 8192, 2)
# How many topics one may subscribe to, and how many events it may leave unread.
_TOPICS = 256
_UNREAD = 1000
_LINGER_SECONDS = 0.2


class Events:
    """An XPUB socket; while nobody subscribes, an event costs nothing."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        end: socket.socket,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take over a listening socket; `clock` gives Unix seconds."""
        self._clock = clock
        self._encoder = msgspec.msgpack.Encoder()
        self._listener = Listener(loop, end, "events", _KINDS, _BOUNDS)
        self._topics: dict[Connection, Counter[bytes]] = {}
        self._listener.start(self._on_frames, self._on_too_large, self._on_closed)

    @property
    def subscriptions(self) -> int:
        """How many topics are subscribed to, over all who listen."""
        return sum(map(len, self._topics.values()))

    def publish(self, topic: str, facts: dict[str, object]) -> None:
        """Tell all subscribers of the topic; one who does not read misses events."""
        if not self._topics:
            return
        name = topic.encode()
        data = b""
        for connection, topics in self._topics.items():
            if any(map(name.startswith, topics)):
                if not data:
                    data = pair(name, self._encoder.encode({"at": self._clock(), **facts}))
                connection.send(data, _UNREAD)

    def close(self) -> None:
        """Stop, after a moment for the last event to go out."""
        self._listener.close(_LINGER_SECONDS)

    def _on_frames(self, connection: Connection, frames: Sequence[Buffer]) -> None:
        """Take note of who subscribes to what."""
        word = bytes(frames[0])
        topics = self._topics.setdefault(connection, Counter())
        if word[:1] == b"\x01" and len(topics) < _TOPICS:
            topics[word[1:]] += 1
        elif word[:1] == b"\x00" and word[1:] in topics:
            topics[word[1:]] -= 1
            topics += Counter()  # those that nobody wants any more go
        if not topics:
            self._topics.pop(connection, None)

    def _on_too_large(
        self, connection: Connection, frames: Sequence[Buffer], error: TooLargeError
    ) -> None:
        """Nothing to say: who is no subscriber is let go."""

    def _on_closed(self, connection: Connection) -> None:
        self._topics.pop(connection, None)
