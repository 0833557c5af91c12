"""The power mode that a Jetson is in, by name: numbers mean another mode on every module."""

import re
from pathlib import Path

from aiosd.domain.power import PowerMode
from aiosd.sensors.kernel_file import ROOT, read_text

_CONF, _STATUS = "etc/nvpmodel.conf", "var/lib/nvpmodel/status"
_CONF_BYTES = 262_144
_MODEL = re.compile(r"^<\s*POWER_MODEL\s+ID=(?P<id>\d+)\s+NAME=(?P<name>\S+)\s*>", re.MULTILINE)
_DEFAULT = re.compile(r"^<\s*PM_CONFIG\s+DEFAULT=(?P<id>\d+)\s*>", re.MULTILINE)
_NOW = re.compile(r"\bpmode:(?P<id>\d+)")


def read_mode(root: Path = ROOT) -> PowerMode | None:
    """Return the mode now (or at the next boot, if nothing was set since); None if not a Jetson.

    A file that does not fit, or a number that no name has, is None too.
    """
    conf = read_text(root / _CONF, _CONF_BYTES) or ""
    names = _names(conf)
    found = _NOW.search(read_text(root / _STATUS) or "") or _DEFAULT.search(conf)
    if found is None or int(found["id"]) not in names:
        return None
    return PowerMode(names[int(found["id"])], tuple(names.values()))


def read_mode_numbers(root: Path = ROOT) -> dict[str, int]:
    """Return the number of each mode of this very board by its name; empty if not a Jetson."""
    return {name: number for number, name in _names(read_text(root / _CONF, _CONF_BYTES)).items()}


def _names(conf: str | None) -> dict[int, str]:
    """Return the names in a configuration, by number."""
    return {int(match["id"]): match["name"] for match in _MODEL.finditer(conf or "")}
