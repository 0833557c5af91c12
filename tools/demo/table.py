"""How the demonstration looks: aligned columns, colours only on a terminal that wants them."""

import os
import sys
from collections.abc import Sequence

WIDTHS = (16, 23, 4, 6, 6, 6, 6, 6)
HEADS = ("expert", "answer", "", "queue", "load", "run", "RAM", "cost")
UNITS = ("", "", "", "ms", "ms", "ms", "MiB", "mJ")
# The three lines of text are to the left, numbers to the right.
TEXTS = 3

_BOLD, _DIM, _GREEN, _YELLOW, _BLUE, _RED, _END = (
    f"\033[{code}m" for code in ("1", "2", "32", "33", "34", "31", "0")
)
_STYLES = {
    "bold": _BOLD,
    "dim": _DIM,
    "good": _GREEN,
    "cold": _BLUE,
    "warm": _YELLOW,
    "bad": _RED,
}


def coloured() -> bool:
    """Tell whether to use colours: a terminal, and nobody said NO_COLOR."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def paint(text: str, style: str) -> str:
    """Return the text in a style, where colours are wanted."""
    return f"{_STYLES[style]}{text}{_END}" if coloured() else text


def heading(text: str) -> None:
    """Print a line that opens a part."""
    print(f"\n{paint(text, 'bold')}", flush=True)


def columns(*, joules: bool) -> None:
    """Print the heads of the table; what an answer cost only where that is known."""
    count = len(HEADS) if joules else len(HEADS) - 1
    print(paint("  " + _aligned(HEADS[:count]), "dim"))
    print(paint("  " + _aligned(UNITS[:count]), "dim"))


def row(expert: str, answer: str, cold: str, numbers: Sequence[float | None]) -> None:
    """Print one answer; a last number that is None is not known on this board."""
    shown = [f"{number:.1f}" for number in numbers if number is not None]
    cells = [expert, _cut(answer, WIDTHS[1]), cold, *shown]
    line = _aligned(cells)
    print("  " + line.replace(f" {cold} ", f" {paint(cold, cold)} ", 1), flush=True)


def note(mark: str, text: str, style: str = "dim") -> None:
    """Print something that happened beside the answers."""
    print(f"  {paint(mark, style)} {text}", flush=True)


def _aligned(cells: Sequence[str]) -> str:
    """Return cells under their heads: text to the left, numbers to the right."""
    parts = [
        cell.ljust(width) if place < TEXTS else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(cells, WIDTHS, strict=False))
    ]
    return " ".join(parts).rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
