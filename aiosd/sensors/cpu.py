"""How busy each CPU is and how fast it may run: /proc/stat and cpufreq, held open.

Seconds are since boot; what lies between two readings is their difference. A CPU that is offline is
missing from the reading.
"""

import contextlib
import os
import re
from pathlib import Path

from aiosd.domain.power import CpuPolicy, CpuReading
from aiosd.sensors.kernel_file import ROOT, KernelFile, SensorError, read_number, read_text

_CPUFREQ = "sys/devices/system/cpu/cpufreq"
_LINE = re.compile(r"^cpu(?P<number>\d+)\s+(?P<ticks>\d+(?: \d+){6,9})\s*$", re.MULTILINE)
_STATE = re.compile(r"^(?P<khz>\d+) (?P<ticks>\d+)\s*$", re.MULTILINE)
# The CPUs come first, some 60 bytes each.
_STAT_BYTES = 32768
# time_in_state counts hundredths of a second whatever the kernel's own clock.
_STATE_TICKS = 100


class CpuGauge:
    """The board's CPUs; without `clocks` only how busy they are, and no policy.

    Clocks cost more to read: x86 kernels before 5.18 measure each for 10 ms.

    Raises:
        SensorError: in the constructor, if there is no /proc/stat.
    """

    def __init__(self, root: Path = ROOT, *, clocks: bool = True) -> None:
        """Open /proc/stat and the files of every cpufreq policy."""
        self._stat = KernelFile(root / "proc/stat")
        self._ticks = os.sysconf("SC_CLK_TCK")
        folders = (root / _CPUFREQ).glob("policy*") if clocks else ()
        self._policies = [_Policy(folder, root) for folder in sorted(folders, key=_number)]

    def read(self, now: float) -> CpuReading:
        """Read the CPUs.

        Raises:
            SensorError: /proc/stat cannot be read or has no CPU.
        """
        busy = parse_stat(self._stat.text(_STAT_BYTES), self._ticks)
        if not busy:
            raise SensorError(f"{self._stat.path}: no line of a CPU")
        return CpuReading(now, busy, tuple(policy.read() for policy in self._policies))

    def close(self) -> None:
        """Close every file."""
        self._stat.close()
        for policy in self._policies:
            policy.close()


def parse_stat(text: str, ticks_per_second: int) -> tuple[tuple[int, float], ...]:
    """Return (CPU, busy seconds): user, nice, system, interrupts and what a hypervisor took.

    Time of guests is in user's already; idle and waiting for I/O are not busy.
    """
    busy: list[tuple[int, float]] = []
    for match in _LINE.finditer(text):
        user, nice, system, _, _, irq, softirq, *rest = map(int, match["ticks"].split())
        ticks = user + nice + system + irq + softirq + (rest[0] if rest else 0)
        busy.append((int(match["number"]), ticks / ticks_per_second))
    return tuple(busy)


class _Policy:
    """One cpufreq policy: what does not change, and the files of what does."""

    def __init__(self, folder: Path, root: Path) -> None:
        """Read the one, open the other; a file that is missing leaves its fact unknown."""
        self._name = folder.name
        numbers = (read_text(folder / "related_cpus") or "").split()
        self._cpus = tuple(int(number) for number in numbers if number.isdecimal())
        self._max_khz = read_number(folder / "cpuinfo_max_freq") or 0
        first = self._cpus[0] if self._cpus else 0
        place = root / f"sys/devices/system/cpu/cpu{first}/cpu_capacity"
        self._capacity = read_number(place) or 0
        self._files: dict[str, KernelFile] = {}
        for name in ("scaling_cur_freq", "scaling_max_freq", "stats/time_in_state"):
            with contextlib.suppress(SensorError):
                self._files[name] = KernelFile(folder / name)

    def read(self) -> CpuPolicy:
        """Read what changes; 0 and empty where it cannot be read now."""
        states = tuple(
            (int(match["khz"]), int(match["ticks"]) / _STATE_TICKS)
            for match in _STATE.finditer(self._text("stats/time_in_state"))
        )
        return CpuPolicy(
            name=self._name,
            cpus=self._cpus,
            current_khz=self._khz("scaling_cur_freq"),
            limit_khz=self._khz("scaling_max_freq"),
            max_khz=self._max_khz,
            capacity=self._capacity,
            time_in_state=states,
        )

    def _text(self, name: str) -> str:
        """Return a file's text, empty if there is none."""
        with contextlib.suppress(SensorError):
            if name in self._files:
                return self._files[name].text()
        return ""

    def _khz(self, name: str) -> int:
        """Return a file's frequency, 0 if it has none ("<unknown>" of a CPU that sleeps)."""
        text = self._text(name)
        return int(text) if text.isdecimal() else 0

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()


def _number(folder: Path) -> int:
    """Order policies by number."""
    digits = folder.name.removeprefix("policy")
    return int(digits) if digits.isdecimal() else 0
