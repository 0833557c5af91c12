"""What is paper and what is ink in a grey image of a drawing: background surface and specks."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SMALL = 64  # the surface and the blobs are found in an image of at most this side
_SMOOTH_FROM = 32  # pixels a side; smaller images get one level
_ROUNDS = 4

Floats = NDArray[np.float32]


def background_of(grey: Floats) -> tuple[Floats, float]:
    """Return the background's brightness (as an array that broadcasts over `grey`) and its noise.

    `grey` is (height, width). The noise is the background's standard deviation, estimated from
    the median absolute deviation. The level is the median of the border; in larger images a
    quadratic surface is fitted to the border and then, leaving out what strays, to all of it.
    """
    height, width = grey.shape
    if min(height, width) < _SMOOTH_FROM:
        border = _ring(grey)
        level = float(np.median(border))
        spread = 1.4826 * float(np.median(np.abs(border - level)))
        return np.full((1, 1), level, dtype=np.float32), spread
    ratio = min(1.0, _SMALL / max(height, width))
    size = (max(8, round(width * ratio)), max(8, round(height * ratio)))
    small = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BOX), dtype=np.float64)
    terms = _terms(small.shape)
    weight = _trimmed(small, terms)
    factors = _fitted(terms[weight], small[weight])
    surface = _surface(grey.shape, factors)
    paper = np.asarray(
        Image.fromarray(weight).resize((width, height), Image.Resampling.NEAREST), dtype=bool
    )
    rest = np.abs((grey - surface)[paper])
    return surface, 1.4826 * float(np.median(rest))


def _ring(image: NDArray[Any]) -> NDArray[Any]:
    """Return the pixels of the border: a sixteenth of the shorter side, at least one pixel."""
    depth = max(1, min(image.shape) // 16)
    inner = np.zeros(image.shape, dtype=bool)
    inner[depth:-depth, depth:-depth] = min(image.shape) > 2 * depth
    return image[~inner]


def _terms(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return (height, width, 6): 1, x, y, x², xy, y² with x and y in -1..1."""
    y = np.linspace(-1, 1, shape[0])[:, np.newaxis] * np.ones((1, shape[1]))
    x = np.linspace(-1, 1, shape[1])[np.newaxis, :] * np.ones((shape[0], 1))
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)


def _fitted(terms: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the least squares' factors of the terms, by the normal equations.

    Six well-scaled terms lose no digit that matters, and thousands of rows become six.
    """
    factors: NDArray[np.float64]
    factors = np.linalg.lstsq(terms.T @ terms, terms.T @ values, rcond=None)[0]
    return factors


def _surface(shape: tuple[int, ...], factors: NDArray[np.float64]) -> Floats:
    """Evaluate `_terms(shape) @ factors` without holding six images."""
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, np.newaxis]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[np.newaxis, :]
    one, by_x, by_y, by_xx, by_xy, by_yy = factors.astype(np.float32)
    surface: Floats = (one + by_x * x + by_xx * x * x) + (by_y * y + by_yy * y * y) + by_xy * y * x
    return surface


def _trimmed(small: NDArray[np.float64], terms: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which pixels are background: start at the border, then add what lies on its surface.

    The surface starts flat at the border's median, so that ink across the border does not bend it.
    """
    rest = small - float(np.median(_ring(small)))
    spread = 1.4826 * float(np.median(np.abs(_ring(rest))))
    keep: NDArray[np.bool_] = np.abs(rest) <= max(2.5 * spread, 6.0)
    for _ in range(_ROUNDS):
        if np.count_nonzero(keep) < small.size // 8:
            break
        factors = _fitted(terms[keep], small[keep])
        rest = small - terms @ factors
        spread = 1.4826 * float(np.median(np.abs(rest[keep])))
        keep = np.abs(rest) <= max(3 * spread, 3.0)
    return keep


def strip_specks(
    bright: NDArray[np.uint8], threshold: float, min_share: float
) -> NDArray[np.bool_]:
    """Return the pixels to keep: all but blobs with less than `min_share` of the largest's ink.

    Blobs are found, over eight neighbours, in an image shrunk to 64 pixels by taking maxima.
    """
    block = -(-max(bright.shape) // _SMALL)
    height, width = (-(-side // block) for side in bright.shape)
    padded = np.zeros((height * block, width * block), dtype=np.uint8)
    padded[: bright.shape[0], : bright.shape[1]] = bright
    tiles = padded.reshape(height, block, width, block)
    small, mass = tiles.max(axis=(1, 3)), tiles.sum(axis=(1, 3), dtype=np.float64)
    blobs = _blobs({(int(y), int(x)) for y, x in np.argwhere(small > threshold)})
    weights = [sum(mass[place] for place in blob) for blob in blobs]
    keep = np.ones((height, width), dtype=bool)
    for blob, weight in zip(blobs, weights, strict=True):
        if weight < min_share * max(weights):
            for y, x in blob:
                keep[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = False
    for blob, weight in zip(blobs, weights, strict=True):
        if weight >= min_share * max(weights):
            for place in blob:
                keep[place] = True
    full: NDArray[np.bool_] = np.repeat(np.repeat(keep, block, axis=0), block, axis=1)
    return full[: bright.shape[0], : bright.shape[1]]


def _blobs(places: set[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Return the connected groups (eight neighbours) of `places`, which is emptied."""
    found = []
    while places:
        blob = [places.pop()]
        for y, x in blob:  # grows while it is walked
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & places
            places -= near
            blob.extend(sorted(near))
        found.append(blob)
    return found
