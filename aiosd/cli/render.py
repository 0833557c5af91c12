"""What people read: aligned tables, human units, colours only where they help."""

import json
import math
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

WIDTH = 80
GAP = "  "
MIB = 1024 * 1024
KIB = 1024
SHOWN_NUMBERS = 8
COLOURS = {"good": "32", "warn": "33", "bad": "31", "faint": "2", "bold": "1"}
STATES = {
    "ready": "good",
    "loading": "warn",
    "parking": "warn",
    "parked": "faint",
    "draining": "warn",
    "failed": "bad",
    "cold": "faint",
    "ok": "good",
    "warn": "warn",
    "fail": "bad",
}
# Everything a terminal would obey rather than show, but for tab and newline.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """Return `text` without the control characters that could take over a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def size(value: object) -> str:
    """Return bytes as KiB, MiB or GiB with three digits, or a dash."""
    if not isinstance(value, (int, float)):
        return "-"
    if value < MIB:
        return f"{value / KIB:.0f} KiB"
    unit, name = (MIB, "MiB") if value < KIB * MIB else (KIB * MIB, "GiB")
    number = value / unit
    return f"{number:.0f} {name}" if number >= 100 else f"{number:.1f} {name}"  # noqa: PLR2004 -- three digits


def cost_words(cost: object) -> str:
    """Return what bringing a release cost; nothing where it cost nothing or is not known."""
    if not isinstance(cost, Mapping):
        return ""
    fetched, written, shared = (cost.get(key) or 0 for key in ("fetched", "written", "shared"))
    words = [f"{size(fetched)} fetched"] if fetched else []
    words += [f"{size(written)} written"] if written != fetched else []
    words += [f"{size(shared)} shared with older files"] if shared else []
    return ", ".join(words)


def span(value: object) -> str:
    """Return seconds as the one or two largest units, or a dash."""
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return "-"
    seconds = int(value)
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def milliseconds(value: object) -> str:
    """Return milliseconds with three digits that matter, or a dash."""
    if not isinstance(value, (int, float)):
        return "-"
    places = 2 if value < 1 else 1 if value < 100 else 0  # noqa: PLR2004 -- three digits
    return f"{value:.{places}f} ms"


class Paper:
    """Writes to stdout as the caller wants it: for people, or as JSON."""

    def __init__(self, *, as_json: bool, out: TextIO | None = None) -> None:
        """Write to `out`, else to stdout as it is then."""
        self.as_json = as_json
        self._out = out or sys.stdout
        self.terminal = self._out.isatty()
        self._colour = self.terminal and not as_json and not os.getenv("NO_COLOR")

    def document(self, value: object) -> None:
        """Write one JSON document on a line of its own."""
        print(to_json(value), file=self._out, flush=True)

    def line(self, text: str = "") -> None:
        """Write a line."""
        print(text, file=self._out)

    def piece(self, text: str) -> None:
        """Write a piece of an answer at once."""
        self._out.write(printable(text) if self.terminal else text)
        self._out.flush()

    def picture(self, text: str) -> None:
        """Write text with the terminal's own orders in it, at once."""
        self._out.write(text)
        self._out.flush()

    def paint(self, text: str, how: str) -> str:
        """Return `text` in a colour, where colours are wanted."""
        code = COLOURS.get(how)
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and code else text

    def table(
        self, titles: Sequence[str], rows: Sequence[Sequence[str]], *, right: str = ""
    ) -> None:
        """Write a table; titles in `right` (comma-separated) are aligned to the right.

        On a terminal the last column is cut to its width.
        """
        cells = [[printable(cell) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
        if self.terminal:
            columns = shutil.get_terminal_size((WIDTH, 24)).columns
            left = columns - sum(widths[:-1]) - len(GAP) * (len(widths) - 1)
            widths[-1] = min(widths[-1], max(left, len(titles[-1])))
        ends = [title in right.split(",") for title in titles]
        self.line(self.paint(GAP.join(map(_fit, titles, widths, ends)).rstrip(), "bold"))
        for row in cells:
            fitted = list(map(_fit, row, widths, ends))
            for place, title in enumerate(titles):
                if title == "STATE":
                    how = STATES.get(row[place].partition(" ")[0], "")
                    fitted[place] = self.paint(fitted[place], how)
            self.line(GAP.join(fitted).rstrip())

    def facts(self, facts: Mapping[str, object]) -> None:
        """Write names and values, aligned; empty values are left out."""
        shown = {name: value for name, value in facts.items() if value not in (None, "", [], {})}
        width = max(map(len, shown), default=0)
        for name, value in shown.items():
            self.line(f"{self.paint(name.ljust(width), 'faint')}  {printable(plain(value))}")


def to_json(value: object) -> str:
    """Return `value` as JSON on one line; bytes become lists of numbers, NaN becomes null."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError):
        return json.dumps(_clean(value), ensure_ascii=False)


def _clean(value: object) -> object:
    """Return `value` with what JSON lacks replaced."""
    if isinstance(value, Mapping):
        return {str(key): _clean(item) for key, item in value.items()}
    if isinstance(value, (bytes, list, tuple)):
        return [_clean(item) for item in value]
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):  # noqa: PLR0124 -- NaN
        return None
    return value


def plain(value: object) -> str:
    """Return a value as a person would write it; many numbers are cut short."""
    match value:
        case str():
            return value
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case list() if value and all(isinstance(one, (str, int, float)) for one in value):
            return _listed(value)
        case Mapping() if value and all(isinstance(one, FLAT) for one in value.values()):
            return ", ".join(_fact(str(name), one) for name, one in value.items())
        case _:
            return to_json(value)


def _listed(values: Sequence[str | float]) -> str:
    """Return a list of words or numbers; many numbers are cut short."""
    numbers = all(isinstance(one, (int, float)) for one in values)
    if not numbers or len(values) <= SHOWN_NUMBERS:
        return ", ".join(map(plain, values))
    shown = ", ".join(map(plain, values[:SHOWN_NUMBERS]))
    return f"{shown}, … ({len(values)} values; --json shows all)"


FLAT = (str, bool, int, float, list, type(None))


def _fact(name: str, value: object) -> str:
    """Return one entry of a map: what is true by its name alone."""
    words = name.replace("_", " ")
    if value is True:
        return words
    if value is False:
        return f"no {words}"
    return f"{words} {plain(value) if value not in (None, [], '') else 'none'}"


def _fit(cell: str, width: int, end: bool) -> str:  # noqa: FBT001 -- mapped over columns
    """Return a cell of exactly `width` characters, cut with an ellipsis if it is longer."""
    if len(cell) > width:
        return f"{cell[: width - 1]}…"
    return cell.rjust(width) if end else cell.ljust(width)
