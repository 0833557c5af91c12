"""A ROUTER socket: what arrives on it becomes messages, what is answered goes back.

The daemon speaks ZeroMQ's wire itself (`aiosd.protocol.zmtp`). Through libzmq each message would
cross a thread of its own twice, which is most of what a request costs here; libzmq also aborts a
process that has no descriptor left, and bounds no message that never ends.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiosd.daemon.wire.connection import Connection
from aiosd.daemon.wire.listener import Listener
from aiosd.domain.errors import AiosdError, InvalidError
from aiosd.protocol.codec import Buffer, Envelope, decode, encode, message_id
from aiosd.protocol.limits import Limits
from aiosd.protocol.messages import Answer, error_message
from aiosd.protocol.zmtp import Bounds, TooLargeError, pair

log = logging.getLogger(__name__)

_KINDS = b"ROUTER", frozenset((b"DEALER", b"REQ", b"ROUTER"))
# A frame is answered with a typed error if it is too large by less than this; beyond it, with
# that and the end of the connection.
SLACK_BYTES = 1 << 20


class Answers(Protocol):
    """Where the answers to a client go: one of our sockets, or whoever stands before it."""

    @property
    def name(self) -> str:
        """The socket's name."""

    def send(self, client: "Client", request: bytes, answer: Answer) -> bool | None:
        """Send an answer; False if the client is gone or reads nothing.

        None if the request goes on elsewhere: this was not its end.
        """


@dataclass(frozen=True, eq=False, slots=True)
class Client:
    """One connection to one of our sockets, by its name; `uid` is its Unix user, if known."""

    frontend: Answers
    name: str
    uid: int | None = None
    connection: Connection | None = None


class Frontend:
    """The api socket or the admin socket."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        end: socket.socket,
        name: str,
        limits: Limits,
        unread_messages: int,
    ) -> None:
        """Take over a listening socket; a client may leave so many answers unread."""
        self.name = name
        self._loop = loop
        self._limits = limits
        self._unread = unread_messages
        self._listener = Listener(loop, end, name, _KINDS, bounds_of(limits))
        self._clients: dict[Connection, Client] = {}
        self._on_message: Callable[[Client, Envelope], None] | None = None
        self._on_gone: Callable[[Client], None] | None = None

    def listen(
        self, on_message: Callable[[Client, Envelope], None], on_gone: Callable[[Client], None]
    ) -> None:
        """Start reading; `on_gone` tells of a client that cannot be reached any more."""
        self._on_message, self._on_gone = on_message, on_gone
        self._listener.start(self._on_frames, self._on_too_large, self._on_closed)

    def limit(self, limits: Limits) -> None:
        """Use other limits from now on."""
        self._limits = limits
        self._listener.limit(bounds_of(limits))

    def send(self, client: Client, request: bytes, answer: Answer) -> bool:
        """Send an answer; False if the client is gone or reads nothing."""
        connection = client.connection
        if connection is None or self._listener.closed:
            return False  # the daemon is on its way out
        if connection.send(pair(request, encode(answer)), self._unread):
            return True
        how = "gone" if connection.closed else "not reading its answers"
        log.info("client %s is %s", client.name, how)
        if self._on_gone is not None:
            self._loop.call_soon(self._on_gone, client)
        return False

    def close(self, linger_seconds: float) -> None:
        """Stop, once what was sent has gone, or after `linger_seconds`."""
        self._listener.close(linger_seconds)

    def _on_frames(self, connection: Connection, frames: Sequence[Buffer]) -> None:
        """Hand on a message, or answer why it is none."""
        client = self._clients.get(connection) or self._meet(connection)
        try:
            envelope = decode(frames, self._limits)
            if self._on_message is not None:
                self._on_message(client, envelope)
        except AiosdError as error:
            if not isinstance(error, InvalidError):
                log.debug("refused: %s", error)
            self.send(client, message_id(frames, self._limits), error_message(error))

    def _meet(self, connection: Connection) -> Client:
        """Make the client of a connection."""
        client = Client(self, connection.name, connection.uid, connection)
        self._clients[connection] = client
        return client

    def _on_too_large(
        self, connection: Connection, frames: Sequence[Buffer], error: TooLargeError
    ) -> None:
        """Say why the connection ends."""
        client = self._clients.get(connection) or self._meet(connection)
        number = len(frames) - 2
        field = f"attachments.{number}" if number >= 0 else ("id", "header")[len(frames)]
        refusal = InvalidError(f"{error}; send less", field=field)
        self.send(client, message_id(frames, self._limits), error_message(refusal))

    def _on_closed(self, connection: Connection) -> None:
        """Nobody waits for the answers to a client that is gone."""
        client = self._clients.pop(connection, None)
        if client is not None and self._on_gone is not None:
            self._on_gone(client)


def bounds_of(limits: Limits) -> Bounds:
    """Return what a peer may send at most; what is a little over gets its error by its field."""
    frame = limits.attachment_bytes + SLACK_BYTES
    return Bounds(frame, 2 * frame, limits.frames + 1)
