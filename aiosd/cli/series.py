"""A series from a CSV or JSON text."""

import csv
import io
import json
from dataclasses import dataclass

from aiosd.domain.errors import InvalidError

NAN = float("nan")


@dataclass(frozen=True)
class Table:
    """Rows of numbers, one per sample, and the names of columns that were left out."""

    rows: list[list[float]]
    left_out: list[str]


def read_series(text: str) -> Table:
    """Return the samples in a CSV or JSON text.

    CSV: one sample per line, one column per value; a first line without numbers names the columns;
    a column whose first value is no number (such as a time stamp) is left out; an empty cell is
    NaN. JSON: a list of numbers, or of rows of numbers; null is NaN.

    Raises:
        InvalidError: neither, or a cell that is no number; with the line.
    """
    start = text.lstrip()[:1]
    return _from_json(text) if start in {"[", "{"} else _from_csv(text)


def _from_json(text: str) -> Table:
    try:
        tree = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidError(f"the series is no JSON: {error}", field="input.values") from error
    if isinstance(tree, dict):
        tree = tree.get("values")
    if not isinstance(tree, list) or not tree:
        raise InvalidError(
            "a series in JSON is a list of numbers, or of rows of numbers", field="input.values"
        )
    rows = [row if isinstance(row, list) else [row] for row in tree]
    try:
        return Table([[NAN if one is None else float(one) for one in row] for row in rows], [])
    except (TypeError, ValueError) as error:
        raise InvalidError(f"the series: {error}", field="input.values") from error


def _from_csv(text: str) -> Table:
    try:
        cells = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text, None))]
    except csv.Error as error:
        raise InvalidError(f"the series is no CSV: {error}", field="input.values") from error
    lines = [(number, row) for number, row in enumerate(cells, 1) if any(row)]
    names: list[str] = []
    if lines and not any(map(_is_number, lines[0][1])):
        names = lines.pop(0)[1]
    if not lines:
        raise InvalidError("the series has no samples", field="input.values")
    first = lines[0][1]
    kept = [place for place, cell in enumerate(first) if not cell or _is_number(cell)]
    if not kept:
        raise InvalidError(
            f"line {lines[0][0]} has no numbers: {', '.join(first)}", field="input.values"
        )
    left_out = [
        names[place] if place < len(names) else f"column {place + 1}"
        for place in range(len(first))
        if place not in kept
    ]
    return Table([_numbers(row, kept, len(first), number) for number, row in lines], left_out)


def _numbers(row: list[str], kept: list[int], width: int, line: int) -> list[float]:
    if len(row) != width:
        raise InvalidError(
            f"line {line} has {len(row)} values, the first sample has {width}", field="input.values"
        )
    try:
        return [float(row[place]) if row[place] else NAN for place in kept]
    except ValueError as error:
        raise InvalidError(f"line {line}: {error}", field="input.values") from error


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
