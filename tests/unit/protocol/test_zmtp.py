"""ZeroMQ's wire: whole messages out of any pieces, nothing kept beyond the bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.protocol.zmtp import (
    GREETING,
    LARGE_BYTES,
    Bounds,
    TooLargeError,
    Wire,
    ZmtpError,
    command,
    pair,
)

BOUNDS = Bounds(frame_bytes=20_000, message_bytes=40_000, frames=4)
PEERS = frozenset((b"DEALER", b"REQ"))


def ready(kind: bytes = b"DEALER") -> bytes:
    """Return the READY of a socket of that type."""
    named = b"\x0bSocket-Type" + len(kind).to_bytes(4) + kind
    return command(b"\x05READY" + named + b"\x08Identity" + bytes(4))


def shaken(bounds: Bounds = BOUNDS) -> Wire:
    """Return the wire of a connection whose handshake is over."""
    wire = Wire(b"ROUTER", PEERS, bounds)
    assert wire.feed(GREETING + ready()) == []
    wire.replies = b""
    assert wire.ready
    return wire


def framed(frames: list[bytes]) -> bytes:
    """Return a message as a peer sends it."""
    sent = b""
    for number, frame in enumerate(frames):
        flags = 1 if number < len(frames) - 1 else 0
        if len(frame) < 256:
            sent += bytes((flags, len(frame))) + frame
        else:
            sent += bytes((flags | 2,)) + len(frame).to_bytes(8) + frame
    return sent


def give(wire: Wire, data: bytes, cuts: list[int]) -> list[list[bytes]]:
    """Hand `data` to the wire as a connection does, cut into pieces of these sizes."""
    messages: list[list[bytes]] = []
    sizes = iter(cuts)
    while data:
        room = wire.room()
        size = min(next(sizes, len(data)), len(data), len(data) if room is None else len(room))
        piece, data = data[:size], data[size:]
        if room is None:
            got = wire.feed(piece)
        else:
            room[:size] = piece
            got = wire.fill(size)
        messages += [[bytes(frame) for frame in each] for each in got]
    return messages


def flood(wire: Wire, data: bytes) -> None:
    """Hand the same bytes to the wire again and again."""
    for _ in range(10_000):
        wire.feed(data)


def test_the_greeting_and_ready_of_both_sides_make_a_connection() -> None:
    wire = Wire(b"ROUTER", PEERS, BOUNDS)
    assert wire.replies == GREETING
    assert len(GREETING) == 64
    wire.replies = b""
    assert wire.feed(GREETING[:10]) == []
    assert wire.feed(GREETING[10:]) == []
    assert wire.replies == ready(b"ROUTER")
    assert not wire.ready
    wire.feed(ready(b"REQ"))
    assert wire.ready
    assert not wire.waiting


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x00",
        b"\xff" + bytes(8) + b"\x7f\x01",  # ZMTP 2
        b"\xff" + bytes(8) + b"\x7e\x03",
        GREETING[:12] + b"PLAIN".ljust(20, b"\0") + bytes(32),
        GREETING + ready(b"SUB"),
        GREETING + command(b"\x05ERROR\x03bad"),
        GREETING + command(b"\x05READY\x0bSocket-Type\xff\xff\xff\xffDEALER"),
        GREETING + command(b"\x05READY\xff"),
        GREETING + framed([b"too", b"early"]),
        GREETING + b"\x06" + (2**40).to_bytes(8),
        GREETING + ready() + b"\x08\x00",
        GREETING + ready() + b"\x05\x00",
    ],
)
def test_what_is_not_this_wire_is_refused(data: bytes) -> None:
    wire = Wire(b"ROUTER", PEERS, BOUNDS)
    with pytest.raises(ZmtpError):
        wire.feed(data)


@given(
    st.lists(
        st.lists(st.sampled_from([0, 1, 255, 256, 4096, 4097, 9000]), min_size=1, max_size=4),
        max_size=4,
    ),
    st.lists(st.integers(1, 5000), max_size=60),
)
def test_messages_come_whole_however_they_were_cut(sizes: list[list[int]], cuts: list[int]) -> None:
    messages = [[bytes((number % 251,)) * size for number, size in enumerate(m)] for m in sizes]
    wire = shaken(Bounds(10_000, 100_000, 4))
    assert give(wire, b"".join(map(framed, messages)), cuts) == messages
    assert wire.held == 0
    assert not wire.waiting


@given(
    data=st.binary(max_size=400),
    cuts=st.lists(st.integers(1, 50), max_size=40),
    greeted=st.booleans(),
)
def test_any_bytes_are_messages_or_refused_and_little_is_kept(
    data: bytes, cuts: list[int], *, greeted: bool
) -> None:
    wire = shaken() if greeted else Wire(b"ROUTER", PEERS, BOUNDS)
    try:
        give(wire, data, cuts)
    except ZmtpError:
        return
    assert wire.held <= BOUNDS.message_bytes


@given(st.binary(max_size=255), st.binary(max_size=600))
def test_an_answer_is_a_message_of_two_frames(first: bytes, second: bytes) -> None:
    assert pair(first, second) == framed([first, second])


def test_a_frame_over_the_bound_is_refused_before_it_comes() -> None:
    wire = shaken()
    with pytest.raises(TooLargeError, match="a frame of 20001 bytes, at most 20000") as caught:
        wire.feed(b"\x01\x02id\x03" + (20_001).to_bytes(8))
    assert caught.value.frames == [b"id"]


def test_a_message_that_never_ends_is_refused_and_keeps_no_memory() -> None:
    wire = shaken()
    with pytest.raises(TooLargeError, match="a message of over 40000 bytes") as caught:
        flood(wire, b"\x01\xc8" + bytes(200))
    assert caught.value.frames == [bytes(200)] * 4


def test_empty_frames_without_end_are_refused_too() -> None:
    wire = shaken()
    with pytest.raises(TooLargeError):
        flood(wire, b"\x01\x00" * 100)


def test_frames_over_the_count_are_dropped_but_for_one_that_tells_of_it() -> None:
    wire = shaken(Bounds(100, 1000, 3))
    assert wire.feed(framed([b"a", b"b", b"c", b"d", b"e"])) == [[b"a", b"b", b"c"]]


def test_a_large_frame_is_received_where_it_stays() -> None:
    wire = shaken()
    head = b"\x01\x02id\x01\x06header\x02" + (LARGE_BYTES + 5).to_bytes(8)
    assert wire.feed(head + b"begin") == []
    room = wire.room()
    assert room is not None
    assert len(room) == LARGE_BYTES
    assert wire.waiting
    room[:] = bytes(LARGE_BYTES)
    (message,) = wire.fill(LARGE_BYTES)
    assert message[:2] == [b"id", b"header"]
    assert isinstance(message[2], memoryview)
    assert bytes(message[2]) == b"begin" + bytes(LARGE_BYTES)


def test_a_ping_is_answered_with_its_context() -> None:
    wire = shaken()
    assert wire.feed(command(b"\x04PING\x00\x0acontext")) == []
    assert wire.replies == command(b"\x04PONGcontext")


def test_subscriptions_come_as_commands_or_as_messages() -> None:
    wire = Wire(b"XPUB", frozenset((b"SUB",)), BOUNDS)
    wire.feed(GREETING + ready(b"SUB"))
    assert wire.feed(command(b"\x09SUBSCRIBEa.")) == [[b"\x01a."]]
    assert wire.feed(command(b"\x06CANCELa.")) == [[b"\x00a."]]
    assert wire.feed(framed([b"\x01b."])) == [[b"\x01b."]]
