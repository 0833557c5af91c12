"""The steps from a request's input to what an engine takes; see `step.py`."""

from typing import Annotated, Literal

import msgspec

from aiosd.domain.step import Step

# ── images: bytes → uint8 (height, width, channels) → … ─────────────────────────────────────


class ImageDecode(Step, frozen=True, kw_only=True, tag="image.decode"):
    """Image file → uint8 (height, width, 3) or (height, width, 1); EXIF orientation applied.

    PNG, JPEG, BMP, GIF or WebP; an animation is refused, transparency shows white. The header is
    held against `max_megapixels` before a pixel is decoded; the shorter side must have
    `min_pixels`. A longer side over `max_side` (0: any) is shrunk to it by averaging.
    """

    mode: Literal["rgb", "grey"] = "rgb"
    max_megapixels: float = 50.0
    min_pixels: int = 1
    max_side: int = 0


class ImageInk(Step, frozen=True, kw_only=True, tag="image.ink"):
    """Grey image of a drawing of either polarity → ink bright on dark, background at zero.

    The background is what the border shows, and follows slow changes of light (a quadratic
    surface) in images of 32 pixels a side or more. What differs from it by less than `noise` of
    the ink's strength (or by less than four deviations of the background) becomes zero, the rest
    is stretched to 0..255. Ink weaker than `min_contrast` (of black to white) is an error: the
    image is blank.
    """

    noise: float = 0.15
    min_contrast: float = 0.06


class ImageCropContent(Step, frozen=True, kw_only=True, tag="image.crop_content"):
    """Cut to the box of what is brighter than `threshold` (0..1), plus a margin of its side.

    Connected blobs whose ink is under `min_share` of the largest blob's are wiped out first.
    """

    threshold: float = 0.25
    margin: float = 0.0
    min_share: float = 0.0


class ImageFit(Step, frozen=True, kw_only=True, tag="image.fit"):
    """Scale the longer side to `content` and place it in a `size` × `size` square of zeros.

    `centre = "mass"` puts the centre of brightness in the middle, as MNIST does; `"box"` the box.
    `brighten` stretches the result so that thin strokes reach 255 after shrinking.
    """

    size: int
    content: int
    centre: Literal["mass", "box"] = "mass"
    brighten: bool = False


class ImageResize(Step, frozen=True, kw_only=True, tag="image.resize"):
    """Resize to `height` × `width`; `crop` cuts the middle, `pad` adds zeros, `stretch` bends."""

    height: int
    width: int
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    filter: Literal["nearest", "bilinear", "bicubic", "lanczos", "box"] = "bilinear"


# ── audio: bytes → float32 (samples,) in -1..1 → … ───────────────────────────────────────────
class AudioDecode(Step, frozen=True, kw_only=True, tag="audio.decode"):
    """WAV file → float32 mono samples at `rate`; another rate is an error unless `resample`."""

    rate: int
    resample: bool = False
    min_seconds: float = 0.01
    max_seconds: float = 600.0


class AudioNormalize(Step, frozen=True, kw_only=True, tag="audio.normalize"):
    """Divide a recording, or each window, by its peak: the greatest `value` or `magnitude`.

    Silence (no positive peak) stays as it is.
    """

    peak: Literal["value", "magnitude"] = "magnitude"


class AudioWindow(Step, frozen=True, kw_only=True, tag="audio.window"):
    """Samples → float32 (n, length): windows of `length` samples, the last one padded with zeros.

    `hop` samples lie between the starts of two windows; 0 means one window only: the first
    `length` samples.
    """

    length: int
    hop: int = 0


class AudioLogMel(Step, frozen=True, kw_only=True, tag="audio.log_mel"):
    """(n, length) → float32 (n, frames, mels): log mel energies.

    `scale` "htk" or "slaney" is the mel formula; the sides of the triangles are straight over
    `triangles` "hz" (librosa, torchaudio) or "mel" (TensorFlow). `power` 1 is the magnitude, 2 the
    energy. `log` is "natural", "log10" or "db" (10·log10, with `top_db` below the maximum as the
    floor if given); `offset` is added before the logarithm. `high_hz` 0 is half the rate.
    """

    rate: int
    frame: int
    hop: int
    fft: int
    mels: int
    low_hz: float = 0.0
    high_hz: float = 0.0
    window: Literal["hann", "hamming", "none"] = "hann"
    periodic: bool = True
    centre: bool = False
    power: float = 2.0
    scale: Literal["htk", "slaney"] = "htk"
    triangles: Literal["hz", "mel"] = "hz"
    normalize: Literal["none", "slaney"] = "none"
    log: Literal["natural", "log10", "db"] = "natural"
    offset: float = 1e-6
    top_db: float | None = None


class AudioMfcc(Step, frozen=True, kw_only=True, tag="audio.mfcc"):
    """(n, frames, mels) log mel energies → float32 (n, frames, coefficients): DCT-II.

    `norm` "ortho" is orthonormal; "htk" scales every coefficient by √(2/mels), as HTK and
    TensorFlow do, which makes the first √2 larger; "none" is the plain sum of cosines, times 2.
    """

    coefficients: int
    first: int = 0
    norm: Literal["ortho", "htk", "none"] = "ortho"


# ── text: str → … ─────────────────────────────────────────────────────────────────────────────
class TextNormalize(Step, frozen=True, kw_only=True, tag="text.normalize"):
    """Text → text: NFKC, typographic quotes made plain, white space joined.

    `lower` makes it lower case; `digits = "zero"` writes every digit as 0; more than `max_chars`
    characters (0: no limit) keep a head and a tail of half that each. Nothing left is an error.
    """

    lower: bool = True
    max_chars: int = 0
    digits: Literal["keep", "zero"] = "keep"


SurfaceFact = Literal[
    "link",
    "email",
    "phone",
    "short_code",
    "money",
    "digit_share",
    "digits",
    "capital_share",
    "shouted_share",
    "exclamations",
    "questions",
    "length",
    "words",
]


class TextHashNgrams(Step, frozen=True, kw_only=True, tag="text.hash_ngrams"):
    """Text → float32 (1, 2**bits + number of surface facts): weights of hashed n-grams.

    `chars` and `words` are [shortest, longest] (empty: none); `weight` "binary", "count" or "log"
    (1 + ln count); `norm` "l2" or "none". The hash is FNV-1a 32 bit over UTF-8, folded to `bits`
    by xor. `lower` hashes the text in lower case. `surface` names facts about the text as it came
    in (capitals and all), each 0..1 times `surface_scale`, after the n-grams; they are defined in
    `aiosd/pipelines/surface.py`.
    """

    bits: Annotated[int, msgspec.Meta(ge=4, le=20)]
    chars: list[int] = msgspec.field(default_factory=lambda: [2, 5])
    words: list[int] = msgspec.field(default_factory=lambda: [1, 2])
    weight: Literal["binary", "count", "log"] = "log"
    norm: Literal["l2", "none"] = "l2"
    lower: bool = True
    surface: list[SurfaceFact] = msgspec.field(default_factory=list)
    surface_scale: float = 0.1


class TextWordIds(Step, frozen=True, kw_only=True, tag="text.word_ids"):
    """Text → (1, length) ids of whole words from a vocabulary file of `word id` lines or words.

    The text is cut at `pattern`, which is one set of characters, as in `[^a-z]+`. Words beyond
    `length` are dropped; a shorter text is filled with `pad`; `start` is an id put before all.
    """

    file: str
    length: int
    pattern: str = r"[^\w']+"
    start: int | None = None
    pad: int = 0
    unknown: int = 2
    dtype: Literal["int32", "float32"] = "int32"


class TextWordpiece(Step, frozen=True, kw_only=True, tag="text.wordpiece"):
    """Text → int32 (1, length) ids by greedy longest match over a BERT vocabulary file."""

    file: str
    length: int
    lower: bool = True


# ── series: samples → float32 (length, columns) → … ──────────────────────────────────────────


class SeriesDecode(Step, frozen=True, kw_only=True, tag="series.decode"):
    """Series input → float32 (length, columns), with a policy for samples that are NaN.

    `nan`: "reject" is an error; "hold" repeats the last reading, "interpolate" draws a line; both
    for at most `max_gap` samples on end (0: any number), and a gap at an end takes the nearest
    reading. Infinity is always an error.
    """

    columns: int = 1
    min_length: int = 1
    max_length: int = 1_000_000
    nan: Literal["reject", "hold", "interpolate"] = "reject"
    max_gap: int = 0


class SeriesScale(Step, frozen=True, kw_only=True, tag="series.scale"):
    """Scale each column: by its own values, or by constants of the package.

    "zscore": mean and deviation. "robust": median, and the largest of (q95 − q5) / 3.29,
    (q75 − q25) / 1.35 and a fifth of the deviation, so that neither spikes nor long flat parts
    decide. "minmax": to 0..1. "fixed": `mean` and `scale`, one each or one per column. A column
    that does not vary becomes zeros. `compress` "asinh" bends large values (10 → 3), then `clip`
    (0: none) bounds the magnitude.
    """

    method: Literal["zscore", "robust", "minmax", "fixed"] = "zscore"
    mean: list[float] = msgspec.field(default_factory=list)
    scale: list[float] = msgspec.field(default_factory=list)
    compress: Literal["none", "asinh"] = "none"
    clip: float = 0.0


class SeriesWindow(Step, frozen=True, kw_only=True, tag="series.window"):
    """(length, columns) → float32 (n, window, columns): overlapping windows, `hop` apart.

    A series shorter than a window is an error; fewer than `hop` samples after the last whole
    window are not looked at. `normalize` works on each window and column.
    """

    length: int
    hop: int = 1
    normalize: Literal["none", "zscore", "mean"] = "none"


# ── any tensor ────────────────────────────────────────────────────────────────────────────────
class TensorDecode(Step, frozen=True, kw_only=True, tag="tensor.decode"):
    """Tensor input → array of `dtype` and `shape` (-1 fits any length)."""

    dtype: Literal["float32", "int8", "uint8", "int16", "int32", "int64"]
    shape: list[int]


class TensorAffine(Step, frozen=True, kw_only=True, tag="tensor.affine"):
    """Multiply by `scale`, add `offset`; the result is float32."""

    scale: float = 1.0
    offset: float = 0.0


class TensorWindow(Step, frozen=True, kw_only=True, tag="tensor.window"):
    """(rows, …) → (n, length · …): flat windows of `length` rows, `hop` apart."""

    length: int
    hop: int = 1


PreStep = (
    ImageDecode
    | ImageInk
    | ImageCropContent
    | ImageFit
    | ImageResize
    | AudioDecode
    | AudioNormalize
    | AudioWindow
    | AudioLogMel
    | AudioMfcc
    | TextNormalize
    | TextHashNgrams
    | TextWordIds
    | TextWordpiece
    | SeriesDecode
    | SeriesScale
    | SeriesWindow
    | TensorDecode
    | TensorAffine
    | TensorWindow
)
