"""The board's meter and what its figures rest on: opened, told apart, and believed how far."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from aiosd.domain.board import BoardProfile
from aiosd.domain.power import EnergySource
from aiosd.policy.energy.energy import EnergyBooks
from aiosd.policy.power.power_rules import PowerRules
from aiosd.sensors.kernel_file import SensorError
from aiosd.sensors.meter import NoMeter, OpenMeter, open_meter
from aiosd.sensors.mode import read_mode
from aiosd.sensors.model import read_calibration

# How often a board with power modes is asked which one it is in, while samples are taken.
MODE_SECONDS = 10.0


class ModeWatch:
    """Tells the books of the power mode, which has an idle of its own."""

    def __init__(self, profile: BoardProfile, root: Path) -> None:
        """Look with the first sample."""
        self._modes, self._root, self._due = bool(profile.power.modes), root, 0.0

    def note(self, now: float, books: EnergyBooks) -> None:
        """Look, if it is time."""
        if self._modes and now >= self._due:
            self._due = now + MODE_SECONDS
            mode = read_mode(self._root)
            books.on_mode(mode.name if mode else "")


def open_board_meter(
    profile: BoardProfile, root: Path, calibration: Path, clock: Callable[[], float]
) -> OpenMeter | NoMeter:
    """Open the best meter that there is now."""
    return open_meter(profile.power, root, board=profile.name, calibration=calibration, clock=clock)


def open_books(profile: BoardProfile, meter: OpenMeter | NoMeter) -> EnergyBooks:
    """Open the books of a meter; the profile's idle is a hint if it is of the meter's scope."""
    idle = PowerRules.of(profile, None, meter.scope).idle_watts
    return EnergyBooks(meter.source, meter.scope, idle)


def meter_identity(meter: OpenMeter | NoMeter, coefficients: str) -> str:
    """Return a name that changes with all that the meter's figures depend on."""
    parts = [meter.name, meter.source.value, meter.scope.value, *meter.rails]
    if meter.source is EnergySource.CALIBRATED_MODEL:
        parts.append(coefficients)
    return " ".join(parts)


def coefficients_of(calibration: Path) -> str:
    """Return a few characters that change with a calibration's content; empty without one."""
    try:
        return hashlib.sha256(calibration.read_bytes()).hexdigest()[:16]
    except OSError:
        return ""


def slower_clock_saves(
    profile: BoardProfile, meter: OpenMeter | NoMeter, calibration: Path
) -> bool:
    """Tell whether work at a lower clock takes less: the profile says it, or a calibration."""
    if profile.power.slower_clock_saves:
        return True
    if meter.source is not EnergySource.CALIBRATED_MODEL:
        return False
    try:
        return read_calibration(calibration, profile.name).slower_clock_saves
    except SensorError:
        return False
