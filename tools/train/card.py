"""Figures of a model card: Wilson intervals, and the `files` and `figures` tables of a manifest.

A manifest is written by hand from words and by this file from numbers: a template holds the words
(strings with `@name@` marks in each recipe), and the functions here make the rest, so that a
rebuilt package never carries an old digest or an old figure.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec


@dataclass(frozen=True)
class Measured:
    """One measured figure; `low` and `high` bound it with 95 % confidence where known."""

    name: str
    value: float
    data: str
    samples: int = 0
    low: float | None = None
    high: float | None = None

    def line(self) -> str:
        """Return the figure as a line for people."""
        bounds = "" if self.low is None else f" [{self.low:.4f}, {self.high:.4f}]"
        return f"{self.name:<28} {self.value:.4f}{bounds}  n={self.samples}  {self.data}"


def wilson(good: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the Wilson score interval of the share `good` of `count` (Wilson 1927)."""
    if count == 0:
        return 0.0, 1.0
    share = good / count
    denominator = 1.0 + z * z / count
    centre = (share + z * z / (2 * count)) / denominator
    half = z / denominator * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)


def share(name: str, good: int, count: int, data: str) -> Measured:
    """Return the share `good` of `count` with its Wilson interval."""
    low, high = wilson(good, count)
    value = good / count if count else 0.0
    return Measured(name, round(value, 4), data, count, round(low, 4), round(high, 4))


def file_table(path: Path, role: str = "") -> str:
    """Return the `[[files]]` table of one file of a package."""
    data = path.read_bytes()
    lines = [
        "[[files]]",
        f"path = {quote(path.name)}",
        f"size = {len(data)}",
        f"sha256 = {quote(hashlib.sha256(data).hexdigest())}",
    ]
    if role:
        lines.append(f"role = {quote(role)}")
    return "\n".join(lines) + "\n"


def figure_tables(figures: Sequence[Measured]) -> str:
    """Return the `[[card.figures]]` tables."""
    tables = []
    for figure in figures:
        lines = [
            "[[card.figures]]",
            f"name = {quote(figure.name)}",
            f"value = {figure.value}",
            f"data = {quote(figure.data)}",
        ]
        if figure.samples:
            lines.append(f"samples = {figure.samples}")
        if figure.low is not None and figure.high is not None:
            lines += [f"low = {figure.low}", f"high = {figure.high}"]
        tables.append("\n".join(lines) + "\n")
    return "\n".join(tables)


def quote(text: str) -> str:
    """Return `text` as a TOML basic string; JSON's escapes are a subset of TOML's."""
    return json.dumps(text, ensure_ascii=False)


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace each `@name@` of `template`; a value without a place is an error.

    Raises:
        ValueError: a value has no place in the template.
    """
    for name, value in values.items():
        mark = f"@{name}@"
        if mark not in template:
            raise ValueError(f"the template has no {mark}")
        template = template.replace(mark, value)
    return template


def step_tables(table: str, steps: Sequence[msgspec.Struct]) -> str:
    """Return the `[[pre]]` or `[[post]]` tables of these steps, every parameter written out."""
    tables = []
    for step in steps:
        values = msgspec.to_builtins(step)
        lines = [f"{key} = {_plain(value)}" for key, value in values.items() if value is not None]
        tables.append("\n".join([f"[[{table}]]", *lines]) + "\n")
    return "\n".join(tables)


def _plain(value: object) -> str:
    """Return a text, a number, a truth value or a list of them as TOML."""
    return json.dumps(value, ensure_ascii=False)
