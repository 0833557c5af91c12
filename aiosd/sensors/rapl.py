"""The energy counters of Intel and AMD processors, by package, through the kernel's powercap.

Only whole packages count: the zones below one (core, uncore) are parts of it and would count twice;
memory, which is no part of it, is left out, as is `psys`, which holds the packages and whatever the
board's maker wired to it. A counter starts again at `max_energy_range_uj`.
"""

import re
from pathlib import Path

from aiosd.domain.board import PowerFacts
from aiosd.domain.power import CounterSample, EnergySource, Scope
from aiosd.sensors.kernel_file import ROOT, KernelFile, SensorError, read_number, read_text

_ZONES = "sys/class/powercap"
_TOP = re.compile(r"intel-rapl:[0-9a-f]+")
_PACKAGE = re.compile(r"package-\d+")
_JOULE = 1e-6
# More than any package of a small machine takes: a counter that seems to have run faster has been
# set back (suspend, a driver loaded anew), and what it then says of the interval is unknown.
_PLAUSIBLE_WATTS = 1000.0
# The quantum is far below a millijoule. No error is published; this is our guess.
_UNCERTAINTY_SHARE = 0.05
_ADVICE = (
    "since Linux 5.10 only root may read it: grant aiosd's group with a tmpfiles.d line such as "
    "'z /sys/class/powercap/intel-rapl:*/energy_uj 0440 root aiosd -'"
)


class _Zone:
    """One package: its counter, and what it has counted since the first reading."""

    def __init__(self, folder: Path, name: str) -> None:
        """Open the zone."""
        self.name = name
        self._range = read_number(folder / "max_energy_range_uj") or 0
        self._file = KernelFile(folder / "energy_uj", advice=_ADVICE)
        self._last: tuple[int, float] | None = None
        self.joules = 0.0

    def read(self, now: float) -> None:
        """Count on.

        Raises:
            SensorError: it cannot be read, or was set back.
        """
        count = self._file.number()
        last, self._last = self._last, (count, now)
        if last is None:
            return
        gained = count - last[0]
        if gained < 0:
            gained += self._range
        if gained < 0 or gained * _JOULE > _PLAUSIBLE_WATTS * max(now - last[1], 1.0):
            raise SensorError(
                f"the counter of {self.name} was set back; counting goes on from here"
            )
        self.joules += gained * _JOULE

    def close(self) -> None:
        """Close the counter."""
        self._file.close()


class Rapl:
    """A power meter over the packages' counters."""

    source = EnergySource.RAPL_PACKAGE
    scope = Scope.PACKAGE

    def __init__(self, zones: list[_Zone]) -> None:
        """Take the open packages."""
        self._zones = zones
        self.rails = tuple(zone.name for zone in zones)
        # A counter has no step of power: the longer it counts, the finer it is.
        self.step_watts = 0.0

    def sample(self, now: float) -> CounterSample:
        """Read every package's counter.

        Raises:
            SensorError: one cannot be read, or was set back.
        """
        for zone in self._zones:
            zone.read(now)
        joules = sum(zone.joules for zone in self._zones)
        return CounterSample(joules, now, _UNCERTAINTY_SHARE)

    def close(self) -> None:
        """Close the counters."""
        for zone in self._zones:
            zone.close()


def open_rapl(facts: PowerFacts, root: Path = ROOT) -> Rapl:
    """Open the packages that the profile names as rails, or all if it names none.

    Raises:
        SensorError: there is none, or reading them is not permitted (with what to do).
    """
    places = {
        name: folder
        for folder in sorted((root / _ZONES).glob("intel-rapl:*"))
        if _TOP.fullmatch(folder.name)
        and (name := read_text(folder / "name") or "")
        and (name in facts.rails or (not facts.rails and _PACKAGE.fullmatch(name)))
    }
    missing = [rail for rail in facts.rails if rail not in places]
    if missing or not places:
        raise SensorError(f"no RAPL zone {', '.join(missing) or 'at all'} in {root / _ZONES}")
    zones: list[_Zone] = []
    try:
        for name, folder in places.items():
            zones.append(_Zone(folder, name))
    except SensorError:
        for zone in zones:
            zone.close()
        raise
    return Rapl(zones)
