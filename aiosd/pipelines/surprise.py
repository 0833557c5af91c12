"""Series steps after the engine: which windows or samples are not as they should be."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aiosd.domain.errors import ExpertFailedError, InvalidError, PackageError
from aiosd.domain.post_steps import SeriesForecast, SeriesOutliers, SeriesReconstruction
from aiosd.pipelines.answer import Answer
from aiosd.pipelines.rarity import MAX_RARE, rarity

Floats = NDArray[np.float32]
Spans = list[tuple[int, int]]

# Of series.outliers: windows to compare with, the least of them, and the largest share.
MAX_OTHERS, MIN_WINDOWS, MAX_SHARE = 1024, 8, 0.5
_BLOCK = 512  # windows compared at a time, to bound memory

# Magnitudes (n, values) → one error per window (n,).
_MEASURES: dict[str, Callable[[Floats], Floats]] = {
    "mse": lambda rest: (rest * rest).mean(axis=1),
    "mae": lambda rest: rest.mean(axis=1),
    "max": lambda rest: rest.max(axis=1),
}


def reconstruction(spec: SeriesReconstruction, _folder: Path) -> Callable[[Answer], Answer]:
    """Return series.reconstruction: windows (n, …) and their copies (n, …) → verdict.

    Raises:
        PackageError: hop is not positive.
    """
    if spec.hop < 1 or spec.length < 0:
        raise PackageError("series.reconstruction: hop must be positive, length not negative")

    def step(answer: Answer) -> Answer:
        given, made = _pair(answer)
        if given.size != made.size:
            raise ExpertFailedError(
                f"the model makes {made.shape} of windows {given.shape}: no reconstruction",
                reason="the model's output has another shape than its input",
            )
        rest = np.abs(given.reshape(len(given), -1) - made.reshape(len(given), -1))
        errors: Floats = _MEASURES[spec.measure](rest)
        over = np.flatnonzero(errors >= spec.threshold)
        # Windows that touch or overlap are one span.
        length = spec.length or given.shape[1]
        spans = _merged([(int(i) * spec.hop, int(i) * spec.hop + length) for i in over], gap=1)
        score = float(errors.max() if spec.reduce == "max" else errors.mean())
        return _verdict(answer, errors, score, spec.threshold, spans)

    return step


def forecast(spec: SeriesForecast, _folder: Path) -> Callable[[Answer], Answer]:
    """Return series.forecast: windows (n, w, columns), forecasts (n, h, columns) → errors.

    Raises:
        PackageError: hop is not positive.
    """
    if spec.hop < 1:
        raise PackageError("series.forecast: hop must be positive")

    def step(answer: Answer) -> Answer:
        given, made = _pair(answer)
        given = given.reshape(len(given), given.shape[1], -1)
        length, columns = given.shape[1:]
        if made.size % (len(given) * columns) or spec.hop > length:
            raise ExpertFailedError(
                f"the model makes {made.shape} of windows {given.shape}, {spec.hop} apart: no "
                "forecast of their samples",
                reason="the model's output does not fit its input",
            )
        made = made.reshape(len(given), -1, columns)
        output = {**answer.output, "forecast": made[-1].tolist()}
        answer = replace(answer, output=output)
        if spec.threshold is None:
            return answer
        errors = _forecast_errors(given, made, spec)
        over = np.flatnonzero(errors >= spec.threshold) + length
        spans = _merged([(int(i), int(i) + 1) for i in over], gap=1)
        score = float(errors.max()) if errors.size else 0.0
        return _verdict(answer, errors, score, spec.threshold, spans)

    return step


def _forecast_errors(given: Floats, made: Floats, spec: SeriesForecast) -> NDArray[np.float64]:
    """Return the mean error of all forecasts of each sample after the first window.

    The samples are put together from the windows; where hop exceeds the forecast's reach, a
    sample that nobody forecast has error 0.
    """
    length, hop = given.shape[1], spec.hop
    series = _joined(given, hop)
    total, count = np.zeros(len(series)), np.zeros(len(series))
    for index, ahead in enumerate(made):
        start = index * hop + length
        actual = series[start : start + len(ahead)]
        rest = np.abs(actual - ahead[: len(actual)])
        rest = rest * rest if spec.measure == "squared" else rest
        total[start : start + len(actual)] += rest.mean(axis=1)
        count[start : start + len(actual)] += 1
    errors: NDArray[np.float64] = (total / np.maximum(count, 1))[length:]
    return errors


def outliers(spec: SeriesOutliers, _folder: Path) -> Callable[[Answer], Answer]:
    """Return series.outliers: a vector per window (n, features) → verdict.

    Raises:
        PackageError: a parameter is out of range.
    """
    if not (0 < spec.quantile < 1 and spec.floor > 0 and 0 < spec.share <= MAX_SHARE):
        raise PackageError(f"series.outliers: quantile in 0..1, floor > 0, share in 0..{MAX_SHARE}")
    if (
        not 1 <= spec.hop <= spec.length
        or min(spec.merge, spec.apart, spec.smooth - 1, spec.calm, spec.local, spec.rare) < 0
    ):
        raise PackageError("series.outliers: length >= hop >= 1, smooth >= 1, the rest >= 0")
    if not 0 < spec.rare_share <= MAX_RARE or spec.rare_times < 1:
        raise PackageError(f"series.outliers: rare_share in 0..{MAX_RARE}, rare_times >= 1")

    def step(answer: Answer) -> Answer:
        vectors = answer.tensors[0].reshape(len(answer.tensors[0]), -1).astype(np.float64)
        if len(vectors) < MIN_WINDOWS:
            raise InvalidError(
                f"the series holds {len(vectors)} windows of {spec.length} samples: {MIN_WINDOWS} "
                f"are needed to compare, {spec.length + (MIN_WINDOWS - 1) * spec.hop} samples",
                field="input.values",
            )
        distances, usual = _loneliness(vectors, spec)
        smooth = _smoothed(distances, spec.smooth)
        scores = smooth - spec.local * _smoothed(usual, spec.smooth) if spec.local else smooth
        if spec.calm:
            scores = scores / (spec.calm + np.median(smooth))
        if spec.rare:
            scores = _with_rare(scores, answer.prepared, spec)
        last = len(scores) - 1
        lead = (spec.length - spec.hop) // 2
        cells = [
            (
                0 if index == 0 else int(index) * spec.hop + lead,
                int(index) * spec.hop + (spec.length if index == last else lead + spec.hop),
            )
            for index in np.flatnonzero(scores >= spec.threshold)
        ]
        spans = [
            (start, end)
            for start, end in _merged(cells, gap=spec.merge + 1)
            if end - start >= spec.min_length
        ]
        return _verdict(answer, scores, float(scores.max()), spec.threshold, spans)

    return step


def _loneliness(
    vectors: NDArray[np.float64], spec: SeriesOutliers
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each window's distance to the nearest `share` of the others, and theirs: twice (n,).

    "Theirs" is the mean of the same distance over those nearest ones: how far apart windows lie
    thereabouts, after the local outlier factor (Breunig et al. 2000). Zeros where `local` is 0.
    """
    distance = np.abs(vectors - np.median(vectors, axis=0))
    scaled = vectors / np.maximum(np.quantile(distance, spec.quantile, axis=0), spec.floor)
    count, features = scaled.shape
    places = np.unique(np.linspace(0, count - 1, min(count, MAX_OTHERS)).astype(np.intp))
    others = scaled[places]
    # Never so far apart that fewer than `MAX_SHARE` of the windows are left to compare with.
    apart = min(max(1, spec.apart // spec.hop), max(1, count // 4))
    rank = max(1, int(spec.share * len(places))) - 1
    found, usual = np.empty(count), np.zeros(count)
    nearest = np.empty((count if spec.local else 0, rank + 1), np.int16)
    for start in range(0, count, _BLOCK):
        block = scaled[start : start + _BLOCK]
        rows = slice(start, start + len(block))
        squares = (
            (block * block).sum(axis=1)[:, np.newaxis]
            + (others * others).sum(axis=1)
            - 2 * (block @ others.T)
        )
        near = np.abs(np.arange(count)[rows, np.newaxis] - places) < apart
        squares[near] = np.inf
        if spec.local:
            order = np.argpartition(squares, rank, axis=1)[:, : rank + 1]
            nearest[rows] = order
            last = np.take_along_axis(squares, order[:, rank:], axis=1)[:, 0]
        else:
            last = np.partition(squares, rank, axis=1)[:, rank]
        found[rows] = np.sqrt(np.maximum(last, 0) / features)
    if spec.local:
        usual = found[places][nearest].mean(axis=1)
    return found, usual


def _with_rare(
    scores: NDArray[np.float64], prepared: tuple[Floats, ...], spec: SeriesOutliers
) -> NDArray[np.float64]:
    """Return scores (n,) that are at least `rare` times the rarity of a sample in the middle.

    Raises:
        ExpertFailedError: the model was not given so many windows, or not such ones.
    """
    given, count = prepared[0].shape[:2] if prepared else (), len(scores)
    if given != (count, spec.length):
        raise ExpertFailedError(
            f"windows of shape {given} went in, {count} answers came out: {spec.length} samples "
            "a window are needed to see which are rare",
            reason="the model does not answer per window",
        )
    series = _joined(prepared[0].reshape(count, spec.length, -1), spec.hop)
    lead = (spec.length - spec.hop) // 2
    places = np.clip((np.arange(len(series)) - lead) // spec.hop, 0, count - 1)
    least, found = scores[places] / spec.rare, scores.copy()
    for column in series.T:
        rare = rarity(column, least, (spec.rare_times, spec.rare_share), spec.apart)
        np.maximum.at(found, places, spec.rare * rare)
    return found


def _joined(windows: Floats, hop: int) -> NDArray[np.float64]:
    """Return the samples (n, columns) that windows (count, length, columns) are of."""
    rest = windows[1:, windows.shape[1] - hop :].reshape(-1, windows.shape[2])
    series: NDArray[np.float64] = np.concatenate([windows[0], rest]).astype(np.float64)
    return series


def _smoothed(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return the centred moving average; the ends are repeated outwards."""
    if width == 1:
        return values
    before = width // 2
    padded = np.pad(values, (before, width - 1 - before), mode="edge")
    total = np.cumsum(np.concatenate([[0.0], padded]))
    mean: NDArray[np.float64] = (total[width:] - total[:-width]) / width
    return mean


def _pair(answer: Answer) -> tuple[Floats, Floats]:
    """Return the windows that went into the model and what came out.

    Raises:
        ExpertFailedError: there is not one of each per window.
    """
    if not answer.prepared or not answer.tensors:
        raise ExpertFailedError("there are no windows to compare", reason="no tensors")
    given, made = answer.prepared[0], answer.tensors[0]
    if len(given) != len(made):
        raise ExpertFailedError(
            f"{len(given)} windows went in and {len(made)} came out",
            reason="the model does not answer per window",
        )
    return given.astype(np.float32), made.astype(np.float32)


def _merged(spans: Spans, *, gap: int) -> Spans:
    """Join spans, which are in order, that lie less than `gap` samples apart."""
    joined: Spans = []
    for start, end in spans:
        if joined and start - joined[-1][1] < gap:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _verdict(
    answer: Answer,
    scores: NDArray[np.float64] | Floats,
    score: float,
    threshold: float,
    spans: Spans,
) -> Answer:
    """Return the answer with what all series verdicts hold; `score` decides with `spans`."""
    output: dict[str, object] = {
        **answer.output,
        "anomaly": bool(spans) and score >= threshold,
        "score": score,
        "threshold": threshold,
        "spans": [list(span) for span in spans],
        "scores": [float(each) for each in scores],
    }
    return replace(answer, output=output)
