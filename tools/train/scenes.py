"""A digit as ink becomes a picture as people send them: paper, light, noise, size, polarity."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels = NDArray[np.uint8]


def scene(ink: Pixels, rng: np.random.Generator) -> Pixels:
    """Return a grey picture (height, width) of `ink` (0..255, white ink) on some paper.

    A third stays clean (as collections of digits are), the rest gets light that changes over the
    picture, grain, blur and JPEG blocks; half is dark on light.
    """
    image = Image.fromarray(ink)
    if rng.random() < 0.15 and min(ink.shape) > 40:
        image = _tight(image, rng)
    elif rng.random() < 0.3:
        side = int(rng.choice([16, 20, 28, 32]))
        image = image.resize(
            (side, side), Image.Resampling.BOX if rng.random() < 0.7 else Image.Resampling.BILINEAR
        )
    level = np.asarray(image, dtype=np.float32) / 255
    height, width = level.shape
    if rng.random() < 0.35:
        picture = level * rng.uniform(0.5, 1.0)
    else:
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        paper = rng.uniform(0.0, 0.35)
        slope = 0.05 if min(height, width) >= 40 else 0.01
        light = paper + rng.normal(0, slope) * x + rng.normal(0, slope) * y
        light += rng.normal(0, slope / 3) * x * y
        strength = rng.uniform(0.35, 0.65)
        picture = light + level * strength + rng.normal(0, rng.uniform(0, 0.04), level.shape)
    if rng.random() < 0.5:
        picture = 1 - picture
    result = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.25:
        blurred = Image.fromarray(result).filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.8)))
        result = np.asarray(blurred)
    if rng.random() < 0.3:
        file = BytesIO()
        Image.fromarray(result).save(file, "JPEG", quality=int(rng.integers(25, 90)))
        result = np.asarray(Image.open(file).convert("L"))
    return result


def _tight(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a small picture without paper around the ink, as some collections cut their digits.

    A third is stretched to a square, unless it is as narrow as a one.
    """
    box = image.point(lambda level: 255 if level > 60 else 0).getbbox()
    image = image.crop(box)
    side = int(rng.integers(14, 33))
    width, height = image.size
    if rng.random() < 0.35 and width > 0.45 * height:
        size = (side, side)
    else:
        ratio = side / max(width, height)
        size = (max(2, round(width * ratio)), max(2, round(height * ratio)))
    return image.resize(size, Image.Resampling.BOX)


def from_scan(scan: NDArray[np.float64], rng: np.random.Generator) -> Pixels:
    """Return ink (64..96 pixels a side) from one 8 × 8 scan of 16 grey levels, or the scan itself.

    A fifth is shown as it is, enlarged in blocks or not at all. The rest is enlarged smoothly and
    cut at a random level with a random softness, which makes the stroke thinner or thicker.
    """
    raw = np.rint(scan / 16 * 255).astype(np.uint8)
    if rng.random() < 0.2:
        pad = int(rng.integers(0, 3))
        block = int(rng.choice([1, 2, 4, 8]))
        return np.kron(np.pad(raw, pad), np.ones((block, block), dtype=np.uint8))
    side = int(rng.integers(48, 97))
    how = Image.Resampling.BICUBIC if rng.random() < 0.6 else Image.Resampling.LANCZOS
    big = Image.fromarray(np.pad(raw, 2)).resize((side, side), how)
    big = big.filter(ImageFilter.GaussianBlur(rng.uniform(0, side / 40)))
    level = np.asarray(big, dtype=np.float32) / 255
    if rng.random() < 0.25:
        return np.asarray(big)
    cut, soft = rng.uniform(0.25, 0.7), rng.uniform(0.03, 0.3)
    return np.rint(np.clip((level - cut) / soft + 0.5, 0, 1) * 255).astype(np.uint8)


def from_font(mask: Pixels, rng: np.random.Generator) -> Pixels:
    """Return a glyph leaned, turned, and made bolder or lighter."""
    image = Image.fromarray(mask)
    angle, lean = rng.normal(0, 6), rng.normal(0, 0.12)
    image = image.rotate(angle, Image.Resampling.BILINEAR)
    wide = rng.uniform(0.75, 1.15)
    half = image.size[0] / 2
    matrix = (1 / wide, lean, half - half / wide - lean * half, 0, 1, 0)
    image = image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0.8, 3.0))), np.float32)
    soft /= max(float(soft.max()), 1.0)
    cut = rng.uniform(0.25, 0.65)
    return np.rint(np.clip((soft - cut) / 0.15 + 0.5, 0, 1) * 255).astype(np.uint8)
