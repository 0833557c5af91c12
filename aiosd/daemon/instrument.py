"""The board's best power instrument, or model of power, and what its figures depend on."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

from aiosd.domain.board import BoardProfile
from aiosd.domain.power import EnergySource
from aiosd.sensors.cpu import CpuGauge
from aiosd.sensors.kernel_file import SensorError
from aiosd.sensors.meter import NoMeter, OpenMeter, open_meter
from aiosd.sensors.model import read_calibration

log = logging.getLogger(__name__)

COUNTERS = {
    EnergySource.RAPL_PACKAGE,
    EnergySource.CALIBRATED_MODEL,
    EnergySource.DEFAULT_MODEL,
}
MODELS = {EnergySource.CALIBRATED_MODEL, EnergySource.DEFAULT_MODEL, EnergySource.NONE}


class Instrument:
    """Opens the best there is, and another one when the owner's calibration changes.

    `cpu` counts the busy seconds of the board's cores; None where nobody knows of any watts.
    """

    def __init__(
        self, root: Path, profile: BoardProfile, calibration: Path, clock: Callable[[], float]
    ) -> None:
        """Look below `root` for what the profile says that the board has."""
        self._root, self._profile, self._calibration = root, profile, calibration
        self._clock = clock
        self.cpu: CpuGauge | None = None
        self.meter = self._open()

    def _open(self) -> OpenMeter | NoMeter:
        self._coefficients = _digest(self._calibration)
        meter = open_meter(
            self._profile.power,
            self._root,
            board=self._profile.name,
            calibration=self._calibration,
            clock=self._clock,
        )
        if self.cpu is None and not isinstance(meter, NoMeter):
            try:
                self.cpu = CpuGauge(self._root, clocks=False)
            except SensorError as error:
                log.warning("no joules: %s", error)
        return meter

    @property
    def counts(self) -> bool:
        """Whether it counts joules, so that it may be read at any moment; else it shows watts."""
        return self.meter.source in COUNTERS

    @property
    def is_model(self) -> bool:
        """Whether nothing is measured."""
        return self.meter.source in MODELS

    @property
    def identity(self) -> tuple[str, str]:
        """The board, and the meter with all that its figures depend on."""
        meter = self.meter
        parts = [meter.name, meter.source.value, meter.scope.value, *meter.rails]
        if meter.source is EnergySource.CALIBRATED_MODEL:
            parts.append(self._coefficients)
        return self._profile.name, " ".join(parts)

    def outdated(self) -> bool:
        """Tell whether a calibration came, changed or went that a model should follow."""
        return self.is_model and _digest(self._calibration) != self._coefficients

    def reopen(self) -> None:
        """Open the best that there is now."""
        self.meter.close()
        self.meter = self._open()

    def slower_clock_saves(self) -> bool:
        """Whether work at a lower clock takes less: as the profile says, or a calibration found."""
        if self._profile.power.slower_clock_saves:
            return True
        if self.meter.source is not EnergySource.CALIBRATED_MODEL:
            return False
        try:
            return read_calibration(self._calibration, self._profile.name).slower_clock_saves
        except SensorError:
            return False

    def close(self) -> None:
        """Let go of all files."""
        self.meter.close()
        if self.cpu is not None:
            self.cpu.close()


def _digest(path: Path) -> str:
    """Return a few characters that change with a file's content; empty without a file."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError:
        return ""
