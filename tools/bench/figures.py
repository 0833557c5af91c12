"""A figure: what was measured, what was to be reached, and whether it was."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median


@dataclass(frozen=True)
class Figure:
    """One line of the table; `target` and `limit` are empty where nothing is to be reached."""

    group: str
    name: str
    unit: str
    value: float | None
    low: float | None = None
    high: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """`pass`, `FAIL`, `skipped`, or nothing where nothing is to be reached."""
        if self.value is None:
            return "skipped"
        if self.at_most is None and self.at_least is None:
            return ""
        fine = (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )
        return "pass" if fine else "FAIL"

    @property
    def target(self) -> str:
        """The bound as people write it."""
        if self.at_most is not None and self.at_least is not None:
            return f"{self.at_least:g} – {self.at_most:g}"
        if self.at_most is not None:
            return f"≤ {self.at_most:g}"
        return f"≥ {self.at_least:g}" if self.at_least is not None else ""

    def plain(self) -> dict[str, object]:
        """Return the figure for a JSON file."""
        return {**asdict(self), "verdict": self.verdict}


def over(
    group: str, name: str, unit: str, rounds: Sequence[float], **rest: float | str | None
) -> Figure:
    """Return the median of several rounds as a figure, with the lowest and the highest."""
    return Figure(
        group,
        name,
        unit,
        median(rounds),
        min(rounds),
        max(rounds),
        **rest,  # type: ignore[arg-type]
    )


def skipped(group: str, name: str, why: str) -> Figure:
    """Return a figure that cannot be measured here, and why."""
    return Figure(group, name, "", None, note=why)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of the values do not exceed."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, max(0, -int(-share * len(ranked) // 1) - 1))]


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as lines of text, one group after the other."""
    rows = [("figure", "median", "min – max", "unit", "target", "")]
    rows += [_row(figure) for figure in figures]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = []
    for row, figure in zip(rows, (None, *figures), strict=True):
        cells = [
            cell.rjust(width) if 1 <= place <= 2 else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        note = f"  {figure.note}" if figure and figure.note else ""
        lines.append("  ".join(cells).rstrip() + note)
    return "\n".join(lines)


def _row(figure: Figure) -> tuple[str, str, str, str, str, str]:
    spread = f"{_number(figure.low)} – {_number(figure.high)}" if figure.low is not None else ""
    return (
        f"{figure.group}: {figure.name}",
        _number(figure.value),
        spread,
        figure.unit,
        figure.target,
        figure.verdict,
    )


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
