"""An awaiting connection to one socket of the daemon, over which several requests may be open."""

import asyncio
from itertools import count
from pathlib import Path
from time import monotonic

import zmq

from aiosd.client.address import unreachable
from aiosd.client.feed import Feed
from aiosd.client.line import CANCEL, FULL, HANGS, PING, PING_ID
from aiosd.client.patience import MISSED_BEATS, Beat, Patience, Pending, Pulse, arrival
from aiosd.domain.errors import UnreachableError
from aiosd.protocol.messages import Answer

# How often a send is tried again while ZeroMQ takes no more messages.
FULL_RETRY_SECONDS = 0.05


class AsyncLine:
    """Sends questions and sorts what comes back by id; belongs to one event loop."""

    def __init__(self, path: Path, patience: Patience) -> None:
        """Start to connect to the socket at `path`; call inside a running loop."""
        self._feed = Feed(path, zmq.DEALER, self._take)
        self._patience = patience
        self._pulse = Pulse(patience.heartbeat)
        self._open: dict[bytes, Pending] = {}
        self._numbers = count(1)

    async def begin(self, pending: Pending) -> None:
        """Send a question; call `finish` for it whatever happens, even if this fails.

        Raises:
            UnreachableError: no daemon takes it.
        """
        if not self._open:
            self._pulse.heard(monotonic())
        await self._send(pending)

    async def answer(self, pending: Pending) -> Answer:
        """Return the next answer to a question.

        Raises:
            DeadlineError: the question's limit passed without one.
            UnreachableError: the daemon went away or hangs, or the client was closed.
        """
        while not pending.answers:
            await self._wait(pending)
        return pending.answers.popleft()

    def finish(self, pending: Pending) -> None:
        """Forget a question; if it is not answered, cancel it. Never waits."""
        feed = self._feed
        if not feed.closed:
            feed.read()
            link = feed.link
            running = pending.id in self._open and not pending.done
            if running and link.up and pending.losses == link.losses:
                feed.send([pending.id, CANCEL])
        self._open.pop(pending.id, None)

    def close(self) -> None:
        """Cancel what is still open, and close the sockets; waiters get an UnreachableError."""
        if not self._feed.closed:
            for pending in self._open.values():
                if not pending.done:
                    self._feed.link.send([pending.id, CANCEL])
        self._feed.close()

    def _take(self, frames: list[bytes]) -> None:
        """Give an answer to the question that it belongs to; late ones are dropped."""
        now = monotonic()
        self._pulse.heard(now)
        pending = self._open.get(frames[0])
        if pending is not None:
            pending.take(frames[-1], now)

    async def _send(self, pending: Pending) -> None:
        """Send a question under a fresh id, once the daemon is there."""
        await self._await_link()
        feed = self._feed
        self._open.pop(pending.id, None)
        pending.id = b"%x" % next(self._numbers)
        pending.losses = feed.link.losses
        pending.asked_at = monotonic()
        self._open[pending.id] = pending
        until = pending.asked_at + self._patience.connect
        while not feed.send([pending.id, *pending.frames]):
            if monotonic() >= until:
                self._open.pop(pending.id)
                raise unreachable(feed.link.path, self._patience.connect, FULL)
            await asyncio.sleep(FULL_RETRY_SECONDS)

    async def _await_link(self) -> None:
        """Wait until the other end is there."""
        feed = self._feed
        link = feed.link
        feed.read()
        begun = monotonic()
        while not link.up:
            waited = monotonic() - begun
            allowed = arrival(link.path, self._patience, waited, ever_up=link.ever_up)
            if feed.closed:
                raise closed(link.path)
            await feed.news(allowed - waited)

    async def _wait(self, pending: Pending) -> None:
        """Wait for news; look after a question that takes long: lost, too late, or a hang?"""
        feed = self._feed
        link = feed.link
        if feed.closed:
            raise closed(link.path)
        if pending.losses != link.losses:
            pending.again(self._patience, link.path)
            await self._send(pending)
            self._pulse.heard(monotonic())
            return
        now = monotonic()
        pending.check(now)
        match self._pulse.beat(now):
            case Beat.DEAD:
                raise unreachable(link.path, MISSED_BEATS * self._patience.heartbeat, HANGS)
            case Beat.PING:
                feed.send([PING_ID, PING])
            case Beat.WAIT:
                pass
        if not pending.answers:
            await feed.news(min(pending.wait(now), self._pulse.wait(now)))


def closed(path: Path) -> UnreachableError:
    """Return the error for whoever still waits when the client is closed."""
    return UnreachableError("the client was closed", socket=str(path), reason="closed")
