"""A link that the event loop watches: what comes is read at once, and waiters are told."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import zmq

from aiosd.client.link import Link


class Feed:
    """Watches the two file descriptors of a link; no `zmq.asyncio`, and no task to leak.

    ZeroMQ's descriptor says "something changed", not "there is a message": it must be looked at
    until nothing is left, and again after every send.
    """

    def __init__(
        self, path: Path, kind: zmq.SocketType, take: Callable[[list[bytes]], None]
    ) -> None:
        """Connect to `path` and give every message to `take`; call inside a running loop."""
        self.link = Link(path, kind, zmq.Context.instance())
        self._take = take
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.link.socket.fileno(), self.read)
        self._loop.add_reader(self.link.monitor.fileno(), self.read)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self.link.socket.closed

    def read(self) -> None:
        """Read all there is and wake every waiter."""
        if self.closed:
            return
        self.link.observe()
        while (frames := self.link.receive()) is not None:
            self._take(frames)
        self._news.set()

    def send(self, frames: list[bytes]) -> bool:
        """Hand one message to ZeroMQ; False if it takes none now. Never waits."""
        sent = self.link.send(frames)
        self.read()
        return sent

    async def news(self, seconds: float | None) -> None:
        """Wait until something was read, or `seconds` have passed."""
        self._news.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return

    def close(self) -> None:
        """Stop watching and close the sockets."""
        if not self.closed:
            self._loop.remove_reader(self.link.socket.fileno())
            self._loop.remove_reader(self.link.monitor.fileno())
            self.link.close()
            self._news.set()
