"""Two packages that judge series, beside each other on many series of our own making.

Nobody learned from these series or chose by them. Each package is asked as it is, with its steps,
its model and the threshold of its manifest; series are what the intervals are drawn over.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aiosd.domain.inputs import SeriesInput
from aiosd.domain.manifest import Manifest
from aiosd.domain.post_steps import SeriesOutliers
from aiosd.domain.request import Sampling
from aiosd.engines.litert import LitertEngine, find_library
from aiosd.pipelines.pipeline import Pipeline
from tools.distill.comparing import aligned, package_in
from tools.distill.engine import read_manifest
from tools.distill.fault import DistillError
from tools.train.cycling import cycling
from tools.train.nab import Count, Series, score
from tools.train.plant import plant
from tools.train.recurring import recurring

Counts = NDArray[np.int64]
DRAWS = 2_000
# How many of each kind, and of what seed: others than those that anything was chosen by.
KINDS: dict[str, tuple[Callable[..., list[Series]], int, int]] = {
    "recurring": (recurring, 480, 72001),
    "plant": (plant, 960, 72002),
    "cycling": (cycling, 480, 72003),
}


class Detector:
    """A package that gives a score per window, asked without a worker around it."""

    def __init__(self, folder: Path) -> None:
        """Load it.

        Raises:
            DistillError: it is none for series, or does not end in series.outliers.
        """
        manifest: Manifest = read_manifest(folder)
        spec = manifest.post[-1] if manifest.post else None
        if manifest.model is None or not isinstance(spec, SeriesOutliers):
            raise DistillError(f"{folder} does not end in series.outliers")
        self._spec = spec
        self._pipeline = Pipeline(manifest, folder)
        self._engine = LitertEngine(find_library(""))
        self._engine.load({"model": folder / manifest.model.path}, manifest.engine, threads=1)

    def count(self, series: Series) -> Count:
        """Return the events of one series, alarms being the samples in windows over threshold."""
        value = SeriesInput(values=series.values.tolist())
        prepared = self._pipeline.prepare(value, Sampling())
        (piece,) = self._engine.run(prepared, cancelled=lambda: False)
        scores = np.array(self._pipeline.finish(prepared, piece)["scores"])
        lead = (self._spec.length - self._spec.hop) // 2
        places = (np.arange(len(series.values)) - lead) // self._spec.hop
        alarms = scores >= self._spec.threshold
        return score(series, alarms[np.clip(places, 0, len(scores) - 1)])


def compare_series(first: Path, second: Path, sizes: float = 1.0) -> list[str]:
    """Return lines: a kind of series, events of both packages, and the second's gain in F1.

    Events are F1 (found, false, missed).

    `sizes` is the part of each kind's series that is judged.

    Raises:
        DistillError: one of them gives no score per window.
    """
    detectors = [Detector(package_in(path)) for path in (first, second)]
    rows: list[tuple[str, ...]] = [
        ("series", "n", "faults", "first", "second", "second over first (95 %)")
    ]
    for name, (make, count, seed) in KINDS.items():
        series = make(max(2, round(sizes * count)), seed=seed)
        found = [[each.count(one) for one in series] for each in detectors]
        value, low, high = gain_in_f1(found[1], found[0])
        rows.append((
            name, str(len(series)), str(sum(len(each.windows) for each in series)),
            *(_said(sum(each, Count())) for each in found),
            f"{value:+.3f} ({low:+.3f} to {high:+.3f})",
        ))  # fmt: skip
    return aligned(rows)


def gain_in_f1(
    first: Sequence[Count], second: Sequence[Count], seed: int = 0
) -> tuple[float, float, float]:
    """Return how much higher the first's F1 over all events is, and its 95 % interval.

    Percentile interval of a paired bootstrap over series (Efron, Tibshirani 1993).

    Raises:
        ValueError: they are not of the same series.
    """
    both = [
        np.array([(each.found, each.false, each.missed) for each in one]).reshape(-1, 3)
        for one in (first, second)
    ]
    if len(both[0]) != len(both[1]) or not len(both[0]):
        raise ValueError("a gain needs the same series of both, and at least one")
    chance = np.random.default_rng(seed)
    draws = chance.multinomial(len(both[0]), np.full(len(both[0]), 1 / len(both[0])), DRAWS)
    apart = _f1(draws @ both[0]) - _f1(draws @ both[1])
    low, high = np.quantile(apart, [0.025, 0.975])
    whole = _f1(both[0].sum(axis=0)[None]) - _f1(both[1].sum(axis=0)[None])
    return float(whole[0]), float(low), float(high)


def _f1(counts: Counts) -> NDArray[np.float64]:
    """Return F1 of each row of found, false, missed; 1 where there is nothing."""
    found, total = 2.0 * counts[:, 0], (counts * [2, 1, 1]).sum(axis=1)
    return np.where(total > 0, found / np.maximum(total, 1), 1.0)


def _said(count: Count) -> str:
    return f"{count.f1:.3f} ({count.found}, {count.false}, {count.missed})"
