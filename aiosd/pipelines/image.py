"""Image steps: a file as it is on disk becomes the array a vision model takes."""

import struct
import warnings
import zlib
from collections.abc import Callable
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from aiosd.domain.errors import InvalidError, PackageError
from aiosd.domain.inputs import ImageInput
from aiosd.domain.pre_steps import ImageCropContent, ImageDecode, ImageFit, ImageInk, ImageResize
from aiosd.domain.step import Step
from aiosd.pipelines.drawing import background_of, strip_specks

Pixels = NDArray[np.uint8]

FIELD = "input.image"
_LARGE = 10_000  # pixels
# Pillow opens the two-picture JPEG of telephones (its format "MPO") as "JPEG".
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
# What Pillow's decoders raise on a damaged file, beyond its own classes.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    EOFError,
    MemoryError,
    NotImplementedError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
# At import, so that a host pays once for all the workers it forks.
Image.preinit()
import_module("PIL.WebPImagePlugin")
_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}


def _invalid(message: str) -> InvalidError:
    return InvalidError(message, field=FIELD)


def decode(spec: ImageDecode, _folder: Path) -> Callable[[ImageInput], Pixels]:
    """Return image.decode: `ImageInput` → uint8 (height, width, 3 or 1).

    Raises:
        PackageError: a limit of the step is not positive.
    """
    if spec.max_megapixels <= 0 or spec.min_pixels < 1 or spec.max_side < 0:
        raise PackageError("image.decode: max_megapixels and min_pixels must be positive")

    def step(value: ImageInput) -> Pixels:
        data = bytes(value.data or b"")
        if not data:
            raise _invalid("the image has 0 bytes: send a PNG, JPEG, BMP, GIF or WebP file")
        try:
            with warnings.catch_warnings():
                # Our own limit on the header rules; Pillow's advice on size and metadata is noise.
                warnings.simplefilter("ignore")
                image = Image.open(BytesIO(data), formats=FORMATS)
                _check_header(image, spec)
                return _pixels(image, spec)
        except UnidentifiedImageError as error:
            raise _invalid(
                f"these {len(data)} bytes are no PNG, JPEG, BMP, GIF or WebP image"
            ) from error
        except _DAMAGE as error:
            raise _invalid(f"the image cannot be decoded: {error}; send an intact file") from error

    return step


def _check_header(image: Image.Image, spec: ImageDecode) -> None:
    """Raise InvalidError for what the header alone rules out."""
    width, height = image.size
    megapixels = width * height / 1e6
    if min(width, height) < spec.min_pixels:
        raise _invalid(
            f"the image is {width} × {height} pixels: its shorter side must have "
            f"{spec.min_pixels} or more"
        )
    if megapixels > spec.max_megapixels:
        raise _invalid(
            f"the image is {width} × {height} pixels, {megapixels:.1f} megapixels: the limit is "
            f"{spec.max_megapixels:g}; shrink it"
        )
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        frames = getattr(image, "n_frames", 1)
        raise _invalid(f"the image is an animation of {frames} pictures: send one of them")


def _pixels(image: Image.Image, spec: ImageDecode) -> Pixels:
    """Decode, turn upright, flatten, shrink."""
    target = "L" if spec.mode == "grey" else "RGB"
    if spec.max_side and image.format in {"JPEG", "MPO"}:
        # The JPEG decoder shrinks by powers of two while decoding; never below what is asked.
        image.draft(target, (spec.max_side, spec.max_side))
    image.load()
    image = _eight_bit(ImageOps.exif_transpose(image))
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    if image.mode != target:
        image = image.convert(target)
    if spec.max_side and max(image.size) > spec.max_side:
        ratio = spec.max_side / max(image.size)
        width, height = (max(1, round(side * ratio)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0)
    array = np.asarray(image, dtype=np.uint8)
    return array[:, :, np.newaxis] if target == "L" else array


def _eight_bit(image: Image.Image) -> Image.Image:
    """Return 16-bit grey (Pillow's modes I;16 and I) as 8-bit grey; other modes unchanged."""
    if not image.mode.startswith("I"):
        return image
    deep = np.asarray(image).astype(np.int64)
    return Image.fromarray(np.clip(deep >> 8, 0, 255).astype(np.uint8))


def ink(spec: ImageInk, _folder: Path) -> Callable[[Pixels], Pixels]:
    """Return image.ink: uint8 (height, width, 1) → the same shape, ink bright on zero.

    Raises:
        PackageError: `noise` or `min_contrast` is not in 0..1.
    """
    if not (0 <= spec.noise < 1 and 0 < spec.min_contrast < 1):
        raise PackageError("image.ink: noise must be in 0..1 and min_contrast in 0..1, both not 1")

    def step(pixels: Pixels) -> Pixels:
        grey = _one_channel(pixels, "image.ink").astype(np.float32)
        surface, deviation = background_of(grey)
        rest = grey - surface
        # Ink is what strays furthest from the background, and it strays to one side.
        deep = rest.astype(np.float64)
        if float(np.sum(deep * deep * deep)) < 0:
            rest = -rest
        # In a large image a few hot pixels must not count as ink; a small one has none to spare.
        strong = float(np.percentile(rest, 99.95) if rest.size > _LARGE else rest.max())
        if strong < spec.min_contrast * 255:
            raise _invalid(
                "the image is blank: nothing in it differs from its background by "
                f"{spec.min_contrast:.0%} of the range from black to white"
            )
        peak = float(np.median(rest[rest > strong / 2]))
        cut = min(max(spec.noise * peak, 4 * deviation), 0.5 * peak)
        stretched = np.clip((rest - cut) / (peak - cut), 0, 1) * 255
        bright: Pixels = np.rint(stretched).astype(np.uint8)[:, :, np.newaxis]
        return bright

    return step


def _one_channel(pixels: Pixels, step: str) -> Pixels:
    """Return (height, width) of a grey image.

    Raises:
        PackageError: the pipeline hands this step a colour image.
    """
    if pixels.shape[2] != 1:
        raise PackageError(f'{step}: takes a grey image; decode with mode = "grey"')
    return pixels[:, :, 0]


def crop_content(spec: ImageCropContent, _folder: Path) -> Callable[[Pixels], Pixels]:
    """Return image.crop_content: uint8 (height, width, channels) → the box of its content.

    Raises:
        PackageError: a parameter is out of range.
    """
    if not (0 < spec.threshold < 1 and spec.margin >= 0 and 0 <= spec.min_share < 1):
        raise PackageError("image.crop_content: threshold in 0..1, margin >= 0, min_share in 0..1")

    def step(pixels: Pixels) -> Pixels:
        bright = pixels.max(axis=2)
        if spec.min_share > 0:
            keep = strip_specks(bright, spec.threshold * 255, spec.min_share)
            pixels = pixels * keep[:, :, np.newaxis]
            bright = pixels.max(axis=2)
        mask = bright > spec.threshold * 255
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if rows.size == 0:
            raise _invalid("the image is blank: there is nothing in it to crop to")
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        left, right = int(columns[0]), int(columns[-1]) + 1
        margin = round(spec.margin * max(bottom - top, right - left))
        cut: Pixels = pixels[
            max(0, top - margin) : bottom + margin, max(0, left - margin) : right + margin
        ]
        return cut

    return step


def fit(spec: ImageFit, _folder: Path) -> Callable[[Pixels], Pixels]:
    """Return image.fit: uint8 (height, width, 1) → uint8 (size, size, 1).

    Raises:
        PackageError: `content` is not in 1..`size`.
    """
    if not 1 <= spec.content <= spec.size:
        raise PackageError(f"image.fit: content {spec.content} must be in 1..size {spec.size}")

    def step(pixels: Pixels) -> Pixels:
        grey = _one_channel(pixels, "image.fit")
        height, width = grey.shape
        ratio = spec.content / max(height, width)
        small = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        how = Image.Resampling.HAMMING if ratio < 1 else Image.Resampling.BICUBIC
        scaled = np.asarray(Image.fromarray(grey).resize(small, how), dtype=np.float32)
        if spec.brighten:
            scaled = scaled * (255 / max(1.0, float(scaled.max())))
        square = _place(scaled, spec)
        return np.rint(np.clip(square, 0, 255)).astype(np.uint8)[:, :, np.newaxis]

    return step


def _place(content: NDArray[np.float32], spec: ImageFit) -> NDArray[np.float32]:
    """Put `content` into a square of zeros, moved to whole pixels, never cut."""
    height, width = content.shape
    middle = ((height - 1) / 2, (width - 1) / 2)
    total = float(content.sum())
    if spec.centre == "mass" and total > 0:
        middle = (
            float(content.sum(axis=1) @ np.arange(height)) / total,
            float(content.sum(axis=0) @ np.arange(width)) / total,
        )
    target = (spec.size - 1) / 2
    top = min(max(0, round(target - middle[0])), spec.size - height)
    left = min(max(0, round(target - middle[1])), spec.size - width)
    square = np.zeros((spec.size, spec.size), dtype=np.float32)
    square[top : top + height, left : left + width] = content
    return square


def resize(spec: ImageResize, _folder: Path) -> Callable[[Pixels], Pixels]:
    """Return image.resize: uint8 (any, any, channels) → uint8 (height, width, channels).

    Raises:
        PackageError: a side is not positive.
    """
    if spec.height < 1 or spec.width < 1:
        raise PackageError(f"image.resize: {spec.height} × {spec.width} is not a size")

    def step(pixels: Pixels) -> Pixels:
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        size, how = (spec.width, spec.height), _FILTERS[spec.filter]
        match spec.fit:
            case "stretch":
                image = image.resize(size, how)
            case "crop":
                image = ImageOps.fit(image, size, how)
            case "pad":
                image = ImageOps.pad(image, size, how, color=0)
        array = np.asarray(image, dtype=np.uint8)
        return array.reshape(spec.height, spec.width, pixels.shape[2])

    return step


STEPS: dict[type[Step], Callable[[Any, Path], Callable[[Any], object]]] = {
    ImageDecode: decode,
    ImageInk: ink,
    ImageCropContent: crop_content,
    ImageFit: fit,
    ImageResize: resize,
}
