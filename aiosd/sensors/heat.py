"""The board's temperatures, by the type of each thermal zone; its index changes between boots.

Sensors that are switched off read −256 °C on Jetsons, some laptops' ACPI −44 °C: what lies outside
−40 to 150 °C is dropped, and so is a zone that cannot be read.
"""

import contextlib
from collections.abc import Collection
from pathlib import Path

from aiosd.domain.power import HeatReading
from aiosd.sensors.kernel_file import ROOT, KernelFile, SensorError, read_text

_ZONES = "sys/class/thermal"
_LOWEST, _HIGHEST = -40.0, 150.0


class Thermometer:
    """The thermal zones of these types, or all of them; a type may have other names by kernel."""

    def __init__(self, root: Path = ROOT, types: Collection[str] = ()) -> None:
        """Look for the zones; those that come or go later are noticed when one fails."""
        self._root, self._types = root, frozenset(types)
        self._zones: list[tuple[str, KernelFile]] = []
        self._search()

    @property
    def missing(self) -> frozenset[str]:
        """The types that were asked for and are not there."""
        return self._types - {zone for zone, _ in self._zones}

    def read(self) -> tuple[HeatReading, ...]:
        """Return a reading for each type that has a believable one, hottest first."""
        hottest: dict[str, float] = {}
        failed = False
        for zone, file in self._zones:
            try:
                celsius = file.number() / 1000
            except SensorError:
                failed = True
                continue
            if _LOWEST <= celsius <= _HIGHEST:
                hottest[zone] = max(celsius, hottest.get(zone, _LOWEST))
        if failed:
            self._search()
        readings = (HeatReading(zone, celsius) for zone, celsius in hottest.items())
        return tuple(sorted(readings, key=lambda reading: -reading.celsius))

    def close(self) -> None:
        """Close the zones."""
        for _, file in self._zones:
            file.close()
        self._zones = []

    def _search(self) -> None:
        """Open every zone of the wanted types."""
        self.close()
        for folder in sorted((self._root / _ZONES).glob("thermal_zone*")):
            zone = read_text(folder / "type")
            if zone and (not self._types or zone in self._types):
                with contextlib.suppress(SensorError):
                    self._zones.append((zone, KernelFile(folder / "temp")))
