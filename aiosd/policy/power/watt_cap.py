"""The watt cap of this moment: the owner's, moved by heat, supply and battery, with hysteresis."""

from collections.abc import Iterable
from dataclasses import dataclass

from aiosd.domain.power import BatteryReading, BatteryState, HeatReading, ThrottleBits
from aiosd.policy.power.battery_pace import BatteryPace
from aiosd.policy.power.power_rules import PowerRules

# Of what a battery can spare for work on average, so many times as much for a moment.
_BURST = 6.0


@dataclass(frozen=True)
class Cap:
    """The cap in watts (None: no bound is known), what moved it, and whether anything is short.

    `factor` is the part that the tables leave, for boards of which no watts are known.
    """

    watts: float | None
    factor: float
    why: tuple[str, ...]

    @property
    def short(self) -> bool:
        """Whether heat, supply or battery took something away."""
        return bool(self.why)


class WattCap:
    """Remembers how hot and how empty it was, so that a reading on a step does not flap."""

    def __init__(self, rules: PowerRules) -> None:
        """Start cool, full and well supplied."""
        self.rules = rules
        self._celsius: float | None = None
        self._zone = ""
        self._battery: BatteryReading | None = None
        self._share: float | None = None
        self._supply: dict[str, tuple[float, float]] = {}
        self._pace = BatteryPace(rules.reserve_share, rules.battery_seconds, rules.battery_joules)

    def on_rules(self, rules: PowerRules) -> None:
        """Use other rules from now on; what was learnt of the battery stays."""
        self.rules = rules
        self._pace.reserve_share = rules.reserve_share
        self._pace.day_seconds = rules.battery_seconds

    def on_heat(self, readings: Iterable[HeatReading]) -> None:
        """Take the zones; those that the profile names count, all where it names none.

        Without a reading that counts, the last one holds: a sensor that fails does not cool.
        """
        names = {zone.type for zone in self.rules.heat.zones}
        counted = [each for each in readings if not names or each.zone in names]
        if not counted:
            return
        hottest = max(counted, key=lambda each: each.celsius)
        self._zone = hottest.zone
        slack = self.rules.heat_hysteresis_celsius
        if self._celsius is None:
            self._celsius = hottest.celsius
        self._celsius = max(hottest.celsius, min(self._celsius, hottest.celsius + slack))

    def on_throttle(self, bits: ThrottleBits, now: float) -> None:
        """Take the firmware's word; it holds for a while after the bit is gone."""
        until = now + self.rules.supply_hold_seconds
        if bits.under_voltage:
            self._supply["under-voltage"] = (until, self.rules.under_voltage_factor)
        if bits.throttled or bits.frequency_capped or bits.soft_limit:
            self._supply["the firmware slows down"] = (until, self.rules.throttled_factor)

    def on_battery(self, reading: BatteryReading | None, watts: float | None, now: float) -> None:
        """Take the battery; `watts` is the board's power, for gauges that do not say it."""
        self._pace.on_battery(reading, watts, now)
        self._battery = reading
        share = reading.share if reading else None
        if share is None or (reading and reading.state is not BatteryState.DISCHARGING):
            self._share = share
            return
        slack = self.rules.share_hysteresis
        before = share if self._share is None else self._share
        self._share = min(share, max(before, share - slack))

    def cap(self, now: float, idle_watts: float | None = None) -> Cap:
        """Return the cap of this moment.

        Of a battery's pace only what is beyond the idle is for work. That may be spent at a
        multiple of its mean, because requests come in bursts: what is spent early is missing
        later, and once the pace is the idle's nothing is left to spend.
        """
        why: list[str] = []
        factor = min(self._heat(why), self._supplied(why, now), self._charged(why))
        whole = self.rules.cap_watts
        if whole is None:
            whole = self.rules.load_watts if factor < 1.0 else None
        watts = None if whole is None else whole * factor
        pace = self._pace.watts(now) if self.rules.lasting else None
        if pace is not None and idle_watts is not None and pace > idle_watts:
            pace = idle_watts + _BURST * (pace - idle_watts)
        if pace is not None and (watts is None or pace < watts):
            if pace <= 0:
                why.insert(0, f"battery at its reserve of {self.rules.reserve_share:.0%}")
            else:
                why.insert(0, f"battery: {pace:.2f} W, to last its day")
            watts = pace
        return Cap(watts, factor, tuple(why))

    def _heat(self, why: list[str]) -> float:
        """Return what the heat leaves."""
        if self._celsius is None:
            return 1.0
        factor = self.rules.heat.factor(self._celsius)
        if factor < 1.0:
            why.append(f"{self._zone} {self._celsius:.0f} °C: {factor:.0%} of the cap")
        return factor

    def _supplied(self, why: list[str], now: float) -> float:
        """Return what the supply leaves."""
        self._supply = {name: each for name, each in self._supply.items() if each[0] > now}
        for name, (_, factor) in self._supply.items():
            why.append(f"{name}: {factor:.0%} of the cap")
        return min((factor for _, factor in self._supply.values()), default=1.0)

    def _charged(self, why: list[str]) -> float:
        """Return what the battery's table leaves."""
        battery = self._battery
        if battery is None:
            return 1.0
        held = BatteryReading(
            self._share, battery.state, battery.watts, battery.charger, battery.stuck
        )
        factor = self.rules.battery.factor(held)
        if factor < 1.0:
            left = "on the charger" if battery.charger else f"{self._share or 0.0:.0%} left"
            why.append(f"battery, {left}: {factor:.0%} of the cap")
        return factor
