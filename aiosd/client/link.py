"""One ZeroMQ socket to the daemon that knows whether the other end is there.

ZeroMQ reconnects by itself and says nothing, but what was in flight is lost. The socket's monitor
tells; it is a second socket that is read when a wait is long, so it costs a fast answer nothing.
"""

from pathlib import Path
from sys import byteorder

import zmq

RECONNECT_MS = 50
RECONNECT_MAX_MS = 500
LINGER_MS = 500
RECEIVE_LIMIT = 10_000
# The first wait for an answer is a plain receive, which is faster than a poll on two sockets.
FIRST_WAIT_MS = 50


class Link:
    """A socket connected to `path`; not to be shared between threads.

    `up` and `losses` (connections lost so far) are as of the last `observe`.
    """

    def __init__(
        self, path: Path, kind: zmq.SocketType, context: "zmq.Context[zmq.Socket[bytes]]"
    ) -> None:
        """Start to connect; that the other end is there is known only after `observe`."""
        self.path = path
        self.up = False
        self.losses = 0
        self.ever_up = False
        self.socket: zmq.Socket[bytes] = context.socket(kind)
        # Without IMMEDIATE, messages would queue for a daemon that is not there.
        self.socket.setsockopt(zmq.IMMEDIATE, 1)
        self.socket.setsockopt(zmq.LINGER, LINGER_MS)
        self.socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        self.socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
        self.socket.setsockopt(zmq.RCVHWM, RECEIVE_LIMIT)
        self.socket.setsockopt(zmq.RCVTIMEO, FIRST_WAIT_MS)
        if kind == zmq.SUB:
            self.socket.setsockopt(zmq.SUBSCRIBE, b"")
        self.monitor: zmq.Socket[bytes] = self.socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        )
        self.socket.connect(f"ipc://{path}")

    def observe(self) -> None:
        """Read what the monitor has to say; never waits."""
        while int(self.monitor.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            # A number of 16 bits, then a value of 32 bits; zmq.utils.monitor would parse it too,
            # but imports asyncio, which doubles the start of a command line.
            event = int.from_bytes(self.monitor.recv_multipart(zmq.NOBLOCK)[0][:2], byteorder)
            self.up = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            if self.up:
                self.ever_up = True
            else:
                self.losses += 1

    def send(self, frames: list[bytes]) -> bool:
        """Hand one message to ZeroMQ; False if it takes none now. Never waits."""
        try:
            self.socket.send_multipart(frames, zmq.NOBLOCK, copy=len(frames) <= COPIED_FRAMES)
        except zmq.Again:
            return False
        return True

    def receive(self, flags: int = zmq.NOBLOCK) -> list[bytes] | None:
        """Return the next message, or None; with `flags=0` it waits for FIRST_WAIT_MS."""
        try:
            return self.socket.recv_multipart(flags)
        except zmq.Again:
            return None

    def close(self) -> None:
        """Close both sockets; what was sent is still delivered for LINGER_MS."""
        if not self.socket.closed:
            self.socket.disable_monitor()
            self.monitor.close(linger=0)
            self.socket.close()


# id and header; with attachments the frames are handed over without a copy.
COPIED_FRAMES = 2
