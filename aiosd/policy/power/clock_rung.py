"""The rung between fewer threads and pauses: a slower clock, where that saves energy.

Work that is paused runs at full voltage; at a slower clock each cycle takes less. So what the
ladder takes as pauses (a duty below 1) is turned into clock, step by step, and given back in the
same steps. Each step waits until the one before has shown what it does: the meter answers through
the duty. A step up that had to be taken back makes the next one wait twice as long.
"""

from aiosd.policy.power.ladder import Patience

# Steps from the full clock down to this share of it. Below, the idle costs more than the clock
# saves: the work takes ever longer.
LOWEST_SHARE = 0.5
_STEP = 0.1
_PAUSED, _FREE = 0.9, 0.99
_SLOWER_SECONDS = 2.0
_FASTER_SECONDS, _LONGEST_SECONDS = 10.0, 160.0


class ClockRung:
    """The state machine: duty in, share of the full clock out."""

    def __init__(self) -> None:
        """Start at the full clock."""
        self.release()

    def release(self) -> None:
        """Go back to the full clock: there is no cap any more."""
        self._share = 1.0
        self._slower = Patience(_SLOWER_SECONDS)
        self._faster = Patience(_FASTER_SECONDS)
        self._raised: float | None = None

    @property
    def share(self) -> float:
        """The share of the full clock that is allowed now."""
        return self._share

    def step(self, duty: float, now: float) -> float:
        """Take the duty that the ladder allows; return the share of the clock."""
        if self._slower.holds(now, called=duty < _PAUSED and self._share > LOWEST_SHARE):
            if self._raised is not None and now - self._raised < _FASTER_SECONDS:
                self._faster.seconds = min(2 * self._faster.seconds, _LONGEST_SECONDS)
            self._move(-_STEP)
            self._raised = None
        elif self._faster.holds(now, called=duty >= _FREE and self._share < 1.0):
            if self._raised is not None:
                self._faster.seconds = _FASTER_SECONDS
            self._move(_STEP)
            self._raised = now
        return self._share

    def _move(self, by: float) -> None:
        """Take a step, and begin to wait anew."""
        self._share = round(min(1.0, max(LOWEST_SHARE, self._share + by)), 3)
        self._slower.since = self._faster.since = None
