"""The image steps: every damaged file is a typed error, and ink is found whatever the picture."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from aiosd.domain.errors import InvalidError, PackageError
from aiosd.domain.inputs import ImageInput
from aiosd.domain.pre_steps import ImageCropContent, ImageDecode, ImageFit, ImageInk, ImageResize
from aiosd.domain.step import Step
from aiosd.pipelines.image import STEPS

HERE = Path()
Pixels = NDArray[np.uint8]


def made(spec: Step) -> Callable[[Any], Any]:
    return STEPS[type(spec)](spec, HERE)


def decoded(data: bytes, **settings: str | float) -> Pixels:
    array: Pixels = made(ImageDecode(**settings))(ImageInput(data=data))  # type: ignore[arg-type]
    return array


def written(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """Return a PNG of which only the header is true."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def seven(
    side: int, *, width: float = 0.08, place: tuple[float, float] = (0.5, 0.5)
) -> Image.Image:
    """Draw a 7, light on dark, half as tall as the picture."""
    image = Image.new("L", (side, side), 0)
    x, y, r = place[0] * side, place[1] * side, side * 0.25
    stroke = max(1, round(width * side))
    lines = [(x - r * 0.7, y - r), (x + r * 0.7, y - r), (x - r * 0.2, y + r)]
    ImageDraw.Draw(image).line(lines, fill=255, width=stroke, joint="curve")
    return image


def digit(pixels: Pixels) -> NDArray[np.float64]:
    """Run ink, crop and fit as the digits expert does."""
    specs = (
        ImageInk(),
        ImageCropContent(min_share=0.04, threshold=0.2),
        ImageFit(size=28, content=22, brighten=True),
    )
    value: Any = pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]
    for spec in specs:
        value = made(spec)(value)
    return value[:, :, 0].astype(np.float64)


def likeness(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the correlation of two pictures, at the best shift of at most two pixels."""
    shifts = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)]
    return max(
        float(np.corrcoef(np.roll(one, shift, (0, 1)).ravel(), other.ravel())[0, 1])
        for shift in shifts
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP"])
def test_every_common_format_is_decoded(kind: str) -> None:
    image = Image.new("RGB", (9, 5), (200, 200, 200))
    array = decoded(written(image, kind))
    assert array.shape == (5, 9, 3)
    assert array.dtype == np.uint8
    assert abs(int(array.mean()) - 200) <= 2


def test_grey_mode_has_one_channel() -> None:
    assert decoded(written(Image.new("RGB", (9, 5), "white")), mode="grey").shape == (5, 9, 1)


def test_a_header_of_a_hundred_megapixels_is_refused_before_decoding() -> None:
    with pytest.raises(InvalidError, match=r"100\.0 megapixels: the limit is 50") as raised:
        decoded(png(10_000, 10_000))
    assert raised.value.field == "input.image"


def test_a_header_far_beyond_pillows_own_limit_is_refused_as_well() -> None:
    with pytest.raises(InvalidError) as raised:
        decoded(png(2_000_000_000, 2_000_000_000))
    assert raised.value.field == "input.image"


def test_pillows_own_limit_does_not_warn_below_ours() -> None:
    with pytest.raises(InvalidError, match="cannot be decoded"):
        decoded(png(10_000, 10_000), max_megapixels=150)


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
def test_an_image_of_no_pixels_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidError) as raised:
        decoded(png(*size))
    assert raised.value.field == "input.image"


def test_too_few_pixels_name_the_limit() -> None:
    with pytest.raises(InvalidError, match="4 or more"):
        decoded(written(Image.new("L", (3, 100))), min_pixels=4)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"\xff\xd8"]
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidError) as raised:
        decoded(data)
    assert raised.value.field == "input.image"


def test_an_input_without_bytes_is_refused() -> None:
    with pytest.raises(InvalidError, match="0 bytes"):
        made(ImageDecode())(ImageInput())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP"])
def test_a_truncated_file_is_refused_wherever_it_is_cut(kind: str) -> None:
    rng = np.random.default_rng(1)
    noise = Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8))
    data = written(noise, kind)
    for share in (0.2, 0.5, 0.8):
        with pytest.raises(InvalidError):
            decoded(data[: int(len(data) * share)])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_file_is_decoded_or_refused_never_anything_else(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "BMP", "GIF", "WEBP"]))
    whole = bytearray(written(seven(24), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    fields = set()
    try:
        array = decoded(bytes(whole), max_megapixels=1)
    except InvalidError as error:
        fields.add(error.field)
    else:
        assert array.shape[2] == 3
    assert fields <= {"input.image"}


def test_an_animation_is_refused() -> None:
    frames = [Image.new("L", (8, 8), level) for level in (0, 100, 200)]
    with pytest.raises(InvalidError, match="3 pictures"):
        decoded(written(frames[0], "GIF", save_all=True, append_images=frames[1:]))


def test_a_telephones_jpeg_with_two_pictures_shows_the_first() -> None:
    first, second = Image.new("RGB", (8, 6), "white"), Image.new("RGB", (4, 3), "black")
    data = written(first, "MPO", save_all=True, append_images=[second])
    assert decoded(data).shape == (6, 8, 3)


def test_transparency_shows_white_paper() -> None:
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image.putpixel((1, 1), (0, 0, 0, 255))
    array = decoded(written(image), mode="grey")
    assert array[1, 1, 0] == 0
    assert array[0, 0, 0] == 255


def test_a_palette_with_a_transparent_colour_shows_white_paper() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    array = decoded(written(image, "GIF", transparency=0))
    assert (array == 255).all()


def test_sixteen_bit_grey_keeps_its_brightness() -> None:
    deep = Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16))
    assert decoded(written(deep), mode="grey")[0, 0, 0] == 40_000 >> 8


def test_exif_orientation_is_applied() -> None:
    image = Image.new("L", (6, 3), 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    assert decoded(written(image, "JPEG", exif=exif)).shape == (6, 3, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_long_side_is_shrunk_to_the_limit(kind: str) -> None:
    array = decoded(written(Image.new("L", (1000, 500), 77), kind), mode="grey", max_side=320)
    assert array.shape == (160, 320, 1)
    assert abs(int(array.mean()) - 77) <= 2


@pytest.mark.parametrize("side", [28, 64, 200, 640, 1000])
@pytest.mark.parametrize("dark", [False, True])
def test_ink_is_the_same_whatever_size_and_polarity(side: int, *, dark: bool) -> None:
    pixels = np.asarray(seven(side))
    found = digit(255 - pixels if dark else pixels)
    assert likeness(found, digit(np.asarray(seven(256)))) > 0.85


@given(st.floats(0.3, 0.7), st.floats(0.3, 0.7), st.booleans())
@settings(max_examples=30, deadline=None)
def test_ink_is_the_same_wherever_it_is(x: float, y: float, dark: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
    pixels = np.asarray(seven(160, place=(x, y)))
    found = digit(255 - pixels if dark else pixels)
    assert likeness(found, digit(np.asarray(seven(160)))) > 0.9


@pytest.mark.parametrize("dark", [False, True])
def test_light_that_changes_over_the_paper_is_not_ink(*, dark: bool) -> None:
    level = np.asarray(seven(200)).astype(np.float64) / 255
    slope = np.linspace(0.0, 0.3, 200)
    picture = 0.1 + slope[np.newaxis, :] + 0.5 * level
    picture = 1 - picture if dark else picture
    noisy = picture + np.random.default_rng(2).normal(0, 0.02, picture.shape)
    found = digit(np.rint(np.clip(noisy, 0, 1) * 255).astype(np.uint8))
    assert likeness(found, digit(np.asarray(seven(200)))) > 0.9


def test_a_speck_far_from_the_drawing_is_dropped() -> None:
    image = seven(200)
    ImageDraw.Draw(image).ellipse((2, 190, 7, 195), fill=255)
    assert likeness(digit(np.asarray(image)), digit(np.asarray(seven(200)))) > 0.95


def test_a_thin_stroke_stays_bright_after_shrinking() -> None:
    assert digit(np.asarray(seven(600, width=0.003))).max() == 255


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_page_is_an_error_of_the_request(level: int) -> None:
    with pytest.raises(InvalidError, match="blank") as raised:
        digit(np.full((50, 50), level, dtype=np.uint8))
    assert raised.value.field == "input.image"


def test_crop_of_darkness_is_an_error_of_the_request() -> None:
    with pytest.raises(InvalidError, match="blank"):
        made(ImageCropContent())(np.zeros((5, 5, 1), dtype=np.uint8))


def test_crop_keeps_the_margin_within_the_picture() -> None:
    pixels = np.zeros((20, 30, 1), dtype=np.uint8)
    pixels[5:15, 0:10] = 255
    assert made(ImageCropContent(margin=0.2))(pixels).shape == (14, 12, 1)


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from(["mass", "box"]))
def test_fit_fills_its_content_and_never_cuts(height: int, width: int, centre: str) -> None:
    pixels = np.full((height, width, 1), 255, dtype=np.uint8)
    spec = ImageFit(size=28, content=22, centre=centre)  # type: ignore[arg-type]
    square = made(spec)(pixels)
    assert square.shape == (28, 28, 1)
    rows = np.flatnonzero(square.any(axis=(1, 2)))
    columns = np.flatnonzero(square.any(axis=(0, 2)))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 22


def test_mass_and_box_differ_for_a_lopsided_drawing() -> None:
    pixels = np.zeros((20, 20, 1), dtype=np.uint8)
    pixels[0, 0], pixels[10:, 10:] = 255, 255
    mass = made(ImageFit(size=40, content=20, centre="mass"))(pixels)
    box = made(ImageFit(size=40, content=20, centre="box"))(pixels)
    assert np.flatnonzero(box.any(axis=(1, 2)))[0] == 10
    assert np.flatnonzero(mass.any(axis=(1, 2)))[0] == 5


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("channels", [1, 3])
def test_resize_gives_the_size_it_says(fit: str, channels: int) -> None:
    pixels = np.full((10, 40, channels), 200, dtype=np.uint8)
    spec = ImageResize(height=24, width=32, fit=fit)  # type: ignore[arg-type]
    array = made(spec)(pixels)
    assert array.shape == (24, 32, channels)
    assert (array[0, 0, 0] == 0) == (fit == "pad")
    assert (array[12, 16] == 200).all()


@pytest.mark.parametrize(
    "spec",
    [
        ImageDecode(max_megapixels=0),
        ImageDecode(min_pixels=0),
        ImageInk(noise=1.0),
        ImageCropContent(threshold=0),
        ImageFit(size=10, content=11),
        ImageResize(height=0, width=5),
    ],
)
def test_bad_parameters_are_the_packages_fault(spec: Step) -> None:
    with pytest.raises(PackageError):
        made(spec)


def test_a_drawing_in_colour_is_the_packages_fault() -> None:
    with pytest.raises(PackageError, match="grey"):
        made(ImageInk())(np.zeros((5, 5, 3), dtype=np.uint8))
