"""Which Unix user sent the message that is being handled, as the kernel says.

libzmq keeps a peer's credentials (SO_PEERCRED) with each message of an ipc socket, as the property
"Peer-Address" that ends in `:uid:gid:pid` (src/stream_engine_base.cpp of 4.3). Watched only while
the uplink is on: each frame received then takes a step more.
"""

from collections.abc import Callable

import zmq

_CREDENTIALS = 3


class Peers:
    """Stands between a frontend and libzmq, and remembers the last frame."""

    def __init__(self, receive: Callable[..., bytes | zmq.Frame]) -> None:
        """Receive through `receive`."""
        self._receive = receive
        self._frame: zmq.Frame | None = None

    def receive(self, flags: int, copy: bool = True) -> bytes | zmq.Frame:  # noqa: FBT001, FBT002 -- libzmq's own signature
        """Receive one frame."""
        got = self._receive(flags, copy=copy)
        self._frame = got if isinstance(got, zmq.Frame) else None
        return got

    def uid(self) -> int | None:
        """Return the user who sent the last message; None if the kernel does not say."""
        if self._frame is None:
            return None
        try:
            address = str(self._frame.get("Peer-Address"))
        except (KeyError, zmq.ZMQError):
            return None
        return uid_of(address)


def uid_of(address: str) -> int | None:
    """Return the uid in a peer's address such as "localhost:1000:1000:4242"."""
    parts = address.rsplit(":", _CREDENTIALS)[1:]
    if len(parts) != _CREDENTIALS or not all(map(str.isdecimal, parts)):
        return None
    return int(parts[0])
