"""The built-in steps that a package may name in its pipelines: their parameters, and nothing else.

A manifest holds a list of `pre` steps (input → what the engine takes) and `post` steps (what the
engine gives → answer). Each step here is data; `aiosd.pipelines` holds the code that runs it, and
no code ever comes from a package. The text in `file` fields names a file of the package.

Shapes are without the batch axis; `n` is the number of windows that one input falls into.
"""

from typing import Annotated, Literal

import msgspec


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="step"):
    """What all steps share: the key `step` holds the name."""


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


# ── after the engine ─────────────────────────────────────────────────────────────────────────
class ScoresSoftmax(Step, frozen=True, kw_only=True, tag="scores.softmax"):
    """Logits → probabilities, divided by `temperature` first."""

    temperature: float = 1.0


class ScoresSigmoid(Step, frozen=True, kw_only=True, tag="scores.sigmoid"):
    """Logits → independent probabilities."""

    scale: float = 1.0
    bias: float = 0.0


class ScoresMean(Step, frozen=True, kw_only=True, tag="scores.mean"):
    """Average the scores of the n windows."""


class ScoresTopK(Step, frozen=True, kw_only=True, tag="scores.top_k"):
    """Scores → `label`, `score` and `top` (the k best), by the labels of the package.

    `none_below` turns a best score under it into the label `none_label`; `none_measure` is what is
    compared: the best `score`, or the `energy` (log-sum-exp) of the logits before the softmax.
    `score` and `top` then still tell of the real labels, the best first.
    """

    k: int = 5
    labels: list[str] = msgspec.field(default_factory=list)
    file: str = ""
    none_below: float | None = None
    none_measure: Literal["score", "energy", "max_logit"] = "score"
    none_label: str = "none"
    drop_first: bool = False


class ScoresThreshold(Step, frozen=True, kw_only=True, tag="scores.threshold"):
    """One score → `label` (`labels[1]` at or over `threshold`, else `labels[0]`) and `score`."""

    threshold: float
    labels: list[str]
    index: int = 0


class BoxesDecode(Step, frozen=True, kw_only=True, tag="boxes.decode"):
    """The four outputs of TFLite's detection post-processing → list of boxes in 0..1."""

    file: str = ""
    labels: list[str] = msgspec.field(default_factory=list)
    min_score: float = 0.5
    label_offset: int = 0
    max_boxes: int = 100


class BoxesNms(Step, frozen=True, kw_only=True, tag="boxes.nms"):
    """Drop boxes that overlap a better one of the same label by more than `iou`."""

    iou: float = 0.5


class SeriesReconstruction(Step, frozen=True, kw_only=True, tag="series.reconstruction"):
    """Windows and their reconstruction → error per window; over `threshold` is an anomaly.

    Output: `anomaly`, `score` (the largest or the mean error, by `reduce`), `threshold`, `scores`
    per window, and `spans`: [start, end) sample indices of windows over the threshold, merged
    where they touch. `hop` and `length` are those of the windows before, in samples (rows);
    `length` 0 takes the windows' second axis. With `reduce` "mean" only the mean decides.
    """

    threshold: float
    measure: Literal["mse", "mae", "max"] = "mse"
    reduce: Literal["max", "mean"] = "max"
    hop: int = 1
    length: int = 0


class SeriesForecast(Step, frozen=True, kw_only=True, tag="series.forecast"):
    """Windows and the forecast of what follows each → error per sample against what came.

    Output: `forecast`, what follows the last window, as a list of samples. With a `threshold`
    also `anomaly`, `score` (the largest error), `threshold`, `scores` per sample from the end of
    the first window on, and `spans` as [start, end) sample indices. `hop` is that of the windows
    before, which must not be longer than a window.
    """

    threshold: float | None = None
    measure: Literal["absolute", "squared"] = "absolute"
    hop: int = 1


class SeriesOutliers(Step, frozen=True, kw_only=True, tag="series.outliers"):
    """A vector per window → how unlike the rest of this very request each window is.

    Features are divided by the `quantile` of their distances from their median (at least
    `floor`). A window's distance is the root mean square difference within which the nearest
    `share` of the windows lie (at most 1,024 of them, evenly spaced; none less than `apart`
    samples away), so that what comes back every day is no outlier, however rare. Averaged over
    `smooth` windows it is the score; windows at or over `threshold` are anomalies. Alarms less
    than `merge` samples apart are one span; spans shorter than `min_length` samples are dropped.
    `length` and `hop` are those of the windows, of which there must be 8. Output as by
    series.reconstruction; a span covers the middles of its windows, and the whole outer half of
    the first and the last.
    """

    threshold: float
    length: int
    hop: int = 1
    quantile: float = 0.9
    floor: float = 0.5
    share: float = 0.04
    apart: int = 0
    smooth: int = 1
    merge: int = 0
    min_length: int = 1


class TensorValues(Step, frozen=True, kw_only=True, tag="tensor.values"):
    """Outputs as plain lists of numbers: `values`, a list per output tensor."""


class EmbeddingNormalize(Step, frozen=True, kw_only=True, tag="embedding.normalize"):
    """Embedding divided by its length."""


class TextStrip(Step, frozen=True, kw_only=True, tag="text.strip"):
    """Generated text without white space at its ends."""


class JsonParse(Step, frozen=True, kw_only=True, tag="json.parse"):
    """Generated text → the JSON value in it, as `value`; not JSON is an error of the expert."""


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
PostStep = (
    ScoresSoftmax
    | ScoresSigmoid
    | ScoresMean
    | ScoresTopK
    | ScoresThreshold
    | BoxesDecode
    | BoxesNms
    | SeriesReconstruction
    | SeriesForecast
    | SeriesOutliers
    | TensorValues
    | TensorAffine
    | EmbeddingNormalize
    | TextStrip
    | JsonParse
)
