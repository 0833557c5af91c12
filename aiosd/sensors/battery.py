"""Batteries and chargers of the kernel's power_supply class, with a nose for gauges that lie.

HATs with a gauge often say "Discharging" whatever happens, and some never move. A battery that is
missing is None; one that has not moved for an hour while it claims to discharge is `stuck`; one
that fills while it claims to discharge is `unknown`. USB's negotiated limits are no readings: of
chargers only `online` is taken.
"""

import dataclasses
from pathlib import Path

from aiosd.domain.board import PowerFacts
from aiosd.domain.power import BatteryReading, BatteryState, EnergySource, PowerSample, Scope
from aiosd.sensors.kernel_file import ROOT, SensorError, read_number, read_text

_SUPPLIES = "sys/class/power_supply"
_CHARGERS = {"Mains", "USB", "USB_PD", "USB_C", "USB_DCP", "Wireless"}
_STATES = {
    "Charging": BatteryState.CHARGING,
    "Discharging": BatteryState.DISCHARGING,
    "Full": BatteryState.FULL,
}
_MICRO = 1e-6
_STUCK_SECONDS = 3600.0
# Gauges report mean currents, with an error that no driver tells; this is our guess.
_UNCERTAINTY_SHARE = 0.1


def read_battery(root: Path = ROOT) -> BatteryReading | None:
    """Read the board's batteries as one; None if there is none.

    Batteries of devices (a mouse's: scope "Device") and empty bays do not count. Of several the
    smallest share counts, and their watts add up if all are in one state.
    """
    chargers: list[bool] = []
    batteries: list[BatteryReading] = []
    for folder in sorted((root / _SUPPLIES).glob("*")):
        kind = read_text(folder / "type")
        if kind in _CHARGERS:
            online = read_number(folder / "online")
            chargers.extend([] if online is None else [online != 0])
        elif kind == "Battery" and _counts(folder):
            batteries.append(_battery(folder))
    if not batteries:
        return None
    shares = [battery.share for battery in batteries if battery.share is not None]
    states = {battery.state for battery in batteries}
    watts = [battery.watts for battery in batteries if battery.watts is not None]
    return BatteryReading(
        share=min(shares) if shares else None,
        state=states.pop() if len(states) == 1 else BatteryState.UNKNOWN,
        watts=sum(watts) if not states and len(watts) == len(batteries) else None,
        charger=any(chargers) if chargers else None,
    )


def _counts(folder: Path) -> bool:
    """Tell whether a battery is the board's own and in its bay."""
    return read_text(folder / "scope") != "Device" and read_number(folder / "present") != 0


def _battery(folder: Path) -> BatteryReading:
    """Read one battery; a figure that is missing or impossible is None."""
    capacity = read_number(folder / "capacity")
    power = read_number(folder / "power_now")
    current, voltage = read_number(folder / "current_now"), read_number(folder / "voltage_now")
    # Some drivers write what flows out below zero, some above.
    watts = abs(power) * _MICRO if power is not None else None
    if watts is None and current is not None and voltage is not None:
        watts = abs(current) * _MICRO * max(0, voltage) * _MICRO
    return BatteryReading(
        share=capacity / 100 if capacity is not None and 0 <= capacity <= 100 else None,  # noqa: PLR2004 - percent
        state=_STATES.get(read_text(folder / "status") or "", BatteryState.UNKNOWN),
        watts=watts,
    )


class BatteryGauge:
    """The battery over time: marks a gauge that is stuck, and one that contradicts itself."""

    def __init__(self, root: Path = ROOT) -> None:
        """Take the root; nothing is opened, and nothing is known yet."""
        self._root = root
        self._last: BatteryReading | None = None
        self._moved_at = 0.0
        self._low: float | None = None
        self._lies = False

    def read(self, now: float) -> BatteryReading | None:
        """Read the battery and judge it by what it said before; None if there is none."""
        reading, last = read_battery(self._root), self._last
        self._last = reading
        if reading is None:
            return None
        if last is None or self._moved(last, reading):
            self._moved_at = now
        self._judge(last, reading)
        # Full and idle on a charger it may rest for days; only one that claims to run down cannot.
        stuck = (
            reading.state is BatteryState.DISCHARGING and now - self._moved_at >= _STUCK_SECONDS
        ) or (reading.share is None and reading.state is BatteryState.UNKNOWN)
        state = BatteryState.UNKNOWN if self._lies else reading.state
        return dataclasses.replace(reading, state=state, stuck=stuck)

    def _moved(self, last: BatteryReading, reading: BatteryReading) -> bool:
        """Tell whether anything but the charger differs."""
        return (last.share, last.state, last.watts) != (reading.share, reading.state, reading.watts)

    def _judge(self, last: BatteryReading | None, reading: BatteryReading) -> None:
        """Notice a share that rises by 2 % while the gauge says that the battery runs down."""
        if last is None or last.state is not reading.state:
            self._lies, self._low = False, None
        if reading.state is not BatteryState.DISCHARGING or reading.share is None:
            return
        self._low = reading.share if self._low is None else min(self._low, reading.share)
        if reading.share >= self._low + 0.02:
            self._lies = True


class BatteryMeter:
    """A power meter for a board that runs on its battery: what flows out is what the board takes.

    While it charges there is no figure.
    """

    source = EnergySource.BATTERY
    scope = Scope.BOARD
    rails: tuple[str, ...] = ()
    step_watts = _MICRO

    def __init__(self, root: Path) -> None:
        """Take the root of a board that has a battery."""
        self._root = root

    def sample(self, now: float) -> PowerSample:
        """Read what the battery gives.

        Raises:
            SensorError: it does not discharge, or says no power.
        """
        battery = read_battery(self._root)
        if battery is None:
            raise SensorError("the battery is gone")
        if battery.state is not BatteryState.DISCHARGING or battery.charger:
            raise SensorError("the battery does not discharge: what the board takes is not known")
        if not battery.watts:
            raise SensorError("the battery's gauge gives no power")
        return PowerSample(battery.watts, now, _UNCERTAINTY_SHARE * battery.watts)

    def close(self) -> None:
        """There is nothing to close."""


def open_battery_meter(_facts: PowerFacts, root: Path = ROOT) -> BatteryMeter:
    """Open the battery as a meter.

    Raises:
        SensorError: there is none.
    """
    if read_battery(root) is None:
        raise SensorError(f"no battery in {root / _SUPPLIES}")
    return BatteryMeter(root)
