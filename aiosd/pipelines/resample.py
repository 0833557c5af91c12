"""Samples at one rate → samples at another: a windowed sinc, one short filter per phase."""

from math import ceil, gcd

import numpy as np
from numpy.typing import NDArray

from aiosd.domain.errors import InvalidError

Samples = NDArray[np.float32]

ZERO_CROSSINGS = 16  # on each side of the filter's middle
BETA = 9.0  # of the Kaiser window: side lobes about 90 dB down
MARGIN = 0.95  # of the lower half rate that is passed; the rest is the filter's slope
MAX_PHASES = 1000
BLOCK = 8192


def resample(samples: Samples, given: int, wanted: int) -> Samples:
    """Return the samples at rate `wanted`; the length is rounded up.

    Raises:
        InvalidError: the rates have so little in common that the filters would be many thousands.
    """
    if given == wanted:
        return samples
    common = gcd(given, wanted)
    up, down = wanted // common, given // common
    if up > MAX_PHASES or down > MAX_PHASES * ZERO_CROSSINGS:
        raise InvalidError(
            f"{given} Hz cannot be turned into {wanted} Hz here; convert the file first "
            f"(for example: ffmpeg -i in.wav -ar {wanted} out.wav)",
            field="input.audio.rate",
        )
    filters = _filters(up, down)
    half = filters.shape[1] // 2
    count = ceil(len(samples) * up / down)
    padded = np.pad(samples, (half, half + down))
    windows = np.lib.stride_tricks.sliding_window_view(padded, filters.shape[1])
    result = np.empty(count, np.float32)
    for start in range(0, count, BLOCK):
        places = np.arange(start, min(start + BLOCK, count)) * down
        result[start : start + BLOCK] = np.einsum(
            "nt,nt->n", windows[places // up], filters[places % up]
        )
    return result


def _filters(up: int, down: int) -> Samples:
    """Return (up, taps): the filter for each phase, its sum 1 so that a constant stays one."""
    cutoff = MARGIN * min(1.0, up / down)  # in half rates of the input
    half = ceil(ZERO_CROSSINGS / cutoff)
    taps = np.arange(-half, half + 1)
    distance = taps[np.newaxis] - np.arange(up)[:, np.newaxis] / up
    inside = np.clip(1 - (distance / (half + 1)) ** 2, 0, 1)
    filters = np.sinc(cutoff * distance) * np.i0(BETA * np.sqrt(inside))
    filters /= filters.sum(axis=1, keepdims=True)
    result: Samples = filters.astype(np.float32)
    return result
