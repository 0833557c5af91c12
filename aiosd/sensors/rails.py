"""Rails of a supply, each a channel of some instrument, and their sum as the board's power."""

import contextlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from aiosd.domain.board import PowerFacts
from aiosd.domain.power import EnergySource, PowerSample, Scope
from aiosd.sensors.kernel_file import KernelFile, SensorError

# An evenly spread error of one step has this share of the step as standard deviation: 1/√12.
STEP_DEVIATION = 1 / math.sqrt(12)


class Channel(Protocol):
    """One rail of an instrument."""

    @property
    def name(self) -> str:
        """The rail's name."""
        ...

    def watts(self) -> float:
        """Read the rail's power.

        Raises:
            SensorError: it cannot be read now.
        """
        ...

    def step_watts(self) -> float:
        """Return the smallest difference that the channel can show at what it read last."""
        ...

    def close(self) -> None:
        """Let go of its files."""
        ...


class VoltCurrentChannel:
    """A rail of hwmon or iio whose voltage (mV) and current (mA) are files.

    `volt_step` and `ampere_step` are the instrument's resolution.
    """

    def __init__(
        self, name: str, files: tuple[Path, Path], *, volt_step: float, ampere_step: float
    ) -> None:
        """Open the rail's files: voltage, current."""
        self.name = name
        self._volt_step, self._ampere_step = volt_step, ampere_step
        self._volts = self._amperes = 0.0
        self._voltage = KernelFile(files[0])
        try:
            self._current = KernelFile(files[1])
        except SensorError:
            self._voltage.close()
            raise

    def watts(self) -> float:
        """Return volts × amperes; a current below zero (its offset at idle) counts as none."""
        self._volts = self._voltage.number() / 1000
        self._amperes = max(0, self._current.number()) / 1000
        return self._volts * self._amperes

    def step_watts(self) -> float:
        """Return one step of the current and one of the voltage, as power."""
        return self._volts * self._ampere_step + self._amperes * self._volt_step

    def close(self) -> None:
        """Close both files."""
        self._voltage.close()
        self._current.close()


class PowerChannel:
    """A rail whose power is one file, of which one unit is `unit_watts`."""

    def __init__(self, name: str, file: Path, *, unit_watts: float, step_watts: float = 0) -> None:
        """Open the rail's file."""
        self.name = name
        self._unit_watts, self._step_watts = unit_watts, max(step_watts, unit_watts)
        self._power = KernelFile(file)

    def watts(self) -> float:
        """Return the file's figure in watts; below zero counts as none."""
        return max(0, self._power.number()) * self._unit_watts

    def step_watts(self) -> float:
        """Return the instrument's step, or the unit of its file."""
        return self._step_watts

    def close(self) -> None:
        """Close the file."""
        self._power.close()


class RailSum:
    """What the profile says the sum of the rails means: total, part, or part with a correction.

    Which rails count is decided once, of those that were `found`: all of `total_rails`, or else
    as many of the profile's rails as there are. It does not change afterwards, so that a rail
    which fails never makes the board look thrifty.

    Raises:
        SensorError: a rail of the total is missing, or none of the rails was found.
    """

    def __init__(self, facts: PowerFacts, found: Iterable[str]) -> None:
        """Choose the rails that count."""
        have = list(found)
        wanted = facts.total_rails or list(facts.rails)
        self.rails = tuple(rail for rail in wanted if rail in have)
        missing = [rail for rail in wanted if rail not in have]
        whole = bool(facts.total_rails) or facts.correction is not None
        if (whole and missing) or not self.rails:
            listed = ", ".join(have) or "none"
            named = ", ".join(missing) or "the profile names none"
            raise SensorError(f"rails missing: {named} (found: {listed})")
        self._correction = facts.correction
        self._share = facts.uncertainty_share
        total = bool(facts.total_rails)
        self.source = EnergySource.MEASURED_TOTAL if total else EnergySource.MEASURED_PARTIAL
        self.scope = facts.scope if whole else Scope.RAILS

    def sample(
        self, rails: Sequence[tuple[str, float]], now: float, steps: Iterable[float]
    ) -> PowerSample:
        """Return the sample of these rails' watts, each with the step of its instrument.

        The errors of steps are independent and add up as squares; the instrument's own, and that
        of a correction, are shares of the whole.
        """
        total, share = math.fsum(watts for _, watts in rails), self._share
        spread = math.sqrt(math.fsum((step * STEP_DEVIATION) ** 2 for step in steps))
        if self._correction:
            total = self._correction.scale * total + self._correction.offset_watts
            spread *= self._correction.scale
            share = max(share, self._correction.uncertainty_share)
        return PowerSample(total, now, math.hypot(spread, share * total), tuple(rails))


class RailMeter:
    """A power meter over channels: an INA3221, or any hwmon chip whose rails the profile names."""

    def __init__(self, facts: PowerFacts, channels: Sequence[Channel]) -> None:
        """Take the channels that were found; those that do not count are closed at once.

        Raises:
            SensorError: as `RailSum`; every channel is closed.
        """
        try:
            self._sum = RailSum(facts, (channel.name for channel in channels))
        except SensorError:
            close_all(channels)
            raise
        by_name = {channel.name: channel for channel in channels}
        self._channels = [by_name.pop(rail) for rail in self._sum.rails]
        used = {id(channel) for channel in self._channels}
        close_all([channel for channel in channels if id(channel) not in used])
        self.source, self.scope, self.rails = self._sum.source, self._sum.scope, self._sum.rails
        self.step_watts = 0.0

    def sample(self, now: float) -> PowerSample:
        """Read every rail once, one after the other.

        Raises:
            SensorError: one of them cannot be read.
        """
        rails = [(channel.name, channel.watts()) for channel in self._channels]
        steps = [channel.step_watts() for channel in self._channels]
        self.step_watts = math.fsum(steps)
        return self._sum.sample(rails, now, steps)

    def close(self) -> None:
        """Close every channel."""
        close_all(self._channels)


def close_all(channels: Iterable[Channel]) -> None:
    """Close the channels, whatever one of them says."""
    for channel in channels:
        with contextlib.suppress(OSError):
            channel.close()
