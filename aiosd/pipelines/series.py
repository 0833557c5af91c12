"""Series steps before the engine: samples of any sensor become scaled windows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiosd.domain.errors import InvalidError, PackageError
from aiosd.domain.inputs import SeriesInput
from aiosd.domain.post_steps import SeriesForecast, SeriesOutliers, SeriesReconstruction
from aiosd.domain.pre_steps import SeriesDecode, SeriesScale, SeriesWindow
from aiosd.domain.step import Step
from aiosd.pipelines.surprise import forecast, outliers, reconstruction

Floats = NDArray[np.float32]

# Standard normal: q95 − q5 and q75 − q25 in deviations.
_NORMAL_90, _NORMAL_50 = 3.29, 1.35
_FLAT = 1e-6  # a window that deviates less has no shape to bring out
_LARGEST = float(np.finfo(np.float32).max)


def decode(spec: SeriesDecode, _folder: Path) -> Callable[[SeriesInput], Floats]:
    """Return series.decode: `SeriesInput` → float32 (length, columns), finite.

    Raises:
        PackageError: a limit of the step makes no sense.
    """
    if spec.columns < 1 or not 1 <= spec.min_length <= spec.max_length or spec.max_gap < 0:
        raise PackageError(
            "series.decode: needs columns >= 1, 1 <= min_length <= max_length, max_gap >= 0"
        )

    def step(value: SeriesInput) -> Floats:
        if value.columns != spec.columns:
            raise InvalidError(
                f"the series has {value.columns} columns: this expert takes {spec.columns}",
                field="input.columns",
            )
        samples, name = _samples(value)
        if samples.size % spec.columns:
            raise InvalidError(
                f"{samples.size} values are no whole number of samples of {spec.columns} columns",
                field=name,
            )
        series = samples.reshape(-1, spec.columns)
        if not spec.min_length <= len(series) <= spec.max_length:
            raise InvalidError(
                f"the series has {len(series)} samples: this expert takes "
                f"{spec.min_length} to {spec.max_length}",
                field=name,
            )
        _check_range(series, name)
        if np.isnan(series).any():
            series = _without_gaps(series, spec, name)
        return series.astype(np.float32)

    return step


def _samples(value: SeriesInput) -> tuple[NDArray[np.float64], str]:
    """Return the flat values and the name of the field they came in."""
    if value.values is not None and value.data is not None:
        raise InvalidError("the series has both values and data: send one", field="input.data")
    if value.values is not None:
        return np.asarray(value.values, dtype=np.float64), "input.values"
    data = memoryview(value.data or b"")
    if data.nbytes == 0:
        raise InvalidError(
            "the series is empty: send values, or float32 bytes as data", field="input.values"
        )
    if data.nbytes % 4:
        raise InvalidError(
            f"{data.nbytes} bytes are no whole number of little-endian float32 values of 4 bytes",
            field="input.data",
        )
    return np.frombuffer(data, dtype="<f4").astype(np.float64), "input.data"


def _check_range(series: NDArray[np.float64], name: str) -> None:
    """Raise InvalidError at the first sample that is infinite or beyond float32."""
    with np.errstate(invalid="ignore"):
        bad = np.flatnonzero((np.abs(series) > _LARGEST).any(axis=1))
    if bad.size:
        raise InvalidError(
            f"sample {bad[0]} is infinite or beyond float32: every value must be finite, "
            "or NaN for no reading",
            field=name,
        )


def _without_gaps(
    series: NDArray[np.float64], spec: SeriesDecode, name: str
) -> NDArray[np.float64]:
    """Fill the samples that are NaN by the step's policy."""
    missing = np.isnan(series)
    if spec.nan == "reject":
        first = int(np.flatnonzero(missing.any(axis=1))[0])
        raise InvalidError(
            f"sample {first} is NaN, no reading: this expert takes series without gaps",
            field=name,
        )
    filled = series.copy()
    for column in range(series.shape[1]):
        known = np.flatnonzero(~missing[:, column])
        if known.size == 0:
            raise InvalidError(f"column {column} holds no reading, only NaN", field=name)
        _check_gaps(known, len(series), spec.max_gap, name)
        places = np.arange(len(series))
        if spec.nan == "interpolate":
            filled[:, column] = np.interp(places, known, series[known, column])
        else:
            last = np.maximum(np.searchsorted(known, places, side="right") - 1, 0)
            filled[:, column] = series[known[last], column]
    return filled


def _check_gaps(known: NDArray[np.intp], length: int, max_gap: int, name: str) -> None:
    """Raise InvalidError if more than `max_gap` samples on end hold no reading."""
    edges = np.concatenate([[-1], known, [length]])
    gaps = np.diff(edges) - 1
    worst = int(np.argmax(gaps))
    if max_gap and gaps[worst] > max_gap:
        raise InvalidError(
            f"{gaps[worst]} samples on end from sample {edges[worst] + 1} are NaN: this expert "
            f"fills gaps of at most {max_gap}",
            field=name,
        )


def scale(spec: SeriesScale, _folder: Path) -> Callable[[Floats], Floats]:
    """Return series.scale: float32 (length, columns) → the same shape.

    Raises:
        PackageError: "fixed" without mean and scale of equal length, a scale of 0, or these given
            to another method.
    """
    fixed = spec.method == "fixed"
    if fixed != bool(spec.scale) or len(spec.mean) != len(spec.scale) or 0.0 in spec.scale:
        raise PackageError(
            'series.scale: "fixed", and only it, takes mean and scale of equal length, scale not 0'
        )
    if spec.clip < 0:
        raise PackageError("series.scale: clip must not be negative")

    def step(series: Floats) -> Floats:
        if fixed and len(spec.scale) not in {1, series.shape[1]}:
            raise PackageError(
                f"series.scale: {len(spec.scale)} constants for {series.shape[1]} columns"
            )
        wide = series.astype(np.float64)
        centre, spread = (np.array(spec.mean), np.array(spec.scale)) if fixed else _own(wide, spec)
        # A spread below what float32 can tell apart at that level is no variation at all.
        flat = np.abs(spread) <= 1e-7 * np.abs(centre) + 1e-30
        scaled = np.where(flat, 0.0, (wide - centre) / np.where(flat, 1.0, spread))
        if spec.compress == "asinh":
            scaled = np.arcsinh(scaled)
        if spec.clip:
            scaled = np.clip(scaled, -spec.clip, spec.clip)
        return scaled.astype(np.float32)

    return step


def _own(
    series: NDArray[np.float64], spec: SeriesScale
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return centre and spread of each column, from its own values."""
    match spec.method:
        case "minmax":
            low = series.min(axis=0)
            return low, series.max(axis=0) - low
        case "robust":
            q5, q25, q50, q75, q95 = np.percentile(series, [5, 25, 50, 75, 95], axis=0)
            inner = np.maximum((q95 - q5) / _NORMAL_90, (q75 - q25) / _NORMAL_50)
            return q50, np.maximum(inner, series.std(axis=0) / 5)
        case _:
            return series.mean(axis=0), series.std(axis=0)


def window(spec: SeriesWindow, _folder: Path) -> Callable[[Floats], Floats]:
    """Return series.window: float32 (length, columns) → (n, window, columns).

    Raises:
        PackageError: length or hop is not positive.
    """
    if spec.length < 1 or spec.hop < 1:
        raise PackageError("series.window: length and hop must be positive")

    def step(series: Floats) -> Floats:
        if len(series) < spec.length:
            raise InvalidError(
                f"the series has {len(series)} samples: one window takes {spec.length}",
                field="input.values",
            )
        views = np.lib.stride_tricks.sliding_window_view(series, spec.length, axis=0)
        windows: Floats = views[:: spec.hop].transpose(0, 2, 1)
        if spec.normalize != "none":
            windows = windows - windows.mean(axis=1, keepdims=True)
        if spec.normalize == "zscore":
            deviation = windows.std(axis=1, keepdims=True)
            windows = windows / np.where(deviation > _FLAT, deviation, 1.0)
        return np.ascontiguousarray(windows, dtype=np.float32)

    return step


STEPS: dict[type[Step], Callable[[Any, Path], Callable[[Any], object]]] = {
    SeriesDecode: decode,
    SeriesScale: scale,
    SeriesWindow: window,
    SeriesReconstruction: reconstruction,
    SeriesForecast: forecast,
    SeriesOutliers: outliers,
}
