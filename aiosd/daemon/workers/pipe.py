"""The daemon's end of a pipe to a host or worker: never blocks, framed, with descriptors."""

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from aiosd.protocol.framing import FrameError, Unframer, frame

log = logging.getLogger(__name__)

T = TypeVar("T")

# Where all pipes receive: what came is decoded before anybody receives again.
_BUFFER = memoryview(bytearray(65_536))


class Pipe(Generic[T]):
    """Sends any message, calls back for each one received, and once when the other end is gone."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        end: socket.socket,
        decoder: msgspec.msgpack.Decoder[T],
        on_message: Callable[[T], None],
        on_closed: Callable[[str], None],
    ) -> None:
        """Take over the connected socket `end`.

        `on_closed` is told why the pipe was given up, or nothing if the other end closed it.
        """
        end.setblocking(False)  # noqa: FBT003 - the socket's own signature
        self._loop = loop
        self._end: socket.socket | None = end
        self._on_message = on_message
        self._on_closed = on_closed
        self._decode = decoder.decode
        self._encode = msgspec.msgpack.Encoder().encode
        self._unframer = Unframer()
        self._writing = False
        self._unsent: deque[tuple[memoryview, list[int]]] = deque()
        loop.add_reader(end, self._on_readable)

    def send(self, message: msgspec.Struct, descriptor: int | None = None) -> None:
        """Send a message, with a descriptor that is closed here once it has gone over."""
        handles = [] if descriptor is None else [descriptor]
        end = self._end
        if end is None:
            _close_all(handles)
            return
        data = frame(self._encode(message))
        if not self._unsent and not handles:
            try:
                sent = end.send(data)
            except (BlockingIOError, ConnectionError):
                sent = 0  # `_flush` meets it again
            if sent == len(data):
                return  # the usual case
            data = data[sent:]
        self._unsent.append((memoryview(data), handles))
        if len(self._unsent) == 1:
            self._flush()

    def close(self) -> None:
        """Close this end, which tells the other one to exit; no callback follows."""
        if self._end is not None:
            self._loop.remove_reader(self._end)
            self._loop.remove_writer(self._end)
            self._end.close()
            self._end = None
        while self._unsent:
            _close_all(self._unsent.popleft()[1])

    def drain(self) -> None:
        """Take whatever has come and was not read yet: the other end is known to be gone."""
        while self._end is not None and self._on_readable():
            pass

    def _on_readable(self) -> bool:
        """Take what has come, and say whether there was any; a callback may close the pipe."""
        end = self._end
        if end is None:
            return False
        try:
            size = end.recv_into(_BUFFER)
            bodies = self._unframer.feed(_BUFFER[:size])
            messages = list(map(self._decode, bodies))
        except BlockingIOError:
            return False
        except ConnectionError:
            self._lost("")
            return False
        except (FrameError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("pipe broken: %s", error)
            self._lost(f"broke its pipe: {error}")
            return False
        for message in messages:
            self._on_message(message)
        if not size:
            self._lost("")
        return size > 0

    def _flush(self) -> None:
        """Send as much as the kernel takes now, and come back for the rest."""
        end = self._end
        while end is not None and self._unsent:
            data, handles = self._unsent[0]
            try:
                sent = socket.send_fds(end, [data], handles) if handles else end.send(data)
            except BlockingIOError:
                self._loop.add_writer(end, self._flush)
                self._writing = True
                return
            except ConnectionError:
                return  # the reader sees the end of the stream, and says so
            _close_all(handles)
            if sent < len(data):
                self._unsent[0] = (data[sent:], [])
            else:
                self._unsent.popleft()
        if end is not None and self._writing:
            self._loop.remove_writer(end)
            self._writing = False

    def _lost(self, reason: str) -> None:
        """The other end is gone, or speaks no language of ours."""
        if self._end is not None:
            self.close()
            self._on_closed(reason)


def _close_all(handles: list[int]) -> None:
    """Close descriptors that are no longer needed on this side."""
    for handle in handles:
        os.close(handle)
    handles.clear()
