"""One ROUTER socket: what arrives on it becomes messages, what is answered goes back.

libzmq's descriptor is edge-triggered, so the socket is read until nothing is left, and looked at
again after every send; `zmq.asyncio` would cost more than the rest of the request path.
"""

import asyncio
import errno
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import zmq

from aiosd.domain.errors import AiosdError, InvalidError
from aiosd.protocol.codec import MIN_FRAMES, Buffer, Envelope, decode, encode, message_id
from aiosd.protocol.limits import Limits
from aiosd.protocol.messages import Answer, error_message

log = logging.getLogger(__name__)

# Messages taken in one go before the loop gets its turn.
BURST = 64
# Plain numbers: pyzmq's enumerations take longer to convert than libzmq to answer.
_NOBLOCK = int(zmq.NOBLOCK)
_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)
# Beyond this libzmq itself drops the connection: no frame of ours is ever so large.
SLACK_BYTES = 1 << 20


class Client(NamedTuple):
    """One connection to one of our sockets."""

    frontend: "Frontend"
    identity: bytes

    @property
    def name(self) -> str:
        """A name for queues and logs."""
        return f"{self.frontend.name}:{self.identity.hex()}"


class Frontend:
    """The api socket or the admin socket."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: "zmq.Socket[bytes]",
        name: str,
        limits: Limits,
    ) -> None:
        """Take over a bound ROUTER socket."""
        self.name = name
        self._loop = loop
        self._socket = socket
        # libzmq's own: pyzmq's layer above it adds nothing to frames that are bytes.
        self._send_frame = super(zmq.Socket, socket).send
        self._receive = super(zmq.Socket, socket).recv
        self._limits = limits
        self._on_message: Callable[[Client, Envelope], None] | None = None
        self._on_gone: Callable[[Client], None] | None = None
        self._again: asyncio.Handle | None = None

    def listen(
        self, on_message: Callable[[Client, Envelope], None], on_gone: Callable[[Client], None]
    ) -> None:
        """Start reading; `on_gone` tells of a client that cannot be reached any more."""
        self._on_message, self._on_gone = on_message, on_gone
        self._loop.add_reader(self._socket.fileno(), self._read)
        self._look_again()

    def limit(self, limits: Limits) -> None:
        """Use other limits from now on."""
        self._limits = limits

    def send(self, client: Client, request: bytes, answer: Answer) -> bool:
        """Send an answer; False if the client is gone or reads nothing."""
        if self._socket.closed:
            return False  # the daemon is on its way out
        try:
            header = encode(answer)
            send = self._send_frame
            send(client.identity, _MORE)
            send(request, _MORE)
            send(header, _NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (errno.EHOSTUNREACH, errno.EAGAIN):
                raise
            how = "gone" if error.errno == errno.EHOSTUNREACH else "not reading its answers"
            log.info("client %s is %s", client.name, how)
            if self._on_gone is not None:
                self._loop.call_soon(self._on_gone, client)
            return False
        if self._readable():
            self._look_again()
        return True

    def close(self, linger_ms: int) -> None:
        """Stop reading, and close once what was sent has gone, or after `linger_ms`."""
        self._loop.remove_reader(self._socket.fileno())
        if self._again is not None:
            self._again.cancel()
        self._socket.close(linger_ms)

    def _look_again(self) -> None:
        if self._again is None:
            self._again = self._loop.call_soon(self._read)

    def _read(self) -> None:
        """Take what has come, and come back if there is more than a burst."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        receive = self._receive
        for _ in range(BURST):
            try:
                client = Client(self, receive(_NOBLOCK))
            except zmq.Again:
                return
            # A frame knows whether more follow it, which takes less than to ask the socket. After
            # an identity there always is one. Attachments are not copied.
            frames: list[Buffer] = []
            more = True
            while more:
                frame = receive(_NOBLOCK, copy=False)
                more = frame.more
                if len(frames) < MIN_FRAMES:
                    frames.append(frame.bytes)
                elif len(frames) <= self._limits.frames:
                    frames.append(frame.buffer)
            self._take(client, frames)
            if not self._readable():  # cheaper than to be refused
                return
        self._look_again()

    def _readable(self) -> bool:
        """Whether a message is there; asking also makes the descriptor tell of the next one."""
        events = self._socket.getsockopt(_EVENTS)
        return isinstance(events, int) and bool(events & _POLLIN)

    def _take(self, client: Client, frames: Sequence[Buffer]) -> None:
        """Hand on a message, or answer why it is none."""
        try:
            envelope = decode(frames, self._limits)
            if self._on_message is not None:
                self._on_message(client, envelope)
        except AiosdError as error:
            if not isinstance(error, InvalidError):
                log.debug("refused: %s", error)
            self.send(client, message_id(frames, self._limits), error_message(error))
