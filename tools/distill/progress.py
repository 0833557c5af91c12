"""How far something is: a bar on a terminal, a line now and then in a pipe."""

import sys
import time
from typing import TextIO

WIDTH = 24
# Seconds between two lines in a pipe, and between two drawings on a terminal.
PIPE_SECONDS, SCREEN_SECONDS = 20.0, 0.1


class Progress:
    """One bar; shares only ever grow within it."""

    def __init__(self, title: str, stream: TextIO | None = None) -> None:
        """Take what is being done."""
        self._title = title
        self._stream = stream or sys.stderr
        self._start = time.monotonic()
        self._shown = -1e9
        self._last = ""

    def show(self, share: float, **figures: float) -> None:
        """Show how far it is (0..1), with a few figures."""
        share = min(1.0, max(0.0, share))
        now = time.monotonic()
        line = bar(self._title, share, now - self._start, figures)
        self._last = line
        screen = self._stream.isatty()
        if now - self._shown < (SCREEN_SECONDS if screen else PIPE_SECONDS):
            return
        self._shown = now
        self._stream.write(f"\r{line}\x1b[K" if screen else line + "\n")
        self._stream.flush()

    def end(self) -> None:
        """Leave the last state standing."""
        if self._last:
            self._stream.write(f"\r{self._last}\n" if self._stream.isatty() else self._last + "\n")
            self._stream.flush()


def bar(title: str, share: float, seconds: float, figures: dict[str, float]) -> str:
    """Return the bar as a line: share, seconds so far and, once known, seconds left."""
    full = round(share * WIDTH)
    left = f", {seconds / share - seconds:.0f} s left" if 0.02 < share < 1 else ""
    numbers = "".join(f"  {name} {value:.4f}" for name, value in figures.items())
    drawn = "█" * full + "·" * (WIDTH - full)
    return f"{title:<22} {drawn} {share:4.0%} {seconds:.0f} s{left}{numbers}"
