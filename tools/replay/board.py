"""A simulated board: power by busy cores, heat by one RC, a battery, and a meter with noise."""

import math
import random
from dataclasses import dataclass

from aiosd.domain.power import (
    BatteryReading,
    BatteryState,
    CounterSample,
    HeatReading,
    PowerSample,
)


@dataclass(frozen=True)
class BoardSpec:
    """What the board is really like; the policies are told only what a profile would say."""

    cores: int = 4
    idle_watts: float = 2.8
    core_watts: float = 1.725
    noise_share: float = 0.03
    step_watts: float = 0.04
    ambient_celsius: float = 25.0
    celsius_per_watt: float = 5.0
    heat_seconds: float = 120.0
    battery_joules: float = 0.0
    battery_start: float = 1.0
    meter: str = "power"


class Board:
    """The truth: integrals of what was used by whom, temperature, charge."""

    def __init__(self, spec: BoardSpec, seed: int) -> None:
        self.spec = spec
        self._chance = random.Random(seed)
        self.watts = spec.idle_watts
        self.joules = 0.0
        self.celsius = spec.ambient_celsius + spec.celsius_per_watt * spec.idle_watts
        self.charge = spec.battery_start * spec.battery_joules
        self._counter = 0.0

    def advance(self, seconds: float, busy_cores: float) -> None:
        """Let time pass with so many cores busy."""
        spec = self.spec
        self.watts = spec.idle_watts + spec.core_watts * min(busy_cores, spec.cores)
        used = self.watts * seconds
        self.joules += used
        self.charge = max(0.0, self.charge - used)
        target = spec.ambient_celsius + spec.celsius_per_watt * self.watts
        self.celsius += (target - self.celsius) * -math.expm1(-seconds / spec.heat_seconds)

    def sample(self, now: float) -> PowerSample | CounterSample | None:
        """Read the meter: watts with noise, in steps as an INA3221 has; or a counter."""
        spec = self.spec
        if spec.meter == "none":
            return None
        if spec.meter == "counter":
            return CounterSample(self.joules, now, 0.02)
        read = self.watts * (1 + self._chance.gauss(0.0, spec.noise_share))
        if spec.step_watts:
            read = round(read / spec.step_watts) * spec.step_watts
        return PowerSample(read, now, spec.noise_share * read)

    def heat(self) -> HeatReading:
        """Read the one zone."""
        return HeatReading("cpu-thermal", self.celsius)

    def battery(self) -> BatteryReading | None:
        """Read the gauge, in steps of one per cent."""
        if not self.spec.battery_joules:
            return None
        share = round(self.charge / self.spec.battery_joules, 2)
        return BatteryReading(share, BatteryState.DISCHARGING, self.watts, charger=False)
