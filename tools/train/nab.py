"""The Numenta Anomaly Benchmark as arrays, its fixed split, and one way to score every detector.

Split: within each family of series, sorted by name, every third one (the first, the fourth ...) is
held out; the rule was fixed before any result was seen.

Scoring is by events. Alarms closer than 1 % of the series' length are one episode. A labelled
window is found if an episode touches it; an episode that touches no window is one false alarm.
As in the benchmark, the first 15 % of a series are not scored.
"""

import csv
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PROBATION = 0.15
MERGE = 0.01
LARGE = 8  # members of a family that is one fold of a cross-validation


@dataclass(frozen=True, eq=False)
class Series:
    """One series: its values (n,), its labelled windows [start, end) and samples per day."""

    name: str
    values: NDArray[np.float64]
    windows: tuple[tuple[int, int], ...]
    seconds: NDArray[np.float64]
    held_out: bool

    @property
    def family(self) -> str:
        """The folder the series is in."""
        return self.name.split("/")[0]

    @property
    def labels(self) -> NDArray[np.bool_]:
        """Which samples lie in a labelled window."""
        inside = np.zeros(len(self.values), dtype=bool)
        for start, end in self.windows:
            inside[start:end] = True
        return inside


@dataclass(frozen=True)
class Count:
    """Windows found, false episodes, windows missed."""

    found: int = 0
    false: int = 0
    missed: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.found + other.found, self.false + other.false, self.missed + other.missed)

    @property
    def precision(self) -> float:
        """Found over found and false; 1 if nothing was said."""
        said = self.found + self.false
        return self.found / said if said else 1.0

    @property
    def recall(self) -> float:
        """Found over all windows; 1 if there are none."""
        there = self.found + self.missed
        return self.found / there if there else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean, from the counts; 1 if there is nothing to find and nothing said."""
        total = 2 * self.found + self.false + self.missed
        return 2 * self.found / total if total else 1.0


def load_nab(folder: Path) -> list[Series]:
    """Read `folder`/data and `folder`/labels/combined_windows.json."""
    windows = json.loads((folder / "labels" / "combined_windows.json").read_text())
    found = []
    for family in sorted(path for path in (folder / "data").iterdir() if path.is_dir()):
        for index, path in enumerate(sorted(family.glob("*.csv"))):
            name = f"{family.name}/{path.name}"
            found.append(_read(name, path, windows.get(name, []), held_out=index % 3 == 0))
    return found


def _read(name: str, path: Path, labels: list[list[str]], *, held_out: bool) -> Series:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    times = [datetime.fromisoformat(row["timestamp"]) for row in rows]
    seconds = np.array([(time - times[0]).total_seconds() for time in times])
    start_of_day = times[0].hour * 3600 + times[0].minute * 60
    spans = []
    for first, last in labels:
        low, high = (
            (datetime.fromisoformat(each) - times[0]).total_seconds() for each in (first, last)
        )
        inside = np.flatnonzero((seconds >= low - 1) & (seconds <= high + 1))
        spans.append((int(inside[0]), int(inside[-1]) + 1))
    values = np.array([float(row["value"]) for row in rows])
    return Series(name, values, tuple(spans), seconds + start_of_day, held_out)


def episodes(alarms: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return [start, end) of the episodes of alarms, merged over gaps of 1 % of the length."""
    gap = max(1, round(MERGE * len(alarms)))
    spans: list[tuple[int, int]] = []
    for place in np.flatnonzero(alarms):
        if spans and place - spans[-1][1] < gap:
            spans[-1] = (spans[-1][0], int(place) + 1)
        else:
            spans.append((int(place), int(place) + 1))
    return spans


def score(series: Series, alarms: NDArray[np.bool_]) -> Count:
    """Count the events of one series; `alarms` is (n,)."""
    alarms = alarms.copy()
    alarms[: round(PROBATION * len(alarms))] = False
    said = episodes(alarms)
    found = sum(any(s < end and e > start for s, e in said) for start, end in series.windows)
    false = sum(not any(s < end and e > start for start, end in series.windows) for s, e in said)
    return Count(found, false, len(series.windows) - found)


def zscore(series: Series) -> NDArray[np.float64]:
    """Baseline 1: distance from the mean in standard deviations of the series."""
    values = series.values
    return np.abs(values - values.mean()) / max(float(values.std()), 1e-12)


def seasonal(series: Series, *, weekly: bool = False) -> NDArray[np.float64]:
    """Baseline 2: distance from the median of the same time of day, in MADs of that distance."""
    period = 604_800 if weekly else 86_400
    slots = 48 * (7 if weekly else 1)
    slot = (series.seconds % period / period * slots).astype(int)
    rest = np.zeros(len(series.values))
    for each in np.unique(slot):
        chosen = slot == each
        rest[chosen] = series.values[chosen] - np.median(series.values[chosen])
    spread = 1.4826 * float(np.median(np.abs(rest)))
    if spread <= 0:
        spread = max(float(rest.std()), 1e-12)
    return np.abs(rest) / spread


def smoothed(scores: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return the centred moving average over `width` samples."""
    padded = np.pad(scores, (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.full(width, 1 / width), "valid")


def tune(scores: dict[str, NDArray[np.float64]], series: list[Series]) -> float:
    """Return the threshold with the best summed F1 over `series`."""
    every = np.concatenate([scores[each.name] for each in series])
    best = (-1.0, 0.0)
    for threshold in np.unique(np.quantile(every, np.linspace(0.9, 0.99999, 120))):
        total = sum((score(each, scores[each.name] >= threshold) for each in series), Count())
        best = max(best, (total.f1, float(threshold)))
    return best[1]


def folds(series: list[Series]) -> list[list[Series]]:
    """Return `series` by family, a family of more than eight in two halves."""
    groups = []
    for family in sorted({each.family for each in series}):
        members = [each for each in series if each.family == family]
        half = (len(members) + 1) // 2 if len(members) > LARGE else len(members)
        groups += [part for part in (members[:half], members[half:]) if part]
    return groups


def crossed(scores: dict[str, NDArray[np.float64]], series: list[Series]) -> Count:
    """Count events of each fold with the threshold tuned on the others, and add them up."""
    total = Count()
    for fold in folds(series):
        threshold = tune(scores, [each for each in series if each not in fold])
        total = sum((score(each, scores[each.name] >= threshold) for each in fold), total)
    return total
