import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiosd.domain.errors import InvalidError
from aiosd.pipelines.wav import read_wav


def chunk(name: bytes, body: bytes, length: int | None = None) -> bytes:
    return (
        name
        + struct.pack("<I", len(body) if length is None else length)
        + body
        + b"\0" * (len(body) % 2)
    )


def form(kind: int, channels: int, rate: int, bits: int) -> bytes:
    block = channels * bits // 8
    return struct.pack("<HHIIHH", kind, channels, rate, rate * block, block, bits)


def wav(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def pcm16(samples: list[int], channels: int = 1, rate: int = 16_000) -> bytes:
    return wav(
        chunk(b"fmt ", form(1, channels, rate, 16)),
        chunk(b"data", np.array(samples, "<i2").tobytes()),
    )


@pytest.mark.parametrize(
    ("kind", "bits", "body", "wanted"),
    [
        (1, 8, bytes([0, 128, 192, 255]), [-1, 0, 0.5, 127 / 128]),
        (1, 16, struct.pack("<4h", -32768, 0, 16384, 32767), [-1, 0, 0.5, 32767 / 32768]),
        (1, 24, b"\x00\x00\x80\x00\x00\x00\x00\x00\x40\xff\xff\xff", [-1, 0, 0.5, -(2**-23)]),
        (1, 32, struct.pack("<4i", -(2**31), 0, 2**30, 2**24), [-1, 0, 0.5, 2**-7]),
        (3, 32, struct.pack("<4f", -1, 0, 0.5, 1.5), [-1, 0, 0.5, 1.5]),
        (3, 64, struct.pack("<4d", -1, 0, 0.5, 1.5), [-1, 0, 0.5, 1.5]),
    ],
)
def test_every_sample_format_reads_as_numbers_around_one(
    kind: int, bits: int, body: bytes, wanted: list[float]
) -> None:
    read = read_wav(wav(chunk(b"fmt ", form(kind, 1, 8000, bits)), chunk(b"data", body)))
    samples = read.mono()
    assert samples.dtype == np.float32
    assert samples.tolist() == pytest.approx(wanted, abs=1e-9)
    assert (read.rate, read.frames) == (8000, 4)


def test_the_extensible_format_holds_its_true_kind_inside() -> None:
    guid = b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    body = form(0xFFFE, 1, 8000, 32) + struct.pack("<HHIH", 22, 32, 4, 3) + guid
    read = read_wav(wav(chunk(b"fmt ", body), chunk(b"data", struct.pack("<f", 0.25))))
    assert read.mono().tolist() == [0.25]


def test_stereo_becomes_the_mean_of_both_channels() -> None:
    read = read_wav(pcm16([16384, 0, -32768, 32767], channels=2))
    assert read.frames == 2
    assert read.mono().tolist() == pytest.approx([0.25, -0.5 / 32768])


def test_other_chunks_of_odd_length_are_stepped_over() -> None:
    data = wav(
        chunk(b"LIST", b"odd"),
        chunk(b"fmt ", form(1, 1, 8000, 16)),
        chunk(b"fact", b"1"),
        chunk(b"data", b"\x00\x40"),
        chunk(b"tail", b"more"),
    )
    assert read_wav(data).mono().tolist() == [0.5]


def test_a_streamed_file_of_unknown_length_ends_where_it_ends() -> None:
    data = wav(
        chunk(b"fmt ", form(1, 1, 8000, 16)), chunk(b"data", b"\x00\x40\x00\x40\x01", 0xFFFFFFFF)
    )
    assert read_wav(data).mono().tolist() == [0.5, 0.5, 1 / 32768]


MONO = chunk(b"fmt ", form(1, 1, 8000, 16))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a RIFF WAVE"),
        (b"ID3\x04 this is an mp3 of some length", "not a RIFF WAVE"),
        (wav(), "no data chunk"),
        (wav(MONO), "no data chunk"),
        (wav(chunk(b"data", b"\0\0"), MONO), "before the fmt"),
        (wav(MONO, chunk(b"data", b"")), "no samples"),
        (wav(MONO, chunk(b"data", b"\0\0", 100)), "says 100 bytes of samples, 2 came"),
        (wav(MONO, chunk(b"data", b"\0\0\0")), "whole number"),
        (wav(chunk(b"fmt ", b"short")), "5 bytes, less than 16"),
        (wav(chunk(b"fmt ", form(0xFFFE, 1, 8000, 16))), "extensible fmt chunk was cut"),
        (wav(chunk(b"fmt ", form(2, 1, 8000, 4))), "format 2 with 4 bits is not supported"),
        (wav(chunk(b"fmt ", form(1, 0, 8000, 16))), "0 channels"),
        (wav(chunk(b"fmt ", form(1, 33, 8000, 16))), "33 channels"),
        (wav(chunk(b"fmt ", form(1, 1, 0, 16))), "0 Hz"),
        (
            wav(chunk(b"fmt ", struct.pack("<HHIIHH", 1, 2, 8000, 16000, 2, 16))),
            "contradicts itself",
        ),
    ],
)
def test_a_bad_file_says_what_is_wrong_with_it(data: bytes, words: str) -> None:
    with pytest.raises(InvalidError, match=words) as caught:
        read_wav(data)
    assert caught.value.field == "input.audio"


def test_nan_in_a_float_file_is_refused() -> None:
    data = wav(chunk(b"fmt ", form(3, 1, 8000, 32)), chunk(b"data", struct.pack("<f", np.nan)))
    with pytest.raises(InvalidError, match="NaN"):
        read_wav(data).mono()


def refusal(data: bytes) -> str:
    """The field of the refusal; empty if the bytes were taken."""
    try:
        read_wav(data).mono()
    except InvalidError as error:
        return error.field
    return ""


@given(st.binary(max_size=200))
def test_no_bytes_can_do_more_than_be_refused(tail: bytes) -> None:
    for data in (tail, b"RIFF\0\0\0\0WAVE" + tail, wav(MONO) + tail):
        assert refusal(data) in {"", "input.audio"}


@given(st.data())
def test_a_file_cut_anywhere_is_refused_or_whole(data: st.DataObject) -> None:
    whole = pcm16([1, 2, 3, 4])
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(InvalidError):
        read_wav(whole[:cut])


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=50))
def test_what_is_written_is_read(samples: list[int]) -> None:
    assert (read_wav(memoryview(pcm16(samples))).mono() * 32768).tolist() == samples
