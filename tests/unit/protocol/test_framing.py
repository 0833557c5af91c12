"""Bodies ⇄ a stream of bytes, however the stream is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.protocol.framing import MAX_FRAME_BYTES, FrameError, Unframer, frame


@given(st.lists(st.binary(max_size=300), max_size=8), st.data())
def test_bodies_come_out_whole_wherever_the_stream_is_cut(
    bodies: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(map(frame, bodies))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    unframer, got = Unframer(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += unframer.feed(stream[start:end])
    assert got == bodies


def test_a_body_comes_byte_by_byte() -> None:
    unframer = Unframer()
    got = [body for byte in frame(b"hello") for body in unframer.feed(bytes([byte]))]
    assert got == [b"hello"]


def test_a_length_over_the_limit_is_an_error_before_the_body_comes() -> None:
    with pytest.raises(FrameError, match="11 bytes, at most 10"):
        list(Unframer(limit=10).feed(b"\0\0\0\x0b"))
    with pytest.raises(FrameError):
        list(Unframer().feed((MAX_FRAME_BYTES + 1).to_bytes(4, "big")))
    assert list(Unframer(limit=10).feed(frame(b"x" * 10))) == [b"x" * 10]


@given(st.lists(st.binary(max_size=64), max_size=20))
def test_random_bytes_are_bodies_or_an_error(pieces: list[bytes]) -> None:
    unframer = Unframer(limit=64)
    try:
        for piece in pieces:
            assert all(len(body) <= 64 for body in unframer.feed(piece))
    except FrameError:
        return
