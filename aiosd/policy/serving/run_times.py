"""How long an expert's answers take: the 95th percentile, followed from answer to answer.

Stochastic approximation of a quantile (Robbins and Monro 1951) in the logarithm: up by 0.95 of a
step for an answer that took longer, down by 0.05 for one that did not; steps shrink to `_STEP`.
"""

from dataclasses import dataclass

_SHARE = 0.95
_STEP = 0.1
# Before so many answers nothing is foretold.
FEWEST = 20


@dataclass
class _Track:
    """The estimate of one expert."""

    seconds: float
    count: int = 0


class RunTimes:
    """The estimates of all experts that have answered."""

    def __init__(self) -> None:
        """Start with none."""
        self._tracks: dict[str, _Track] = {}

    def on_run(self, expert: str, seconds: float) -> None:
        """Take the time of an answer."""
        track = self._tracks.get(expert)
        if track is None:
            self._tracks[expert] = _Track(max(seconds, 1e-6), 1)
            return
        track.count += 1
        step = max(_STEP, 2.0 / track.count)
        if seconds > track.seconds:
            track.seconds *= 1.0 + _SHARE * step
        else:
            track.seconds /= 1.0 + (1.0 - _SHARE) * step

    def p95(self, expert: str) -> float | None:
        """Return the time that 95 of 100 answers keep within, or None while too few are known."""
        track = self._tracks.get(expert)
        return track.seconds if track and track.count >= FEWEST else None

    def forget(self, expert: str) -> None:
        """Forget an expert: it was removed, or is another release now."""
        self._tracks.pop(expert, None)
