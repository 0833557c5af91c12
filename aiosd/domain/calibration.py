"""What a calibration found: how many watts this very board takes, by busy cores and their clock."""

from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated

import msgspec
from msgspec import Meta

Positive = Annotated[float, Meta(gt=0)]
AtLeastZero = Annotated[float, Meta(ge=0)]
# Less than this part of the energy of a cycle is worth a slower clock.
_CLEARLY = 0.9


@dataclass(frozen=True)
class Load:
    """What one clock group did during a reading: busy cores and clock, both on average."""

    policy: str
    busy_cores: float
    khz: int


@dataclass(frozen=True)
class Observation:
    """What the owner's meter said while the cores were so busy; `what` names it to people."""

    what: str
    watts: float
    loads: tuple[Load, ...] = ()

    @property
    def busy_cores(self) -> float:
        """All busy cores."""
        return sum(load.busy_cores for load in self.loads)


class Point(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One busy core at `khz` takes `add_watts` more than at the point below it.

    What is kept is the increase, and it cannot be negative, so that no calibration can say that a
    faster core takes less.
    """

    khz: Annotated[int, Meta(gt=0)]
    add_watts: AtLeastZero


class PolicyCost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cost of a busy core of one cpufreq policy, straight between its points."""

    policy: str
    points: Annotated[list[Point], Meta(min_length=1)]

    def curve(self) -> tuple[tuple[int, float], ...]:
        """Return (kHz, watts of one busy core), ascending in both."""
        points = sorted(self.points, key=lambda point: point.khz)
        watts = accumulate(point.add_watts for point in points)
        return tuple((point.khz, total) for point, total in zip(points, watts, strict=True))


class Calibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The state file of a calibration.

    `board` is the profile's name; a calibration of another board is refused. `meter` is what the
    owner read the watts from, and `residual_watts` the root of the mean square of what the fit
    leaves.
    """

    board: str
    meter: str
    idle_watts: Positive
    residual_watts: AtLeastZero
    policies: Annotated[list[PolicyCost], Meta(min_length=1)]

    @property
    def slower_clock_saves(self) -> bool:
        """Whether a cycle at the slowest clock that was measured takes clearly less than at full.

        Without two clocks nothing is known, and nothing is claimed.
        """
        curves = [cost.curve() for cost in self.policies]
        pairs = [(curve[0], curve[-1]) for curve in curves if len(curve) > 1 and curve[-1][1] > 0]
        slow = sum(watts / khz for (khz, watts), _ in pairs)
        full = sum(watts / khz for _, (khz, watts) in pairs)
        return bool(pairs) and slow < _CLEARLY * full
