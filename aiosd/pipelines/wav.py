"""RIFF WAVE bytes → samples: a bounded reader for PCM of 8 to 32 bits and for floats.

The format is Microsoft's "Multiple Channel Audio Data and WAVE Files": chunks of a 4-letter name, a
length and a body padded to even length; `fmt ` says how `data` is to be read.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiosd.domain.errors import InvalidError

FIELD = "input.audio"

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_KINDS = {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)}
_UNKNOWN_LENGTH = 0xFFFFFFFF  # written by programs that stream and cannot go back to fill it in
_MAX_CHANNELS = 32
_MAX_RATE = 768_000
_MAX_CHUNKS = 1000


@dataclass(frozen=True)
class Wav:
    """A recording as the file holds it; `frames` counts one sample of every channel as one."""

    rate: int
    channels: int
    bits: int
    kind: int
    body: memoryview

    @property
    def frames(self) -> int:
        """Number of samples per channel."""
        return len(self.body) // (self.channels * self.bits // 8)

    def mono(self) -> NDArray[np.float32]:
        """Return float32 samples in -1..1 (floats as they are), the mean of all channels.

        Raises:
            InvalidError: a float file that holds NaN or infinity.
        """
        samples = self._samples()
        if not np.isfinite(samples).all():
            raise InvalidError("the recording holds NaN or infinity", field=FIELD)
        if self.channels > 1:
            samples = samples.reshape(-1, self.channels).mean(axis=1, dtype=np.float32)
        return samples

    def _samples(self) -> NDArray[np.float32]:
        if self.kind == _FLOAT:
            return np.frombuffer(self.body, f"<f{self.bits // 8}").astype(np.float32)
        whole: NDArray[Any]
        if self.bits == 8:  # noqa: PLR2004 - the one size that is unsigned
            whole = np.frombuffer(self.body, np.uint8).astype(np.int16) - 128
        elif self.bits == 24:  # noqa: PLR2004 - the one size NumPy has no type for
            whole = np.zeros((len(self.body) // 3, 4), np.uint8)
            whole[:, 1:] = np.frombuffer(self.body, np.uint8).reshape(-1, 3)
            whole = whole.view("<i4").ravel() >> 8
        else:
            whole = np.frombuffer(self.body, f"<i{self.bits // 8}")
        return whole.astype(np.float32) * np.float32(2.0 ** (1 - self.bits))


def read_wav(data: bytes | memoryview) -> Wav:
    """Return the recording that is in the bytes of a WAVE file; nothing is copied yet.

    Raises:
        InvalidError: not a WAVE file, a format that is not PCM or float, a body cut short, or no
            samples; the field is `input.audio`.
    """
    view = memoryview(data)
    if len(view) < 12 or bytes(view[:4]) != b"RIFF" or bytes(view[8:12]) != b"WAVE":  # noqa: PLR2004 - header
        raise InvalidError(
            "not a RIFF WAVE file; send PCM in a .wav "
            "(for example: ffmpeg -i recording.mp3 -c:a pcm_s16le recording.wav)",
            field=FIELD,
        )
    form: tuple[int, int, int, int] | None = None
    place = 12
    for _ in range(_MAX_CHUNKS):
        if place + 8 > len(view):
            break
        name, length = bytes(view[place : place + 4]), _number(view, place + 4)
        body = view[place + 8 : place + 8 + length]
        if name == b"fmt ":
            form = _form(body)
        elif name == b"data":
            if form is None:
                raise InvalidError("the data chunk comes before the fmt chunk", field=FIELD)
            return _wav(form, body, length)
        place += 8 + length + length % 2
    raise InvalidError("the file holds no data chunk: it was cut short", field=FIELD)


def _number(view: memoryview, place: int) -> int:
    return int(struct.unpack_from("<I", view, place)[0])


def _form(body: memoryview) -> tuple[int, int, int, int]:
    """Return kind, channels, rate and bits per sample of a `fmt ` chunk."""
    if len(body) < 16:  # noqa: PLR2004 - the shortest fmt chunk
        raise InvalidError(f"the fmt chunk has {len(body)} bytes, less than 16", field=FIELD)
    kind, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", body)
    if kind == _EXTENSIBLE:
        if len(body) < 26:  # noqa: PLR2004 - up to and with the true kind
            raise InvalidError("the extensible fmt chunk was cut short", field=FIELD)
        kind = struct.unpack_from("<H", body, 24)[0]
    if (kind, bits) not in _KINDS:
        raise InvalidError(
            f"WAVE format {kind} with {bits} bits is not supported; send PCM of 8, 16, 24 or 32 "
            "bits or float of 32 (for example: ffmpeg -i in.wav -c:a pcm_s16le out.wav)",
            field=FIELD,
        )
    if not 1 <= channels <= _MAX_CHANNELS or not 1 <= rate <= _MAX_RATE:
        raise InvalidError(
            f"{channels} channels at {rate} Hz; at most {_MAX_CHANNELS} at {_MAX_RATE} Hz",
            field=FIELD,
        )
    if block != channels * bits // 8:
        raise InvalidError(
            f"the fmt chunk contradicts itself: {channels} channels of {bits} bits are not "
            f"{block} bytes",
            field=FIELD,
        )
    return int(kind), int(channels), int(rate), int(bits)


def _wav(form: tuple[int, int, int, int], body: memoryview, length: int) -> Wav:
    kind, channels, rate, bits = form
    if length == _UNKNOWN_LENGTH:
        length = len(body) - len(body) % (channels * bits // 8)
        body = body[:length]
    if len(body) < length:
        raise InvalidError(
            f"the recording was cut short: the header says {length} bytes of samples, "
            f"{len(body)} came",
            field=FIELD,
        )
    if length == 0:
        raise InvalidError("the recording holds no samples", field=FIELD)
    if length % (channels * bits // 8):
        raise InvalidError(
            f"{length} bytes are no whole number of samples of {channels} channels of {bits} bits",
            field=FIELD,
        )
    return Wav(rate=rate, channels=channels, bits=bits, kind=kind, body=body)
