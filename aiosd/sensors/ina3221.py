"""The INA3221 of Jetson modules: three rails a chip, by their names, never by their numbers.

JetPack 5 and later have the kernel's own driver (hwmon), JetPack 4 one of NVIDIA's (iio). The bus,
and hwmon's number, differ between modules and boots and are looked for. A channel that is not wired
is called NC, which no profile names, or is switched off, and answers with an I/O error.
"""

from collections.abc import Iterator
from pathlib import Path

from aiosd.domain.board import PowerFacts
from aiosd.sensors.kernel_file import ROOT, SensorError, read_number, read_text
from aiosd.sensors.rails import Channel, RailMeter, VoltCurrentChannel

_CHIPS = "sys/bus/i2c/drivers/ina3221/*-004[0-3]/hwmon/hwmon*"
_OLD_CHIPS = "sys/bus/i2c/drivers/ina3221x/*-004[0-3]/iio:device*"

# INA3221 data sheet (TI SBOS576): 8 mV a step of the bus voltage, 40 µV of the shunt's.
_VOLT_STEP = 0.008
_SHUNT_STEP = 40e-6
# Of NVIDIA's modules; the newer driver says what it is.
_SHUNT_OHM = 0.005


def open_ina3221(facts: PowerFacts, root: Path = ROOT) -> RailMeter:
    """Open the rails that the profile names.

    Raises:
        SensorError: there is no such chip, or the rails of the total are not all there.
    """
    channels: list[Channel] = []
    failed: list[str] = []
    places = [*_hwmon(root), *_iio(root)]
    for name, files, ohm in places:
        if name not in facts.rails or any(channel.name == name for channel in channels):
            continue
        try:
            channel = VoltCurrentChannel(
                name, files, volt_step=_VOLT_STEP, ampere_step=_SHUNT_STEP / ohm
            )
        except SensorError as error:
            failed.append(error.reason)
            continue
        channels.append(channel)
    if not places:
        raise SensorError(f"no INA3221 with named rails under {root / 'sys/bus/i2c/drivers'}")
    if not channels and failed:
        raise SensorError(failed[0])
    return RailMeter(facts, channels)


def _hwmon(root: Path) -> Iterator[tuple[str, tuple[Path, Path], float]]:
    """Yield (rail, (voltage file, current file), shunt) of each channel of the kernel's driver."""
    for folder in sorted(root.glob(_CHIPS)):
        for number in (1, 2, 3):
            name = read_text(folder / f"in{number}_label")
            if not name:
                continue
            if read_number(folder / f"in{number}_enable") == 0:
                continue
            # In µΩ, as hwmon has it.
            shunt = read_number(folder / f"shunt{number}_resistor")
            ohm = shunt / 1e6 if shunt and shunt > 0 else _SHUNT_OHM
            yield name, (folder / f"in{number}_input", folder / f"curr{number}_input"), ohm


def _iio(root: Path) -> Iterator[tuple[str, tuple[Path, Path], float]]:
    """Yield the same of NVIDIA's driver of JetPack 4, which counts channels from 0."""
    for folder in sorted(root.glob(_OLD_CHIPS)):
        for number in (0, 1, 2):
            name = read_text(folder / f"rail_name_{number}")
            if not name:
                continue
            files = (folder / f"in_voltage{number}_input", folder / f"in_current{number}_input")
            yield name, files, _SHUNT_OHM
