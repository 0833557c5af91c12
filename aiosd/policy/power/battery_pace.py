"""How many watts a battery can give until its day is over, with the reserve kept.

What is left above the reserve, divided by the time that is left. A board that stays below that
figure keeps its reserve, whatever the past was; one that takes less now may take more later.
"""

from aiosd.domain.power import BatteryReading, BatteryState

# A gauge counts in steps of one per cent, and rounds as it likes.
_GAUGE_STEP = 0.01
# Capacity is learnt over at least this much of it.
_LEARN_SHARE = 0.03
_ROUNDING = 1e-6
_SHORTEST_SECONDS = 3600.0


class BatteryPace:
    """Follows one battery from the moment when it is unplugged."""

    def __init__(
        self, reserve_share: float, day_seconds: float, capacity_joules: float | None = None
    ) -> None:
        """Take the part to keep, how long it must last, and what a full battery holds if known."""
        self.reserve_share, self.day_seconds = reserve_share, day_seconds
        self._capacity = capacity_joules
        self._known = capacity_joules is not None
        self._reading: BatteryReading | None = None
        self._ends: float | None = None
        self._at: float | None = None
        self._anchor: float | None = None
        self._joules = 0.0
        self._on_step = False

    @property
    def capacity_joules(self) -> float | None:
        """What a full battery holds, as far as it is known."""
        return self._capacity

    def on_battery(self, reading: BatteryReading | None, watts: float | None, now: float) -> None:
        """Take what the gauge says, and the board's power where the gauge does not say it."""
        if reading is None or reading.stuck or reading.share is None or not _drains(reading):
            self._reading = self._ends = self._at = self._anchor = None
            return
        if self._ends is None:
            self._ends = now + self.day_seconds
        self._learn(reading.share, reading.watts if reading.watts is not None else watts, now)
        self._reading = reading

    def watts(self, now: float) -> float | None:
        """Return what may be drawn on average from now on; None while no battery drains.

        None too while its capacity is unknown, but 0 at the reserve, which needs no capacity.
        """
        if self._reading is None or self._reading.share is None or self._ends is None:
            return None
        above = self._reading.share - _GAUGE_STEP - self.reserve_share
        if above <= 0:
            return 0.0
        if self._capacity is None:
            return None
        return above * self._capacity / max(self._ends - now, _SHORTEST_SECONDS)

    def _learn(self, share: float, watts: float | None, now: float) -> None:
        """Learn the capacity from what flowed while the gauge fell."""
        if self._known or watts is None:
            return
        if self._at is None or self._anchor is None or share > self._anchor:
            self._at, self._anchor, self._joules, self._on_step = now, share, 0.0, False
            return
        self._joules += watts * (now - self._at)
        self._at = now
        # Counting begins where the gauge moves: before that, nobody knows how far the step was.
        if share < self._anchor and not self._on_step:
            self._anchor, self._joules, self._on_step = share, 0.0, True
        elif self._anchor - share >= _LEARN_SHARE - _ROUNDING:
            found = self._joules / (self._anchor - share)
            self._capacity = found if self._capacity is None else (self._capacity + found) / 2
            self._anchor, self._joules = share, 0.0


def _drains(reading: BatteryReading) -> bool:
    """Tell whether the board lives on this battery."""
    return reading.state is BatteryState.DISCHARGING and not reading.charger
