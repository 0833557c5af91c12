"""Figures with their intervals and targets, as rows of a table and as JSON."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

_Z = 1.959964


@dataclass(frozen=True)
class Row:
    """One figure: what, of which split, how many texts, its 95 % interval, and its target."""

    name: str
    value: float
    split: str
    count: int
    low: float | None = None
    high: float | None = None
    target: str = ""
    reached: bool | None = None

    def as_json(self) -> dict[str, object]:
        """Return the row for JSON."""
        return asdict(self)

    def line(self) -> str:
        """Return the row for people."""
        between = f"{self.low:.4f} to {self.high:.4f}" if self.low is not None else ""
        verdict = "" if self.reached is None else "reached" if self.reached else "NOT reached"
        return (
            f"{self.name:<58} {self.value:>9.4f}  {between:<18} {self.count:>6}  "
            f"{self.split:<22} {self.target:<9} {verdict}"
        )


def share(name: str, good: int, count: int, split: str, least: float | None = None) -> Row:
    """Return a share with Wilson's interval (1927)."""
    middle, half = _wilson(good, count)
    value = good / max(1, count)
    goal = "" if least is None else f">= {least:g}"
    reached = None if least is None else value >= least
    return Row(name, value, split, count, middle - half, middle + half, goal, reached)


def area(
    name: str, inside: Sequence[float], outside: Sequence[float], split: str, least: float
) -> Row:
    """Return the area under the ROC with the interval of Hanley and McNeil (1982)."""
    good, bad = np.asarray(inside), np.asarray(outside)
    value = float(np.mean([np.mean(good > each) + 0.5 * np.mean(good == each) for each in bad]))
    first, second = value / (2 - value), 2 * value * value / (1 + value)
    spread = (
        value * (1 - value)
        + (len(good) - 1) * (first - value**2)
        + (len(bad) - 1) * (second - value**2)
    ) / (len(good) * len(bad))
    half = _Z * math.sqrt(max(0.0, spread))
    count = len(good) + len(bad)
    high = min(1.0, value + half)
    return Row(name, value, split, count, value - half, high, f">= {least:g}", value >= least)


def plain(name: str, value: float, split: str, count: int, most: float | None = None) -> Row:
    """Return a figure without an interval; `most` is what it may be."""
    goal = "" if most is None else f"<= {most:g}"
    reached = None if most is None else value <= most
    return Row(name, value, split, count, target=goal, reached=reached)


def _wilson(good: int, count: int) -> tuple[float, float]:
    """Return middle and half width of Wilson's interval."""
    count = max(1, count)
    part, square = good / count, _Z * _Z / count
    middle = (part + square / 2) / (1 + square)
    half = _Z * math.sqrt(part * (1 - part) / count + square / (4 * count)) / (1 + square)
    return middle, half
