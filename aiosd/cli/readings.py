"""A file of readings for `aiosctl calibrate --readings`: CSV or TOML, strict to the column."""

import csv
import io
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from aiosd.domain.calibration import Load, Observation
from aiosd.domain.errors import ConfigError
from aiosd.protocol.toml import decode_toml

_COLUMNS = ("watts", "policy", "cores", "khz")
_MOST_BYTES = 1_000_000
# On a board without cpufreq all CPUs are one group with one clock.
ALL_CPUS, NO_CLOCK = "cpus", 1


class _Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One reading: watts, and the busy cores of one clock group at a clock; 0 cores is idle."""

    watts: float
    policy: str = ""
    cores: Annotated[float, Meta(ge=0, le=1024)] = 0.0
    khz: Annotated[int, Meta(ge=0, le=100_000_000)] = 0


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The TOML form."""

    meter: str = ""
    readings: list[_Row]


def read_readings(path: Path) -> tuple[str, list[Observation]]:
    """Return what the owner read from (empty in CSV), and the readings.

    Raises:
        OSError: the file cannot be read.
        ConfigError: a line of it is wrong.
    """
    data = path.read_bytes()[:_MOST_BYTES]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8 text (byte {error.start})", path=str(path)) from error
    if path.suffix == ".toml":
        file = decode_toml(text, _File, path=str(path))
        return file.meter, [_observation(n, row) for n, row in enumerate(file.readings, start=1)]
    return "", _csv(text, path)


def _csv(text: str, path: Path) -> list[Observation]:
    """Return the readings of a CSV file whose first line names the columns.

    Raises:
        ConfigError: a line is wrong.
    """
    lines = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    unknown = [name for name in lines.fieldnames or () if name not in _COLUMNS]
    if unknown or "watts" not in (lines.fieldnames or ()):
        found = f"{unknown[0]!r} is none of them" if unknown else "there is no column watts"
        raise ConfigError(f"the columns are {', '.join(_COLUMNS)}; {found}", path=str(path), line=1)
    observations = []
    for number, line in enumerate(lines, start=1):
        known = {key: value for key, value in line.items() if value not in (None, "")}
        try:
            row = msgspec.convert(known, _Row, strict=False)
        except msgspec.ValidationError as error:
            raise ConfigError(str(error), path=str(path), line=lines.line_num) from error
        observations.append(_observation(number, row))
    return observations


def _observation(number: int, row: _Row) -> Observation:
    """Return a row as the fit wants it."""
    if row.cores <= 0:
        return Observation(f"reading {number}: idle", row.watts)
    policy, khz = row.policy or ALL_CPUS, row.khz or NO_CLOCK
    what = f"reading {number}: {row.cores:g} cores of {policy}"
    return Observation(what, row.watts, (Load(policy, row.cores, khz),))
