"""Any hwmon chip that measures a supply, where the profile names the channels to read.

Nothing is guessed: a chip may as well measure a disk or a fan. A channel is called by its label, or
else `<chip>.power1` or `<chip>.in1`, by hwmon's `name` of the chip and the file's own number.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from aiosd.domain.board import PowerFacts
from aiosd.sensors.kernel_file import ROOT, SensorError, read_number, read_text
from aiosd.sensors.rails import Channel, PowerChannel, RailMeter, VoltCurrentChannel, close_all

_POWER = re.compile(r"power(?P<number>\d+)_(?:average|input)")
_CURRENT = re.compile(r"curr(?P<number>\d+)_input")

# hwmon writes power in µW, voltage in mV and current in mA.
_MICROWATT = 1e-6
_MILLI = 1e-3


def open_hwmon_power(facts: PowerFacts, root: Path = ROOT) -> RailMeter:
    """Open the channels that the profile names as rails.

    Raises:
        SensorError: the profile names none, or they are not there.
    """
    found = list(_channels(root))
    channels: list[Channel] = []
    try:
        for name, files in found:
            if name in facts.rails and all(channel.name != name for channel in channels):
                channels.append(_channel(name, files))
    except SensorError:
        close_all(channels)
        raise
    if not channels:
        listed = ", ".join(name for name, _ in found) or "none"
        raise SensorError(
            f"hwmon has no channel that the profile names as a rail (found: {listed})",
            advice="name the right ones in [power.rails] of a profile of your own",
        )
    return RailMeter(facts, channels)


def _channel(name: str, files: tuple[Path, ...]) -> Channel:
    """Open one channel: a file of power, or one of voltage and one of current."""
    if len(files) == 1:
        return PowerChannel(name, files[0], unit_watts=_MICROWATT)
    return VoltCurrentChannel(name, (files[0], files[1]), volt_step=_MILLI, ampere_step=_MILLI)


def _channels(root: Path) -> Iterator[tuple[str, tuple[Path, ...]]]:
    """Yield (name, files) of each channel that is on: one file of power, or voltage and current."""
    for folder in sorted(root.glob("sys/class/hwmon/hwmon*")):
        chip = read_text(folder / "name") or folder.name
        files = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        seen: set[str] = set()
        for match in filter(None, map(_POWER.fullmatch, files)):
            number = match["number"]
            if number in seen or read_number(folder / f"power{number}_enable") == 0:
                continue
            seen.add(number)
            label = read_text(folder / f"power{number}_label") or f"{chip}.power{number}"
            # Sorted, an average comes before the figure of the moment: it misses nothing.
            yield label, (folder / match.string,)
        for match in filter(None, map(_CURRENT.fullmatch, files)):
            number = match["number"]
            voltage = folder / f"in{number}_input"
            if not voltage.exists() or read_number(folder / f"in{number}_enable") == 0:
                continue
            label = (
                read_text(folder / f"in{number}_label")
                or read_text(folder / f"curr{number}_label")
                or f"{chip}.in{number}"
            )
            yield label, (voltage, folder / match.string)
