"""A host's or worker's end of its pipe to the daemon: blocking, framed, with descriptors."""

import os
import select
import socket
from array import array
from collections import deque
from typing import Generic, TypeVar

import msgspec

from aiosd.protocol.framing import Unframer, frame

T = TypeVar("T")

# What came is decoded before more is received.
_BUFFERS = [memoryview(bytearray(65_536))]
_ANCILLARY_BYTES = socket.CMSG_LEN(4 * array("i").itemsize)


class Channel(Generic[T]):
    """Receives messages of one union, sends any."""

    def __init__(self, handle: int, decoder: msgspec.msgpack.Decoder[T]) -> None:
        """Take over the descriptor `handle` of a connected stream socket."""
        self.socket = socket.socket(fileno=handle)
        self.descriptors: deque[int] = deque()
        self._decoder = decoder
        self._encode = msgspec.msgpack.Encoder().encode
        self._unframer = Unframer()
        self._ready: deque[T] = deque()

    def receive(self) -> T | None:
        """Wait for the next message; None once the daemon has closed its end."""
        ready = self._ready
        while not ready:
            if not self._fill(0):
                return None
        return ready.popleft()

    def poll(self) -> T | None:
        """Return the next message if one is there already; never waits.

        Raises:
            EOFError: the daemon has closed its end.
        """
        if not self._ready:
            try:
                alive = self._fill(socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            if not alive:
                raise EOFError
        return self._ready.popleft() if self._ready else None

    def wait(self, seconds: float) -> None:
        """Rest for so long, or until the daemon says something."""
        if not self._ready:
            select.select([self.socket], [], [], seconds)

    def idle(self, seconds: float) -> bool:
        """Tell whether nothing comes for so long."""
        return not (self._ready or select.select([self.socket], [], [], seconds)[0])

    def send(self, message: msgspec.Struct) -> None:
        """Send one message; waits while the daemon is slow to read."""
        self.socket.sendall(frame(self._encode(message)))

    def take_descriptor(self) -> int:
        """Return the descriptor that came with the last message, which the caller must close."""
        return self.descriptors.popleft()

    def close(self) -> None:
        """Close this end and what came with messages nobody took."""
        while self.descriptors:
            os.close(self.descriptors.popleft())
        self.socket.close()

    def _fill(self, flags: int) -> bool:
        """Receive once; False at the end of the stream."""
        try:
            # socket.recv_fds() ignores its flags (CPython 3.11), and would wait here.
            size, ancillary, _, _ = self.socket.recvmsg_into(
                _BUFFERS, _ANCILLARY_BYTES, flags | socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:
            return False
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                handles = array("i")
                handles.frombytes(content[: len(content) - len(content) % handles.itemsize])
                self.descriptors.extend(handles)
        if not size:
            return False
        for body in self._unframer.feed(_BUFFERS[0][:size]):
            self._ready.append(self._decoder.decode(body))
        return True
