"""How a fetch goes, on one line of a terminal."""

import shutil
from collections.abc import Callable
from typing import TextIO

_KIB = 1024.0
_BETWEEN_SECONDS = 0.1
_WIDEST_BAR = 40


def size(count: float) -> str:
    """Return bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < _KIB:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KIB
    return f"{count:.2f} GiB"


class Bar:
    """A bar that is drawn at most ten times a second; it needs a terminal."""

    def __init__(self, stream: TextIO, now: Callable[[], float]) -> None:
        """Draw on `stream`; `now` is a clock that never goes back."""
        self._stream = stream
        self._now = now
        self._what = ""
        self._total = self._here = self._came = 0
        self._began = self._drawn = 0.0

    def begin(self, name: str, release: int, total: int, fetched: int) -> None:
        """Draw an empty bar, or one that is as full as an earlier run left it."""
        self._what = f"{name} {release}"
        self._total, self._here, self._came = total, fetched, 0
        self._began = self._now()
        self._draw()

    def came(self, count: int) -> None:
        """Let it grow."""
        self._here += count
        self._came += count
        if self._what and self._now() - self._drawn >= _BETWEEN_SECONDS:
            self._draw()

    def end(self) -> None:
        """Draw it a last time, and leave its line."""
        if self._what:
            self._draw()
            self._stream.write("\n")
            self._stream.flush()
            self._what = ""

    def _draw(self) -> None:
        self._drawn = now = self._now()
        seconds = now - self._began
        share = min(1.0, self._here / self._total) if self._total else 1.0
        words = f" {share:4.0%}  {size(self._here)} of {size(self._total)}"
        if seconds > 0 and self._came:
            rate = self._came / seconds
            words += f"  {size(rate)}/s"
            left = max(0, self._total - self._here) / rate
            if left:
                words += f"  {_clock(left)} left"
        columns = shutil.get_terminal_size().columns
        room = min(_WIDEST_BAR, columns - len(self._what) - len(words) - 4)
        full = round(share * room)
        bar = f" [{'#' * full}{'-' * (room - full)}]" if room > 0 else ""
        # The line is cleared to its end: a shorter one leaves nothing of a longer one behind.
        self._stream.write(f"\r{(self._what + bar + words)[: columns - 1]}\x1b[K")
        self._stream.flush()


class Quiet:
    """Nobody looks."""

    def begin(self, name: str, release: int, total: int, fetched: int) -> None:
        """Say nothing."""
        del name, release, total, fetched

    def came(self, count: int) -> None:
        """Say nothing."""
        del count

    def end(self) -> None:
        """Say nothing."""


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
