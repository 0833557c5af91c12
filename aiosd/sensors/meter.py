"""Which instrument measures this board's power, and why not a better one.

To add an instrument: a module with an `open_…(facts, root)` that raises `SensorError` where it
cannot work, and a line in `METERS`. The table is no set of entry points: what a kernel shows of
power is not anyone's plug-in, and looking entry points up costs the resident daemon milliseconds
and memory. Nothing is imported until it is chosen.
"""

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from aiosd.domain.board import PowerFacts
from aiosd.domain.power import (
    CounterSample,
    EnergySource,
    NoSample,
    PowerSample,
    Sample,
    Scope,
)
from aiosd.sensors.kernel_file import ROOT, SensorError

METERS = {
    "ina3221": "aiosd.sensors.ina3221:open_ina3221",
    "rpi-pmic": "aiosd.sensors.pmic:open_pmic",
    "rapl": "aiosd.sensors.rapl:open_rapl",
    "battery": "aiosd.sensors.battery:open_battery_meter",
    "hwmon": "aiosd.sensors.hwmon_power:open_hwmon_power",
}
CALIBRATED, DEFAULT, NONE = "calibrated-model", "default-model", "none"

# Readings at start that say what one costs.
_TRIALS = 5
# A driver that was loaded anew has other files: an instrument that fails so long is opened again.
_REOPEN_SECONDS = 10.0


class PowerMeter(Protocol):
    """An instrument, or a model in place of one.

    `step_watts` is the smallest difference it can show, at its last sample; 0 for counters. `rails`
    are those that count.
    """

    @property
    def source(self) -> EnergySource:
        """Where its figures come from."""
        ...

    @property
    def scope(self) -> Scope:
        """What they cover."""
        ...

    @property
    def rails(self) -> tuple[str, ...]:
        """The rails that count, if it has any."""
        ...

    @property
    def step_watts(self) -> float:
        """Its resolution at the last sample."""
        ...

    def sample(self, now: float) -> PowerSample | CounterSample:
        """Take a sample at the moment `now` of the monotonic clock.

        Raises:
            SensorError: there is no figure now.
        """
        ...

    def close(self) -> None:
        """Let go of its files."""
        ...


Opener = Callable[[PowerFacts, Path], PowerMeter]


@dataclass(frozen=True)
class PassedOver:
    """A meter that was tried first and does not work here: why, and what could be done."""

    name: str
    reason: str
    advice: str


class OpenMeter:
    """The meter that was chosen; it answers with a value whatever happens, and never with zeros.

    `name`, `source`, `scope`, `rails` and `step_watts` are the instrument's; `read_seconds` is what
    a sample cost at start (the median). `passed_over` lists what was tried before it. An instrument
    that fails for 10 s is opened again, and recovers by itself; a counter then goes on from where
    it was.
    """

    def __init__(
        self,
        name: str,
        opener: Callable[[], PowerMeter],
        passed_over: tuple[PassedOver, ...] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the instrument and try it.

        Raises:
            SensorError: it does not open, or none of the first samples succeeds.
        """
        self.name, self.passed_over = name, passed_over
        self._opener = opener
        self._meter: PowerMeter | None = opener()
        self.source, self.scope = self._meter.source, self._meter.scope
        self.rails, self.step_watts = self._meter.rails, self._meter.step_watts
        self._silent_since: float | None = None
        self._reason = ""
        self._opened_at = clock()
        self._carried = self._joules = 0.0
        try:
            self.read_seconds = self._trial(self._meter, clock)
        except SensorError:
            self._meter.close()
            raise

    def sample(self, now: float) -> Sample:
        """Take a sample; `NoSample` says since when there is none, and why."""
        try:
            meter = self._open(now)
            sample = meter.sample(now)
        except SensorError as error:
            return self._silence(str(error), now)
        self._silent_since = None
        self.step_watts = meter.step_watts
        if isinstance(sample, PowerSample):
            return sample
        self._joules = self._carried + sample.joules
        return CounterSample(self._joules, now, sample.uncertainty_share)

    def close(self) -> None:
        """Close the instrument."""
        if self._meter is not None:
            self._meter.close()
            self._meter = None

    def _open(self, now: float) -> PowerMeter:
        """Return the instrument, opened anew if it has failed for long enough.

        Raises:
            SensorError: it does not open, or is another one by now: its figures would mean
                something else than those before.
        """
        if self._silent_since is not None and now - self._opened_at >= _REOPEN_SECONDS:
            self.close()
            self._opened_at, self._carried = now, self._joules
            meter = self._opener()
            if (meter.source, meter.scope, meter.rails) != (self.source, self.scope, self.rails):
                meter.close()
                raise SensorError(f"{self.name} has other rails now: {', '.join(meter.rails)}")
            self._meter = meter
        if self._meter is None:
            raise SensorError(self._reason)
        return self._meter

    def _silence(self, reason: str, now: float) -> NoSample:
        """Note a failure, and since when it lasts."""
        self._reason = reason
        if self._silent_since is None:
            self._silent_since = self._opened_at = now
        return NoSample(reason, now, self._silent_since)

    def _trial(self, meter: PowerMeter, clock: Callable[[], float]) -> float:
        """Take the first samples, and return what one costs in seconds.

        Raises:
            SensorError: none succeeds.
        """
        costs: list[float] = []
        failed: SensorError | None = None
        for _ in range(_TRIALS):
            start = clock()
            try:
                meter.sample(start)
            except SensorError as error:
                failed = error
            else:
                costs.append(clock() - start)
        if failed and not costs:
            raise failed
        self.step_watts = meter.step_watts
        return sorted(costs)[len(costs) // 2]


class NoMeter:
    """No instrument and no model: no figure, and the reason."""

    source = EnergySource.NONE
    scope = Scope.BOARD
    rails: tuple[str, ...] = ()
    step_watts = 0.0
    name = NONE
    read_seconds = 0.0

    def __init__(self, passed_over: tuple[PassedOver, ...]) -> None:
        """Take what was tried."""
        self.passed_over = passed_over
        self._since: float | None = None

    def sample(self, now: float) -> NoSample:
        """Say that there is none."""
        self._since = now if self._since is None else self._since
        return NoSample("no instrument and no model of this board", now, self._since)

    def close(self) -> None:
        """There is nothing to close."""


def open_meter(
    facts: PowerFacts,
    root: Path = ROOT,
    *,
    board: str = "",
    calibration: Path | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> OpenMeter | NoMeter:
    """Open the first meter that works: the profile's in order, a calibration, the default model.

    `board` is the profile's name and `calibration` the state file of one, if it may be there. What
    did not work is in the result's `passed_over`. It may be called again when something changed
    (a permission, a charger, a calibration): an open meter never looks for a better one itself.
    """
    passed_over: list[PassedOver] = []
    for name, opener in _choices(facts, root, board, calibration):
        try:
            return OpenMeter(name, opener, tuple(passed_over), clock)
        except SensorError as error:
            passed_over.append(PassedOver(name, error.reason, error.advice))
    return NoMeter(tuple(passed_over))


def _choices(
    facts: PowerFacts, root: Path, board: str, calibration: Path | None
) -> list[tuple[str, Callable[[], PowerMeter]]]:
    """Return every meter that may be tried, best first."""

    def instrument(name: str) -> Callable[[], PowerMeter]:
        return lambda: _opener(name)(facts, root)

    def calibrated() -> PowerMeter:
        model = importlib.import_module("aiosd.sensors.model")
        read = model.read_calibration(calibration, board)
        return cast("PowerMeter", model.open_calibrated_model(read, root))

    def default() -> PowerMeter:
        model = importlib.import_module("aiosd.sensors.model")
        return cast("PowerMeter", model.open_default_model(facts, root))

    choices = [(name, instrument(name)) for name in facts.meters]
    if calibration is not None:
        choices.append((CALIBRATED, calibrated))
    choices.append((DEFAULT, default))
    return choices


def _opener(name: str) -> Opener:
    """Import an instrument.

    Raises:
        SensorError: there is none of that name.
    """
    if name not in METERS:
        raise SensorError(
            f"the profile's meter {name!r} is not one of {', '.join(METERS)}",
            advice="correct `meters` in [power] of the profile",
        )
    module, _, function = METERS[name].partition(":")
    return cast("Opener", getattr(importlib.import_module(module), function))
