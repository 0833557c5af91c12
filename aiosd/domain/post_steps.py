"""The steps from what an engine gives to the answer; see `step.py`."""

from typing import Literal

import msgspec

from aiosd.domain.pre_steps import TensorAffine
from aiosd.domain.step import Step


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
    `smooth` windows it is the score. With `local` over 0 it is first lessened by `local` times the
    mean distance of those nearest windows: where windows lie far apart anyway, as at the ends of a
    series that wanders, one that does so tells less. With `calm` over 0 scores are then divided by
    `calm` plus the median of the distances, so that a series that never quite repeats has to stand
    out from its own unrest, and one that repeats closely is judged strictly. With `rare` over 0 a
    window's score is at least `rare` times the distance of a value in its middle from the
    `rare_times` nearest values of the series, or the nearest `rare_share` of them if those are
    fewer, none less than `apart` samples away: a single spike is lost in a window, and one that
    came so often before is none. Windows at or over `threshold` are anomalies.
    Alarms less than `merge` samples apart are one span; spans shorter than `min_length` samples
    are dropped.
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
    calm: float = 0.0
    local: float = 0.0
    rare: float = 0.0
    rare_times: int = 9
    rare_share: float = 0.006
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
