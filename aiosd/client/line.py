"""A blocking connection to one socket of the daemon, over which several requests may be open."""

from itertools import count
from pathlib import Path
from time import monotonic

import zmq

from aiosd.client.address import unreachable
from aiosd.client.link import Link
from aiosd.client.patience import MISSED_BEATS, Beat, Patience, Pending, Pulse, arrival
from aiosd.protocol.codec import encode
from aiosd.protocol.messages import Answer, Cancel, Ping

CANCEL = encode(Cancel())
PING = encode(Ping())
PING_ID = b"beat"
FULL = "it takes no more messages"
HANGS = "it hangs (pings stay unanswered)"


class Line:
    """Sends questions and sorts what comes back by id; for one thread at a time."""

    def __init__(self, path: Path, patience: Patience) -> None:
        """Start to connect to the socket at `path`."""
        self._patience = patience
        self._link = Link(path, zmq.DEALER, zmq.Context.instance())
        self._pulse = Pulse(patience.heartbeat)
        self._open: dict[bytes, Pending] = {}
        self._numbers = count(1)
        self._poller = zmq.Poller()
        self._poller.register(self._link.socket, zmq.POLLIN)
        self._poller.register(self._link.monitor, zmq.POLLIN)

    def begin(self, pending: Pending) -> None:
        """Send a question; call `finish` for it whatever happens, even if this fails.

        Raises:
            UnreachableError: no daemon takes it.
        """
        if not self._open:
            self._pulse.heard(monotonic())
        self._send(pending)

    def answer(self, pending: Pending) -> Answer:
        """Return the next answer to a question, waiting for it.

        Raises:
            DeadlineError: the question's limit passed without one.
            UnreachableError: the daemon went away or hangs.
        """
        while not pending.answers:
            frames = self._link.receive(0)
            if frames is None:
                self._wait(pending)
            else:
                self._take(frames)
        return pending.answers.popleft()

    def finish(self, pending: Pending) -> None:
        """Forget a question; if it is not answered, cancel it and wait shortly for the proof."""
        link = self._link
        link.observe()
        running = pending.id in self._open and not pending.done
        if running and link.up and pending.losses == link.losses:
            link.send([pending.id, CANCEL])
            self._await_end(pending, monotonic() + self._patience.cancel)
        self._open.pop(pending.id, None)

    def close(self) -> None:
        """Cancel what is still open, and close the sockets."""
        for pending in self._open.values():
            if not pending.done:
                self._link.send([pending.id, CANCEL])
        self._open.clear()
        self._link.close()

    def _send(self, pending: Pending) -> None:
        """Send a question under a fresh id, once the daemon is there."""
        self._await_link()
        link = self._link
        self._open.pop(pending.id, None)
        pending.id = b"%x" % next(self._numbers)
        pending.losses = link.losses
        pending.asked_at = monotonic()
        # Before it is sent: an interrupt from here on must cancel it.
        self._open[pending.id] = pending
        frames = [pending.id, *pending.frames]
        if not link.send(frames):
            seconds = self._patience.connect
            link.socket.poll(int(seconds * 1000), zmq.POLLOUT)
            if not link.send(frames):
                del self._open[pending.id]
                raise unreachable(link.path, seconds, FULL)

    def _await_link(self) -> None:
        """Wait until the other end is there."""
        link = self._link
        link.observe()
        begun = monotonic() if not link.up else 0.0
        while not link.up:
            waited = monotonic() - begun
            allowed = arrival(link.path, self._patience, waited, ever_up=link.ever_up)
            link.monitor.poll(int((allowed - waited) * 1000) + 1)
            link.observe()

    def _wait(self, pending: Pending) -> None:
        """Look after a question that takes long: lost, too late, or the daemon hung?"""
        link = self._link
        link.observe()
        if pending.losses != link.losses:
            pending.again(self._patience, link.path)
            self._send(pending)
            self._pulse.heard(monotonic())
            return
        now = monotonic()
        pending.check(now)
        match self._pulse.beat(now):
            case Beat.DEAD:
                raise unreachable(link.path, MISSED_BEATS * self._patience.heartbeat, HANGS)
            case Beat.PING:
                link.send([PING_ID, PING])
            case Beat.WAIT:
                pass
        seconds = min(pending.wait(now), self._pulse.wait(now))
        self._poller.poll(int(seconds * 1000) + 1)

    def _take(self, frames: list[bytes]) -> None:
        """Give an answer to the question that it belongs to; late ones are dropped."""
        now = monotonic()
        self._pulse.heard(now)
        pending = self._open.get(frames[0])
        if pending is not None:
            pending.take(frames[-1], now)

    def _await_end(self, pending: Pending, until: float) -> None:
        """Read until a cancelled question has ended, or `until`."""
        while not pending.done and monotonic() < until and self._link.up:
            frames = self._link.receive(0)
            if frames is not None:
                self._take(frames)
            self._link.observe()
