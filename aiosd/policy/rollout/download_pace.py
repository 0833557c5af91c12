"""How fast a download may be, and how slow it may get before it is given up."""

from collections import deque
from dataclasses import dataclass, field

# So much of a second that was not used may be made up for.
_BURST_SECONDS = 0.25


@dataclass(frozen=True)
class PaceRules:
    """Bytes a second at most (0: no cap) and at least, the latter as the mean over a window."""

    cap: float = 0.0
    least: float = 0.0
    window_seconds: float = 30.0

    @property
    def bar(self) -> float:
        """The least rate that is asked for: never more than half of what the cap lets through."""
        return min(self.least, self.cap / 2) if self.cap else self.least


@dataclass(frozen=True)
class Step:
    """What follows from a piece: seconds to rest, and whether it all came too slowly."""

    rest_seconds: float
    too_slow: bool


@dataclass
class DownloadPace:
    """One download's pace; `now` in seconds of a clock that never goes back."""

    rules: PaceRules
    started: float
    _free_at: float = field(init=False)
    _pieces: deque[tuple[float, int]] = field(init=False, default_factory=deque)
    _within: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Nothing came yet."""
        self._free_at = self.started

    def took(self, count: int, now: float) -> Step:
        """Take note of `count` bytes."""
        self._pieces.append((now, count))
        self._within += count
        return Step(self._rest(count, now), self._too_slow(now))

    def _rest(self, count: int, now: float) -> float:
        """Return how long to wait so that the mean stays under the cap."""
        if not self.rules.cap:
            return 0.0
        self._free_at = max(self._free_at, now - _BURST_SECONDS) + count / self.rules.cap
        return max(0.0, self._free_at - now)

    def _too_slow(self, now: float) -> bool:
        """Tell whether less than the bar came within the last whole window."""
        window = self.rules.window_seconds
        while self._pieces and self._pieces[0][0] <= now - window:
            self._within -= self._pieces.popleft()[1]
        return now - self.started >= window and self._within < self.rules.bar * window
