"""ZMTP 3.1, ZeroMQ's wire, from the listening side: bytes in, whole messages out; no I/O.

After RFC 37 (ZMTP 3.1): a greeting of 64 octets, a READY command each way (NULL mechanism), then
frames. What a peer sends is bounded while it comes, over the frames of a message too, so that one
that never ends a message costs no memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

Buffer = bytes | memoryview

# Bits of a frame's first octet; the others are reserved and zero.
_MORE = 1
_LONG = 2
_COMMAND = 4
_KNOWN = _MORE | _LONG | _COMMAND
_SHORT_HEAD = 2
_LONG_HEAD = 9
_SHORT_MOST = 255

_GREETING_BYTES = 64
_MECHANISM = slice(12, 32)
_NULL = b"NULL".ljust(20, b"\0")
# Signature, version 3.1, mechanism, no server, filler.
GREETING = (b"\xff" + bytes(8) + b"\x7f" + b"\x03\x01" + _NULL).ljust(_GREETING_BYTES, b"\0")
_SIGNED_AT, _VERSION_AT = 9, 10
_LEAST_VERSION = 3

_READY = b"\x05READY"
_PING = b"\x04PING"
_PONG = b"\x04PONG"
_SUBSCRIBE = b"\x09SUBSCRIBE"
_CANCEL = b"\x06CANCEL"
_TTL_BYTES = 2
# RFC 37: a ping's context has at most 16 octets.
_CONTEXT_BYTES = 16
_COMMAND_BYTES = 4096

# The rest of a frame that is longer than this is received where it is to stay.
LARGE_BYTES = 4096
# An id and a header are small and kept as bytes; attachments are not copied.
_COPIED_FRAMES = 2


class ZmtpError(Exception):
    """The peer does not speak ZMTP 3 as it should; its connection is of no use any more."""


class TooLargeError(ZmtpError):
    """A message goes over a bound; `frames` are those of it that came before."""

    def __init__(self, message: str, frames: Sequence[Buffer]) -> None:
        """Take what is too large, with the numbers, and what came of the message."""
        super().__init__(message)
        self.frames = frames


@dataclass(frozen=True)
class Bounds:
    """What a peer may send: bytes of a frame, bytes of a message, and frames that are kept."""

    frame_bytes: int
    message_bytes: int
    frames: int


class Wire:
    """The incoming half of one connection.

    `replies` are bytes for the peer (greeting, READY, pongs), which the caller sends and clears;
    `held` is how many bytes of an unfinished message are kept or awaited.
    """

    def __init__(self, kind: bytes, peers: frozenset[bytes], bounds: Bounds) -> None:
        """Speak as a socket of `kind` (as ROUTER) to sockets of the kinds `peers`."""
        self.bounds = bounds
        self.ready = False
        self.replies = GREETING
        self.held = 0
        self._kind, self._peers = kind, peers
        self._greeted = False
        self._rest = b""
        self._frames: list[Buffer] = []
        self._count = 0
        self._large: bytearray | None = None
        self._filled = 0
        self._more = 0

    @property
    def waiting(self) -> bool:
        """Whether something was begun and not ended: the handshake, a frame or a message."""
        return not self.ready or self.held > 0 or bool(self._rest)

    def room(self) -> memoryview | None:
        """Return where the rest of a large frame is to be received; None: anywhere."""
        return None if self._large is None else memoryview(self._large)[self._filled :]

    def fill(self, size: int) -> list[list[Buffer]]:
        """Take note that `size` bytes were received into `room`; return what is whole now."""
        large = self._large
        if large is None:
            raise RuntimeError("there is no room to fill")
        self._filled += size
        if self._filled < len(large):
            return []
        self._large = None
        self.held -= len(large) + _LONG_HEAD
        copied = self._count < _COPIED_FRAMES
        return self._add(bytes(large) if copied else memoryview(large), more=self._more)

    def feed(self, data: bytes) -> list[list[Buffer]]:
        """Take bytes that were received; return the messages that are whole now.

        Raises:
            ZmtpError: this is no ZMTP 3 (`TooLargeError`: a bound is passed).
        """
        data = self._rest + data
        at = 0 if self._greeted else self._greet(data)
        messages: list[list[Buffer]] = []
        end = len(data)
        while self._greeted and end - at >= _SHORT_HEAD:
            flags = data[at]
            body = at + (_LONG_HEAD if flags & _LONG else _SHORT_HEAD)
            if body > end:
                break
            size = int.from_bytes(data[at + 1 : body])
            if flags > _MORE | _LONG or not self.ready:
                self._check_command(flags, size)
                if body + size > end:
                    break
                self._obey(data[body : body + size], messages)
            else:
                if self._count or size > LARGE_BYTES or body + size > end:
                    self._check(size)
                if body + size > end:
                    at += self._begin(size, data[body:], head=body - at, more=flags & _MORE)
                    break
                messages += self._add(data[body : body + size], more=flags & _MORE)
            at = body + size
        self._rest = data[at:]
        return messages

    def _greet(self, data: bytes) -> int:
        """Check the peer's greeting once it is whole; return where the rest of `data` begins.

        What is no ZMTP 3 is refused as soon as that is seen.
        """
        wrong = data[0] != GREETING[0]
        wrong = wrong or (len(data) > _SIGNED_AT and not data[_SIGNED_AT] & 1)
        if wrong or (len(data) > _VERSION_AT and data[_VERSION_AT] < _LEAST_VERSION):
            raise ZmtpError("this is not ZMTP 3, which ZeroMQ speaks from version 4.0 on")
        if len(data) < _GREETING_BYTES:
            return 0
        if data[_MECHANISM] != _NULL:
            raise ZmtpError("only the mechanism NULL is spoken here")
        self._greeted = True
        kind = _property(b"Socket-Type", self._kind)
        self.replies += command(_READY + kind + _property(b"Identity", b""))
        return _GREETING_BYTES

    def _check_command(self, flags: int, size: int) -> None:
        if not flags & _COMMAND and flags <= _KNOWN:
            raise ZmtpError("a message came before the handshake was over")
        if flags > _KNOWN or flags & _MORE:
            raise ZmtpError(f"a frame with the flags {flags:#04x}, which there are not")
        if size > _COMMAND_BYTES:
            raise ZmtpError(f"a command of {size} bytes, at most {_COMMAND_BYTES} are taken")

    def _obey(self, body: bytes, messages: list[list[Buffer]]) -> None:
        """Do what a command says; one that is not known is passed over, as RFC 37 demands."""
        if not self.ready:
            self._shake(body)
        elif body.startswith(_PING):
            context = body[len(_PING) + _TTL_BYTES :][:_CONTEXT_BYTES]
            self.replies += command(_PONG + context)
        elif body.startswith(_SUBSCRIBE):
            messages.append([b"\x01" + body[len(_SUBSCRIBE) :]])
        elif body.startswith(_CANCEL):
            messages.append([b"\x00" + body[len(_CANCEL) :]])

    def _shake(self, body: bytes) -> None:
        """Take the peer's READY."""
        if not body.startswith(_READY):
            raise ZmtpError("the handshake begins with READY")
        kind = _properties(body[len(_READY) :]).get(b"socket-type", b"")
        if kind not in self._peers:
            names = ", ".join(sorted(each.decode() for each in self._peers))
            raise ZmtpError(f"a socket of type {kind[:16]!r}; connect one of: {names}")
        self.ready = True

    def _check(self, size: int) -> None:
        """Refuse a frame that is too large, or of a message that is."""
        most = self.bounds.frame_bytes
        if size > most:
            raise TooLargeError(f"a frame of {size} bytes, at most {most} are taken", self._frames)
        # A frame takes memory though it is empty: none of a message counts as less than this.
        total, most = self.held + size + _LONG_HEAD, self.bounds.message_bytes
        if total > most:
            why = f"a message of over {most} bytes (the frames together)"
            raise TooLargeError(why, self._frames)

    def _begin(self, size: int, data: bytes, *, head: int, more: int) -> int:
        """Make room for a frame of which `data` has come, if it is large; return what was taken."""
        if size <= LARGE_BYTES:
            return 0
        self.held += size + _LONG_HEAD
        self._large, self._filled, self._more = bytearray(size), len(data), more
        self._large[: len(data)] = data
        return head + len(data)

    def _add(self, frame: Buffer, *, more: int) -> list[list[Buffer]]:
        """Add a frame to the message that is coming; return that if it is whole."""
        if self._count < self.bounds.frames:
            self._frames.append(frame)
        if more:
            self._count += 1
            self.held += len(frame) + _LONG_HEAD
            return []
        frames, self._frames = self._frames, []
        self._count = self.held = 0
        return [frames]


def command(body: bytes) -> bytes:
    """Return the frame of a command."""
    if len(body) <= _SHORT_MOST:
        return bytes((_COMMAND, len(body))) + body
    return bytes((_COMMAND | _LONG,)) + len(body).to_bytes(8) + body


def pair(first: bytes, second: bytes) -> bytes:
    """Return the bytes of a message of two frames, the first of at most 255 bytes."""
    size = len(second)
    if size <= _SHORT_MOST:
        return b"\x01%c%b\x00%c%b" % (len(first), first, size, second)
    return b"\x01%c%b\x02%b%b" % (len(first), first, size.to_bytes(8), second)


def _property(name: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name + len(value).to_bytes(4) + value


def _properties(data: bytes) -> dict[bytes, bytes]:
    """Return a READY's properties by their names in lower case."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        value_at = at + 1 + data[at] + 4
        name, size = data[at + 1 : value_at - 4], int.from_bytes(data[value_at - 4 : value_at])
        if value_at > len(data) or value_at + size > len(data):
            raise ZmtpError("the properties of READY do not add up")
        found[name.lower()] = data[value_at : value_at + size]
        at = value_at + size
    return found
