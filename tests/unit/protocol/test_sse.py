"""Server-sent events, from servers of every kind."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.protocol.sse import SseError, SseReader

STREAMS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"\n",
                b"\r",
                b"\r\n",
                b"data:",
                b"data: ",
                b"data",
                b":",
                b"event: x",
                b"\xef\xbb\xbf",
            ]
        ),
        st.binary(max_size=5),
    ),
    max_size=30,
).map(b"".join)


def read(*chunks: bytes, limit: int = 1000) -> list[bytes]:
    reader = SseReader(limit)
    events = [data for chunk in chunks for data in reader.feed(chunk)]
    return events + reader.close()


def by_the_standard(stream: bytes) -> list[bytes]:
    """The standard's words, over a whole stream."""
    lines = stream.removeprefix(b"\xef\xbb\xbf").splitlines(keepends=True)
    events: list[bytes] = []
    data = b""
    for line in lines:
        if not line.endswith((b"\r", b"\n")):
            break
        text = line.rstrip(b"\r\n")
        if not text:
            if data:
                events.append(data[:-1])
            data = b""
        elif text == b"data":
            data += b"\n"
        elif text.startswith(b"data:"):
            value = text[5:]
            data += (value[1:] if value.startswith(b" ") else value) + b"\n"
    return events


def test_the_data_of_events_comes_out_whatever_ends_the_lines() -> None:
    for end in (b"\n", b"\r\n", b"\r"):
        lines = [
            b": hello",
            b"event: x",
            b"data: a",
            b"data:b",
            b"",
            b"id: 3",
            b"data: c",
            b"",
            b"",
        ]
        assert read(end.join(lines)) == [b"a\nb", b"c"]


def test_an_event_that_the_end_cuts_off_is_dropped() -> None:
    assert read(b"data: a\n\ndata: b\n") == [b"a"]
    assert read(b"data: a\n\ndata: b") == [b"a"]


def test_an_event_comes_as_soon_as_it_is_whole() -> None:
    reader = SseReader(100)
    assert reader.feed(b"data: a\n") == []
    assert reader.feed(b"\n") == [b"a"]


@given(stream=STREAMS, cuts=st.lists(st.integers(0, 100), max_size=8))
def test_any_cutting_of_any_stream_gives_what_the_standard_says(
    stream: bytes, cuts: list[int]
) -> None:
    places = sorted({0, *(min(cut, len(stream)) for cut in cuts), len(stream)})
    chunks = [stream[a:b] for a, b in pairwise(places)]
    assert read(*chunks) == by_the_standard(stream)
    assert read(*(bytes([byte]) for byte in stream)) == by_the_standard(stream)


def test_a_line_or_an_event_without_end_is_given_up() -> None:
    with pytest.raises(SseError, match="line of over 100"):
        read(*[b"x" * 10] * 20, limit=100)
    with pytest.raises(SseError, match="event of over 100"):
        read(*[b"data: 1234567\n"] * 20, limit=100)


@given(st.binary(max_size=2000), st.integers(1, 50))
def test_no_more_is_held_than_the_limit_and_one_chunk(noise: bytes, step: int) -> None:
    reader = SseReader(64)
    try:
        for start in range(0, len(noise), step):
            for data in reader.feed(noise[start : start + step]):
                assert len(data) <= 64
            assert len(reader._rest) <= 64
    except SseError:
        pass
