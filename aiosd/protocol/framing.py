"""Messages ⇄ a stream of bytes, for the pipe between daemon, hosts and workers.

A frame is a 4-byte big-endian length and that many bytes of MessagePack. The two ends are ours, so
the only limit is one on the length, against a worker that has lost its mind.
"""

from collections.abc import Sequence
from struct import Struct

_LENGTH = Struct(">I")
HEADER_BYTES = _LENGTH.size
MAX_FRAME_BYTES = 64 * 1024 * 1024


class FrameError(Exception):
    """The other end sent a length that no message of ours has; the pipe must be closed."""


def frame(body: bytes) -> bytes:
    """Return `body` with its length before it."""
    return _LENGTH.pack(len(body)) + body


class Unframer:
    """Collects bytes as they come and gives back whole bodies."""

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        """Refuse bodies longer than `limit` bytes."""
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> Sequence[bytes | memoryview]:
        """Take some bytes; return every body that is now complete.

        A body may be a part of `data` itself: use it before the bytes change.

        Raises:
            FrameError: a length is over the limit.
        """
        buffer = self._buffer
        if not buffer and len(data) >= HEADER_BYTES:
            (length,) = _LENGTH.unpack_from(data)
            if len(data) == HEADER_BYTES + length and length <= self._limit:
                return (data[HEADER_BYTES:],)  # the usual case: one whole frame, not copied
        buffer += data
        bodies: list[bytes] = []
        start = 0
        while len(buffer) - start >= HEADER_BYTES:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > self._limit:
                raise FrameError(f"a frame of {length} bytes, at most {self._limit} are allowed")
            end = start + HEADER_BYTES + length
            if len(buffer) < end:
                break
            bodies.append(bytes(buffer[start + HEADER_BYTES : end]))
            start = end
        del buffer[:start]
        return bodies
